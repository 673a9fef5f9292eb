//! The agent's report: always the whole state of its pod, so that any one of them is enough.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{ExitRecord, Millis};

/// What the agent posts whenever something changed. Which pod it speaks for follows from its token alone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodReport {
    /// Grows with each change: an older report that arrives late is dropped.
    pub sequence: u64,
    /// In the order of the plan.
    pub steps: Vec<StepReport>,
    /// All steps have ended: the last report.
    pub done: bool,
    /// The pod was made ahead and waits to be told to begin: the tasks whose ends it wants to know then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<Vec<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepReport {
    /// The container's name, such as `step-build`.
    pub container: String,
    /// The pipeline task that it belongs to, in a pod that tasks share.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub task: String,
    pub state: StepState,
}

impl StepReport {
    /// Whether its command was started, or should have been.
    pub fn was_started(&self) -> bool {
        match &self.state {
            StepState::Waiting => false,
            StepState::Running { .. } => true,
            StepState::Ended { record } => record.was_started(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub enum StepState {
    /// Its turn has not come, or its shim has not connected yet.
    Waiting,
    Running {
        #[serde(rename = "startedAt")]
        started_at: Millis,
    },
    Ended {
        record: ExitRecord,
    },
}

/// What the controller answers to a report that it took.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportAnswer {
    /// The sequence that is now known.
    pub sequence: u64,
    /// The run was cancelled or timed out: end what runs.
    #[serde(default)]
    pub stop: bool,
    /// In a pod that tasks share: those of them whose runs are over, and which are to end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop_tasks: Vec<String>,
    /// In such a pod, by task: the tries before this one are over, and are to end. The task goes on with the next.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub stop_tries: BTreeMap<String, usize>,
    /// In such a pod: no other task is to start.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub halt: bool,
    /// To a pod that waits: begin, with what the engine has written down for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begin: Option<Box<serde_json::Value>>,
}
