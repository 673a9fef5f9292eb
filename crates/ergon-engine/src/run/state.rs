//! Where each pipeline task stands, as its task runs say.

use std::collections::BTreeMap;

use ergon_api::{ParamValue, PipelineTask, TaskRun, TaskRunResult, reasons};

use super::Observed;
use super::skip::Skip;

/// One pipeline task and what is known of it.
#[derive(Debug, Clone)]
pub struct TaskState<'a> {
    pub task: &'a PipelineTask,
    /// Its task runs, in the order of their matrix indices; empty while it has not started.
    pub runs: Vec<&'a TaskRun>,
    /// How many runs it has once all are made: more than one only with a matrix.
    pub expected: usize,
    /// Why it will never start.
    pub skip: Option<Skip>,
}

/// All pipeline tasks of a run, `finally` tasks among them, by name.
pub type States<'a> = BTreeMap<&'a str, TaskState<'a>>;

impl TaskState<'_> {
    pub fn is_started(&self) -> bool {
        !self.runs.is_empty()
    }

    /// Ended or skipped: what waits for it may go on.
    pub fn is_done(&self) -> bool {
        self.skip.is_some() || self.is_ended()
    }

    pub fn is_succeeded(&self) -> bool {
        self.is_ended() && self.runs.iter().all(|run| run.is_successful())
    }

    /// Ended, and not well, and that matters: not where `onError: continue` says otherwise.
    pub fn is_failed(&self) -> bool {
        self.is_unsuccessful() && !self.is_ignored() && !self.is_cancelled()
    }

    pub fn is_ignored_failure(&self) -> bool {
        self.is_unsuccessful() && self.is_ignored() && !self.is_cancelled()
    }

    pub fn is_cancelled(&self) -> bool {
        self.is_unsuccessful() && self.runs.iter().any(|run| reason_of(run) == reasons::task_run::CANCELLED)
    }

    /// The value of `$(tasks.<name>.status)`.
    pub fn status_word(&self) -> &'static str {
        if self.is_succeeded() {
            "Succeeded"
        } else if self.is_unsuccessful() {
            "Failed"
        } else {
            "None"
        }
    }

    /// One result, or the results of all legs of a matrix in their order.
    pub fn result(&self, name: &str) -> Option<ParamValue> {
        let of = |run: &TaskRun| -> Option<ParamValue> {
            let results: &[TaskRunResult] = &run.status.as_ref()?.results;
            results.iter().find(|result| result.name == name).map(|result| result.value.clone())
        };
        if self.task.matrix.is_none() {
            return of(self.runs.first()?);
        }
        let values: Option<Vec<String>> = self
            .runs
            .iter()
            .map(|run| match of(run)? {
                ParamValue::String(text) => Some(text),
                other => serde_json::to_string(&other).ok(),
            })
            .collect();
        values.filter(|values| !values.is_empty()).map(ParamValue::Array)
    }

    fn is_ignored(&self) -> bool {
        self.task.continues_on_error()
    }

    fn is_unsuccessful(&self) -> bool {
        self.is_ended() && self.runs.iter().any(|run| !run.is_successful())
    }

    fn is_ended(&self) -> bool {
        self.is_started() && self.runs.len() >= self.expected && self.runs.iter().all(|run| run.is_done())
    }
}

/// The state of all tasks, before anything is skipped.
pub fn states<'a>(observed: &Observed<'a>, tasks: impl Iterator<Item = &'a PipelineTask>) -> States<'a> {
    let label = observed.group.label("pipelineTask");
    let mut by_task: BTreeMap<&str, Vec<&TaskRun>> = BTreeMap::new();
    for child in observed.children {
        if let Some(task) = child.metadata.labels.as_ref().and_then(|labels| labels.get(&label)) {
            by_task.entry(task).or_default().push(child);
        }
    }
    tasks
        .map(|task| {
            let mut runs = by_task.remove(task.name.as_str()).unwrap_or_default();
            runs.sort_by_cached_key(|run| (run.matrix_leg(), run.name().to_owned()));
            (task.name.as_str(), TaskState { task, runs, expected: 1, skip: None })
        })
        .collect()
}

/// The reason of a run's condition; empty while it has none.
pub fn reason_of(run: &TaskRun) -> &str {
    run.condition().map_or("", ergon_api::Condition::reason)
}
