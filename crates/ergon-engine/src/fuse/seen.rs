//! What is seen of a shared pod, and what of that is one task's.

use ergon_api::{PipelineRun, StepState, TaskRun, TaskSpec};
use ergon_wire::{Company, PodReport, ReportAnswer, StepReport, TerminationMessage};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use kube_core::ResourceExt as _;

use super::{Begin, was_lost};
use crate::pod::{AGENT, Platform};
use crate::task::paths::step_container;
use crate::task::{PodSeen, attempt_number, verdict};
use crate::{labels, name};

/// The label on pods that tasks share.
pub const SHARED_LABEL: &str = "ergon.dev/shared";
/// The annotation on a task run with the name of the pod that it shares.
pub(crate) const POD_ANNOTATION: &str = "ergon.dev/shared-pod";
/// The annotation on the first task run of a shared pod: the pipeline tasks that are in it.
pub(crate) const SHARES_ANNOTATION: &str = "ergon.dev/shared-with";

/// The annotation on the first task run of a shared pod: `TASK=CONTAINER` for those that have such a one.
pub(crate) const CONTAINERS_ANNOTATION: &str = "ergon.dev/shared-containers";
/// The annotation on that one where folders of the pod took the place of claims.
pub(crate) const EMPTIED_ANNOTATION: &str = "ergon.dev/shared-folders";

/// What a task run says of the pod that it shares.
const OF_SHARING: [&str; 5] =
    [POD_ANNOTATION, SHARES_ANNOTATION, CONTAINERS_ANNOTATION, EMPTIED_ANNOTATION, Company::ANNOTATION];

/// What a pipeline run's decisions depend on where tasks may share pods.
#[derive(Debug, Clone, Copy)]
pub struct Sharing<'a> {
    pub platform: &'a Platform,
    /// The run's shared pods, as far as they were made.
    pub pods: &'a [SharedPod<'a>],
    /// Whether more of them may be made.
    pub may_make: bool,
}

/// A shared pod of a pipeline run.
#[derive(Debug, Clone, Copy)]
pub struct SharedPod<'a> {
    pub name: &'a str,
    pub pod: PodSeen<'a>,
    /// The newest report of its agent.
    pub report: Option<&'a PodReport>,
}

impl SharedPod<'_> {
    /// Nothing starts in it any more.
    pub(crate) fn is_over(&self) -> bool {
        match self.pod {
            PodSeen::Here(pod) => verdict::is_over(pod) || pod.metadata.deletion_timestamp.is_some(),
            PodSeen::Gone => true,
            PodSeen::NotInCache => false,
        }
    }

    /// Its steps may still be at work, as far as anybody knows.
    pub(crate) fn lingers(&self, now: Timestamp) -> bool {
        // By the end of its time the kubelet has killed what did not end; a node that is gone does not say so.
        let is_at_work = |pod| !verdict::is_over(pod) && self.ends_at().is_none_or(|end| end > now);
        matches!(self.pod, PodSeen::Here(pod) if is_at_work(pod))
    }

    /// The end of the time that it has, once it is being deleted.
    pub(crate) fn ends_at(&self) -> Option<Timestamp> {
        let PodSeen::Here(pod) = self.pod else { return None };
        pod.metadata.deletion_timestamp.as_ref().map(|time| time.0)
    }

    /// All its steps have ended, so that it ends without being told.
    pub(crate) fn ends_by_itself(&self) -> bool {
        let PodSeen::Here(pod) = self.pod else { return true };
        let mut steps = pod
            .status
            .iter()
            .flat_map(|status| status.container_statuses.iter().flatten())
            .filter(|container| container.name != AGENT);
        let have_ended =
            steps.all(|step| step.state.as_ref().is_some_and(|state| state.terminated.is_some()));
        self.is_over()
            || self.report.is_some_and(|report| report.done)
            || (pod.status.is_some() && have_ended)
    }
}

/// The shared pod that a task run is carried out in.
pub fn pod_of(run: &TaskRun) -> Option<&str> {
    run.metadata.annotations.as_ref()?.get(POD_ANNOTATION).map(String::as_str)
}

/// The container that all steps of a task run share, with other tasks or not.
fn container_of(run: &TaskRun) -> Option<&str> {
    run.metadata.annotations.as_ref()?.get(Company::ANNOTATION).map(String::as_str)
}

/// The shared pod that was made together with this task run, which is the first in it.
pub fn made_with(run: &TaskRun) -> Option<&str> {
    let annotations = run.metadata.annotations.as_ref()?;
    annotations.contains_key(SHARES_ANNOTATION).then(|| pod_of(run)).flatten()
}

/// The name that a step's container has in a shared pod: `step-<task>-<step>`, and `step-<task>-<step>-retry1` for the
/// second try of its task.
pub(crate) fn shown(task: &str, container: &str, retry: usize) -> String {
    let own = container.strip_prefix("step-").unwrap_or(container);
    let which = if retry == 0 { String::new() } else { format!("-retry{retry}") };
    name::child(&format!("step-{task}"), &format!("-{own}{which}"))
}

/// The pipeline task of a task run.
pub(super) fn task_of(group: ergon_api::Group, run: &TaskRun) -> String {
    let labels = run.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(&group.label("pipelineTask"))).cloned().unwrap_or_default()
}

/// The pod and the report as the current try of the task would see them if the pod were its own.
pub(crate) fn own_part(
    group: ergon_api::Group,
    run: &TaskRun,
    spec: &TaskSpec,
    pod: Option<&Pod>,
    report: Option<&PodReport>,
) -> (Option<Pod>, Option<PodReport>) {
    let (task, retry) = (task_of(group, run), attempt_number(run));
    let names: Vec<(String, String)> = spec
        .steps
        .iter()
        .enumerate()
        .map(|(at, step)| step_container(&step.name, at))
        .map(|own| (shown(&task, &own, retry), own))
        .collect();
    let own = |name: &str| names.iter().find(|(shared, _)| shared == name).map(|(_, own)| own.clone());
    // Gives a container its own name, and says whether the task sees it.
    let sees = |name: &mut String| match own(name) {
        Some(own) => {
            *name = own;
            true
        }
        None => name == AGENT,
    };
    let pod = pod.map(|pod| {
        let mut pod = pod.clone();
        if let Some(container) = container_of(run) {
            give_each_its_own(&mut pod, container, &names);
            return pod;
        }
        if let Some(spec) = &mut pod.spec {
            spec.containers.retain_mut(|container| sees(&mut container.name));
        }
        if let Some(statuses) = pod.status.as_mut().and_then(|status| status.container_statuses.as_mut()) {
            statuses.retain_mut(|container| sees(&mut container.name));
        }
        pod
    });
    let report = report.map(|report| PodReport {
        steps: report
            .steps
            .iter()
            .filter_map(|step| Some(StepReport { container: own(&step.container)?, ..step.clone() }))
            .collect(),
        ..report.clone()
    });
    (pod, report)
}

/// Gives each step a container of its own, as far as can be seen of the one that they all run in. The steps are given by
/// the names that they have in the pod, and their own.
fn give_each_its_own(pod: &mut Pod, container: &str, steps: &[(String, String)]) {
    if let Some(spec) = &mut pod.spec {
        let real = spec.containers.iter().find(|known| known.name == container).cloned();
        spec.containers.retain(|known| known.name == AGENT);
        let own = |own: &String| real.clone().map(|real| Container { name: own.clone(), ..real });
        spec.containers.extend(steps.iter().filter_map(|(_, name)| own(name)));
    }
    if let Some(statuses) = pod.status.as_mut().and_then(|status| status.container_statuses.as_mut()) {
        let real = statuses.iter().find(|known| known.name == container).cloned();
        statuses.retain(|known| known.name == AGENT);
        for (shown, own) in steps {
            let Some(mut status) = real.clone() else { continue };
            status.name.clone_from(own);
            if let Some(ended) = status.state.as_mut().and_then(|state| state.terminated.as_mut()) {
                let text = ended.message.take().unwrap_or_default();
                let left =
                    TerminationMessage::decode_all(&text).find(|left| left.step.as_ref() == Some(shown));
                ended.message = left.and_then(|left| serde_json::to_string(&left).ok());
            }
            statuses.push(status);
        }
    }
}

/// The states of steps with the names that their containers really have.
pub(crate) fn with_shown_names(group: ergon_api::Group, run: &TaskRun, steps: &mut [StepState]) {
    if pod_of(run).is_none() {
        return;
    }
    let (task, retry) = (task_of(group, run), attempt_number(run));
    for step in steps {
        step.container = match container_of(run) {
            Some(container) => container.to_owned(),
            None => shown(&task, &step.container, retry),
        };
    }
}

/// What the agent of a shared pod is to do, as its pipeline run and the task runs of that say: the tasks and the tries
/// that are to end, and whether no other task is to start.
///
/// `waits_for`: what the agent wants to hear of before it begins, if it has not begun.
pub fn orders(
    group: ergon_api::Group,
    run: &PipelineRun,
    children: &[&TaskRun],
    pod: &str,
    waits_for: Option<&[String]>,
) -> ReportAnswer {
    let failed = |run: &TaskRun| run.is_failed() && !labels::failure_is_ignored(run) && !was_lost(run);
    let inside = || children.iter().filter(|run| pod_of(run) == Some(pod));
    let over = inside().filter(|run| run.is_failed());
    let tried = inside().filter(|run| !run.is_done() && attempt_number(run) > 0);
    let is_halted = run.is_gracefully_cancelled() || run.is_gracefully_stopped();
    let begin = waits_for.and_then(|names| {
        let first = children.iter().find(|run| made_with(run) == Some(pod) && !run.is_done())?;
        let is_before =
            |run: &&&TaskRun| run.is_done() && !was_lost(run) && names.contains(&task_of(group, run));
        let before = children.iter().filter(is_before).map(|run| crate::run::ended(run)).collect();
        let mut first = Box::new(TaskRun { status: None, ..TaskRun::clone(first) });
        // In its pod it is a run like any other: which pod that is was decided.
        if let Some(annotations) = &mut first.metadata.annotations {
            annotations.retain(|name, _| !OF_SHARING.contains(&name.as_str()));
        }
        serde_json::to_value(Begin { first, before }).ok().map(Box::new)
    });
    ReportAnswer {
        begin,
        stop_tasks: over.map(|run| task_of(group, run)).collect(),
        stop_tries: tried.map(|run| (task_of(group, run), attempt_number(run))).collect(),
        halt: is_halted || children.iter().any(|run| failed(run)),
        ..ReportAnswer::default()
    }
}

/// Whether the pod is this run's: its own, or one that it shares.
pub fn belongs_to(pod: &Pod, run: &TaskRun) -> bool {
    let owners = pod.owner_references();
    let shares = pod_of(run).is_some_and(|shared| shared == pod.name_any());
    let pipeline_run = || run.owner_references().iter().find(|owner| owner.controller == Some(true));
    owners.iter().any(|owner| owner.uid == run.uid())
        || shares && pipeline_run().is_some_and(|parent| owners.iter().any(|owner| owner.uid == parent.uid))
}
