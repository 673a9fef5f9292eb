//! The objects that are created.

use serde_json::{Value, json};

/// Steps and plain pods use it: it is on the node already.
const IMAGE: &str = "localhost/busybox:1";

/// Whether tasks share pods.
#[derive(Debug, Clone, Copy)]
pub enum Fuse {
    Auto,
    Never,
    Container,
}

impl Fuse {
    fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Never => "never",
            Self::Container => "container",
        }
    }
}

/// A pod that runs for a second: a plain one, or a bare one, which does without the one volume that every pod gets
/// unless it says otherwise, its service account's token.
pub fn pod(name: &str, bare: bool) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"bench": "raw"}},
        "spec": {
            "restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": !bare,
            "containers": [{
                "name": "only", "image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": ["sleep", "1"],
            }],
        },
    })
}

/// A plain pod for a fake node.
pub fn fake_pod(name: &str) -> Value {
    let mut pod = pod(name, false);
    if let (Some(spec), Some(more)) = (pod["spec"].as_object_mut(), fake_node().as_object()) {
        spec.extend(more.clone());
    }
    pod
}

/// One TaskRun.
pub fn task_run(name: &str, steps: usize) -> Value {
    json!({
        "apiVersion": "ergon.dev/v1", "kind": "TaskRun", "metadata": metadata(name),
        "spec": {"taskSpec": task(steps)},
    })
}

/// One TaskRun whose first step takes so many seconds: the containers of the others are there when their turn comes.
pub fn task_run_after(name: &str, steps: usize, seconds: usize) -> Value {
    let mut run = task_run(name, steps);
    sleep_first(&mut run["spec"]["taskSpec"], seconds);
    run
}

/// The same of tasks one after another that share a pod.
pub fn chain_after(name: &str, count: usize, seconds: usize) -> Value {
    let mut run = chain(name, count, Fuse::Auto);
    sleep_first(&mut run["spec"]["pipelineSpec"]["tasks"][0]["taskSpec"], seconds);
    run
}

/// Tasks one after another that take so many seconds each, with pods of their own that are made ahead.
pub fn chain_ahead(name: &str, count: usize, seconds: usize) -> Value {
    let mut run = chain(name, count, Fuse::Never);
    run["spec"]["prestart"] = json!("auto");
    for task in run["spec"]["pipelineSpec"]["tasks"].as_array_mut().into_iter().flatten() {
        sleep_first(&mut task["taskSpec"], seconds);
    }
    run
}

fn sleep_first(task: &mut Value, seconds: usize) {
    task["steps"][0]["command"] = json!(["sleep", seconds.to_string()]);
}

/// Tasks side by side.
pub fn parallel(name: &str, count: usize) -> Value {
    let tasks = (0..count).map(|number| json!({"name": format!("task-{number}"), "taskSpec": task(1)}));
    pipeline_run(name, json!({"tasks": tasks.collect::<Vec<_>>()}))
}

/// Tasks one after another.
pub fn chain(name: &str, count: usize, fuse: Fuse) -> Value {
    let tasks = in_a_row(count, |_| json!({"taskSpec": task(1)}));
    pipeline_run(name, json!({"fuse": fuse.word(), "tasks": tasks}))
}

/// Several rows side by side, each of so many tasks one after another, each with a pod of its own.
pub fn rows(name: &str, rows: usize, length: usize) -> Value {
    let mut tasks = Vec::new();
    for row in 0..rows {
        for number in 0..length {
            let mut task = json!({"name": format!("row-{row}-{number}"), "taskSpec": task(1)});
            if number > 0 {
                task["runAfter"] = json!([format!("row-{row}-{}", number - 1)]);
            }
            tasks.push(task);
        }
    }
    pipeline_run(name, json!({"fuse": "never", "tasks": tasks}))
}

/// One task for all pairs of `size` values with `size` values.
pub fn matrix(name: &str, size: usize) -> Value {
    let values: Vec<String> = (0..size).map(|number| number.to_string()).collect();
    let mut spec = task(1);
    spec["params"] = json!([{"name": "one", "type": "string"}, {"name": "other", "type": "string"}]);
    let params = json!([{"name": "one", "value": values}, {"name": "other", "value": values}]);
    let tasks = json!([{"name": "all", "taskSpec": spec, "matrix": {"params": params}}]);
    pipeline_run(name, json!({"fuse": "never", "tasks": tasks}))
}

/// Tasks one after another, each with the result of the one before.
pub fn with_results(name: &str, count: usize) -> Value {
    let tasks = in_a_row(count, |number| {
        let script = "#!/bin/sh\nprintf %s \"$BEFORE.\" >\"$(results.count.path)\"\n";
        let mut task = json!({"taskSpec": {
            "params": [{"name": "before", "default": ""}],
            "results": [{"name": "count"}],
            "steps": [{"name": "count", "image": IMAGE, "script": script,
                "env": [{"name": "BEFORE", "value": "$(params.before)"}]}],
        }});
        if number > 0 {
            let before = format!("$(tasks.task-{}.results.count)", number - 1);
            task["params"] = json!([{"name": "before", "value": before}]);
        }
        task
    });
    let last = format!("$(tasks.task-{}.results.count)", count - 1);
    pipeline_run(name, json!({"tasks": tasks, "results": [{"name": "count", "value": last}]}))
}

/// Tasks one after another on one volume.
pub fn with_volume(name: &str, count: usize) -> Value {
    let tasks = in_a_row(count, |_| on_source("date >>\"$(workspaces.source.path)/log\""));
    with_source(name, json!({"tasks": tasks, "workspaces": [{"name": "source"}]}))
}

/// What most pipelines look like.
pub fn ci(name: &str) -> Value {
    let tasks = [
        ("clone", "mkdir -p src && echo 'true' >src/main.sh", &[][..]),
        ("lint", "sh -n src/main.sh", &["clone"][..]),
        ("unit", "sh src/main.sh", &["clone"][..]),
        ("build", "tar -cf app.tar src", &["lint", "unit"][..]),
        ("publish", "sha256sum app.tar >app.sum", &["build"][..]),
    ];
    let tasks: Vec<Value> = tasks
        .into_iter()
        .map(|(task, command, after)| {
            let mut object = on_source(&format!("cd \"$(workspaces.source.path)\" && {command}"));
            object["name"] = json!(task);
            object["runAfter"] = json!(after);
            object
        })
        .collect();
    let notice = json!([{"name": "notice", "taskSpec": task(1)}]);
    with_source(name, json!({"tasks": tasks, "finally": notice, "workspaces": [{"name": "source"}]}))
}

/// The same run, with its pods on fake nodes.
pub fn on_fake_nodes(mut run: Value) -> Value {
    run["spec"]["taskRunTemplate"] = json!({"podTemplate": fake_node()});
    run
}

/// What brings a pod to a fake node: see `tests/cluster/fake-nodes`.
fn fake_node() -> Value {
    json!({
        "nodeSelector": {"type": "kwok"},
        "tolerations": [{"key": "kwok.x-k8s.io/node", "operator": "Exists", "effect": "NoSchedule"}],
    })
}

fn task(steps: usize) -> Value {
    let step = |number: usize| json!({"name": format!("step-{number}"), "image": IMAGE, "command": ["true"]});
    json!({"steps": (0..steps).map(step).collect::<Vec<_>>()})
}

/// A pipeline's task with one step that works in the workspace `source`.
fn on_source(command: &str) -> Value {
    json!({
        "taskSpec": {
            "workspaces": [{"name": "source"}],
            "steps": [{"name": "work", "image": IMAGE, "script": format!("#!/bin/sh\nset -e\n{command}\n")}],
        },
        "workspaces": [{"name": "source"}],
    })
}

fn in_a_row(count: usize, task: impl Fn(usize) -> Value) -> Vec<Value> {
    let named = |number: usize| {
        let mut task = task(number);
        task["name"] = json!(format!("task-{number}"));
        if number > 0 {
            task["runAfter"] = json!([format!("task-{}", number - 1)]);
        }
        task
    };
    (0..count).map(named).collect()
}

fn with_source(name: &str, pipeline: Value) -> Value {
    let mut run = pipeline_run(name, pipeline);
    let claim =
        json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "16Mi"}}}});
    run["spec"]["workspaces"] = json!([{"name": "source", "volumeClaimTemplate": claim}]);
    run
}

#[expect(clippy::needless_pass_by_value, reason = "it is made for this")]
fn pipeline_run(name: &str, pipeline: Value) -> Value {
    json!({
        "apiVersion": "ergon.dev/v1", "kind": "PipelineRun", "metadata": metadata(name),
        "spec": {"pipelineSpec": pipeline},
    })
}

fn metadata(name: &str) -> Value {
    json!({"name": name, "labels": {"bench": "run"}})
}
