//! Reading and following logs.

use ergon_client::{LogEvent, LogOptions, LogStream, Phase};
use futures::TryStreamExt;
use serde_json::{Value, json};

use crate::fake::{Fake, Log};
use crate::objects::run;

/// A TaskRun of the PipelineRun `r`. `steps` are names with `waiting`, `running` or `terminated`.
fn task(name: &str, second: u32, steps: &[(&str, &str)], done: bool) -> Value {
    let status = if done { "True" } else { "Unknown" };
    let mut task = run("ergon.dev", "TaskRun", &format!("r-{name}"), status, "Running");
    task["metadata"]["labels"] = json!({"ergon.dev/pipelineRun": "r", "ergon.dev/pipelineTask": name});
    task["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "ergon.dev/v1", "kind": "PipelineRun", "name": "r", "uid": "uid-of-r"}]);
    task["status"]["startTime"] = json!(format!("2026-01-01T00:00:{second:02}Z"));
    task["status"]["podName"] = json!(format!("r-{name}-pod"));
    let steps: Vec<Value> = steps
        .iter()
        .map(|(step, state)| {
            let body = if *state == "terminated" { json!({"exitCode": 0}) } else { json!({}) };
            json!({"name": step, "container": format!("step-{step}"), *state: body})
        })
        .collect();
    task["status"]["steps"] = json!(steps);
    task
}

fn pod(name: &str, containers: &[(&str, &str)]) -> Value {
    let statuses: Vec<Value> = containers
        .iter()
        .map(|(step, state)| {
            let body = match *state {
                "terminated" => json!({"terminated": {"exitCode": 0}}),
                "running" => json!({"running": {}}),
                reason => json!({"waiting": {"reason": reason}}),
            };
            json!({"name": format!("step-{step}"), "image": "", "imageID": "", "ready": true, "restartCount": 0,
                "state": body})
        })
        .collect();
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("r-{name}-pod")},
        "status": {"containerStatuses": statuses}})
}

fn stamped(second: u32, text: &str) -> String {
    format!("2026-01-01T00:00:{second:02}.5Z {text}\n")
}

/// The next event in one line.
async fn next(logs: &mut LogStream) -> Option<String> {
    Some(match logs.try_next().await.unwrap()? {
        LogEvent::Line(line) => format!("{}/{}: {}", line.task, line.step, line.text),
        LogEvent::Note(note) => format!("({}) {}", note.task, note.message),
        LogEvent::Ended(run) => format!("= {}", run.phase()),
    })
}

async fn rest(logs: &mut LogStream) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(event) = next(logs).await {
        all.push(event);
    }
    all
}

fn follow() -> LogOptions {
    LogOptions { follow: true, ..LogOptions::default() }
}

#[tokio::test(start_paused = true)]
async fn what_is_there_is_read_in_the_order_of_its_start() {
    let fake = Fake::new(&["ergon.dev"]);
    fake.put(run("ergon.dev", "PipelineRun", "r", "Unknown", "Running"));
    fake.put(task("b", 1, &[("one", "terminated"), ("two", "terminated")], true));
    fake.put(task("a", 2, &[("one", "running"), ("two", "waiting")], false));
    fake.put(task("c", 3, &[("one", "terminated")], true));
    fake.logs("r-b-pod", "step-one", vec![Log::Text(stamped(1, "first") + &stamped(2, "second"))]);
    fake.logs("r-b-pod", "step-two", vec![Log::Text(stamped(3, "third"))]);
    fake.logs("r-a-pod", "step-one", vec![Log::Text(stamped(4, "fourth"))]);
    fake.logs("r-a-pod", "step-two", vec![Log::Refused("container \"step-two\" is waiting to start")]);
    let ergon = fake.client();
    let reference = ergon.find("r", None).await.unwrap().reference();
    let mut logs = ergon.logs(&reference, LogOptions::default());
    assert_eq!(
        rest(&mut logs).await,
        [
            "b/one: first",
            "b/one: second",
            "b/two: third",
            "a/one: fourth",
            "(c) pod `r-c-pod` is gone, and its logs with it",
            "= Running"
        ]
    );
    let mut logs =
        ergon.logs(&reference, LogOptions { tasks: vec!["c".to_owned()], ..LogOptions::default() });
    assert_eq!(rest(&mut logs).await, ["(c) pod `r-c-pod` is gone, and its logs with it", "= Running"]);
}

#[tokio::test(start_paused = true)]
async fn a_run_is_followed_from_before_its_first_pod_to_its_end() {
    let fake = Fake::new(&["ergon.dev"]);
    fake.put(run("ergon.dev", "PipelineRun", "r", "Unknown", "Running"));
    let ergon = fake.client();
    let reference = ergon.find("r", None).await.unwrap().reference();
    let mut logs = ergon.logs(&reference, follow());

    // The task starts, its pod waits, and the trouble is told once.
    fake.put(task("a", 1, &[("one", "waiting"), ("two", "waiting")], false));
    fake.put(pod("a", &[("one", "ImagePullBackOff"), ("two", "ImagePullBackOff")]));
    assert_eq!(next(&mut logs).await.unwrap(), "(a) ImagePullBackOff");

    // Lines come while the step writes them.
    let one = fake.live_log("r-a-pod", "step-one");
    fake.put(pod("a", &[("one", "running"), ("two", "running")]));
    one.write(&stamped(1, "hello"));
    assert_eq!(next(&mut logs).await.unwrap(), "a/one: hello");
    one.write(&stamped(2, "world"));
    assert_eq!(next(&mut logs).await.unwrap(), "a/one: world");

    // The step ends; the log is opened once more for what came last, and nothing is told twice.
    fake.logs("r-a-pod", "step-one", vec![Log::Text(stamped(2, "world") + &stamped(3, "end"))]);
    let two = fake.live_log("r-a-pod", "step-two");
    fake.put(task("a", 1, &[("one", "terminated"), ("two", "running")], false));
    drop(one);
    assert_eq!(next(&mut logs).await.unwrap(), "a/one: end");
    two.write(&stamped(4, "next"));
    assert_eq!(next(&mut logs).await.unwrap(), "a/two: next");

    // The end of the run ends the stream.
    fake.logs("r-a-pod", "step-two", vec![Log::Text(stamped(4, "next"))]);
    fake.put(task("a", 1, &[("one", "terminated"), ("two", "terminated")], true));
    drop(two);
    fake.put(run("ergon.dev", "PipelineRun", "r", "True", "Succeeded"));
    assert_eq!(rest(&mut logs).await, ["= Succeeded"]);
}

#[tokio::test(start_paused = true)]
async fn broken_connections_lose_and_repeat_nothing() {
    let fake = Fake::new(&["ergon.dev"]);
    fake.put(run("ergon.dev", "PipelineRun", "r", "Unknown", "Running"));
    fake.put(task("a", 1, &[("one", "running")], false));
    fake.put(pod("a", &[("one", "running")]));
    fake.logs(
        "r-a-pod",
        "step-one",
        vec![
            Log::Refused("container \"step-one\" is waiting to start: ContainerCreating"),
            Log::Broken(stamped(1, "1") + &stamped(2, "2")),
            Log::Broken(stamped(1, "1") + &stamped(2, "2") + &stamped(2, "2b")),
        ],
    );
    let one = fake.live_log("r-a-pod", "step-one");
    let ergon = fake.client();
    let reference = ergon.find("r", None).await.unwrap().reference();
    let mut logs = ergon.logs(&reference, follow());
    for expected in ["a/one: 1", "a/one: 2", "a/one: 2b"] {
        assert_eq!(next(&mut logs).await.unwrap(), expected);
    }
    fake.break_watches();
    one.write(&(stamped(2, "2") + &stamped(2, "2b") + &stamped(3, "3")));
    assert_eq!(next(&mut logs).await.unwrap(), "a/one: 3");
    fake.logs("r-a-pod", "step-one", vec![Log::Text(stamped(3, "3") + &stamped(4, "4"))]);
    fake.put(task("a", 1, &[("one", "terminated")], true));
    fake.put(run("ergon.dev", "PipelineRun", "r", "False", "Failed"));
    drop(one);
    assert_eq!(rest(&mut logs).await, ["a/one: 4", "= Failed"]);
    let reopened =
        fake.requests().iter().filter(|line| line.contains("sinceTime=2026-01-01T00:00:02")).count();
    assert_eq!(reopened, 2, "{:?}", fake.requests());
}

/// No status tells that the first step has ended: that its log closes twice is enough to go on to the next one.
#[tokio::test(start_paused = true)]
async fn the_next_step_does_not_wait_for_a_status() {
    let fake = Fake::new(&["ergon.dev"]);
    fake.put(run("ergon.dev", "PipelineRun", "r", "Unknown", "Running"));
    fake.put(task("a", 1, &[("one", "running"), ("two", "running")], false));
    fake.put(pod("a", &[("one", "running"), ("two", "running")]));
    fake.logs("r-a-pod", "step-one", vec![Log::Text(stamped(1, "1")), Log::Text(stamped(1, "1"))]);
    let two = fake.live_log("r-a-pod", "step-two");
    let ergon = fake.client();
    let reference = ergon.find("r", None).await.unwrap().reference();
    let mut logs = ergon.logs(&reference, follow());
    assert_eq!(next(&mut logs).await.unwrap(), "a/one: 1");
    two.write(&stamped(2, "2"));
    assert_eq!(next(&mut logs).await.unwrap(), "a/two: 2");
}

/// The kubelet closes a log late: the status is enough to open the next one, and what still comes is not lost.
#[tokio::test(start_paused = true)]
async fn the_next_step_does_not_wait_for_the_log_to_close() {
    let fake = Fake::new(&["ergon.dev"]);
    fake.put(run("ergon.dev", "PipelineRun", "r", "Unknown", "Running"));
    fake.put(task("a", 1, &[("one", "running"), ("two", "waiting")], false));
    fake.put(pod("a", &[("one", "running"), ("two", "running")]));
    let one = fake.live_log("r-a-pod", "step-one");
    let two = fake.live_log("r-a-pod", "step-two");
    let ergon = fake.client();
    let reference = ergon.find("r", None).await.unwrap().reference();
    let mut logs = ergon.logs(&reference, follow());
    one.write(&stamped(1, "1"));
    assert_eq!(next(&mut logs).await.unwrap(), "a/one: 1");
    fake.put(task("a", 1, &[("one", "terminated"), ("two", "running")], false));
    two.write(&stamped(2, "2"));
    assert_eq!(next(&mut logs).await.unwrap(), "a/two: 2");
    one.write(&stamped(1, "late"));
    assert_eq!(next(&mut logs).await.unwrap(), "a/one: late");
}

#[tokio::test(start_paused = true)]
async fn a_retried_task_shows_every_try() {
    let fake = Fake::new(&["ergon.dev"]);
    let mut second = task("a", 2, &[("one", "terminated")], true);
    second["metadata"]["labels"] = json!({});
    second["status"]["podName"] = json!("r-a-pod-retry1");
    second["status"]["retriesStatus"] = json!([task("a", 1, &[("one", "terminated")], true)["status"]]);
    fake.put(second);
    fake.logs("r-a-pod", "step-one", vec![Log::Text(stamped(1, "first try"))]);
    fake.logs("r-a-pod-retry1", "step-one", vec![Log::Text(stamped(2, "second try"))]);
    let ergon = fake.client();
    let reference = ergon.find("r-a", None).await.unwrap().reference();
    let mut logs = ergon.logs(&reference, follow());
    let mut attempts = Vec::new();
    while let Some(event) = logs.try_next().await.unwrap() {
        match event {
            LogEvent::Line(line) => attempts.push((line.attempt, line.text)),
            LogEvent::Note(note) => panic!("{note:?}"),
            LogEvent::Ended(run) => assert_eq!(run.phase(), Phase::Succeeded),
        }
    }
    assert_eq!(attempts, [(1, "first try".to_owned()), (2, "second try".to_owned())]);
}
