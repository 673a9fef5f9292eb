//! Refusing what cannot work, with everything that is wrong and what to write instead.

use std::fmt::Write as _;

use ergon_api::config::{ConfigName, Problem};
use ergon_api::{
    Config, CustomRun, Pipeline, PipelineRun, PipelineSpec, StepAction, Task, TaskRun, Validate, convert,
    manifest,
    validate::{pipeline_run_update, summary, task_run_update},
};
use ergon_engine::graph::Graph;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::review::{Answer, Request};
use super::{MESSAGE, STORED};

/// The answer of `/validate`.
pub(super) fn validate(request: &Request, config: &Config) -> Answer {
    if request.kind.group.is_empty() && request.kind.name == "ConfigMap" {
        return settings(request);
    }
    if request.group().is_none() || request.is_going_away() {
        return Answer::Allowed;
    }
    // Labels and annotations may change on whatever is stored, even where an older release let it in.
    if request.operation == "UPDATE" && request.object["spec"] == request.old_object["spec"] {
        return Answer::Allowed;
    }
    if let Some(message) = too_large(request) {
        return Answer::Refused(message);
    }
    let outcome = match request.kind.name.as_str() {
        Task::KIND => read(request, |task: &Task| problems(task, config, None)),
        Pipeline::KIND => {
            read(request, |pipeline: &Pipeline| problems(pipeline, config, pipeline_problems(&pipeline.spec)))
        }
        TaskRun::KIND => read(request, |run: &TaskRun| {
            let frozen = old(request).map(|old: TaskRun| summary(&task_run_update(&old, run, config)));
            problems(run, config, frozen)
        }),
        PipelineRun::KIND => read(request, |run: &PipelineRun| {
            let spec = run.spec.pipeline_spec.as_ref().and_then(pipeline_problems);
            let frozen =
                old(request).map(|old: PipelineRun| summary(&pipeline_run_update(&old, run, config)));
            problems(run, config, spec.into_iter().chain(frozen))
        }),
        StepAction::KIND => read(request, |action: &StepAction| problems(action, config, None)),
        CustomRun::KIND => read(request, |run: &CustomRun| problems(run, config, None)),
        _ => Ok(Vec::new()),
    };
    let outcome = outcome.map(|problems| [older_problems(request), problems].concat());
    match outcome {
        Ok(problems) if problems.is_empty() => Answer::Allowed,
        Ok(problems) => Answer::Refused(format!("validation failed: {}", bounded(&problems))),
        Err(error) => Answer::Refused(bounded(&unreadable(request, &error))),
    }
}

/// Whether the settings in a ConfigMap can be taken over.
fn settings(request: &Request) -> Answer {
    let Some(name) = request.object["metadata"]["name"].as_str().and_then(ConfigName::of) else {
        return Answer::Allowed;
    };
    let data = serde_json::from_value(request.object["data"].clone()).unwrap_or_default();
    let problems = Config::default().take(name, &data);
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    if problems.iter().any(Problem::is_error) {
        Answer::Refused(bounded(&told))
    } else if told.is_empty() {
        Answer::Allowed
    } else {
        Answer::Warned(told)
    }
}

/// What cannot be used of a new object in an older version.
fn older_problems(request: &Request) -> Vec<String> {
    if request.operation != "CREATE" || request.sent.version != convert::V1BETA1 {
        return Vec::new();
    }
    let refusals = convert::refusals(&request.object);
    refusals.into_iter().map(|field| format!("{} ({})", field.message, field.help)).collect()
}

fn too_large(request: &Request) -> Option<String> {
    if request.size <= STORED {
        return None;
    }
    let size = request.object.to_string().len();
    (size > STORED).then(|| {
        format!(
            "the object has {size} bytes, and a cluster can store at most {STORED}: \
             move large texts into images or ConfigMaps, or split it"
        )
    })
}

/// Why the object is not one of its kind, with the fields. `error` is what the quick way said, which has no place.
fn unreadable(request: &Request, error: &serde_json::Error) -> Vec<String> {
    let problems = manifest::from_value(request.object.clone(), "").err().unwrap_or_default();
    let mut all: Vec<String> = problems
        .into_iter()
        .map(|problem| {
            let place = if problem.path.is_empty() { String::new() } else { format!("{}: ", problem.path) };
            let help = problem.help.map(|help| format!(" ({help})")).unwrap_or_default();
            format!("{place}{}{help}", problem.message)
        })
        .collect();
    if all.is_empty() {
        all.push(error.to_string());
    }
    all[0].insert_str(0, "the object cannot be read: ");
    all
}

/// As many of the problems as a message has room for.
fn bounded(problems: &[String]) -> String {
    let mut text = String::new();
    for (at, problem) in problems.iter().enumerate() {
        if at > 0 && text.len() + problem.len() > MESSAGE {
            let _ = write!(text, "; and {} more", problems.len() - at);
            break;
        }
        let separator = if at > 0 { "; " } else { "" };
        let end = problem.floor_char_boundary(MESSAGE);
        let cut = if end < problem.len() { "…" } else { "" };
        let _ = write!(text, "{separator}{}{cut}", &problem[..end]);
    }
    text
}

fn read<K: DeserializeOwned>(
    request: &Request,
    check: impl FnOnce(&K) -> Vec<String>,
) -> Result<Vec<String>, serde_json::Error> {
    serde_json::from_value(request.object.clone()).map(|object| check(&object))
}

/// The object before the update; none on creation, and where what is stored cannot be read.
fn old<K: DeserializeOwned>(request: &Request) -> Option<K> {
    if request.operation != "UPDATE" || request.old_object == Value::Null {
        return None;
    }
    serde_json::from_value(request.old_object.clone()).ok()
}

/// What the object itself shows, and more; each problem once.
fn problems<K: Validate>(object: &K, config: &Config, more: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for problem in object.validate(config).iter().map(ToString::to_string).chain(more) {
        if !problem.is_empty() && !all.contains(&problem) {
            all.push(problem);
        }
    }
    all
}

fn pipeline_problems(spec: &PipelineSpec) -> Option<String> {
    Graph::build(&spec.tasks).err().map(|error| format!("invalid value: {error}: spec.tasks"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn review(kind: &str, operation: &str, object: Value, old: &Value) -> Answer {
        let mut object = object;
        object["apiVersion"] = json!("ergon.dev/v1");
        object["kind"] = json!(kind);
        if object["metadata"].is_null() {
            object["metadata"] = json!({"name": "x", "namespace": "ns"});
        }
        let review = json!({"request": {"uid": "1", "operation": operation, "object": object, "oldObject": old,
            "kind": {"group": "ergon.dev", "version": "v1", "kind": kind}}});
        validate(&Request::read(review.to_string().as_bytes()).expect("a review"), &Config::default())
    }

    #[test]
    fn what_only_an_older_version_has_is_refused_in_new_objects_of_it() {
        let object = json!({"apiVersion": "tekton.dev/v1", "kind": "Task",
            "metadata": {"name": "t", "annotations": {"tekton.dev/v1beta1Resources": "{\"inputs\":[]}"}},
            "spec": {"steps": [{"image": "i"}]}});
        let answer = |version: &str| {
            let kind = |version: &str| json!({"group": "tekton.dev", "version": version, "kind": "Task"});
            let review = json!({"request": {"uid": "1", "operation": "CREATE", "object": object,
                "kind": kind("v1"), "requestKind": kind(version)}});
            validate(&Request::read(review.to_string().as_bytes()).expect("a review"), &Config::default())
        };
        let message = "validation failed: must not set the field(s): spec.resources \
            (PipelineResources are gone: use params, results and workspaces)";
        assert_eq!(answer("v1beta1"), Answer::Refused(message.to_owned()));
        assert_eq!(answer("v1"), Answer::Allowed);
    }

    fn step() -> Value {
        json!({"name": "a", "image": "i", "command": ["true"]})
    }

    fn task(name: &str, after: &[&str]) -> Value {
        json!({"name": name, "runAfter": after, "taskSpec": {"steps": [step()]}})
    }

    #[test]
    fn what_is_right_is_allowed() {
        for (kind, spec) in [
            ("Task", json!({"steps": [step()]})),
            ("Pipeline", json!({"tasks": [task("a", &[]), task("b", &["a"])]})),
            ("TaskRun", json!({"taskSpec": {"steps": [step()]}})),
            ("TaskRun", json!({"taskRef": {"name": "t"}})),
            ("PipelineRun", json!({"pipelineRef": {"name": "p"}})),
            ("PipelineRun", json!({"pipelineSpec": {"tasks": [task("a", &[])]}})),
        ] {
            let answer = review(kind, "CREATE", json!({"spec": spec}), &Value::Null);
            assert_eq!(answer, Answer::Allowed, "{kind} {spec}");
        }
    }

    #[test]
    fn what_is_wrong_is_refused_with_the_place() {
        let cycle = json!({"tasks": [task("a", &["b"]), task("b", &["a"])]});
        for (kind, spec, expected) in [
            ("Task", json!({"steps": []}), "spec.steps"),
            ("Task", json!({"steps": [{"name": "a", "image": "i", "ref": {"name": "s"}}]}), "spec.steps[0]"),
            ("Task", json!({"steps": "none"}), "cannot be read"),
            ("TaskRun", json!({}), "taskRef"),
            ("Pipeline", cycle.clone(), "a -> b -> a"),
            ("PipelineRun", json!({"pipelineSpec": cycle}), "a -> b -> a"),
            ("Pipeline", json!({"tasks": [task("a", &["nowhere"])]}), "nowhere"),
        ] {
            match review(kind, "CREATE", json!({"spec": spec}), &Value::Null) {
                Answer::Refused(message) => assert!(message.contains(expected), "{message}"),
                other => panic!("{kind} {spec}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_the_field_and_what_it_takes() {
        let tasks = json!({"tasks": [{"name": "a", "taskRef": {"name": "t"},
            "when": [{"input": "x", "operator": "equals", "values": ["x"]}]}]});
        for (kind, spec, expected) in [
            ("Pipeline", tasks.clone(), ["spec.tasks[0].when[0].operator: unknown variant `equals`", "`in`"]),
            (
                "PipelineRun",
                json!({"pipelineSpec": tasks}),
                ["spec.pipelineSpec.tasks[0].when[0].operator: unknown variant `equals`", "`notin`"],
            ),
            ("TaskRun", json!({"retries": "many"}), ["spec.retries: ", "\"many\""]),
            ("Task", json!({"steps": "none"}), ["spec.steps: ", "expected a sequence"]),
            ("Task", json!({"steps": [{"imgae": "i", "onError": 7}]}), ["spec.steps[0].imgae", "`image`"]),
        ] {
            for group in ["tekton.dev", "ergon.dev"] {
                let object = json!({"apiVersion": format!("{group}/v1"), "kind": kind, "spec": spec,
                    "metadata": {"name": "x", "namespace": "ns"}});
                let review = json!({"request": {"uid": "1", "operation": "CREATE", "object": object,
                    "kind": {"group": group, "version": "v1", "kind": kind}}});
                let answer = validate(
                    &Request::read(review.to_string().as_bytes()).expect("a review"),
                    &Config::default(),
                );
                let Answer::Refused(message) = answer else { panic!("{group} {kind} {spec}: {answer:?}") };
                assert!(message.starts_with("the object cannot be read: "), "{message}");
                assert!(expected.iter().all(|expected| message.contains(expected)), "{message}");
            }
        }
    }

    #[test]
    fn what_cannot_be_stored_is_refused_with_its_size() {
        let script = "x".repeat(STORED);
        let spec = json!({"steps": [{"name": "a", "image": "i", "script": script}]});
        match review("Task", "CREATE", json!({"spec": spec}), &Value::Null) {
            Answer::Refused(message) => {
                assert!(message.contains("a cluster can store at most 1572864"), "{message}");
                assert!(message.starts_with("the object has 157"), "{message}");
            }
            other => panic!("{other:?}"),
        }
        // The old object counts for nothing.
        let old = json!({"metadata": {"name": "x"}, "spec": spec});
        assert_eq!(review("Task", "UPDATE", json!({"spec": {"steps": [step()]}}), &old), Answer::Allowed);
    }

    #[test]
    fn settings_that_cannot_be_read_are_refused_and_others_warned_of() {
        let review = |name: &str, data: Value| {
            let review = json!({"request": {"uid": "1", "operation": "UPDATE", "kind": {"version": "v1", "kind": "ConfigMap"},
                "object": {"metadata": {"name": name, "namespace": "tekton-pipelines"}, "data": data}}});
            validate(&Request::read(review.to_string().as_bytes()).expect("a review"), &Config::default())
        };
        assert_eq!(review("feature-flags", json!({"coschedule": "disabled"})), Answer::Allowed);
        assert_eq!(review("somebody-elses", json!({"coschedule": "?"})), Answer::Allowed);
        assert_eq!(review("config-defaults", Value::Null), Answer::Allowed);
        assert!(matches!(review("feature-flags", json!({"coschedule": "?"})), Answer::Refused(message)
            if message.contains("none of workspaces")));
        assert!(matches!(review("feature-flags", json!({"coschedul": "?"})), Answer::Warned(messages)
            if messages[0].contains("did you mean `coschedule`?")));
    }

    #[test]
    fn a_message_has_a_bound() {
        let many: Vec<String> = (0..1000).map(|number| format!("problem {number} of many")).collect();
        let text = bounded(&many);
        assert!(text.len() <= MESSAGE + 20 && text.starts_with("problem 0 of many; problem 1"), "{text}");
        assert!(text.ends_with(" more"), "{text}");
        let long = bounded(&["ä".repeat(MESSAGE)]);
        assert!(long.len() <= MESSAGE + '…'.len_utf8() && long.ends_with('…'));
        assert_eq!(bounded(&["a".to_owned(), "b".to_owned()]), "a; b");
    }

    #[test]
    fn a_run_that_has_started_keeps_its_spec() {
        let run = |spec: Value| {
            json!({"metadata": {"name": "x", "namespace": "ns"}, "spec": spec,
            "apiVersion": "ergon.dev/v1", "kind": "TaskRun",
            "status": {"startTime": "2026-01-01T00:00:00Z", "conditions": [{"type": "Succeeded", "status": "Unknown"}]}})
        };
        let old = run(json!({"taskRef": {"name": "t", "kind": "Task"}}));
        let cancelled = run(json!({"taskRef": {"name": "t", "kind": "Task"}, "status": "TaskRunCancelled"}));
        assert_eq!(review("TaskRun", "UPDATE", cancelled, &old), Answer::Allowed);
        let other = run(json!({"taskRef": {"name": "other", "kind": "Task"}}));
        assert!(matches!(review("TaskRun", "UPDATE", other, &old), Answer::Refused(message)
            if message.contains("Once the TaskRun has started")));
    }

    #[test]
    fn labels_may_change_on_whatever_is_stored() {
        let bad = json!({"metadata": {"name": "x"}, "spec": {"steps": []}});
        assert_eq!(review("Task", "UPDATE", bad.clone(), &bad), Answer::Allowed);
    }
}
