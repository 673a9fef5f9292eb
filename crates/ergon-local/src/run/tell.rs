//! From what changed in the objects to what a person is told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ergon_api::{Condition, MATRIX_LEG_LABEL, ParamValue, PipelineRun, TaskRun, reasons};
use ergon_engine::task;
use ergon_wire::{Exit, ExitRecord, StepState};
use tokio::sync::mpsc;

use super::world::World;
use crate::event::{Event, Status};

/// Why a task is skipped that nobody wanted.
const LEFT_OUT: &str = "left out by `--from` or `--until`";

/// Remembers what was told already.
pub(super) struct Teller {
    events: mpsc::UnboundedSender<Event>,
    begun: Instant,
    /// Task runs by name: the attempt that was told to have started, counted from 1, and when.
    started: BTreeMap<String, (u32, Instant)>,
    ended: BTreeSet<String>,
    skipped: BTreeSet<String>,
    /// Steps by (pod, container).
    steps_started: BTreeSet<(String, String)>,
    steps_ended: BTreeSet<(String, String)>,
}

impl Teller {
    pub fn new(events: mpsc::UnboundedSender<Event>, begun: Instant) -> Self {
        Self {
            events,
            begun,
            started: BTreeMap::new(),
            ended: BTreeSet::new(),
            skipped: BTreeSet::new(),
            steps_started: BTreeSet::new(),
            steps_ended: BTreeSet::new(),
        }
    }

    pub fn begin(&self, world: &World) {
        let (run, tasks) = if let Some(run) = &world.pipeline_run {
            let named = run.spec.pipeline_ref.as_ref().and_then(|reference| reference.name.as_ref());
            let spec = run.spec.pipeline_spec.clone().or_else(|| {
                named.and_then(|name| {
                    world.library.pipelines.get(name)?.as_ref().map(|pipeline| pipeline.spec.clone())
                })
            });
            let tasks = spec
                .iter()
                .flat_map(ergon_api::PipelineSpec::all_tasks)
                .map(|task| task.name.clone())
                .collect();
            (run.name().to_owned(), tasks)
        } else {
            let names: Vec<String> = world.task_runs.values().map(|run| task_name(world, run)).collect();
            (world.task_runs.keys().next().cloned().unwrap_or_default(), names)
        };
        self.tell(Event::RunStarted { run, tasks });
        let label = world.group.label("pipelineTask");
        let reused: BTreeSet<String> = world
            .task_runs
            .values()
            .map(|run| &run.metadata)
            .chain(world.parts.values().map(|run| &run.metadata))
            .filter(|meta| meta.name.as_ref().is_some_and(|name| world.reused.contains(name)))
            .filter_map(|meta| meta.labels.as_ref()?.get(&label).cloned())
            .collect();
        for task in reused {
            self.tell(Event::Reused { task });
        }
    }

    /// Tells what is new.
    pub fn look(&mut self, world: &World) {
        for run in world.task_runs.values().filter(|run| !world.reused.contains(run.name())) {
            self.look_at(world, run);
        }
        for run in world.pipeline_run.iter().chain(world.parts.values()) {
            for skipped in run.status.iter().flat_map(|status| &status.skipped_tasks) {
                let task = format!("{}{}", prefix(world, run), skipped.name);
                if self.skipped.insert(task.clone()) {
                    let reason = if world.left_out.contains(&task) { LEFT_OUT } else { &skipped.reason };
                    self.tell(Event::Skipped { task, reason: reason.to_owned() });
                }
            }
        }
    }

    /// Tells where the run's folders are, which stay.
    pub fn kept(&self, folder: &std::path::Path) {
        self.tell(Event::Kept { folder: folder.to_owned() });
    }

    pub fn end(&mut self, world: &World) {
        self.look(world);
        let (condition, results): (Option<&Condition>, BTreeMap<String, ParamValue>) =
            if let Some(run) = &world.pipeline_run {
                let results = run.status.iter().flat_map(|status| &status.results);
                (run.condition(), results.map(|result| (result.name.clone(), result.value.clone())).collect())
            } else {
                let run = world.task_runs.values().next();
                let results =
                    run.and_then(|run| run.status.as_ref()).into_iter().flat_map(|status| &status.results);
                (
                    run.and_then(TaskRun::condition),
                    results.map(|result| (result.name.clone(), result.value.clone())).collect(),
                )
            };
        let status = condition.map_or(Status::Failed, status_of);
        self.tell(Event::RunEnded {
            status,
            results,
            message: condition.map(|condition| condition.message().to_owned()).unwrap_or_default(),
            duration_ms: millis(self.begun.elapsed()),
        });
    }

    /// The name that a pod's lines are told under, and how many tries there were before.
    pub fn task_of_pod(world: &World, pod: &str) -> (String, usize) {
        let owner = world.task_runs.values().find(|run| task::pod_name(run) == pod);
        let tries = |run: &TaskRun| run.status.as_ref().map_or(0, |status| status.retries_status.len());
        owner.map(|run| (task_name(world, run), tries(run))).unwrap_or_default()
    }

    fn look_at(&mut self, world: &World, run: &TaskRun) {
        let Some(status) = &run.status else { return };
        let task = task_name(world, run);
        let attempt = u32::try_from(status.retries_status.len()).unwrap_or(0) + 1;
        let fresh = self.started.get(run.name()).is_none_or(|(told, _)| *told < attempt);
        if fresh && status.pod_name.is_some() {
            self.started.insert(run.name().to_owned(), (attempt, Instant::now()));
            self.tell(Event::TaskStarted { task: task.clone(), attempt });
        }
        for pod in
            status.pod_name.iter().chain(status.retries_status.iter().filter_map(|old| old.pod_name.as_ref()))
        {
            let report = world.pods.get(pod).and_then(|state| state.report.as_ref());
            for step in report.into_iter().flat_map(|report| &report.steps) {
                self.look_at_step(&task, pod, &step.container, &step.state);
            }
        }
        if run.is_done() && self.ended.insert(run.name().to_owned()) {
            let condition = run.condition().cloned().unwrap_or_default();
            let begun = self.started.get(run.name()).map_or_else(Instant::now, |(_, at)| *at);
            self.tell(Event::TaskEnded {
                task,
                status: status_of(&condition),
                reason: condition.reason().to_owned(),
                message: condition.message().to_owned(),
                duration_ms: millis(begun.elapsed()),
                results: status
                    .results
                    .iter()
                    .map(|result| (result.name.clone(), result.value.clone()))
                    .collect(),
            });
        }
    }

    fn look_at_step(&mut self, task: &str, pod: &str, container: &str, state: &StepState) {
        let key = (pod.to_owned(), container.to_owned());
        let step = container.strip_prefix("step-").unwrap_or(container).to_owned();
        let ran = match state {
            StepState::Waiting => false,
            StepState::Running { .. } => true,
            StepState::Ended { record } => {
                record.started_at.is_some() || matches!(record.exit, Exit::NotStarted { .. })
            }
        };
        if ran && self.steps_started.insert(key.clone()) {
            self.tell(Event::StepStarted { task: task.to_owned(), step: step.clone() });
        }
        if let StepState::Ended { record } = state
            && ran
            && self.steps_ended.insert(key)
        {
            self.tell(Event::StepEnded {
                task: task.to_owned(),
                step,
                exit_code: record.exit.code(),
                duration_ms: duration_of(record),
                reason: why(&record.exit),
            });
        }
    }

    fn tell(&self, event: Event) {
        // Nobody listens any more: the run goes on to its end all the same.
        let _ = self.events.send(event);
    }
}

/// The pipeline task's name, after the names of the tasks that it is a part of; a run without a pipeline has its Task's.
pub(super) fn task_name(world: &World, run: &TaskRun) -> String {
    if run.pipeline_task().is_none() {
        return task::inputs::task_name(run.group(), run);
    }
    let parent = world.ancestors(&run.metadata).first().map(|parent| prefix(world, parent));
    format!("{}{}", parent.unwrap_or_default(), run.task_label())
}

/// What stands before the names of a pipeline run's tasks: nothing for the run that the user wants, and `task/` for a
/// part of it.
pub(super) fn prefix(world: &World, run: &PipelineRun) -> String {
    let label = world.group.label("pipelineTask");
    let of = |run: &PipelineRun| {
        let labels = run.metadata.labels.as_ref()?;
        let leg = labels.get(MATRIX_LEG_LABEL).map(|leg| format!("[{leg}]"));
        Some(format!("{}{}", labels.get(&label)?, leg.unwrap_or_default()))
    };
    let parts: Vec<String> = world
        .ancestors(&run.metadata)
        .into_iter()
        .rev()
        .chain([run])
        .skip(1)
        .filter_map(of)
        .map(|task| format!("{task}/"))
        .collect();
    parts.concat()
}

pub(super) fn status_of(condition: &Condition) -> Status {
    match condition.status {
        ergon_api::ConditionStatus::True => Status::Succeeded,
        _ if [reasons::task_run::CANCELLED, reasons::pipeline_run::CANCELLED]
            .contains(&condition.reason()) =>
        {
            Status::Cancelled
        }
        _ => Status::Failed,
    }
}

fn duration_of(record: &ExitRecord) -> u64 {
    u64::try_from(record.finished_at - record.started_at.unwrap_or(record.finished_at)).unwrap_or(0)
}

fn why(exit: &Exit) -> Option<String> {
    match exit {
        Exit::Exited { .. } => None,
        Exit::Signaled { signal } => Some(format!("ended by signal {signal}")),
        Exit::TimedOut => Some("timed out".to_owned()),
        Exit::Cancelled => Some("cancelled".to_owned()),
        Exit::Skipped => Some("skipped".to_owned()),
        Exit::WhenFalse => Some("skipped: its condition does not hold".to_owned()),
        Exit::NotStarted { message } | Exit::Interrupted { message } => Some(message.clone()),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
