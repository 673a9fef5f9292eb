//! Pods that are not carried out: what their tasks come to was said beforehand. No clock and no container here.

use std::collections::BTreeMap;

use ergon_api::ParamValue;
use ergon_engine::coordinate::{Command, Event, PodState, StepId};
use ergon_engine::pod::{AGENT, plan_of};
use ergon_wire::{Exit, ExitRecord, Millis, OnError, PodReport, StepPlan, StepResult, StepState, StopReason};
use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod, PodStatus};

use crate::test::{Mock, Said};

/// What tasks come to, by their names; `*` is each task that has no entry of its own.
#[derive(Debug, Clone, Default)]
pub struct Mocks(pub BTreeMap<String, Mock>);

/// How much of a task is mocked.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Mocked {
    Whole(Said),
    Steps(BTreeMap<String, Said>),
}

impl Mocks {
    /// What is mocked of a task in this try, counted from 0. A leg of a matrix may have an entry of its own, `test[1]`.
    pub(super) fn of(&self, task: &str, attempt: usize) -> Option<Mocked> {
        let whole_matrix = task.split_once('[').map_or(task, |(name, _)| name);
        let mock = self.0.get(task).or_else(|| self.0.get(whole_matrix)).or_else(|| self.0.get("*"))?;
        if !mock.steps.is_empty() {
            return Some(Mocked::Steps(mock.steps.clone()));
        }
        let of_try = mock.tries.get(attempt).or(mock.tries.last()).cloned();
        Some(Mocked::Whole(of_try.unwrap_or_else(|| Said {
            results: mock.results.clone(),
            task_results: BTreeMap::new(),
            exit_code: mock.exit_code,
            log: mock.log.clone(),
            takes: mock.takes,
        })))
    }
}

/// A pod whose one task is mocked.
#[derive(Debug)]
pub(super) struct MockPod {
    state: PodState,
    containers: Vec<String>,
    said: Said,
    /// The step that what was said is told of.
    speaker: usize,
    /// When which step ends.
    due: Vec<(Millis, StepId, ExitRecord)>,
    /// What was printed, by step.
    pub lines: Vec<(String, String)>,
}

impl MockPod {
    /// The pod as it is at its begin; none where it has no plan.
    pub fn start(pod: &Pod, said: Said, now: Millis) -> Option<Self> {
        let mut plan = plan_of(pod)?;
        let task = plan.tasks.first_mut()?;
        task.sidecars.clear();
        // A step whose failure is forgiven cannot fail the task.
        let decisive = task.steps.iter().rposition(|step| step.on_error == OnError::StopAndFail);
        let speaker = decisive.unwrap_or(task.steps.len().checked_sub(1)?);
        task.steps[speaker].when.clear();
        let ids: Vec<StepId> = (0..task.steps.len()).map(|step| StepId { task: 0, step }).collect();
        let spec = pod.spec.as_ref()?;
        let containers = spec.containers.iter().map(|container| container.name.clone());
        let containers = containers.filter(|name| name != AGENT).collect();
        let state = PodState::new(&plan).ok()?;
        let mut pod = Self { state, containers, said, speaker, due: Vec::new(), lines: Vec::new() };
        for id in ids {
            pod.handle(Event::Connected { id }, now);
        }
        pod.advance(now);
        Some(pod)
    }

    /// When something happens next.
    pub fn next(&self) -> Option<Millis> {
        self.due.iter().map(|(at, ..)| *at).min()
    }

    /// Lets happen what is due.
    pub fn advance(&mut self, now: Millis) {
        while let Some(first) = (0..self.due.len()).min_by_key(|at| self.due[*at].0)
            && self.due[first].0 <= now
        {
            let (_, id, record) = self.due.remove(first);
            self.handle(Event::Ended { id, record }, now);
        }
    }

    /// Ends it.
    pub fn stop(&mut self, now: Millis) {
        self.handle(Event::Stop { reason: StopReason::Cancelled, at: now }, now);
    }

    pub fn report(&self) -> PodReport {
        self.state.report()
    }

    /// The pod's last status, once it has ended.
    pub fn end(&self) -> Option<PodStatus> {
        self.state.is_finished().then(|| {
            let report = self.state.report();
            let code = |name: &str| {
                report.steps.iter().find(|step| step.container == name).map_or(0, |step| match &step.state {
                    StepState::Ended { record } => record.exit.code(),
                    StepState::Waiting | StepState::Running { .. } => 0,
                })
            };
            let statuses = self.containers.iter().map(|name| terminated(name, code(name)));
            PodStatus {
                phase: Some(if self.state.has_failed() { "Failed" } else { "Succeeded" }.to_owned()),
                container_statuses: Some(statuses.collect()),
                ..PodStatus::default()
            }
        })
    }

    fn handle(&mut self, event: Event, now: Millis) {
        for command in self.state.handle(event) {
            match command {
                Command::Run { id, command } => {
                    self.handle(Event::Started { id, at: now }, now);
                    let said = if id.step == self.speaker { self.said.clone() } else { Said::default() };
                    let step = &command.step;
                    let name = step.container.strip_prefix("step-").unwrap_or(&step.container).to_owned();
                    self.lines.extend(said.log.lines().map(|line| (name.clone(), line.to_owned())));
                    let said = Said { task_results: said.results, results: BTreeMap::new(), ..said };
                    let (at, record) = end_of(&said, step, &command.results, now);
                    self.due.push((at, id, record));
                }
                Command::Skip { id, exit } => {
                    self.handle(Event::Ended { id, record: ExitRecord::bare(exit, None, now) }, now);
                }
                Command::Stop { id, reason, .. } => {
                    let was_due = self.due.iter().position(|(_, due, _)| *due == id);
                    let started_at = was_due.and_then(|at| self.due.remove(at).2.started_at);
                    let record = ExitRecord::bare(stopped(reason), started_at, now);
                    self.handle(Event::Ended { id, record }, now);
                }
                Command::Refuse { .. } | Command::Report | Command::Finished => {}
            }
        }
    }
}

/// When and how a step ends of which this was said.
pub(super) fn end_of(said: &Said, step: &StepPlan, declared: &[String], now: Millis) -> (Millis, ExitRecord) {
    let unknown = |results: &BTreeMap<String, ParamValue>, declared: &[String]| {
        results.keys().find(|name| !declared.contains(name)).cloned()
    };
    let stray = unknown(&said.task_results, declared).or_else(|| unknown(&said.results, &step.step_results));
    if let Some(name) = stray {
        let message = format!("its mock has the result `{name}`, which is not declared");
        return (now, ExitRecord::bare(Exit::NotStarted { message }, None, now));
    }
    let takes = said.takes.map_or(0, ergon_api::Duration::as_millis).max(0);
    if let Some(limit) = step.timeout_ms.filter(|limit| *limit < takes) {
        return (now + limit, ExitRecord::bare(Exit::TimedOut, Some(now), now + limit));
    }
    let texts = |results: &BTreeMap<String, ParamValue>| {
        let texts = results.iter();
        texts.map(|(name, value)| StepResult { name: name.clone(), value: value.to_string() }).collect()
    };
    let record = ExitRecord {
        results: texts(&said.task_results),
        step_results: texts(&said.results),
        ..ExitRecord::bare(Exit::Exited { code: said.exit_code }, Some(now), now + takes)
    };
    (now + takes, record)
}

/// How a step ends that is stopped.
pub(super) fn stopped(reason: StopReason) -> Exit {
    match reason {
        StopReason::Cancelled => Exit::Cancelled,
        StopReason::TimedOut => Exit::TimedOut,
        StopReason::Over => Exit::Exited { code: 0 },
        StopReason::Interrupted => Exit::Interrupted { message: "told to end".to_owned() },
    }
}

fn terminated(name: &str, exit_code: i32) -> ContainerStatus {
    let reason = Some(if exit_code == 0 { "Completed" } else { "Error" }.to_owned());
    let terminated = ContainerStateTerminated { exit_code, reason, ..Default::default() };
    let state = ContainerState { terminated: Some(terminated), ..Default::default() };
    ContainerStatus { name: name.to_owned(), state: Some(state), ..Default::default() }
}
