//! Filling in what the user left open.

use ergon_api::{Config, CustomRun, Group, Pipeline, PipelineRun, SetDefaults, StepAction, Task, TaskRun};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::review::{Answer, Request};

/// The answer of `/mutate`. What cannot be read is let through: `/validate` says why.
pub(super) fn mutate(request: &Request, config: &Config) -> Answer {
    let Some(group) = request.group().filter(|_| !request.is_going_away()) else { return Answer::Allowed };
    let object = &request.object;
    let defaulted = match request.kind.name.as_str() {
        Task::KIND => with_defaults::<Task>(object, group, config),
        Pipeline::KIND => with_defaults::<Pipeline>(object, group, config),
        TaskRun::KIND => with_defaults::<TaskRun>(object, group, config),
        PipelineRun::KIND => with_defaults::<PipelineRun>(object, group, config),
        StepAction::KIND => with_defaults::<StepAction>(object, group, config),
        CustomRun::KIND => with_defaults::<CustomRun>(object, group, config),
        _ => None,
    };
    match defaulted {
        Some(defaulted) if defaulted != *object => {
            Answer::Patched(json!(json_patch::diff(object, &defaulted)))
        }
        _ => Answer::Allowed,
    }
}

fn with_defaults<K: SetDefaults + Serialize + DeserializeOwned + Clone>(
    object: &Value,
    group: Group,
    config: &Config,
) -> Option<Value> {
    let before: K = serde_json::from_value(object.clone()).ok()?;
    let mut after = before.clone();
    after.set_defaults(group, config);
    Some(overlay(object, &serde_json::to_value(&before).ok()?, &serde_json::to_value(&after).ok()?))
}

/// `original` with what changed from `before` to `after`, and nothing else: fields that our types do not know, and the
/// way in which the user wrote a value, stay.
fn overlay(original: &Value, before: &Value, after: &Value) -> Value {
    if before == after {
        return original.clone();
    }
    match (original, before, after) {
        (Value::Object(original), Value::Object(before), Value::Object(after)) => {
            let mut merged: Map<String, Value> = original.clone();
            for key in before.keys().filter(|key| !after.contains_key(*key)) {
                merged.remove(key);
            }
            for (key, value) in after {
                let value = match (original.get(key), before.get(key)) {
                    (Some(original), Some(before)) => overlay(original, before, value),
                    (_, Some(before)) if before == value => continue,
                    _ => value.clone(),
                };
                merged.insert(key.clone(), value);
            }
            Value::Object(merged)
        }
        (Value::Array(original), Value::Array(before), Value::Array(after))
            if original.len() == before.len() && before.len() == after.len() =>
        {
            let items = original.iter().zip(before).zip(after);
            items.map(|((original, before), after)| overlay(original, before, after)).collect()
        }
        _ => after.clone(),
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;

    use super::*;

    fn request(kind: &str, object: &Value) -> Request {
        let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
            "uid": "1", "operation": "CREATE", "kind": {"group": "ergon.dev", "version": "v1", "kind": kind},
            "object": object}});
        Request::read(review.to_string().as_bytes()).expect("a review")
    }

    /// The object after the answer's patch, as the API server would apply it.
    fn patched(request: &Request) -> Value {
        let review = mutate(request, &Config::default()).review(request);
        let mut object = request.object.clone();
        if let Some(patch) = review["response"]["patch"].as_str() {
            let patch = base64::engine::general_purpose::STANDARD.decode(patch).expect("base64");
            let patch: json_patch::Patch = serde_json::from_slice(&patch).expect("a patch");
            json_patch::patch(&mut object, &patch).expect("it applies");
        }
        object
    }

    #[test]
    fn a_run_gets_its_defaults_and_keeps_what_we_do_not_know() {
        let request = request(
            "TaskRun",
            &json!({"apiVersion": "ergon.dev/v1", "kind": "TaskRun", "metadata": {"name": "r"},
                "spec": {"taskRef": {"name": "t"}, "somethingNew": {"a": 1}}}),
        );
        let object = patched(&request);
        assert_eq!(object["spec"]["taskRef"], json!({"name": "t", "kind": "Task"}));
        assert_eq!(object["spec"]["somethingNew"], json!({"a": 1}));
        assert_eq!(object["spec"]["timeout"], "1h0m0s");
        let again = Request { object, ..request };
        assert_eq!(mutate(&again, &Config::default()), Answer::Allowed, "a second time changes nothing");
    }

    #[test]
    fn other_objects_are_let_through() {
        let bad = request("TaskRun", &json!({"metadata": {"name": "r"}, "spec": {"retries": "many"}}));
        assert_eq!(mutate(&bad, &Config::default()), Answer::Allowed);
        let leaving = json!({"metadata": {"name": "r", "deletionTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"taskRef": {"name": "t"}}});
        assert_eq!(mutate(&request("TaskRun", &leaving), &Config::default()), Answer::Allowed);
        assert_eq!(mutate(&request("Secret", &json!({})), &Config::default()), Answer::Allowed);
    }

    #[test]
    fn only_what_changed_is_laid_over() {
        let original = json!({"list": [{"a": "1", "x": true}], "text": 1.20, "keep": null});
        let before = json!({"list": [{"a": "1"}], "text": "1.2"});
        let after = json!({"list": [{"a": "1", "b": "new"}], "text": "1.2", "more": {}});
        assert_eq!(
            overlay(&original, &before, &after),
            json!({"list": [{"a": "1", "x": true, "b": "new"}], "text": 1.20, "keep": null, "more": {}})
        );
    }
}
