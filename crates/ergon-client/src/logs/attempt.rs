//! One try of a task: its steps' containers, one after another.

use std::sync::Mutex;

use ergon_api::{StepState, TaskRun, TaskRunStatus, reasons};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::watch;

use super::Reader;
use ergon_wire::{Company, try_name};

use super::container::{self, Target};
use super::pod::{PodLook, PodView};
use super::sections::Sections;

/// One try of a TaskRun that has a pod.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// The task as people call it.
    pub task: String,
    /// The TaskRun.
    pub task_run: String,
    /// From 1.
    pub number: usize,
    /// The pod. Fused tasks share one.
    pub pod: String,
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// The container that they run in, where other tasks have it too.
    pub company: Option<String>,
    /// Nothing more will start.
    pub over: bool,
}

/// One step of an attempt, as the TaskRun's status has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub name: String,
    pub container: String,
    pub state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Waiting,
    Running,
    Ended,
    /// Ended before its command could start. Its shim may have said why, if it came that far.
    Unstarted,
    /// Skipped, or ended from outside before it started: there is nothing to read.
    NeverRan,
}

impl State {
    /// The command ran, or still does.
    pub fn ran(self) -> bool {
        matches!(self, Self::Running | Self::Ended)
    }

    /// Nothing more will be written.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Ended | Self::Unstarted | Self::NeverRan)
    }
}

impl Attempt {
    /// Whose lines are whose in a container's log.
    pub fn sections(&self, container: &str) -> Sections {
        match &self.company {
            Some(company) if company == container => {
                Sections::of(&try_name(&self.task, self.number.saturating_sub(1)))
            }
            _ => Sections::default(),
        }
    }

    /// The state of a container, which is that of all steps in it.
    pub fn state_of(&self, container: &str) -> State {
        let states = self.steps.iter().filter(|step| step.container == container).map(|step| step.state);
        states
            .reduce(|all, next| match (all, next) {
                (one, other) if one == other => one,
                (one, State::NeverRan) | (State::NeverRan, one) => one,
                (State::Ended, State::Unstarted) | (State::Unstarted, State::Ended) => State::Ended,
                // Some have ended and some have not.
                _ => State::Running,
            })
            .unwrap_or(State::Waiting)
    }
}

/// Every try of a TaskRun so far that had a pod: those that are to be repeated first, the current one last.
pub fn attempts(run: &TaskRun) -> Vec<Attempt> {
    let Some(status) = &run.status else { return Vec::new() };
    let past = status.retries_status.len();
    status
        .retries_status
        .iter()
        .chain([status])
        .enumerate()
        .filter_map(|(at, status)| attempt(run, at + 1, status, at < past))
        .collect()
}

fn attempt(run: &TaskRun, number: usize, status: &TaskRunStatus, past: bool) -> Option<Attempt> {
    let over = past || status.is_done();
    let steps = status.steps.iter().map(|step| Step {
        name: step.name.clone(),
        container: step.container.clone(),
        state: state(step),
    });
    let annotations = run.metadata.annotations.as_ref();
    Some(Attempt {
        task: run.task_label(),
        task_run: run.name().to_owned(),
        number,
        pod: status.pod_name.clone().filter(|pod| !pod.is_empty())?,
        steps: steps.collect(),
        company: annotations.and_then(|all| all.get(Company::ANNOTATION)).cloned(),
        over,
    })
}

fn state(step: &StepState) -> State {
    let Some(terminated) = &step.terminated else {
        return if step.running.is_some() { State::Running } else { State::Waiting };
    };
    match step.termination_reason.as_deref() {
        Some(reasons::step::SKIPPED) => State::NeverRan,
        _ if terminated.started_at.is_some() => State::Ended,
        None | Some(reasons::step::ERROR) => State::Unstarted,
        Some(_) => State::NeverRan,
    }
}

/// Follows the steps one after another until the attempt is over and all of it is read.
///
/// A log closes up to a second after its container has ended: the kubelet looks that often. So the next step's log is
/// opened as soon as the status says that the step before has ended, while what that one wrote last still comes.
pub async fn follow(
    reader: &Reader,
    mut attempt: watch::Receiver<Attempt>,
    pod: watch::Receiver<Option<PodView>>,
) {
    let source = attempt.clone();
    let noted = Mutex::new(None);
    let mut begun: Vec<String> = Vec::new();
    let mut open = FuturesUnordered::new();
    // The container that was opened last, when it was still at work then. One that had ended already is read to its end
    // first, or its lines would mix with the next one's.
    let mut live: Option<String> = None;
    let mut told = true;
    loop {
        let now = attempt.borrow_and_update().clone();
        let ended = |container: &String| now.state_of(container).is_over();
        let next = now.steps.iter().find(|step| !begun.contains(&step.container));
        match next {
            Some(step) if open.is_empty() || live.as_ref().is_some_and(ended) => {
                // Steps that share a container share its log, and are read under the first one's name.
                begun.push(step.container.clone());
                if now
                    .steps
                    .iter()
                    .any(|other| other.container == step.container && wanted(reader, &other.name))
                {
                    live = (!ended(&step.container)).then(|| step.container.clone());
                    let target = Target { step: step.name.clone(), container: step.container.clone() };
                    open.push(container::follow(reader, target, source.clone(), pod.clone(), &noted));
                }
                continue;
            }
            None if open.is_empty() && (now.over || !told) => return,
            Some(_) | None => {}
        }
        tokio::select! {
            Some(listening) = open.next() => if !listening {
                return;
            },
            news = attempt.changed(), if told => told = news.is_ok(),
            else => return,
        }
    }
}

/// Reads what there is now. False when nobody reads any more.
pub async fn read(reader: &Reader, attempt: &Attempt) -> bool {
    let mut done: Vec<&str> = Vec::new();
    let mut pod = PodLook::new(&reader.ergon, &attempt.pod, reader.patience());
    for step in &attempt.steps {
        if done.contains(&step.container.as_str()) || !wanted(reader, &step.name) {
            continue;
        }
        done.push(&step.container);
        let target = Target { step: step.name.clone(), container: step.container.clone() };
        if !container::read(reader, attempt, &target, &mut pod).await {
            return false;
        }
    }
    true
}

pub(super) fn wanted(reader: &Reader, step: &str) -> bool {
    reader.options.steps.is_empty() || reader.options.steps.iter().any(|name| name == step)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_step_that_never_ran_is_told_from_one_that_ended() {
        let at = "2026-01-01T00:00:00Z";
        let table = [
            (json!({"waiting": {}}), State::Waiting),
            (json!({"running": {}}), State::Running),
            (
                json!({"terminated": {"exitCode": 0, "startedAt": at}, "terminationReason": "Completed"}),
                State::Ended,
            ),
            (
                json!({"terminated": {"exitCode": 1, "startedAt": at}, "terminationReason": "Continued"}),
                State::Ended,
            ),
            (json!({"terminated": {"exitCode": 1}, "terminationReason": "Skipped"}), State::NeverRan),
            // Of other controllers the kubelet's times stand in the status of a skipped step.
            (
                json!({"terminated": {"exitCode": 1, "startedAt": at}, "terminationReason": "Skipped"}),
                State::NeverRan,
            ),
            (json!({"terminated": {"exitCode": 127}, "terminationReason": "Error"}), State::Unstarted),
            (
                json!({"terminated": {"exitCode": 1}, "terminationReason": "TaskRunImagePullFailed"}),
                State::NeverRan,
            ),
        ];
        for (step, expected) in table {
            let found: StepState = serde_json::from_value(step.clone()).unwrap();
            assert_eq!(state(&found), expected, "{step}");
        }
    }

    #[test]
    fn a_container_with_several_steps_is_over_when_all_are() {
        use State::{Ended, NeverRan, Running, Unstarted, Waiting};
        let table: &[(&[State], State)] = &[
            (&[], Waiting),
            (&[Waiting, Waiting], Waiting),
            (&[Ended, Waiting], Running),
            (&[Ended, Running, Waiting], Running),
            (&[NeverRan, Waiting], Waiting),
            (&[NeverRan, Ended], Ended),
            (&[Ended, Unstarted, NeverRan], Ended),
            (&[NeverRan, NeverRan], NeverRan),
        ];
        for (states, expected) in table {
            let steps = states.iter().map(|state| Step {
                name: "a".to_owned(),
                container: "c".to_owned(),
                state: *state,
            });
            let attempt = Attempt {
                task: String::new(),
                task_run: String::new(),
                number: 1,
                pod: String::new(),
                steps: steps.collect(),
                company: None,
                over: false,
            };
            assert_eq!(attempt.state_of("c"), *expected, "{states:?}");
        }
    }
}
