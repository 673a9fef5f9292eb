//! Which pipeline tasks will never start, and why.

use ergon_api::PipelineTask;
use ergon_api::reasons::{pipeline_run as reasons, skip};

use super::prepare::Prepared;
use super::state::States;
use super::{matrix, results, when};
use crate::expr::Scope;
use crate::task::Invalid;

/// Why a task is skipped, in the order in which it is looked at, which is Tekton's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skip {
    Stopping,
    GracefullyCancelled,
    GracefullyStopped,
    When,
    ParentSkipped,
    MissingResults,
    TasksTimeout,
    FinallyTimeout,
    EmptyMatrix,
}

impl Skip {
    /// The sentence in `status.skippedTasks[].reason`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Stopping => skip::STOPPING,
            Self::GracefullyCancelled => skip::GRACEFULLY_CANCELLED,
            Self::GracefullyStopped => skip::GRACEFULLY_STOPPED,
            Self::When => skip::WHEN,
            Self::ParentSkipped => skip::PARENT,
            Self::MissingResults => skip::MISSING_RESULTS,
            Self::TasksTimeout => skip::TASKS_TIMED_OUT,
            Self::FinallyTimeout => skip::FINALLY_TIMED_OUT,
            Self::EmptyMatrix => skip::EMPTY_MATRIX,
        }
    }
}

/// Marks the tasks of the graph that will not start. `halt`: why no task starts any more, whatever it waits for.
///
/// # Errors
/// A result that a task which ended never wrote, and that another one needs; a condition that cannot be evaluated.
pub(super) fn mark_tasks(
    prepared: &Prepared,
    states: &mut States<'_>,
    halt: Option<Skip>,
) -> Result<(), Invalid> {
    for name in prepared.graph.order() {
        let Some(state) = states.get(name.as_str()).filter(|state| !state.is_started()) else { continue };
        let task = state.task;
        let parents = prepared.graph.parents(name);
        let parent_skips: Vec<Option<Skip>> =
            parents.iter().map(|parent| states.get(parent).and_then(|state| state.skip)).collect();
        let parents_done =
            parents.iter().all(|parent| states.get(parent).is_some_and(super::state::TaskState::is_done));
        let skip = if halt.is_some() {
            halt
        } else if !parents_done {
            None
        } else if !holds(prepared, task, &results::available(task, states))? {
            Some(Skip::When)
        } else if parent_skips.iter().flatten().any(|skip| *skip != Skip::When) {
            Some(Skip::ParentSkipped)
        } else {
            match results::for_task(task, states) {
                Ok(scope) => empty_matrix(task, &scope),
                Err(missing) => {
                    let producer = states.get(missing.task.as_str()).and_then(|state| state.skip);
                    if producer.is_none() {
                        return Err(Invalid::new(
                            reasons::INVALID_TASK_RESULT_REFERENCE,
                            format!(
                                "Invalid task result reference: Could not find result with name {} for task {} (task `{name}` needs it)",
                                missing.result, missing.task
                            ),
                        ));
                    }
                    Some(Skip::MissingResults)
                }
            }
        };
        if let Some(state) = states.get_mut(name.as_str()) {
            state.skip = skip;
        }
    }
    Ok(())
}

/// Marks the `finally` tasks that will not start; all tasks of the graph are done.
///
/// # Errors
/// A condition that cannot be evaluated.
pub(super) fn mark_finally(
    prepared: &Prepared,
    states: &mut States<'_>,
    statuses: &Scope,
    timed_out: bool,
) -> Result<(), Invalid> {
    for task in &prepared.spec.finally {
        if states.get(task.name.as_str()).is_none_or(super::state::TaskState::is_started) {
            continue;
        }
        let skip = match results::for_task(task, states) {
            Err(_) => Some(Skip::MissingResults),
            Ok(mut scope) => {
                scope.extend(statuses);
                if !holds(prepared, task, &scope)? {
                    Some(Skip::When)
                } else if timed_out {
                    Some(Skip::FinallyTimeout)
                } else {
                    empty_matrix(task, &scope)
                }
            }
        };
        if let Some(state) = states.get_mut(task.name.as_str()) {
            state.skip = skip;
        }
    }
    Ok(())
}

fn holds(prepared: &Prepared, task: &PipelineTask, scope: &Scope) -> Result<bool, Invalid> {
    when::hold(&when::expand_all(&task.when, scope)).map_err(|error| {
        Invalid::new(
            reasons::CEL_EVALUATION_FAILED,
            format!("Error evaluating CEL {}: task `{}`: {error}", prepared.run_name, task.name),
        )
    })
}

fn empty_matrix(task: &PipelineTask, scope: &Scope) -> Option<Skip> {
    let matrix = matrix::expand(task.matrix.as_ref()?, scope);
    matrix::legs(&matrix).is_empty().then_some(Skip::EmptyMatrix)
}
