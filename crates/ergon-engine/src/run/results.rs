//! Values that tasks hand to each other, and that the run hands out.

use std::collections::BTreeSet;

use ergon_api::reasons::pipeline_run as reasons;
use ergon_api::texts::variables_in;
use ergon_api::variables::{Part, Variable};
use ergon_api::{ParamValue, PipelineRunResult, PipelineSpec};

use super::child::Child;
use super::prepare::Prepared;
use super::state::States;
use crate::expr::{Scope, expand_value};
use crate::graph::as_result;
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
pub(super) fn for_task(place: usize, states: &States<'_>) -> Result<Scope, Missing> {
    let mut scope = Scope::default();
    for (needs, result) in used(place, states) {
        match states.get(needs).and_then(|state| state.result(result)) {
            Some(value) => scope.set(&["tasks", needs, "results", result], value),
            None => return Err(Missing { task: needs.to_owned(), result: result.to_owned() }),
        };
    }
    Ok(scope)
}

/// The results that a task refers to, as (task, result).
pub(super) fn used<'a>(place: usize, states: &States<'a>) -> impl Iterator<Item = (&'a str, &'a str)> {
    states.plan().uses(place).iter().filter_map(|(_, reference)| as_result(reference))
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
pub(super) fn check_indices(prepared: &Prepared, place: usize, states: &States<'_>) -> Result<(), Invalid> {
    for (_, reference) in prepared.plan.uses(place) {
        let Part::Item(index) = reference.part else { continue };
        let Some((needs, result)) = as_result(reference) else { continue };
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
            )
            .by_user());
        }
    }
    Ok(())
}

/// How many legs the matrices have that a task asks for, and how many values they produced.
pub(super) fn lengths(place: usize, states: &States<'_>) -> Scope {
    let mut scope = Scope::default();
    for (_, reference) in states.plan().uses(place) {
        let names = reference.names();
        let ["tasks", needs, "matrix", rest @ ..] = names.as_slice() else { continue };
        let Some(state) = states.get(needs).filter(|state| state.task.matrix.is_some()) else { continue };
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

/// What a task's bindings of the run's workspaces refer to, as far as it is there.
pub(super) fn of_bindings(
    prepared: &Prepared,
    states: &States<'_>,
    place: usize,
    ends: Option<&Ends>,
) -> Scope {
    let mut scope = Scope::default();
    if states.at(place).task.workspaces.is_empty() {
        return scope;
    }
    for (_, reference) in variables_in(&prepared.workspaces, &[]) {
        if let Some((task, result)) = as_result(&reference)
            && let Some(value) = states.get(task).and_then(|state| state.result(result))
        {
            scope.set(&["tasks", task, "results", result], value);
        } else if let Some(ends) = ends {
            ends.tell(&reference, states, &mut scope);
        }
    }
    scope
}

/// Those of the results that a task refers to which are there.
pub(super) fn available(place: usize, states: &States<'_>) -> Scope {
    let mut scope = Scope::default();
    for (needs, result) in used(place, states) {
        if let Some(value) = states.get(needs).and_then(|state| state.result(result)) {
            scope.set(&["tasks", needs, "results", result], value);
        }
    }
    scope
}

/// How a run's tasks ended, which `finally` tasks may also refer to.
#[derive(Debug)]
pub(super) struct Ends {
    /// All of them together.
    all: &'static str,
}

impl Ends {
    /// Looks at all tasks of the graph, if anything asks for that.
    pub fn of(states: &States<'_>) -> Self {
        if !states.plan().uses_overall_status() {
            return Self { all: "None" };
        }
        // Whether a failure is ignored is for the run to say, not for those who ask how its tasks ended.
        let mut any_failed = false;
        let mut any_skipped = false;
        let mut all_started_succeeded = true;
        for state in states.graph() {
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
        Self { all }
    }

    /// Sets what a reference to the end of a task, or of all, stands for.
    fn tell(&self, reference: &Variable, states: &States<'_>, scope: &mut Scope) {
        let names = reference.names();
        match names.as_slice() {
            ["tasks", "status"] => {
                scope.set(&names, self.all);
            }
            ["tasks", task, what @ ("status" | "reason")] => {
                let place =
                    states.plan().place(task).filter(|place| !states.plan().finally().contains(place));
                let Some(state) = place.map(|place| states.at(place)) else { return };
                let word = if *what == "status" {
                    state.status_word()
                } else {
                    let run = state.runs.iter().find(|run| !run.is_successful()).or(state.runs.first());
                    run.copied().map_or("", Child::reason)
                };
                scope.set(&names, word);
            }
            _ => {}
        }
    }
}

/// What a task refers to of how others ended.
pub(super) fn statuses(place: usize, states: &States<'_>, ends: &Ends) -> Scope {
    let mut scope = Scope::default();
    for (_, reference) in states.plan().uses(place) {
        ends.tell(reference, states, &mut scope);
    }
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
    ends: &Ends,
) -> Result<Vec<PipelineRunResult>, Vec<String>> {
    let mut results = Vec::new();
    let mut broken = BTreeSet::new();
    for declared in &spec.results {
        let mut scope = Scope::default();
        let mut complete = true;
        for (_, reference) in variables_in(&declared.value, &[]) {
            // Only here may a reference say `finally`, for a final task.
            let names = reference.names();
            let [root @ ("tasks" | "finally"), task, "results", result, ..] = names.as_slice() else {
                ends.tell(&reference, states, &mut scope);
                continue;
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
