//! Values that tasks hand to each other, and that the run hands out.

use std::collections::BTreeSet;

use ergon_api::reasons::pipeline_run as reasons;
use ergon_api::variables::Part;
use ergon_api::{ParamValue, PipelineRunResult, PipelineSpec, PipelineTask};

use super::child::Child;
use super::prepare::Prepared;
use super::state::States;
use crate::expr::{Scope, expand_value, json_references};
use crate::graph::{as_result, references, result_references};
use crate::task::Invalid;

/// A result that a task needs and that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Missing {
    pub task: String,
    pub result: String,
}

/// The results that a task refers to.
///
/// # Errors
/// The first that is not there.
pub(super) fn for_task(task: &PipelineTask, states: &States<'_>) -> Result<Scope, Missing> {
    let mut scope = Scope::default();
    for (_, needs, result) in result_references(task) {
        let value = states.get(needs.as_str()).and_then(|state| state.result(&result));
        let Some(value) = value else { return Err(Missing { task: needs, result }) };
        scope.set(&["tasks", &needs, "results", &result], value);
    }
    Ok(scope)
}

impl Missing {
    /// Why the task that needs it cannot run, in Tekton's words.
    pub fn message(&self, target: &str, producer_succeeded: bool) -> String {
        let Self { task, result } = self;
        if producer_succeeded {
            format!(
                "task \"{task}\" completed successfully but did not emit the result \"{result}\", which is referenced by task \"{target}\""
            )
        } else {
            format!(
                "Invalid task result reference: Could not find result with name {result} for pipeline task {task}"
            )
        }
    }
}

/// Looks whether every item that a task takes of a list is in that list.
///
/// # Errors
/// The first that is not.
pub(super) fn check_indices(
    prepared: &Prepared,
    task: &PipelineTask,
    states: &States<'_>,
) -> Result<(), Invalid> {
    for (_, reference) in references(task) {
        let Part::Item(index) = reference.part else { continue };
        let Some((needs, result)) = as_result(&reference) else { continue };
        if let Some(ParamValue::Array(items)) = states.get(needs).and_then(|state| state.result(result))
            && index >= items.len()
        {
            return Err(Invalid::new(
                reasons::FAILED_VALIDATION,
                format!(
                    "PipelineRun {}/{} can't be Run; couldn't resolve all references: array Result Index {index} for Task {needs} Result {result} is out of bound of size {}",
                    prepared.namespace,
                    prepared.run_name,
                    items.len()
                ),
            ));
        }
    }
    Ok(())
}

/// How many legs the matrices have that a task asks for, and how many values they produced.
pub(super) fn lengths(task: &PipelineTask, states: &States<'_>) -> Scope {
    let mut scope = Scope::default();
    for (_, reference) in references(task) {
        let names = reference.names();
        let ["tasks", needs, "matrix", rest @ ..] = names.as_slice() else { continue };
        let Some(state) = states.get(*needs).filter(|state| state.task.matrix.is_some()) else { continue };
        let length = match rest {
            ["length"] if state.skip.is_some() => Some(0),
            ["length"] => Some(state.expected),
            [result, "length"] => match state.result(result) {
                Some(ParamValue::Array(values)) => Some(values.len()),
                _ => Some(0),
            },
            _ => None,
        };
        if let Some(length) = length {
            scope.set(&names, length.to_string());
        }
    }
    scope
}

/// Those of the results that the run's own bindings of workspaces refer to which are there.
pub(super) fn of_bindings(prepared: &Prepared, states: &States<'_>) -> Scope {
    let mut scope = Scope::default();
    let bindings = serde_json::to_value(&prepared.workspaces).unwrap_or_default();
    for (_, reference) in json_references(&bindings) {
        if let Some((task, result)) = as_result(&reference)
            && let Some(value) = states.get(task).and_then(|state| state.result(result))
        {
            scope.set(&["tasks", task, "results", result], value);
        }
    }
    scope
}

/// Those of the results that a task refers to which are there.
pub(super) fn available(task: &PipelineTask, states: &States<'_>) -> Scope {
    let mut scope = Scope::default();
    for (_, needs, result) in result_references(task) {
        if let Some(value) = states.get(needs.as_str()).and_then(|state| state.result(&result)) {
            scope.set(&["tasks", &needs, "results", &result], value);
        }
    }
    scope
}

/// What `finally` tasks may also refer to: how each task ended, and all of them together.
pub(super) fn statuses(spec: &PipelineSpec, states: &States<'_>) -> Scope {
    let mut scope = Scope::default();
    // Whether a failure is ignored is for the run to say, not for those who ask how its tasks ended.
    let mut any_failed = false;
    let mut any_skipped = false;
    let mut all_started_succeeded = true;
    for task in &spec.tasks {
        let Some(state) = states.get(task.name.as_str()) else { continue };
        scope.set(&["tasks", &task.name, "status"], state.status_word());
        let run = state.runs.iter().find(|run| !run.is_successful()).or(state.runs.first());
        scope.set(&["tasks", &task.name, "reason"], run.copied().map_or("", Child::reason));
        any_failed |= state.has_failures() || state.invalid.is_some();
        any_skipped |= state.skip.is_some();
        all_started_succeeded &= state.skip.is_some() || state.is_succeeded();
    }
    let all = match (any_failed, all_started_succeeded, any_skipped) {
        (true, ..) => "Failed",
        (false, true, true) => "Completed",
        (false, true, false) => "Succeeded",
        (false, false, _) => "None",
    };
    scope.set(&["tasks", "status"], all);
    scope
}

/// The run's own results. A result that a task never wrote, since it did not run or did not succeed, leaves the ones
/// out that use it.
///
/// # Errors
/// The names of results that refer to what a task that succeeded never wrote.
pub(super) fn of_run(
    spec: &PipelineSpec,
    states: &States<'_>,
    statuses: &Scope,
) -> Result<Vec<PipelineRunResult>, Vec<String>> {
    let mut results = Vec::new();
    let mut broken = BTreeSet::new();
    for declared in &spec.results {
        let Ok(value) = serde_json::to_value(&declared.value) else { continue };
        let mut scope = statuses.clone();
        let mut complete = true;
        for (_, reference) in json_references(&value) {
            // Only here may a reference say `finally`, for a final task.
            let (root, task, result) = match reference.names().as_slice() {
                [root @ ("tasks" | "finally"), task, "results", result, ..] => (*root, *task, *result),
                _ => continue,
            };
            let state = states.get(task);
            if let Some(value) = state.and_then(|state| state.result(result)) {
                scope.set(&[root, task, "results", result], value);
                if scope.get(&reference).is_none() {
                    broken.insert(declared.name.clone());
                    complete = false;
                }
            } else {
                complete = false;
                if state.is_some_and(super::state::TaskState::is_succeeded) {
                    broken.insert(declared.name.clone());
                }
            }
        }
        if complete {
            results.push(PipelineRunResult {
                name: declared.name.clone(),
                value: expand_value(&declared.value, &scope),
            });
        }
    }
    if broken.is_empty() { Ok(results) } else { Err(broken.into_iter().collect()) }
}
