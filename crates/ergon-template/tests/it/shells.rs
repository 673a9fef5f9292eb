//! The real shells run generated scripts with hostile values: each value arrives byte for byte, and nothing else runs.
//! `ERGON_TEMPLATE_CASES` says how many scripts (each in every shell that is installed).

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use ergon_template::{Given, Kind, Name, Template, is_too_long};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

/// Each writes its values with a NUL after each: the template, and what it writes for the values a and b, the number n
/// and the list l.
const PIECES: [(&str, &[&str]); 38] = [
    ("p {{a}}", &["{a}"]),
    ("p x{{a}}y{{b}}z", &["x{a}y{b}z"]),
    ("p \"{{a}}\"", &["{a}"]),
    ("p \"x {{a}}$e{{b}}\\$ \"", &["x {a}{b}$ "]),
    ("p '{{a}}'", &["{a}"]),
    ("p 'x {{a}} \"$e '\"'\"{{b}}", &["x {a} \"$e '{b}"]),
    ("v={{a}}; p \"$v\"", &["{a}"]),
    ("v=x{{a}}y; export v; p \"$v\"", &["x{a}y"]),
    ("export v={{a}}; p \"$v\"", &["{a}"]),
    ("p \"$(p {{a}} | tr -d '\\000'; echo .)\"", &["{a}."]),
    ("p \"$(p \"{{a}}\" '{{b}}' | tr -d '\\000'; echo .)\"", &["{a}{b}."]),
    ("(p {{a}}); { p {{b}}; }", &["{a}", "{b}"]),
    ("cat <<EOF\nx{{a}}y $e{{b}}\nEOF\np", &["x{a}y {b}\n"]),
    ("cat <<-EOF\n\tx{{a}}\n\tEOF\np", &["x{a}\n"]),
    ("cat <<'A'; cat <<EOF\n$(touch canary)\nA\n{{a}}\nEOF\np", &["$(touch canary)\n{a}\n"]),
    ("case {{a}} in {{b}}x) p no;; {{a}}) p {{a}};; esac", &["{a}"]),
    ("case x in (x|y) p \"$(case y in y) p '{{a}}';; esac | tr -d '\\000'; echo .)\" ;; esac", &["{a}."]),
    ("p $(( 1 + {{n}} ))", &["{n+1}"]),
    ("for i in {{a}} {{b}}; do p \"$i\"; done # it's a comment", &["{a}", "{b}"]),
    ("if [ {{a}} = {{a}} ]; then p {{b}}; fi", &["{b}"]),
    ("{{#if a}}p {{a}}{{else}}p none{{/if}}", &["{a|none}"]),
    ("p {{#each l}}{{this}} {{/each}}{{a}}", &["{l}", "{a}"]),
    ("{{#each l as |i|}}\np \"i={{i}}\"\n{{/each}}", &["{i=l}"]),
    ("p \\{{x}} '\\{{{x}}}' \"\\{{ {{a}} }}\"", &["{{x}}", "{{{x}}}", "{{ {a} }}"]),
    ("p {{late}} 'x{{late}}' \"{{late}}y\"", &["{late}", "x{late}", "{late}y"]),
    (
        "p {{#each l}}{{#if @first}}first {{/if}}{{#if @last}}last {{/if}}{{@index}}=\"{{this}}\" {{/each}}",
        &["{i}"],
    ),
    ("{{#each l}}p {{this}}\n{{else}}p {{a}} none\n{{/each}}", &["{l|a}"]),
    ("{{#each o}}p '{{@key}}={{this}}'\n{{/each}}", &["k1={a}", "k2=x"]),
    ("{{#with o as |it|}}p {{it.k1}} {{this.k2}}{{/with}}", &["{a}", "x"]),
    ("{{#each l}}{{#each ../l2}}p \"{{../this}}{{this}}\"\n{{/each}}{{/each}}", &["{l*yz}"]),
    ("{{#if (eq a b)}}p same{{else if (not a)}}p none{{else}}p {{a}}{{/if}}", &["{a?b}"]),
    ("{{#unless (and a b)}}p one{{else}}p {{b}}{{/unless}}", &["{a&b}"]),
    ("p {{default a 'none'}} \"{{lower b}}\"", &["{a|none}", "{lower b}"]),
    ("p {{join l}} '{{join l \", \"}}' {{json l}}", &["{join}", "{join, }", "{json}"]),
    ("p {{replace a \"$\" \"'\"}} {{basename \"x/y/\"}} {{sha256 \"\"}}", &["{a'}", "y", EMPTY]),
    ("eval \"p {{quote 'it'}}\"; p {{quote a}}", &["it", "{quote a}"]),
    ("cat <<EOF\n{{indent a 2}}\nEOF\np", &["{indent a}\n"]),
    ("# it's `a` $(comment\np `echo \\`echo a\\``{{a}}", &["a{a}"]),
];

/// The SHA-256 of nothing.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

const HEAD: &str =
    "#!/bin/sh\ne=\np() { if [ $# = 0 ]; then printf '\\000'; else printf '%s\\000' \"$@\"; fi; }\n";

fn shells() -> Vec<Vec<&'static str>> {
    let all = [vec!["dash"], vec!["bash"], vec!["bash", "--posix"], vec!["busybox", "ash"], vec!["zsh"]];
    let (found, missing): (Vec<_>, Vec<_>) = all.into_iter().partition(|shell| {
        std::env::var_os("PATH")
            .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(shell[0]).is_file()))
    });
    if !missing.is_empty() {
        eprintln!("skipped, since they are not installed: {missing:?}");
    }
    assert!(!found.is_empty(), "no shell is installed");
    found
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// What the pieces write.
fn expected(pieces: &[usize], values: &BTreeMap<String, Value>) -> Vec<u8> {
    let (a, b, n) = (text(&values["a"]), text(&values["b"]), values["n"].as_i64().unwrap_or_default());
    let list: Vec<&str> = values["l"].as_array().into_iter().flatten().map(text).collect();
    let mut out = Vec::new();
    for wanted in pieces.iter().flat_map(|piece| PIECES[*piece].1) {
        let lines: Vec<String> = match *wanted {
            "{l}" => list.iter().map(|item| (*item).to_owned()).collect(),
            "{i=l}" => list.iter().map(|item| format!("i={item}")).collect(),
            "{n+1}" => vec![(n + 1).to_string()],
            "{i}" if list.is_empty() => vec![String::new()],
            "{i}" => {
                let last = list.len().saturating_sub(1);
                let word = |(n, item): (usize, &&str)| {
                    let start = if n == 0 { vec!["first".to_owned()] } else { Vec::new() };
                    let end = (n == last).then(|| "last".to_owned());
                    start.into_iter().chain(end).chain([format!("{n}={item}")]).collect::<Vec<_>>()
                };
                list.iter().enumerate().flat_map(word).collect()
            }
            "{l|a}" if list.is_empty() => vec![a.to_owned(), "none".to_owned()],
            "{l|a}" => list.iter().map(|item| (*item).to_owned()).collect(),
            "{l*yz}" => list.iter().flat_map(|item| ["y", "z"].map(|end| format!("{item}{end}"))).collect(),
            "{a?b}" if a == b => vec!["same".to_owned()],
            "{a?b}" => vec![if is_no(a) { "none" } else { a }.to_owned()],
            "{a&b}" => vec![if is_no(a) || is_no(b) { "one" } else { b }.to_owned()],
            "{lower b}" => vec![b.to_lowercase()],
            "{join}" => vec![list.join(",")],
            "{join, }" => vec![list.join(", ")],
            "{json}" => vec![values["l"].to_string()],
            "{a'}" => vec![a.replace('$', "'")],
            "{quote a}" => vec![format!("'{}'", a.replace('\'', "'\\''"))],
            "{indent a}\n" => vec![
                a.split('\n')
                    .map(|line| if line.is_empty() { String::new() } else { format!("  {line}") })
                    .collect::<Vec<_>>()
                    .join("\n")
                    + "\n",
            ],
            "{late}" | "x{late}" | "{late}y" => vec![wanted.replace("{late}", &late(b))],
            "{a|none}" => vec![if a.is_empty() { "none" } else { a }.to_owned()],
            // In two steps, since `a` may hold the text `{b}`.
            wanted => {
                vec![wanted.split("{a}").map(|part| part.replace("{b}", b)).collect::<Vec<_>>().join(a)]
            }
        };
        for line in lines {
            out.extend_from_slice(line.as_bytes());
            out.push(0);
        }
    }
    out
}

fn is_no(text: &str) -> bool {
    text.is_empty() || text == "false"
}

/// The value that comes later: sometimes too long for the environment.
pub(crate) fn late(b: &str) -> String {
    b.repeat(if b.len() % 3 == 1 { 30_000 } else { 1 })
}

fn check(pieces: &[usize], values: &BTreeMap<String, Value>) {
    let source = pieces.iter().fold(HEAD.to_owned(), |source, piece| source + PIECES[*piece].0 + "\n");
    let names = [
        ("a", Kind::Text),
        ("b", Kind::Text),
        ("n", Kind::Number),
        ("l", Kind::List),
        ("l2", Kind::List),
        ("o", Kind::Object),
    ];
    let mut names: BTreeMap<String, Name> =
        names.into_iter().map(|(key, kind)| (key.to_owned(), Name::of(kind))).collect();
    names.insert("late".to_owned(), Name { late: true, ..Name::of(Kind::Text) });
    let mut given: BTreeMap<String, Given> =
        values.iter().map(|(name, value)| (name.clone(), Given::Known(value.clone()))).collect();
    given.insert("l2".to_owned(), Given::Known(json!(["y", "z"])));
    given.insert("o".to_owned(), Given::Known(json!({"k1": values["a"], "k2": "x"})));
    given.insert("late".to_owned(), Given::Later("somewhere".to_owned()));
    let template =
        Template::script(&source, &names, &BTreeSet::new()).unwrap_or_else(|e| panic!("{e}\n{source}"));
    let folder = tempfile::tempdir().expect("a folder");
    let mut rendered = template.render(&given).expect("renders");
    for name in std::mem::take(&mut rendered.later).into_keys() {
        let value = late(text(&values["b"]));
        let map = if is_too_long(&value) { &mut rendered.files } else { &mut rendered.env };
        map.insert(name, value);
    }
    for (name, value) in &rendered.files {
        let path = folder.path().join(name);
        std::fs::write(&path, value).expect("a file");
        rendered.env.insert(format!("{name}_FILE"), path.to_string_lossy().into_owned());
    }
    let script = folder.path().join("script");
    std::fs::write(&script, &rendered.script).expect("a script");
    let empty = tempfile::tempdir().expect("a folder");
    for shell in shells() {
        let output = Command::new(shell[0])
            .args(&shell[1..])
            .arg(&script)
            .current_dir(empty.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("LC_ALL", "C.UTF-8")
            .envs(&rendered.env)
            .output()
            .expect("the shell runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && errors.is_empty(),
            "{shell:?}: {errors}\n{}\n{values:?}",
            rendered.script
        );
        assert!(
            output.stdout == expected(pieces, values),
            "{shell:?} wrote\n{:?}\nfor\n{}\n{values:?}",
            String::from_utf8_lossy(&output.stdout),
            rendered.script
        );
        assert!(std::fs::read_dir(empty.path()).expect("readable").next().is_none(), "{shell:?} ran a value");
    }
}

pub(crate) fn hostile() -> impl Strategy<Value = String> {
    let parts = [
        "'",
        "\"",
        "`",
        "\\",
        "\n",
        "\r",
        "\t",
        " ",
        "$",
        "$(touch canary)",
        "`touch canary`",
        "; touch canary;",
        "\ntouch canary\n",
        "${PATH}",
        "$((1))",
        "*",
        "?",
        "[a]",
        "~",
        "!",
        "#",
        "-n",
        "--",
        "-e",
        "&",
        "|",
        ">canary",
        "<",
        "(",
        ")",
        "{",
        "}",
        "{{a}}",
        "EOF",
        "\nEOF\n",
        "\nA\n",
        "a[$(touch canary)]",
        "é",
        "🦀",
        "\u{202e}",
        "%s",
        "\\n",
        "=",
        "esac",
        "\u{1}",
        "\u{7f}",
        "\u{80}",
        "x",
    ];
    let part = prop_oneof![
        8 => proptest::sample::select(parts.to_vec()).prop_map(str::to_owned),
        2 => proptest::char::range('\u{1}', '\u{ff}').prop_map(String::from),
        1 => proptest::char::any().prop_filter("NUL", |c| *c != '\0').prop_map(String::from),
    ];
    proptest::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
}

#[test]
fn hostile_values_arrive_byte_for_byte_and_nothing_else_runs() {
    let cases = std::env::var("ERGON_TEMPLATE_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(48);
    let pieces = proptest::collection::vec(0..PIECES.len(), 1..8);
    let list = proptest::collection::vec(hostile(), 0..4);
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let result = runner.run(&(pieces, hostile(), hostile(), -1000i32..1000, list), |(pieces, a, b, n, l)| {
        let values = json!({"a": a, "b": b, "n": n, "l": l});
        check(&pieces, &serde_json::from_value(values).expect("a map"));
        Ok(())
    });
    result.unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn every_piece_takes_every_byte() {
    let bytes: String = (1..=255u8).map(char::from).collect();
    let values =
        json!({"a": bytes, "b": "\n\n'\"`$(touch canary)\n", "n": -5, "l": ["-n", "", "$(touch canary)"]});
    let values = serde_json::from_value(values).expect("a map");
    for piece in 0..PIECES.len() {
        check(&[piece], &values);
    }
}

#[test]
fn a_value_too_long_for_the_environment_goes_by_file() {
    let long = "a'$(touch canary)\n".repeat(12_000) + "\n\n";
    assert!(long.len() > 200 * 1024);
    let values = json!({"a": long, "b": "$(touch canary)", "n": 1, "l": []});
    check(&[0, 2, 4, 6, 12], &serde_json::from_value(values).expect("a map"));
}
