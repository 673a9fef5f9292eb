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
    /// The shim exits after it, unless other steps follow in its container: then it waits for the next word.
    Ended {
        record: ExitRecord,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "message")]
pub enum ToShim {
    Run(Box<RunCommand>),
    /// Never run: record this end.
    Skip {
        step: Box<StepPlan>,
        exit: Exit,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        company: Option<Box<Company>>,
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub company: Option<Box<Company>>,
}

/// What a step must know that is not alone in its container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Company {
    /// Other steps follow.
    pub more: bool,
    /// The task before was another one: the task's folders are emptied first, so that it finds them as if they were new.
    pub fresh: bool,
    /// What the container's log says where the step begins: see [`Company::log_line`].
    pub title: String,
}

impl Company {
    /// The annotation on a task run with the container that all its steps run in, where others have it before or after.
    pub const ANNOTATION: &str = "ergon.dev/shared-container";

    /// What a line begins with that says whose the lines after it are, up to the next such line.
    pub const LOG_MARK: &str = "\u{1e}ergon ";

    /// The title of a step of a pipeline task: both names, which have no spaces.
    pub fn title(task: &str, step: &str) -> String {
        format!("{task} {step}")
    }

    /// The line in the container's log where the step begins.
    pub fn log_line(&self) -> String {
        format!("{}{}", Self::LOG_MARK, self.title)
    }
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
