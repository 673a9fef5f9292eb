//! Requests against an API server in memory: what is asked, who is told, what others are answered.

use std::sync::Arc;

use ergon_api::{Group, Object, Param};
use ergon_engine::pod::Platform;
use ergon_engine::remote::{Answer, Failure, Request};
use http::Method;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use super::*;
use crate::events::Events;
use crate::fake::Fake;
use crate::metrics::Metrics;
use crate::queue::After;
use crate::resolution::Asker;
use crate::shell::{Key, Shell};

const ALL: &str = "/apis/resolution.tekton.dev/v1beta1/namespaces/ns/resolutionrequests";

fn world() -> (Fake, Arc<Shell>) {
    world_on(Fake::default())
}

/// A controller that was started just now.
fn world_on(fake: Fake) -> (Fake, Arc<Shell>) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let metrics = Arc::new(Metrics::default());
    let events = Events::start(&fake.client(), "test", &metrics);
    let platform = Platform { image: "ergon".to_owned(), image_volumes: true, report: None };
    let shell = Shell::new(fake.client(), platform, events, metrics);
    shell.resolutions.requests.serve();
    (fake, Arc::new(shell))
}

/// What the watch does.
fn deliver(shell: &Shell, object: Value) -> Name {
    let mut request: ResolutionRequest = serde_json::from_value(object).expect("a request");
    let name = Name::of(&request);
    shell.resolutions.requests.hear(&mut request);
    shell.resolutions.requests.seen.observe(request);
    name
}

fn key() -> Key {
    Key::task_run(Group::Tekton, Name::new("ns", "run"))
}

fn custom() -> Request {
    Request { resolver: "mine".to_owned(), url: None, params: vec![Param::string("a", "1")] }
}

fn path() -> String {
    format!("{ALL}/{}", custom().name("ns", "run"))
}

fn reference(uid: &str) -> OwnerReference {
    OwnerReference {
        api_version: "tekton.dev/v1".to_owned(),
        kind: "TaskRun".to_owned(),
        name: "run".to_owned(),
        uid: uid.to_owned(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

async fn ask(shell: &Shell) -> Answer {
    let asker = Asker { key: &key(), reference: Some(reference("u")), owner: None };
    shell.resolutions.ask(&asker, &custom(), &Arc::default()).await
}

/// The request as soon as it is made.
async fn made(fake: &Fake, uid: &str) -> Value {
    loop {
        match fake.get(&path()) {
            Some(made) if made["metadata"]["ownerReferences"][0]["uid"] == uid => return made,
            _ => tokio::task::yield_now().await,
        }
    }
}

fn condition(fake: &Fake, path: &str) -> (String, String, String) {
    let condition = fake.get(path).expect("the request")["status"]["conditions"][0].clone();
    let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    (text("status"), text("reason"), text("message"))
}

#[tokio::test]
async fn somebody_elses_resolver_is_asked_through_an_object() {
    let (fake, shell) = world();
    assert_eq!(ask(&shell).await, Answer::Waiting);
    let made = made(&fake, "u").await;
    assert_eq!(made["metadata"]["labels"], json!({"resolution.tekton.dev/type": "mine"}));
    assert_eq!(made["metadata"]["ownerReferences"], json!([reference("u")]));
    assert_eq!(made["spec"], json!({"params": [{"name": "a", "value": "1"}]}));

    let name = deliver(&shell, made);
    let (after, open) = shell.attend_one(&name).await;
    assert!(matches!(after, After::WakeAt(_)) && open.is_none(), "it is not for ours");
    let waits = condition(&fake, &path());
    assert_eq!((waits.0.as_str(), waits.1.as_str()), ("Unknown", "ResolutionInProgress"));

    let task =
        "apiVersion: tekton.dev/v1\nkind: Task\nmetadata: {name: t}\nspec: {steps: [{image: i, script: s}]}";
    let mut filled = fake.get(&path()).expect("the request");
    filled["status"]["data"] = json!(STANDARD.encode(task));
    filled["status"]["refSource"] = json!({"uri": "mine://t", "digest": {"sha256": "d"}});
    deliver(&shell, fake.put(&path(), filled));
    assert!(matches!(shell.attend_one(&name).await, (After::Rest, None)));
    assert_eq!(condition(&fake, &path()).0, "True");

    assert_eq!(shell.queue.next().await, Some(key()), "the run is told");
    match ask(&shell).await {
        Answer::Found(found) => {
            assert!(matches!(&found.object, Object::Task(task) if task.name() == "t"));
            assert_eq!(found.source.as_ref().and_then(|source| source.uri.as_deref()), Some("mine://t"));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_answer_that_is_there_is_taken_and_one_of_an_earlier_run_is_not() {
    let done = |uid: &str| {
        json!({"apiVersion": ResolutionRequest::API_VERSION, "kind": ResolutionRequest::KIND,
            "metadata": {"name": custom().name("ns", "run"), "namespace": "ns", "uid": "r",
                "ownerReferences": [reference(uid)]},
            "status": {"conditions": [{"type": "Succeeded", "status": "False", "message": "no such thing"}]}})
    };
    // The controller was started anew meanwhile.
    let (fake, shell) = world();
    fake.put(&path(), done("u"));
    let failed = Answer::Failed(Failure::NotFetched("no such thing".to_owned()));
    if ask(&shell).await == Answer::Waiting {
        assert_eq!(shell.queue.next().await, Some(key()));
    }
    assert_eq!(ask(&shell).await, failed);

    let (fake, shell) = world();
    let old = fake.put(&path(), done("earlier"));
    assert_eq!(ask(&shell).await, Answer::Waiting);
    deliver(&shell, old.clone());
    let api: Api<ResolutionRequest> = Api::namespaced(fake.client(), "ns");
    api.delete(&custom().name("ns", "run"), &DeleteParams::default()).await.expect("deleted");
    shell.resolutions.requests.gone(&serde_json::from_value(old).expect("a request"));
    made(&fake, "u").await;
}

/// The API server's part in what a resolver of an older version does: it sees the request as it was then.
fn as_version(object: Value, version: &str) -> Value {
    ergon_api::convert::convert(object, &format!("resolution.tekton.dev/{version}")).expect("converted")
}

/// What the framework does with which others write their resolvers: it takes requests with the resolver's label that
/// are not done, and merges what was found, or why nothing was, into the status.
fn third_party(fake: &Fake, version: &str, found: Result<&str, &str>) -> Value {
    let request = as_version(fake.get(&path()).expect("the request"), version);
    assert_eq!(request["metadata"]["labels"]["resolution.tekton.dev/type"], "mine");
    let params = match version {
        "v1alpha1" => json!({"a": "1"}),
        _ => json!([{"name": "a", "value": "1"}]),
    };
    assert_eq!(request["spec"]["params"], params);
    let conditions = request["status"]["conditions"].clone();
    assert!(!conditions.as_array().is_some_and(|all| all.iter().any(|one| one["status"] != "Unknown")));
    let source = json!({"uri": "mine://t", "digest": {"sha256": "d"}, "entryPoint": "e"});
    let status = match found {
        Ok(text) => json!({"data": STANDARD.encode(text), "annotations": {"mine/a": "b"},
            "refSource": source, "source": source}),
        Err(why) => json!({"conditions": [{"type": "Succeeded", "status": "False",
            "reason": "ResolutionFailed", "message": why, "lastTransitionTime": now()}]}),
    };
    let mut changed = request;
    json_patch::merge(&mut changed, &json!({"status": status}));
    fake.put(&path(), as_version(changed, "v1beta1"))
}

#[tokio::test]
async fn resolvers_written_with_tektons_framework_answer_in_either_version() {
    const TASK: &str = "apiVersion: tekton.dev/v1beta1\nkind: Task\nmetadata: {name: t}\n\
        spec: {steps: [{name: s, image: i, script: s}]}";
    for version in ["v1beta1", "v1alpha1"] {
        for found in [Ok(TASK), Ok("no YAML: ["), Err("error getting \"mine\" \"ns/r\": no such thing")] {
            // Sooner than we have looked at the request, or later.
            for is_quick in [true, false] {
                let (fake, shell) = world();
                assert_eq!(ask(&shell).await, Answer::Waiting);
                let made = made(&fake, "u").await;
                let name = if is_quick {
                    deliver(&shell, third_party(&fake, version, found))
                } else {
                    let name = deliver(&shell, made);
                    shell.attend_one(&name).await;
                    // It was changed since: what we were about to write is not written over it.
                    let changed = third_party(&fake, version, found);
                    assert!(matches!(shell.attend_one(&name).await, (After::WakeAt(_) | After::Rest, None)));
                    deliver(&shell, changed)
                };
                assert!(matches!(shell.attend_one(&name).await, (After::Rest, None)));
                assert_eq!(condition(&fake, &path()).0, if found.is_ok() { "True" } else { "False" });
                let status = fake.get(&path()).expect("the request")["status"].clone();
                assert_eq!(status["data"].is_string(), found.is_ok(), "what it wrote is still there");
                assert_eq!(shell.queue.next().await, Some(key()), "the run is told");
                match (ask(&shell).await, found) {
                    (Answer::Found(task), Ok(TASK)) => {
                        assert!(matches!(&task.object, Object::Task(task) if task.name() == "t"));
                        let source = task.source.clone().expect("a source");
                        assert_eq!(source.uri.as_deref(), Some("mine://t"));
                        assert_eq!(
                            (&*source.digest["sha256"], source.entry_point.as_deref()),
                            ("d", Some("e"))
                        );
                    }
                    (Answer::Failed(Failure::Unreadable(_)), Ok(_)) => {}
                    (Answer::Failed(Failure::NotFetched(told)), Err(why)) => assert_eq!(told, why),
                    (answer, _) => panic!("{version} {found:?}: {answer:?}"),
                }
            }
        }
    }
}

#[tokio::test]
async fn an_answer_comes_to_a_controller_that_was_started_meanwhile() {
    let (fake, shell) = world();
    assert_eq!(ask(&shell).await, Answer::Waiting);
    made(&fake, "u").await;
    // The new one has the same cluster, and nothing in its memory.
    let (_, shell) = world_on(fake.clone());
    fake.writes();
    assert_eq!(ask(&shell).await, Answer::Waiting);
    deliver(&shell, third_party(&fake, "v1beta1", Err("no such thing")));
    assert_eq!(shell.queue.next().await, Some(key()));
    assert_eq!(ask(&shell).await, Answer::Failed(Failure::NotFetched("no such thing".to_owned())));
    assert_eq!(fake.writes(), [format!("POST {ALL}")], "the request is the one of before");
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_away_fails_no_run() {
    let (fake, shell) = world();
    for code in [500, 503, 429] {
        fake.fail(Method::POST, ALL, code, "not now");
    }
    assert_eq!(ask(&shell).await, Answer::Waiting);
    while fake.get(&path()).is_none() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    deliver(&shell, third_party(&fake, "v1beta1", Err("no such thing")));
    assert_eq!(shell.queue.next().await, Some(key()));

    let (fake, shell) = world();
    fake.fail(Method::POST, ALL, 403, "not allowed");
    if ask(&shell).await == Answer::Waiting {
        assert_eq!(shell.queue.next().await, Some(key()));
    }
    match ask(&shell).await {
        Answer::Failed(Failure::NotFetched(why)) => {
            assert!(
                why.starts_with("cannot ask through ResolutionRequest ns/mine-")
                    && why.contains("not allowed")
            );
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn only_definitions_and_runs_are_shown_to_those_who_read_requests() {
    let (fake, shell) = world();
    fake.put(
        "/apis/tekton.dev/v1/namespaces/ns/tasks/t",
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "t", "uid": "u"}, "data": {"a": "c2VjcmV0"}}),
    );
    let (path, name) = others(&fake, &shell, "t", &now());
    let open = shell.attend_one(&name).await.1.expect("a resolver of ours is to answer");
    shell.answer(&open).await;
    let (status, _, message) = condition(&fake, &path);
    assert_eq!(status, "False");
    assert!(message.starts_with("error getting \"Cluster\" \"ns/r\": resolved resource validation error: "));
    assert_eq!(fake.get(&path).expect("the request")["status"]["data"], Value::Null);
}

#[tokio::test]
async fn what_the_cache_did_is_said_to_others() {
    let (fake, shell) = world();
    with_task(&fake);
    for expected in ["store", "retrieve"] {
        let (path, _) = others(&fake, &shell, "t", &now());
        let mut request = fake.get(&path).expect("the request");
        request["metadata"]["uid"] = json!(expected);
        request["spec"]["params"]
            .as_array_mut()
            .expect("a list")
            .push(json!({"name": "cache", "value": "always"}));
        let name = deliver(&shell, fake.put(&path, request));
        let open = shell.attend_one(&name).await.1.expect("a resolver of ours is to answer");
        shell.answer(&open).await;
        let annotations = fake.get(&path).expect("the request")["status"]["annotations"].clone();
        assert_eq!(annotations["resolution.tekton.dev/cached"], "true");
        assert_eq!(annotations["resolution.tekton.dev/cache-operation"], expected);
        assert_eq!(annotations["resolution.tekton.dev/cache-resolver-type"], "cluster");
        assert!(annotations["resolution.tekton.dev/cache-timestamp"].is_string());
    }
}

/// A request of somebody, for the cluster resolver.
fn others(fake: &Fake, shell: &Shell, task: &str, created: &str) -> (String, Name) {
    let path = format!("{ALL}/r");
    let params: Value = [("kind", "task"), ("name", task), ("namespace", "ns")]
        .into_iter()
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect();
    let object = fake.put(
        &path,
        json!({"apiVersion": ResolutionRequest::API_VERSION, "kind": ResolutionRequest::KIND,
            "metadata": {"name": "r", "namespace": "ns", "uid": task, "creationTimestamp": created,
                "labels": {"resolution.tekton.dev/type": "cluster"}},
            "spec": {"params": params}}),
    );
    let name = deliver(shell, object);
    (path, name)
}

fn now() -> String {
    jiff::Timestamp::now().to_string()
}

fn with_task(fake: &Fake) {
    fake.put(
        "/apis/tekton.dev/v1/namespaces/ns/tasks/t",
        json!({"apiVersion": "tekton.dev/v1", "kind": "Task", "metadata": {"name": "t", "uid": "u"}, "spec": {}}),
    );
}

#[tokio::test]
async fn others_are_answered_by_our_resolvers() {
    let (fake, shell) = world();
    with_task(&fake);
    let (path, name) = others(&fake, &shell, "t", &now());
    let (_, open) = shell.attend_one(&name).await;
    let open = open.expect("a resolver of ours is to answer");
    assert!(shell.attend_one(&name).await.1.is_none(), "once");
    // Somebody writes at the same time.
    fake.fail(Method::PATCH, &format!("{path}/status"), 409, "conflict");
    shell.answer(&open).await;
    assert_eq!(condition(&fake, &path), ("True".to_owned(), String::new(), String::new()));
    let status = fake.get(&path).expect("the request")["status"].clone();
    let data = STANDARD.decode(status["data"].as_str().unwrap_or_default()).expect("base64");
    let task: Value = serde_json::from_slice(&data).expect("JSON");
    assert_eq!((&task["kind"], &task["metadata"]["name"]), (&json!("Task"), &json!("t")));
    assert_eq!(status["refSource"]["uri"], "/apis/tekton.dev/v1/namespaces/ns/task/t@u");
    assert_eq!(status["source"], status["refSource"]);
    assert_eq!(status["annotations"]["resolution.tekton.dev/name"], "t");
    assert!(matches!(shell.attend_one(&name).await, (After::Rest, None)));
    fake.writes();
    shell.answer(&open).await;
    assert!(fake.writes().is_empty(), "an end is not written over");
}

#[tokio::test]
async fn a_failure_is_told_as_tekton_tells_it() {
    let (fake, shell) = world();
    with_task(&fake);
    for (task, refused, expected) in [
        ("none", None, "error getting \"Cluster\" \"ns/r\": tasks.tekton.dev \"none\" not found"),
        ("t", Some("too large"), "error updating resource request \"ns/r\" with data: "),
    ] {
        let (path, name) = others(&fake, &shell, task, &now());
        let open = shell.attend_one(&name).await.1.expect("a resolver of ours is to answer");
        if let Some(message) = refused {
            fake.fail(Method::PATCH, &format!("{path}/status"), 413, message);
        }
        shell.answer(&open).await;
        let (status, reason, message) = condition(&fake, &path);
        assert_eq!((status.as_str(), reason.as_str()), ("False", "ResolutionFailed"));
        assert!(message.starts_with(expected) && message.contains(refused.unwrap_or_default()), "{message}");
    }
}

#[tokio::test]
async fn what_nobody_answers_ends_unless_tekton_looks_after_it() {
    let (fake, shell) = world();
    let (path, name) = others(&fake, &shell, "t", "2026-01-01T00:00:00Z");
    shell.set_beside_tekton(true);
    assert!(matches!(shell.attend_one(&name).await, (After::Rest, None)));
    assert!(fake.writes().is_empty());
    shell.set_beside_tekton(false);
    assert!(matches!(shell.attend_one(&name).await, (After::Rest, None)));
    let (status, reason, message) = condition(&fake, &path);
    assert_eq!((status.as_str(), reason.as_str()), ("False", "ResolutionTimedOut"));
    assert_eq!(message, "resolution took longer than global timeout of 1m0s");
}
