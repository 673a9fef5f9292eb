//! The real interpreters of Python, Node, Ruby and Perl run scripts with hostile values: each value arrives byte for byte,
//! and nothing else runs.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use ergon_template::{Given, Kind, Name, Template, is_too_long};
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;

use crate::shells::{hostile, late};

/// Each writes: a, "x" a "y", a late one, each of l, both values of o by key, n + 1, yes or no, a again, lower a.
const SCRIPTS: [(&str, &str); 4] = [
    (
        "python3",
        r#"#!/usr/bin/env python3
import sys
# it's a "comment' `
text = "a \" # no comment" + 'b\'' + """c "' # """ + r'\d' + f'{1}'
def p(x): sys.stdout.buffer.write(x.encode() + b"\0")
p({{a}})
p("x" + {{a}} + "y")
p({{late}})
for item in {{l}}:
    p(item)
o = {{o}}
p(o["k1"]); p({{o}}["k2"])
p(str({{n}} + 1))
p("yes" if {{not a}} else "no")
{{#if a}}
p({{a}}) # {{! no value }}it's
{{else}}
p("")
{{/if}}
p(text[0:0] + {{lower a}})
"#,
    ),
    (
        "node",
        r#"#!/usr/bin/env node
// it's a "comment' `
/* don't */
const text = "a \" // no comment" + 'b\'' + `c "' ${ "}" + `${1}` } //` + /[/"']\/"/.source + 4 / 2 / 1;
const p = (x) => process.stdout.write(x + "\0");
p({{a}});
p("x" + {{a}} + "y");
p({{late}});
for (const item of {{l}}) p(item);
const o = {{o}};
p(o.k1); p(`${ {{o}}.k2 }`);
p(String({{n}} + 1));
p({{not a}} ? "yes" : "no");
{{#if a}}
p({{a}}) // it's
{{else}}
p("")
{{/if}}
p(text.slice(0, 0) + {{lower a}})
"#,
    ),
    (
        "ruby",
        r#"#!/usr/bin/env ruby
# it's a "comment' `
=begin
don't
=end
text = "a \" # no comment" + 'b\'' + %q(c (') ") + %w[a' b"].join + /["'\/]#/.source + (4 / 2 / 1).to_s + <<~EOS
  it's "here
EOS
$stdout.binmode
def p(x) = $stdout.write(x, "\0")
p({{a}})
p("x" + {{a}} + "y")
p {{late}}
{{l}}.each { |item| p(item) }
o = {{o}}
p(o["k1"]); p({{o}}["k2"])
p(({{n}} + 1).to_s)
p({{not a}} ? "yes" : "no")
{{#if a}}
p({{a}}) # it's
{{else}}
p("")
{{/if}}
p(text[0, 0] + {{lower a}})
__END__
it's "data
"#,
    ),
    (
        "perl",
        r#"#!/usr/bin/perl
use strict; use warnings;
# it's a "comment' `

=pod

don't

=cut

my $text = "a \" # no comment" . 'b\'' . q(c (') ") . qq{"'} . <<"EOS" . 4 / 2;
it's "here
EOS
$text =~ s/["'\/]/x/g; $text =~ tr{'}{"}; my %y = (s => 1, y => 2); my @l = (1); my $last = $#l;
sub p { print $_[0], "\0" }
p({{a}});
p("x" . {{a}} . "y");
p({{late}});
p($_) for @{ {{l}} };
my $o = {{o}};
p($o->{k1}); p({{o}}->{k2});
p({{n}} + 1);
p({{not a}} ? "yes" : "no");
{{#if a}}
p({{a}}); # it's
{{else}}
p("");
{{/if}}
p(substr($text, 0, 0) . {{lower a}});
__END__
it's "data
"#,
    ),
];

fn is_installed(program: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()));
    if !found {
        eprintln!("skipped, since it is not installed: {program}");
    }
    found
}

fn check(program: &str, source: &str, a: &str, list: &[String], n: i32) {
    let names = [("a", Kind::Text), ("l", Kind::List), ("o", Kind::Object), ("n", Kind::Number)];
    let mut names: BTreeMap<String, Name> =
        names.into_iter().map(|(key, kind)| (key.to_owned(), Name::of(kind))).collect();
    names.insert("late".to_owned(), Name { late: true, ..Name::of(Kind::Text) });
    let template =
        Template::script(source, &names, &BTreeSet::new()).unwrap_or_else(|e| panic!("{program}: {e}"));
    let given = [
        ("a", Given::Known(json!(a))),
        ("l", Given::Known(json!(list))),
        ("o", Given::Known(json!({"k1": a, "k2": "x"}))),
        ("n", Given::Known(json!(n))),
        ("late", Given::Later("somewhere".to_owned())),
    ];
    let given = given.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let mut rendered = template.render(&given).expect("renders");
    let folder = tempfile::tempdir().expect("a folder");
    for name in std::mem::take(&mut rendered.later).into_keys() {
        let value = late(a);
        if is_too_long(&value) {
            let path = folder.path().join(&name);
            std::fs::write(&path, value).expect("a file");
            rendered.env.insert(format!("{name}_FILE"), path.to_string_lossy().into_owned());
        } else {
            rendered.env.insert(name, value);
        }
    }
    let script = folder.path().join("script");
    std::fs::write(&script, &rendered.script).expect("a script");
    let empty = tempfile::tempdir().expect("a folder");
    let output = Command::new(program)
        .arg(&script)
        .current_dir(empty.path())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .envs(&rendered.env)
        .output()
        .expect("the interpreter runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{program}: {errors}\n{}", rendered.script);
    let is_no = a.is_empty() || a == "false";
    let mut expected = vec![a.to_owned(), format!("x{a}y"), late(a)];
    expected.extend(list.iter().cloned());
    expected.extend([a.to_owned(), "x".to_owned(), (n + 1).to_string()]);
    expected.push(if is_no { "yes" } else { "no" }.to_owned());
    expected.push(if is_no { String::new() } else { a.to_owned() });
    expected.push(a.to_lowercase());
    let expected: String = expected.iter().flat_map(|text| [text, "\0"]).collect();
    assert!(
        output.stdout == expected.as_bytes(),
        "{program} wrote\n{:?}\nfor {a:?}\n{}",
        String::from_utf8_lossy(&output.stdout),
        rendered.script
    );
    assert!(std::fs::read_dir(empty.path()).expect("readable").next().is_none(), "{program} ran a value");
}

#[test]
fn hostile_values_arrive_in_python_node_ruby_and_perl() {
    let cases = std::env::var("ERGON_TEMPLATE_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(16);
    for (program, source) in SCRIPTS.into_iter().filter(|(program, _)| is_installed(program)) {
        let every_byte: String = (1..=255u8).map(char::from).collect();
        check(program, source, &every_byte, &[every_byte.clone(), String::new()], -5);
        let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
        let list = proptest::collection::vec(hostile(), 0..4);
        let result = runner.run(&(hostile(), list, -1000i32..1000), |(a, list, n)| {
            check(program, source, &a, &list, n);
            Ok(())
        });
        result.unwrap_or_else(|e| panic!("{program}: {e}"));
    }
}
