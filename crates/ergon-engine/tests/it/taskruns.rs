//! Task runs: each case is one observation of a pod and what the decision on it is.

use std::collections::BTreeSet;

use ergon_api::{Group, Task, TaskRun};
use ergon_engine::pod::{Account, Platform, SecretView, plan_of};
use ergon_engine::task::{Observed, PodSeen, pod_name, reconcile};
use ergon_engine::{Action, ImageConfig, Library, Need, Outcome};
use ergon_wire::{ExitRecord, PodReport, ReportTarget, TerminationMessage};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

/// A `record` in a container's state stands for the message that a shim would have left.
fn fill_in_messages(pod: &mut Value) {
    let containers = pod["status"]["containerStatuses"].as_array_mut();
    for container in containers.into_iter().flatten() {
        let defaults = json!({"image": "", "imageID": "", "ready": false, "restartCount": 0});
        for (key, value) in defaults.as_object().unwrap() {
            container.as_object_mut().unwrap().entry(key.clone()).or_insert(value.clone());
        }
        let terminated = &mut container["state"]["terminated"];
        if let Some(record) = terminated.as_object_mut().and_then(|state| state.remove("record")) {
            let record: ExitRecord = serde_json::from_value(record).unwrap();
            terminated["message"] = json!(TerminationMessage::encode(&record, None, 4096));
        }
    }
}

/// A list as a map, by what tells its items apart.
fn keyed(list: &Value, key: &str) -> Value {
    let items = list.as_array().into_iter().flatten();
    items
        .map(|item| (item[key].as_str().unwrap_or_default().to_owned(), item.clone()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// What a case may say of a pod: its lists as maps.
fn pod_by_names(pod: &Pod) -> Value {
    let pod = serde_json::to_value(pod).unwrap();
    let mut spec = pod["spec"].clone();
    for list in ["containers", "initContainers"] {
        for container in spec[list].as_array_mut().into_iter().flatten() {
            container["mounts"] = keyed(&container["volumeMounts"], "mountPath");
        }
        spec[list] = keyed(&spec[list], "name");
    }
    spec["volumes"] = keyed(&spec["volumes"], "name");
    json!({"labels": pod["metadata"]["labels"], "annotations": pod["metadata"]["annotations"], "spec": spec})
}

/// Looks up what the case says something of.
fn look_up(case: &Value, need: &Need, library: &mut Library) -> bool {
    match need {
        Need::Task(name) if !case["tasks"].is_null() => {
            let task: Option<Task> = serde_json::from_value(case["tasks"][name].clone()).ok();
            library.tasks.insert(name.clone(), task).is_none()
        }
        Need::Image { reference, .. } if !case["images"][reference].is_null() => {
            let image = &case["images"][reference];
            let list = |key: &str| serde_json::from_value(image[key].clone()).unwrap_or_default();
            let found = match image.as_str() {
                Some(why) => Err(why.to_owned()),
                None => Ok(ImageConfig { entrypoint: list("entrypoint"), cmd: list("cmd") }),
            };
            library.images.insert(reference.clone(), found).is_none()
        }
        Need::Remote(request) => {
            let answer = crate::remote::answer(&case["remote"], request);
            library.remote.insert(request.clone(), answer).is_none()
        }
        _ => false,
    }
}

/// What was looked up: the service account `default`, and the Secrets and limit ranges that the case has.
fn library(case: &Value) -> Library {
    let secrets = case["secrets"].as_array().into_iter().flatten().map(|secret| SecretView {
        name: secret["name"].as_str().unwrap().to_owned(),
        type_: secret["type"].as_str().unwrap().to_owned(),
        annotations: serde_json::from_value(secret["annotations"].clone()).unwrap_or_default(),
        keys: BTreeSet::new(),
    });
    let account = Account {
        secrets: secrets.collect(),
        missing_secrets: serde_json::from_value(case["missing"].clone()).unwrap_or_default(),
        image_pull_secrets: serde_json::from_value(case["pull"].clone()).unwrap_or_default(),
    };
    let limits = case["limits"].is_array().then(|| json!([{"spec": {"limits": case["limits"]}}]));
    Library {
        accounts: [("default".to_owned(), Some(account)), ("absent".to_owned(), None)].into(),
        limit_ranges: Some(serde_json::from_value(limits.unwrap_or(json!([]))).unwrap()),
        ..Default::default()
    }
}

#[test]
fn every_case_is_decided_as_it_says() {
    let now = Timestamp::from_second(1_700_000_600).unwrap();
    let mut problems = Vec::new();
    for (file, cases) in crate::cases("taskruns") {
        for case in cases.as_array().unwrap() {
            let name = format!("{file}: {}", case["case"].as_str().unwrap());
            let config = crate::config(case);
            let report = (case["reports"] == true)
                .then(|| ReportTarget { url: "https://report".to_owned(), ca: String::new() });
            let platform = Platform { image: "ergon:1".to_owned(), image_volumes: true, report };
            let group = if case["group"] == "ergon.dev" { Group::Ergon } else { Group::Tekton };
            let mut library = library(&case["library"]);
            for (action, spec) in case["stepActions"].as_object().into_iter().flatten() {
                let spec =
                    serde_json::from_value(spec.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
                library.step_actions.insert(action.clone(), spec);
            }
            let mut run = TaskRun::new(group, "run");
            run.metadata.namespace = Some("default".to_owned());
            run.metadata.uid = Some("uid-run".to_owned());
            run.metadata.annotations = serde_json::from_value(case["annotations"].clone()).unwrap();
            run.metadata.owner_references = serde_json::from_value(case["owners"].clone()).unwrap();
            run.spec =
                serde_json::from_value(case["run"].clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
            if case["run"]["taskSpec"].is_null() && case["run"]["taskRef"].is_null() {
                run.spec.task_spec = serde_json::from_value(json!({
                    "steps": [{"name": "a", "image": "i", "script": "a"}, {"name": "b", "image": "i", "script": "b"}],
                    "results": [{"name": "r"}],
                }))
                .unwrap();
            }
            run.status = serde_json::from_value(case["status"].clone()).unwrap();
            let mut pod_value = case["pod"].clone();
            let pod: Option<Pod> = pod_value.is_object().then(|| {
                fill_in_messages(&mut pod_value);
                let owner = json!([{"apiVersion": run.api_version, "kind": "TaskRun", "name": "run", "uid": "uid-run", "controller": true}]);
                pod_value["metadata"]["ownerReferences"] = pod_value["owners"].as_array().map_or(owner, |owners| json!(owners));
                pod_value["metadata"]["name"] = json!(pod_name(&run));
                pod_value["metadata"]["uid"] = json!("uid-pod");
                serde_json::from_value(pod_value).unwrap_or_else(|error| panic!("{name}: {error}"))
            });
            let seen = match (&pod, case["pod"].as_str()) {
                (Some(pod), _) => PodSeen::Here(pod),
                (None, Some("gone")) => PodSeen::Gone,
                (None, _) => PodSeen::NotInCache,
            };
            let report: Option<PodReport> = serde_json::from_value(case["report"].clone()).unwrap();
            let outcome = loop {
                let observed = Observed {
                    group,
                    run: &run,
                    pod: seen,
                    report: report.as_ref(),
                    library: &library,
                    config: &config,
                    platform: &platform,
                };
                let outcome = reconcile(&observed, now);
                let Outcome::Needs(needs) = &outcome else { break outcome };
                if !needs.iter().all(|need| look_up(case, need, &mut library)) {
                    break outcome;
                }
            };
            let found = match outcome {
                Outcome::Needs(needs) => {
                    json!({"needs": needs.iter().map(|need| format!("{need:?}")).collect::<Vec<_>>()})
                }
                Outcome::Decided(decision) => {
                    let status = &decision.status;
                    let condition = status.condition().cloned().unwrap_or_default();
                    let actions: Vec<String> = decision
                        .actions
                        .iter()
                        .map(|action| match action {
                            Action::CreatePod(pod) => {
                                format!("create {}", pod.metadata.name.as_deref().unwrap())
                            }
                            Action::EndPod { name, keep, .. } => format!("end {name} started={keep}"),
                            Action::AddMetadata { labels, annotations } => {
                                let all = labels.iter().chain(annotations);
                                let all: Vec<_> = all.map(|(key, value)| format!(" {key}={value}")).collect();
                                format!("add{}", all.concat())
                            }
                            Action::Emit(event) => format!("event {}", event.reason),
                            other => format!("{other:?}"),
                        })
                        .collect();
                    json!({
                        "status": condition.status, "reason": condition.reason(), "message": condition.message(),
                        "provenance": status.provenance,
                        "actions": actions, "podName": status.pod_name, "retries": status.retries_status.len(),
                        "steps": status.steps.iter().map(|step| format!(
                            "{} {}", step.name,
                            step.termination_reason.as_deref().unwrap_or(
                                if step.running.is_some() { "running" } else { "waiting" })
                        )).collect::<Vec<_>>(),
                        "results": status.results.iter().map(|result| format!("{}={}", result.name, result.value)).collect::<Vec<_>>(),
                        "taskSpec": status.task_spec,
                        "states": status.steps,
                        "artifacts": status.artifacts,
                        "plan": decision.actions.iter().find_map(|action| match action {
                            Action::CreatePod(pod) => Some(plan_of(pod)?.tasks[0].steps.clone()),
                            _ => None,
                        }),
                        "sidecars": decision.actions.iter().find_map(|action| match action {
                            Action::CreatePod(pod) => Some(keyed(&json!(plan_of(pod)?.tasks[0].sidecars), "container")),
                            _ => None,
                        }),
                        "beside": keyed(&json!(status.sidecars), "name"),
                        "created": decision.actions.iter().find_map(|action| match action {
                            Action::CreatePod(pod) => Some(pod_by_names(pod)),
                            _ => None,
                        }),
                        "flags": status.provenance.as_ref().and_then(|provenance| provenance.feature_flags.clone()),
                        "wake": decision.wake_at.map(|wake| wake.as_second() - now.as_second()),
                    })
                }
            };
            crate::compare(&name, "", &case["expect"], &found, &mut problems);
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
