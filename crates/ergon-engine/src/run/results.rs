//! Values that tasks hand to each other, and that the run hands out.

use std::collections::BTreeSet;

use ergon_api::{PipelineRunResult, PipelineSpec, PipelineTask};

use super::state::{States, reason_of};
use crate::expr::{Scope, expand_value, json_references};
use crate::graph::result_references;

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
    let mut any_failed = false;
    let mut any_skipped = false;
    let mut all_started_succeeded = true;
    for task in &spec.tasks {
        let Some(state) = states.get(task.name.as_str()) else { continue };
        scope.set(&["tasks", &task.name, "status"], state.status_word());
        let reason = state.runs.iter().find(|run| !run.is_successful()).or(state.runs.first());
        scope.set(&["tasks", &task.name, "reason"], reason.map_or("", |run| reason_of(run)));
        any_failed |= state.is_failed() || state.is_cancelled();
        any_skipped |= state.skip.is_some();
        all_started_succeeded &= state.skip.is_some() || state.is_succeeded() || state.is_ignored_failure();
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

/// The run's own results. A result of a task that did not run, or did not succeed, leaves the ones out that use it.
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
            match state.and_then(|state| state.result(result)) {
                Some(value)
                    if state.is_some_and(|state| state.is_succeeded() || state.is_ignored_failure()) =>
                {
                    scope.set(&[root, task, "results", result], value);
                    if scope.get(&reference).is_none() {
                        broken.insert(declared.name.clone());
                        complete = false;
                    }
                }
                _ => {
                    complete = false;
                    if state.is_some_and(super::state::TaskState::is_succeeded) {
                        broken.insert(declared.name.clone());
                    }
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
