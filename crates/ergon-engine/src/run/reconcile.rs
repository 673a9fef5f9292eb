//! The decision itself.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use ergon_api::{
    Config, Duration, PipelineRun, PipelineRunStatus, PipelineTask, reasons::pipeline_run as reasons,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::ahead::{Ahead, Ready};
use super::child::{Made, Why};
use super::children::Making;
use super::conclude::{self, Progress};
use super::find::{self, Found, Seen};
use super::lost::{self, Lost, Turn};
use super::prepare::{self, Prepared};
use super::results::{self, Ends};
use super::share::{self, Place};
use super::skip::{self, Skip};
use super::state::{States, TaskState};
use super::validate::{self, Checked};
use super::{Observed, artifacts, claims, matrix};
use crate::action::{Action, Decision, EventKind, Need, Outcome};
use crate::provenance;
use crate::task::Invalid;

/// How many runs of tasks one decision makes: what it makes is in memory as a whole.
const MOST_AT_ONCE: usize = 512;

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
        Some(spec) => prepare::resume(observed.group, run, spec, observed.plan)
            .and_then(|prepared| advance(observed, &old, &prepared, &clock, now)),
        None => match find::pipeline(observed) {
            Ok(Seen::Found(found)) => return begin(observed, old, &found, &clock, now),
            Ok(Seen::Need(need)) => return Outcome::Needs(vec![need]),
            Ok(Seen::Waiting) => return resolving(observed, old, reasons::RESOLVING_PIPELINE_REF, now),
            Err(invalid) => Err(invalid),
        },
    };
    advanced.unwrap_or_else(|invalid| fail(observed, old, &invalid, now))
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
    let advanced = prepare::prepare(observed.group, &run, &found.spec, found.language).and_then(|prepared| {
        Ok(match validate::check(observed, &prepared)? {
            Checked::Needs(needs) => Outcome::Needs(needs),
            Checked::Waiting => resolving(observed, old.clone(), reasons::RESOLVING_TASK_REF, now),
            Checked::Fine => match advance(observed, &old, &prepared, clock, now)? {
                Outcome::Decided(mut decision) => {
                    decision.actions.splice(0..0, adding);
                    found.source_into(&mut decision.status);
                    Outcome::Decided(decision)
                }
                needs @ Outcome::Needs(_) => needs,
            },
        })
    });
    advanced.unwrap_or_else(|invalid| fail(observed, old, &invalid, now))
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
) -> Result<Outcome<PipelineRunStatus>, Invalid> {
    let mut pass = Pass::new(observed, prepared, now);
    if old.pipeline_spec.is_none() {
        let claims = prepared.claims.iter().filter(|_| !pass.claims_late).cloned();
        pass.actions.extend(claims.map(|claim| Action::CreateClaim(Box::new(claim))));
        pass.actions.push(conclude::event(EventKind::Normal, reasons::STARTED, ""));
    }
    let halt = pass.settle(clock)?;
    pass.start_tasks(halt)?;
    let tasks_done = pass.states.graph().iter().all(TaskState::is_done);
    let ends = Ends::of(&pass.states);
    let mut status = old.clone();
    if tasks_done && !prepared.spec.finally.is_empty() {
        status.finally_start_time.get_or_insert(Time(now));
        pass.start_finally(&ends, clock.finally_over)?;
    }
    pass.prestart(halt);
    if !pass.needs.is_empty() {
        pass.needs.sort_unstable();
        pass.needs.dedup();
        return Ok(Outcome::Needs(pass.needs));
    }
    status.start_time.get_or_insert(Time(now));
    status.pipeline_spec.get_or_insert_with(|| Arc::clone(&prepared.spec));
    // Where final tasks are in the pod of those that are ended, its agent ends them one by one and goes on.
    let finals = prepared.spec.finally.iter().filter_map(|task| pass.shared.get(task.name.as_str()));
    let goes_on: BTreeSet<&str> = finals.map(|place| place.pod.name).collect();
    let Pass { states, started, mut actions, lost, ahead, has_more, .. } = pass;
    let progress = Progress { observed, prepared, states: &states, ends: &ends, started: &started, halt };
    let done = progress.write(&mut status, tasks_done, now);
    actions.extend(done.event);
    if done.finished {
        actions.extend(claims::delete(observed));
    }
    let wake_at = if has_more { Some(now) } else { clock.wake_at(observed.run, &status) };
    let wake_at = wake_at.into_iter().chain(lost.until).chain(ahead.until).min().filter(|_| !done.finished);
    if done.finished {
        actions.extend(share::end_pods(observed, &BTreeSet::new()));
    } else if matches!(halt, Some(Skip::GracefullyCancelled | Skip::TasksTimeout)) {
        actions.extend(share::end_pods(observed, &goes_on));
    }
    Ok(Outcome::Decided(Box::new(Decision { actions, status, wake_at })))
}

/// One pass over a run's tasks: what is known, and what it comes to.
struct Pass<'a> {
    observed: &'a Observed<'a>,
    prepared: &'a Prepared,
    states: States<'a>,
    actions: Vec<Action>,
    /// The runs that this pass makes, by the places of their tasks.
    started: BTreeMap<usize, Vec<Made>>,
    /// The shared pods that were made.
    pods: Vec<Place<'a>>,
    /// The tasks that are in shared pods already, by their names.
    shared: BTreeMap<&'a str, Place<'a>>,
    /// The tasks that were put into shared pods by this pass, beside the first one of each.
    placed: BTreeMap<String, Own>,
    /// What the pods that are lost come to.
    lost: Lost,
    /// The pods that were made before their tasks' turn.
    ahead: Ahead<'a>,
    /// Claims are made with the first task that needs them, and not all at the start.
    claims_late: bool,
    /// How many more runs this pass makes.
    room: usize,
    /// There is more to make than this pass makes.
    has_more: bool,
    /// What must be looked up before anything is decided.
    needs: Vec<Need>,
    now: Timestamp,
}

/// Where a task is in a shared pod that was made, or that this pass makes.
#[derive(Debug, Clone)]
struct Own {
    pod: String,
    has_folders: bool,
    container: Option<String>,
}

impl<'a> Pass<'a> {
    fn new(observed: &'a Observed<'a>, prepared: &'a Prepared, now: Timestamp) -> Self {
        let mut states = States::observed(observed, &prepared.plan);
        expect_legs(0..prepared.spec.tasks.len(), &mut states, None);
        let pods = share::pods(observed);
        if !pods.is_empty() {
            lost::leave_out(&mut states);
        }
        let shared = share::places(&pods, &states);
        for (name, pod) in &shared {
            if let Some(place) = prepared.plan.place(name) {
                states.at_mut(place).has_begun = pod.has_started(name);
            }
        }
        let ahead = Ahead::new(observed, prepared, &states);
        Self {
            observed,
            prepared,
            states,
            actions: Vec::new(),
            started: BTreeMap::new(),
            pods,
            shared,
            placed: BTreeMap::new(),
            lost: Lost::default(),
            ahead,
            claims_late: share::is_wanted(observed, prepared),
            room: MOST_AT_ONCE,
            has_more: false,
            needs: Vec::new(),
            now,
        }
    }

    /// Why no more tasks of the graph start, if they do not.
    fn halt(&self, clock: &Clock) -> Option<Skip> {
        // Who cancels is told so, even when tasks failed on the way.
        if self.observed.run.is_gracefully_cancelled() {
            return Some(Skip::GracefullyCancelled);
        }
        let stopping = self.states.graph().iter().any(TaskState::stops_others);
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

    /// Marks the tasks that will not start, once it is clear what was lost and runs again. Gives why no more start.
    fn settle(&mut self, clock: &Clock) -> Result<Option<Skip>, Invalid> {
        let prepared = self.prepared;
        loop {
            let halt = self.halt(clock);
            skip::mark_tasks(prepared, &mut self.states, halt)?;
            let mut changed = self.move_lost(prepared.plan.order(), halt.is_none());
            let is_final = |place: &Place<'_>| {
                place.tasks().any(|task| {
                    prepared.plan.place(task).is_some_and(|at| prepared.plan.finally().contains(&at))
                })
            };
            let tasks_done = self.states.graph().iter().all(TaskState::is_done);
            if !changed && tasks_done && self.pods.iter().any(is_final) {
                let ends = Ends::of(&self.states);
                skip::mark_finally(prepared, &mut self.states, &ends, clock.finally_over)?;
                let finals: Vec<usize> = prepared.plan.finally().collect();
                changed = self.move_lost(&finals, halt.is_none() && !clock.finally_over);
            }
            if !changed {
                return Ok(halt);
            }
            self.states.unmark();
        }
    }

    /// Looks at tasks whose turn has come and that were to be in a pod which is lost. True where that changes what the
    /// others can do.
    fn move_lost(&mut self, places: &[usize], may_rerun: bool) -> bool {
        let plan = &self.prepared.plan;
        for &at in places {
            let state = self.states.at(at);
            let is_open = !state.is_done() && !state.is_started() && !state.has_begun;
            if self.pods.is_empty()
                || !is_open
                || !plan.parents(at).iter().all(|parent| self.states.at(*parent).is_done())
            {
                continue;
            }
            let task = state.task;
            let left = state.earlier.last().and_then(|run| run.shared_pod());
            let name = task.name.as_str();
            // It may have been in several, one after the other.
            let is_left = |place: &&Place<'_>| {
                left == Some(place.pod.name)
                    || place.tasks().any(|known| known == name) && place.is_lost_for(name)
            };
            let pods: Vec<Place<'_>> = self.pods.iter().filter(is_left).copied().collect();
            for place in pods {
                let turn = self.lost.turn(self.prepared, &mut self.states, name, &place, may_rerun, self.now);
                if matches!(turn, Turn::After) {
                    self.shared = share::places(&self.pods, &self.states);
                }
                if !matches!(turn, Turn::Stays) {
                    self.shared.retain(|known, there| *known != name || there.pod.name != place.pod.name);
                }
                if matches!(turn, Turn::After)
                    || matches!(turn, Turn::Stays) && self.states.at_mut(at).give_up()
                {
                    return true;
                }
            }
        }
        false
    }

    fn start_tasks(&mut self, halt: Option<Skip>) -> Result<(), Invalid> {
        let stopping = self.states.values().any(|state| state.invalid.is_some());
        match halt {
            Some(Skip::GracefullyCancelled) => {
                stop(self.states.graph(), Why::GracefullyCancelled, &mut self.actions);
            }
            Some(Skip::TasksTimeout) => stop(self.states.graph(), Why::TimedOut, &mut self.actions),
            _ => {}
        }
        let ends_all = matches!(halt, Some(Skip::GracefullyCancelled | Skip::TasksTimeout));
        let plan = &self.prepared.plan;
        if ends_all {
            cut_short(plan.order().iter().copied(), &mut self.states);
        }
        for &place in plan.order() {
            let state = self.states.at(place);
            let goes_on = state.has_begun || state.is_half_made() && !ends_all;
            let may_start = halt.is_none() && !stopping || goes_on;
            if may_start && plan.parents(place).iter().all(|parent| self.states.at(*parent).is_done()) {
                self.start(place, None)?;
            }
        }
        Ok(())
    }

    fn start_finally(&mut self, ends: &Ends, timed_out: bool) -> Result<(), Invalid> {
        expect_legs(self.prepared.plan.finally(), &mut self.states, Some(ends));
        skip::mark_finally(self.prepared, &mut self.states, ends, timed_out)?;
        if timed_out {
            stop(self.states.finally(), Why::TimedOut, &mut self.actions);
            cut_short(self.prepared.plan.finally(), &mut self.states);
            return Ok(());
        }
        for place in self.prepared.plan.finally() {
            self.start(place, Some(ends))?;
        }
        Ok(())
    }

    /// Makes the runs of a task that are not there yet.
    ///
    /// `ends`: how the tasks of the graph ended, for a final task.
    fn start(&mut self, place: usize, ends: Option<&Ends>) -> Result<(), Invalid> {
        let states = &self.states;
        let state = states.at(place);
        let task = state.task;
        if state.is_done() || state.runs.len() >= state.expected || self.lost.is_waiting(&task.name) {
            return Ok(());
        }
        let pod = self.shared.get(task.name.as_str()).copied().filter(|pod| pod.holds(&task.name));
        let ready = if pod.is_none() && ends.is_none() { self.ahead.of(place, self.now) } else { Ready::No };
        if matches!(ready, Ready::Soon) {
            return Ok(());
        }
        let own = match pod {
            Some(pod) => Some(Own {
                pod: pod.pod.name.to_owned(),
                has_folders: pod.has_folders,
                container: pod.container(&task.name).map(str::to_owned),
            }),
            None => self.placed.get(&task.name).cloned(),
        };
        if own.is_none() && matches!(ready, Ready::No) {
            if ends.is_none() && self.start_shared(place) {
                return Ok(());
            }
            self.claim(task);
        }
        let states = &self.states;
        let state = states.at(place);
        let mut scope = results::available(place, states);
        scope.extend(&artifacts::known(place, states));
        scope.extend(&results::lengths(place, states));
        scope.extend(&results::of_bindings(self.prepared, states, place, ends));
        if let Some(ends) = ends {
            scope.extend(&results::statuses(place, states, ends));
        }
        let making = Making {
            group: self.observed.group,
            run: self.observed.run,
            ancestors: self.observed.ancestors,
            prepared: self.prepared,
            scope: &scope,
            config: self.observed.config,
            finally: ends.is_some(),
            retry: state.earlier.len(),
        };
        let known: BTreeSet<&str> = state.runs.iter().map(|run| run.name()).collect();
        let missing = state.expected - state.runs.len();
        let made = making.runs(state.task, &known, self.room)?;
        self.room -= made.len();
        self.has_more |= self.room == 0 && made.len() < missing;
        for mut child in made {
            if let (Some(own), Made::Task(run)) = (&own, &mut child) {
                share::mark(run, &own.pod, own.has_folders, own.container.as_deref());
            }
            if let (Ready::Here(pod, told), Made::Task(run)) = (ready, &mut child) {
                share::mark_first(run, &state.task.name, pod, told);
            }
            if let Made::Task(run) = &mut child {
                self.actions.extend(self.lost.note(state, run));
            }
            self.started.entry(place).or_default().push(child.clone());
            self.actions.push(child.create());
        }
        Ok(())
    }

    /// The tasks that are in shared pods, were put into one by this pass, or were started by it.
    fn taken(&self) -> BTreeSet<&str> {
        let there = self.shared.iter().filter(|(name, place)| place.holds(name)).map(|(name, _)| *name);
        let placed = self.placed.keys().map(String::as_str);
        let started = self.started.keys().map(|place| self.states.at(*place).task.name.as_str());
        there.chain(placed).chain(started).collect()
    }

    /// Makes pods for tasks whose turn comes next, and ends those that nothing will begin in. Tells what must be looked up.
    fn prestart(&mut self, halt: Option<Skip>) {
        let may_make = halt.is_none() && self.needs.is_empty();
        let Some(sharing) = self.observed.sharing else { return };
        self.actions.extend(self.ahead.end(&self.states, &self.started, halt.is_some(), self.now));
        if !may_make || !sharing.may_make {
            return;
        }
        let taken = self.taken();
        let context = share::Context {
            observed: self.observed,
            prepared: self.prepared,
            states: &self.states,
            platform: sharing.platform,
            taken: &taken,
            now: self.now,
        };
        let next = self.ahead.next(&context, &self.shared, &self.started);
        let made: Vec<_> = next.into_iter().map(|place| share::ahead(&context, place)).collect();
        for made in made {
            match made {
                Ok(share::Shared { pod, claims, .. }) => {
                    self.actions.extend(claims.into_iter().map(|claim| Action::CreateClaim(Box::new(claim))));
                    self.actions.push(Action::CreatePod(Box::new(pod)));
                }
                Err(share::Stop::Needs(needs)) => self.needs.extend(needs),
                Err(share::Stop::Why(_)) => {}
            }
        }
    }

    /// Makes a pod for a task that may start and those that can follow it there, if any can. True where it did, or has to
    /// look something up first.
    fn start_shared(&mut self, place: usize) -> bool {
        let Some(sharing) = self.observed.sharing.filter(|sharing| sharing.may_make) else { return false };
        let taken = self.taken();
        let context = share::Context {
            taken: &taken,
            observed: self.observed,
            prepared: self.prepared,
            states: &self.states,
            platform: sharing.platform,
            now: self.now,
        };
        match share::shared(&context, place, &mut Vec::new()) {
            Ok(shared) => {
                let mut first = shared.first.clone();
                let name = shared.pod.metadata.name.clone().unwrap_or_default();
                share::mark_first(&mut first, &self.states.at(place).task.name, &name, &shared.annotations());
                let again = self.lost.note(self.states.at(place), &mut first);
                for task in shared.tasks.iter().skip(1) {
                    let container = shared.containers.get(task).cloned();
                    let own = Own { pod: name.clone(), has_folders: !shared.folders.is_empty(), container };
                    self.placed.insert(task.clone(), own);
                }
                let share::Shared { pod, claims, .. } = shared;
                self.actions.extend(claims.into_iter().map(|claim| Action::CreateClaim(Box::new(claim))));
                self.actions.push(Action::CreatePod(Box::new(pod)));
                let made = Made::Task(Box::new(first));
                self.started.entry(place).or_default().push(made.clone());
                self.actions.push(made.create());
                self.actions.extend(again);
                true
            }
            Err(share::Stop::Needs(needs)) => {
                self.needs.extend(needs);
                true
            }
            Err(share::Stop::Why(_)) => false,
        }
    }

    /// Makes the claims that a task with a pod of its own needs, where they were not all made at the start. A task that has
    /// started had its claims made before.
    fn claim(&mut self, task: &PipelineTask) {
        let claims = self.prepared.claims.iter().filter(|_| self.claims_late);
        let needed = claims.filter(|claim| {
            let name = claim.metadata.name.as_deref().unwrap_or_default();
            let uses = |task| share::uses(self.prepared, task, name);
            let is_made = || self.states.values().any(|state| state.is_started() && uses(state.task));
            uses(task) && !is_made()
        });
        let actions: Vec<Action> = needed.map(|claim| Action::CreateClaim(Box::new(claim.clone()))).collect();
        self.actions.extend(actions);
    }
}

fn stop(states: &[TaskState<'_>], why: Why, actions: &mut Vec<Action>) {
    actions.extend(states.iter().flat_map(|state| &state.runs).filter_map(|run| run.stop(why)));
}

/// What is made of these tasks is ended: the runs that are missing will not be made.
fn cut_short(places: impl Iterator<Item = usize>, states: &mut States<'_>) {
    for place in places {
        let state = states.at_mut(place);
        state.cut_short = state.is_half_made();
    }
}

/// How many legs each matrix has, as soon as that can be known.
fn expect_legs(places: Range<usize>, states: &mut States<'_>, ends: Option<&Ends>) {
    for place in places {
        let task = states.at(place).task;
        let Some(matrix) = &task.matrix else { continue };
        let Ok(mut scope) = results::for_task(place, states) else { continue };
        if let Some(ends) = ends {
            scope.extend(&results::statuses(place, states, ends));
        }
        let matrix = matrix::expand(matrix, &scope);
        // What is wrong with it is told when its runs are to be made.
        let legs = if matrix::check(&task.name, &matrix).is_ok() { matrix::len(&matrix) } else { 1 };
        states.at_mut(place).expected = legs.max(1);
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
    actions.extend(share::end_pods(observed, &BTreeSet::new()));
    let mut status = old;
    status.start_time.get_or_insert(Time(now));
    status.completion_time = Some(Time(now));
    conclude::known_children(observed, &mut status);
    let status = conclude::failed(status, reason, message, now);
    actions.push(conclude::event(EventKind::Warning, reasons::FAILED, message));
    actions.extend(claims::delete(observed));
    decided(actions, status, None)
}

/// The user's mistake: the run fails, and what runs already is ended.
fn fail(
    observed: &Observed<'_>,
    old: PipelineRunStatus,
    invalid: &Invalid,
    now: Timestamp,
) -> Outcome<PipelineRunStatus> {
    end(observed, old, invalid.reason, &invalid.told(observed.group), Why::Failed, now)
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
