//! Artifacts that tasks hand on: `$(tasks.NAME.outputs.A)` and `$(tasks.NAME.inputs.A)`.

use super::state::States;
use crate::expr::Scope;
use crate::task::artifacts::values_text;

/// The artifacts of all tasks that have ended. They make no task wait: that is for `runAfter` to say.
pub(super) fn known(states: &States<'_>) -> Scope {
    let mut scope = Scope::default();
    for (task, state) in states {
        let ended = state.runs.iter().filter(|run| run.is_done());
        for artifacts in ended.filter_map(|run| run.artifacts()) {
            for (side, list) in [("inputs", &artifacts.inputs), ("outputs", &artifacts.outputs)] {
                for artifact in list {
                    scope.set(&["tasks", task, side, &artifact.name], values_text(artifact));
                }
            }
        }
    }
    scope
}
