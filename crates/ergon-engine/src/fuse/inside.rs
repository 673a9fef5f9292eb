//! A shared pod's own decisions: the pipeline run's and the task runs', made again where the steps are.

use std::collections::{BTreeMap, BTreeSet};

use ergon_api::{Config, Duration, Group, PipelineRunSpecStatus, TaskRun};
use ergon_wire::{Millis, PodPlan, PodReport, StepPlan, StepReport, TaskPlan};
use jiff::Timestamp;

use super::seen::task_of;
use super::{Begin, Part, own_part};
use crate::pod::{self, Account, Platform};
use crate::task::{self, PodSeen};
use crate::{Action, Library, Need, Outcome, run};

/// How often the decision on one task may ask for something.
const ROUNDS: usize = 8;

/// What a shared pod knows of its part of a pipeline run.
#[derive(Debug, Clone)]
pub struct Inside {
    part: Part,
    group: Group,
    config: Config,
    /// What was fixed with the pod, by task and try.
    tasks: Vec<TaskPlan>,
    /// The tasks' runs as they stand, by the place of the first try; those that have not started are not there.
    runs: BTreeMap<usize, TaskRun>,
    /// The tries that were started.
    begun: BTreeSet<usize>,
    /// Those that will not start.
    never: BTreeSet<usize>,
    /// The tasks that are not tried again, however often they may.
    ended_for_good: BTreeSet<String>,
    /// The first task was started.
    is_begun: bool,
}

/// What becomes of a task, or a try of it, that has not started.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// Its turn has come, with all that it waited for in its steps.
    Start(usize, Box<TaskPlan>),
    /// It is skipped, or cannot be carried out: the pipeline run says why.
    Never(usize),
}

impl Inside {
    /// The part of a plan; none where the pod is not shared.
    ///
    /// # Errors
    /// The part is not as this version writes it.
    pub fn new(plan: &PodPlan) -> Result<Option<Self>, serde_json::Error> {
        let part = Part::of(plan)?;
        Ok(part.map(|part| Self {
            group: part.group(),
            config: part.given.config(),
            tasks: plan.tasks.clone(),
            runs: BTreeMap::new(),
            begun: BTreeSet::new(),
            never: BTreeSet::new(),
            ended_for_good: BTreeSet::new(),
            is_begun: false,
            part,
        }))
    }

    /// Takes in how a try of a task ended that was started.
    pub fn ended(&mut self, place: usize, steps: Vec<StepReport>, at: Millis) {
        let report = PodReport { sequence: 1, steps, done: true, waits_for: None };
        let Some(first) = self.first_try(place) else { return };
        let is_current = |run: &&TaskRun| self.current_try(first, run) == Some(place);
        let Some(run) = self.runs.get(&first).filter(is_current) else { return };
        let spec = run.status.as_ref().and_then(|status| status.task_spec.clone()).unwrap_or_default();
        let (_, report) = own_part(self.group, run, &spec, None, Some(&report));
        let outcome = self.decide(run, &Library::default(), report.as_ref(), at);
        if let Outcome::Decided(decision) = outcome
            && let Some(run) = self.runs.get_mut(&first)
        {
            run.status = Some(decision.status);
        }
    }

    /// A task is not tried again, whether it has begun or not.
    pub fn no_more_tries(&mut self, task: &str) {
        self.ended_for_good.insert(task.to_owned());
        for (first, run) in &mut self.runs {
            if self.tasks.get(*first).is_some_and(|plan| plan.name == task) {
                run.spec.retries = None;
            }
        }
    }

    /// No other task starts, but for final ones.
    pub fn halt(&mut self) {
        self.part.run.spec.status.get_or_insert(PipelineRunSpecStatus::StoppedRunFinally);
    }

    /// The tasks that the pod is to hear of before it begins; none where it has begun.
    pub fn waits_for(&self) -> Option<&[String]> {
        self.part.waits_for.as_deref()
    }

    /// The turn of the first task has come. False where it had before.
    pub fn begin(&mut self, begin: Begin) -> bool {
        let waited = self.part.waits_for.take().is_some();
        if waited {
            self.part.first = begin.first;
            self.part.before.extend(begin.before);
        }
        waited
    }

    /// What may start now, and what never will.
    pub fn advance(&mut self, at: Millis) -> Vec<Next> {
        let mut all = Vec::new();
        if self.part.waits_for.is_some() {
            return all;
        }
        if !std::mem::replace(&mut self.is_begun, true) {
            let first = (*self.part.first).clone();
            all.extend(self.take(first, at));
        }
        // A task that cannot be carried out lets others go on, or ends them, at once.
        loop {
            let mut next = self.try_again(at);
            next.extend(self.step(at));
            let again = next.iter().any(|next| matches!(next, Next::Never(_)));
            all.extend(next);
            if !again {
                return all;
            }
        }
    }

    /// The place of the first try of a task, by that of any.
    fn first_try(&self, place: usize) -> Option<usize> {
        let name = &self.tasks.get(place)?.name;
        self.tasks.iter().position(|plan| plan.name == *name && plan.retry == 0)
    }

    /// The place of the try that a run is at, by that of its first.
    fn current_try(&self, first: usize, run: &TaskRun) -> Option<usize> {
        let (name, retry) = (&self.tasks.get(first)?.name, task::attempt_number(run));
        self.tasks.iter().position(|plan| plan.name == *name && plan.retry == retry)
    }

    /// Starts the next try of those tasks whose last one failed.
    fn try_again(&mut self, at: Millis) -> Vec<Next> {
        let waiting = |(first, run): (&usize, &TaskRun)| {
            let place = self.current_try(*first, run).filter(|_| !run.is_done())?;
            let is_new = !self.begun.contains(&place) && !self.never.contains(&place);
            is_new.then_some((*first, place))
        };
        let due: Vec<(usize, usize)> = self.runs.iter().filter_map(waiting).collect();
        let mut next = Vec::new();
        for (first, place) in due {
            if let Some(run) = self.runs.remove(&first) {
                next.push(self.start(first, place, run, at));
            }
        }
        next
    }

    fn step(&mut self, at: Millis) -> Vec<Next> {
        let children: Vec<&TaskRun> = self.part.before.iter().chain(self.runs.values()).collect();
        let observed = run::Observed {
            group: self.group,
            run: &self.part.run,
            children: run::Children { task_runs: &children, custom_runs: &[], pipeline_runs: &[] },
            ancestors: &[],
            library: &Library::default(),
            config: &self.config,
            plan: None,
            sharing: None,
        };
        let Outcome::Decided(decision) = run::reconcile(&observed, moment(at)) else { return Vec::new() };
        let made: Vec<TaskRun> = decision
            .actions
            .into_iter()
            .filter_map(|action| match action {
                Action::CreateTaskRun(run) => Some(*run),
                _ => None,
            })
            .collect();
        let mut next = Vec::new();
        for run in made {
            next.extend(self.take(run, at));
        }
        let skipped = &decision.status.skipped_tasks;
        let is_done = decision.status.is_done();
        let runs_on = next.iter().any(|next| matches!(next, Next::Start(..)))
            || self.runs.values().any(|run| !run.is_done());
        for (place, task) in self.tasks.iter().enumerate() {
            let is_skipped = skipped.iter().any(|skipped| skipped.name == task.name);
            let will_not_start = match self.first_try(place).and_then(|first| self.runs.get(&first)) {
                // It needed no other try.
                Some(run) => run.is_done(),
                None => is_skipped || is_done || !runs_on,
            };
            if will_not_start && !self.begun.contains(&place) && self.never.insert(place) {
                next.push(Next::Never(place));
            }
        }
        next
    }

    /// Starts the task of a run, if it is one of the pod's and has none yet.
    fn take(&mut self, run: TaskRun, at: Millis) -> Option<Next> {
        let name = task_of(self.group, &run);
        let first = self.tasks.iter().position(|task| task.name == name && task.retry == 0)?;
        if self.runs.contains_key(&first) {
            return None;
        }
        Some(self.start(first, first, run, at))
    }

    /// Starts a try of a task whose run was made just now, or has failed before.
    fn start(&mut self, first: usize, place: usize, mut run: TaskRun, at: Millis) -> Next {
        // Who looks at the clock is the controller, which tells when a task takes too long.
        run.spec.timeout = Some(Duration::ZERO);
        if self.tasks.get(first).is_some_and(|plan| self.ended_for_good.contains(&plan.name)) {
            run.spec.retries = None;
        }
        let tasks = self.part.tasks.iter().map(|(name, task)| (name.clone(), Some(task.clone()))).collect();
        let mut library = Library { tasks, limit_ranges: Some(Vec::new()), ..Library::default() };
        let images = self.part.images.iter().map(|(image, config)| (image.clone(), Ok(config.clone())));
        library.images.extend(images);
        let mut plan = None;
        for _ in 0..ROUNDS {
            match self.decide(&run, &library, None, at) {
                Outcome::Needs(needs) => {
                    for need in needs {
                        match need {
                            // What the pod gets of its account was fixed with the pod.
                            Need::Account(name) => {
                                library.accounts.insert(name, Some(Account::default()));
                            }
                            Need::Image { reference, .. } => {
                                let why = "it was not looked up when the pod was made".to_owned();
                                library.images.insert(reference, Err(why));
                            }
                            Need::Task(name) => {
                                library.tasks.insert(name, None);
                            }
                            Need::StepAction(name) => {
                                library.step_actions.insert(name, None);
                            }
                            _ => {}
                        }
                    }
                }
                Outcome::Decided(decision) => {
                    let pod = decision.actions.into_iter().find_map(|action| match action {
                        Action::CreatePod(pod) => Some(pod),
                        _ => None,
                    });
                    plan = pod.and_then(|pod| self.fixed(place, &pod));
                    run.status = Some(decision.status);
                    break;
                }
            }
        }
        self.runs.insert(first, run);
        if let Some(plan) = plan {
            self.begun.insert(place);
            Next::Start(place, Box::new(plan))
        } else {
            self.never.insert(place);
            Next::Never(place)
        }
    }

    /// A task's plan as its own pod would have it, with what was fixed when the shared pod was made.
    fn fixed(&self, place: usize, pod: &k8s_openapi::api::core::v1::Pod) -> Option<TaskPlan> {
        let fixed = self.tasks.get(place)?;
        let found = pod::plan_of(pod)?.tasks.into_iter().next()?;
        if found.steps.len() != fixed.steps.len() {
            return None;
        }
        let containers = pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
        let steps = found.steps.into_iter().zip(&fixed.steps).map(|(step, fixed)| {
            let late = self.part.late_env.get(&fixed.container);
            let container = containers.iter().find(|container| container.name == step.container);
            let variables = container.iter().flat_map(|container| container.env.iter().flatten());
            let env = variables
                .filter(|variable| late.is_some_and(|late| late.contains(&variable.name)))
                .filter_map(|variable| Some((variable.name.clone(), variable.value.clone()?)));
            StepPlan {
                env: env.collect(),
                container: fixed.container.clone(),
                name: fixed.name.clone(),
                runs_in: fixed.runs_in.clone(),
                empty_first: fixed.empty_first.clone(),
                credentials: fixed.credentials.clone(),
                message_limit: fixed.message_limit,
                ..step
            }
        });
        Some(TaskPlan { name: fixed.name.clone(), retry: fixed.retry, steps: steps.collect(), ..found })
    }

    fn decide(
        &self,
        run: &TaskRun,
        library: &Library,
        report: Option<&PodReport>,
        at: Millis,
    ) -> Outcome<ergon_api::TaskRunStatus> {
        let platform = Platform::default();
        task::reconcile(
            &task::Observed {
                group: self.group,
                run,
                pod: if report.is_some() { PodSeen::Gone } else { PodSeen::NotInCache },
                report,
                library,
                config: &self.config,
                platform: &platform,
            },
            moment(at),
        )
    }
}

/// The time of an event.
fn moment(at: Millis) -> Timestamp {
    Timestamp::from_millisecond(at).unwrap_or(Timestamp::UNIX_EPOCH)
}
