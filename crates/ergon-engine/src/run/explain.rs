//! Which pods a run would have, told before anything starts.
//!
//! The run is played forward as if each task succeeded: the pods are made by the same decision as ever, and nothing is
//! done with them.

use std::collections::{BTreeMap, BTreeSet};

use ergon_api::variables::Part;
use ergon_api::{
    Condition, ConditionStatus, ParamType, ParamValue, PipelineTask, TaskResult, TaskRun, TaskRunResult,
    TaskRunStatus, reasons,
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::Observed;
use super::child::Children;
use super::children::child_name;
use super::find::{self, Seen, TaskSeen};
use super::prepare::{self, Prepared};
use super::share::{self, Context, Shared, Stop};
use super::state::States;
use super::validate::{self, Checked};
use crate::action::Need;
use crate::expr::LATER;
use crate::fuse::Why;
use crate::graph::{Graph, as_result};
use crate::pod::{self, Platform};
use crate::task::Invalid;

/// What stands for a result that is known by the time it is used.
const KNOWN: &str = "1";

/// What the explanation came to.
#[derive(Debug)]
pub enum Explained {
    Plan(Planned),
    /// These must be looked up first.
    Needs(Vec<Need>),
}

/// The pods of a run in which each task succeeds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Planned {
    /// In the order in which they may start.
    pub pods: Vec<PlannedPod>,
    pub not_shared: Vec<NotShared>,
}

/// A pod, or what a task has in the place of one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PlannedPod {
    /// The pipeline tasks in it, the first one first.
    pub tasks: Vec<String>,
    /// Their names. Empty where that is not known before, or where somebody else carries the task out.
    pub containers: Vec<String>,
    /// What the pod asks for: the most that runs in it at once.
    pub requests: BTreeMap<String, Quantity>,
    /// Workspaces of the run whose claims are not made, since folders of this pod take their place.
    pub folders: Vec<String>,
    /// Why no task could ever share it, whatever comes behind it.
    pub why_alone: Option<Why>,
}

/// Two tasks, one after the other, that do not share a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotShared {
    pub task: String,
    /// The task that it waits for; none for a final one, which waits for all.
    pub after: Option<String>,
    /// The one of the two that the reason speaks of.
    pub whose: String,
    pub why: Why,
}

/// Tells the pods that a run would have. What is observed of a run that has begun does not matter: its children, and
/// which of them share pods.
///
/// What comes from resolvers is not asked for: whether a task is there and what is in it may stay unknown.
///
/// # Errors
/// What the user must mend before the run could start.
pub fn explain(observed: &Observed<'_>, platform: &Platform, now: Timestamp) -> Result<Explained, Invalid> {
    let observed = &Observed { children: Children::default(), plan: None, sharing: None, ..*observed };
    let found = match find::pipeline(observed)? {
        Seen::Found(found) => found,
        Seen::Need(Need::Remote(_)) | Seen::Waiting => {
            let message =
                "the Pipeline comes from a resolver: explain a run that has it in `spec.pipelineSpec`";
            return Err(Invalid::new(reasons::pipeline_run::COULDNT_GET_PIPELINE, message));
        }
        Seen::Need(need) => return Ok(Explained::Needs(vec![need])),
    };
    let (run, _) = found.given_to(observed.group, observed.run);
    let observed = &Observed { run: &run, ..*observed };
    let prepared = prepare::prepare(observed.group, &run, &found.spec, found.language)?;
    if let Checked::Needs(mut needs) = validate::check(observed, &prepared)? {
        needs.retain(|need| !matches!(need, Need::Remote(_)));
        if !needs.is_empty() {
            return Ok(Explained::Needs(needs));
        }
    }
    let play = Play { observed, prepared: &prepared, platform, graph: prepared.plan.graph(), now };
    Ok(match play.forward() {
        Ok(plan) => Explained::Plan(plan),
        Err(needs) => Explained::Needs(needs),
    })
}

struct Play<'a> {
    observed: &'a Observed<'a>,
    prepared: &'a Prepared,
    platform: &'a Platform,
    graph: &'a Graph,
    now: Timestamp,
}

impl Play<'_> {
    fn forward(&self) -> Result<Planned, Vec<Need>> {
        let mut plan = Planned::default();
        let mut over: BTreeMap<&str, TaskRun> = BTreeMap::new();
        for place in self.prepared.plan.order() {
            let Some(task) = self.prepared.plan.task(*place) else { continue };
            if over.contains_key(task.name.as_str()) {
                continue;
            }
            let pod = self.next(*place, task, &over, &mut plan.not_shared)?;
            for task in self.prepared.spec.tasks.iter().filter(|task| pod.tasks.contains(&task.name)) {
                over.insert(&task.name, self.success(task));
            }
            plan.pods.push(pod);
        }
        for task in &self.prepared.spec.finally {
            if plan.pods.iter().any(|pod| pod.tasks.contains(&task.name)) {
                continue;
            }
            if !plan.not_shared.iter().any(|known| known.task == task.name) {
                plan.not_shared.push(NotShared {
                    task: task.name.clone(),
                    after: None,
                    whose: task.name.clone(),
                    why: Why::Scattered,
                });
            }
            let pod = self.with_states(&over, |context| match share::alone(context, task, true) {
                Ok(pod) => Ok(planned(vec![task.name.clone()], &pod)),
                Err(stop) => unanswered(task, stop),
            })?;
            plan.pods.push(pod);
        }
        Ok(plan)
    }

    /// The pod of a task whose turn has come.
    fn next(
        &self,
        place: usize,
        task: &PipelineTask,
        over: &BTreeMap<&str, TaskRun>,
        not_shared: &mut Vec<NotShared>,
    ) -> Result<PlannedPod, Vec<Need>> {
        let mut refused = Vec::new();
        let root = &task.name;
        let (pod, why) =
            self.with_states(over, |context| match share::shared(context, place, &mut refused) {
                Ok(Shared { pod, tasks, folders, .. }) => {
                    let folders = self.workspaces(&folders);
                    Ok((PlannedPod { folders, ..planned(tasks, &pod) }, Why::NothingFollows))
                }
                Err(Stop::Needs(needs)) => askable(needs).map(|()| (unknown(root), Why::Resolver)),
                Err(Stop::Why(why)) => match share::alone(context, task, false) {
                    Ok(pod) => Ok((planned(vec![root.clone()], &pod), why)),
                    Err(stop) => Ok((unanswered(task, stop)?, why)),
                },
            })?;
        let after = |from: &str, task: &str| self.graph.parents(task).contains(&from);
        if why == Why::NothingFollows {
            for (task, why) in refused {
                let is_final = !self.graph.order().contains(&task);
                let before = pod.tasks.iter().filter(|from| after(from, &task)).cloned().map(Some);
                let before: Vec<_> = before.chain(is_final.then_some(None)).collect();
                not_shared.extend(before.into_iter().map(|after| NotShared {
                    task: task.clone(),
                    after,
                    whose: task.clone(),
                    why: why.clone(),
                }));
            }
            return Ok(pod);
        }
        not_shared.extend(self.graph.children(root).into_iter().map(|task| NotShared {
            task: task.to_owned(),
            after: Some(root.clone()),
            whose: root.clone(),
            why: why.clone(),
        }));
        Ok(PlannedPod { why_alone: Some(why), ..pod })
    }

    /// The workspaces that have these claims.
    fn workspaces(&self, claims: &[String]) -> Vec<String> {
        let all = self.prepared.workspaces.iter();
        let with = all.filter(|(_, binding)| {
            let claim = binding.persistent_volume_claim.as_ref();
            claim.is_some_and(|claim| claims.contains(&claim.claim_name))
        });
        with.map(|(name, _)| name.clone()).collect()
    }

    /// What holds when these tasks have ended.
    fn with_states<T>(
        &self,
        over: &BTreeMap<&str, TaskRun>,
        then: impl FnOnce(&Context<'_>) -> Result<T, Vec<Need>>,
    ) -> Result<T, Vec<Need>> {
        let runs: Vec<&TaskRun> = over.values().collect();
        let children = Children { task_runs: &runs, ..Children::default() };
        let observed = &Observed { children, ..*self.observed };
        let states = &States::observed(observed, &self.prepared.plan);
        let taken = &BTreeSet::new();
        then(&Context {
            observed,
            prepared: self.prepared,
            states,
            platform: self.platform,
            taken,
            now: self.now,
        })
    }

    /// The run of a task that ended well, with all results that others use.
    fn success(&self, task: &PipelineTask) -> TaskRun {
        let mut run = TaskRun::new(self.observed.group, &child_name(self.observed.run, task, None));
        let label = self.observed.group.label("pipelineTask");
        run.metadata.labels = Some(BTreeMap::from([(label, task.name.clone())]));
        let reason = reasons::task_run::SUCCEEDED;
        run.status = Some(TaskRunStatus {
            conditions: vec![Condition::succeeded(ConditionStatus::True, reason, "")],
            results: self.results(task),
            ..TaskRunStatus::default()
        });
        run
    }

    fn results(&self, task: &PipelineTask) -> Vec<TaskRunResult> {
        let declared: &[TaskResult] = match find::task(self.observed, task) {
            Ok(TaskSeen::Spec(spec)) => &spec.results,
            _ => &[],
        };
        let plan = &self.prepared.plan;
        let mut used: BTreeMap<&str, Vec<(&[String], Part)>> = BTreeMap::new();
        let references = plan.tasks().flat_map(|(place, _)| plan.uses(place));
        for (_, reference) in references {
            if let Some((_, result)) = as_result(reference).filter(|(from, _)| *from == task.name) {
                let keys = reference.path.get(4..).unwrap_or_default();
                used.entry(result).or_default().push((keys, reference.part));
            }
        }
        used.into_iter()
            .map(|(name, uses)| TaskRunResult {
                name: name.to_owned(),
                value: stand_in(declared.iter().find(|declared| declared.name == name), &uses),
                ..TaskRunResult::default()
            })
            .collect()
    }
}

/// A value of the declared type, or of the one that it is used as, with all items and keys that are used.
fn stand_in(declared: Option<&TaskResult>, uses: &[(&[String], Part)]) -> ParamValue {
    let keys: BTreeSet<&String> = uses.iter().filter_map(|(keys, _)| keys.first()).collect();
    let last = uses.iter().filter_map(|(_, part)| match part {
        Part::Item(at) => Some(*at),
        Part::Value | Part::All => None,
    });
    let is_whole = uses.iter().any(|(_, part)| *part == Part::All);
    let kind = declared.map(TaskResult::effective_type);
    if let Some(first) = declared.and_then(|declared| declared.enum_.first()) {
        return first.as_str().into();
    }
    match kind {
        // Whatever limits the number has, there and where it is used.
        Some(ParamType::Number) => return LATER.into(),
        Some(ParamType::Boolean) => return "true".into(),
        Some(ParamType::String) if declared.is_some_and(|declared| !declared.declared().is_plain()) => {
            return LATER.into();
        }
        Some(ParamType::Object) => {}
        Some(ParamType::String) => return KNOWN.into(),
        None if keys.is_empty() && !is_whole && last.clone().next().is_none() => return KNOWN.into(),
        None if !keys.is_empty() => {}
        _ => return vec![KNOWN.to_owned(); last.max().unwrap_or_default().min(MOST_ITEMS) + 1].into(),
    }
    let declared = declared.into_iter().flat_map(|declared| declared.properties.keys());
    ParamValue::Object(keys.into_iter().chain(declared).map(|key| (key.clone(), KNOWN.to_owned())).collect())
}

/// How long the list of a result is made at most; who uses an item behind that gets no value for it.
const MOST_ITEMS: usize = 10_000;

/// A task whose pod cannot be told of.
fn unanswered(task: &PipelineTask, stop: Stop) -> Result<PlannedPod, Vec<Need>> {
    match stop {
        Stop::Needs(needs) => askable(needs).map(|()| unknown(&task.name)),
        Stop::Why(why) => Ok(PlannedPod { why_alone: Some(why), ..unknown(&task.name) }),
    }
}

/// # Errors
/// What is to be looked up: all but what resolvers have.
fn askable(mut needs: Vec<Need>) -> Result<(), Vec<Need>> {
    needs.retain(|need| !matches!(need, Need::Remote(_)));
    if needs.is_empty() { Ok(()) } else { Err(needs) }
}

fn unknown(task: &str) -> PlannedPod {
    PlannedPod { tasks: vec![task.to_owned()], ..PlannedPod::default() }
}

fn planned(tasks: Vec<String>, pod: &Pod) -> PlannedPod {
    let spec = pod.spec.clone().unwrap_or_default();
    let mut sums: BTreeMap<String, i128> = BTreeMap::new();
    for (name, nanos) in spec.containers.iter().flat_map(pod::requests) {
        *sums.entry(name).or_default() += nanos;
    }
    // These run one by one before all others.
    for (name, nanos) in spec.init_containers.iter().flatten().flat_map(pod::requests) {
        let sum = sums.entry(name).or_default();
        *sum = nanos.max(*sum);
    }
    PlannedPod {
        tasks,
        containers: spec.containers.into_iter().map(|container| container.name).collect(),
        requests: sums
            .into_iter()
            .filter(|(_, nanos)| *nanos > 0)
            .map(|(name, nanos)| (name.clone(), pod::told(&name, nanos)))
            .collect(),
        ..PlannedPod::default()
    }
}
