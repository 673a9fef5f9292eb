//! JSON Schemas for editors, from the same types as the custom resource definitions.

use ergon_api::{Group, crd};
use serde_json::{Map, Value, json};

const DRAFT: &str = "http://json-schema.org/draft-07/schema#";

/// A schema for each kind, and one for a file that holds any of them.
pub(crate) fn all() -> Vec<(String, Value)> {
    let kinds = crd::kinds().iter().map(|kind| (format!("{}.json", kind.kind.to_lowercase()), of(kind)));
    kinds.chain([("ergon.json".to_owned(), any())]).collect()
}

/// Objects of one kind, in both groups.
fn of(kind: &crd::Kind) -> Value {
    let mut schema = Value::clone(&kind.schema);
    open_pipelines(&mut schema);
    strict(&mut schema);
    let versions: Vec<String> =
        Group::ALL.iter().map(|group| format!("{}/{}", group.name(), kind.version)).collect();
    schema["$schema"] = DRAFT.into();
    schema["title"] = kind.kind.into();
    schema["required"] = json!(["apiVersion", "kind", "metadata", "spec"]);
    schema["properties"]["apiVersion"]["enum"] = json!(versions);
    schema["properties"]["kind"]["const"] = kind.kind.into();
    schema["properties"]["metadata"] = metadata();
    if schema["properties"].get("status").is_some() {
        schema["properties"]["status"] =
            json!({"type": "object", "description": "What the controller writes."});
    }
    schema
}

/// Any object: those of ours by their kinds, and others as they are.
fn any() -> Value {
    let rules: Vec<Value> = crd::kinds()
        .iter()
        .map(|kind| {
            let versions: Vec<String> =
                Group::ALL.iter().map(|group| format!("{}/{}", group.name(), kind.version)).collect();
            json!({
                "if": {
                    "properties": {"apiVersion": {"enum": versions}, "kind": {"const": kind.kind}},
                    "required": ["apiVersion", "kind"],
                },
                "then": {"$ref": format!("{}.json", kind.kind.to_lowercase())},
            })
        })
        .collect();
    let text = |words: &str| json!({"type": "string", "description": words});
    json!({
        "$schema": DRAFT,
        "title": "Objects of Ergon, and others beside them",
        "type": "object",
        "required": ["apiVersion", "kind"],
        "properties": {
            "apiVersion": text("The group and version of this object's kind: `ergon.dev/v1`."),
            "kind": text("Such as `Task`, `Pipeline`, `TaskRun` or `PipelineRun`."),
        },
        "allOf": rules,
    })
}

fn metadata() -> Value {
    let texts = |words: &str| json!({"type": "object", "description": words, "additionalProperties": {"type": "string"}});
    json!({
        "type": "object",
        "description": "The object's name and labels.",
        "properties": {
            "name": {"type": "string", "description": "The object's name."},
            "generateName": {"type": "string", "description": "What the name begins with: the API server adds the rest."},
            "namespace": {"type": "string", "description": "The namespace; the current one when absent."},
            "labels": texts("Labels, which objects can be selected by."),
            "annotations": texts("Annotations, for tools and people."),
        },
    })
}

/// A Pipeline that is written out in a Pipeline is one, too.
fn open_pipelines(schema: &mut Value) {
    visit(schema, &mut |map| {
        let Some(Value::Object(properties)) = map.get_mut("properties") else { return };
        if let Some(found) =
            properties.get_mut("pipelineSpec").filter(|found| found.get("properties").is_none())
        {
            *found = json!({"$ref": "pipeline.json#/properties/spec"});
        }
    });
}

/// Fields that are not known are marked, and what only an API server reads is left out.
fn strict(schema: &mut Value) {
    visit(schema, &mut |map| {
        let is_open = map.get("x-kubernetes-preserve-unknown-fields").is_some();
        map.retain(|name, _| !name.starts_with("x-kubernetes-"));
        if map.contains_key("properties") && !is_open && !map.contains_key("additionalProperties") {
            map.insert("additionalProperties".to_owned(), false.into());
        }
    });
}

/// Calls `change` with each schema, from the outside in.
fn visit(schema: &mut Value, change: &mut impl FnMut(&mut Map<String, Value>)) {
    let Value::Object(map) = schema else { return };
    change(map);
    if let Some(Value::Object(properties)) = map.get_mut("properties") {
        properties.values_mut().for_each(|inner| visit(inner, change));
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = map.get_mut(key) {
            visit(inner, change);
        }
    }
}
