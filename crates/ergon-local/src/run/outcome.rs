//! How a run ended: all that can be said of it afterwards.

use ergon_api::{Condition, PipelineRun, PipelineSpec, SkippedTask, TaskRun};

use super::tell::{prefix, status_of, task_name};
use super::world::World;
use crate::event::Status;

/// A run that has ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub status: Status,
    /// None: the run was one of a single Task.
    pub pipeline_run: Option<PipelineRun>,
    /// Those that were started, by their names in events. Of a matrix, each leg is one.
    pub tasks: Vec<(String, TaskOutcome)>,
    /// Those that were not, by their names in events.
    pub skipped: Vec<(String, SkippedTask)>,
    /// The pipelines that were run, each with what stands before the names of its tasks.
    pub pipelines: Vec<(String, PipelineSpec)>,
}

/// A task that was started.
#[derive(Debug, Clone)]
pub struct TaskOutcome {
    /// None: it has not ended.
    pub status: Option<Status>,
    pub run: TaskRun,
}

impl Outcome {
    pub(super) fn of(world: &World, status: Status) -> Self {
        let runs = || world.pipeline_run.iter().chain(world.parts.values());
        let tasks = world.task_runs.values().map(|run| {
            let status = run.is_done().then(|| run.condition().map(status_of)).flatten();
            (task_name(world, run), TaskOutcome { status, run: run.clone() })
        });
        let skipped = runs().flat_map(|run| {
            let skipped = run.status.iter().flat_map(|status| &status.skipped_tasks);
            skipped.map(|task| (format!("{}{}", prefix(world, run), task.name), task.clone()))
        });
        let pipelines = runs().filter_map(|run| {
            let spec = run.status.as_ref()?.pipeline_spec.as_ref()?;
            Some((prefix(world, run), PipelineSpec::clone(spec)))
        });
        Self {
            status,
            tasks: tasks.collect(),
            skipped: skipped.collect(),
            pipelines: pipelines.collect(),
            pipeline_run: world.pipeline_run.clone(),
        }
    }

    /// What the run's condition says.
    pub fn condition(&self) -> Option<&Condition> {
        match &self.pipeline_run {
            Some(run) => run.condition(),
            None => self.tasks.first().and_then(|(_, task)| task.run.condition()),
        }
    }
}

/// How a run ended, by its condition.
pub(super) fn status(world: &World) -> Status {
    let condition = match &world.pipeline_run {
        Some(run) => run.condition(),
        None => world.task_runs.values().next().and_then(TaskRun::condition),
    };
    condition.map_or(Status::Failed, status_of)
}
