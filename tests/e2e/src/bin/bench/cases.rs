//! What is measured.

use serde_json::{Value, json};

/// Steps and plain pods use it: it is on the node already.
const IMAGE: &str = "localhost/busybox:1";

/// One shape of a run.
pub struct Case {
    /// Its name.
    pub name: &'static str,
    /// Makes the run of this name.
    pub object: fn(&str) -> Value,
    /// How many plain pods are started at once for comparison.
    pub side_by_side: usize,
    /// How many times longer than the plain pods the run may take.
    pub budget: Option<f64>,
    /// How many pods follow one another: a long case is measured fewer times.
    pub in_a_row: usize,
}

impl Case {
    /// How many times to measure it, when short cases are measured `runs` times.
    pub fn repetitions(&self, runs: usize) -> usize {
        if self.in_a_row > 1 { runs.div_ceil(3) } else { runs }
    }
}

/// All cases, the shortest first.
pub const CASES: &[Case] = &[
    Case {
        name: "one-step",
        object: |name| task_run(name, 1),
        side_by_side: 1,
        budget: Some(2.5),
        in_a_row: 1,
    },
    Case { name: "five-steps", object: |name| task_run(name, 5), side_by_side: 1, budget: None, in_a_row: 1 },
    Case {
        name: "one-task",
        object: |name| pipeline_run(name, 1, false),
        side_by_side: 1,
        budget: None,
        in_a_row: 1,
    },
    Case {
        name: "ten-parallel",
        object: |name| pipeline_run(name, 10, false),
        side_by_side: 10,
        budget: None,
        in_a_row: 1,
    },
    Case {
        name: "ten-in-a-row",
        object: |name| pipeline_run(name, 10, true),
        side_by_side: 1,
        budget: None,
        in_a_row: 10,
    },
];

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

fn steps(count: usize) -> Value {
    let step = |number: usize| json!({"name": format!("step-{number}"), "image": IMAGE, "command": ["true"]});
    json!({"steps": (0..count).map(step).collect::<Vec<_>>()})
}

fn task_run(name: &str, count: usize) -> Value {
    json!({
        "apiVersion": "ergon.dev/v1", "kind": "TaskRun", "metadata": {"name": name},
        "spec": {"taskSpec": steps(count)},
    })
}

fn pipeline_run(name: &str, count: usize, in_a_row: bool) -> Value {
    let task = |number: usize| {
        let mut task = json!({"name": format!("task-{number}"), "taskSpec": steps(1)});
        if in_a_row && number > 0 {
            task["runAfter"] = json!([format!("task-{}", number - 1)]);
        }
        task
    };
    json!({
        "apiVersion": "ergon.dev/v1", "kind": "PipelineRun", "metadata": {"name": name},
        "spec": {"pipelineSpec": {"tasks": (0..count).map(task).collect::<Vec<_>>()}},
    })
}
