//! What became of each step, from two sources: the agent's report, and the kubelet's view of the pod.
//!
//! The report is sooner and has results of any size; the shim's termination message is there even when no report
//! arrived. Where neither has a record, the step did not succeed, whatever its container's exit code is.

use ergon_api::TaskSpec;
use ergon_wire::{ExitRecord, Millis, PodReport, StepState, TerminationMessage};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};

use super::paths::step_container;

/// One step as it stands now.
#[derive(Debug, Clone, PartialEq)]
pub struct StepView {
    /// The step's name as the user wrote it; may be empty.
    pub name: String,
    /// Such as `step-build`.
    pub container: String,
    /// `imageID` of the container's status.
    pub image_id: Option<String>,
    pub container_id: Option<String>,
    pub state: View,
}

impl StepView {
    /// When its command started, if that is known.
    pub fn started_at(&self) -> Option<Timestamp> {
        match &self.state {
            View::Recorded { record, .. } => timestamp(record.started_at?),
            View::Running { started_at } => *started_at,
            View::Unrecorded { .. } | View::Waiting { .. } => None,
        }
    }

    /// When its command ended, if that is known.
    pub fn finished_at(&self) -> Option<Timestamp> {
        match &self.state {
            View::Recorded { record, .. } => timestamp(record.finished_at),
            View::Unrecorded { terminated } => terminated.finished_at.as_ref().map(|time| time.0),
            View::Waiting { .. } | View::Running { .. } => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum View {
    /// Not started: why, as far as the kubelet says.
    Waiting {
        reason: Option<String>,
        message: Option<String>,
    },
    Running {
        started_at: Option<Timestamp>,
    },
    /// The shim recorded the end. `results_missing`: it wrote results, and only the report that did not arrive has them.
    Recorded {
        record: ExitRecord,
        results_missing: bool,
    },
    /// The container ended and no shim recorded how: it was killed, or the node failed.
    Unrecorded {
        terminated: Box<ContainerStateTerminated>,
    },
}

impl View {
    pub fn is_ended(&self) -> bool {
        matches!(self, Self::Recorded { .. } | Self::Unrecorded { .. })
    }
}

/// All steps of a task, in order.
pub fn view(task: &TaskSpec, pod: Option<&Pod>, report: Option<&PodReport>) -> Vec<StepView> {
    task.steps
        .iter()
        .enumerate()
        .map(|(at, step)| {
            let container = step_container(&step.name, at);
            let status = container_status(pod, &container);
            let reported = report
                .and_then(|report| report.steps.iter().find(|step| step.container == container))
                .map(|step| &step.state);
            StepView {
                name: step.name.clone(),
                state: merge(status, reported),
                image_id: status.map(|status| status.image_id.clone()).filter(|id| !id.is_empty()),
                container_id: status.and_then(|status| status.container_id.clone()),
                container,
            }
        })
        .collect()
}

/// The kubelet's status of one of the pod's containers, whether it is an init container or not.
pub(super) fn container_status<'a>(pod: Option<&'a Pod>, name: &str) -> Option<&'a ContainerStatus> {
    let status = pod?.status.as_ref()?;
    [&status.container_statuses, &status.init_container_statuses]
        .into_iter()
        .flatten()
        .flatten()
        .find(|status| status.name == name)
}

/// Milliseconds since the epoch as a time of Kubernetes' precision, which is seconds.
pub(super) fn timestamp(millis: Millis) -> Option<Timestamp> {
    Timestamp::from_millisecond(millis).ok()
}

fn merge(status: Option<&ContainerStatus>, reported: Option<&StepState>) -> View {
    let state = status.and_then(|status| status.state.as_ref());
    let terminated = state.and_then(|state| state.terminated.as_ref());
    if let Some(StepState::Ended { record }) = reported {
        return View::Recorded { record: record.clone(), results_missing: false };
    }
    if let Some(terminated) = terminated {
        let message = terminated.message.as_deref().and_then(TerminationMessage::decode);
        return match message {
            Some(message) => {
                View::Recorded { record: message.record, results_missing: message.results_omitted }
            }
            None => View::Unrecorded { terminated: Box::new(terminated.clone()) },
        };
    }
    if let Some(StepState::Running { started_at }) = reported {
        return View::Running { started_at: timestamp(*started_at) };
    }
    // Without a report a running container may be a shim that waits for its turn: the kubelet cannot tell.
    match (reported, state) {
        (None, Some(state)) if state.running.is_some() => View::Running {
            started_at: state.running.as_ref().and_then(|running| running.started_at.as_ref()).map(|at| at.0),
        },
        (_, state) => {
            let waiting = state.and_then(|state| state.waiting.as_ref());
            View::Waiting {
                reason: waiting.and_then(|waiting| waiting.reason.clone()),
                message: waiting.and_then(|waiting| waiting.message.clone()),
            }
        }
    }
}
