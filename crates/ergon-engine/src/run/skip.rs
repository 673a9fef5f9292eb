//! Which pipeline tasks will never start, and why.

use ergon_api::PipelineTask;
use ergon_api::reasons::{pipeline_run as reasons, skip};

use super::prepare::Prepared;
use super::results::Ends;
use super::state::{States, TaskState};
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
/// A task that needs a result which was never written is invalid: it and all others do not start.
///
/// # Errors
/// A condition that cannot be evaluated; an index outside of a result's list.
pub(super) fn mark_tasks(
    prepared: &Prepared,
    states: &mut States<'_>,
    halt: Option<Skip>,
) -> Result<(), Invalid> {
    let mut stopping = false;
    for &place in prepared.plan.order() {
        if states.at(place).is_started()
            || states.at(place).has_begun
            || halt.is_some() && states.at_mut(place).give_up()
        {
            continue;
        }
        let verdict = match halt {
            Some(halt) => Some(Err(halt)),
            None => verdict(prepared, place, states)?,
        };
        match verdict {
            Some(Err(skip)) => states.at_mut(place).skip = Some(skip),
            Some(Ok(invalid)) => {
                states.at_mut(place).invalid = Some(invalid);
                stopping = true;
            }
            None => {}
        }
    }
    if stopping {
        for &place in prepared.plan.order() {
            let state = states.at_mut(place);
            if state.invalid.is_none() && !state.give_up() {
                state.skip = Some(Skip::Stopping);
            }
        }
    }
    Ok(())
}

/// Why a task that has not started never will, or what makes it invalid; none while it may still start.
fn verdict(
    prepared: &Prepared,
    place: usize,
    states: &States<'_>,
) -> Result<Option<Result<String, Skip>>, Invalid> {
    let parents = || prepared.plan.parents(place).iter().map(|parent| states.at(*parent));
    if !parents().all(TaskState::is_done) {
        return Ok(None);
    }
    let task = states.at(place).task;
    if !holds(prepared, task, &results::available(place, states))? {
        return Ok(Some(Err(Skip::When)));
    }
    if parents().filter_map(|parent| parent.skip).any(|skip| skip != Skip::When) {
        return Ok(Some(Err(Skip::ParentSkipped)));
    }
    match results::for_task(place, states) {
        Ok(scope) => {
            results::check_indices(prepared, place, states)?;
            Ok(empty_matrix(task, &scope).map(Err))
        }
        Err(missing) => {
            let producer = states.get(&missing.task);
            if task.continues_on_error() || producer.is_some_and(|producer| producer.skip.is_some()) {
                return Ok(Some(Err(Skip::MissingResults)));
            }
            let succeeded = producer.is_some_and(TaskState::is_succeeded);
            Ok(Some(Ok(missing.message(&task.name, succeeded))))
        }
    }
}

/// Marks the `finally` tasks that will not start; all tasks of the graph are done.
///
/// # Errors
/// A condition that cannot be evaluated.
pub(super) fn mark_finally(
    prepared: &Prepared,
    states: &mut States<'_>,
    ends: &Ends,
    timed_out: bool,
) -> Result<(), Invalid> {
    for place in prepared.plan.finally() {
        let state = states.at(place);
        if state.is_started() || state.has_begun || timed_out && states.at_mut(place).give_up() {
            continue;
        }
        let task = states.at(place).task;
        let skip = match results::for_task(place, states) {
            Err(_) => Some(Skip::MissingResults),
            Ok(mut scope) => {
                results::check_indices(prepared, place, states)?;
                scope.extend(&results::statuses(place, states, ends));
                if !holds(prepared, task, &scope)? {
                    Some(Skip::When)
                } else if timed_out {
                    Some(Skip::FinallyTimeout)
                } else {
                    empty_matrix(task, &scope)
                }
            }
        };
        states.at_mut(place).skip = skip;
    }
    Ok(())
}

fn holds(prepared: &Prepared, task: &PipelineTask, scope: &Scope) -> Result<bool, Invalid> {
    when::hold(&when::expand_all(&task.when, scope)).map_err(|error| {
        Invalid::new(
            reasons::CEL_EVALUATION_FAILED,
            format!("Error evaluating CEL {}: task `{}`: {error}", prepared.run_name, task.name),
        )
        .by_user()
    })
}

fn empty_matrix(task: &PipelineTask, scope: &Scope) -> Option<Skip> {
    let matrix = matrix::expand(task.matrix.as_ref()?, scope);
    matrix::is_empty(&matrix).then_some(Skip::EmptyMatrix)
}
