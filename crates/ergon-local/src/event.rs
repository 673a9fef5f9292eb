//! What a local run tells while it goes on: the one channel between the run and whoever shows it.
//!
//! Plain data, one JSON object an event (`{"event": "line", ...}`), so that `ergon run --output json` is a stream that
//! programs can read. Task names are those of the pipeline; a run of a single Task uses the Task's own name.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ergon_api::ParamValue;
use serde::{Deserialize, Serialize};

/// One thing that happened, in the order in which it happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Event {
    /// The run is accepted and begins.
    RunStarted {
        /// The run's name.
        run: String,
        /// Every task that may run, in the order in which they are written.
        tasks: Vec<String>,
    },
    /// How far the run is with an image that a task needs.
    ImagePull {
        /// The image as the task names it.
        image: String,
        /// Bytes that are here.
        done_bytes: u64,
        /// Bytes in all, when the registry told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        total_bytes: Option<u64>,
        /// Nothing more is to come for this image.
        complete: bool,
    },
    /// What is being done before a task's first step can start.
    PodProgress {
        /// The tasks that wait for it.
        tasks: Vec<String>,
        /// A short sentence for people.
        message: String,
    },
    /// A task begins.
    TaskStarted {
        /// The task.
        task: String,
        /// Which try this is, from 1.
        attempt: u32,
    },
    /// A step begins.
    StepStarted {
        /// The step's task.
        task: String,
        /// The step.
        step: String,
    },
    /// A step wrote a line.
    Line {
        /// The step's task.
        task: String,
        /// The step.
        step: String,
        /// Where it was written.
        stream: Stream,
        /// The line without its end.
        text: String,
    },
    /// A step ended.
    StepEnded {
        /// The step's task.
        task: String,
        /// The step.
        step: String,
        /// The exit code; 128 + n for signal n.
        exit_code: i32,
        /// How long it ran, in milliseconds.
        duration_ms: u64,
        /// Why it ended, when it was not by itself, such as `timed out`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A task ended, or one try of it that is not to be repeated.
    TaskEnded {
        /// The task.
        task: String,
        /// How it ended.
        status: Status,
        /// Why, as one word, such as `Failed` or `TaskRunTimeout`.
        reason: String,
        /// Why, as a sentence; may be empty.
        message: String,
        /// How long it took, in milliseconds.
        duration_ms: u64,
        /// Its results.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        results: BTreeMap<String, ParamValue>,
    },
    /// A task does not run.
    Skipped {
        /// The task.
        task: String,
        /// Why, such as `When Expressions evaluated to false`.
        reason: String,
    },
    /// A task does not run again: what an earlier run came to is taken.
    Reused {
        /// The task.
        task: String,
    },
    /// The run's folders stay, with the logs and what its pods had.
    Kept {
        /// Where they are.
        folder: PathBuf,
    },
    /// The run ended; nothing follows.
    RunEnded {
        /// How it ended.
        status: Status,
        /// The results that the run gives.
        results: BTreeMap<String, ParamValue>,
        /// A sentence for people; may be empty.
        message: String,
        /// How long it took, in milliseconds.
        duration_ms: u64,
    },
}

/// Where a line was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a task or a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Status {
    /// As wanted.
    Succeeded,
    /// With an error.
    Failed,
    /// By the user's wish.
    Cancelled,
}
