//! Pods that are made before their tasks' turn.

use ergon_api::{PipelineRunStatus, TaskRun};
use ergon_engine::task::pod_name;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use super::world::{World, seen};

/// Tasks in a row, each with a pod of its own, and each showing the result of the one before.
fn in_a_row(names: &[&str], change: impl Fn(&str, &mut Value)) -> Value {
    let tasks: Vec<Value> = names
        .iter()
        .enumerate()
        .map(|(at, name)| {
            let before = at
                .checked_sub(1)
                .map_or(String::new(), |before| format!("$(tasks.{}.results.r)", names[before]));
            let mut task = json!({"name": name, "params": [{"name": "p", "value": before}],
                "taskSpec": {"params": [{"name": "p"}], "results": [{"name": "r"}],
                    "steps": [{"name": "s", "image": "i", "script": format!("set r $(params.p)-{name}")}]}});
            change(name, &mut task);
            task
        })
        .collect();
    json!({"fuse": "never", "prestart": "auto", "pipelineSpec": {"tasks": tasks}})
}

/// Until the task runs.
fn until_runs(world: &mut World, task: &str) {
    for _ in 0..100 {
        world.now += 1;
        while world.decide() {}
        let run = world.task_runs.get(&format!("run-{task}"));
        let reason = run.and_then(|run| Some(run.status.as_ref()?.condition()?.reason().to_owned()));
        if reason.as_deref() == Some("Running") {
            return;
        }
        assert!(world.end_a_step());
    }
    panic!("{task} does not run");
}

fn pods(world: &World) -> Vec<&str> {
    world.pods.keys().map(String::as_str).collect()
}

fn phase<'a>(world: &'a World, pod: &str) -> &'a str {
    let status = world.pods[pod].pod.status.as_ref();
    status.and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

#[test]
fn a_pod_is_there_before_its_task_and_begins_with_it() {
    let spec = in_a_row(&["a", "b", "c"], |_, _| {});
    let mut world = World::new(spec.clone(), &json!({}), true, Vec::new());
    until_runs(&mut world, "a");
    assert_eq!(pods(&world), ["run-a-pod", "run-b-pod-ahead"]);
    assert!(world.pods["run-b-pod-ahead"].steps.is_empty(), "nothing runs in it");
    until_runs(&mut world, "b");
    assert_eq!(pods(&world), ["run-a-pod", "run-b-pod-ahead", "run-c-pod-ahead"]);
    assert_eq!(pod_name(&world.task_runs["run-b"]), "run-b-pod-ahead");
    let world = world.play();
    assert_eq!(world.pods.len(), 3);
    let alone = World::new(spec, &json!({}), false, Vec::new()).play();
    assert_eq!(seen(&alone), seen(&world));
    let result = &world.task_runs["run-c"].status.as_ref().unwrap().results[0].value;
    assert_eq!(*result, "-a-b-c".into());
}

#[test]
fn a_pod_that_waits_can_be_one_that_tasks_share() {
    let mut spec = in_a_row(&["a", "b", "c"], |name, task| {
        task["fuse"] = json!(if name == "a" { "never" } else { "auto" });
    });
    // The last one needs what only the first one has.
    spec["pipelineSpec"]["tasks"][2]["params"][0]["value"] =
        json!("$(tasks.a.results.r)$(tasks.b.results.r)");
    let mut world = World::new(spec.clone(), &json!({}), true, Vec::new());
    until_runs(&mut world, "a");
    let world = world.play();
    assert_eq!(pods(&world), ["run-a-pod", "run-b-pod-ahead"]);
    let alone = World::new(spec, &json!({}), false, Vec::new()).play();
    assert_eq!(seen(&alone), seen(&world));
    let result = &world.task_runs["run-c"].status.as_ref().unwrap().results[0].value;
    assert_eq!(*result, "-a-a-b-c".into());
}

#[test]
fn what_cannot_wait_does_not() {
    let step = |task: &mut Value, key: &str, value: Value| task["taskSpec"]["steps"][0][key] = value;
    for (change, waits) in [
        ((|_: &mut Value| {}) as fn(&mut Value), true),
        (|task| task["prestart"] = json!("never"), false),
        (|task| task["matrix"] = json!({"params": [{"name": "m", "value": ["1"]}]}), false),
        (|task| task["taskSpec"]["sidecars"] = json!([{"name": "x", "image": "i", "script": "x"}]), false),
        (|task| task["retries"] = json!(1), true),
    ] {
        let spec = in_a_row(&["a", "b"], |name, task| {
            if name == "b" {
                change(task);
            }
        });
        let mut world = World::new(spec, &json!({}), true, Vec::new());
        until_runs(&mut world, "a");
        assert_eq!(world.pods.contains_key("run-b-pod-ahead"), waits);
        let world = world.play();
        assert!(world.task_runs.values().all(TaskRun::is_successful));
    }
    let spec = in_a_row(&["a", "b"], |name, task| {
        if name == "b" {
            step(task, "image", json!("i:$(params.p)"));
        }
    });
    let mut world = World::new(spec, &json!({}), true, Vec::new());
    until_runs(&mut world, "a");
    assert_eq!(pods(&world), ["run-a-pod"], "its image is not known");
}

#[test]
fn a_pod_that_nothing_will_begin_in_is_ended() {
    // The task before fails, with others still at work.
    let mut spec = in_a_row(&["a", "b"], |name, task| {
        if name == "a" {
            task["taskSpec"]["steps"][0]["script"] = json!("exit 1");
        }
    });
    let slow = json!({"name": "slow", "prestart": "never", "taskSpec": {"steps": [{"name": "s", "image": "i", "script": "exit 0"}]}});
    spec["pipelineSpec"]["tasks"].as_array_mut().unwrap().push(slow);
    let mut world = World::new(spec, &json!({}), true, Vec::new());
    until_runs(&mut world, "a");
    assert_eq!(phase(&world, "run-b-pod-ahead"), "Running");
    assert!(world.end_a_step());
    while world.decide() {}
    assert!(!world.run.status.as_ref().is_some_and(PipelineRunStatus::is_done), "one task is at work");
    assert_eq!(phase(&world, "run-b-pod-ahead"), "Failed");
    assert!(!world.play().task_runs.contains_key("run-b"));
}

#[test]
fn a_skipped_task_begins_nowhere() {
    let spec = in_a_row(&["a", "b"], |name, task| {
        if name == "b" {
            task["when"] = json!([{"input": "$(tasks.a.results.r)", "operator": "in", "values": ["other"]}]);
        }
    });
    let world = World::new(spec, &json!({}), true, Vec::new()).play();
    assert_eq!(phase(&world, "run-b-pod-ahead"), "Failed");
    assert_eq!(world.run.status.as_ref().unwrap().skipped_tasks.len(), 1);
}

#[test]
fn a_pod_that_is_lost_while_it_waits_is_replaced() {
    let spec = in_a_row(&["a", "b"], |_, _| {});
    for evicted in [true, false] {
        let mut world = World::new(spec.clone(), &json!({}), true, Vec::new());
        until_runs(&mut world, "a");
        world.ended = usize::from(evicted);
        world.lose();
        let world = world.play();
        assert!(world.task_runs.values().all(TaskRun::is_successful), "{}", seen(&world));
        assert_eq!(world.task_runs.len(), 2);
        let name = pod_name(&world.task_runs["run-b"]);
        // One that is gone is made again while the task before runs.
        assert_eq!(name, if evicted { "run-b-pod" } else { "run-b-pod-ahead" });
    }
}

#[test]
fn an_agent_that_says_nothing_is_not_waited_for() {
    let spec = in_a_row(&["a", "b"], |_, _| {});
    let mut world = World::new(spec, &json!({}), true, Vec::new());
    until_runs(&mut world, "a");
    world.silent.insert("run-b-pod-ahead".to_owned());
    let made = Some(Time(world.moment()));
    world.pods.get_mut("run-b-pod-ahead").unwrap().pod.metadata.creation_timestamp = made;
    assert!(world.end_a_step());
    while world.decide() {}
    assert!(!world.task_runs.contains_key("run-b"), "it may only be slow");
    world.now += 6_000;
    while world.decide() {}
    assert_eq!(pod_name(&world.task_runs["run-b"]), "run-b-pod");
    assert_eq!(phase(&world, "run-b-pod-ahead"), "Failed");
    assert!(world.play().task_runs.values().all(TaskRun::is_successful));
}

#[test]
fn only_so_many_pods_wait() {
    let names: Vec<String> = (0..8).map(|at| format!("t{at}")).collect();
    let step = json!([{"name": "s", "image": "i", "script": "exit 0"}]);
    let mut tasks = vec![json!({"name": "a", "taskSpec": {"steps": step}})];
    tasks.extend(
        names.iter().map(|name| json!({"name": name, "runAfter": ["a"], "taskSpec": {"steps": step}})),
    );
    let spec = json!({"fuse": "never", "prestart": "auto", "pipelineSpec": {"tasks": tasks}});
    let mut world = World::new(spec, &json!({}), true, Vec::new());
    until_runs(&mut world, "a");
    assert_eq!(world.pods.len(), 1 + 4);
    let world = world.play();
    assert!(world.task_runs.values().all(TaskRun::is_successful));
    assert_eq!(world.pods.len(), 9);
}
