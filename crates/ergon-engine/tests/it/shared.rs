//! A run whose tasks share pods comes to the same end as one in which each has its own.

mod ahead;
mod lost;
mod tries;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use ergon_api::{Config, TaskRun};
use ergon_engine::Library;
use ergon_engine::coordinate::{Command, Event, StepId};
use ergon_engine::pod::plan_of;
use ergon_engine::run::{self, Children, Explained, Planned, PlannedPod};
use ergon_wire::{Exit, ExitRecord};
use k8s_openapi::api::core::v1::Pod;
use proptest::prelude::*;
use serde_json::{Value, json};

use self::world::{World, empty, seen, shared_pods};

/// Plays both ways and compares. Gives the one with shared pods.
pub(crate) fn both(spec: &Value, tasks: &Value) -> World {
    let alone = World::new(spec.clone(), tasks, false, Vec::new()).play();
    let shared = World::new(spec.clone(), tasks, true, Vec::new()).play();
    assert_eq!(seen(&alone), seen(&shared));
    assert_eq!(shared.run.status.as_ref().map(ergon_api::PipelineRunStatus::is_done), Some(true));
    let mut one_container = spec.clone();
    one_container["fuse"] = json!("container");
    assert_eq!(seen(&alone), seen(&World::new(one_container, tasks, true, Vec::new()).play()));
    shared
}

#[test]
fn tasks_that_are_alike_run_in_one_container() {
    let task = |name: &str, after: &[&str], step: Value| {
        let mut steps = json!([{"name": "s", "image": "i", "script": "exit 0"}, {"name": "t", "image": "i", "script": "exit 0"}]);
        steps[0].as_object_mut().unwrap().extend(step.as_object().unwrap().clone());
        json!({"name": name, "runAfter": after, "taskSpec": {"steps": steps}})
    };
    let spec = json!({"fuse": "container", "pipelineSpec": {"tasks": [
        task("a", &[], json!({"env": [{"name": "V", "value": "1"}]})),
        task("b", &["a"], json!({"env": [{"name": "W", "value": "2"}]})),
        task("c", &["b"], json!({"image": "other"})),
        task("d", &["c"], json!({})),
        task("e", &["c"], json!({})),
    ], "finally": [{"name": "f", "taskSpec": {"steps": [{"name": "s", "image": "i", "script": "exit 0"}]}}]}});
    let world = World::new(spec, &json!({}), true, Vec::new()).play();
    let pod = shared_pods(&world)[0];
    let names: Vec<&str> =
        pod.spec.iter().flat_map(|spec| &spec.containers).map(|container| container.name.as_str()).collect();
    // Those that run side by side have one each; the final task follows into the first one's.
    assert_eq!(names, ["ergon-agent", "step-a-s", "step-c-s", "step-c-t", "step-d-s", "step-e-s"]);
    let container = |task: &str| {
        let status = world.task_runs[&format!("run-{task}")].status.clone().unwrap();
        status.steps.into_iter().map(|step| step.container).collect::<Vec<_>>()
    };
    assert_eq!(container("b"), ["step-a-s", "step-a-s"]);
    assert_eq!(container("c"), ["step-c-s", "step-c-t"]);
    assert_eq!(container("f"), ["step-d-s"]);
    let plan = plan_of(pod).unwrap();
    let later = &plan.tasks[1].steps[0];
    assert_eq!((later.container.as_str(), later.place()), ("step-b-s", "step-a-s"));
    assert!(later.empty_first.iter().any(|folder| folder.ends_with("/results")), "{:?}", later.empty_first);
    let container = &pod.spec.as_ref().unwrap().containers[1];
    assert!(container.env.iter().flatten().all(|variable| variable.name != "V"), "set when the step starts");
}

#[test]
fn results_travel_inside_one_pod() {
    let tasks = json!({"build": {
        "params": [{"name": "tag"}], "results": [{"name": "digest"}, {"name": "list", "type": "array"}],
        "steps": [{"name": "s", "image": "i", "script": "set digest sha-$(params.tag)\nset list [\"a\",\"b c\"]"}]}});
    let spec = json!({"pipelineSpec": {
        "results": [{"name": "all", "value": "$(tasks.deploy.results.shown) $(tasks.deploy.results.from)"}],
        "tasks": [
            {"name": "build", "taskRef": {"name": "build"}, "params": [{"name": "tag", "value": "1"}]},
            {"name": "test", "runAfter": ["build"], "taskSpec": {"steps": [{"name": "t", "image": "i", "script": "exit 0"}]}},
            {"name": "deploy", "runAfter": ["test"],
             "when": [{"input": "$(tasks.build.results.digest)", "operator": "in", "values": ["sha-1"]}],
             "params": [{"name": "digest", "value": "$(tasks.build.results.digest)"},
                        {"name": "list", "value": ["$(tasks.build.results.list[*])"]}],
             "taskSpec": {
                "params": [{"name": "digest"}, {"name": "list", "type": "array"}],
                "results": [{"name": "shown"}, {"name": "from"}, {"name": "argv"}],
                "steps": [{"name": "d", "image": "i", "args": ["$(params.list[*])"],
                           "env": [{"name": "PLAIN", "value": "p"}, {"name": "DIGEST", "value": "<$(params.digest)>"}],
                           "script": "set from $(params.digest)/$(params.list[1])\nset shown x"}]}},
            {"name": "not", "runAfter": ["test"],
             "when": [{"cel": "'$(tasks.build.results.digest)' == 'sha-2'"}],
             "taskSpec": {"steps": [{"name": "n", "image": "i", "script": "exit 1"}]}},
        ],
        "finally": [{"name": "tell", "params": [{"name": "s", "value": "$(tasks.deploy.status)"}],
                     "taskSpec": {"params": [{"name": "s"}], "steps": [{"name": "f", "image": "i", "script": "echo $(params.s)"}]}}],
    }});
    let world = both(&spec, &tasks);
    let pods = shared_pods(&world);
    assert_eq!(pods.len(), 1);
    let spec = pods[0].spec.as_ref().unwrap();
    let names: Vec<&str> = spec.containers.iter().map(|container| container.name.as_str()).collect();
    assert_eq!(
        names,
        ["ergon-agent", "step-build-s", "step-test-t", "step-deploy-d", "step-not-n", "step-tell-f"]
    );
    let env: Vec<&str> =
        spec.containers[3].env.iter().flatten().map(|variable| variable.name.as_str()).collect();
    assert_eq!(env, ["PLAIN"], "what is not known yet is not in the pod");
    let deploy = &world.task_runs["run-deploy"].status.as_ref().unwrap();
    assert_eq!(deploy.steps[0].container, "step-deploy-d");
    assert_eq!(world.run.status.as_ref().unwrap().results[0].value, "x sha-1/b c".into());
    assert_eq!(world.pods.len(), 1);
}

#[test]
fn results_of_steps_reach_the_later_steps_of_their_task() {
    let step = |name: &str, script: &str| json!({"name": name, "image": "i", "script": script});
    let mut second = step("second", "set out y");
    second["when"] = json!([{"input": "$(steps.first.results.r)", "operator": "in", "values": ["x"]}]);
    let mut first = step("first", "set r x");
    first["results"] = json!([{"name": "r"}]);
    let spec = json!({"pipelineSpec": {"tasks": [
        {"name": "a", "taskSpec": {"steps": [step("first", "set r z")]}},
        {"name": "b", "runAfter": ["a"], "taskSpec": {"results": [{"name": "out"}], "steps": [first, second]}},
    ]}});
    let world = both(&spec, &json!({}));
    assert_eq!(shared_pods(&world).len(), 1);
    assert_eq!(world.task_runs["run-b"].status.as_ref().unwrap().results[0].value, "y".into());
}

#[test]
fn variables_whose_values_come_later_reach_their_step() {
    let spec = json!({"pipelineSpec": {"tasks": [
        {"name": "a", "taskSpec": {"results": [{"name": "r"}], "steps": [{"name": "s", "image": "i", "script": "set r 5"}]}},
        {"name": "b", "params": [{"name": "p", "value": "$(tasks.a.results.r)"}],
         "taskSpec": {"params": [{"name": "p"}], "results": [{"name": "shown"}],
            "steps": [{"name": "s", "image": "i", "env": [{"name": "V", "value": "v$(params.p)"}], "script": "show V shown"}]}},
    ]}});
    let world = World::new(spec, &json!({}), true, Vec::new()).play();
    assert_eq!(world.task_runs["run-b"].status.as_ref().unwrap().results[0].value, "v5".into());
}

#[test]
fn what_must_be_known_before_keeps_tasks_apart() {
    let task = |extra: Value| {
        let mut task = json!({"name": "b", "runAfter": ["a"], "params": [{"name": "p", "value": "$(tasks.a.results.r)"}],
            "taskSpec": {"params": [{"name": "p"}], "steps": [{"name": "s", "image": "i", "script": "exit 0"}]}});
        for (key, value) in extra.as_object().unwrap() {
            if key == "step" {
                let step = task["taskSpec"]["steps"][0].as_object_mut().unwrap();
                step.extend(value.as_object().unwrap().clone());
            } else if key == "taskSpec" {
                task["taskSpec"].as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
            } else {
                task[key] = value.clone();
            }
        }
        task
    };
    for (extra, shares) in [
        (json!({}), true),
        (json!({"step": {"image": "i:$(params.p)"}}), false),
        (
            json!({"step": {"volumeMounts": [{"name": "v", "mountPath": "/$(params.p)"}]}, "taskSpec": {"volumes": [{"name": "v", "emptyDir": {}}]}}),
            false,
        ),
        (json!({"retries": 1}), false),
        (json!({"retries": 1, "fuse": "pod"}), true),
        (json!({"retries": 6, "fuse": "pod"}), false),
        (json!({"fuse": "never"}), false),
        (json!({"fuse": "pod"}), true),
        (json!({"timeout": "5m"}), true),
        (json!({"onError": "continue"}), true),
        (json!({"taskSpec": {"sidecars": [{"name": "s", "image": "i", "script": "s"}]}}), false),
        (json!({"step": {"script": "$(context.taskRun.name)"}}), true),
        (json!({"step": {"script": "$(context.taskRun.uid)"}}), false),
        (json!({"taskSpec": {"metadata": {"labels": {"own": "1"}}}}), false),
        (json!({"matrix": {"params": [{"name": "m", "value": ["1", "2"]}]}}), false),
    ] {
        let spec = json!({"pipelineSpec": {"tasks": [
            {"name": "a", "taskSpec": {"results": [{"name": "r"}], "steps": [{"name": "s", "image": "i", "script": "set r 5"}]}},
            task(extra.clone()),
        ]}});
        let world = both(&spec, &json!({}));
        assert_eq!(!shared_pods(&world).is_empty(), shares, "{extra}");
    }
}

#[test]
fn a_claim_of_one_pod_alone_is_a_folder_of_it() {
    let task = |name: &str, after: &[&str]| {
        json!({"name": name, "runAfter": after, "workspaces": [{"name": "w", "workspace": "w"}],
        "taskSpec": {"workspaces": [{"name": "w"}], "steps": [{"name": "s", "image": "i", "script": "exit 0"}]}})
    };
    let run = |tasks: Value| {
        json!({
        "workspaces": [{"name": "w", "volumeClaimTemplate": {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}}],
        "pipelineSpec": {"workspaces": [{"name": "w"}], "tasks": tasks}})
    };
    let world = both(&run(json!([task("a", &[]), task("b", &["a"])])), &json!({}));
    assert_eq!(world.claims, Vec::<String>::new());
    let volumes = shared_pods(&world)[0].spec.clone().unwrap().volumes.unwrap_or_default();
    let of_workspace: Vec<_> = volumes.iter().filter(|volume| volume.name.starts_with("ws-")).collect();
    assert_eq!(of_workspace.len(), 1, "both see the same one");
    assert!(of_workspace[0].empty_dir.is_some());
    let mut own = task("c", &["b"]);
    own["fuse"] = json!("never");
    let world = both(&run(json!([task("a", &[]), task("b", &["a"]), own])), &json!({}));
    assert!(!world.claims.is_empty(), "another task needs it");
    let volumes = shared_pods(&world)[0].spec.clone().unwrap().volumes.unwrap_or_default();
    assert!(volumes.iter().any(|volume| volume.persistent_volume_claim.is_some()));
}

#[test]
fn a_pod_is_near_others_with_the_claims_of_all_its_tasks() {
    let task = |name: &str, after: &[&str], workspace: Option<&str>| {
        let bound: Vec<Value> =
            workspace.iter().map(|name| json!({"name": "w", "workspace": name})).collect();
        let declared: Vec<Value> = workspace.iter().map(|_| json!({"name": "w"})).collect();
        json!({"name": name, "runAfter": after, "workspaces": bound,
            "taskSpec": {"workspaces": declared, "steps": [{"name": "s", "image": "i", "script": "exit 0"}]}})
    };
    let template = |name: &str| {
        json!({"name": name, "volumeClaimTemplate": {"spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}})
    };
    let run = |tasks: Value| {
        json!({"workspaces": [template("v"), template("w")],
            "pipelineSpec": {"workspaces": [{"name": "v"}, {"name": "w"}], "tasks": tasks}})
    };
    let labels = |pod: &Pod| -> Vec<String> {
        let labels = pod.metadata.labels.clone().unwrap_or_default().into_keys();
        labels.filter(|label| label.starts_with("ergon.dev/claim-")).collect()
    };
    let rules = |pod: &Pod| -> Vec<String> {
        let affinity = pod.spec.clone().and_then(|spec| spec.affinity).unwrap_or_default();
        let rules =
            affinity.pod_affinity.and_then(|near| near.required_during_scheduling_ignored_during_execution);
        let selectors = rules.into_iter().flatten().filter_map(|rule| rule.label_selector?.match_labels);
        selectors.flat_map(BTreeMap::into_keys).collect()
    };
    // Both claims are folders: nothing is to be near, and the task without any is in the pod as well.
    let all = json!([task("a", &[], Some("v")), task("b", &["a"], None), task("c", &["b"], Some("w"))]);
    let world = both(&run(all.clone()), &json!({}));
    let pods = shared_pods(&world);
    assert_eq!((world.pods.len(), labels(pods[0]), rules(pods[0])), (1, Vec::new(), Vec::new()));
    // A task elsewhere needs both.
    let mut tasks =
        json!([task("a", &[], Some("v")), task("b", &["a"], Some("w")), task("c", &["b"], Some("v"))]);
    tasks[2]["fuse"] = json!("never");
    let more = [
        ("/2/workspaces", json!({"name": "x", "workspace": "w"})),
        ("/2/taskSpec/workspaces", json!({"name": "x"})),
    ];
    for (place, item) in more {
        tasks.pointer_mut(place).and_then(Value::as_array_mut).unwrap().push(item);
    }
    let world = both(&run(tasks), &json!({}));
    let pods = shared_pods(&world);
    assert_eq!(labels(pods[0]).len(), 2, "the claims of both tasks");
    let alone = world
        .pods
        .values()
        .map(|running| &running.pod)
        .find(|pod| pod.metadata.name != pods[0].metadata.name);
    assert_eq!(labels(pods[0]), labels(alone.unwrap()));
    let sorted = |mut all: Vec<String>| {
        all.sort();
        all
    };
    assert_eq!(sorted(rules(pods[0])), labels(pods[0]));
}

/// A second pod is refused, such as by a quota: what is in the first one stays there.
#[test]
fn tasks_stay_in_their_pod_where_no_other_can_be_made() {
    let task = |name: &str, after: &[&str], workspaces: Value| {
        json!({"name": name, "runAfter": after, "workspaces": workspaces,
            "taskSpec": {"workspaces": [{"name": "w", "optional": true}],
                "steps": [{"name": "s", "image": "i", "script": "exit 0"}]}})
    };
    let bound = json!([{"name": "w", "workspace": "w"}]);
    let mut first = task("first", &[], json!([]));
    first["fuse"] = json!("never");
    let spec = json!({
    "workspaces": [{"name": "w", "volumeClaimTemplate": {"spec": {"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}}}}}],
    "pipelineSpec": {"workspaces": [{"name": "w"}], "tasks": [
        task("a", &[], json!([])), task("b", &["a"], json!([])),
        first, task("c", &["first"], bound.clone()), task("d", &["c"], bound),
    ]}});
    let mut world = World::new(spec, &json!({}), true, vec![0, 0]);
    world.decide_run();
    assert_eq!(shared_pods(&world).len(), 1);
    world.may_make = false;
    let world = world.play();
    assert_eq!(shared_pods(&world).len(), 1);
    let pod = |run: &str| world.task_runs[run].status.as_ref().unwrap().pod_name.clone().unwrap();
    assert_eq!((pod("run-a"), pod("run-b")), ("run-a-pod".into(), "run-a-pod".into()));
    assert_eq!((pod("run-c"), pod("run-d")), ("run-c-pod".into(), "run-d-pod".into()));
    assert_eq!(world.claims.len(), 1, "made with the first of the tasks that need it");
    assert!(world.task_runs.values().all(TaskRun::is_successful));
}

#[test]
fn a_pod_asks_for_the_most_that_runs_at_once() {
    let task = |name: &str, after: &[&str], cpu: &str| {
        json!({"name": name, "runAfter": after, "taskSpec": {"steps": [
        {"name": "s", "image": "i", "script": "exit 0", "computeResources": {"requests": {"cpu": cpu}}}]}})
    };
    let tasks = json!([
        task("a", &[], "1"),
        task("b", &["a"], "3"),
        task("c", &["a"], "500m"),
        task("d", &["b", "c"], "2")
    ]);
    let world = both(&json!({"fuse": "pod", "pipelineSpec": {"tasks": tasks}}), &json!({}));
    let containers = shared_pods(&world)[0].spec.clone().unwrap().containers;
    let asked: Vec<String> = containers[1..]
        .iter()
        .map(|container| container.resources.clone().unwrap().requests.unwrap()["cpu"].0.clone())
        .collect();
    assert_eq!(asked, ["0", "3", "500m", "0"]);
}

#[test]
fn a_long_row_is_in_several_pods() {
    let task = |at: usize| {
        let after: Vec<String> = at.checked_sub(1).map(|before| format!("t{before}")).into_iter().collect();
        json!({"name": format!("t{at}"), "runAfter": after,
            "taskSpec": {"steps": [{"name": "s", "image": "i", "script": "exit 0"}]}})
    };
    let tasks: Vec<Value> = (0..60).map(task).collect();
    let world = World::new(json!({"pipelineSpec": {"tasks": tasks}}), &json!({}), true, Vec::new()).play();
    assert!(world.task_runs.values().all(TaskRun::is_successful) && world.task_runs.len() == 60);
    assert_eq!(world.pods.keys().collect::<Vec<_>>(), ["run-t0-pod", "run-t48-pod"]);
    let last = |name: &str| json!({"name": name, "taskSpec": {"steps": [{"name": "s", "image": "i", "script": "exit 0"}]}});
    let spec = json!({"tasks": (0..47).map(task).collect::<Vec<_>>(), "finally": [last("f"), last("g")]});
    let world = World::new(json!({"pipelineSpec": spec}), &json!({}), true, Vec::new()).play();
    assert!(world.task_runs.values().all(TaskRun::is_successful) && world.task_runs.len() == 49);
    assert_eq!(world.pods.keys().collect::<Vec<_>>(), ["run-g-pod", "run-t0-pod"]);
}

#[test]
fn what_begins_together_asks_for_little() {
    let task = |name: &str, cpu: &str| {
        json!({"name": name, "taskSpec": {"steps": [
        {"name": "s", "image": "i", "script": "exit 0", "computeResources": {"requests": {"cpu": cpu}}}]}})
    };
    let pods = |fuse: &str| -> Vec<String> {
        let tasks = json!([task("a", "1"), task("b", "3"), task("c", "500m")]);
        both(&json!({"fuse": fuse, "pipelineSpec": {"tasks": tasks}}), &json!({})).pods.into_keys().collect()
    };
    // A node with room for each of them may have none for two at once.
    assert_eq!(pods("auto"), ["run-a-pod", "run-b-pod"]);
    assert_eq!(pods("pod"), ["run-a-pod"]);
}

#[test]
fn tasks_whose_turn_comes_together_share_a_pod() {
    let task = |name: String, after: &[&str]| {
        json!({"name": name, "runAfter": after,
            "taskSpec": {"steps": [{"name": "s", "image": "i", "script": "exit 0"}]}})
    };
    let ten: Vec<Value> = (0..10).map(|at| task(format!("t{at}"), &[])).collect();
    let pods = |spec: &Value| -> Vec<String> {
        let world = both(spec, &json!({}));
        assert!(world.task_runs.values().all(TaskRun::is_successful));
        world.pods.into_keys().collect()
    };
    // Not more than four side by side, unless that is asked for.
    let world = both(&json!({"pipelineSpec": {"tasks": ten}}), &json!({}));
    let shares = |run: &TaskRun| run.metadata.annotations.as_ref()?.get("ergon.dev/shared-with").cloned();
    let groups: Vec<String> = world.task_runs.values().filter_map(shares).collect();
    assert_eq!(groups, ["t0,t1,t2,t3", "t4,t5,t6,t7", "t8,t9"]);
    assert_eq!(pods(&json!({"fuse": "pod", "pipelineSpec": {"tasks": ten}})), ["run-t0-pod"]);
    assert_eq!(pods(&json!({"fuse": "never", "pipelineSpec": {"tasks": ten}})).len(), 10);
    // What waits for several of them follows, and what does not begin with them does not.
    let tasks = json!([
        task("a".into(), &[]),
        task("b".into(), &[]),
        task("both".into(), &["a", "b"]),
        {"name": "own", "fuse": "never", "taskSpec": {"steps": [{"name": "s", "image": "i", "script": "exit 0"}]}},
        task("late".into(), &["own"]),
        task("later".into(), &["own", "a"]),
    ]);
    assert_eq!(
        pods(&json!({"pipelineSpec": {"tasks": tasks}})),
        ["run-a-pod", "run-late-pod", "run-later-pod", "run-own-pod"]
    );
}

/// Three tasks in a row, of which the first has ended and the second runs.
fn second_of_three() -> World {
    let task = |name: &str, after: &[&str]| {
        json!({"name": name, "runAfter": after,
            "taskSpec": {"steps": [{"name": "s", "image": "i", "script": "exit 0"}]}})
    };
    let spec = json!({"pipelineSpec": {"tasks": [task("a", &[]), task("b", &["a"]), task("c", &["b"])]}});
    let mut world = World::new(spec, &json!({}), true, Vec::new());
    while world.decide() {}
    assert!(world.end_a_step());
    world
}

#[test]
fn one_task_is_ended_and_the_next_does_not_start() {
    let mut world = second_of_three();
    let at = world.now;
    let running = world.pods.values_mut().next().unwrap();
    let commands = running.state.handle(Event::StopTask { task: "b".into(), at });
    let id = StepId { task: 1, step: 0 };
    assert!(matches!(commands[..], [Command::Stop { id: stopped, .. }] if stopped == id), "{commands:?}");
    assert_eq!(running.state.handle(Event::StopTask { task: "b".into(), at }), [], "it is told once");
    let record = ExitRecord { exit: Exit::Cancelled, finished_at: at, ..empty() };
    let commands = running.state.handle(Event::Ended { id, record });
    let last = StepId { task: 2, step: 0 };
    assert!(commands.contains(&Command::Skip { id: last, exit: Exit::Skipped }), "{commands:?}");
}

#[test]
fn a_halt_lets_what_runs_go_on_and_starts_nothing() {
    let mut world = second_of_three();
    let at = world.now;
    let running = world.pods.values_mut().next().unwrap();
    let commands = running.state.handle(Event::Halt { at });
    let last = StepId { task: 2, step: 0 };
    assert_eq!(commands, [Command::Skip { id: last, exit: Exit::Skipped }, Command::Report]);
    let record = ExitRecord { exit: Exit::Exited { code: 0 }, finished_at: at, ..empty() };
    let commands = running.state.handle(Event::Ended { id: StepId { task: 1, step: 0 }, record });
    assert_eq!(commands, [Command::Report]);
    assert!(!running.state.has_failed());
}

/// What is told of a run before it starts.
fn planned(world: &World) -> Planned {
    let mut library = Library::default();
    loop {
        let observed = run::Observed {
            group: world.group,
            run: &world.run,
            children: Children::default(),
            ancestors: &[],
            library: &library,
            config: &Config::default(),
            plan: None,
            sharing: None,
        };
        match run::explain(&observed, &world.platform, world.moment()).unwrap() {
            Explained::Plan(plan) => return plan,
            Explained::Needs(needs) => needs.iter().for_each(|need| world.look_up(need, &mut library)),
        }
    }
}

/// A random pipeline: which tasks each waits for, how it ends, and what of its parents it uses.
fn pipelines() -> impl Strategy<Value = (Value, Vec<usize>)> {
    let task = (any::<u8>(), 0u8..10, any::<u8>(), any::<u8>(), 0u8..12);
    let fuse = prop_oneof![Just("auto"), Just("pod"), Just("container"), Just("never")];
    let prestart = prop_oneof![Just("never"), Just("auto")];
    let order = prop::collection::vec(any::<prop::sample::Index>(), 60);
    (prop::collection::vec(task, 2..8), fuse, prestart, order).prop_map(
        |(tasks, fuse, prestart, order)| {
            let tasks: Vec<Value> = tasks
                .into_iter()
                .enumerate()
                .map(|(at, (parents, end, uses, when, kind))| {
                    let parents: Vec<usize> = (0..at).filter(|parent| parents >> (parent % 8) & 1 == 1).collect();
                    let after: Vec<String> = parents.iter().map(|parent| format!("t{parent}")).collect();
                    let used = parents.iter().find(|parent| uses >> (**parent % 8) & 1 == 1);
                    let mut script = format!("set r {at}$(params.p)");
                    // A few write no result, and a few fail.
                    match end {
                        0 => script = "exit 3".into(),
                        1 => script = "exit 0".into(),
                        2 => script.push_str("\nexit 1"),
                        _ => {}
                    }
                    let mut task = json!({"name": format!("t{at}"), "runAfter": after,
                        "params": [{"name": "p", "value": used.map_or(String::new(), |used| format!("<$(tasks.t{used}.results.r)>"))}],
                        "taskSpec": {"params": [{"name": "p"}], "results": [{"name": "r"}],
                            "steps": [{"name": "one", "image": "i", "script": script}, {"name": "two", "image": "j", "script": "exit 0"}]}});
                    if let Some(used) = used.filter(|_| when % 4 == 0) {
                        task["when"] = json!([{"input": format!("$(tasks.t{used}.results.r)"), "operator": "notin", "values": ["0"]}]);
                    }
                    match kind {
                        0 => task["onError"] = json!("continue"),
                        // Its first tries fail, and the last one may.
                        1 | 3 | 4 => {
                            task["retries"] = json!(kind.min(2));
                            let from = usize::from(kind) * usize::from(end > 2).min(1);
                            task["taskSpec"]["steps"][0]["script"] =
                                json!(format!("from {from} $(context.task.retry-count)\n{script}"));
                        }
                        2 => task["fuse"] = json!("never"),
                        _ => {}
                    }
                    task
                })
                .collect();
            let spec = json!({"fuse": fuse, "prestart": prestart, "pipelineSpec": {"tasks": tasks,
                "results": [{"name": "last", "value": "$(tasks.t0.results.r)"}],
                "finally": [{"name": "end", "params": [{"name": "p", "value": "$(tasks.status)"}],
                    "taskSpec": {"params": [{"name": "p"}], "steps": [{"name": "s", "image": "i", "script": "echo $(params.p)"}]}}]}});
            (spec, order.into_iter().map(|index| index.index(1000)).collect())
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// What is told before is what happens, where all goes well and nothing is skipped.
    #[test]
    fn the_plan_is_what_happens((mut spec, order) in pipelines()) {
        spec["prestart"] = json!("never");
        let planned = planned(&World::new(spec.clone(), &json!({}), true, Vec::new()));
        let world = World::new(spec, &json!({}), true, order).play();
        let status = world.run.status.as_ref().unwrap();
        let runs = world.task_runs.values();
        prop_assume!(status.skipped_tasks.is_empty() && !runs.clone().any(TaskRun::is_failed));
        prop_assume!(status.condition().is_some_and(|condition| condition.reason() == "Succeeded"));
        let annotation = |run: &TaskRun| run.metadata.annotations.as_ref()?.get("ergon.dev/shared-with").cloned();
        let happened: BTreeSet<String> = runs.filter_map(annotation).collect();
        let told: BTreeSet<String> =
            planned.pods.iter().filter(|pod| pod.tasks.len() > 1).map(|pod| pod.tasks.join(",")).collect();
        prop_assert_eq!(&told, &happened);
        for edge in planned.not_shared.iter().filter_map(|edge| Some((edge.after.as_ref()?, &edge.task))) {
            let both = |pod: &&PlannedPod| pod.tasks.contains(edge.0) && pod.tasks.contains(edge.1);
            prop_assert_eq!(planned.pods.iter().find(both), None, "{:?}", edge);
        }
    }

    /// Without failures, whatever order the steps end in. (With them, what else had begun by then depends on time.)
    #[test]
    fn sharing_changes_nothing((spec, order) in pipelines()) {
        let alone = World::new(spec.clone(), &json!({}), false, Vec::new()).play();
        let shared = World::new(spec.clone(), &json!({}), true, order).play();
        let is_well = |world: &World| world.run.status.as_ref().is_some_and(|status| {
            status.condition().is_some_and(|condition| condition.status == ergon_api::ConditionStatus::True)
        });
        let failed = |world: &World| !is_well(world) || world.task_runs.values().any(TaskRun::is_failed);
        prop_assert!(shared.run.status.as_ref().is_some_and(ergon_api::PipelineRunStatus::is_done), "{}", seen(&shared));
        if failed(&alone) {
            let reason = |world: &World| world.run.status.as_ref().unwrap().condition().unwrap().status;
            prop_assert_eq!(reason(&alone), reason(&shared));
        } else {
            prop_assert_eq!(seen(&alone), seen(&shared));
        }
    }
}
