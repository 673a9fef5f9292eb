//! The shell against an API server in memory: what is written, what is tried again, what the user is told.

use ergon_api::{Group, PipelineRun, TaskRun};
use ergon_engine::pod::Platform;
use http::Method;
use serde_json::{Value, json};

use super::*;
use crate::fake::Fake;
use crate::queue::After;

const RUN: &str = "/apis/ergon.dev/v1/namespaces/ns/taskruns/run";
const STATUS: &str = "/apis/ergon.dev/v1/namespaces/ns/taskruns/run/status";
const PODS: &str = "/api/v1/namespaces/ns/pods";
const POD: &str = "/api/v1/namespaces/ns/pods/run-pod";

/// A server with one TaskRun, and a shell that has seen it.
fn world(spec: &Value) -> (Fake, Shell) {
    let fake = Fake::default();
    let run = fake.put(RUN, json!({"apiVersion": "ergon.dev/v1", "kind": "TaskRun", "spec": spec,
        "metadata": {"namespace": "ns", "name": "run", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"}}));
    let shell = shell(&fake);
    shell.runs(Group::Ergon).task_runs.observe(serde_json::from_value(run).expect("a run"));
    (fake, shell)
}

fn shell(fake: &Fake) -> Shell {
    let metrics = Arc::new(Metrics::default());
    let events = Events::start(&fake.client(), "test", &metrics);
    let platform = Platform { image: "ergon".to_owned(), image_volumes: true, report: None };
    Shell::new(fake.client(), platform, events, metrics)
}

fn embedded() -> Value {
    json!({"taskSpec": {"steps": [{"name": "a", "image": "i", "script": "true"}]}})
}

fn key() -> Key {
    Key::task_run(Group::Ergon, Name::new("ns", "run"))
}

fn condition(fake: &Fake, path: &str) -> (String, String) {
    let condition = fake.get(path).expect("the run")["status"]["conditions"][0].clone();
    let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    (text("status"), text("reason"))
}

#[tokio::test(start_paused = true)]
async fn a_run_gets_its_pod_once() {
    let (fake, shell) = world(&embedded());
    assert!(matches!(shell.reconcile(&key()).await, After::WakeAt(_)));
    assert_eq!(fake.writes(), [format!("POST {PODS}")]);
    // What was decided is known, though nothing is written and no watch has said anything.
    let known = || shell.runs(Group::Ergon).task_runs.get(&key().name).expect("the run");
    let began = known().status.as_ref().and_then(|status| status.start_time.clone());
    assert!(began.is_some());
    shell.reconcile(&key()).await;
    assert!(fake.writes().is_empty());
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(matches!(shell.reconcile(&key()).await, After::WakeAt(_)), "its timeout");
    assert_eq!(fake.writes(), [format!("PATCH {STATUS}")]);
    assert_eq!(condition(&fake, RUN).0, "Unknown");
    let stored = fake.get(RUN).expect("the run")["status"].clone();
    assert_eq!(stored["startTime"], serde_json::to_value(began).expect("JSON"));
    assert!(stored["podName"] == "run-pod" && stored["taskSpec"].is_object(), "all of it: {stored}");
}

#[tokio::test]
async fn a_pod_has_the_secrets_that_its_account_lists() {
    let (fake, shell) = world(&json!({"serviceAccountName": "robot",
        "taskSpec": {"steps": [{"name": "a", "image": "i", "script": "true"}]}}));
    fake.put(
        "/api/v1/namespaces/ns/serviceaccounts/robot",
        json!({"metadata": {"name": "robot"},
        "secrets": [{"name": "key"}, {"name": "gone"}, {}]}),
    );
    fake.put("/api/v1/namespaces/ns/secrets/key", json!({"type": "kubernetes.io/ssh-auth",
        "metadata": {"name": "key", "annotations": {"ergon.dev/git-0": "host"}}, "data": {"ssh-privatekey": "eA=="}}));
    fake.put(
        "/api/v1/namespaces/ns/limitranges/l",
        json!({"metadata": {"name": "l"},
        "spec": {"limits": [{"type": "Container", "min": {"cpu": "100m"}}]}}),
    );
    shell.reconcile(&key()).await;
    let pod = fake.get(POD).expect("the pod");
    let secrets: Vec<&str> = pod["spec"]["volumes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|volume| volume["secret"]["secretName"].as_str())
        .collect();
    assert_eq!(secrets, ["key"]);
    assert_eq!(pod["spec"]["containers"][0]["resources"]["requests"]["cpu"], "100m");
    assert!(!pod.to_string().contains("eA=="), "no secret is in a pod");
}

#[tokio::test]
async fn what_is_watched_is_not_asked_for() {
    let (fake, shell) = world(&embedded());
    let account = "/api/v1/namespaces/ns/serviceaccounts/default";
    let account = fake.put(account, json!({"metadata": {"name": "default", "namespace": "ns"}}));
    let range = json!({"metadata": {"name": "l", "namespace": "ns"},
        "spec": {"limits": [{"type": "Container", "min": {"cpu": "100m"}}]}});
    let range = fake.put("/api/v1/namespaces/ns/limitranges/l", range);
    let surroundings = &shell.surroundings;
    surroundings.accounts.begin_list();
    surroundings.accounts.observe(serde_json::from_value(account).expect("an account"));
    surroundings.accounts.end_list();
    surroundings.limit_ranges.begin_list();
    surroundings.limit_ranges.observe(serde_json::from_value(range).expect("a range"));
    surroundings.limit_ranges.end_list();
    shell.reconcile(&key()).await;
    assert_eq!(fake.reads(), Vec::<String>::new());
    let pod = fake.get(POD).expect("the pod");
    assert_eq!(pod["spec"]["containers"][0]["resources"]["requests"]["cpu"], "100m");
}

#[tokio::test(start_paused = true)]
async fn a_crash_between_the_pod_and_the_status_is_repaired() {
    let (fake, before) = world(&embedded());
    assert!(matches!(before.reconcile(&key()).await, After::WakeAt(_)));
    let after = shell(&fake);
    let run = serde_json::from_value(fake.get(RUN).expect("the run")).expect("a run");
    after.runs(Group::Ergon).task_runs.observe(run);
    fake.writes();
    fake.fail(Method::PATCH, STATUS, 500, "etcd is away");
    after.reconcile(&key()).await;
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(after.reconcile(&key()).await, After::Retry);
    after.reconcile(&key()).await;
    let patch = format!("PATCH {STATUS}");
    assert_eq!(fake.writes(), [format!("POST {PODS}"), patch.clone(), patch], "the POST met its own pod");
    assert_eq!(condition(&fake, RUN).0, "Unknown");
}

#[tokio::test(start_paused = true)]
async fn a_status_that_was_decided_on_older_data_is_not_written() {
    let (fake, shell) = world(&embedded());
    let mut run = fake.get(RUN).expect("the run");
    run["spec"]["status"] = json!("TaskRunCancelled");
    let run = fake.put(RUN, run);
    assert!(matches!(shell.reconcile(&key()).await, After::WakeAt(_)));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(shell.reconcile(&key()).await, After::Retry);
    assert!(fake.get(RUN).expect("the run")["status"].is_null());
    // What was decided of the older version is not taken for what is stored of the newer one.
    shell.runs(Group::Ergon).task_runs.observe(serde_json::from_value(run).expect("a run"));
    shell.reconcile(&key()).await;
    assert_eq!(condition(&fake, RUN), ("False".to_owned(), "TaskRunCancelled".to_owned()));
    assert!(fake.get(RUN).expect("the run")["status"]["startTime"].is_string());
}

#[tokio::test]
async fn a_pod_that_is_not_taken_fails_its_run_or_makes_it_wait() {
    for (code, message, status, reason) in [
        (
            403,
            "pods \"run-pod\" is forbidden: violates PodSecurity \"restricted\"",
            "False",
            "PodAdmissionFailed",
        ),
        (422, "Pod \"run-pod\" is invalid", "False", "PodCreationFailed"),
        (403, "pods \"run-pod\" is forbidden: exceeded quota: q", "Unknown", "ExceededResourceQuota"),
    ] {
        let (fake, shell) = world(&embedded());
        fake.fail(Method::POST, PODS, code, message);
        let after = shell.reconcile(&key()).await;
        assert_eq!(condition(&fake, RUN), (status.to_owned(), reason.to_owned()), "{message}");
        let told = fake.get(RUN).expect("the run")["status"]["conditions"][0]["message"].to_string();
        assert!(told.contains("run-pod"), "{told}");
        assert_eq!(after == After::Rest, status == "False");
    }
    let (fake, shell) = world(&embedded());
    fake.fail(Method::POST, PODS, 500, "etcd is away");
    assert_eq!(shell.reconcile(&key()).await, After::Retry);
    assert!(fake.get(RUN).expect("the run")["status"].is_null(), "our trouble is not the user's");
}

#[tokio::test]
async fn a_pod_of_somebody_else_is_left_alone() {
    let (fake, shell) = world(&embedded());
    let foreign = json!({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": []},
        "metadata": {"namespace": "ns", "name": "run-pod", "uid": "other"}});
    fake.put(POD, foreign);
    shell.reconcile(&key()).await;
    assert_eq!(condition(&fake, RUN), ("False".to_owned(), "PodCreationFailed".to_owned()));
    assert!(fake.get(POD).is_some());
}

#[tokio::test]
async fn the_pod_of_an_earlier_run_of_the_name_is_waited_for() {
    let (fake, shell) = world(&embedded());
    let left = json!({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": []}, "metadata": {
        "namespace": "ns", "name": "run-pod", "uid": "old", "ownerReferences": [
            {"apiVersion": "ergon.dev/v1", "kind": "TaskRun", "name": "run", "uid": "earlier", "controller": true}]}});
    fake.put(POD, left);
    assert_eq!(shell.reconcile(&key()).await, After::Retry);
    assert!(fake.get(RUN).expect("the run")["status"].is_null());
}

#[tokio::test]
async fn a_task_is_read_as_it_is_now() {
    let (fake, shell) = world(&json!({"taskRef": {"name": "t"}}));
    shell.reconcile(&key()).await;
    assert_eq!(condition(&fake, RUN).0, "False", "there is no such Task");
    let (fake, shell) = world(&json!({"taskRef": {"name": "t"}}));
    fake.put(
        "/apis/ergon.dev/v1/namespaces/ns/tasks/t",
        json!({"apiVersion": "ergon.dev/v1", "kind": "Task", "metadata": {"name": "t", "namespace": "ns"},
            "spec": embedded()["taskSpec"]}),
    );
    shell.reconcile(&key()).await;
    assert!(fake.get(POD).is_some());
}

#[tokio::test]
async fn runs_of_others_and_runs_that_go_away_are_left_alone() {
    let mut of_another = embedded();
    of_another["managedBy"] = json!("elsewhere");
    let (fake, shell) = world(&of_another);
    assert_eq!(shell.reconcile(&key()).await, After::Rest);
    assert!(fake.writes().is_empty());

    let (fake, shell) = world(&embedded());
    let mut run = fake.get(RUN).expect("the run");
    run["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    let run: TaskRun = serde_json::from_value(fake.put(RUN, run)).expect("a run");
    shell.runs(Group::Ergon).task_runs.observe(run);
    assert_eq!(shell.reconcile(&key()).await, After::Rest);
    assert!(fake.writes().is_empty());
}

#[tokio::test]
async fn a_pipeline_run_starts_its_tasks_and_they_are_worked_on_at_once() {
    let fake = Fake::default();
    let shell = shell(&fake);
    let path = "/apis/ergon.dev/v1/namespaces/ns/pipelineruns/pr";
    let task = |name: &str, after: Value| json!({"name": name, "runAfter": after, "taskSpec": embedded()["taskSpec"]});
    let run = fake.put(path, json!({"apiVersion": "ergon.dev/v1", "kind": "PipelineRun",
        "metadata": {"namespace": "ns", "name": "pr", "uid": "p", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"pipelineSpec": {"tasks": [task("a", json!([])), task("b", json!([])), task("c", json!(["a"]))]}}}));
    let run: PipelineRun = serde_json::from_value(run).expect("a run");
    shell.runs(Group::Ergon).pipeline_runs.observe(run);
    let key = Key::pipeline_run(Group::Ergon, Name::new("ns", "pr"));
    shell.reconcile(&key).await;
    let posts = |fake: &Fake| fake.writes().iter().filter(|write| write.starts_with("POST")).count();
    assert_eq!(posts(&fake), 3, "two runs, and the pod that `a` and `c` share");
    let mut woken: Vec<String> =
        std::iter::from_fn(|| shell.queue.try_next()).map(|key| key.name.name).collect();
    woken.sort_unstable();
    assert_eq!(woken, ["pr-a", "pr-b"]);
    shell.reconcile(&key).await;
    assert_eq!(posts(&fake), 0, "its children are known before any watch says so");

    // A second controller with an empty cache, as after a crash, makes nothing twice.
    let second = self::shell(&fake);
    let run = serde_json::from_value(fake.get(path).expect("the run")).expect("a run");
    second.runs(Group::Ergon).pipeline_runs.observe(run);
    second.reconcile(&key).await;
    assert_eq!(second.runs(Group::Ergon).task_runs.owned_by("p").len(), 2);
    assert_eq!(condition(&fake, path).0, "Unknown");
}

#[tokio::test]
async fn a_child_is_in_memory_before_anybody_is_told_of_it() {
    let (fake, shell) = world(&embedded());
    let parent = Key::pipeline_run(Group::Ergon, Name::new("ns", "pr"));
    let mut child = fake.get(RUN).expect("the run");
    child["metadata"]["name"] = json!("child");
    child["metadata"]["uid"] = json!("c");
    let child: TaskRun = serde_json::from_value(child).expect("a run");
    let known = || shell.runs(Group::Ergon).task_runs.get(&Name::new("ns", "child")).is_some();
    std::thread::scope(|scope| {
        // Whoever wants to tell must wait: the child has to come into memory nevertheless.
        shell.queue.while_locked(|| {
            scope.spawn(|| shell.take_child(&parent, child));
            let start = std::time::Instant::now();
            while !known() {
                assert!(start.elapsed() < Duration::from_secs(5), "it waits for the queue first");
                std::thread::yield_now();
            }
        });
    });
    assert_eq!(shell.queue.try_next(), Some(Key::task_run(Group::Ergon, Name::new("ns", "child"))));
}

#[tokio::test]
async fn a_run_that_was_dropped_from_memory_while_it_was_written_comes_again() {
    let (fake, shell) = world(&embedded());
    let cache = &shell.runs(Group::Ergon).task_runs;
    let run = cache.get(&key().name).expect("the run");
    cache.begin_list();
    cache.end_list();
    assert_eq!(shell.reconcile(&key()).await, After::Rest, "it is not in memory");
    let status = serde_json::from_value(json!({"podName": "run-pod"})).expect("a status");
    shell.write_task_run(&key(), &run, &status).await.expect("written");
    assert_eq!(fake.writes(), [format!("PATCH {STATUS}")]);
    assert!(cache.get(&key().name).is_some());
    assert_eq!(shell.queue.try_next(), Some(key()));
}

#[tokio::test(start_paused = true)]
async fn what_was_not_written_of_a_run_that_went_away_is_decided_again_when_it_comes_back() {
    let (fake, shell) = world(&embedded());
    shell.reconcile(&key()).await;
    pod_is(&fake, &shell, json!({"phase": "Pending"}));
    let uid = fake.get(POD).expect("the pod")["metadata"]["uid"].as_str().expect("a UID").to_owned();
    shell.reports.keep(&uid, ergon_wire::PodReport::default(), 1);
    let known = || shell.runs(Group::Ergon).task_runs.get(&key().name).expect("the run");
    assert!(known().status.as_ref().is_some_and(|status| status.pod_name.is_some()));
    shell.shares.stay_away();
    shell.enqueue_all();
    assert_eq!(shell.reconcile(&key()).await, After::Rest);
    assert!(known().status.as_ref().is_none_or(|status| status.pod_name.is_none()));
    assert!(shell.held.len() == 0 && shell.reports.is_empty());
    shell.shares.work_alone();
    shell.reconcile(&key()).await;
    tokio::time::advance(Duration::from_secs(1)).await;
    shell.reconcile(&key()).await;
    let stored = fake.get(RUN).expect("the run")["status"].clone();
    assert!(stored["podName"] == "run-pod" && stored["startTime"].is_string(), "{stored}");
    assert!(stored["taskSpec"].is_object(), "{stored}");
}

/// What the kubelet says of the run's pod, as the watch delivers it.
fn pod_is(fake: &Fake, shell: &Shell, status: Value) {
    let mut pod = fake.get(POD).expect("the pod");
    pod["status"] = status;
    let mut pod = serde_json::from_value(fake.put(POD, pod)).expect("a pod");
    crate::trim::pod(&mut pod);
    shell.pods.observe(pod);
}

fn container(state: &Value) -> Value {
    json!({"name": "step-a", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state})
}

#[tokio::test(start_paused = true)]
async fn a_one_step_run_takes_two_status_writes() {
    let (fake, shell) = world(&embedded());
    let mut writes = Vec::new();
    let mut pass = async |what: &str| {
        let after = shell.reconcile(&key()).await;
        let written = fake.writes().iter().filter(|write| write.contains("/status")).count();
        writes.push((what.to_owned(), written));
        after
    };
    pass("starts").await;
    let scheduled = json!([{"type": "PodScheduled", "status": "True"}]);
    pod_is(&fake, &shell, json!({"phase": "Pending", "conditions": scheduled}));
    pass("is scheduled").await;
    let creating = container(&json!({"waiting": {"reason": "ContainerCreating"}}));
    pod_is(
        &fake,
        &shell,
        json!({"phase": "Pending", "conditions": scheduled, "containerStatuses": [creating]}),
    );
    let After::WakeAt(_) = pass("its containers are created").await else { panic!("it must come again") };
    assert_eq!(shell.held.len(), 1);
    let uid = fake.get(POD).expect("the pod")["metadata"]["uid"].as_str().expect("a UID").to_owned();
    let report = |sequence: u64, state: Value, done: bool| {
        let report =
            json!({"sequence": sequence, "steps": [{"container": "step-a", "state": state}], "done": done});
        shell.reports.keep(&uid, serde_json::from_value(report).expect("a report"), 100);
    };
    report(1, json!({"state": "running", "startedAt": 1_000}), false);
    pass("its step begins").await;
    assert_eq!(condition(&fake, RUN), ("Unknown".to_owned(), "Running".to_owned()));
    let mut running = container(&json!({"running": {}}));
    running["imageID"] = json!("sha256:1");
    pod_is(
        &fake,
        &shell,
        json!({"phase": "Running", "conditions": scheduled, "containerStatuses": [running]}),
    );
    pass("the kubelet says so too").await;
    let record = json!({"exit": {"kind": "exited", "code": 0}, "startedAt": 1_000, "finishedAt": 2_000});
    report(2, json!({"state": "ended", "record": record}), true);
    pass("its step ends").await;
    assert_eq!(condition(&fake, RUN).0, "True");
    assert_eq!(shell.held.len(), 0);
    let total: usize = writes.iter().map(|(_, written)| written).sum();
    assert_eq!(total, 2, "{writes:?}");
    assert!([3, 5].iter().all(|at| writes[*at].1 == 1), "{writes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_stays_is_written_in_its_last_form() {
    let (fake, shell) = world(&embedded());
    shell.reconcile(&key()).await;
    let message = || fake.get(RUN).expect("the run")["status"]["conditions"][0]["message"].to_string();
    let start = Instant::now();
    for reason in ["ContainerCreating", "ErrImagePull"] {
        let waiting = container(&json!({"waiting": {"reason": reason}}));
        pod_is(&fake, &shell, json!({"phase": "Pending", "containerStatuses": [waiting]}));
        let After::WakeAt(at) = shell.reconcile(&key()).await else { panic!("it must come again") };
        assert!(at <= start + Duration::from_millis(1100) && !message().contains(reason));
        tokio::time::advance(Duration::from_millis(600)).await;
    }
    shell.reconcile(&key()).await;
    assert!(message().contains("ErrImagePull"), "{}", message());
    fake.writes();
    shell.reconcile(&key()).await;
    assert!(fake.writes().is_empty() && shell.held.len() == 0);
}

#[tokio::test]
async fn images_that_the_node_names_after_the_end_follow() {
    let (fake, shell) = world(&embedded());
    shell.reconcile(&key()).await;
    let uid = fake.get(POD).expect("the pod")["metadata"]["uid"].as_str().expect("a UID").to_owned();
    pod_is(&fake, &shell, json!({"phase": "Pending"}));
    let record = json!({"exit": {"kind": "exited", "code": 0}, "startedAt": 1_000, "finishedAt": 2_000});
    let report = json!({"sequence": 1, "done": true,
        "steps": [{"container": "step-a", "state": {"state": "ended", "record": record}}]});
    shell.reports.keep(&uid, serde_json::from_value(report).expect("a report"), 100);
    shell.reconcile(&key()).await;
    let ended = fake.get(RUN).expect("the run")["status"].clone();
    assert_eq!((condition(&fake, RUN).0.as_str(), shell.late.len()), ("True", 1));
    assert!(ended["steps"][0]["imageID"].is_null(), "{ended}");

    fake.writes();
    shell.reconcile(&key()).await;
    assert!(fake.writes().is_empty(), "nothing is new");
    let mut over = container(&json!({"terminated": {"exitCode": 0}}));
    over["imageID"] = json!("sha256:1");
    pod_is(&fake, &shell, json!({"phase": "Succeeded", "containerStatuses": [over]}));
    shell.reconcile(&key()).await;
    let mut expected = ended;
    expected["steps"][0]["imageID"] = json!("sha256:1");
    assert_eq!(fake.get(RUN).expect("the run")["status"], expected);
    assert_eq!(shell.late.len(), 0);
    fake.writes();
    shell.reconcile(&key()).await;
    assert!(fake.writes().is_empty(), "once");
}

#[tokio::test]
async fn only_the_run_s_own_claim_is_deleted() {
    let (fake, shell) = world(&embedded());
    let run = shell.runs(Group::Ergon).task_runs.get(&Name::new("ns", "run")).expect("the run");
    let path = |name: &str| format!("/api/v1/namespaces/ns/persistentvolumeclaims/{name}");
    for (name, owner) in [("own", "u"), ("theirs", "other")] {
        fake.put(
            &path(name),
            json!({"metadata": {"name": name, "uid": name, "finalizers": ["kubernetes.io/pvc-protection", "x/y"],
                "ownerReferences": [{"apiVersion": "ergon.dev/v1", "kind": "TaskRun", "name": "run", "uid": owner}]}}),
        );
    }
    // What is gone, and what may not be deleted, holds nothing up.
    fake.fail(Method::DELETE, &path("own"), 403, "may not");
    for name in ["own", "own", "theirs", "gone"] {
        let action = ergon_engine::Action::DeleteClaim { name: name.to_owned() };
        shell.perform(&key(), run.as_ref(), vec![action]).await.expect("done");
    }
    let delete = format!("DELETE {}", path("own"));
    assert_eq!(fake.writes(), [delete.clone(), delete, format!("PATCH {}", path("own"))]);
    assert!(fake.get(&path("own")).is_none() && fake.get(&path("theirs")).is_some());
}

mod writes;
