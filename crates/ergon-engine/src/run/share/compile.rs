//! From a task that may start to the pod that it shares with the tasks behind it.

use std::collections::{BTreeMap, BTreeSet};

use ergon_api::{
    Fuse, PipelineRun, PipelineRunStatus, PipelineSpec, PipelineTask, Task, TaskRun, TaskRunStatus,
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube_core::{Resource as _, ResourceExt as _};

use super::member;
use crate::action::Need;
use crate::fuse::{
    self, CONTAINERS_ANNOTATION, EMPTIED_ANNOTATION, Given, Member, Part, SHARES_ANNOTATION, Why,
};
use crate::pod::Platform;
use crate::run::Observed;
use crate::run::prepare::Prepared;
use crate::run::state::{States, TaskState};

/// What is known where a task may start.
pub(in crate::run) struct Context<'a> {
    pub observed: &'a Observed<'a>,
    pub prepared: &'a Prepared,
    pub states: &'a States<'a>,
    pub platform: &'a Platform,
    /// The tasks that are in shared pods, or were put into one or started just now.
    pub taken: &'a BTreeSet<&'a str>,
    pub now: Timestamp,
}

/// A shared pod that is to be made.
pub(in crate::run) struct Shared {
    pub pod: Pod,
    /// The pipeline tasks in it, the first one first.
    pub tasks: Vec<String>,
    /// The run of the first one.
    pub first: TaskRun,
    /// The claims that it needs.
    pub claims: Vec<PersistentVolumeClaim>,
    /// The claims whose place folders of the pod took.
    pub folders: Vec<String>,
    /// By task: the container that all its steps run in, where it has one alone or others have it too.
    pub containers: BTreeMap<String, String>,
}

impl Shared {
    /// What the run of its first task says of it, and the pod itself where that is made ahead.
    pub fn annotations(&self) -> BTreeMap<String, String> {
        let mut annotations = BTreeMap::from([(SHARES_ANNOTATION.to_owned(), self.tasks.join(","))]);
        if !self.folders.is_empty() {
            annotations.insert(EMPTIED_ANNOTATION.to_owned(), "true".to_owned());
        }
        if !self.containers.is_empty() {
            let pairs: Vec<String> =
                self.containers.iter().map(|(task, container)| format!("{task}={container}")).collect();
            annotations.insert(CONTAINERS_ANNOTATION.to_owned(), pairs.join(","));
        }
        annotations
    }
}

/// Why there is no shared pod yet, or none at all.
#[derive(Debug)]
pub(in crate::run) enum Stop {
    Needs(Vec<Need>),
    Why(Why),
}

impl From<Why> for Stop {
    fn from(why: Why) -> Self {
        Self::Why(why)
    }
}

/// The pod of a task that may start, and of those that can follow it there. The reasons of those that cannot are added
/// to `refused`.
///
/// # Errors
/// What must be looked up first, or why the task has a pod of its own.
pub(in crate::run) fn shared(
    context: &Context<'_>,
    first: usize,
    refused: &mut Vec<(String, Why)>,
) -> Result<Shared, Stop> {
    if !has_children(context, first) && beside(context, first).is_empty() {
        return Err(Why::NothingFollows.into());
    }
    attempt(context, first, Turn::Now, refused)
}

/// The pod of a task whose turn has not come, while what it waits for runs, and of those that can follow it there. It may
/// be there for that task alone.
///
/// # Errors
/// What must be looked up first, or why there can be none.
pub(in crate::run) fn ahead(context: &Context<'_>, first: usize) -> Result<Shared, Stop> {
    let mut shared = attempt(context, first, Turn::Later, &mut Vec::new())?;
    let run = context.observed.run;
    shared.pod.metadata.name = Some(fuse::ahead_name(run, context.states.at(first).task));
    // What it waits for may take as long as the run may.
    let limit = run.pipeline_timeout(context.observed.config.defaults.timeout);
    if let Some(spec) = &mut shared.pod.spec {
        let seconds = |limit: ergon_api::Duration| limit.as_millis() / 1000 + 1;
        let sum =
            limit.zip(spec.active_deadline_seconds).map(|(limit, own)| own.saturating_add(seconds(limit)));
        spec.active_deadline_seconds = sum.map(|sum| sum.min(i64::from(i32::MAX)));
    }
    let annotations = shared.annotations();
    shared.pod.metadata.annotations.get_or_insert_default().extend(annotations);
    Ok(shared)
}

/// When the first task of a pod starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Now,
    /// What it waits for has not ended.
    Later,
}

fn has_children(context: &Context<'_>, task: usize) -> bool {
    let plan = &context.prepared.plan;
    plan.order().iter().any(|place| plan.parents(*place).contains(&task))
}

/// The tasks whose turn comes with that of this one, since they wait for the same tasks.
fn beside<'a>(context: &Context<'a>, first: usize) -> Vec<&'a str> {
    let plan = &context.prepared.plan;
    let parents = plan.parents(first);
    let turn_comes = |place: &&usize| {
        let state = context.states.at(**place);
        **place != first
            && !state.is_done()
            && !state.is_started()
            && !state.has_begun
            && state.earlier.is_empty()
            && !context.taken.contains(state.task.name.as_str())
            // It may have a pod that waits for it.
            && (parents.is_empty()
                || !fuse::may_wait(context.observed.run, &context.prepared.spec, state.task))
            && plan.parents(**place) == parents
    };
    plan.order().iter().filter(turn_comes).map(|place| context.states.at(*place).task.name.as_str()).collect()
}

fn attempt(
    context: &Context<'_>,
    first: usize,
    turn: Turn,
    refused: &mut Vec<(String, Why)>,
) -> Result<Shared, Stop> {
    match attempt_so(context, first, turn, false, refused) {
        Err(Stop::Why(Why::Differs(fuse::VOLUMES))) => {
            refused.clear();
            attempt_so(context, first, turn, true, refused)
        }
        done => done,
    }
}

fn attempt_so(
    context: &Context<'_>,
    place: usize,
    turn: Turn,
    strict: bool,
    refused: &mut Vec<(String, Why)>,
) -> Result<Shared, Stop> {
    let Context { observed, prepared, states, .. } = context;
    let plan = &prepared.plan;
    let first = states.at(place).task;
    let graph = plan.graph();
    let wish = |task: &PipelineTask| {
        fuse::wanted(observed.group, observed.config, observed.run, &prepared.spec, task)
    };
    let is_alone = wish(first) == Fuse::Never;
    if is_alone && turn == Turn::Now {
        return Err(Why::NotWanted.into());
    }
    let built = |task: &PipelineTask, finally| member::build(context, task, finally, wish(task));
    let fits = |members: &[Member], more: &[Member]| {
        let Some(first) = members.first() else { return Ok(()) };
        more.iter().try_for_each(|member| fuse::fit(observed.group, first, member, strict))
    };
    let (mut members, run) = built(first, false)?;
    fits(&members, &members)?;
    let mut needs = Vec::new();
    let beside = match turn {
        Turn::Now => beside(context, place),
        Turn::Later => Vec::new(),
    };
    let (mut tasks, mut more) = fuse::grow(graph, &first.name, &beside, |tasks, name| {
        let task = states.get(name).ok_or(Why::NotWanted)?.task;
        match wish(task) {
            _ if is_alone => return Err(Why::NotWanted),
            Fuse::Never => return Err(Why::NotWanted),
            Fuse::Auto if !fuse::is_narrow(graph, tasks, name) => {
                return Err(Why::TooLarge("tasks side by side"));
            }
            _ => {}
        }
        for parent in
            graph.parents(name).into_iter().filter(|parent| !tasks.iter().any(|task| task == parent))
        {
            let is_fine =
                |state: &TaskState<'_>| state.is_succeeded() || turn == Turn::Later && !state.is_done();
            if !context.states.get(parent).is_some_and(is_fine) {
                return Err(Why::NotAfterSuccess(parent.to_owned()));
            }
        }
        // Of a long pipeline most tasks are not looked at for each pod.
        if fuse::is_full(&members, &[]) {
            return Err(Why::TooLarge("steps"));
        }
        match built(task, false) {
            Ok((more, _)) => {
                if fuse::is_full(&members, &more) {
                    return Err(Why::TooLarge("steps"));
                }
                fits(&members, &more)?;
                let before = members.len();
                members.extend(more);
                let begins_with_it = beside.contains(&name);
                if begins_with_it && wish(task) == Fuse::Auto && !fuse::is_modest(graph, &members) {
                    members.truncate(before);
                    return Err(Why::TooMuch);
                }
                Ok(())
            }
            Err(Stop::Needs(more)) => {
                needs.extend(more);
                Err(Why::NotWanted)
            }
            Err(Stop::Why(why)) => Err(why),
        }
    });
    // Final tasks follow where all others are in the pod.
    let last = prepared.spec.finally.iter().filter(|_| tasks.len() == prepared.spec.tasks.len());
    let mut finals = Vec::new();
    for task in last {
        let built = match wish(task) {
            Fuse::Never => Err(Stop::Why(Why::NotWanted)),
            _ => built(task, true).and_then(|(more, _)| {
                fits(&members, &more)?;
                let before = finals.iter().flat_map(|(_, tries): &(String, Vec<Member>)| tries);
                let last: Vec<Member> = before.chain(&more).cloned().collect();
                if fuse::is_full(&members, &last) {
                    return Err(Why::TooLarge("steps").into());
                }
                Ok((task.name.clone(), more))
            }),
        };
        match built {
            Ok(tries) => finals.push(tries),
            Err(Stop::Needs(more)) => needs.extend(more),
            Err(Stop::Why(why)) => more.push((task.name.clone(), why)),
        }
    }
    for (task, tries) in finals {
        tasks.push(task);
        members.extend(tries);
    }
    if !needs.is_empty() {
        needs.sort_unstable();
        needs.dedup();
        return Err(Stop::Needs(needs));
    }
    refused.extend(more);
    if tasks.len() < 2 && turn == Turn::Now {
        return Err(Why::NothingFollows.into());
    }
    let (claims, emptied) = claims(prepared, &tasks);
    let limited = observed.library.limit_ranges.as_ref().is_some_and(|ranges| !ranges.is_empty());
    let part = part(context, &tasks, turn, &members, &run);
    let mut pod = fuse::merge(observed.group, graph, &members, part, &emptied, limited)?;
    pod.metadata.owner_references =
        observed.run.controller_owner_ref(&observed.group).map(|owner| vec![owner]);
    let containers = if members.iter().any(|member| member.one_container) {
        fuse::containers_of(&pod)
    } else {
        BTreeMap::new()
    };
    Ok(Shared { pod, tasks, first: run, claims, folders: emptied, containers })
}

/// The run's claims that these tasks need, and the names of those whose place a folder of the pod can take: no other
/// task uses them.
fn claims(prepared: &Prepared, tasks: &[String]) -> (Vec<PersistentVolumeClaim>, Vec<String>) {
    let (mut needed, mut emptied) = (Vec::new(), Vec::new());
    for claim in &prepared.claims {
        let name = claim.name_any();
        let users: Vec<&str> = prepared
            .spec
            .all_tasks()
            .filter(|task| uses(prepared, task, &name))
            .map(|task| task.name.as_str())
            .collect();
        let inside = |user: &&str| tasks.iter().any(|task| task == user);
        if users.iter().all(inside) {
            emptied.push(name);
        } else if users.iter().any(inside) {
            needed.push(claim.clone());
        }
    }
    (needed, emptied)
}

/// The names of the run's claims whose place a folder takes in a pod of these tasks.
pub(in crate::run) fn folders(prepared: &Prepared, tasks: &[String]) -> Vec<String> {
    claims(prepared, tasks).1
}

/// Whether a task has a workspace that is this claim.
pub(in crate::run) fn uses(prepared: &Prepared, task: &PipelineTask, claim: &str) -> bool {
    task.workspaces.iter().any(|used| {
        let bound = used.workspace.as_deref().filter(|name| !name.is_empty()).unwrap_or(&used.name);
        let binding =
            prepared.workspaces.get(bound).and_then(|binding| binding.persistent_volume_claim.as_ref());
        binding.is_some_and(|bound| bound.claim_name == claim)
    })
}

/// What the pod brings with it for its own decisions.
fn part(context: &Context<'_>, tasks: &[String], turn: Turn, members: &[Member], first: &TaskRun) -> Part {
    let Context { observed, prepared, states, .. } = context;
    let graph = prepared.plan.graph();
    let is_in = |name: &str| tasks.iter().any(|task| task == name);
    let mut spec = PipelineSpec {
        params: prepared.spec.params.clone(),
        workspaces: prepared.spec.workspaces.clone(),
        ..PipelineSpec::default()
    };
    let (mut before, mut waits_for) = (Vec::new(), Vec::new());
    for (at, name) in tasks.iter().enumerate() {
        let Some(place) = prepared.plan.place(name) else { continue };
        let task = states.at(place).task;
        // So that its run has the same name there.
        let earlier = states.at(place).earlier.iter().filter_map(|run| run.ended());
        before.extend(earlier.map(fuse::stand_in));
        if prepared.plan.finally().contains(&place) {
            spec.finally.push(task.clone());
            continue;
        }
        if at == 0 {
            // It starts with the pod, whatever it waited for.
            spec.tasks.push(stub(task));
            continue;
        }
        for parent in graph.parents(name).into_iter().filter(|parent| !is_in(parent)) {
            if let Some(parent) = states
                .get(parent)
                .filter(|parent| !spec.tasks.iter().any(|task| task.name == parent.task.name))
            {
                spec.tasks.push(stub(parent.task));
                match turn {
                    Turn::Now => before.extend(parent.runs.iter().filter_map(|run| run.ended())),
                    Turn::Later => waits_for.push(parent.task.name.clone()),
                }
            }
        }
        spec.tasks.push(task.clone());
    }
    let named = spec.all_tasks().filter_map(|task| task.task_ref.as_ref()?.name.clone());
    let first_named = first.spec.task_ref.as_ref().and_then(|reference| reference.name.clone());
    let library = observed.library;
    let found: BTreeMap<String, Task> = named
        .chain(first_named)
        .filter_map(|name| Some((name.clone(), bare(library.tasks.get(&name)?.as_ref()?))))
        .collect();
    let images = members
        .iter()
        .flat_map(|member| member.pod.spec.iter().flat_map(|spec| &spec.containers))
        .filter_map(|container| {
            let image = container.image.clone()?;
            let config = library.images.get(&image)?.as_ref().ok()?;
            Some((image, config.clone()))
        });
    let run = observed.run;
    Part {
        api_version: observed.group.api_version().to_owned(),
        run: PipelineRun {
            metadata: ObjectMeta {
                name: run.metadata.name.clone(),
                namespace: run.metadata.namespace.clone(),
                uid: run.metadata.uid.clone(),
                labels: run.metadata.labels.clone(),
                annotations: run.metadata.annotations.clone().map(crate::labels::without_client_annotations),
                ..ObjectMeta::default()
            },
            spec: ergon_api::PipelineRunSpec { pipeline_spec: None, ..run.spec.clone() },
            status: Some(PipelineRunStatus { pipeline_spec: Some(spec.into()), ..Default::default() }),
            ..run.clone()
        },
        first: Box::new(first.clone()),
        waits_for: (turn == Turn::Later).then_some(waits_for),
        before,
        tasks: found,
        images: images.collect(),
        late_env: BTreeMap::new(),
        given: Given::of(observed.config),
    }
}

/// A task of which only its name matters, and what its failure does.
fn stub(task: &PipelineTask) -> PipelineTask {
    PipelineTask { name: task.name.clone(), on_error: task.on_error.clone(), ..PipelineTask::default() }
}

/// A Task with what its runs take of it.
fn bare(task: &Task) -> Task {
    let ObjectMeta { name, labels, annotations, .. } = task.metadata.clone();
    let annotations = annotations.map(crate::labels::without_client_annotations);
    Task { metadata: ObjectMeta { name, labels, annotations, ..ObjectMeta::default() }, ..task.clone() }
}

/// What others need of a run that has ended.
pub(crate) fn ended(run: &TaskRun) -> TaskRun {
    let status = run.status.clone().unwrap_or_default();
    TaskRun {
        metadata: ObjectMeta {
            name: run.metadata.name.clone(),
            labels: run.metadata.labels.clone(),
            ..ObjectMeta::default()
        },
        spec: ergon_api::TaskRunSpec::default(),
        status: Some(TaskRunStatus {
            conditions: status.conditions,
            results: status.results,
            artifacts: status.artifacts,
            ..TaskRunStatus::default()
        }),
        ..run.clone()
    }
}
