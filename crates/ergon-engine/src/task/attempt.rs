//! Tries of a task: each has a pod of its own, which stays with its logs; or containers of its own in a shared one.

use ergon_api::{ConditionStatus, StepState, TaskRun, TaskRunStatus, reasons::task_run as reasons};

use crate::{fuse, name};

/// Which try is going on, counted from 0.
pub fn number(run: &TaskRun) -> usize {
    run.status.as_ref().map_or(0, |status| status.retries_status.len())
}

/// The name of the pod of the current try: `<run>-pod`, then `<run>-pod-retry1`, …; or the pod that the run shares.
pub fn pod_name(run: &TaskRun) -> String {
    if let Some(shared) = fuse::pod_of(run) {
        return shared.to_owned();
    }
    match number(run) {
        0 => name::child(run.name(), "-pod"),
        retry => name::child(run.name(), &format!("-pod-retry{retry}")),
    }
}

/// Whether another try is left.
pub(super) fn may_retry(run: &TaskRun) -> bool {
    u32::try_from(number(run)).is_ok_and(|number| number < run.retries())
}

/// The status at the start of the next try: the failed one is kept in `retriesStatus`.
pub(super) fn next(failed: TaskRunStatus) -> TaskRunStatus {
    let message = failed.conditions.first().and_then(|condition| condition.message.clone());
    let mut retries_status = failed.retries_status.clone();
    let task_spec = failed.task_spec.clone();
    let provenance = failed.provenance.clone();
    let any_fetched = failed.steps.iter().any(|step| step.provenance.is_some());
    let known = failed.steps.iter().filter(|_| any_fetched);
    let origin = |step: &StepState| StepState {
        name: step.name.clone(),
        container: step.container.clone(),
        provenance: step.provenance.clone(),
        ..Default::default()
    };
    let steps = known.map(origin).collect();
    let mut conditions = failed.conditions.clone();
    retries_status.push(TaskRunStatus { retries_status: Vec::new(), ..failed });
    for condition in &mut conditions {
        condition.status = ConditionStatus::Unknown;
        condition.reason = Some(reasons::TO_BE_RETRIED.to_owned());
        condition.message.clone_from(&message);
    }
    TaskRunStatus { conditions, retries_status, task_spec, provenance, steps, ..Default::default() }
}
