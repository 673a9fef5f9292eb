//! Tasks that run one after another in one container (`fuse: container`), for those who give up a fresh root file system
//! for each step: ten such tasks cost one container's start.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, VolumeMount};

use super::merge::Member;
use super::shown;
use crate::pod::{self, AGENT};

/// The first of each task's neighbours that have one container together, for those that wish it and can. Neighbours in a
/// chain never run at once.
pub(super) fn leads<'a>(chains: &'a [Vec<String>], members: &[Member]) -> BTreeMap<&'a str, &'a str> {
    let mut leads = BTreeMap::new();
    for chain in chains {
        let mut last: Option<(&'a str, Container)> = None;
        for task in chain {
            let alike = members.iter().find(|member| member.name() == *task).and_then(alike);
            last = match (last, alike) {
                (Some((lead, known)), Some(one)) if known == one => Some((lead, known)),
                (_, one) => one.map(|one| (task.as_str(), one)),
            };
            if let Some((lead, _)) = &last {
                leads.insert(task.as_str(), *lead);
            }
        }
    }
    leads
}

/// The container that all steps of a task could have, as far as it is the same for all: without names, the step's own
/// folders and the variables that the agent sets when the step starts. None where there is no such one.
fn alike(member: &Member) -> Option<Container> {
    let parts = member.plan.tasks.iter().flat_map(ergon_wire::TaskPlan::parts);
    let is_special =
        |step: &ergon_wire::StepPlan| step.breakpoints.is_some() || step.hermetic || step.is_sidecar;
    if !member.one_container || parts.into_iter().any(is_special) {
        return None;
    }
    let spec = member.pod.spec.as_ref()?;
    let volumes = spec.volumes.iter().flatten();
    // Each task has its own of these.
    let own: Vec<&str> = volumes
        .filter(|volume| volume.empty_dir.is_some() || volume.ephemeral.is_some())
        .map(|volume| volume.name.as_str())
        .filter(|name| !pod::is_ours(name))
        .collect();
    let mut steps = spec.containers.iter().filter(|container| container.name != AGENT).map(|container| {
        let mounts = container.volume_mounts.iter().flatten();
        if mounts.clone().any(|mount| own.contains(&mount.name.as_str())) {
            return None;
        }
        let late = member.late_env.get(&container.name);
        let kept = container.env.iter().flatten();
        let kept = kept.filter(|variable| late.is_none_or(|late| !late.contains(&variable.name)));
        let kept: Vec<_> = kept.filter(|variable| !is_plain(variable)).cloned().collect();
        // The kubelet would put others in, which are not there then.
        if kept.iter().any(|variable| variable.value.is_some()) {
            return None;
        }
        Some(Container {
            name: String::new(),
            args: None,
            env: (!kept.is_empty()).then_some(kept),
            volume_mounts: Some(mounts.filter(|mount| !is_of_the_step(mount)).cloned().collect()),
            ..container.clone()
        })
    });
    let first = steps.next()??;
    steps.all(|step| step.as_ref() == Some(&first)).then_some(first)
}

/// Whether a variable can be set when the step starts.
fn is_plain(variable: &k8s_openapi::api::core::v1::EnvVar) -> bool {
    variable.value_from.is_none() && !variable.value.as_ref().is_some_and(|value| value.contains("$("))
}

/// Whether it is the mount of a folder that a step alone has.
fn is_of_the_step(mount: &VolumeMount) -> bool {
    mount.name == pod::RUN || is_record(mount)
}

/// Whether it is the mount of a step's own folder among those of all steps.
fn is_record(mount: &VolumeMount) -> bool {
    mount.name == pod::STEPS && mount.sub_path.is_some()
}

/// The members, where those that have one container together are prepared for it: the first one's first container is for
/// all, the others have none, and the variables that can be set when a step starts are.
pub(super) fn join(members: &[Member], leads: &BTreeMap<&str, &str>) -> Vec<Member> {
    let own_mounts = |member: &Member| -> Vec<VolumeMount> {
        let containers = member.pod.spec.iter().flat_map(|spec| &spec.containers);
        let mounts =
            containers.filter(|one| one.name != AGENT).flat_map(|one| one.volume_mounts.iter().flatten());
        mounts.filter(|mount| is_record(mount)).cloned().collect()
    };
    let mut folders: BTreeMap<&str, Vec<VolumeMount>> = BTreeMap::new();
    let mut containers: BTreeMap<&str, String> = BTreeMap::new();
    for member in members {
        let name = member.name();
        let Some(lead) = leads.get(name.as_str()) else { continue };
        let all = folders.entry(lead).or_default();
        for mount in own_mounts(member) {
            if !all.contains(&mount) {
                all.push(mount);
            }
        }
        let first = member.plan.tasks.iter().flat_map(|task| &task.steps).next();
        if let Some(first) = first.filter(|_| name == **lead) {
            containers.insert(lead, member.shown(&first.container));
        }
    }
    let mut joined = members.to_vec();
    for member in &mut joined {
        let (name, task, retry) = (member.name(), member.task.clone(), member.retry);
        let Some(lead) = leads.get(name.as_str()) else { continue };
        let is_lead = name == **lead;
        let Some(place) = containers.get(lead) else { continue };
        let Some(spec) = &mut member.pod.spec else { continue };
        let mut emptied = Vec::new();
        for container in spec.containers.iter_mut().filter(|container| container.name != AGENT) {
            let plain = container.env.iter_mut().flatten().filter(|variable| is_plain(variable));
            let late = member.late_env.entry(container.name.clone()).or_default();
            for variable in plain {
                if !late.contains(&variable.name) {
                    late.push(variable.name.clone());
                }
            }
            container.args = None;
            let mounts = container.volume_mounts.get_or_insert_default();
            emptied = mounts
                .iter()
                .filter(|mount| pod::is_of_the_task(&mount.name))
                .map(|mount| mount.mount_path.clone())
                .collect();
            mounts.retain(|mount| !is_record(mount));
            mounts.extend(folders.get(lead).into_iter().flatten().cloned());
        }
        let mut seen = false;
        spec.containers
            .retain(|container| container.name == AGENT || is_lead && !std::mem::replace(&mut seen, true));
        for step in member.plan.tasks.iter_mut().flat_map(|task| &mut task.steps) {
            let is_its_own = shown(&task, &step.container, retry) == *place;
            step.runs_in = (!is_its_own).then(|| place.clone());
            step.empty_first.clone_from(&emptied);
        }
    }
    joined
}

/// By task: the container that all its steps run in, in a pod of tasks that share some.
pub(crate) fn containers_of(pod: &Pod) -> BTreeMap<String, String> {
    let plan = pod::plan_of(pod).unwrap_or_default();
    let shared: Vec<&str> =
        plan.tasks.iter().flat_map(|task| &task.steps).filter_map(|step| step.runs_in.as_deref()).collect();
    let places = plan.tasks.iter().filter_map(|task| Some((task.name.clone(), task.steps.first()?.place())));
    places.filter(|(_, place)| shared.contains(place)).map(|(task, place)| (task, place.to_owned())).collect()
}
