//! Tries of a task in a pod that it shares.

use std::collections::{BTreeMap, BTreeSet};

use ergon_api::{TaskRun, TaskRunStatus};
use ergon_engine::coordinate::{Command, Event, StepId};
use ergon_wire::{Exit, ExitRecord};
use serde_json::{Value, json};

use super::both;
use super::world::{World, empty, shared_pods};

/// A task in the middle whose tries share the pod, or one container of it.
fn tried_twice(fuse: &str) -> Value {
    json!({"fuse": fuse, "pipelineSpec": {
    "results": [{"name": "last", "value": "$(tasks.c.results.r)"}],
    "tasks": [
        {"name": "a", "taskSpec": {"results": [{"name": "r"}], "steps": [{"name": "s", "image": "i", "script": "set r 5"}]}},
        {"name": "b", "retries": 2, "params": [{"name": "p", "value": "$(tasks.a.results.r)"}],
         "taskSpec": {"params": [{"name": "p"}], "results": [{"name": "r"}], "steps": [
            {"name": "s", "image": "i", "script": "set r $(params.p)-$(context.task.retry-count)"},
            {"name": "t", "image": "i", "script": "from 1 $(context.task.retry-count)"}]}},
        {"name": "c", "params": [{"name": "p", "value": "$(tasks.b.results.r)"}],
         "taskSpec": {"params": [{"name": "p"}], "results": [{"name": "r"}],
            "steps": [{"name": "s", "image": "i", "script": "set r <$(params.p)>"}]}},
    ]}})
}

#[test]
fn a_task_is_tried_again_in_its_pod() {
    let world = both(&tried_twice("pod"), &json!({}));
    assert_eq!(world.pods.len(), 1);
    let pod = shared_pods(&world)[0];
    let names: Vec<&str> =
        pod.spec.iter().flat_map(|spec| &spec.containers).map(|container| container.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "ergon-agent",
            "step-a-s",
            "step-b-s",
            "step-b-t",
            "step-b-s-retry1",
            "step-b-t-retry1",
            "step-b-s-retry2",
            "step-b-t-retry2",
            "step-c-s"
        ]
    );
    assert_eq!(world.run.status.as_ref().unwrap().results[0].value, "<5-1>".into());
    let status = world.task_runs["run-b"].status.clone().unwrap();
    let containers =
        |status: &TaskRunStatus| status.steps.iter().map(|step| step.container.clone()).collect::<Vec<_>>();
    assert_eq!(status.retries_status.len(), 1);
    assert_eq!(containers(&status.retries_status[0]), ["step-b-s", "step-b-t"]);
    assert_eq!(containers(&status), ["step-b-s-retry1", "step-b-t-retry1"]);
    assert_eq!(status.pod_name, status.retries_status[0].pod_name);
    // Each try has its own part of the folders.
    let paths = |container: usize| -> BTreeSet<String> {
        let mounts = pod.spec.as_ref().unwrap().containers[container].volume_mounts.iter().flatten();
        mounts.filter_map(|mount| mount.sub_path.clone()).filter(|path| path.starts_with('b')).collect()
    };
    assert!(!paths(2).is_empty() && paths(2).is_disjoint(&paths(4)), "{:?} {:?}", paths(2), paths(4));

    let world = World::new(tried_twice("container"), &json!({}), true, Vec::new()).play();
    let containers = &shared_pods(&world)[0].spec.as_ref().unwrap().containers;
    assert_eq!(containers.len(), 2, "all tries are alike");
}

/// What the controller says of a try, or of the task, counts in the pod.
#[test]
fn a_try_is_ended_and_the_next_one_follows_but_not_where_the_task_is_ended() {
    for (event, next) in [
        (Event::StopTries { task: "b".into(), before: 1, at: 0 }, true),
        (Event::StopTask { task: "b".into(), at: 0 }, false),
    ] {
        let mut world = World::new(tried_twice("pod"), &json!({}), true, Vec::new());
        while world.decide() {}
        assert!(world.end_a_step());
        let at = world.now;
        let running = world.pods.values_mut().next().unwrap();
        let id = StepId { task: 1, step: 0 };
        let commands = running.state.handle(event.clone());
        assert!(matches!(commands[0], Command::Stop { id: stopped, .. } if stopped == id), "{commands:?}");
        assert_eq!(running.state.handle(event), [], "it is told once");
        let record = ExitRecord { exit: Exit::Cancelled, finished_at: at, ..empty() };
        let commands = running.state.handle(Event::Ended { id, record });
        let follows = StepId { task: 2, step: 0 };
        let runs = |command: &Command| matches!(command, Command::Run { id, .. } if *id == follows);
        assert_eq!(commands.iter().any(runs), next, "{commands:?}");
        let last = Command::Skip { id: StepId { task: 4, step: 0 }, exit: Exit::Skipped };
        assert_eq!(commands.contains(&last), !next, "{commands:?}");
    }
}

/// A try that takes too long: the next one is in the same pod.
#[test]
fn a_try_that_takes_too_long_is_followed_by_another() {
    let mut spec = tried_twice("pod");
    spec["pipelineSpec"]["tasks"][1]["timeout"] = json!("1m");
    let mut world = World::new(spec, &json!({}), true, Vec::new());
    while world.decide() {}
    assert!(world.end_a_step());
    while world.decide() {}
    world.now += 61_000;
    while world.decide() {}
    let children: Vec<&TaskRun> = world.task_runs.values().collect();
    let orders = ergon_engine::fuse::orders(world.group, &world.run, &children, "run-a-pod", None);
    assert_eq!((orders.stop_tasks.len(), orders.halt), (0, false));
    assert_eq!(orders.stop_tries, BTreeMap::from([("b".to_owned(), 1)]));
    let at = world.now;
    let running = world.pods.get_mut("run-a-pod").unwrap();
    running.handle(Event::StopTries { task: "b".into(), before: 1, at }, at);
    let (id, _) = running.steps.remove(0);
    let record = ExitRecord { exit: Exit::Cancelled, finished_at: at, ..empty() };
    running.handle(Event::Ended { id, record }, at);
    let world = world.play();
    assert!(world.task_runs.values().all(TaskRun::is_successful));
    let tries = world.task_runs["run-b"].status.as_ref().unwrap().retries_status.len();
    assert_eq!((world.pods.len(), tries), (1, 1));
}
