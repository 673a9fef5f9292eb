//! Writing what is known into a status, in the shape that Tekton's tools read.

use ergon_api::{
    Artifacts, Condition, ConditionStatus, SidecarState, StepState, TaskRunStatus, TaskSpec,
    reasons::step as reasons,
};
use ergon_wire::{Exit, ExitRecord};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, Pod,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::artifacts;
use super::paths::sidecar_container;
use super::steps::{StepView, View, container_status, timestamp};
use super::verdict::{self, continues};

/// The status with its `Succeeded` condition set; the time of transition changes only with the condition's status.
pub fn with_condition(
    mut status: TaskRunStatus,
    value: ConditionStatus,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> TaskRunStatus {
    status.set_condition(Condition::succeeded(value, reason, message), Time(now));
    status
}

/// The steps of a run that goes on, or that ended by itself.
pub fn steps(task: &TaskSpec, views: &[StepView]) -> Vec<StepState> {
    views
        .iter()
        .zip(&task.steps)
        .map(|(view, step)| {
            let mut state = base(view);
            state.results = verdict::step_results(step, view);
            if let Some(artifacts) = step_artifacts(view) {
                (state.inputs, state.outputs) = (artifacts.inputs, artifacts.outputs);
            }
            match &view.state {
                View::Waiting { reason, message } => {
                    state.waiting = Some(ContainerStateWaiting {
                        reason: reason.clone().or_else(|| Some("PodInitializing".to_owned())),
                        message: message.clone(),
                    });
                }
                View::Running { started_at } => {
                    state.running = Some(ContainerStateRunning { started_at: started_at.map(Time) });
                }
                View::Recorded { record, .. } => {
                    state.termination_reason = Some(termination_reason(record, continues(step)).to_owned());
                    state.terminated = Some(terminated(view, record, continues(step)));
                }
                View::Unrecorded { terminated } => {
                    state.termination_reason = Some(reasons::ERROR.to_owned());
                    state.terminated = Some((**terminated).clone());
                }
            }
            state
        })
        .collect()
}

/// The steps of a run that was ended from outside: what had not ended by itself is said to have ended for that reason.
pub fn ended_steps(
    task: &TaskSpec,
    views: &[StepView],
    reason: &str,
    message: &str,
    now: Timestamp,
) -> Vec<StepState> {
    let mut states = steps(task, views);
    for (state, view) in states.iter_mut().zip(views) {
        if view.state.is_ended() {
            continue;
        }
        let started_at = state.running.take().and_then(|running| running.started_at);
        state.waiting = None;
        state.termination_reason = Some(reason.to_owned());
        state.terminated = Some(ContainerStateTerminated {
            exit_code: 1,
            reason: Some(reason.to_owned()),
            message: Some(format!("Step {} terminated as {message}", view.container)),
            started_at,
            finished_at: Some(Time(now)),
            ..Default::default()
        });
    }
    states
}

/// What the steps and the task say they used and made, once all steps have ended.
pub fn artifacts(views: &[StepView]) -> Option<Artifacts> {
    if !views.iter().all(|view| view.state.is_ended()) {
        return None;
    }
    let mut all = Artifacts::default();
    for view in views {
        let View::Recorded { record, .. } = &view.state else { continue };
        if let Some(task) = record.artifacts.as_deref().and_then(artifacts::read) {
            artifacts::add(&mut all, &task);
        }
        if let Some(step) = step_artifacts(view) {
            artifacts::add(&mut all, &step);
        }
    }
    Some(all)
}

fn step_artifacts(view: &StepView) -> Option<Artifacts> {
    let View::Recorded { record, .. } = &view.state else { return None };
    artifacts::read(record.step_artifacts.as_deref()?)
}

/// Whether the node has more to say of a run that has ended: which image a step ran, where the agent's report was
/// sooner, and how its sidecars ended.
pub fn lacks_facts(status: &TaskRunStatus) -> bool {
    let lacks_image = status.steps.iter().any(|step| step.terminated.is_some() && step.image_id.is_none());
    // A run without a pod has no sidecars to wait for.
    let sidecars =
        status.task_spec.iter().filter(|_| status.pod_name.is_some()).flat_map(|task| &task.sidecars);
    let ended = status.sidecars.iter().filter(|sidecar| sidecar.terminated.is_some()).count();
    lacks_image || ended < sidecars.count()
}

/// The same with what the node has said since; none where nothing is new.
pub fn with_facts(status: &TaskRunStatus, pod: &Pod) -> Option<TaskRunStatus> {
    let mut status = status.clone();
    let mut changed = false;
    if let Some(task) = &status.task_spec {
        let sidecars = sidecars(task, Some(pod));
        changed = !sidecars.is_empty() && sidecars != status.sidecars;
        if changed {
            status.sidecars = sidecars;
        }
    }
    for step in status.steps.iter_mut().filter(|step| step.image_id.is_none()) {
        let container = container_status(Some(pod), &step.container);
        step.image_id = container.map(|container| container.image_id.clone()).filter(|id| !id.is_empty());
        changed |= step.image_id.is_some();
    }
    changed.then_some(status)
}

/// The sidecars, as the kubelet sees them.
pub fn sidecars(task: &TaskSpec, pod: Option<&Pod>) -> Vec<SidecarState> {
    task.sidecars
        .iter()
        .filter_map(|sidecar| {
            let container = sidecar_container(&sidecar.name);
            let status = container_status(pod, &container)?;
            let state = status.state.clone().unwrap_or_default();
            Some(SidecarState {
                name: sidecar.name.clone(),
                container,
                image_id: Some(status.image_id.clone()).filter(|id| !id.is_empty()),
                waiting: state.waiting,
                running: state.running,
                terminated: state.terminated,
            })
        })
        .collect()
}

/// The name of a step in a status. Tekton names a step without a name after its container.
pub(super) fn step_name(container: &str) -> String {
    container.strip_prefix("step-").unwrap_or(container).to_owned()
}

/// Keeps what is known of steps from their start on: where their StepActions came from.
pub fn keep_origins(before: &[StepState], steps: &mut [StepState]) {
    for known in before.iter().filter(|known| known.provenance.is_some()) {
        if let Some(step) = steps.iter_mut().find(|step| step.name == known.name) {
            step.provenance.clone_from(&known.provenance);
        }
    }
}

fn base(view: &StepView) -> StepState {
    StepState {
        name: step_name(&view.container),
        container: view.container.clone(),
        image_id: view.image_id.clone(),
        ..Default::default()
    }
}

fn terminated(view: &StepView, record: &ExitRecord, continues: bool) -> ContainerStateTerminated {
    // What its task forgives, its container ends with 0 for.
    let completed = match record.exit {
        Exit::Exited { code } => record.results_error.is_none() && (code == 0 || continues),
        Exit::WhenFalse => true,
        _ => false,
    };
    let detail = match &record.exit {
        Exit::NotStarted { message } | Exit::Interrupted { message } => Some(message.clone()),
        Exit::Signaled { signal } => Some(format!("ended by signal {signal}")),
        _ => None,
    };
    let skipped_at = (record.exit == Exit::WhenFalse).then_some(record.finished_at);
    ContainerStateTerminated {
        container_id: view.container_id.clone(),
        exit_code: record.exit.code(),
        reason: Some(if completed { reasons::COMPLETED } else { reasons::ERROR }.to_owned()),
        message: detail.or_else(|| record.results_error.clone()),
        signal: match record.exit {
            Exit::Signaled { signal } => Some(signal),
            _ => None,
        },
        started_at: record.started_at.or(skipped_at).and_then(timestamp).map(Time),
        finished_at: timestamp(record.finished_at).map(Time),
    }
}

fn termination_reason(record: &ExitRecord, continues: bool) -> &'static str {
    match &record.exit {
        Exit::Exited { code: 0 } => reasons::COMPLETED,
        Exit::Exited { .. } if continues => reasons::CONTINUED,
        Exit::TimedOut => reasons::TIMEOUT_EXCEEDED,
        Exit::Cancelled => reasons::CANCELLED,
        Exit::Skipped | Exit::WhenFalse => reasons::SKIPPED,
        _ => reasons::ERROR,
    }
}

#[cfg(test)]
mod tests {
    use ergon_api::{Group, TaskRun};
    use serde_json::json;

    use super::*;

    fn status(value: serde_json::Value) -> TaskRunStatus {
        let mut run = TaskRun::new(Group::Tekton, "run");
        run.status = serde_json::from_value(value).unwrap();
        run.status.unwrap()
    }

    #[test]
    fn what_the_node_says_later_is_taken_in_until_nothing_lacks() {
        let task = json!({"steps": [{"name": "a"}], "sidecars": [{"name": "s"}]});
        let written = status(json!({
            "podName": "p", "taskSpec": task,
            "steps": [{"name": "a", "container": "step-a", "terminated": {"exitCode": 0}}],
        }));
        let pod = |sidecar: serde_json::Value| -> Pod {
            let container = |name: &str, state: serde_json::Value| json!({"name": name, "state": state, "image": "i", "imageID": "id", "ready": false, "restartCount": 0});
            let statuses = [container("step-a", json!({})), container("sidecar-s", sidecar)];
            serde_json::from_value(json!({"metadata": {}, "status": {"containerStatuses": statuses}}))
                .unwrap()
        };
        assert!(lacks_facts(&written));
        let running = with_facts(&written, &pod(json!({"running": {}}))).unwrap();
        assert_eq!(running.steps[0].image_id.as_deref(), Some("id"));
        assert!(running.sidecars[0].running.is_some() && lacks_facts(&running));
        assert_eq!(with_facts(&running, &pod(json!({"running": {}}))), None);
        let ended = with_facts(&running, &pod(json!({"terminated": {"exitCode": 0}}))).unwrap();
        assert!(ended.sidecars[0].terminated.is_some() && !lacks_facts(&ended));
        // A pod that is being taken away says nothing of its containers.
        assert_eq!(with_facts(&ended, &Pod::default()), None);

        assert!(!lacks_facts(&status(json!({"taskSpec": task}))), "without a pod nobody will say more");
    }
}
