//! One try of a task: its steps' containers, one after another.

use std::sync::Mutex;

use ergon_api::{TaskRun, TaskRunStatus};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::watch;

use super::Reader;
use super::container::{self, Target};
use super::pod::PodView;
use crate::run::task_label;

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
        state: match (&step.terminated, &step.running) {
            (Some(_), _) => State::Ended,
            (None, Some(_)) => State::Running,
            (None, None) => State::Waiting,
        },
    });
    Some(Attempt {
        task: task_label(run).to_owned(),
        task_run: run.name().to_owned(),
        number,
        pod: status.pod_name.clone().filter(|pod| !pod.is_empty())?,
        steps: steps.collect(),
        over,
    })
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
        let ended = |container: &String| {
            now.steps.iter().any(|step| step.container == *container && step.state == State::Ended)
        };
        let next = now.steps.iter().find(|step| !begun.contains(&step.container));
        match next {
            Some(step) if open.is_empty() || live.as_ref().is_some_and(ended) => {
                // Steps that share a container share its log, and are read under the first one's name.
                begun.push(step.container.clone());
                if wanted(reader, &step.name) {
                    live = (step.state != State::Ended).then(|| step.container.clone());
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

/// Reads what there is now.
pub async fn read(reader: &Reader, attempt: &Attempt) -> bool {
    let mut done: Vec<&str> = Vec::new();
    for step in &attempt.steps {
        if done.contains(&step.container.as_str()) || !wanted(reader, &step.name) {
            continue;
        }
        done.push(&step.container);
        let target = Target { step: step.name.clone(), container: step.container.clone() };
        if !container::read(reader, attempt, &target, step.state).await {
            return false;
        }
    }
    true
}

fn wanted(reader: &Reader, step: &str) -> bool {
    reader.options.steps.is_empty() || reader.options.steps.iter().any(|name| name == step)
}
