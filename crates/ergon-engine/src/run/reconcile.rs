//! The decision itself.

use ergon_api::{
    Config, Duration, PipelineRun, PipelineRunStatus, PipelineTask, reasons::pipeline_run as reasons,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::child::{Made, Why};
use super::children::Making;
use super::conclude::{self, Progress};
use super::find::{self, Found, Seen};
use super::prepare::{self, Prepared};
use super::skip::{self, Skip};
use super::state::{self, States, TaskState};
use super::validate::{self, Checked};
use super::{Observed, artifacts, matrix, results};
use crate::action::{Action, Decision, EventKind, Outcome};
use crate::expr::Scope;
use crate::provenance;
use crate::task::Invalid;

/// Decides on one pipeline run. Any observation, however old, gives a safe decision.
pub fn reconcile(observed: &Observed<'_>, now: Timestamp) -> Outcome<PipelineRunStatus> {
    let mut outcome = decide(observed, now);
    if let Outcome::Decided(decision) = &mut outcome
        && !observed.run.is_done()
        && decision.status.start_time.is_some()
    {
        provenance::record(&mut decision.status.provenance, observed.config);
    }
    outcome
}

fn decide(observed: &Observed<'_>, now: Timestamp) -> Outcome<PipelineRunStatus> {
    let run = observed.run;
    let old = run.status.clone().unwrap_or_default();
    if run.is_done() {
        return decided(Vec::new(), old, None);
    }
    if run.is_pending() && old.start_time.is_none() {
        let message = format!("PipelineRun \"{}\" is pending", run.name());
        return decided(Vec::new(), conclude::unknown(old, reasons::PENDING, &message, now), None);
    }
    if run.is_cancelled() {
        let message = format!("PipelineRun \"{}\" was cancelled", run.name());
        return end(observed, old, reasons::CANCELLED, &message, Why::Cancelled, now);
    }
    let clock = Clock::new(run, &old, observed.config, now);
    if let Some(limit) = clock.pipeline_over {
        let message = format!("PipelineRun \"{}\" failed to finish within \"{limit}\"", run.name());
        return end(observed, old, reasons::TIMED_OUT, &message, Why::TimedOut, now);
    }
    // The spec in the status is carried out once it is there, so that a later edit changes nothing.
    let advanced = match &old.pipeline_spec {
        Some(spec) => prepare::resume(observed.group, run, spec)
            .and_then(|prepared| advance(observed, &old, &prepared, &clock, now)),
        None => match find::pipeline(observed) {
            Ok(Seen::Found(found)) => return begin(observed, old, &found, &clock, now),
            Ok(Seen::Need(need)) => return Outcome::Needs(vec![need]),
            Ok(Seen::Waiting) => return resolving(observed, old, reasons::RESOLVING_PIPELINE_REF, now),
            Err(invalid) => Err(invalid),
        },
    };
    match advanced {
        Ok(decision) => Outcome::Decided(Box::new(decision)),
        Err(invalid) => fail(observed, old, &invalid, now),
    }
}

/// The first pass with the Pipeline at hand: all of it is checked before anything starts.
fn begin(
    observed: &Observed<'_>,
    old: PipelineRunStatus,
    found: &Found,
    clock: &Clock,
    now: Timestamp,
) -> Outcome<PipelineRunStatus> {
    let (run, adding) = found.given_to(observed.group, observed.run);
    let observed = &Observed { run: &run, ..*observed };
    let advanced = prepare::prepare(observed.group, &run, &found.spec).and_then(|prepared| {
        Ok(match validate::check(observed, &prepared)? {
            Checked::Needs(needs) => Err(Outcome::Needs(needs)),
            Checked::Waiting => Err(resolving(observed, old.clone(), reasons::RESOLVING_TASK_REF, now)),
            Checked::Fine => Ok(advance(observed, &old, &prepared, clock, now)?),
        })
    });
    match advanced {
        Ok(Ok(mut decision)) => {
            decision.actions.splice(0..0, adding);
            found.source_into(&mut decision.status);
            Outcome::Decided(Box::new(decision))
        }
        Ok(Err(outcome)) => outcome,
        Err(invalid) => fail(observed, old, &invalid, now),
    }
}

/// A resolver is fetching the Pipeline, or a Task of it.
fn resolving(
    observed: &Observed<'_>,
    old: PipelineRunStatus,
    reason: &str,
    now: Timestamp,
) -> Outcome<PipelineRunStatus> {
    let run = observed.run;
    let message = format!("PipelineRun {}/{} awaiting remote resource", run.namespace(), run.name());
    let mut status = conclude::unknown(old, reason, &message, now);
    status.start_time.get_or_insert(Time(now));
    let wake_at = Clock::new(run, &status, observed.config, now).wake_at(run, &status);
    decided(Vec::new(), status, wake_at)
}

/// Starts what may start, ends what must end, and writes down where the run stands.
fn advance(
    observed: &Observed<'_>,
    old: &PipelineRunStatus,
    prepared: &Prepared,
    clock: &Clock,
    now: Timestamp,
) -> Result<Decision<PipelineRunStatus>, Invalid> {
    let mut pass = Pass::new(observed, prepared);
    if old.pipeline_spec.is_none() {
        let claims = prepared.claims.iter().cloned();
        pass.actions.extend(claims.map(|claim| Action::CreateClaim(Box::new(claim))));
        pass.actions.push(conclude::event(EventKind::Normal, reasons::STARTED, ""));
    }
    let halt = pass.halt(clock);
    pass.start_tasks(halt)?;
    let tasks_done = pass.are_done(&prepared.spec.tasks);
    let statuses = results::statuses(&prepared.spec, &pass.states);
    let mut status = old.clone();
    if tasks_done && !prepared.spec.finally.is_empty() {
        status.finally_start_time.get_or_insert(Time(now));
        pass.start_finally(&statuses, clock.finally_over)?;
    }
    status.start_time.get_or_insert(Time(now));
    status.pipeline_spec.get_or_insert_with(|| prepared.spec.clone());
    let Pass { states, started, mut actions, .. } = pass;
    let progress =
        Progress { observed, prepared, states: &states, statuses: &statuses, started: &started, halt };
    let done = progress.write(&mut status, tasks_done, now);
    actions.extend(done.event);
    let wake_at = if done.finished { None } else { clock.wake_at(observed.run, &status) };
    Ok(Decision { actions, status, wake_at })
}

/// One pass over a run's tasks: what is known, and what it comes to.
struct Pass<'a> {
    observed: &'a Observed<'a>,
    prepared: &'a Prepared,
    states: States<'a>,
    actions: Vec<Action>,
    /// The runs that this pass makes, with the pipeline task of each.
    started: Vec<(String, Made)>,
}

impl<'a> Pass<'a> {
    fn new(observed: &'a Observed<'a>, prepared: &'a Prepared) -> Self {
        let mut states = state::states(observed, prepared.spec.all_tasks());
        expect_legs(&prepared.spec.tasks, &mut states, &Scope::default());
        Self { observed, prepared, states, actions: Vec::new(), started: Vec::new() }
    }

    /// Why no more tasks of the graph start, if they do not.
    fn halt(&self, clock: &Clock) -> Option<Skip> {
        // Who cancels is told so, even when tasks failed on the way.
        if self.observed.run.is_gracefully_cancelled() {
            return Some(Skip::GracefullyCancelled);
        }
        let tasks = self.prepared.spec.tasks.iter();
        let stopping = tasks
            .filter_map(|task| self.states.get(task.name.as_str()))
            .any(super::state::TaskState::stops_others);
        if clock.tasks_over {
            // The tasks that were ended for it are cancelled, which is not why the others are skipped.
            Some(Skip::TasksTimeout)
        } else if stopping {
            Some(Skip::Stopping)
        } else if self.observed.run.is_gracefully_stopped() {
            Some(Skip::GracefullyStopped)
        } else {
            None
        }
    }

    fn are_done(&self, tasks: &[PipelineTask]) -> bool {
        tasks.iter().all(|task| self.states.get(task.name.as_str()).is_some_and(TaskState::is_done))
    }

    fn start_tasks(&mut self, halt: Option<Skip>) -> Result<(), Invalid> {
        skip::mark_tasks(self.prepared, &mut self.states, halt)?;
        let stopping = self.states.values().any(|state| state.invalid.is_some());
        match halt {
            Some(Skip::GracefullyCancelled) => self.stop(&self.prepared.spec.tasks, Why::GracefullyCancelled),
            Some(Skip::TasksTimeout) => self.stop(&self.prepared.spec.tasks, Why::TimedOut),
            Some(_) => {}
            None => {
                for name in self.prepared.graph.order() {
                    let parents = self.prepared.graph.parents(name);
                    let ready =
                        parents.iter().all(|parent| self.states.get(parent).is_some_and(TaskState::is_done));
                    if ready && !stopping {
                        self.start(name, &Scope::default(), false)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn start_finally(&mut self, statuses: &Scope, timed_out: bool) -> Result<(), Invalid> {
        expect_legs(&self.prepared.spec.finally, &mut self.states, statuses);
        skip::mark_finally(self.prepared, &mut self.states, statuses, timed_out)?;
        if timed_out {
            self.stop(&self.prepared.spec.finally, Why::TimedOut);
            return Ok(());
        }
        for task in &self.prepared.spec.finally {
            self.start(&task.name, statuses, true)?;
        }
        Ok(())
    }

    /// Makes the runs of a task that are not there yet.
    fn start(&mut self, name: &str, statuses: &Scope, finally: bool) -> Result<(), Invalid> {
        let Some(state) = self.states.get(name) else { return Ok(()) };
        if state.is_done() || state.runs.len() >= state.expected {
            return Ok(());
        }
        let mut scope = results::available(state.task, &self.states);
        scope.extend(&artifacts::known(&self.states));
        scope.extend(&results::lengths(state.task, &self.states));
        scope.extend(&results::of_bindings(self.prepared, &self.states));
        scope.extend(statuses);
        let making = Making {
            group: self.observed.group,
            run: self.observed.run,
            ancestors: self.observed.ancestors,
            prepared: self.prepared,
            scope: &scope,
            config: self.observed.config,
            finally,
        };
        for child in making.runs(state.task)? {
            if !state.runs.iter().any(|known| known.name() == child.child().name()) {
                self.started.push((name.to_owned(), child.clone()));
                self.actions.push(child.create());
            }
        }
        Ok(())
    }

    fn stop(&mut self, tasks: &[PipelineTask], why: Why) {
        let states = tasks.iter().filter_map(|task| self.states.get(task.name.as_str()));
        let actions: Vec<Action> =
            states.flat_map(|state| &state.runs).filter_map(|run| run.stop(why)).collect();
        self.actions.extend(actions);
    }
}

/// How many legs each matrix has, as soon as that can be known.
fn expect_legs(tasks: &[PipelineTask], states: &mut States<'_>, statuses: &Scope) {
    for task in tasks {
        let Some(matrix) = &task.matrix else { continue };
        let Ok(mut scope) = results::for_task(task, states) else { continue };
        scope.extend(statuses);
        let matrix = matrix::expand(matrix, &scope);
        // What is wrong with it is told when its runs are to be made.
        let legs = if matrix::check(&task.name, &matrix).is_ok() { matrix::legs(&matrix).len() } else { 1 };
        if let Some(state) = states.get_mut(task.name.as_str()) {
            state.expected = legs.max(1);
        }
    }
}

/// Cancelled or timed out: all children end, nothing else starts.
fn end(
    observed: &Observed<'_>,
    old: PipelineRunStatus,
    reason: &str,
    message: &str,
    why: Why,
    now: Timestamp,
) -> Outcome<PipelineRunStatus> {
    let mut actions: Vec<Action> = observed.children.iter().filter_map(|child| child.stop(why)).collect();
    let mut status = old;
    status.start_time.get_or_insert(Time(now));
    status.completion_time = Some(Time(now));
    conclude::known_children(observed, &mut status);
    let status = conclude::failed(status, reason, message, now);
    actions.push(conclude::event(EventKind::Warning, reasons::FAILED, message));
    decided(actions, status, None)
}

/// The user's mistake: the run fails, and what runs already is ended.
fn fail(
    observed: &Observed<'_>,
    old: PipelineRunStatus,
    invalid: &Invalid,
    now: Timestamp,
) -> Outcome<PipelineRunStatus> {
    end(observed, old, invalid.reason, &invalid.message, Why::Failed, now)
}

/// Which limits of time have passed.
#[derive(Debug, Clone, Copy)]
struct Clock {
    pipeline_limit: Option<Duration>,
    /// The limit, where it has passed.
    pipeline_over: Option<Duration>,
    tasks_over: bool,
    finally_over: bool,
    now: Timestamp,
}

impl Clock {
    fn new(run: &PipelineRun, status: &PipelineRunStatus, config: &Config, now: Timestamp) -> Self {
        let start = status.start_time.as_ref().map(|start| start.0);
        let finally = status.finally_start_time.as_ref().map(|start| start.0);
        let pipeline_limit = run.pipeline_timeout(config.defaults.timeout);
        let over = |start: Option<Timestamp>, limit: Option<Duration>| {
            after(start, limit).filter(|end| *end <= now).and(limit)
        };
        Self {
            pipeline_limit,
            pipeline_over: over(start, pipeline_limit),
            // Once `finally` has begun, what counts is whether the tasks were in time until then.
            tasks_over: after(start, run.tasks_timeout()).is_some_and(|end| end <= finally.unwrap_or(now)),
            finally_over: over(finally, run.finally_timeout()).is_some(),
            now,
        }
    }

    /// The next moment at which a limit passes.
    fn wake_at(&self, run: &PipelineRun, status: &PipelineRunStatus) -> Option<Timestamp> {
        let start = status.start_time.as_ref().map(|start| start.0);
        let finally = status.finally_start_time.as_ref().map(|start| start.0);
        [
            after(start, self.pipeline_limit),
            after(start, run.tasks_timeout()),
            after(finally, run.finally_timeout()),
        ]
        .into_iter()
        .flatten()
        .filter(|moment| *moment > self.now)
        .min()
    }
}

fn after(start: Option<Timestamp>, limit: Option<Duration>) -> Option<Timestamp> {
    start?.checked_add(SignedDuration::from_millis(limit?.as_millis())).ok()
}

fn decided(
    actions: Vec<Action>,
    status: PipelineRunStatus,
    wake_at: Option<Timestamp>,
) -> Outcome<PipelineRunStatus> {
    Outcome::Decided(Box::new(Decision { actions, status, wake_at }))
}
