//! The words between the program, the helper and the init. One binary, so they need no versions.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::error::Failure;
use super::spec::ContainerSpec;

/// The first message, to the helper and on to the init.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Instruction {
    pub spec: ContainerSpec,
    /// The container's own directory; see [`super::start`].
    pub dir: PathBuf,
}

/// To the helper, once the container runs.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToHelper {
    Signal(i32),
}

/// From the helper: `Started` and then `Exited`, or `Failed` alone.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FromHelper {
    Started { pid: i32, notes: Vec<String> },
    Failed { program: Option<String>, reason: String },
    Exited(Exit),
}

/// From the init to the helper: `Ready` and then the end of the stream when the program runs, or `Failed`, perhaps
/// after `Ready`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FromInit {
    Ready { notes: Vec<String> },
    Failed { program: Option<String>, reason: String },
}

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// What the program gave back, or 128 and the number of the signal that ended it.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// True when the kernel ended a process of it for want of memory; known only with a memory limit.
    pub oom_killed: bool,
    /// Processor time of all its processes that were waited for, milliseconds.
    pub cpu_ms: u64,
    /// The largest resident size of one of them, bytes.
    pub peak_rss_bytes: u64,
}

impl From<Failure> for FromHelper {
    fn from(failure: Failure) -> Self {
        Self::Failed { program: failure.program, reason: failure.reason }
    }
}

impl From<Failure> for FromInit {
    fn from(failure: Failure) -> Self {
        Self::Failed { program: failure.program, reason: failure.reason }
    }
}
