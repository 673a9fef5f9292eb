//! Why a pod whose steps have not started waits, and whether it waits for something that will not come.

use std::collections::BTreeMap;

use ergon_api::{Config, Duration, reasons::task_run as reasons};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::culprit;
use super::steps::{StepView, View};

/// What holds a pod up for good, or for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Held {
    /// It will not start: the reason and message of the failure.
    ForGood(&'static str, String),
    /// The installation gives it until then.
    Until(Timestamp),
}

/// A container that cannot be started.
pub(super) fn held(run: &str, pod: &Pod, config: &Config, now: Timestamp) -> Option<Held> {
    if let Some(message) = unstarted_sidecar(pod) {
        return Some(Held::ForGood(reasons::SIDECAR_FAILED, message));
    }
    let images = images(pod);
    let verdicts = containers(pod).filter_map(|container| {
        let waiting = container.state.as_ref()?.waiting.as_ref()?;
        let message = waiting.message.as_deref().unwrap_or_default();
        let what = named(&container.name);
        let image = images.get(container.name.as_str()).copied().unwrap_or(&container.image);
        let pull = || {
            format!(
                "the {what} in TaskRun \"{run}\" failed to pull the image \"{image}\". The pod errored with the message: \"{message}.\""
            )
        };
        let start = || {
            format!(
                "the {what} in TaskRun \"{run}\" failed to start. The pod errored with the message: \"{message}.\""
            )
        };
        // A runtime that is only slow is given time, if the installation says so.
        let slow = message.contains("context deadline exceeded");
        let defaults = &config.defaults;
        let (patience, reason, message) = match waiting.reason.as_deref()? {
            "ImagePullBackOff" => {
                (defaults.image_pull_back_off_timeout, reasons::IMAGE_PULL_FAILED, pull())
            }
            "InvalidImageName" | "ErrImageNeverPull" => (Duration::ZERO, reasons::IMAGE_PULL_FAILED, pull()),
            // Several containers make a volume's folder at once; the kubelet tries again.
            "CreateContainerConfigError" if message.contains("failed to create subPath directory") => {
                return None;
            }
            "CreateContainerConfigError" => {
                let patience = if slow { defaults.create_container_error_timeout } else { Duration::ZERO };
                (patience, reasons::CREATE_CONTAINER_CONFIG_ERROR, start())
            }
            "CreateContainerError" | "RunContainerError" => {
                let patience = if slow { defaults.create_container_error_timeout } else { Duration::ZERO };
                (patience, reasons::POD_CREATION_FAILED, start())
            }
            _ => return None,
        };
        let until = ready_since(pod)
            .and_then(|since| since.checked_add(SignedDuration::from_millis(patience.as_millis())).ok());
        Some(match until.filter(|until| *until > now) {
            Some(until) => Held::Until(until),
            None => Held::ForGood(reason, message),
        })
    });
    // What is for good needs no patience with the others.
    verdicts.min_by_key(|held| matches!(held, Held::Until(_)))
}

/// A sidecar whose container the node could not even start: the first step would wait for it forever. A native one is
/// started again.
fn unstarted_sidecar(pod: &Pod) -> Option<String> {
    let mut sidecars = pod.status.as_ref()?.container_statuses.iter().flatten();
    sidecars.find_map(|container| {
        let end = container.state.as_ref()?.terminated.as_ref()?;
        let unstarted = matches!(end.reason.as_deref(), Some("StartError" | "ContainerCannotRun"));
        let why = end.message.as_deref().unwrap_or("no message was left");
        (unstarted && container.name.starts_with("sidecar"))
            .then(|| format!("{}: {why}", culprit::told(&container.name, end)))
    })
}

/// Why nothing runs yet: the reason and message of the condition.
pub(super) fn why(pod: &Pod, steps: &[StepView]) -> (&'static str, String) {
    let conditions = || pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let unschedulable =
        conditions().find(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
    if let Some(condition) = unschedulable {
        let message = condition.message.clone().unwrap_or_default();
        return if message.contains("Insufficient") || message.contains("Too many pods") {
            (reasons::EXCEEDED_NODE_RESOURCES, format!("TaskRun Pod exceeded available resources: {message}"))
        } else {
            (reasons::PENDING, format!("the pod waits for a node: {message}"))
        };
    }
    let waiting = || {
        containers(pod).filter_map(|container| Some((container, container.state.as_ref()?.waiting.as_ref()?)))
    };
    let pulls = waiting().any(|(_, waiting)| {
        matches!(
            waiting.reason.as_deref(),
            Some("ImagePullBackOff" | "ErrImagePull" | "ImageInspectError" | "RegistryUnavailable")
        )
    });
    let reason = if pulls { reasons::PULL_IMAGE_FAILED } else { reasons::PENDING };
    let told = waiting().find_map(|(container, waiting)| {
        let message = waiting.message.as_deref().filter(|message| !message.is_empty())?;
        Some(format!("build step \"{}\" is pending with reason \"{message}\"", container.name))
    });
    let by_condition = || {
        let condition = conditions().find(|condition| condition.status != "True")?;
        let message = condition.message.as_deref().filter(|message| !message.is_empty())?;
        Some(format!("pod status \"{}\":\"{}\"; message: \"{message}\"", condition.type_, condition.status))
    };
    let by_step = || {
        steps.iter().find_map(|step| match &step.state {
            View::Waiting { reason: Some(reason), .. } => {
                Some(format!("build step \"{}\" is pending with reason \"{reason}\"", step.container))
            }
            _ => None,
        })
    };
    (reason, told.or_else(by_condition).or_else(by_step).unwrap_or_else(|| "Pending".to_owned()))
}

fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.iter();
    status.flat_map(|status| {
        [&status.init_container_statuses, &status.container_statuses].into_iter().flatten().flatten()
    })
}

fn images(pod: &Pod) -> BTreeMap<&str, &str> {
    pod.spec
        .iter()
        .flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()))
        .map(|container| (container.name.as_str(), container.image.as_deref().unwrap_or_default()))
        .collect()
}

/// A container as its task's author knows it.
fn named(container: &str) -> String {
    for (prefix, what) in [("step-", "step"), ("sidecar-", "sidecar")] {
        if let Some(name) = container.strip_prefix(prefix) {
            return format!("{what} \"{name}\"");
        }
    }
    format!("container \"{container}\"")
}

/// Since when the pod's containers could have started.
fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let found = conditions
        .iter()
        .filter(|condition| matches!(condition.type_.as_str(), "Initialized" | "PodReadyToStartContainers"));
    found.filter_map(|condition| Some(condition.last_transition_time.as_ref()?.0)).max()
}
