//! Objects as JSON, YAML or names.

use serde_json::{Value, json};

use crate::args::Output;
use crate::failure::{Failure, Result};

/// The objects in one of the formats that are not tables: one object by itself, several in a `List`.
pub fn objects(mut objects: Vec<Value>, output: Output, one: bool) -> Result<String> {
    for object in &mut objects {
        trim(object);
    }
    if output == Output::Name {
        return Ok(objects.iter().map(|object| name_of(object) + "\n").collect());
    }
    let value = match objects.pop() {
        Some(object) if one => object,
        last => {
            objects.extend(last);
            json!({"apiVersion": "v1", "kind": "List", "items": objects})
        }
    };
    let unwritable = |error: String| Failure::invalid(format!("the object cannot be written: {error}"));
    match output {
        Output::Yaml => serde_saphyr::to_string(&value).map_err(|error| unwritable(error.to_string())),
        Output::Json | Output::Table | Output::Name => serde_json::to_string_pretty(&value)
            .map(|text| text + "\n")
            .map_err(|error| unwritable(error.to_string())),
    }
}

/// Such as `pipelinerun.ergon.dev/build-1`, as kubectl writes it.
pub fn name_of(object: &Value) -> String {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let kind = text("/kind").to_lowercase();
    let group = text("/apiVersion").split_once('/').map(|(group, _)| format!(".{group}")).unwrap_or_default();
    format!("{kind}{group}/{}", text("/metadata/name"))
}

/// Leaves out who wrote which field, as kubectl does.
fn trim(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str) -> Value {
        json!({"apiVersion": "ergon.dev/v1", "kind": "TaskRun", "metadata": {"name": name, "managedFields": []}})
    }

    #[test]
    fn one_stands_alone_and_several_are_a_list() {
        let one = objects(vec![object("a")], Output::Json, true).unwrap();
        assert!(one.starts_with("{\n  \"apiVersion\": \"ergon.dev/v1\""), "{one}");
        assert!(!one.contains("managedFields"));
        let list = objects(vec![object("a")], Output::Yaml, false).unwrap();
        assert!(list.contains("kind: List") && list.contains("name: a"), "{list}");
        assert!(objects(Vec::new(), Output::Json, false).unwrap().contains("\"items\": []"));
    }

    #[test]
    fn names_are_kubectls() {
        let names = objects(vec![object("a"), object("b")], Output::Name, false).unwrap();
        assert_eq!(names, "taskrun.ergon.dev/a\ntaskrun.ergon.dev/b\n");
        assert_eq!(name_of(&json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}})), "pod/p");
    }
}
