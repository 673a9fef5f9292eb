//! What happens inside a pod: from what its steps did to what they are told next.
//!
//! The agent in a pod and a run on a laptop drive the same [`PodState`]. It knows nothing of sockets, processes or
//! clocks: times come in with the events, and a command is data that the shell carries out.

mod turn;
mod values;

use std::collections::BTreeMap;

use ergon_wire::{
    Exit, ExitRecord, Millis, OnError, PodPlan, PodReport, RunCommand, StepPlan, StepReport, StepState,
    StopReason, TaskPlan,
};

use serde::Deserialize;

use crate::fuse::{Begin, Inside, Next};

/// One step or sidecar of a plan, by the places of its task and of itself in [`TaskPlan::parts`], counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepId {
    pub task: usize,
    pub step: usize,
}

/// What the shell saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The step's shim is there and waits; it may come in any order and long before its turn.
    Connected { id: StepId },
    /// The step's command runs.
    Started { id: StepId, at: Millis },
    /// The step has ended. Also for a step that could not even connect, such as one without a container.
    Ended { id: StepId, record: ExitRecord },
    /// The connection broke and no end was reported: whatever happened, it was no success.
    Lost { id: StepId, at: Millis },
    /// The step's container is gone. Where its shim never came, that is its end; what one said that did come is on its way.
    Gone { id: StepId, at: Millis },
    /// End one of the tasks that share the pod, by its name. The others go on, as their pipeline run says.
    StopTask { task: String, at: Millis },
    /// End what runs of the tries before this one, counted from 0, of a task that shares the pod. The next try follows.
    StopTries { task: String, before: usize, at: Millis },
    /// Start no other task of those that share the pod, but for final ones. What runs goes on.
    Halt { at: Millis },
    /// The turn of the first task has come in a pod that was made ahead: [`Begin`], as it was told.
    Begin { with: Box<serde_json::Value>, at: Millis },
    /// End what runs and start nothing more. The first one counts.
    Stop { reason: StopReason, at: Millis },
}

/// What the shell does, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Run {
        id: StepId,
        command: Box<RunCommand>,
    },
    /// The step or sidecar never runs: its end is this one.
    Skip {
        id: StepId,
        exit: Exit,
    },
    /// End the command, by force once the grace period is over.
    Stop {
        id: StepId,
        reason: StopReason,
        grace_ms: Millis,
    },
    /// Close the connection that was just announced: the step has, or had, another one.
    Refuse {
        id: StepId,
    },
    /// [`PodState::report`] changed.
    Report,
    /// Everything has ended and each shim knows: there is nothing more to wait for.
    Finished,
}

/// Where all steps of a pod stand.
///
/// Steps of one task run in order, each once the one before has ended well; the first once all sidecars of its task have
/// started. A sidecar may end early, and is ended after the last step. Tasks of a pipeline run that share the pod start
/// when the run says so ([`Inside`]); without one, all start at once.
#[derive(Debug, Clone)]
pub struct PodState {
    tasks: Vec<Task>,
    inside: Option<Box<Inside>>,
    sequence: u64,
    stopped: bool,
    finished: bool,
}

#[derive(Debug, Clone)]
struct Task {
    plan: TaskPlan,
    steps: Vec<Step>,
    sidecars: Vec<Step>,
    /// It is one of a pipeline run.
    is_shared: bool,
    /// Its turn has not come, or never will.
    held: bool,
    /// No step of this task starts any more.
    failed: bool,
    /// Its end was told to the pipeline run.
    told: bool,
}

/// A step, or a sidecar.
#[derive(Debug, Clone)]
struct Step {
    phase: Phase,
    link: Link,
}

#[derive(Debug, Clone)]
enum Phase {
    Waiting,
    /// Told to run; its command may run already.
    Told,
    /// Told to end without a run, because of its conditions.
    Skipping(Exit),
    Running {
        started_at: Millis,
    },
    Ended(ExitRecord),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    NotYet,
    Open,
    Closed,
}

impl PodState {
    /// All steps wait. A plan without steps is finished at once: see [`Self::is_finished`].
    ///
    /// # Errors
    /// The plan's part of a pipeline run is not as this version writes it.
    pub fn new(plan: &PodPlan) -> Result<Self, serde_json::Error> {
        let inside = Inside::new(plan)?.map(Box::new);
        let waiting = |count| vec![Step { phase: Phase::Waiting, link: Link::NotYet }; count];
        let tasks = plan.tasks.iter().map(|plan| Task {
            steps: waiting(plan.steps.len()),
            sidecars: waiting(plan.sidecars.len()),
            plan: plan.clone(),
            is_shared: inside.is_some(),
            held: inside.is_some(),
            failed: false,
            told: inside.is_none(),
        });
        let mut state = Self { tasks: tasks.collect(), inside, sequence: 0, stopped: false, finished: false };
        // Nobody is connected yet, so there is nobody to tell.
        state.go_on(0, &mut Vec::new());
        if state.inside.as_ref().is_some_and(|inside| inside.waits_for().is_some()) {
            // That it is there and waits is the first thing to tell.
            state.sequence = 1;
        }
        state.finished = state.is_finished();
        Ok(state)
    }

    /// Takes in one event. Events that no longer change anything give no commands.
    pub fn handle(&mut self, event: Event) -> Vec<Command> {
        let mut commands = Vec::new();
        let at = match &event {
            Event::Ended { record, .. } => Some(record.finished_at),
            Event::Lost { at, .. }
            | Event::Gone { at, .. }
            | Event::StopTask { at, .. }
            | Event::StopTries { at, .. }
            | Event::Begin { at, .. } => Some(*at),
            _ => None,
        };
        let changed = match event {
            Event::Connected { id } => self.connected(id, &mut commands),
            Event::Started { id, at } => self.started(id, at, &mut commands),
            Event::Ended { id, record } => self.ended(id, record, &mut commands),
            Event::Lost { id, at } => self.lost(id, at, &mut commands),
            Event::Gone { id, at } => {
                let never_came = self.step(id).is_some_and(|step| step.link == Link::NotYet);
                never_came && self.lost(id, at, &mut commands)
            }
            Event::StopTask { task, at } => self.stop_task(&task, at, &mut commands),
            Event::StopTries { task, before, at } => self.stop_tries(&task, before, at, &mut commands),
            Event::Halt { at } => self.halt(at, &mut commands),
            Event::Begin { with, at } => self.begin(&with, at, &mut commands),
            Event::Stop { reason, at } => self.stop(reason, at, &mut commands),
        };
        if let Some(at) = at.filter(|_| changed) {
            self.tell(at, &mut commands);
        }
        if changed {
            self.sequence += 1;
            commands.push(Command::Report);
        }
        if !self.finished && self.is_finished() {
            self.finished = true;
            commands.push(Command::Finished);
        }
        commands
    }

    /// The steps' whole state, in the order of the plan. What sidecars do is for the kubelet to tell.
    pub fn report(&self) -> PodReport {
        let steps = self.tasks.iter().flat_map(Task::report);
        let done = self.tasks.iter().all(Task::is_over);
        let waits_for = self.inside.as_ref().filter(|_| !done).and_then(|inside| inside.waits_for());
        PodReport {
            sequence: self.sequence,
            steps: steps.collect(),
            done,
            waits_for: waits_for.map(<[String]>::to_vec),
        }
    }

    /// Whether every step and sidecar has ended and every shim knows.
    pub fn is_finished(&self) -> bool {
        let mut parts = self.tasks.iter().flat_map(|task| task.steps.iter().chain(&task.sidecars));
        parts.all(|part| part.has_ended() && part.link == Link::Closed)
    }

    /// Whether a task has failed, or was stopped before its last step had ended. A try that another one followed is none.
    pub fn has_failed(&self) -> bool {
        let is_after = |task: &Task, other: &Task| {
            other.plan.name == task.plan.name && other.plan.retry > task.plan.retry && !other.held
        };
        self.tasks.iter().any(|task| task.failed && !self.tasks.iter().any(|other| is_after(task, other)))
    }

    /// Tells the pipeline run which tasks have ended, and starts those whose turn has come.
    fn tell(&mut self, at: Millis, commands: &mut Vec<Command>) {
        // What is started may be over already, where it was ended before its turn.
        while let Some(inside) = &mut self.inside {
            let mut news = false;
            for (place, task) in self.tasks.iter_mut().enumerate() {
                if !task.told && !task.held && task.is_over() {
                    task.told = true;
                    news = true;
                    inside.ended(place, task.report().collect(), at);
                }
            }
            if !news {
                return;
            }
            self.go_on(at, commands);
        }
    }

    /// Starts the tasks whose turn has come, and gives up those that will not start.
    fn go_on(&mut self, at: Millis, commands: &mut Vec<Command>) -> bool {
        let Some(inside) = &mut self.inside else { return false };
        if self.stopped {
            return false;
        }
        let mut changed = false;
        for next in inside.advance(at) {
            match next {
                Next::Start(place, plan) => {
                    // One that is told already was given up meanwhile.
                    if let Some(task) = self.tasks.get_mut(place).filter(|task| !task.told) {
                        task.plan = *plan;
                        task.held = false;
                        self.run_next(place, commands);
                    }
                }
                Next::Never(place) if place < self.tasks.len() => {
                    changed |= self.give_up(place, at, commands);
                }
                Next::Never(_) => {}
            }
        }
        changed
    }

    fn step(&mut self, id: StepId) -> Option<&mut Step> {
        self.tasks.get_mut(id.task)?.part(id.step)
    }

    fn is_sidecar(&self, id: StepId) -> bool {
        self.tasks.get(id.task).is_some_and(|task| id.step >= task.steps.len())
    }

    fn connected(&mut self, id: StepId, commands: &mut Vec<Command>) -> bool {
        match self.step(id) {
            Some(step) if step.link == Link::NotYet => {
                step.link = Link::Open;
                if let Phase::Ended(record) = &step.phase {
                    commands.push(Command::Skip { id, exit: record.exit.clone() });
                } else if self.is_sidecar(id) {
                    self.run_sidecar(id, commands);
                } else {
                    self.run_next(id.task, commands);
                }
            }
            _ => commands.push(Command::Refuse { id }),
        }
        false
    }

    fn started(&mut self, id: StepId, at: Millis, commands: &mut Vec<Command>) -> bool {
        match self.step(id) {
            Some(Step { phase: phase @ Phase::Told, .. }) => *phase = Phase::Running { started_at: at },
            _ => return false,
        }
        let is_sidecar = self.is_sidecar(id);
        if is_sidecar {
            self.run_next(id.task, commands);
        }
        !is_sidecar
    }

    fn ended(&mut self, id: StepId, mut record: ExitRecord, commands: &mut Vec<Command>) -> bool {
        let Some(step) = self.step(id) else { return false };
        step.link = Link::Closed;
        // What was never told to run did not succeed, whoever says so; and only we say that a condition did not hold.
        record.exit = match (&step.phase, record.exit) {
            (_, exit @ (Exit::NotStarted { .. } | Exit::Interrupted { .. })) => exit,
            (Phase::Skipping(told), _) => told.clone(),
            (Phase::Waiting, _) => {
                Exit::Interrupted { message: "its shim ended before it was told to run".to_owned() }
            }
            (_, Exit::WhenFalse) => {
                Exit::Interrupted { message: "its shim did not run what it was told to".to_owned() }
            }
            (_, exit) => exit,
        };
        self.end(id, record, commands)
    }

    fn lost(&mut self, id: StepId, at: Millis, commands: &mut Vec<Command>) -> bool {
        let Some(step) = self.step(id) else { return false };
        step.link = Link::Closed;
        let (started_at, message) = match step.phase {
            Phase::Waiting => (None, "its container ended before its turn came"),
            Phase::Told | Phase::Skipping(_) => {
                (None, "its container ended before its command was known to have started")
            }
            Phase::Running { started_at } => {
                (Some(started_at), "its container ended before the end of its command was reported")
            }
            Phase::Ended(_) => return false,
        };
        let exit = Exit::Interrupted { message: message.to_owned() };
        self.end(id, ExitRecord { started_at, ..record(exit, at) }, commands)
    }

    fn stop_task(&mut self, name: &str, at: Millis, commands: &mut Vec<Command>) -> bool {
        if let Some(inside) = &mut self.inside {
            inside.no_more_tries(name);
        }
        self.stop_tries(name, usize::MAX, at, commands)
    }

    fn stop_tries(&mut self, name: &str, before: usize, at: Millis, commands: &mut Vec<Command>) -> bool {
        let mut changed = false;
        for place in 0..self.tasks.len() {
            let task = &self.tasks[place];
            let is_meant = task.is_shared && task.plan.name == name && task.plan.retry < before;
            // Once is enough: what is told again finds that it has failed.
            if is_meant && !task.failed && !task.is_over() {
                self.end_running(place, StopReason::Cancelled, commands);
                changed |= self.skip_waiting(place, at, commands);
            }
        }
        changed
    }

    fn halt(&mut self, at: Millis, commands: &mut Vec<Command>) -> bool {
        let Some(inside) = &mut self.inside else { return false };
        inside.halt();
        self.go_on(at, commands)
    }

    /// Begins with what is told. What cannot be read is nothing to wait for any longer: the pod ends, as if it were lost.
    fn begin(&mut self, with: &serde_json::Value, at: Millis, commands: &mut Vec<Command>) -> bool {
        let Some(inside) = &mut self.inside else { return false };
        let Ok(begin) = Begin::deserialize(with) else {
            return self.stop(StopReason::Interrupted, at, commands);
        };
        if !inside.begin(begin) {
            return false;
        }
        self.go_on(at, commands);
        true
    }

    /// Ends a task that was not started.
    fn give_up(&mut self, place: usize, at: Millis, commands: &mut Vec<Command>) -> bool {
        self.tasks[place].told = true;
        let changed = self.skip_waiting(place, at, commands);
        // It did not fail: whether it should have run is for the pipeline run to say.
        self.tasks[place].failed = false;
        changed
    }

    /// Tells the steps of a task that run to end. Its sidecars are ended after it.
    fn end_running(&self, place: usize, reason: StopReason, commands: &mut Vec<Command>) {
        let task = &self.tasks[place];
        for (at_step, (step, plan)) in task.steps.iter().zip(&task.plan.steps).enumerate() {
            if matches!(step.phase, Phase::Told | Phase::Running { .. }) {
                let id = StepId { task: place, step: at_step };
                commands.push(Command::Stop { id, reason, grace_ms: plan.grace_ms });
            }
        }
    }

    fn stop(&mut self, reason: StopReason, at: Millis, commands: &mut Vec<Command>) -> bool {
        if std::mem::replace(&mut self.stopped, true) {
            return false;
        }
        let mut changed = false;
        for at_task in 0..self.tasks.len() {
            if self.tasks[at_task].is_over() {
                continue;
            }
            self.end_running(at_task, reason, commands);
            changed |= self.skip_waiting(at_task, at, commands);
        }
        changed
    }

    /// Puts down how a step ended, and lets its task go on or fail. A sidecar's end fails nothing.
    fn end(&mut self, id: StepId, record: ExitRecord, commands: &mut Vec<Command>) -> bool {
        if self.is_sidecar(id) {
            if let Some(sidecar) = self.step(id).filter(|sidecar| !sidecar.has_ended()) {
                sidecar.phase = Phase::Ended(record);
                self.run_next(id.task, commands);
            }
            return false;
        }
        let Some(task) = self.tasks.get_mut(id.task) else { return false };
        let (Some(step), Some(plan)) = (task.steps.get_mut(id.step), task.plan.steps.get(id.step)) else {
            return false;
        };
        if step.has_ended() {
            return false;
        }
        let goes_on = goes_on(plan, &record);
        let at = record.finished_at;
        step.phase = Phase::Ended(record);
        if goes_on {
            self.run_next(id.task, commands);
            self.end_sidecars(id.task, at, commands);
        } else {
            self.skip_waiting(id.task, at, commands);
        }
        true
    }

    /// Starts a sidecar as soon as its container is there.
    fn run_sidecar(&mut self, id: StepId, commands: &mut Vec<Command>) {
        let Some(task) = self.tasks.get_mut(id.task) else { return };
        let (failed, plan) = (task.failed, task.plan.part(id.step).cloned());
        let (Some(sidecar), Some(step)) = (task.part(id.step), plan) else { return };
        if failed {
            sidecar.phase = Phase::Skipping(Exit::Skipped);
            commands.push(Command::Skip { id, exit: Exit::Skipped });
        } else {
            sidecar.phase = Phase::Told;
            let command = RunCommand { step, results: Vec::new(), values: BTreeMap::new(), company: None };
            commands.push(Command::Run { id, command: Box::new(command) });
        }
    }

    /// Ends the sidecars of a task once its steps have all ended. One that never came has nothing to do any more.
    fn end_sidecars(&mut self, task: usize, at: Millis, commands: &mut Vec<Command>) {
        let at_task = task;
        let task = &mut self.tasks[at_task];
        if !task.is_over() {
            return;
        }
        let first = task.steps.len();
        for (at_sidecar, (sidecar, plan)) in task.sidecars.iter_mut().zip(&task.plan.sidecars).enumerate() {
            let id = StepId { task: at_task, step: first + at_sidecar };
            match sidecar.phase {
                Phase::Told | Phase::Running { .. } => {
                    commands.push(Command::Stop { id, reason: StopReason::Over, grace_ms: plan.grace_ms });
                }
                Phase::Waiting => sidecar.phase = Phase::Ended(record(Exit::Skipped, at)),
                Phase::Skipping(_) | Phase::Ended(_) => {}
            }
        }
    }

    /// Runs the first step that has not ended, if it waits, all before it ended well and each sidecar has started.
    fn run_next(&mut self, task: usize, commands: &mut Vec<Command>) {
        let at_task = task;
        let task = &mut self.tasks[at_task];
        if task.held || task.failed || self.stopped || !task.sidecars.iter().all(Step::has_started) {
            return;
        }
        let Some(at_step) = task.steps.iter().position(|step| !step.has_ended()) else { return };
        let step = &task.steps[at_step];
        if !matches!(step.phase, Phase::Waiting) || step.link != Link::Open {
            return;
        }
        let before: Vec<_> = task.steps[..at_step].iter().map(Step::record).zip(&task.plan.steps).collect();
        let id = StepId { task: at_task, step: at_step };
        let (phase, command) = match turn::take(&task.plan, at_step, &before) {
            Ok(command) => (Phase::Told, Command::Run { id, command: Box::new(command) }),
            Err(exit) => (Phase::Skipping(exit.clone()), Command::Skip { id, exit }),
        };
        task.steps[at_step].phase = phase;
        commands.push(command);
    }

    /// Ends the task: what still waits never runs. Shims that connect later are told then.
    fn skip_waiting(&mut self, task: usize, at: Millis, commands: &mut Vec<Command>) -> bool {
        let at_task = task;
        let task = &mut self.tasks[at_task];
        task.failed = true;
        let mut changed = false;
        for (at_step, step) in task.steps.iter_mut().enumerate() {
            if matches!(step.phase, Phase::Waiting) {
                step.phase = Phase::Ended(record(Exit::Skipped, at));
                changed = true;
                if step.link == Link::Open {
                    let id = StepId { task: at_task, step: at_step };
                    commands.push(Command::Skip { id, exit: Exit::Skipped });
                }
            }
        }
        self.end_sidecars(at_task, at, commands);
        changed
    }
}

impl Task {
    /// All of its steps have ended.
    fn is_over(&self) -> bool {
        self.steps.iter().all(Step::has_ended)
    }

    fn report(&self) -> impl Iterator<Item = StepReport> {
        self.plan.steps.iter().zip(&self.steps).map(|(plan, step)| StepReport {
            container: plan.container.clone(),
            task: if self.is_shared { self.plan.name.clone() } else { String::new() },
            state: match &step.phase {
                Phase::Waiting | Phase::Told | Phase::Skipping(_) => StepState::Waiting,
                Phase::Running { started_at } => StepState::Running { started_at: *started_at },
                Phase::Ended(record) => StepState::Ended { record: record.clone() },
            },
        })
    }

    fn part(&mut self, at: usize) -> Option<&mut Step> {
        let steps = self.steps.len();
        if at < steps { self.steps.get_mut(at) } else { self.sidecars.get_mut(at - steps) }
    }
}

impl Step {
    fn has_started(&self) -> bool {
        matches!(self.phase, Phase::Running { .. } | Phase::Ended(_))
    }

    fn has_ended(&self) -> bool {
        self.record().is_some()
    }

    fn record(&self) -> Option<&ExitRecord> {
        match &self.phase {
            Phase::Ended(record) => Some(record),
            _ => None,
        }
    }
}

/// Whether the next step may run. `onError: continue` forgives an exit code alone, as Tekton has it: a step that
/// timed out, could not start, or whose results could not be taken fails its task all the same.
fn goes_on(plan: &StepPlan, record: &ExitRecord) -> bool {
    let forgiven = plan.on_error == OnError::Continue && matches!(record.exit, Exit::Exited { .. });
    let well = record.exit.is_success() || record.exit == Exit::WhenFalse;
    record.results_error.is_none() && (well || forgiven)
}

fn record(exit: Exit, finished_at: Millis) -> ExitRecord {
    ExitRecord::bare(exit, None, finished_at)
}

#[cfg(test)]
mod tests;
