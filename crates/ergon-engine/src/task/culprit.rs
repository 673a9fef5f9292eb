//! Containers beside the steps that a failure may come from: a sidecar that ended early is likelier its cause than the
//! step that could not do without it.

use ergon_api::reasons::task_run as reasons;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};

use super::steps::StepView;
use crate::pod::AGENT;

/// What a sidecar that had failed by the time a step did says of it.
pub(super) fn sidecar(pod: &Pod, step: &StepView) -> Option<(&'static str, String)> {
    let failed_at = step.finished_at();
    let ends: Vec<(&ContainerStatus, &ContainerStateTerminated)> = statuses(pod)
        .filter(|container| container.name.starts_with("sidecar"))
        .filter_map(|container| Some((container, end(container)?)))
        // Those that ended later were ended with the pod.
        .filter(|(_, end)| match (end.finished_at.as_ref(), failed_at) {
            (Some(end), Some(failed)) => end.0.as_second() <= failed.as_second(),
            _ => false,
        })
        .collect();
    let found =
        ends.iter().find(|(_, end)| is_oom(end)).or_else(|| ends.iter().find(|(_, end)| end.exit_code != 0));
    found.map(|(container, end)| {
        let reason = if is_oom(end) { reasons::SIDECAR_OOM } else { reasons::SIDECAR_FAILED };
        (reason, told(&container.name, end))
    })
}

/// What an init container of ours that failed says: no step can start then.
pub(super) fn init_container(pod: &Pod) -> Option<(&'static str, String)> {
    let init = pod.status.as_ref()?.init_container_statuses.iter().flatten();
    // The agent ends as its task does.
    let ours = |name: &str| !name.starts_with("sidecar") && name != AGENT;
    let failed = init.filter(|container| ours(&container.name)).find_map(|container| {
        let end = container.state.as_ref()?.terminated.as_ref()?;
        (end.exit_code != 0 || is_oom(end)).then_some((container, end))
    });
    failed.map(|(container, end)| {
        let reason = if is_oom(end) { reasons::INIT_CONTAINER_OOM } else { reasons::INIT_CONTAINER_FAILED };
        (reason, format!("init container failed, {}", told(&container.name, end)))
    })
}

/// How a container ended, in the words that clients read.
pub(super) fn told(container: &str, end: &ContainerStateTerminated) -> String {
    match end.reason.as_deref() {
        Some(reason) => format!("\"{container}\" exited with code {}: {reason}", end.exit_code),
        None => format!("\"{container}\" exited with code {}", end.exit_code),
    }
}

pub(super) fn is_oom(end: &ContainerStateTerminated) -> bool {
    end.reason.as_deref() == Some("OOMKilled")
}

fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    pod.status.iter().flat_map(|status| {
        [&status.init_container_statuses, &status.container_statuses].into_iter().flatten().flatten()
    })
}

/// A container's end; for one that was started again, the last.
pub(super) fn end(container: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    let now = container.state.as_ref().and_then(|state| state.terminated.as_ref());
    now.or_else(|| container.last_state.as_ref()?.terminated.as_ref())
}
