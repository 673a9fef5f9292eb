//! Artifacts that tasks hand on: `$(tasks.NAME.outputs.A)` and `$(tasks.NAME.inputs.A)`.

use super::state::States;
use crate::expr::Scope;
use crate::task::artifacts::values_text;

/// The artifacts that a task refers to, of tasks that have ended. They make no task wait: that is for `runAfter` to say.
pub(super) fn known(place: usize, states: &States<'_>) -> Scope {
    let mut scope = Scope::default();
    for (_, reference) in states.plan().uses(place) {
        let names = reference.names();
        let ["tasks", task, side @ ("inputs" | "outputs"), name] = names.as_slice() else { continue };
        let runs = states.get(task).into_iter().flat_map(|state| &state.runs);
        for artifacts in runs.filter(|run| run.is_done()).filter_map(|run| run.artifacts()) {
            let list = if *side == "inputs" { &artifacts.inputs } else { &artifacts.outputs };
            for artifact in list.iter().filter(|artifact| artifact.name == *name) {
                scope.set(&names, values_text(artifact));
            }
        }
    }
    scope
}
