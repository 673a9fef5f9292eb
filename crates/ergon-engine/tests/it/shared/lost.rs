//! A shared pod is lost in the middle.

use std::collections::BTreeSet;

use ergon_api::{ConditionStatus, PipelineRunStatus, TaskRun};
use ergon_engine::coordinate::{Event, StepId};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::pipelines;
use super::world::{World, seen_try, shared_pods};

/// A task that needs in the claim what those before it put there.
fn task(name: &str, after: &[&str]) -> Value {
    let needs: Vec<String> = after.iter().map(|before| format!("need {before}\n")).collect();
    let needs = needs.concat();
    json!({"name": name, "runAfter": after, "workspaces": [{"name": "w", "workspace": "w"}],
        "taskSpec": {"workspaces": [{"name": "w"}], "results": [{"name": "r"}],
            "steps": [{"name": "s", "image": "i", "script": format!("{needs}put {name}\nset r {name}")}]}})
}

/// One that needs nothing there.
fn apart(name: &str, after: &[&str]) -> Value {
    json!({"name": name, "runAfter": after,
        "taskSpec": {"steps": [{"name": "s", "image": "i", "script": "exit 0"}]}})
}

fn with_claim(mut spec: Value) -> Value {
    spec["workspaces"] = json!([{"name": "w", "volumeClaimTemplate": {"spec": {"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}}}}}]);
    spec["pipelineSpec"]["workspaces"] = json!([{"name": "w"}]);
    spec
}

fn world(tasks: &Value, finally: &Value) -> World {
    let spec = with_claim(json!({"pipelineSpec": {"tasks": tasks, "finally": finally}}));
    World::new(spec, &json!({}), true, Vec::new())
}

/// Ends so many steps, and everything is decided that follows.
fn after_steps(mut world: World, count: usize) -> World {
    while world.decide() {}
    for _ in 0..count {
        assert!(world.end_a_step());
        while world.decide() {}
    }
    world
}

fn names(world: &World) -> Vec<&str> {
    world.task_runs.keys().map(String::as_str).collect()
}

fn message(world: &World) -> &str {
    world
        .run
        .status
        .as_ref()
        .and_then(PipelineRunStatus::condition)
        .map_or("", |condition| condition.message())
}

fn reason<'a>(world: &'a World, run: &str) -> &'a str {
    world.task_runs[run].condition().map_or("", |condition| condition.reason())
}

#[test]
fn what_was_not_finished_runs_again() {
    let tasks = json!([apart("a", &[]), apart("b", &["a"]), apart("c", &["b"])]);
    let mut world = after_steps(world(&tasks, &json!([])), 1);
    world.pods.clear();
    let world = world.play();
    assert_eq!(names(&world), ["run-a", "run-b", "run-b-retry-1", "run-c"]);
    assert_eq!(reason(&world, "run-b"), "PodDeleted");
    assert_eq!(reason(&world, "run-b-retry-1"), "Succeeded");
    let run = world.run.status.as_ref().unwrap();
    assert_eq!(run.condition().unwrap().reason(), "Succeeded");
    let told = "task `b` runs again as TaskRun `run-b-retry-1`: pod `run-a-pod` was lost (PodDeleted)";
    assert!(world.events.iter().any(|event| event == told), "{:?}", world.events);
    assert!(message(&world).ends_with("Ran again after the loss of a pod that tasks shared: `b`"));
    let children: Vec<&str> = run.child_references.iter().map(|child| child.name.as_str()).collect();
    assert_eq!(children, ["run-a", "run-b", "run-b-retry-1", "run-c"]);
    // The rest shares a pod again, under the name of the new run.
    let pod = |run: &str| world.task_runs[run].status.as_ref().unwrap().pod_name.clone().unwrap();
    assert_eq!(
        (pod("run-b-retry-1"), pod("run-c")),
        ("run-b-retry-1-pod".into(), "run-b-retry-1-pod".into())
    );
}

#[test]
fn what_was_finished_runs_again_where_its_folder_is_lost() {
    let mut last = task("c", &["b"]);
    last["runAfter"] = json!(["b", "x"]);
    let tasks = json!([task("a", &[]), apart("x", &["a"]), task("b", &["a"]), last]);
    let mut world = after_steps(world(&tasks, &json!([])), 2);
    assert!(world.task_runs["run-a"].is_successful());
    world.pods.clear();
    let world = world.play();
    // `x` needs nothing of it, but comes between two that run again: or `c` would wait for the wrong one.
    assert_eq!(
        world.task_runs.values().filter(|run| run.name().ends_with("-retry-1")).count(),
        3,
        "{:?}",
        names(&world)
    );
    let told = "task `a` had succeeded and runs again as TaskRun `run-a-retry-1`: what it left for others was in pod `run-a-pod`, which was lost";
    assert!(world.events.iter().any(|event| event == told), "{:?}", world.events);
    for run in world.task_runs.values().filter(|run| run.is_failed()) {
        assert_eq!(
            (reason(&world, run.name()), run.status.as_ref().unwrap().steps.len()),
            ("PodDeleted", 1),
            "{}",
            run.name()
        );
    }
    assert_eq!(
        world.run.status.as_ref().unwrap().condition().unwrap().reason(),
        "Succeeded",
        "{}",
        message(&world)
    );
    assert_eq!(world.claims, Vec::<String>::new(), "the new pod has a folder again");
}

/// Between two tasks no run is lost with the pod, but what the next one needs is.
#[test]
fn a_pod_that_is_lost_between_two_tasks() {
    let tasks = json!([task("a", &[]), task("b", &["a"])]);
    let mut world = world(&tasks, &json!([]));
    while world.decide() {}
    assert!(world.end_a_step());
    world.decide_task("run-a");
    world.pods.clear();
    let world = world.play();
    assert_eq!(names(&world), ["run-a", "run-a-retry-1", "run-b"]);
    assert!(world.task_runs.values().all(TaskRun::is_successful), "{}", message(&world));
}

#[test]
fn a_final_task_finds_what_the_others_left() {
    let mut last = task("f", &[]);
    last["taskSpec"]["steps"][0]["script"] = json!("need a\nneed b");
    last.as_object_mut().unwrap().remove("runAfter");
    let tasks = json!([task("a", &[]), task("b", &["a"])]);
    let mut world = after_steps(world(&tasks, &json!([last])), 2);
    world.pods.clear();
    let world = world.play();
    assert_eq!(names(&world), ["run-a", "run-a-retry-1", "run-b", "run-b-retry-1", "run-f", "run-f-retry-1"]);
    assert_eq!(
        world.run.status.as_ref().unwrap().condition().unwrap().reason(),
        "Succeeded",
        "{}",
        message(&world)
    );
}

/// A task failed by itself, so that what is lost is not made again: the final task that needs it does not run on nothing.
#[test]
fn nothing_runs_again_where_the_run_has_failed() {
    let mut last = task("f", &[]);
    last.as_object_mut().unwrap().remove("runAfter");
    let mut bad = task("b", &["a"]);
    bad["taskSpec"]["steps"][0]["script"] = json!("exit 3");
    let mut world = after_steps(world(&json!([task("a", &[]), bad]), &json!([last])), 2);
    world.pods.clear();
    let world = world.play();
    assert_eq!(names(&world), ["run-a", "run-b", "run-f"]);
    assert_eq!((reason(&world, "run-b"), reason(&world, "run-f")), ("StepFailed", "PodDeleted"));
    assert_eq!(world.run.status.as_ref().unwrap().condition().unwrap().reason(), "Failed");
}

/// Whoever loses one pod after the other comes to an end.
#[test]
fn it_happens_only_so_often() {
    let mut world = after_steps(world(&json!([task("a", &[]), task("b", &["a"])]), &json!([])), 1);
    for _ in 0..10 {
        world.pods.clear();
        while world.decide() {}
        world.end_a_step();
        while world.decide() {}
    }
    let world = world.play();
    assert_eq!(world.run.status.as_ref().unwrap().condition().unwrap().reason(), "Failed");
    assert!(
        world.task_runs.values().filter(|run| run.name().starts_with("run-b")).count() <= 4,
        "{:?}",
        names(&world)
    );
}

/// What may still be at work is waited for.
#[test]
fn a_pod_that_is_being_deleted_ends_first() {
    let mut world = after_steps(world(&json!([task("a", &[]), task("b", &["a"])]), &json!([])), 1);
    let until = Timestamp::from_millisecond(world.now + 30_000).unwrap();
    let running = world.pods.get_mut("run-a-pod").unwrap();
    running.pod.metadata.deletion_timestamp = Some(Time(until));
    running.steps.clear();
    let (id, at) = (StepId { task: 1, step: 0 }, world.now);
    running.handle(Event::Lost { id, at }, at);
    running.pod.status.get_or_insert_default().phase = Some("Running".into());
    while world.decide() {}
    assert_eq!(reason(&world, "run-b"), "PodDeleted");
    assert_eq!(names(&world), ["run-a", "run-b"]);
    assert!(!world.run.status.as_ref().unwrap().is_done());
    world.now += 30_000;
    let world = world.play();
    assert_eq!(names(&world), ["run-a", "run-a-retry-1", "run-b", "run-b-retry-1"]);
    assert!(shared_pods(&world).len() == 2);
}

/// What users see of the last run of each task.
fn last_runs(world: &World) -> Value {
    let status = world.run.status.clone().unwrap_or_default();
    let number = |run: &TaskRun| -> usize {
        let label = run.metadata.labels.as_ref().and_then(|labels| labels.get("ergon.dev/retry"));
        label.map_or(0, |number| number.parse().unwrap())
    };
    let task = |run: &TaskRun| run.metadata.labels.as_ref().unwrap()["ergon.dev/pipelineTask"].clone();
    let mut runs: Vec<&TaskRun> = world.task_runs.values().collect();
    runs.sort_by_key(|run| (task(run), number(run)));
    let tasks: std::collections::BTreeMap<String, Value> = runs
        .into_iter()
        .map(|run| {
            let status = run.status.clone().unwrap_or_default();
            let tries: Vec<Value> = status.retries_status.iter().chain([&status]).map(seen_try).collect();
            (task(run), json!(tries))
        })
        .collect();
    let condition = status.condition().cloned().unwrap_or_default();
    json!({"condition": [condition.status, condition.reason()], "results": status.results,
        "skipped": status.skipped_tasks, "tasks": tasks})
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whenever pods are lost, and wherever the controller is cut off, a run comes to the end that it has without.
    #[test]
    fn a_loss_changes_nothing_but_the_way(
        (spec, order) in pipelines(),
        bound in any::<u8>(),
        losses in prop::collection::btree_set(1usize..12, 1..3),
        crashes in prop::collection::vec(0usize..6, 0..12),
    ) {
        let mut spec = with_claim(spec);
        for (at, bit) in (0..8).map(|at| (at, bound >> at & 1)) {
            let parents: BTreeSet<usize> = spec["pipelineSpec"]["tasks"][at]["runAfter"].as_array().into_iter().flatten()
                .filter_map(|parent| parent.as_str()?.strip_prefix('t')?.parse().ok())
                .filter(|parent: &usize| bound >> parent & 1 == 1)
                .collect();
            let Some(task) = spec["pipelineSpec"]["tasks"].get_mut(at).filter(|_| bit == 1) else { continue };
            let needs: Vec<String> = parents.iter().map(|parent| format!("need t{parent}\n")).collect();
            let needs = needs.concat();
            task["workspaces"] = json!([{"name": "w"}]);
            task["taskSpec"]["workspaces"] = json!([{"name": "w"}]);
            // A parent that is skipped leaves nothing.
            task.as_object_mut().unwrap().remove("when");
            let step = &mut task["taskSpec"]["steps"][1]["script"];
            *step = json!(format!("{needs}put t{at}"));
        }
        let alone = World::new(spec.clone(), &json!({}), false, Vec::new()).play();
        let mut shared = World::new(spec, &json!({}), true, order);
        (shared.losses, shared.crashes) = (losses, crashes);
        let shared = shared.play();
        let condition = |world: &World| world.run.status.as_ref().unwrap().condition().unwrap().status;
        prop_assert!(shared.run.status.as_ref().is_some_and(PipelineRunStatus::is_done), "{}", last_runs(&shared));
        prop_assert_eq!(condition(&alone), condition(&shared), "{} {}", last_runs(&alone), last_runs(&shared));
        let failed = alone.task_runs.values().any(TaskRun::is_failed);
        if condition(&alone) == ConditionStatus::True && !failed {
            prop_assert_eq!(last_runs(&alone), last_runs(&shared));
        }
    }
}
