//! How many writes a pipeline run costs, with pods that take their time.

use std::collections::BTreeMap;

use super::*;

const PATH: &str = "/apis/ergon.dev/v1/namespaces/ns/pipelineruns/pr";

/// How long a pod takes to run its step, and the step to end.
struct Times {
    start: Duration,
    step: Duration,
}

/// Where a pod is.
enum Stage {
    New,
    Running,
    Ended,
}

/// A run of a Pipeline of tasks in pods of their own, from its making to its end: the writes of runs, by their path.
async fn play(tasks: Value, times: &Times) -> BTreeMap<String, usize> {
    let fake = Fake::default();
    let shell = shell(&fake);
    fake.put(
        "/apis/ergon.dev/v1/namespaces/ns/tasks/t",
        json!({"apiVersion": "ergon.dev/v1", "kind": "Task", "metadata": {"name": "t", "namespace": "ns"},
            "spec": embedded()["taskSpec"]}),
    );
    let run = fake.put(PATH, json!({"apiVersion": "ergon.dev/v1", "kind": "PipelineRun",
        "metadata": {"namespace": "ns", "name": "pr", "uid": "p", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"fuse": "never", "pipelineSpec": {"tasks": tasks}}}));
    let run: PipelineRun = serde_json::from_value(run).expect("a run");
    shell.runs(Group::Ergon).pipeline_runs.observe(run);
    shell.queue.add(Key::pipeline_run(Group::Ergon, Name::new("ns", "pr")));
    let mut pods: BTreeMap<String, (Stage, Instant)> = BTreeMap::new();
    let start = Instant::now();
    while condition(&fake, PATH).0 != "True" {
        assert!(start.elapsed() < Duration::from_mins(10), "{:?}", fake.get(PATH));
        while let Some(key) = shell.queue.try_next() {
            let after = shell.reconcile(&key).await;
            shell.queue.done(&key, after);
        }
        shell.pods.for_each(|pod| {
            let name = pod.metadata.name.clone().unwrap_or_default();
            pods.entry(name).or_insert((Stage::New, Instant::now()));
        });
        for (name, (stage, since)) in &mut pods {
            let (state, is_done) = match stage {
                Stage::New if since.elapsed() >= times.start => {
                    *stage = Stage::Running;
                    (json!({"state": "running", "startedAt": 1_000}), false)
                }
                Stage::Running if since.elapsed() >= times.start + times.step => {
                    *stage = Stage::Ended;
                    let record = json!({"exit": {"kind": "exited", "code": 0}, "startedAt": 1_000, "finishedAt": 2_000});
                    (json!({"state": "ended", "record": record}), true)
                }
                _ => continue,
            };
            let pod = shell.pods.get(&Name::new("ns", name.as_str())).expect("the pod");
            let report = json!({"sequence": if is_done { 2 } else { 1 }, "done": is_done,
                "steps": [{"container": "step-a", "state": state}]});
            let uid = pod.metadata.uid.as_deref().unwrap_or_default();
            shell.reports.keep(uid, serde_json::from_value(report).expect("a report"), 100);
            shell.wake(&Key::owner_of(pod.as_ref()).expect("its run"), name);
        }
        tokio::time::advance(Duration::from_millis(50)).await;
    }
    let mut writes = BTreeMap::new();
    for write in fake.writes().into_iter().filter(|write| write.starts_with("PATCH")) {
        *writes.entry(write).or_default() += 1;
    }
    writes
}

fn chain(length: usize, reference: &Value) -> Value {
    let task = |at: usize| {
        let mut task = json!({"name": format!("t{at}"), "runAfter": []});
        for (field, value) in reference.as_object().expect("fields") {
            task[field] = value.clone();
        }
        if at > 0 {
            task["runAfter"] = json!([format!("t{}", at - 1)]);
        }
        task
    };
    (0..length).map(task).collect()
}

/// What a pipeline run may cost besides its tasks: its label, its first status and its last.
const OF_THE_RUN: usize = 3;

#[tokio::test(start_paused = true)]
async fn a_task_costs_three_writes() {
    let quick = Times { start: Duration::from_millis(600), step: Duration::from_millis(500) };
    let slow = Times { start: Duration::from_millis(600), step: Duration::from_secs(20) };
    let (embedded, reference) =
        (json!({"taskSpec": embedded()["taskSpec"]}), json!({"taskRef": {"name": "t"}}));
    let mut wide = chain(8, &embedded);
    wide.as_array_mut().expect("tasks").iter_mut().for_each(|task| task["runAfter"] = json!([]));
    for (case, tasks, times) in [
        ("one after the other, quick", chain(8, &embedded), &quick),
        ("one after the other, slow", chain(8, &embedded), &slow),
        ("one after the other, by reference", chain(8, &reference), &slow),
        ("side by side", wide, &slow),
    ] {
        let writes = play(tasks, times).await;
        let total: usize = writes.values().sum();
        assert!(total <= 3 * 8 + OF_THE_RUN, "{case}: {writes:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_late_costs_one_write_more() {
    let late = Times { start: Duration::from_secs(3), step: Duration::from_secs(20) };
    let writes = play(chain(1, &json!({"taskSpec": embedded()["taskSpec"]})), &late).await;
    let of_task: usize =
        writes.iter().filter(|(path, _)| path.contains("/taskruns/")).map(|(_, count)| count).sum();
    assert_eq!(of_task, 3, "that it waits, that it runs, and its end: {writes:#?}");
}
