//! What cannot be safe is refused, with its place.

use std::collections::BTreeSet;

use ergon_template::{Kind, Name, RenderError, Template};
use serde_json::json;

fn compile(source: &str) -> Result<Template, String> {
    let name = |kind, constrained| Name { kind, constrained };
    let names = [
        ("params.text", name(Kind::Text, false)),
        ("params.number", name(Kind::Number, false)),
        ("params.one-of", name(Kind::Text, true)),
        ("params.list", name(Kind::List, false)),
    ];
    let names = names.into_iter().map(|(key, name)| (key.to_owned(), name)).collect();
    Template::script(source, &names, &BTreeSet::new()).map_err(|e| e.to_string())
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
        ("echo \\{{params.text}}", "1:7: a backslash before a tag"),
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
        (
            "#!/usr/bin/env python3\nprint({{params.text}})",
            "2:7: `params.text` in a script that is not a shell's",
        ),
        ("#!/usr/bin/lua\nprint({{{params.text}}})", "2:7: `params.text` as raw text"),
        ("echo 'a", "1:8: a quote, substitution"),
        ("echo $(case x in x) echo {{params.text}};; esac", "1:48: a quote, substitution"),
        ("x=$(echo case x in a) {{params.text}}", "1:14: a `case` in the middle"),
        ("{{> other}}", "1:1: `> other`"),
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
    ] {
        compile(source).unwrap_or_else(|e| panic!("{source}\n{e}"));
    }
}

#[test]
fn names_of_variables_are_the_same_each_time_and_nobody_elses() {
    let template =
        compile("echo {{params.text}} ERGON_V {{params.number}} {{params.text}}").expect("compiles");
    let values = serde_json::from_value(json!({"params.text": "a", "params.number": 2})).expect("a map");
    let rendered = template.render(&values, "/x").expect("renders");
    assert_eq!(rendered.script, "echo \"${ERGON_V_1}\" ERGON_V \"${ERGON_V_2}\" \"${ERGON_V_1}\"");
    assert_eq!(
        rendered.env,
        [("ERGON_V_1", "a"), ("ERGON_V_2", "2")].map(|(k, v)| (k.into(), v.into())).into()
    );
}

#[test]
fn values_that_do_not_fit_are_errors() {
    let template = compile("echo {{params.text}}").expect("compiles");
    let render = |value| template.render(&serde_json::from_value(value).expect("a map"), "/x").err();
    assert_eq!(render(json!({})), Some(RenderError::Missing("params.text".into())));
    assert_eq!(render(json!({"params.text": "a\0b"})), Some(RenderError::Nul("params.text".into())));
    assert!(matches!(render(json!({"params.text": 1})), Some(RenderError::Kind { .. })));
}
