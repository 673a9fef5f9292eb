//! Pods that were made before their tasks' turn: how they are known.

use ergon_api::{PipelineRun, PipelineSpec, PipelineTask};

use super::seen::{CONTAINERS_ANNOTATION, EMPTIED_ANNOTATION, SHARES_ANNOTATION};
use super::{SharedPod, may_wait};
use crate::name;

/// What a pod that was made ahead says of itself, for the run of its first task, which is made later.
pub const AHEAD_ANNOTATIONS: [&str; 3] = [SHARES_ANNOTATION, CONTAINERS_ANNOTATION, EMPTIED_ANNOTATION];

/// The name of the pod that is made ahead for a task, and for those that follow it there. It is another one than the pod
/// has that is made in the task's turn, so that either is made once whatever becomes of the other.
pub(crate) fn ahead_name(run: &PipelineRun, task: &PipelineTask) -> String {
    name::child(run.name(), &format!("-{}-pod-ahead", task.name))
}

/// The names of the pods that a run may have made ahead.
pub fn ahead_pods(run: &PipelineRun) -> Vec<String> {
    let spec = run.status.as_ref().and_then(|status| status.pipeline_spec.as_deref());
    let tasks = |spec: &PipelineSpec| -> Vec<String> {
        let wanted = spec.tasks.iter().filter(|task| may_wait(run, spec, task));
        wanted.map(|task| ahead_name(run, task)).collect()
    };
    spec.map(tasks).unwrap_or_default()
}

/// Whether the agent of a pod waits to be told to begin. None where it has not said anything yet.
pub(crate) fn waits(pod: &SharedPod<'_>) -> Option<bool> {
    pod.report.map(|report| report.waits_for.is_some())
}
