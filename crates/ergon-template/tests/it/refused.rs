//! What cannot be safe is refused, with its place.

use std::collections::{BTreeMap, BTreeSet};

use ergon_template::{Given, Kind, Name, RenderError, Template};
use serde_json::{Value, json};

fn compile(source: &str) -> Result<Template, String> {
    let name = |kind, constrained| Name { constrained, ..Name::of(kind) };
    let names = [
        ("params.text", name(Kind::Text, false)),
        ("params.number", name(Kind::Number, false)),
        ("params.one-of", name(Kind::Text, true)),
        ("params.list", name(Kind::List, false)),
        ("params.object", name(Kind::Object, false)),
        ("steps.a.results.r", Name { late: true, ..Name::of(Kind::Text) }),
    ];
    let names = names.into_iter().map(|(key, name)| (key.to_owned(), name)).collect();
    Template::script(source, &names, &BTreeSet::new()).map_err(|e| e.to_string())
}

fn given(values: Value) -> BTreeMap<String, Given> {
    let values: BTreeMap<String, Value> = serde_json::from_value(values).expect("a map");
    values.into_iter().map(|(name, value)| (name, Given::Known(value))).collect()
}

#[test]
fn a_place_that_cannot_be_safe_is_refused() {
    for (source, found) in [
        ("a\n# {{params.text}}", "2:3: a value in a comment"),
        ("cat <<'EOF'\n{{params.text}}\nEOF\n", "2:1: a value in a here-document with a quoted delimiter"),
        ("sh <<EOF\n{{params.text}}\nEOF\n", "2:1: a value in a here-document that is a program"),
        ("cat <<EOF | sh\n{{params.text}}\nEOF\n", "2:1: a value in a here-document that is a program"),
        ("eval {{params.text}}", "1:6: a value in what a command reads as code"),
        ("'ev'al \"{{params.text}}\"", "1:9: a value in what a command reads as code"),
        ("command eval \"$(echo {{params.text}})\"", "1:22: a value in what"),
        ("sh -ec {{params.text}}", "1:8: a value in what"),
        ("trap '{{params.text}}' EXIT", "1:7: a value in what"),
        ("{{params.text}} x", "1:1: a value as the name of a command"),
        ("a && x/{{params.text}}", "1:8: a value as the name of a command"),
        ("echo $((1+{{params.text}}))", "1:11: a value in arithmetic"),
        ("((i = {{params.text}}))", "1:7: a value in arithmetic"),
        ("a[{{params.text}}]=1", "1:3: a value in a subscript"),
        ("a=([{{params.text}}]=1)", "1:5: a value in a subscript"),
        ("echo \"$a[{{params.text}}]\"", "1:10: a value in a subscript"),
        ("[[ {{params.text}} -eq 1 ]]", "1:23: a value that this command may read as arithmetic"),
        ("[ 1 -eq {{params.text}} ]", "1:9: a value that this command may read as arithmetic"),
        ("[ {{params.text}} {{params.text}} ]", "1:19: a value that this"),
        ("[ -v {{params.text}} ]", "1:6: a value that this"),
        ("printf {{params.text}} x", "1:8: a value where this command wants a variable's name"),
        ("printf -v {{params.text}} x", "1:11: a value where"),
        ("declare {{params.text}}", "1:9: a value where"),
        ("declare -i n; n={{params.text}}", "1:11: a value that this command may read as arithmetic"),
        ("read {{params.text}}", "1:6: a value where"),
        ("PS4={{params.text}}", "1:5: a value that this"),
        ("echo `echo {{params.text}}`", "1:12: a value in backticks"),
        ("echo ${x:-{{params.text}}}", "1:11: a value in `${…}`"),
        ("echo $'{{params.text}}'", "1:6: a `$'…'` with a tag"),
        ("echo ${{params.text}}", "1:6: a `$` before a tag"),
        ("echo \\\\{{params.text}} 'a", "1:26: a quote, substitution"),
        ("echo {{#if params.text}}'{{/if}}a'", "1:6: a block whose branches end in different quotes"),
        ("echo {{#each params.list}}\"{{/each}}", "1:6: a block whose branches"),
        ("echo{{#if params.text}} {{/if}}#x", "1:32: a `#` that may begin a comment"),
        ("cat <{{#if params.text}}<EOF{{/if}}", "1:25: a token that a tag cuts in two"),
        ("command -p {{params.text}} x", "1:12: a value as the name of a command"),
        ("cat <<EOF 'a\n{{params.text}}'\nEOF\n", "1:13: a quote or substitution that goes on"),
        ("cat <<EOF $(\n{{params.text}})\nEOF\n", "1:13: a quote or substitution that goes on"),
        ("echo a\r#'\n{{params.text}}", "2:16: a quote, substitution"),
        ("echo {{params.list}}", "1:6: `params.list` is a list"),
        ("echo {{params.txt}}", "1:6: `params.txt` is not known; write `params.text`"),
        ("echo {{{params.text}}}", "1:6: `params.text` as raw text in a shell script"),
        ("#!/usr/bin/lua\nprint({{params.text}})", "2:7: `params.text` in a script that is not a shell's"),
        (
            "#!/usr/bin/env python3\nprint(\"{{params.text}}\")",
            "2:8: a value inside a text; write the text's parts",
        ),
        ("#!/usr/bin/env python3\nx = f'''a\n{{params.text}}'''", "3:1: a value inside a text"),
        ("#!/usr/bin/python3.11\n# {{params.text}}", "2:3: a value in a comment"),
        ("#!/usr/bin/python3\nx = f{{params.text}}", "2:6: a value that is joined to what stands before"),
        ("#!/usr/bin/python3\nx = {{params.text}}'a'", "2:20: a value that something is joined to"),
        ("#!/usr/bin/python3\nx = {{params.text}}{{params.text}}", "2:20: a value that is joined"),
        ("#!/usr/bin/env node\n// {{params.text}}", "2:4: a value in a comment"),
        ("#!/usr/bin/env node\n/* a\n{{params.text}} */", "3:1: a value in a comment"),
        ("#!/usr/bin/env node\nx = `a {{params.text}}`", "2:8: a value inside a text; write `${ {{…}} }`"),
        ("#!/usr/bin/env node\nx = /a{{params.text}}/", "2:7: a value inside a text"),
        ("#!/usr/bin/env ruby\nputs \"#{1} {{params.text}}\"", "2:12: a value inside a text"),
        ("#!/usr/bin/env ruby\nx = %w(a {{params.text}})", "2:10: a value inside a text"),
        ("#!/usr/bin/env ruby\nx = <<~EOF\n{{params.text}}\nEOF", "3:1: a value inside a here-document"),
        ("#!/usr/bin/env ruby\n=begin\n{{params.text}}\n=end", "3:1: a value in a comment"),
        (
            "#!/usr/bin/perl\nprint \"{{params.text}}\"",
            "2:8: a value inside a text; write the text's parts and the value with a `.`",
        ),
        ("#!/usr/bin/perl\ns{a}{ {{params.text}} };", "2:7: a value inside a text"),
        ("#!/usr/bin/perl\n$x =~ s/a/{{params.text}}/;", "2:11: a value inside a text"),
        ("#!/usr/bin/perl\n__END__\n{{params.text}}", "3:1: a value in a comment"),
        ("#!/usr/bin/perl\n=pod\n\n{{params.text}}\n\n=cut", "4:1: a value in a comment"),
        ("#!/usr/bin/perl\nprint ${{params.text}}", "2:8: a value that is joined"),
        ("#!/usr/bin/lua\nprint({{{params.text}}})", "2:7: `params.text` as raw text"),
        ("echo 'a", "1:8: a quote, substitution"),
        ("echo $(case x in x) echo {{params.text}};; esac", "1:48: a quote, substitution"),
        ("x=$(echo case x in a) {{params.text}}", "1:14: a `case` in the middle"),
        ("{{> other}}", "1:1: `> other`"),
        (
            "docker inspect -f '{{.Id}}'",
            "1:20: `.Id`; write a name, or a helper and what it is given; or `\\{{`",
        ),
        ("docker ps -f '{{json .}}'", "1:15: `json .`; write a name"),
        ("echo '{{range .Items}}'", "1:7: `range .Items`; write a name"),
        ("echo {{upper params.text}}", "1:6: `upper`, which is no helper"),
        ("echo {{lower}}", "1:6: `lower` is not known"),
        ("echo {{lower params.text params.text}}", "1:6: `lower` with 2 arguments; write it with one"),
        ("echo {{lower params.list}}", "1:6: `lower` of a list or an object"),
        ("echo {{join params.text}}", "1:6: `join` of what is no list"),
        ("echo {{params.object}}", "1:6: `params.object` is an object"),
        ("echo {{this}}", "1:6: `this` outside of `#each` and `#with`"),
        ("echo {{#with params.text}}{{@index}}{{/with}}", "1:27: `@index` outside of `#each`"),
        ("{{#each params.list}}{{this.key}}{{/each}}", "1:22: a key of `this`, which is no object"),
        (
            "{{#if steps.a.results.r}}a{{/if}}",
            "1:1: a block or helper that looks at a value that is known only",
        ),
        ("echo {{lower steps.a.results.r}}", "1:6: a block or helper that looks at"),
        ("echo {{lower (lower params.text}}", "1:6: a `(` without its `)`"),
        ("echo {{default params.text \"x}}", "1:6: a text without its second quote"),
        ("{{#if params.text}}{{else}}{{else}}{{/if}}", "1:28: `{{else}}` without its block"),
        ("a {{#if params.text}}b{{else if params.number}}'{{/if}}", "1:23: a block whose branches"),
        ("{{lower params.text}} x", "1:1: a value as the name of a command"),
        ("{{#if params.text}}a", "1:1: `#if` without an end"),
    ] {
        let error = compile(source).err().unwrap_or_else(|| panic!("not refused: {source}"));
        assert!(error.starts_with(found), "{source}\n{error}");
    }
}

#[test]
fn what_the_author_constrains_may_stand_in_more_places() {
    for source in [
        "{{params.one-of}} x",
        "eval \"{{params.number}}\"",
        "echo $((1+{{params.number}}))",
        "#!/usr/bin/lua\nprint({{{params.one-of}}}, {{{params.number}}})",
        "echo {{{params.number}}}",
        "eval {{lower params.one-of}}",
        "echo $(({{params.number}} + {{#each params.list}}{{@index}} + {{/each}}0))",
    ] {
        compile(source).unwrap_or_else(|e| panic!("{source}\n{e}"));
    }
}

#[test]
fn names_of_variables_are_the_same_each_time_and_nobody_elses() {
    let template =
        compile("echo {{params.text}} ERGON_V {{params.number}} {{params.text}}").expect("compiles");
    let values = given(json!({"params.text": "a", "params.number": 2}));
    let rendered = template.render(&values).expect("renders");
    assert_eq!(rendered.script, "echo \"${ERGON_V_1}\" ERGON_V \"${ERGON_V_2}\" \"${ERGON_V_1}\"");
    assert_eq!(
        rendered.env,
        [("ERGON_V_1", "a"), ("ERGON_V_2", "2")].map(|(k, v)| (k.into(), v.into())).into()
    );
}

#[test]
fn values_that_do_not_fit_are_errors() {
    let template = compile("echo {{params.text}}").expect("compiles");
    let render = |value| template.render(&given(value)).err();
    assert_eq!(render(json!({})), Some(RenderError::Missing("params.text".into())));
    assert_eq!(render(json!({"params.text": "a\0b"})), Some(RenderError::Nul("params.text".into())));
    assert!(matches!(render(json!({"params.text": 1})), Some(RenderError::Kind { .. })));
}

#[test]
fn the_names_that_a_template_uses_are_found_with_their_places() {
    let source = "{{params.a}}\n{{#each params.l as |i|}}{{i}}{{this}}{{@index}}{{lower params.b}}{{/each}}{{params.a}}";
    let used: Vec<String> = Template::names(source)
        .expect("a template")
        .into_iter()
        .map(|used| format!("{}:{}:{}", used.line, used.column, used.name))
        .collect();
    assert_eq!(used, ["1:1:params.a", "2:1:params.l", "2:49:params.b"]);
}

#[test]
fn a_value_that_comes_later_is_put_down_by_where_it_comes_from() {
    let template =
        compile("#!/bin/sh\necho {{steps.a.results.r}} '{{steps.a.results.r}}'").expect("compiles");
    let values = [("steps.a.results.r".to_owned(), Given::Later("from".to_owned()))].into();
    let rendered = template.render(&values).expect("renders");
    assert_eq!(rendered.later, [("ERGON_V1".to_owned(), "from".to_owned())].into());
    let line = rendered.script.lines().nth(1).expect("a second line");
    assert!(line.ends_with("}; echo \"${ERGON_V1}\" ''\"${ERGON_V1}\"''"), "{line}");
}

#[test]
fn what_helpers_make_is_bounded() {
    let many = "x".repeat(100_000);
    for (source, text) in [
        ("echo {{replace params.text \"x\" params.text}}", many.as_str()),
        ("echo {{indent (indent (replace params.text \"x\" \"\ny\") 80) 80}}", many.as_str()),
    ] {
        let template = compile(source).expect("compiles");
        assert_eq!(template.render(&given(json!({"params.text": text}))), Err(RenderError::TooLong));
    }
}
