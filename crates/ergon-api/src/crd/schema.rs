//! From what schemars makes of a Rust type to what the API server takes: a structural schema.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

/// The structural schema of a type.
pub(super) fn of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    simplify(&mut schema);
    schema
}

/// Rewrites a schema and all that is below it.
fn simplify(schema: &mut Value) {
    let Value::Object(map) = schema else { return };
    for key in ["$schema", "title", "default", "nullable", "$defs"] {
        map.remove(key);
    }
    unwrap_optional(map);
    hoist_enum(map);
    if let Some(Value::Array(types)) = map.get_mut("type") {
        types.retain(|type_| type_ != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            map.insert("type".to_owned(), only);
        }
    }
    // Unsigned formats are unknown to OpenAPI, and so is `minimum: 0` on lengths that we do not have.
    if map.get("format").and_then(Value::as_str).is_some_and(|format| format.starts_with("uint")) {
        map.remove("format");
    }
    if let Some(description) = map.get_mut("description") {
        *description = Value::String(as_prose(description.as_str().unwrap_or_default()));
    }
    if map.get("additionalProperties").is_some_and(Value::is_boolean) {
        map.remove("additionalProperties");
    }
    if let Some(Value::Object(properties)) = map.get_mut("properties") {
        properties.values_mut().for_each(simplify);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = map.get_mut(key) {
            simplify(inner);
            // The field above says what it is; the type's own words would only repeat it.
            if let Value::Object(inner) = inner
                && !inner.contains_key("properties")
            {
                inner.remove("description");
            }
        }
    }
}

/// `anyOf: [T, null]` becomes `T`: an absent field says the same, and the API server does not store nulls for us.
fn unwrap_optional(map: &mut Map<String, Value>) {
    for key in ["anyOf", "oneOf"] {
        let Some(Value::Array(options)) = map.get_mut(key) else { continue };
        let is_null = |option: &Value| option.get("type").is_some_and(|type_| type_ == "null");
        if !options.iter().any(is_null) {
            continue;
        }
        options.retain(|option| !is_null(option));
        if options.len() == 1
            && let Some(Value::Object(only)) = options.pop()
        {
            map.remove(key);
            for (name, value) in only {
                // The field's own description is the better one.
                map.entry(name).or_insert(value);
            }
        }
    }
}

/// `oneOf` of described constants becomes one `enum`: the API server wants the type at the top.
fn hoist_enum(map: &mut Map<String, Value>) {
    if let Some(Value::Array(options)) = map.get("oneOf") {
        let words: Option<Vec<Value>> = options
            .iter()
            .map(|option| match (option.get("const"), option.get("enum")) {
                (Some(word @ Value::String(_)), _) => Some(vec![word.clone()]),
                (None, Some(Value::Array(words))) => Some(words.clone()),
                _ => None,
            })
            .collect::<Option<Vec<Vec<Value>>>>()
            .map(|words| words.concat());
        if let Some(words) = words {
            map.remove("oneOf");
            map.insert("type".to_owned(), Value::String("string".to_owned()));
            map.insert("enum".to_owned(), Value::Array(words));
        }
    }
    if let Some(word) = map.remove("const") {
        map.insert("enum".to_owned(), Value::Array(vec![word]));
    }
    if let Some(Value::Array(words)) = map.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
}

/// A doc comment as running text: paragraphs on one line each, no links to Rust items.
fn as_prose(text: &str) -> String {
    text.split("\n\n")
        .map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect::<Vec<_>>()
        .join("\n\n")
        .replace("[`", "`")
        .replace("`]", "`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Matrix, PipelineTask, TaskRunSpec};

    #[test]
    fn optional_words_become_one_enum() {
        let schema = of::<TaskRunSpec>();
        let status = &schema["properties"]["status"];
        assert_eq!(status["type"], "string");
        assert_eq!(status["enum"], serde_json::json!(["TaskRunCancelled", "TaskRunPending"]));
        assert!(status["description"].as_str().unwrap().starts_with("`TaskRunCancelled` cancels"));
    }

    #[test]
    fn optional_structures_keep_their_fields() {
        let schema = of::<PipelineTask>();
        assert_eq!(schema["properties"]["matrix"]["properties"].as_object().unwrap().len(), 4);
        assert!(
            schema["properties"]["taskSpec"]["properties"]["steps"]["items"]["properties"]["script"]
                .is_object()
        );
        assert_eq!(of::<Matrix>()["properties"]["params"]["type"], "array");
    }
}
