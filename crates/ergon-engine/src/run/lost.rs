//! What was lost with a shared pod, and runs again in another one.
//!
//! A run that ended because its pod was lost is left out of its task's state by itself ([`TaskState::leave_out_lost`]).
//! Where a folder of the pod had taken a claim's place, what the tasks before wrote there is lost too: those of them that
//! the others need run again, which the first run that is made then says, so that it stays decided.
//!
//! [`TaskState::leave_out_lost`]: super::state::TaskState

use std::collections::BTreeSet;

use ergon_api::TaskRun;
use jiff::Timestamp;

use super::child::Child;
use super::conclude;
use super::prepare::Prepared;
use super::share::{self, Place};
use super::state::{States, TaskState};
use crate::action::{Action, EventKind};
use crate::fuse::{AGAIN_ANNOTATION, LOST_POD_ANNOTATION, MOST_RERUNS};
use crate::task::POD_LOST;

/// What the pods that are lost come to, in one pass.
#[derive(Debug, Default)]
pub(super) struct Lost {
    /// Tasks that wait until the pod that they had is known to be at work no longer.
    waiting: BTreeSet<String>,
    /// When to look again.
    pub until: Option<Timestamp>,
    /// What was decided in this pass: by pod, all tasks that run again.
    again: Vec<(String, String)>,
}

/// What becomes of a task whose turn has come, and whose pod may be lost.
pub(super) enum Turn {
    /// It is as if there had been no such pod.
    Elsewhere,
    /// It stays as it was, because what it needs cannot be made again.
    Stays,
    /// Others run again first, which were done.
    After,
}

/// Leaves out what earlier passes have decided on.
pub(super) fn leave_out(states: &mut States<'_>) {
    let decided: Vec<(&str, &str)> = states
        .values()
        .flat_map(|state| state.runs.iter().chain(&state.earlier))
        .filter_map(|run| Some((run.annotation(LOST_POD_ANNOTATION)?, run.annotation(AGAIN_ANNOTATION)?)))
        .collect();
    for (pod, tasks) in decided {
        for task in tasks.split(',') {
            if let Some(state) = states.get_mut(task)
                && state.runs.iter().any(|run| run.shared_pod() == Some(pod))
            {
                state.leave_out();
            }
        }
    }
}

impl Lost {
    /// Decides on a task that could start now. `place`: the pod that it was to be in, or was.
    pub fn turn(
        &mut self,
        prepared: &Prepared,
        states: &mut States<'_>,
        task: &str,
        place: &Place<'_>,
        may_rerun: bool,
        now: Timestamp,
    ) -> Turn {
        let lingers = place.pod.lingers(now);
        if lingers {
            self.waiting.insert(task.to_owned());
            self.until = self.until.into_iter().chain(place.pod.ends_at()).min();
        }
        let names: Vec<String> = place.tasks().map(str::to_owned).collect();
        let folders = if place.has_folders { share::folders(prepared, &names) } else { Vec::new() };
        let all = needed(prepared, states, place, &names, &folders);
        let redone: Vec<&String> =
            all.iter().filter(|name| states.get(name).is_some_and(|state| is_there(state, place))).collect();
        if redone.is_empty() {
            return Turn::Elsewhere;
        }
        let is_in_bounds =
            |name: &&String| states.get(name).is_some_and(|state| state.earlier.len() < MOST_RERUNS);
        let uses = states.get(task).is_some_and(|state| uses_any(prepared, state, &folders));
        match (uses, may_rerun && redone.iter().all(is_in_bounds)) {
            (false, false) => Turn::Elsewhere,
            (true, false) => Turn::Stays,
            (_, true) => {
                for name in &redone {
                    if let Some(state) = states.get_mut(name) {
                        state.leave_out();
                    }
                }
                if lingers {
                    self.waiting.extend(redone.into_iter().cloned());
                }
                let all: Vec<String> = all.into_iter().collect();
                self.again.push((place.pod.name.to_owned(), all.join(",")));
                Turn::After
            }
        }
    }

    /// Whether a task waits for the end of the pod that it had.
    pub fn is_waiting(&self, task: &str) -> bool {
        self.waiting.contains(task)
    }

    /// Says on a new run whose place it takes, and tells why.
    pub fn note(&mut self, state: &TaskState<'_>, run: &mut TaskRun) -> Option<Action> {
        let last = state.earlier.last()?;
        let pod = last.shared_pod()?;
        let annotations = run.metadata.annotations.get_or_insert_default();
        annotations.insert(LOST_POD_ANNOTATION.to_owned(), pod.to_owned());
        if let Some(at) = self.again.iter().position(|(known, _)| known == pod) {
            annotations.insert(AGAIN_ANNOTATION.to_owned(), self.again.remove(at).1);
        }
        let (task, name) = (&state.task.name, run.metadata.name.as_deref().unwrap_or_default());
        let message = if last.is_successful() {
            format!(
                "task `{task}` had succeeded and runs again as TaskRun `{name}`: what it left for others was in pod `{pod}`, which was lost"
            )
        } else {
            format!("task `{task}` runs again as TaskRun `{name}`: pod `{pod}` was lost ({})", last.reason())
        };
        Some(conclude::event(EventKind::Warning, POD_LOST, &message))
    }
}

/// The tasks of a lost pod that are to run, with all those which were done there and that they need.
fn needed(
    prepared: &Prepared,
    states: &States<'_>,
    place: &Place<'_>,
    names: &[String],
    folders: &[String],
) -> BTreeSet<String> {
    let graph = prepared.plan.graph();
    let is_done_there = |name: &String| {
        graph.order().contains(name) && states.get(name).is_some_and(|state| is_there(state, place))
    };
    let is_open = |name: &&String| {
        states.get(name).is_some_and(|state| !state.is_done() && !state.is_started() && !state.has_begun)
    };
    let mut all: BTreeSet<String> = names.iter().filter(is_open).cloned().collect();
    loop {
        let of = |name: &String, claim: &String| {
            states.get(name).is_some_and(|state| share::uses(prepared, state.task, claim))
        };
        let missing: Vec<String> = names
            .iter()
            .filter(|name| !all.contains(*name) && is_done_there(name))
            .filter(|name| {
                let shares_folder =
                    folders.iter().any(|claim| of(name, claim) && all.iter().any(|other| of(other, claim)));
                // It may wait for one that runs again, and be waited for by another.
                let is_between = all.iter().any(|one| graph.reaches(one, name))
                    && all.iter().any(|one| graph.reaches(name, one));
                shares_folder || is_between
            })
            .cloned()
            .collect();
        if missing.is_empty() {
            return all;
        }
        all.extend(missing);
    }
}

/// Whether the last run of a task was carried out in this pod, and counts.
fn is_there(state: &TaskState<'_>, place: &Place<'_>) -> bool {
    state.is_done() && state.runs.iter().any(|run: &Child<'_>| run.shared_pod() == Some(place.pod.name))
}

fn uses_any(prepared: &Prepared, state: &TaskState<'_>, claims: &[String]) -> bool {
    claims.iter().any(|claim| share::uses(prepared, state.task, claim))
}
