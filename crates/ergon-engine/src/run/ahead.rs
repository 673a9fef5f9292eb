//! Pods that are made before their tasks' turn (`prestart`), so that the next task finds its pod started.
//!
//! Such a pod is one that tasks share, if only one, and it is not known yet what its first task gets. It waits until the
//! run of that task is made, which names it; its agent is told so in the answer to its report. So a pod is made ahead only
//! where agents report, and is used only once its agent did. Where anything is in the way, the task gets its pod as ever.

use std::collections::{BTreeMap, BTreeSet};

use ergon_api::reasons::task_run as reasons;
use jiff::{SignedDuration, Timestamp};

use super::Observed;
use super::child::{Child, Made};
use super::plan::Plan;
use super::prepare::Prepared;
use super::share::{Context, Place};
use super::state::{States, TaskState};
use crate::action::Action;
use crate::fuse::{self, SharedPod};
use crate::task::PodSeen;

/// How long a task whose turn has come waits for a pod that is starting.
const PATIENCE: SignedDuration = SignedDuration::from_secs(5);
/// How long an agent that waits may take to hear that it is to begin.
const HEARING: SignedDuration = SignedDuration::from_secs(30);

/// What becomes of the pods that were made ahead, in one pass.
#[derive(Debug)]
pub(super) struct Ahead<'a> {
    /// When to look again.
    pub until: Option<Timestamp>,
    /// The tasks whose pods may be made ahead, by their places.
    asked: Vec<usize>,
    /// The pods that were made for them, whatever became of those.
    pods: BTreeMap<usize, &'a SharedPod<'a>>,
    /// The tasks whose pods were found not to do.
    useless: BTreeSet<usize>,
}

/// Whether the pod that was made ahead for a task may be used.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ready<'a> {
    No,
    /// It is starting.
    Soon,
    /// Its name, and what it says of itself.
    Here(&'a str, &'a BTreeMap<String, String>),
}

impl<'a> Ahead<'a> {
    pub fn new(observed: &Observed<'a>, prepared: &Prepared, states: &States<'_>) -> Self {
        let wanted = |place: &usize| fuse::may_wait(observed.run, &prepared.spec, states.at(*place).task);
        let asked: Vec<usize> = prepared.plan.order().iter().copied().filter(wanted).collect();
        let made = |place: usize| {
            let name = fuse::ahead_name(observed.run, states.at(place).task);
            Some((place, observed.sharing?.pods.iter().find(|pod| pod.name == name)?))
        };
        let pods = asked.iter().filter_map(|place| made(*place)).collect();
        Self { until: None, asked, pods, useless: BTreeSet::new() }
    }

    /// The pod that was made for a task, if it has not ended, and what it says of itself.
    fn there(&self, place: usize) -> Option<(&'a SharedPod<'a>, &'a BTreeMap<String, String>)> {
        let shared = self.pods.get(&place).copied().filter(|shared| !shared.is_over())?;
        let PodSeen::Here(pod) = shared.pod else { return None };
        Some((shared, pod.metadata.annotations.as_ref()?))
    }

    /// The pod of a task whose turn has come.
    pub fn of(&mut self, place: usize, now: Timestamp) -> Ready<'a> {
        let Some((shared, told)) = self.there(place) else { return Ready::No };
        match fuse::waits(shared) {
            Some(true) => Ready::Here(shared.name, told),
            // It has begun, or cannot.
            Some(false) => Ready::No,
            None => {
                let PodSeen::Here(pod) = shared.pod else { return Ready::No };
                let made = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
                let until =
                    made.and_then(|made| made.checked_add(PATIENCE).ok()).filter(|until| *until > now);
                if until.is_none() {
                    self.useless.insert(place);
                    return Ready::No;
                }
                self.until = self.until.into_iter().chain(until).min();
                Ready::Soon
            }
        }
    }

    /// What ends the pods that nothing will begin in. `halted`: no more tasks start.
    pub fn end(
        &mut self,
        states: &States<'_>,
        started: &BTreeMap<usize, Vec<Made>>,
        halted: bool,
        now: Timestamp,
    ) -> Vec<Action> {
        let mut actions = Vec::new();
        let nothing_begins = halted || !self.pods.is_empty() && is_full(states);
        for place in self.pods.keys().copied().collect::<Vec<_>>() {
            let Some((shared, _)) = self.there(place) else { continue };
            let PodSeen::Here(pod) = shared.pod else { continue };
            let state = states.at(place);
            let first =
                state.runs.iter().chain(&state.earlier).find(|run| run.shared_pod() == Some(shared.name));
            let begins = begins(started.get(&place), shared.name);
            let is_lost = match first {
                Some(Child::Task(run)) if fuse::waits(shared) == Some(true) => {
                    let made = run.metadata.creation_timestamp.as_ref().map_or(now, |time| time.0);
                    let until = made.checked_add(HEARING).ok().filter(|until| *until > now);
                    self.until = self.until.into_iter().chain(until).min();
                    until.is_none()
                }
                Some(_) => false,
                None => {
                    !begins
                        && (nothing_begins
                            || state.is_done()
                            || state.is_started()
                            || started.contains_key(&place)
                            || self.useless.contains(&place)
                            || !all_may_succeed(states.plan(), states, place))
                }
            };
            if is_lost {
                actions.push(Action::EndPod {
                    name: shared.name.to_owned(),
                    uid: pod.metadata.uid.clone().unwrap_or_default(),
                    // Nothing has run in it.
                    keep: false,
                });
            }
        }
        actions
    }

    /// The tasks whose pods are to be made now: all that they wait for runs, or has ended well.
    pub fn next(
        &self,
        context: &Context<'_>,
        shared: &BTreeMap<&str, Place<'_>>,
        started: &BTreeMap<usize, Vec<Made>>,
    ) -> Vec<usize> {
        let Context { observed, prepared, states, platform, .. } = context;
        let plan = &prepared.plan;
        if self.asked.is_empty() || platform.report.is_none() || is_full(states) {
            return Vec::new();
        }
        let is_waiting = |place: &&usize| {
            self.there(**place).is_some() && !states.at(**place).is_started() && !started.contains_key(*place)
        };
        let limit = usize::try_from(observed.config.features.prestart_limit).unwrap_or(usize::MAX);
        let room = limit.saturating_sub(self.asked.iter().filter(is_waiting).count());
        let is_next = |place: &usize| {
            let state = states.at(*place);
            let name = state.task.name.as_str();
            let is_open = !state.is_done()
                && !state.is_started()
                && !state.has_begun
                && state.earlier.is_empty()
                && !started.contains_key(place);
            let parents = plan.parents(*place);
            is_open
                && !self.pods.contains_key(place)
                && shared.get(name).is_none_or(|place| !place.holds(name))
                && !parents.iter().all(|parent| states.at(*parent).is_done())
                && parents.iter().all(|parent| is_under_way(states.at(*parent)))
        };
        self.asked.iter().copied().filter(is_next).take(room).collect()
    }
}

/// Whether a run that this pass makes begins in the pod.
fn begins(made: Option<&Vec<Made>>, pod: &str) -> bool {
    made.into_iter().flatten().any(|made| made.child().shared_pod() == Some(pod))
}

/// All of a task's runs have ended well or are at work.
fn is_under_way(state: &TaskState<'_>) -> bool {
    let is_at_work = |run: &Child<'_>| match run {
        _ if run.is_done() => run.is_successful(),
        Child::Task(_) => run.reason() == reasons::RUNNING,
        Child::Custom(_) | Child::Pipeline(_) => true,
    };
    state.is_started() && !state.is_half_made() && state.runs.iter().all(is_at_work)
}

/// Nothing that a task waits for has ended otherwise than well.
fn all_may_succeed(plan: &Plan, states: &States<'_>, place: usize) -> bool {
    let may = |state: &TaskState<'_>| !state.is_done() || state.is_succeeded();
    plan.parents(place).iter().all(|parent| may(states.at(*parent)))
}

/// A task of the run waits for room on the nodes: pods that only wait must not have it.
fn is_full(states: &States<'_>) -> bool {
    let waits = |run: &Child<'_>| !run.is_done() && run.reason() == reasons::EXCEEDED_NODE_RESOURCES;
    states.values().flat_map(|state| &state.runs).any(waits)
}
