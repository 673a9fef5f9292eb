//! What a run did, without names, times and values, which differ from run to run.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// The `Succeeded` condition of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// `True`, `False` or `Unknown`; empty where there is none.
    pub status: String,
    pub reason: String,
    pub message: String,
}

impl Outcome {
    /// The condition of a run as the API server has it.
    pub fn of(run: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        list(&run["status"]["conditions"])
            .find(|condition| condition["type"] == "Succeeded")
            .map(|condition| Self {
                status: text(&condition["status"]),
                reason: text(&condition["reason"]),
                message: text(&condition["message"]),
            })
            .unwrap_or_default()
    }

    /// Whether the run has ended.
    pub fn ended(&self) -> bool {
        self.status == "True" || self.status == "False"
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.status.is_empty() {
            return f.write_str("no condition");
        }
        write!(f, "{} {}: {}", self.status, self.reason, self.message)
    }
}

/// The shape of a run of this kind, whose TaskRuns are among `taskruns`.
pub fn of(kind: &str, run: &Value, taskruns: &[Value]) -> Value {
    let status = &run["status"];
    let succeeded = Some(Outcome::of(run).status).filter(|status| !status.is_empty());
    let results = sorted(list(&status["results"]).map(|result| result["name"].clone()));
    if kind == "TaskRun" {
        let steps: Vec<Value> = list(&status["steps"])
            .map(|step| json!([step["name"], ending(step), step["terminated"]["exitCode"]]))
            .collect();
        return json!({"kind": kind, "succeeded": succeeded, "results": results, "steps": steps});
    }
    let children = counted(list(&status["childReferences"]).map(|child| &child["pipelineTaskName"]));
    let skipped = sorted(list(&status["skippedTasks"]).map(|task| task["name"].clone()));
    let own = taskruns.iter().filter(|taskrun| {
        list(&taskrun["metadata"]["ownerReferences"]).any(|owner| owner["name"] == run["metadata"]["name"])
    });
    let ended = counted(own.flat_map(|taskrun| list(&taskrun["status"]["steps"])).map(ending));
    json!({
        "kind": kind, "succeeded": succeeded, "results": results,
        "children": children, "skipped": skipped, "steps_ended": ended,
    })
}

/// How a step ended, in a word.
fn ending(step: &Value) -> &Value {
    let reason = &step["terminationReason"];
    if reason.is_string() { reason } else { &step["terminated"]["reason"] }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn sorted(names: impl Iterator<Item = Value>) -> Vec<String> {
    let mut names: Vec<String> = names.filter_map(|name| name.as_str().map(str::to_owned)).collect();
    names.sort();
    names
}

fn counted<'a>(names: impl Iterator<Item = &'a Value>) -> BTreeMap<&'a str, usize> {
    let mut counts = BTreeMap::new();
    for name in names {
        *counts.entry(name.as_str().unwrap_or("?")).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_run_is_its_steps_and_results() {
        let run = json!({"status": {
            "conditions": [{"type": "Succeeded", "status": "True", "reason": "Succeeded", "message": "fine"}],
            "results": [{"name": "b"}, {"name": "a"}],
            "steps": [
                {"name": "one", "terminationReason": "Continued", "terminated": {"exitCode": 3, "reason": "Error"}},
                {"name": "two", "terminated": {"exitCode": 0, "reason": "Completed"}},
            ],
        }});
        assert_eq!(
            of("TaskRun", &run, &[]),
            json!({"kind": "TaskRun", "succeeded": "True", "results": ["a", "b"],
                   "steps": [["one", "Continued", 3], ["two", "Completed", 0]]})
        );
    }

    #[test]
    fn a_pipeline_run_is_its_children() {
        let run = json!({"metadata": {"name": "run"}, "status": {
            "conditions": [{"type": "Succeeded", "status": "False"}],
            "childReferences": [{"pipelineTaskName": "x"}, {"pipelineTaskName": "x"}, {"pipelineTaskName": "y"}],
            "skippedTasks": [{"name": "z"}],
        }});
        let taskrun = |owner: &str| {
            json!({"metadata": {"ownerReferences": [{"name": owner}]},
                   "status": {"steps": [{"terminationReason": "Completed"}]}})
        };
        assert_eq!(
            of("PipelineRun", &run, &[taskrun("run"), taskrun("other")]),
            json!({"kind": "PipelineRun", "succeeded": "False", "results": [],
                   "children": {"x": 2, "y": 1}, "skipped": ["z"], "steps_ended": {"Completed": 1}})
        );
    }

    #[test]
    fn a_run_that_nobody_looks_after_has_no_outcome() {
        assert!(!Outcome::of(&json!({"status": {"conditions": []}})).ended());
        assert_eq!(of("TaskRun", &json!({}), &[])["succeeded"], Value::Null);
    }
}
