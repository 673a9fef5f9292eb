//! What `v1` has no place for, in annotations: Tekton's where it has one, so that what Tekton stored is understood.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Path and annotation, in a kind whose objects have that field.
const TEKTONS: [(&str, &str); 4] = [
    ("spec.resources", "tekton.dev/v1beta1Resources"),
    ("status.cloudEvents", "tekton.dev/v1beta1CloudEvents"),
    ("status.resourcesResult", "tekton.dev/v1beta1ResourcesResult"),
    ("status.taskSpec.resources", "tekton.dev/v1beta1ResourcesStatus"),
];
/// Everything else: a JSON object of paths and values.
const OURS: &str = "ergon.dev/v1beta1";

/// The kept fields of an object by their path in `v1`.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Kept(BTreeMap<String, Value>);

impl Kept {
    /// Takes them out of the object's annotations. An annotation that cannot be read stays where it is.
    pub fn read(object: &mut Value) -> Self {
        let mut kept = Self::default();
        let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return kept };
        let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) else {
            return kept;
        };
        let before = annotations.len();
        let parsed = |value: &Value| -> Option<Value> { serde_json::from_str(value.as_str()?).ok() };
        if let Some(Value::Object(fields)) = annotations.get(OURS).and_then(parsed) {
            annotations.remove(OURS);
            kept.0.extend(fields);
        }
        for (path, annotation) in TEKTONS {
            if let Some(value) = annotations.get(annotation).and_then(parsed) {
                annotations.remove(annotation);
                kept.insert(path.to_owned(), value);
            }
        }
        if before > 0 && annotations.is_empty() {
            metadata.remove("annotations");
        }
        kept
    }

    /// Puts what is left into the object's annotations.
    pub fn write(mut self, object: &mut Value) {
        let mut annotations: Vec<(&str, String)> = TEKTONS
            .iter()
            .filter_map(|(path, annotation)| Some((*annotation, self.0.remove(*path)?.to_string())))
            .collect();
        if !self.0.is_empty() {
            annotations.push((OURS, json!(self.0).to_string()));
        }
        for (annotation, text) in annotations {
            let Some(object) = object.as_object_mut() else { return };
            let metadata = object.entry("metadata").or_insert_with(|| json!({}));
            let Some(metadata) = metadata.as_object_mut() else { return };
            let all = metadata.entry("annotations").or_insert_with(|| json!({}));
            if all.is_null() {
                *all = json!({});
            }
            if let Some(all) = all.as_object_mut() {
                all.insert(annotation.to_owned(), json!(text));
            }
        }
    }

    /// Whether they are in an annotation of this name.
    pub fn is_in(annotation: &str) -> bool {
        annotation == OURS || TEKTONS.iter().any(|(_, tektons)| *tektons == annotation)
    }

    pub fn insert(&mut self, path: String, value: Value) {
        self.0.insert(path, value);
    }

    pub fn iter(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.0.iter()
    }

    pub fn take(&mut self, path: &str) -> Option<Value> {
        self.0.remove(path)
    }
}
