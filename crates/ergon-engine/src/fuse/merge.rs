//! Several tasks' pods as one.

use std::collections::BTreeMap;

use ergon_api::Group;
use ergon_wire::{PLAN_VERSION, PodPlan, StepPlan, TaskPlan, try_name};
use k8s_openapi::api::core::v1::{
    Container, EmptyDirVolumeSource, Pod, PodSecurityContext, PodSpec, Volume, VolumeMount,
};
use serde::Serialize;

use super::container;
use super::groups::chains;
use super::peak::request_the_peak;
use super::{Part, SHARED_LABEL, Why, shown};
use crate::graph::Graph;
use crate::labels;
use crate::pod::{self, AGENT};

/// What differs where some tasks have volumes that others would get the group of.
pub(crate) const VOLUMES: &str = "kind of volumes";
/// How many steps one pod may have: each is a container that the kubelet looks after.
const MOST_STEPS: usize = 48;
/// How large a pod's plan may get, in bytes: an object may have 1.5 MiB in the cluster's store, and so may the
/// environment of a process.
const LARGEST_PLAN: usize = 512 << 10;

/// A task's own pod, or that of another try of it, before it becomes a part of a shared one.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    /// The pipeline task's name.
    pub task: String,
    /// Which try it is, counted from 0.
    pub retry: usize,
    pub pod: Pod,
    pub plan: PodPlan,
    /// By container as the task's own pod names it: variables whose values are not known yet.
    pub late_env: BTreeMap<String, Vec<String>>,
    /// Its claims, each with the label on pods that must be near others with it. The pod itself has neither label nor rule.
    pub claims: Vec<(String, String)>,
    /// What the user wrote of the pod's security context.
    pub wanted_security: Option<PodSecurityContext>,
    /// Its steps may run in one container, with neighbours that have it before and after.
    pub one_container: bool,
}

impl Member {
    /// What it is called among all of the pod.
    pub fn name(&self) -> String {
        try_name(&self.task, self.retry)
    }

    /// The name that one of its containers has in the shared pod.
    pub fn shown(&self, container: &str) -> String {
        shown(&self.task, container, self.retry)
    }

    /// Whether a volume of it may come with another owner, but for those claims.
    fn has_foreign_volumes(&self, emptied: &[String]) -> bool {
        let volumes = self.pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        volumes.into_iter().any(|volume| is_foreign(volume, emptied))
    }

    /// The pod's security context as it is with such volumes, or without.
    fn security(&self, group: Group, foreign: bool) -> Option<PodSecurityContext> {
        let context = self.pod.spec.clone().and_then(|spec| spec.security_context);
        pod::with_volumes(group, context, self.wanted_security.as_ref(), foreign)
    }
}

fn is_foreign(volume: &Volume, emptied: &[String]) -> bool {
    let claim = volume.persistent_volume_claim.as_ref();
    claim.is_some_and(|claim| !emptied.contains(&claim.claim_name))
        || volume.csi.is_some()
        || volume.ephemeral.is_some()
}

/// Whether a pod of these has no room for more, or not for those.
pub(crate) fn is_full(members: &[Member], more: &[Member]) -> bool {
    let all = steps(members) + steps(more);
    all > MOST_STEPS || more.is_empty() && all == MOST_STEPS
}

fn steps(members: &[Member]) -> usize {
    members.iter().flat_map(|member| &member.plan.tasks).map(|task| task.steps.len()).sum()
}

/// Whether two tasks can be in one pod, by all that a pod has only once.
///
/// The group of volumes is given to all of them, so that both need one or none: which of them do is known only when all
/// tasks are, since claims may become folders. `strict`: as if none did.
pub(crate) fn fit(group: Group, first: &Member, other: &Member, strict: bool) -> Result<(), Why> {
    let spec = |member: &Member| member.pod.spec.clone().unwrap_or_default();
    let (one, two) = (spec(first), spec(other));
    let same = [
        (same(&one.service_account_name, &two.service_account_name), "service account"),
        (same(&first.security(group, false), &other.security(group, false)), "pod security context"),
        (!strict || first.has_foreign_volumes(&[]) == other.has_foreign_volumes(&[]), VOLUMES),
        (same(&one.init_containers, &two.init_containers), "init containers"),
        (same(&plain(one), &plain(two)), "pod template"),
        (common_labels(group, &first.pod) == common_labels(group, &other.pod), "labels"),
        (common_annotations(&first.pod) == common_annotations(&other.pod), "annotations"),
    ];
    same.into_iter().find(|(same, _)| !same).map_or(Ok(()), |(_, what)| Err(Why::Differs(what)))
}

/// The pod of all members. `emptied`: claims whose place an empty folder takes. `limited`: the namespace has limits for
/// containers, so that no request may become smaller.
///
/// # Errors
/// Why there cannot be one.
pub(crate) fn merge(
    group: Group,
    graph: &Graph,
    members: &[Member],
    mut part: Part,
    emptied: &[String],
    limited: bool,
) -> Result<Pod, Why> {
    let Some(first) = members.first() else { return Err(Why::TooLarge("tasks")) };
    let foreign = first.has_foreign_volumes(emptied);
    if members.iter().any(|member| member.has_foreign_volumes(emptied) != foreign) {
        return Err(Why::Differs(VOLUMES));
    }
    let mut containers: Vec<Container> = Vec::new();
    let mut volumes: Vec<Volume> = Vec::new();
    let mut tasks = Vec::new();
    let mut asked: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    if steps(members) > MOST_STEPS {
        return Err(Why::TooLarge("steps"));
    }
    let chains = in_turn(graph, members);
    let leads = container::leads(&chains, members);
    let joined = (!leads.is_empty()).then(|| container::join(members, &leads));
    let members = joined.as_deref().unwrap_or(members);
    let mut deadline: i64 = 0;
    for member in members {
        let spec = member.pod.spec.clone().unwrap_or_default();
        deadline = deadline.saturating_add(spec.active_deadline_seconds.unwrap_or(i64::from(i32::MAX)));
        let renamed = take_volumes(&mut volumes, spec.volumes.unwrap_or_default(), &member.name());
        for mut container in spec.containers {
            if container.name == AGENT {
                if containers.is_empty() {
                    containers.push(container);
                }
                continue;
            }
            let name = member.shown(&container.name);
            // Whose a container is must be seen from its name.
            if !name.starts_with(&format!("step-{}-", member.task)) {
                return Err(Why::TooLarge("letters in its steps' names"));
            }
            if containers.iter().any(|known| known.name == name) {
                return Err(Why::SameNames);
            }
            if let Some(late) = member.late_env.get(&container.name) {
                let env = container.env.get_or_insert_default();
                env.retain(|variable| !late.contains(&variable.name));
            }
            for mount in container.volume_mounts.iter_mut().flatten() {
                own_place(mount, &member.name(), &container.name, &name);
                if let Some(new) = renamed.get(&mount.name) {
                    mount.name.clone_from(new);
                }
            }
            container.name = name;
            asked.entry(member.name()).or_default().push(containers.len());
            containers.push(container);
        }
        for (container, late) in &member.late_env {
            part.late_env.insert(member.shown(container), late.clone());
        }
        for task in &member.plan.tasks {
            let own = |step: &StepPlan| StepPlan {
                container: member.shown(&step.container),
                name: step.own_name().to_owned(),
                ..step.clone()
            };
            tasks.push(TaskPlan {
                name: member.task.clone(),
                retry: member.retry,
                steps: task.steps.iter().map(own).collect(),
                ..task.clone()
            });
        }
    }
    if !limited {
        for chain in &chains {
            request_the_peak(&mut containers, chain, &asked);
        }
    }
    for volume in &mut volumes {
        let claim = volume.persistent_volume_claim.as_ref().map(|claim| &claim.claim_name);
        if claim.is_some_and(|claim| emptied.contains(claim)) {
            volume.persistent_volume_claim = None;
            volume.empty_dir = Some(EmptyDirVolumeSource::default());
        }
    }
    limit_messages(&mut tasks, containers.len());
    let plan = PodPlan {
        version: PLAN_VERSION,
        tasks,
        report: first.plan.report.clone(),
        pipeline: serde_json::to_value(&part).ok().map(Box::new),
    };
    if serde_json::to_string(&plan).map_or(usize::MAX, |text| text.len()) > LARGEST_PLAN {
        return Err(Why::TooLarge("bytes of its plan"));
    }
    if let Some(agent) = containers.first_mut() {
        agent.env = Some(pod::plan_env(&plan));
    }
    let mut merged = first.pod.clone();
    let mut labels = common_labels(group, &first.pod);
    labels.insert(SHARED_LABEL.to_owned(), "true".to_owned());
    merged.metadata.labels = Some(labels);
    merged.metadata.annotations = Some(common_annotations(&first.pod)).filter(|all| !all.is_empty());
    merged.metadata.owner_references = None;
    merged.spec = merged.spec.map(|spec| PodSpec {
        containers,
        volumes: (!volumes.is_empty()).then_some(volumes),
        security_context: first.security(group, foreign),
        active_deadline_seconds: Some(deadline.clamp(1, i64::from(i32::MAX))),
        ..spec
    });
    let claims = members.iter().flat_map(|member| &member.claims);
    let mut near: Vec<String> = Vec::new();
    for (_, label) in claims.filter(|(claim, _)| !emptied.contains(claim)) {
        if !near.contains(label) {
            near.push(label.clone());
        }
    }
    pod::put_near(&mut merged, &near);
    Ok(merged)
}

/// Chains of tasks that never run at once, by [`Member::name`]: the tries of a task, and final tasks too, which run side
/// by side and after all others.
fn in_turn(graph: &Graph, members: &[Member]) -> Vec<Vec<String>> {
    let (others, last): (Vec<&Member>, Vec<&Member>) = members
        .iter()
        .filter(|member| member.retry == 0)
        .partition(|member| graph.order().contains(&member.task));
    let mut chains = chains(graph, others.into_iter().map(|member| member.task.as_str()));
    for (at, last) in last.into_iter().enumerate() {
        match chains.get_mut(at) {
            Some(chain) => chain.push(&last.task),
            None => chains.push(vec![&last.task]),
        }
    }
    let tries = |task: &str| {
        let tries = members.iter().filter(|member| member.task == task);
        tries.map(Member::name).collect::<Vec<_>>()
    };
    chains.into_iter().map(|chain| chain.into_iter().flat_map(tries).collect()).collect()
}

/// Says how long each step's termination message may be: those of one container share its own.
fn limit_messages(tasks: &mut [TaskPlan], containers: usize) {
    let mut together: BTreeMap<String, usize> = BTreeMap::new();
    for step in tasks.iter().flat_map(|task| &task.steps) {
        *together.entry(step.place().to_owned()).or_default() += 1;
    }
    for step in tasks.iter_mut().flat_map(|task| &mut task.steps) {
        let steps = together.get(step.place()).copied().unwrap_or(1).max(1);
        step.message_limit = ergon_wire::message_limit(containers) / steps;
    }
}

/// Takes in one member's volumes. What is the same for all is there once; the rest gets names of its own, which are
/// given back.
fn take_volumes(all: &mut Vec<Volume>, own: Vec<Volume>, task: &str) -> BTreeMap<String, String> {
    let mut renamed = BTreeMap::new();
    for mut volume in own {
        // Each task has its part of these.
        let is_shared =
            volume.empty_dir.is_none() && volume.ephemeral.is_none() || pod::is_ours(&volume.name);
        match all.iter().find(|known| known.name == volume.name) {
            Some(known) if is_shared && *known == volume => continue,
            Some(_) => {
                let name = crate::name::derived("shared", task, &volume.name);
                renamed.insert(std::mem::replace(&mut volume.name, name.clone()), name);
            }
            None => {}
        }
        all.push(volume);
    }
    renamed
}

/// A task's part of the folders that the pod has once.
fn own_place(mount: &mut VolumeMount, task: &str, own: &str, name: &str) {
    match (mount.name.as_str(), &mut mount.sub_path) {
        (pod::RUN, Some(path)) => *path = path.replacen(own, name, 1),
        (volume, Some(path)) if pod::is_ours(volume) => *path = format!("{task}/{path}"),
        (volume, path @ None) if pod::is_ours(volume) && volume != pod::BIN => *path = Some(task.to_owned()),
        _ => {}
    }
}

/// What all of a pod's containers have in common, without what is merged.
fn plain(spec: PodSpec) -> PodSpec {
    PodSpec {
        containers: Vec::new(),
        volumes: None,
        active_deadline_seconds: None,
        security_context: None,
        ..spec
    }
}

/// The labels of a pod without those that name its task.
fn common_labels(group: Group, pod: &Pod) -> BTreeMap<String, String> {
    let mut labels = pod.metadata.labels.clone().unwrap_or_default();
    for of_task in labels::OF_TASK {
        labels.remove(&group.label(of_task));
    }
    labels.remove(labels::RETRY);
    labels
}

/// The annotations of a pod without the one that says what a failure of its task does.
fn common_annotations(pod: &Pod) -> BTreeMap<String, String> {
    let mut annotations = pod.metadata.annotations.clone().unwrap_or_default();
    annotations.remove(labels::ON_ERROR);
    annotations
}

fn same<T: Serialize>(one: &T, two: &T) -> bool {
    serde_json::to_value(one).ok() == serde_json::to_value(two).ok()
}
