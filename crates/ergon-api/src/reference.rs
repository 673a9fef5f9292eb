//! The reference documentation of a kind, made from its schema: the same words as `kubectl explain`.

use std::fmt::Write as _;

use serde_json::Value;

use crate::Group;
use crate::crd::Kind;

/// Parts that have a page of their own, by field name.
const ELSEWHERE: &[(&str, &str, &str)] = &[
    ("taskSpec", "Task", "the spec of a [Task](task.md)"),
    ("pipelineSpec", "Pipeline", "the spec of a [Pipeline](pipeline.md)"),
];

/// The page about a kind, as Markdown.
pub fn markdown(kind: &Kind) -> String {
    let schema = &kind.schema;
    let mut out = format!("# {}\n\n", kind.kind);
    out.push_str("<!-- Made by `cargo run -p xtask -- codegen` from the types in crates/ergon-api. Do not edit. -->\n\n");
    let _ = writeln!(out, "{}\n", description(schema));
    let versions: Vec<String> = Group::ALL
        .iter()
        .flat_map(|group| kind.versions(*group).map(move |version| format!("`{}/{version}`", group.name())))
        .collect();
    let _ = writeln!(out, "Served as {}.", versions.join(", "));
    section(kind.kind, "", schema, &mut out);
    out
}

/// A table of the fields at `path`, then the sections of those that have fields.
fn section(kind: &str, path: &str, schema: &Value, out: &mut String) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    if !path.is_empty() {
        let _ = write!(out, "\n## {path}\n\n{}\n", description(schema));
    }
    out.push_str("\n| Field | Type | Meaning |\n| --- | --- | --- |\n");
    for (name, property) in properties {
        let (type_, _) = type_of(kind, name, property);
        let meaning = match description(property) {
            "" if name == "metadata" => "Name, namespace, labels and annotations.",
            words => words,
        };
        let meaning = meaning.replace('|', "\\|").replace("\n\n", "<br>").replace('\n', " ");
        let _ = writeln!(out, "| `{name}` | {type_} | {meaning} |");
    }
    for (name, property) in properties {
        let (_, inner) = type_of(kind, name, property);
        let Some((suffix, inner)) = inner else { continue };
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        section(kind, &format!("{path}{suffix}"), inner, out);
    }
}

/// What a field holds, in words, and the schema to describe below: itself, its items, or its values.
fn type_of<'a>(kind: &str, name: &str, schema: &'a Value) -> (String, Option<(&'static str, &'a Value)>) {
    if let Some((_, _, words)) = ELSEWHERE.iter().find(|(field, page, _)| *field == name && *page != kind) {
        return ((*words).to_owned(), None);
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        let words: Vec<String> =
            words.iter().filter_map(Value::as_str).map(|word| format!("`{word}`")).collect();
        return (words.join(", "), None);
    }
    let has_fields = schema.get("properties").is_some();
    match schema.get("type").and_then(Value::as_str) {
        Some("array") => {
            let items = schema.get("items").unwrap_or(&Value::Null);
            let (words, inner) = type_of(kind, "", items);
            (format!("list of {words}"), inner.map(|(_, inner)| ("[]", inner)))
        }
        Some("object") if has_fields => ("object".to_owned(), Some(("", schema))),
        Some("object") => match schema.get("additionalProperties") {
            Some(values) => {
                let (words, inner) = type_of(kind, "", values);
                (format!("map to {words}"), inner.map(|(_, inner)| (".*", inner)))
            }
            None => ("object".to_owned(), None),
        },
        Some("string") => (
            match (schema.get("format").and_then(Value::as_str), schema.get("pattern")) {
                (Some("date-time"), _) => "time",
                (_, Some(_)) => "duration",
                _ => "text",
            }
            .to_owned(),
            None,
        ),
        Some("integer" | "number") => ("number".to_owned(), None),
        Some("boolean") => ("boolean".to_owned(), None),
        _ => ("text, list or map".to_owned(), None),
    }
}

fn description(schema: &Value) -> &str {
    schema.get("description").and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::kinds;

    #[test]
    fn a_page_names_every_field_with_its_type() {
        let page = markdown(kinds().iter().find(|kind| kind.kind == "Pipeline").unwrap());
        for line in [
            "Served as `ergon.dev/v1`, `tekton.dev/v1`, `tekton.dev/v1beta1`.",
            "## spec.tasks[]",
            "| `taskSpec` | the spec of a [Task](task.md) |",
            "| `timeout` | duration | How long one attempt may take",
            "| `fuse` | `auto`, `never`, `pod`, `container` |",
            "## spec.tasks[].matrix.include[]",
        ] {
            assert!(page.contains(line), "no {line} in\n{page}");
        }
    }
}
