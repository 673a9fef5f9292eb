//! What is written down of a run that has ended, so that it can be looked into and be gone on from.
//!
//! ```text
//! runs/<id>/
//!   run.json                      how it ended; it stays when all else is removed
//!   pods/<pod>/plan.json          what its agent was told
//!   pods/<pod>/steps/<container>.json   the container of a step, as it was asked for
//!   pods/<pod>/steps/<container>/       what the step wrote to its root, where that is kept
//!   pods/<pod>/volumes  claims  logs  bin
//! ```

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ergon_api::{CustomRun, PipelineRun, TaskRun};
use ergon_wire::PodReport;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::tell::task_name;
use super::world::World;
use crate::event::Status;

/// The file with the record, in the run's folder.
pub(crate) const RECORD: &str = "run.json";

/// What of a run stays on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keep {
    Nothing,
    /// A record of it; and its folders until another run fails, if it failed.
    #[default]
    Failed,
    /// Everything, until somebody removes it.
    All,
}

/// A run that has ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The kind and the name of what was run, as the files have them.
    pub kind: String,
    pub target: String,
    /// The run's own name.
    pub name: String,
    pub began: Timestamp,
    pub duration_ms: u64,
    pub status: Status,
    /// Why, as a sentence; may be empty.
    pub message: String,
    /// Those that were started, one for each try of a task.
    pub pods: Vec<PodRecord>,
    /// None: the run was one of a single Task.
    pub pipeline_run: Option<PipelineRun>,
    pub parts: Vec<PipelineRun>,
    pub task_runs: Vec<TaskRun>,
    pub custom_runs: Vec<CustomRun>,
    /// The tasks that nobody wanted to run.
    #[serde(default)]
    pub left_out: BTreeSet<String>,
}

/// The pod of one try of a task.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodRecord {
    pub pod: String,
    /// The task's name in events.
    pub task: String,
    /// From 1.
    pub attempt: usize,
    pub report: PodReport,
}

impl Record {
    /// `kind` and `target`: what was run.
    pub(in crate::run) fn of(
        world: &World,
        (kind, target): (&str, &str),
        began: Timestamp,
        status: Status,
    ) -> Self {
        let (name, condition) = match &world.pipeline_run {
            Some(run) => (run.name(), run.condition()),
            None => world.task_runs.values().next().map_or(("", None), |run| (run.name(), run.condition())),
        };
        let pods = world.task_runs.values().filter(|run| !world.reused.contains(run.name()));
        let pods = pods.flat_map(|run| {
            let status = run.status.iter();
            let before = status.clone().flat_map(|status| &status.retries_status);
            let tries = before.filter_map(|old| old.pod_name.clone());
            let tries = tries.chain(status.filter_map(|status| status.pod_name.clone()));
            let task = task_name(world, run);
            tries.enumerate().filter_map(move |(at, pod)| {
                let report = world.pods.get(&pod)?.report.clone()?;
                Some(PodRecord { pod, task: task.clone(), attempt: at + 1, report })
            })
        });
        let took = Timestamp::now().duration_since(began);
        Self {
            kind: kind.to_owned(),
            target: target.to_owned(),
            name: name.to_owned(),
            began,
            duration_ms: u64::try_from(took.as_millis()).unwrap_or(0),
            status,
            message: condition.map(|condition| condition.message().to_owned()).unwrap_or_default(),
            pods: pods.collect(),
            pipeline_run: world.pipeline_run.clone(),
            parts: world.parts.values().cloned().collect(),
            task_runs: world.task_runs.values().cloned().collect(),
            custom_runs: world.custom_runs.values().cloned().collect(),
            left_out: world.left_out.clone(),
        }
    }

    pub(crate) fn write(&self, run: &Path) -> io::Result<()> {
        write(&run.join(RECORD), self)
    }

    /// None: the folder has none, or one that another version wrote.
    pub(crate) fn read(run: &Path) -> Option<Self> {
        read(&run.join(RECORD))
    }
}

/// A pod's own folder in a run's.
pub(crate) fn pod_dir(run: &Path, pod: &str) -> PathBuf {
    run.join("pods").join(pod)
}

/// Where a step's container is written down, and where what it wrote is kept.
pub(crate) fn step_places(run: &Path, pod: &str, container: &str) -> (PathBuf, PathBuf) {
    let steps = pod_dir(run, pod).join("steps");
    (steps.join(format!("{container}.json")), steps.join(container))
}

/// Writes a file that is for nobody else: the environment of a step may have secrets.
pub(crate) fn write(path: &Path, what: &impl Serialize) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(&serde_json::to_vec(what)?)?;
    // With its name it is whole.
    fs::rename(new, path)
}

pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}
