//! The fields that there are at a place, from the schemas of the kinds.

use std::sync::OnceLock;

use ergon_api::{PipelineSpec, crd};
use serde_json::Value;

use super::context::Outline;

/// A field that an object may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    pub name: String,
    pub type_: String,
    pub description: String,
}

/// The fields that may stand where the outline is.
pub(crate) fn fields(outline: &Outline) -> Vec<Field> {
    if outline.path.is_empty() {
        let top = schema(outline).and_then(|schema| schema.get("properties")).map(all).unwrap_or_default();
        return if top.is_empty() { of_any_object() } else { top };
    }
    let properties = schema(outline).and_then(|schema| schema.get("properties"));
    properties.map(all).unwrap_or_default()
}

/// The field that the outline is at.
pub(crate) fn field(outline: &Outline) -> Option<Field> {
    let key = outline.key.as_deref()?;
    fields(outline).into_iter().find(|field| field.name == key)
}

/// The words that the field at the outline may be.
pub(crate) fn words(outline: &Outline) -> Vec<String> {
    let Some(key) = outline.key.as_deref() else { return Vec::new() };
    if outline.path.is_empty() {
        let kinds = crd::kinds();
        return match key {
            "kind" => kinds.iter().map(|kind| kind.kind.to_owned()).collect(),
            "apiVersion" => ["ergon.dev/v1", "tekton.dev/v1", "ergon.dev/v1beta1", "tekton.dev/v1beta1"]
                .map(str::to_owned)
                .into(),
            _ => Vec::new(),
        };
    }
    let found = schema(outline).and_then(|schema| schema.get("properties")?.get(key));
    let found = found.map(|found| found.get("items").unwrap_or(found));
    let Some(found) = found else { return Vec::new() };
    if found.get("type").is_some_and(|type_| type_ == "boolean") {
        return vec!["true".to_owned(), "false".to_owned()];
    }
    let words = found.get("enum").and_then(Value::as_array).into_iter().flatten();
    words.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn of_any_object() -> Vec<Field> {
    [
        ("apiVersion", "string", "The group and version of this object's kind: `ergon.dev/v1`."),
        ("kind", "string", "`Task`, `Pipeline`, `TaskRun`, `PipelineRun` or `StepAction`."),
        ("metadata", "object", "The object's name and labels."),
        ("spec", "object", "What it is."),
    ]
    .map(|(name, type_, description)| Field {
        name: name.to_owned(),
        type_: type_.to_owned(),
        description: description.to_owned(),
    })
    .into()
}

fn all(properties: &Value) -> Vec<Field> {
    let text =
        |schema: &Value, name: &str| schema.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let of = |(name, schema): (&String, &Value)| Field {
        name: name.clone(),
        type_: match text(schema, "type").as_str() {
            "" => "any".to_owned(),
            "array" => format!(
                "list of {}",
                schema.get("items").map(|items| text(items, "type")).unwrap_or_default()
            ),
            type_ => type_.to_owned(),
        },
        description: text(schema, "description"),
    };
    // What the controller writes is nobody's to write.
    let is_written = |(name, _): &(&String, &Value)| !["status", "scriptValues"].contains(&name.as_str());
    properties.as_object().into_iter().flatten().filter(is_written).map(of).collect()
}

/// The schema of what holds the outline's field.
fn schema(outline: &Outline) -> Option<&'static Value> {
    static PIPELINE: OnceLock<Value> = OnceLock::new();
    static METADATA: OnceLock<Value> = OnceLock::new();
    let kind = crd::kinds().iter().find(|kind| Some(kind.kind) == outline.kind.as_deref())?;
    let mut schema: &'static Value = &kind.schema;
    for (depth, segment) in outline.path.iter().enumerate() {
        let (name, is_item) =
            segment.strip_suffix("[]").map_or((segment.as_str(), false), |name| (name, true));
        if depth == 0 && name == "metadata" {
            schema = METADATA.get_or_init(metadata);
            continue;
        }
        let next = schema.get("properties").and_then(|properties| properties.get(name));
        schema = match next.or_else(|| schema.get("additionalProperties"))? {
            // A pipeline inside of a pipeline is open in the schema.
            next if name == "pipelineSpec" && next.get("properties").is_none() => {
                PIPELINE.get_or_init(crd::schema_of::<PipelineSpec>)
            }
            next => next,
        };
        if is_item {
            schema = schema.get("items")?;
        }
    }
    Some(schema)
}

fn metadata() -> Value {
    let text = |description: &str| serde_json::json!({"type": "string", "description": description});
    serde_json::json!({"properties": {
        "name": text("The object's name."),
        "generateName": text("What the name begins with: the API server adds the rest."),
        "namespace": text("The namespace; the current one when absent."),
        "labels": {"type": "object", "description": "Labels, which objects can be selected by."},
        "annotations": {"type": "object", "description": "Annotations, for tools and people."},
    }})
}
