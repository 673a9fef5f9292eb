//! Writing down where a pipeline run stands, and whether it has ended.

use std::collections::{BTreeMap, BTreeSet};

use ergon_api::{
    ChildCount, ChildStatusReference, Condition, ConditionStatus, Group, PipelineRunSpecStatus,
    PipelineRunStatus, SkippedTask, reasons::pipeline_run as reasons,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::child::{Child, Made};
use super::counted;
use super::prepare::Prepared;
use super::results::{self, Ends};
use super::skip::Skip;
use super::state::{States, TaskState};
use super::{Observed, children, when};
use crate::action::{Action, Event, EventKind};
use crate::expr::Scope;

/// What is known of a run after this decision's actions.
pub(super) struct Progress<'a> {
    pub observed: &'a Observed<'a>,
    pub prepared: &'a Prepared,
    pub states: &'a States<'a>,
    /// What `finally` tasks may refer to.
    pub ends: &'a Ends,
    /// The runs that this decision creates, by the places of their tasks.
    pub started: &'a BTreeMap<usize, Vec<Made>>,
    /// Why no more tasks of the graph start.
    pub halt: Option<Skip>,
}

/// What writing the status came to.
pub(super) struct Done {
    pub finished: bool,
    pub event: Option<Action>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    succeeded: usize,
    failed: usize,
    ignored: usize,
    cancelled: usize,
    skipped: usize,
    incomplete: usize,
    timed_out: usize,
    invalid: usize,
}

impl Progress<'_> {
    /// Fills in children, skipped tasks, results and the condition.
    pub fn write(&self, status: &mut PipelineRunStatus, tasks_done: bool, now: Timestamp) -> Done {
        let counted = counted::places(self.observed.group, self.states, self.started);
        status.child_references = self.child_references(&status.child_references, &counted);
        status.child_counts = self.child_counts(&counted);
        status.skipped_tasks = self.skipped();
        let counts = self.counts();
        let finally_done = self.states.finally().iter().all(TaskState::is_done);
        if tasks_done && finally_done && self.started.is_empty() {
            return self.finish(status, counts, now);
        }
        let running_finally = tasks_done && !self.prepared.spec.finally.is_empty();
        let reason = match (self.observed.run.spec.status, self.halt) {
            (Some(PipelineRunSpecStatus::CancelledRunFinally), _) => reasons::CANCELLED_RUNNING_FINALLY,
            (Some(PipelineRunSpecStatus::StoppedRunFinally), _) => reasons::STOPPED_RUNNING_FINALLY,
            (_, Some(Skip::TasksTimeout)) if running_finally => reasons::TIMEOUT_RUNNING_FINALLY,
            _ if counts.cancelled > 0 || counts.failed > 0 && finally_done => reasons::STOPPING,
            _ if self.started.is_empty()
                && !self.states.values().any(TaskState::is_started)
                && status.conditions.is_empty() =>
            {
                reasons::STARTED
            }
            _ => reasons::RUNNING,
        };
        let message = format!(
            "Tasks Completed: {} (Failed: {}, Cancelled {}), Incomplete: {}, Skipped: {}",
            counts.ended(),
            counts.failed,
            counts.cancelled,
            counts.incomplete,
            counts.skipped
        );
        *status = unknown(std::mem::take(status), reason, &message, now);
        Done { finished: false, event: None }
    }

    fn finish(&self, status: &mut PipelineRunStatus, counts: Counts, now: Timestamp) -> Done {
        let run = self.observed.run;
        let mut message = format!("{}, Skipped: {}", counts.completed(), counts.skipped);
        status.completion_time = Some(Time(now));
        let graceful = run.is_gracefully_cancelled() || run.is_gracefully_stopped();
        if counts.invalid > 0 {
            message.push_str(&self.what_is_invalid(counts.invalid));
        }
        let (value, reason) = if self.halt == Some(Skip::TasksTimeout) {
            let limit = run.tasks_timeout().map(|limit| limit.to_string()).unwrap_or_default();
            message = format!(
                "PipelineRun \"{}\" failed due to tasks failed to finish within \"{limit}\"",
                run.name()
            );
            (ConditionStatus::False, reasons::TIMED_OUT)
        } else if counts.invalid > 0 {
            (ConditionStatus::False, reasons::FAILED_VALIDATION)
        } else if counts.failed > 0 || counts.timed_out > 0 {
            (ConditionStatus::False, reasons::FAILED)
        } else if graceful || counts.cancelled > 0 {
            (ConditionStatus::False, reasons::CANCELLED)
        } else if counts.skipped > 0 {
            (ConditionStatus::True, reasons::COMPLETED)
        } else {
            (ConditionStatus::True, reasons::SUCCEEDED)
        };
        // Tekton's clients parse the sentence; ours also names what failed.
        if value == ConditionStatus::False && self.observed.group == Group::Ergon {
            message.push_str(&self.what_failed());
        }
        if self.observed.group == Group::Ergon {
            message.push_str(&self.what_ran_again());
        }
        if graceful && value == ConditionStatus::False && reason == reasons::CANCELLED {
            message = format!("PipelineRun \"{}\" was cancelled", run.name());
        }
        let results = results::of_run(&self.prepared.spec, self.states, self.ends);
        let (value, reason, message) = match results {
            Ok(results) => {
                status.results = results;
                (value, reason, message)
            }
            Err(names) if value == ConditionStatus::True => (
                ConditionStatus::False,
                reasons::COULDNT_GET_PIPELINE_RESULT,
                format!(
                    "Failed to get PipelineResult from TaskRun Results for PipelineRun {}: invalid pipelineresults [{}], the referenced results don't exist",
                    run.name(),
                    names.join(" ")
                ),
            ),
            Err(_) => (value, reason, message),
        };
        status.set_condition(Condition::succeeded(value, reason, message.clone()), Time(now));
        let event = if value == ConditionStatus::True {
            event(EventKind::Normal, reasons::SUCCEEDED, &message)
        } else {
            event(EventKind::Warning, reasons::FAILED, &message)
        };
        Done { finished: true, event: Some(event) }
    }

    fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for state in self.states.values() {
            if state.invalid.is_some() {
                counts.invalid += 1;
            } else if let Some(skip) = state.skip {
                counts.skipped += 1;
                if matches!(skip, Skip::TasksTimeout | Skip::FinallyTimeout) {
                    counts.timed_out += 1;
                }
            } else if !state.is_done() {
                counts.incomplete += 1;
            } else if state.is_succeeded() {
                counts.succeeded += 1;
            } else if state.is_cancelled() {
                counts.cancelled += 1;
            } else if state.is_ignored_failure() {
                counts.ignored += 1;
            } else {
                counts.failed += 1;
            }
        }
        counts
    }

    /// The end of the sentence where tasks could not run: how many, and what they lack.
    fn what_is_invalid(&self, count: usize) -> String {
        const MOST: usize = 1024;
        let all: Vec<&str> = self.states.values().filter_map(|state| state.invalid.as_deref()).collect();
        let mut all = all.join("; ");
        if let Some((end, _)) = all.char_indices().nth(MOST) {
            all.truncate(end);
            all.push_str("...");
        }
        format!(", Failed Validation: {count} ({all})")
    }

    /// A short list of the tasks that failed and why.
    fn what_failed(&self) -> String {
        const MOST: usize = 5;
        let failed: Vec<String> = self
            .states
            .values()
            .filter(|state| state.is_failed())
            .flat_map(|state| {
                state.runs.iter().filter(|run| !run.is_successful()).map(move |run| (state, run))
            })
            .map(|(state, run)| {
                let message = run.condition().map_or("", Condition::message);
                format!("`{}`: {message}", state.task.name)
            })
            .collect();
        if failed.is_empty() {
            return String::new();
        }
        let more =
            if failed.len() > MOST { format!("; and {} more", failed.len() - MOST) } else { String::new() };
        format!(". Failed: {}{more}", failed[..failed.len().min(MOST)].join("; "))
    }

    /// The tasks that ran again because the pod that they had was lost.
    fn what_ran_again(&self) -> String {
        let was_lost = |state: &&TaskState<'_>| state.earlier.iter().any(|run| run.shared_pod().is_some());
        let names: Vec<String> =
            self.states.values().filter(was_lost).map(|state| format!("`{}`", state.task.name)).collect();
        if names.is_empty() {
            return String::new();
        }
        format!(". Ran again after the loss of a pod that tasks shared: {}", names.join(", "))
    }

    fn child_counts(&self, counted: &BTreeSet<usize>) -> Vec<ChildCount> {
        let count = |place: &usize| {
            let state = self.states.at(*place);
            let started = self.started.get(place).map_or(&[][..], Vec::as_slice);
            let runs = state.runs.iter().copied().chain(started.iter().map(Made::child));
            let mut count = counted::count(&state.task.name, runs)?;
            count.total = count.total.max(u32::try_from(state.expected).unwrap_or(u32::MAX));
            count.when_expressions = when::expand_all(&state.task.when, &self.scope(*place));
            Some(count)
        };
        counted.iter().filter_map(count).collect()
    }

    fn child_references(
        &self,
        known: &[ChildStatusReference],
        counted: &BTreeSet<usize>,
    ) -> Vec<ChildStatusReference> {
        let group = self.observed.group;
        let mut before: Option<BTreeMap<&str, &ChildStatusReference>> = None;
        let mut references = Vec::new();
        for (place, task) in self.prepared.plan.tasks().filter(|(place, _)| !counted.contains(place)) {
            let state = self.states.at(place);
            let started = self.started.get(&place).map_or(&[][..], Vec::as_slice);
            if state.runs.is_empty() && state.earlier.is_empty() && started.is_empty() {
                continue;
            }
            let is_named = children::is_named(task);
            let is_plain = task.when.is_empty() && !is_named;
            let scope = if is_plain { Scope::default() } else { self.scope(place) };
            let when = when::expand_all(&task.when, &scope);
            let runs = state.earlier.iter().chain(&state.runs).copied();
            for run in runs.chain(started.iter().map(Made::child)) {
                let mut reference = children::reference(group, run, task, &when, &scope);
                if is_named {
                    // What it is called follows from its parameters, which are not kept once it has ended.
                    let before = before.get_or_insert_with(|| {
                        known.iter().map(|known| (known.name.as_str(), known)).collect()
                    });
                    if let Some(before) = before.get(run.name()) {
                        reference.display_name.clone_from(&before.display_name);
                    }
                }
                references.push(reference);
            }
        }
        references
    }

    fn skipped(&self) -> Vec<SkippedTask> {
        let finally = self.prepared.plan.finally();
        self.prepared
            .plan
            .tasks()
            .filter_map(|(place, task)| {
                let skip = self.states.at(place).skip?;
                Some(SkippedTask {
                    name: task.name.clone(),
                    reason: skip.reason().to_owned(),
                    // As in Tekton: those of a final task only where they are the reason.
                    when_expressions: if finally.contains(&place) && skip != Skip::When {
                        Vec::new()
                    } else {
                        when::expand_all(&task.when, &self.scope(place))
                    },
                })
            })
            .collect()
    }

    /// What is known of all that a task refers to.
    fn scope(&self, place: usize) -> Scope {
        let mut scope = results::available(place, self.states);
        scope.extend(&results::statuses(place, self.states, self.ends));
        scope
    }
}

impl Counts {
    /// The first half of the sentence that Tekton's clients parse.
    fn completed(self) -> String {
        let failed = if self.ignored > 0 {
            format!("{} (Ignored: {})", self.failed + self.ignored, self.ignored)
        } else {
            self.failed.to_string()
        };
        format!("Tasks Completed: {} (Failed: {failed}, Cancelled {})", self.ended(), self.cancelled)
    }

    fn ended(self) -> usize {
        self.succeeded + self.failed + self.ignored + self.cancelled
    }
}

/// Keeps references to the children that are there, for a run that ends without a look at its pipeline.
pub(super) fn known_children(observed: &Observed<'_>, status: &mut PipelineRunStatus) {
    let known: BTreeSet<String> =
        status.child_references.iter().map(|reference| reference.name.clone()).collect();
    let label = observed.group.label("pipelineTask");
    let counts = counted::in_status(observed, &status.child_counts, &label);
    let is_counted = |child: &Child<'_>| {
        child.label(&label).is_some_and(|task| counts.iter().any(|count| count.pipeline_task_name == task))
    };
    let mut missing: Vec<ChildStatusReference> = observed
        .children
        .iter()
        .filter(|child| !known.contains(child.name()) && !is_counted(child))
        .map(|child| ChildStatusReference {
            api_version: Some(child.api_version(observed.group).to_owned()),
            kind: Some(child.kind().to_owned()),
            name: child.name().to_owned(),
            pipeline_task_name: child.label(&label).map(str::to_owned),
            ..Default::default()
        })
        .collect();
    missing.sort_by(|one, other| one.name.cmp(&other.name));
    status.child_references.extend(missing);
    status.child_counts = counts;
}

pub(super) fn unknown(
    mut status: PipelineRunStatus,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> PipelineRunStatus {
    status.set_condition(Condition::succeeded(ConditionStatus::Unknown, reason, message), Time(now));
    status
}

pub(super) fn failed(
    mut status: PipelineRunStatus,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> PipelineRunStatus {
    status.set_condition(Condition::succeeded(ConditionStatus::False, reason, message), Time(now));
    status
}

pub(super) fn event(kind: EventKind, reason: &str, message: &str) -> Action {
    Action::Emit(Event { kind, reason: reason.to_owned(), message: message.to_owned() })
}
