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
            let container = format!("step-{step}");
            let ended = json!({"exitCode": 0, "startedAt": "2026-01-01T00:00:00Z"});
            match *state {
                "terminated" => json!({"name": step, "container": container, *state: ended}),
                "skipped" => json!({"name": step, "container": container, "terminated": {"exitCode": 1},
                    "terminationReason": "Skipped"}),
                _ => json!({"name": step, "container": container, *state: {}}),
            }
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
    fake.put(pod("b", &[("one", "terminated"), ("two", "terminated")]));
    fake.put(pod("a", &[("one", "running"), ("two", "ContainerCreating")]));
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

/// A task whose steps are in the pod of task `a`, under names of their own there.
fn sharing(name: &str, second: u32, steps: &[(&str, &str)], done: bool) -> Value {
    let mut task = task(name, second, steps, done);
    task["status"]["podName"] = json!("r-a-pod");
    for step in task["status"]["steps"].as_array_mut().unwrap() {
        step["container"] = json!(format!("step-{name}-{}", step["name"].as_str().unwrap()));
    }
    task
}

#[tokio::test(start_paused = true)]
async fn tasks_in_one_pod_are_read_each_under_its_own_name() {
    let fake = Fake::new(&["ergon.dev"]);
    fake.put(run("ergon.dev", "PipelineRun", "r", "True", "Succeeded"));
    fake.put(sharing("b", 2, &[("one", "terminated"), ("two", "skipped")], true));
    fake.put(sharing("a", 1, &[("one", "terminated")], true));
    // A task of the pod that was never reached has no run.
    let containers = ["a-one", "b-one", "b-two", "c-one"].map(|name| (name, "terminated"));
    fake.put(pod("a", &containers));
    fake.logs("r-a-pod", "step-a-one", vec![Log::Text(stamped(1, "first"))]);
    fake.logs("r-a-pod", "step-b-one", vec![Log::Text(stamped(2, "second"))]);
    let ergon = fake.client();
    let reference = ergon.find("r", None).await.unwrap().reference();
    let mut logs = ergon.logs(&reference, LogOptions::default());
    assert_eq!(rest(&mut logs).await, ["a/one: first", "b/one: second", "= Succeeded"]);
    fake.logs("r-a-pod", "step-b-one", vec![Log::Text(stamped(2, "second"))]);
    let of_b = LogOptions { tasks: vec!["b".to_owned()], ..LogOptions::default() };
    assert_eq!(rest(&mut ergon.logs(&reference, of_b)).await, ["b/one: second", "= Succeeded"]);
}

#[tokio::test(start_paused = true)]
async fn tasks_in_one_pod_are_followed_one_after_another() {
    let fake = Fake::new(&["ergon.dev"]);
    fake.put(run("ergon.dev", "PipelineRun", "r", "Unknown", "Running"));
    // All of the pod's containers run from the start, and those whose turn has not come write nothing.
    fake.put(pod("a", &[("a-one", "running"), ("b-one", "running")]));
    fake.put(sharing("a", 1, &[("one", "running")], false));
    let ergon = fake.client();
    let reference = ergon.find("r", None).await.unwrap().reference();
    let one = fake.live_log("r-a-pod", "step-a-one");
    let mut logs = ergon.logs(&reference, follow());
    one.write(&stamped(1, "hello"));
    assert_eq!(next(&mut logs).await.unwrap(), "a/one: hello");

    // The first task ends while its pod goes on.
    fake.logs("r-a-pod", "step-a-one", vec![Log::Text(stamped(1, "hello"))]);
    fake.put(pod("a", &[("a-one", "terminated"), ("b-one", "running")]));
    fake.put(sharing("a", 1, &[("one", "terminated")], true));
    drop(one);
    let two = fake.live_log("r-a-pod", "step-b-one");
    fake.put(sharing("b", 2, &[("one", "running")], false));
    two.write(&stamped(2, "next"));
    assert_eq!(next(&mut logs).await.unwrap(), "b/one: next");

    fake.logs("r-a-pod", "step-b-one", vec![Log::Text(stamped(2, "next"))]);
    fake.put(pod("a", &[("a-one", "terminated"), ("b-one", "terminated")]));
    fake.put(sharing("b", 2, &[("one", "terminated")], true));
    fake.put(run("ergon.dev", "PipelineRun", "r", "True", "Succeeded"));
    drop(two);
    assert_eq!(rest(&mut logs).await, ["= Succeeded"]);
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
    fake.put(pod("a", &[("one", "terminated")]));
    let mut second_pod = pod("a", &[("one", "terminated")]);
    second_pod["metadata"]["name"] = json!("r-a-pod-retry1");
    fake.put(second_pod);
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

/// Waits as the kubelet lets one wait. The clock stands still but for this.
async fn seconds(count: u64) {
    tokio::time::sleep(std::time::Duration::from_secs(count)).await;
}

/// A run whose agent told of its end before the kubelet showed any container.
fn over_before_its_containers(done: bool) -> Fake {
    let fake = Fake::new(&["ergon.dev"]);
    let status = if done { "True" } else { "Unknown" };
    fake.put(run("ergon.dev", "PipelineRun", "r", status, "Running"));
    fake.put(task("a", 1, &[("one", "terminated"), ("two", "terminated"), ("three", "skipped")], done));
    fake.put(pod("a", &["one", "two", "three"].map(|step| (step, "ContainerCreating"))));
    fake.logs("r-a-pod", "step-one", vec![Log::Text(stamped(1, "1"))]);
    fake.logs("r-a-pod", "step-two", vec![Log::Text(stamped(2, "2"))]);
    fake
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_over_before_the_kubelet_shows_it_is_read_to_its_end() {
    // It may be over before it is followed, or while it is.
    for (done, follow, wait) in [(true, true, 5), (false, true, 5), (true, false, 2)] {
        let fake = over_before_its_containers(done);
        let ergon = fake.client();
        let reference = ergon.find("r", None).await.unwrap().reference();
        let mut logs = ergon.logs(&reference, LogOptions { follow, ..LogOptions::default() });
        let kubelet = async {
            if !done {
                seconds(1).await;
                fake.put(task(
                    "a",
                    1,
                    &[("one", "terminated"), ("two", "terminated"), ("three", "skipped")],
                    true,
                ));
                fake.put(run("ergon.dev", "PipelineRun", "r", "True", "Succeeded"));
            }
            seconds(wait - 1).await;
            fake.put(pod("a", &[("one", "terminated"), ("two", "ContainerCreating")]));
            seconds(1).await;
            fake.put(pod(
                "a",
                &[("one", "terminated"), ("two", "terminated"), ("three", "ContainerCreating")],
            ));
        };
        let (all, ()) = tokio::join!(rest(&mut logs), kubelet);
        assert_eq!(all, ["a/one: 1", "a/two: 2", "= Succeeded"], "done={done} follow={follow}");
        let opened = fake.requests().iter().filter(|line| line.contains("/log")).count();
        assert_eq!(opened, 2, "nothing is asked of a container that has not started: {:?}", fake.requests());
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_that_never_comes_is_given_up_in_time() {
    let note = "(a) the step has run, and its node does not show its log yet; try it again in a moment";
    for (follow, limit) in [(false, 4), (true, 40)] {
        let fake = over_before_its_containers(true);
        let ergon = fake.client();
        let reference = ergon.find("r", None).await.unwrap().reference();
        let begun = tokio::time::Instant::now();
        let mut logs = ergon.logs(&reference, LogOptions { follow, ..LogOptions::default() });
        assert_eq!(rest(&mut logs).await, [note, note, "= Succeeded"]);
        assert!(begun.elapsed().as_secs() < limit, "{:?}", begun.elapsed());
    }
    // A pod that goes meanwhile is waited for no longer.
    let fake = over_before_its_containers(true);
    let ergon = fake.client();
    let reference = ergon.find("r", None).await.unwrap().reference();
    let mut logs = ergon.logs(&reference, follow());
    let begun = tokio::time::Instant::now();
    let goes = async {
        seconds(1).await;
        fake.remove(("pods", "r-a-pod"));
    };
    let (all, ()) = tokio::join!(rest(&mut logs), goes);
    let gone = "(a) pod `r-a-pod` is gone, and its logs with it";
    assert_eq!(all, [gone, gone, "= Succeeded"]);
    assert!(begun.elapsed().as_secs() < 3, "{:?}", begun.elapsed());
}

/// The kubelet still shows the container as running: its last lines are on their way.
#[tokio::test(start_paused = true)]
async fn what_has_just_ended_is_read_once_the_kubelet_has_seen_its_end() {
    let fake = Fake::new(&["ergon.dev"]);
    fake.put(run("ergon.dev", "PipelineRun", "r", "False", "Failed"));
    fake.put(task("a", 1, &[("one", "terminated")], true));
    fake.put(pod("a", &[("one", "running")]));
    let ergon = fake.client();
    let reference = ergon.find("r", None).await.unwrap().reference();
    let mut logs = ergon.logs(&reference, LogOptions::default());
    let kubelet = async {
        seconds(1).await;
        fake.logs("r-a-pod", "step-one", vec![Log::Text(stamped(1, "the last line"))]);
        fake.put(pod("a", &[("one", "terminated")]));
    };
    let (all, ()) = tokio::join!(rest(&mut logs), kubelet);
    assert_eq!(all, ["a/one: the last line", "= Failed"]);
}

/// A log that takes long to read and breaks off is taken up again, however long ago the step ended.
#[tokio::test(start_paused = true)]
async fn a_log_that_breaks_off_after_the_end_is_taken_up_again() {
    let fake = Fake::new(&["ergon.dev"]);
    fake.put(run("ergon.dev", "PipelineRun", "r", "Unknown", "Running"));
    fake.put(task("a", 1, &[("one", "terminated")], false));
    fake.put(pod("a", &[("one", "terminated")]));
    let one = fake.live_log("r-a-pod", "step-one");
    let refused = || Log::Refused("the node is busy");
    let rest_of_it = Log::Text(stamped(1, "1") + &stamped(2, "2"));
    fake.logs("r-a-pod", "step-one", vec![refused(), refused(), rest_of_it]);
    let ergon = fake.client();
    let reference = ergon.find("r", None).await.unwrap().reference();
    let mut logs = ergon.logs(&reference, follow());
    one.write(&stamped(1, "1"));
    assert_eq!(next(&mut logs).await.unwrap(), "a/one: 1");
    seconds(60).await;
    one.break_off();
    assert_eq!(next(&mut logs).await.unwrap(), "a/one: 2");
}

/// A reader that takes its time loses nothing after the end of the run.
#[tokio::test(start_paused = true)]
async fn a_slow_reader_gets_every_line() {
    let fake = Fake::new(&["ergon.dev"]);
    fake.put(run("ergon.dev", "PipelineRun", "r", "Unknown", "Running"));
    fake.put(task("a", 1, &[("one", "running")], false));
    fake.put(pod("a", &[("one", "running")]));
    let many: String = (0..1000).map(|line| stamped(1, &line.to_string())).collect();
    fake.logs("r-a-pod", "step-one", vec![Log::Text(many.clone()), Log::Text(many)]);
    let ergon = fake.client();
    let reference = ergon.find("r", None).await.unwrap().reference();
    let mut logs = ergon.logs(&reference, follow());
    assert_eq!(next(&mut logs).await.unwrap(), "a/one: 0");
    fake.put(task("a", 1, &[("one", "terminated")], true));
    fake.put(pod("a", &[("one", "terminated")]));
    fake.put(run("ergon.dev", "PipelineRun", "r", "True", "Succeeded"));
    seconds(300).await;
    let all = rest(&mut logs).await;
    assert_eq!((all.len(), all.last().map(String::as_str)), (1000, Some("= Succeeded")));
}

#[tokio::test(start_paused = true)]
async fn one_leg_of_a_matrix_is_chosen_by_its_number() {
    let fake = Fake::new(&["ergon.dev"]);
    fake.put(run("ergon.dev", "PipelineRun", "r", "True", "Succeeded"));
    for leg in 0..2 {
        let mut object = task(&format!("test-{leg}"), leg, &[("one", "terminated")], true);
        object["metadata"]["labels"]["ergon.dev/pipelineTask"] = json!("test");
        object["metadata"]["labels"]["ergon.dev/matrix-leg"] = json!(leg.to_string());
        fake.put(object);
        fake.put(pod(&format!("test-{leg}"), &[("one", "terminated")]));
    }
    let ergon = fake.client();
    let reference = ergon.find("r", None).await.unwrap().reference();
    let table: [(&str, &[&str]); 2] = [
        ("test", &["test[0]/one: 0", "test[1]/one: 1", "= Succeeded"]),
        ("test[1]", &["test[1]/one: 1", "= Succeeded"]),
    ];
    for (name, expected) in table {
        for leg in 0..2 {
            fake.logs(
                &format!("r-test-{leg}-pod"),
                "step-one",
                vec![Log::Text(stamped(leg, &leg.to_string()))],
            );
        }
        let options = LogOptions { tasks: vec![name.to_owned()], ..LogOptions::default() };
        assert_eq!(rest(&mut ergon.logs(&reference, options)).await, expected);
    }
}
