//! The files of `tests/data/convert`: an object in v1beta1, the same in v1, and, where it is not the first one, what
//! is read back.

use ergon_api::convert;
use proptest::prelude::*;
use serde_json::{Value, json};

#[test]
fn both_ways() {
    let mut failures = Vec::new();
    for path in crate::manifests::data("convert") {
        let text = std::fs::read_to_string(&path).unwrap();
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        let (older, newer) = (&documents[0], &documents[1]);
        let back = documents.get(2).unwrap_or(older);
        for (what, from, to) in [("up", older, newer), ("down", newer, back), ("up again", back, newer)] {
            let version = to["apiVersion"].as_str().unwrap();
            let found = convert::convert(from.clone(), version).unwrap();
            if with_parsed_annotations(&found) != with_parsed_annotations(to) {
                failures.push(format!("{} {what}:\n{found:#}", path.display()));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Kept values are compared as values.
fn with_parsed_annotations(object: &Value) -> Value {
    let mut object = object.clone();
    for annotation in object
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut)
        .into_iter()
        .flat_map(serde_json::Map::values_mut)
    {
        if let Ok(value) = serde_json::from_str(annotation.as_str().unwrap_or_default()) {
            *annotation = value;
        }
    }
    object
}

#[test]
fn other_kinds_and_versions_only_change_their_name() {
    let action =
        json!({"apiVersion": "tekton.dev/v1alpha1", "kind": "StepAction", "spec": {"resources": {}}});
    let converted = convert::convert(action.clone(), "tekton.dev/v1beta1").unwrap();
    assert_eq!(
        converted,
        json!({"apiVersion": "tekton.dev/v1beta1", "kind": "StepAction", "spec": {"resources": {}}})
    );
    assert_eq!(convert::convert(converted, "tekton.dev/v1alpha1").unwrap(), action);
    let same = json!({"apiVersion": "tekton.dev/v1", "kind": "Task", "spec": {"steps": [{"resources": {}}]}});
    assert_eq!(convert::convert(same.clone(), "tekton.dev/v1").unwrap(), same);
    let error = convert::convert(same, "ergon.dev/v1").unwrap_err();
    assert_eq!(
        error.to_string(),
        "an object of `tekton.dev/v1` cannot be converted to `ergon.dev/v1`: they are not of one group"
    );
}

#[test]
fn what_tekton_refuses_is_told_with_its_place() {
    let mut run = json!({"apiVersion": "tekton.dev/v1beta1", "kind": "PipelineRun", "spec": {
        "timeout": "1h", "timeouts": {"tasks": "30m"}, "taskRunTemplate": {},
        "pipelineSpec": {"tasks": [{"name": "a", "resources": {}}]}}});
    let told: Vec<(String, String)> =
        convert::to_v1(&mut run).into_iter().map(|leftover| (leftover.path, leftover.message)).collect();
    let expected = [
        ("spec.timeout", "expected exactly one, got both: spec.timeout, spec.timeouts"),
        ("spec.taskRunTemplate", "unknown field `taskRunTemplate`"),
        (
            "spec.pipelineSpec.tasks[0].resources",
            "must not set the field(s): spec.pipelineSpec.tasks[0].resources",
        ),
    ];
    assert_eq!(told, expected.map(|(path, message)| (path.to_owned(), message.to_owned())));
    // They are kept, and found again in what was stored.
    assert_eq!(run["spec"]["timeouts"], json!({"tasks": "30m", "pipeline": "1h"}));
    let stored: Vec<String> = convert::refusals(&run).into_iter().map(|leftover| leftover.path).collect();
    assert_eq!(stored, ["spec.pipelineSpec.tasks[0].resources"]);
}

/// Any value, with names that matter here in it.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-z.\\[\\]0]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 48, 6, |inner| {
        let names = prop_oneof![
            Just("spec"),
            Just("status"),
            Just("steps"),
            Just("tasks"),
            Just("taskSpec"),
            Just("pipelineSpec"),
            Just("resources"),
            Just("tty"),
            Just("stepOverrides"),
            Just("taskRunSpecs"),
            Just("podTemplate"),
            Just("serviceAccountName"),
            Just("timeout"),
            Just("timeouts"),
            Just("taskRef"),
            Just("bundle"),
            Just("taskResults"),
            Just("retriesStatus"),
            Just("metadata"),
            Just("annotations"),
            Just("other"),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(names.prop_map(str::to_owned), inner, 0..6)
                .prop_map(|map| json!(map)),
        ]
    })
}

#[test]
fn parameters_of_resolution_requests_are_a_map_or_a_list() {
    let request = |version: &str, params: &Value| {
        json!({"apiVersion": format!("resolution.tekton.dev/{version}"), "kind": "ResolutionRequest",
            "metadata": {"name": "r"}, "spec": {"params": params, "url": "https://h/t"}})
    };
    let older = request("v1alpha1", &json!({"a": "1", "b": "2"}));
    let newer = request("v1beta1", &json!([{"name": "a", "value": "1"}, {"name": "b", "value": "2"}]));
    let to = |object: &Value, version: &str| {
        convert::convert(object.clone(), &format!("resolution.tekton.dev/{version}"))
    };
    assert_eq!(to(&older, "v1beta1").as_ref(), Ok(&newer));
    assert_eq!(to(&newer, "v1alpha1").as_ref(), Ok(&older));
    assert_eq!(to(&newer, "v1beta1").as_ref(), Ok(&newer));
    let lists = request("v1beta1", &json!([{"name": "a", "value": ["1"]}, {"name": "b", "value": "2"}]));
    assert_eq!(
        to(&lists, "v1alpha1").unwrap_err().to_string(),
        "cannot convert v1beta1 to v1alpha, non-string type parameter(s) found: a"
    );
}

proptest! {
    /// Whatever an object holds: nothing panics, and once it was read and written it does not change any more.
    #[test]
    fn a_round_trip_is_stable(
        mut object in prop::collection::btree_map("spec|status|metadata", value(), 0..4).prop_map(|map| json!(map)),
        kind in prop_oneof![Just("Task"), Just("Pipeline"), Just("TaskRun"), Just("PipelineRun")],
    ) {
        object["apiVersion"] = json!("tekton.dev/v1beta1");
        object["kind"] = json!(kind);
        let up = |object: &Value| convert::convert(object.clone(), "tekton.dev/v1").unwrap();
        let down = |object: &Value| convert::convert(object.clone(), "tekton.dev/v1beta1").unwrap();
        let newer = up(&object);
        prop_assert_eq!(up(&down(&newer)), newer);
    }
}
