//! The talk between agent and shim, over the step's own socket.
//!
//! The shim connects and says [`FromShim::Hello`]; the agent answers when the step's turn has come. A connection that
//! breaks means that the other side is gone: the agent takes the step as interrupted, the shim ends its command.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Exit, ExitRecord, Millis, ResultValue, StepPlan};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "message")]
pub enum FromShim {
    Hello,
    Started {
        at: Millis,
    },
    /// The last message: the shim exits after it.
    Ended {
        record: ExitRecord,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "message")]
pub enum ToShim {
    Run(Box<RunCommand>),
    /// Never run: record this end and exit.
    Skip {
        step: Box<StepPlan>,
        exit: Exit,
    },
    /// End the command: SIGTERM to its process group, SIGKILL after the grace period.
    Stop {
        reason: StopReason,
        #[serde(rename = "graceMs")]
        grace_ms: Millis,
    },
}

/// What the shim is to run: the step of the plan as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunCommand {
    pub step: StepPlan,
    /// Names of the results that the task declares: the files that the shim reads when the command has ended.
    pub results: Vec<String>,
    /// What the step's references stand for. One without a value stays as it is.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, ResultValue>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StopReason {
    Cancelled,
    TimedOut,
    /// The agent itself was told to end.
    Interrupted,
    /// All steps that a sidecar ran beside have ended: that is its time, whatever its exit code.
    Over,
}
