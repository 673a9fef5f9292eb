//! Finding, starting, cancelling.

use ergon_api::Group;
use ergon_client::{Cancel, Error, ListOptions, Phase, Run, RunKind, Start};
use serde_json::{Value, json};

use crate::fake::Fake;

/// A run with a `Succeeded` condition.
pub fn run(group: &str, kind: &str, name: &str, status: &str, reason: &str) -> Value {
    json!({"apiVersion": format!("{group}/v1"), "kind": kind,
        "metadata": {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {},
        "status": {"startTime": "2026-01-01T00:00:00Z",
            "conditions": [{"type": "Succeeded", "status": status, "reason": reason}]}})
}

fn created(mut object: Value, second: u32) -> Value {
    object["metadata"]["creationTimestamp"] = json!(format!("2026-01-01T00:00:{second:02}Z"));
    object
}

const BOTH: [&str; 2] = ["ergon.dev", "tekton.dev"];

#[tokio::test]
async fn runs_of_both_groups_are_listed_the_newest_first() {
    let fake = Fake::new(&BOTH);
    fake.put(created(run("ergon.dev", "PipelineRun", "a", "True", "Succeeded"), 1));
    fake.put(created(run("tekton.dev", "TaskRun", "b", "False", "Failed"), 3));
    fake.put(created(run("tekton.dev", "PipelineRun", "c", "Unknown", "Running"), 2));
    let ergon = fake.client();
    let names = async |kinds: &[RunKind], limit| -> Vec<String> {
        let options = ListOptions { limit, ..ListOptions::default() };
        ergon.list(kinds, &options).await.unwrap().iter().map(|run| run.name().to_owned()).collect()
    };
    assert_eq!(names(&RunKind::ALL, None).await, ["b", "c", "a"]);
    assert_eq!(names(&RunKind::ALL, Some(2)).await, ["b", "c"]);
    assert_eq!(names(&[RunKind::PipelineRun], None).await, ["c", "a"]);
    assert_eq!(ergon.last(&RunKind::ALL).await.unwrap().name(), "b");
    // A task of a pipeline is not a run of its own.
    let mut part = created(run("ergon.dev", "TaskRun", "a-task", "True", "Succeeded"), 4);
    part["metadata"]["labels"] = json!({"ergon.dev/pipelineRun": "a"});
    fake.put(part);
    assert_eq!(ergon.last(&RunKind::ALL).await.unwrap().name(), "b");
    assert_eq!(names(&[RunKind::TaskRun], None).await, ["a-task", "b"]);
    let only = ergon.clone().with_group(Group::Ergon);
    assert_eq!(only.list(&RunKind::ALL, &ListOptions::default()).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_cluster_without_either_group_says_so() {
    let fake = Fake::new(&["apps"]);
    let error = fake.client().list(&RunKind::ALL, &ListOptions::default()).await.unwrap_err();
    assert_eq!(error.to_string(), "the cluster does not serve ergon.dev or tekton.dev");
}

#[tokio::test]
async fn a_name_is_a_pipeline_run_before_it_is_a_task_run() {
    let fake = Fake::new(&BOTH);
    fake.put(run("tekton.dev", "PipelineRun", "same", "True", "Succeeded"));
    fake.put(run("ergon.dev", "TaskRun", "same", "True", "Succeeded"));
    let ergon = fake.client();
    let found = ergon.find("same", None).await.unwrap();
    assert_eq!((found.kind(), found.group()), (RunKind::PipelineRun, Group::Tekton));
    let found = ergon.find("same", Some(RunKind::TaskRun)).await.unwrap();
    assert_eq!((found.kind(), found.group()), (RunKind::TaskRun, Group::Ergon));
    let error = ergon.find("none", None).await.unwrap_err();
    assert_eq!(error.to_string(), "PipelineRun or TaskRun `none` in namespace `default` not found");
    assert!(error.is_not_found());
}

#[tokio::test]
async fn a_run_is_started_with_typed_parameters_in_its_pipelines_group() {
    let fake = Fake::new(&BOTH);
    fake.put(json!({"apiVersion": "tekton.dev/v1", "kind": "Pipeline", "metadata": {"name": "build"},
        "spec": {"params": [{"name": "files", "type": "array"}, {"name": "tag", "default": "latest"}],
            "tasks": [{"name": "a", "taskRef": {"name": "a"}}]}}));
    let ergon = fake.client();
    let mut start = Start::new(RunKind::PipelineRun, "build");
    start.params.push(("files".to_owned(), "a.rs,b.rs".to_owned()));
    let Run::Pipeline(run) = ergon.start(start.clone(), false).await.unwrap() else {
        panic!("a PipelineRun")
    };
    assert_eq!(run.name(), "build-run-x1");
    assert_eq!(run.group(), Group::Tekton);
    assert_eq!(run.spec.params[0].value.as_array().unwrap(), ["a.rs", "b.rs"]);
    assert_eq!(run.metadata.labels.unwrap()["tekton.dev/pipeline"], "build");

    start.params.clear();
    let error = ergon.start(start, false).await.unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }));
    assert_eq!(error.to_string(), "no value for `files`, which has no default");
}

#[tokio::test]
async fn cancelling_writes_the_word_and_leaves_what_is_over_alone() {
    let fake = Fake::new(&BOTH);
    fake.put(run("ergon.dev", "PipelineRun", "going", "Unknown", "Running"));
    fake.put(run("ergon.dev", "PipelineRun", "over", "True", "Succeeded"));
    let ergon = fake.client();
    let going = ergon.find("going", None).await.unwrap().reference();
    let Run::Pipeline(after) = ergon.cancel(&going, Cancel::RunFinally).await.unwrap() else {
        panic!("a PipelineRun")
    };
    assert!(after.is_gracefully_cancelled());
    let over = ergon.find("over", None).await.unwrap().reference();
    assert_eq!(ergon.cancel(&over, Cancel::Now).await.unwrap().phase(), Phase::Succeeded);
    let patches: Vec<String> = fake.requests().into_iter().filter(|line| line.starts_with("PATCH")).collect();
    assert_eq!(
        patches,
        ["PATCH /apis/ergon.dev/v1/namespaces/default/pipelineruns/going \
          {\"metadata\":{\"uid\":\"uid-of-going\"},\"spec\":{\"status\":\"CancelledRunFinally\"}}"]
    );
}

#[tokio::test]
async fn a_deleted_run_is_gone() {
    let fake = Fake::new(&BOTH);
    fake.put(run("ergon.dev", "TaskRun", "old", "True", "Succeeded"));
    let ergon = fake.client();
    let old = ergon.find("old", None).await.unwrap().reference();
    ergon.delete(&old).await.unwrap();
    assert!(ergon.delete(&old).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn a_cluster_that_does_not_answer_is_unreachable() {
    let service = tower::service_fn(|_: http::Request<kube::client::Body>| async {
        Err::<http::Response<kube::client::Body>, _>(std::io::Error::other("connection refused"))
    });
    let ergon = ergon_client::Ergon::from_client(kube::Client::new(service, "default"), "default");
    let error = ergon.find("any", None).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    assert_eq!(error.to_string(), "cannot reach the cluster: connection refused");
}
