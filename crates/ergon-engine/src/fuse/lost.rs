//! What is lost with a pod that tasks share: which runs that are, and how a run says that it takes another one's place.

use ergon_api::{Condition, TaskRun};

use super::pod_of;
use crate::labels;
use crate::task::{POD_DELETED, POD_LOST};

/// How often a task runs again because the pod that it shared was lost.
pub const MOST_RERUNS: usize = 3;
/// The annotation on a task run that takes the place of another one: the pod that was lost.
pub(crate) const LOST_POD_ANNOTATION: &str = "ergon.dev/lost-pod";
/// The annotation on the first run that was made after a pod was lost: all tasks that run again because of it.
pub(crate) const AGAIN_ANNOTATION: &str = "ergon.dev/runs-again";
/// The annotation on what a pod brings with it in the place of a run whose work was lost.
const STAND_IN_ANNOTATION: &str = "ergon.dev/lost";

/// Whether a task run that ended for this reason has lost the pod that it shared, and its task may run again.
pub(crate) fn is_lost(run: &TaskRun, reason: &str) -> bool {
    let lost = [POD_DELETED, POD_LOST, ergon_api::reasons::task_run::POD_EVICTED];
    pod_of(run).is_some() && lost.contains(&reason) && number(run) < MOST_RERUNS
}

/// Whether a task run ended because the pod that it shared was lost, and its task may run again.
pub(crate) fn was_lost(run: &TaskRun) -> bool {
    let annotations = run.metadata.annotations.as_ref();
    annotations.is_some_and(|annotations| annotations.contains_key(STAND_IN_ANNOTATION))
        || run.is_failed() && is_lost(run, run.condition().map_or("", Condition::reason))
}

/// What stands for a run whose work was lost where only its number matters.
pub(crate) fn stand_in(mut run: TaskRun) -> TaskRun {
    run.metadata
        .annotations
        .get_or_insert_default()
        .insert(STAND_IN_ANNOTATION.to_owned(), "true".to_owned());
    run
}

/// How many runs of its task came before.
fn number(run: &TaskRun) -> usize {
    let label = run.metadata.labels.as_ref().and_then(|labels| labels.get(labels::RETRY));
    label.and_then(|number| number.parse().ok()).unwrap_or_default()
}
