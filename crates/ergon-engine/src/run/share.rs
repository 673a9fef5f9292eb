//! Tasks of a run that share pods: which pods there are, and what is in them.

mod compile;
mod member;

use std::collections::{BTreeMap, BTreeSet};

use ergon_api::{Fuse, TaskRun};
use ergon_wire::{Company, StepReport, TerminationMessage};

use super::Observed;
use super::prepare::Prepared;
use super::state::{States, TaskState};
use crate::action::Action;
use crate::fuse::{
    self, AHEAD_ANNOTATIONS, CONTAINERS_ANNOTATION, EMPTIED_ANNOTATION, POD_ANNOTATION, SHARES_ANNOTATION,
    SharedPod,
};
use crate::task::PodSeen;

pub(crate) use compile::ended;
pub(super) use compile::{Context, Shared, Stop, ahead, folders, shared, uses};
pub(super) use member::alone;

/// Where a task is that shares a pod.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub pod: SharedPod<'a>,
    /// All tasks in it, with commas between them.
    tasks: &'a str,
    /// `TASK=CONTAINER` for those whose steps run in one container.
    containers: &'a str,
    /// A claim's place was taken by a folder of that pod: what is in it is nowhere else.
    pub has_folders: bool,
}

impl<'a> Place<'a> {
    /// The tasks that are in it.
    pub fn tasks(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.tasks.split(',')
    }

    /// Whether a run of the task was carried out there whose work is lost.
    pub fn was_left_by(&self, state: &TaskState<'_>) -> bool {
        state.earlier.iter().any(|run| run.shared_pod() == Some(self.pod.name))
    }

    /// The task was carried out there, or will be.
    pub fn holds(&self, task: &str) -> bool {
        !self.pod.is_over() || self.has_folders || self.has_started(task)
    }

    /// Whether the task was to be there and cannot any more, while what it needs may have been a folder of the pod.
    pub fn is_lost_for(&self, task: &str) -> bool {
        self.has_folders && self.pod.is_over() && !self.has_started(task)
    }

    /// Whether a step of this task was started, as the agent or the step itself says.
    pub fn has_started(&self, task: &str) -> bool {
        let reported = self.pod.report.iter().flat_map(|report| &report.steps);
        if reported.filter(|step| step.task == task).any(StepReport::was_started) {
            return true;
        }
        let PodSeen::Here(pod) = self.pod.pod else { return false };
        let containers = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
        containers.into_iter().any(|container| {
            let message =
                container.state.as_ref().and_then(|state| state.terminated.as_ref()?.message.as_deref());
            message.into_iter().flat_map(TerminationMessage::decode_all).any(|left| {
                let step = left.step.as_deref().unwrap_or(&container.name);
                self.task_of(step) == Some(task) && left.record.was_started()
            })
        })
    }

    /// The container that all steps of a task run in, if there is such a one.
    pub fn container(&self, task: &str) -> Option<&'a str> {
        container_of(self.containers, task)
    }

    /// The task of a step's container: of those whose names it may begin with, the longest.
    fn task_of(&self, container: &str) -> Option<&'a str> {
        let rest = container.strip_prefix("step-")?;
        let fits = |task: &&str| rest.strip_prefix(task).is_some_and(|rest| rest.starts_with('-'));
        self.tasks.split(',').filter(fits).max_by_key(|task| task.len())
    }
}

/// The tasks that are in shared pods already, as the first run of each pod says; but for those whose work there was lost.
pub(super) fn places<'a>(pods: &[Place<'a>], states: &States<'a>) -> BTreeMap<&'a str, Place<'a>> {
    let mut places: BTreeMap<&str, Place<'_>> = BTreeMap::new();
    for place in pods {
        for task in place.tasks() {
            if states.get(task).is_some_and(|state| place.was_left_by(state)) {
                continue;
            }
            // A task that was not reached in a pod that ended may be in another one by now.
            if places.get(task).is_none_or(|known| !known.holds(task) || known.is_lost_for(task)) {
                places.insert(task, *place);
            }
        }
    }
    places
}

/// The shared pods that were made, as the first run of each says.
pub(super) fn pods<'a>(observed: &Observed<'a>) -> Vec<Place<'a>> {
    let mut pods = Vec::new();
    let Some(sharing) = observed.sharing else { return pods };
    for run in observed.children.task_runs {
        let annotations = run.metadata.annotations.as_ref();
        let annotation = |name: &str| annotations.and_then(|annotations| annotations.get(name));
        let Some(tasks) = annotation(SHARES_ANNOTATION) else { continue };
        let pod = fuse::made_with(run).and_then(|name| sharing.pods.iter().find(|pod| pod.name == name));
        let Some(pod) = pod else { continue };
        let containers = annotation(CONTAINERS_ANNOTATION).map(String::as_str).unwrap_or_default();
        let has_folders = annotation(EMPTIED_ANNOTATION).is_some();
        pods.push(Place { pod: *pod, tasks, containers, has_folders });
    }
    pods
}

/// Whether any task of the run may share a pod: then it is seen with each task which claims are needed at all.
pub(super) fn is_wanted(observed: &Observed<'_>, prepared: &Prepared) -> bool {
    let wish = |task| fuse::wanted(observed.group, observed.config, observed.run, &prepared.spec, task);
    observed.sharing.is_some() && prepared.spec.all_tasks().any(|task| wish(task) != Fuse::Never)
}

/// Marks a run as carried out in a shared pod, and in a container that all its steps share, if they do.
pub(super) fn mark(run: &mut TaskRun, pod: &str, has_folders: bool, container: Option<&str>) {
    let annotations = run.metadata.annotations.get_or_insert_default();
    annotations.insert(POD_ANNOTATION.to_owned(), pod.to_owned());
    if has_folders {
        annotations.insert(EMPTIED_ANNOTATION.to_owned(), "true".to_owned());
    }
    if let Some(container) = container {
        annotations.insert(Company::ANNOTATION.to_owned(), container.to_owned());
    }
}

/// Marks the first run of a shared pod, which names all of the pod's tasks, and where their steps run in one container.
/// `told`: what is told of that pod.
pub(super) fn mark_first(run: &mut TaskRun, task: &str, pod: &str, told: &BTreeMap<String, String>) {
    let annotation = |name: &str| told.get(name).map(String::as_str);
    let own = container_of(annotation(CONTAINERS_ANNOTATION).unwrap_or_default(), task);
    mark(run, pod, annotation(EMPTIED_ANNOTATION).is_some(), own);
    let told = AHEAD_ANNOTATIONS.iter().filter_map(|name| Some((name.to_string(), told.get(*name)?.clone())));
    run.metadata.annotations.get_or_insert_default().extend(told);
}

/// A task's container in a list of `TASK=CONTAINER`.
fn container_of<'a>(pairs: &'a str, task: &str) -> Option<&'a str> {
    let mut pairs = pairs.split(',').filter_map(|pair| pair.split_once('='));
    pairs.find(|(known, _)| *known == task).map(|(_, container)| container)
}

/// What ends the shared pods that would not end by themselves, but for those of these names.
pub(super) fn end_pods(observed: &Observed<'_>, but: &BTreeSet<&str>) -> Vec<Action> {
    let Some(sharing) = observed.sharing else { return Vec::new() };
    let pods = sharing.pods.iter().filter(|pod| !pod.ends_by_itself() && !but.contains(pod.name));
    pods.filter_map(|shared| match shared.pod {
        PodSeen::Here(pod) => Some(Action::EndPod {
            name: shared.name.to_owned(),
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            // Where nothing was started, there are no logs to keep.
            keep: observed.config.features.keep_pod_on_cancel && fuse::waits(shared) != Some(true),
        }),
        PodSeen::NotInCache | PodSeen::Gone => None,
    })
    .collect()
}
