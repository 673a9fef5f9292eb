//! A run of either kind, and what can be said of both.

use std::fmt;

use ergon_api::{Condition, ConditionStatus, Group, ParamValue, PipelineRun, TaskRun, reasons};
use jiff::Timestamp;
use kube::core::ObjectMeta;
use serde_json::Value;

use crate::error::{Error, Result};

/// The kinds of runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RunKind {
    /// A run of a Pipeline.
    PipelineRun,
    /// A run of a Task.
    TaskRun,
}

impl RunKind {
    /// Both, in the order in which a name without a kind is looked up.
    pub const ALL: [Self; 2] = [Self::PipelineRun, Self::TaskRun];

    /// Such as `PipelineRun`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PipelineRun => PipelineRun::KIND,
            Self::TaskRun => TaskRun::KIND,
        }
    }

    /// Such as `pipelinerun`: how commands write it.
    pub const fn singular(self) -> &'static str {
        match self {
            Self::PipelineRun => PipelineRun::SINGULAR,
            Self::TaskRun => TaskRun::SINGULAR,
        }
    }
}

impl fmt::Display for RunKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Names one run.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RunRef {
    /// The API group.
    pub group: Group,
    /// The kind.
    pub kind: RunKind,
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl fmt::Display for RunRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}` in namespace `{}`", self.kind, self.name, self.namespace)
    }
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Accepted, and nothing of it has started.
    Pending,
    /// On its way.
    Running,
    /// Ended as wanted.
    Succeeded,
    /// Ended with an error, or out of time.
    Failed,
    /// Ended by a user's wish.
    Cancelled,
}

impl Phase {
    /// The phase that a `Succeeded` condition and the start tell.
    pub fn of(condition: Option<&Condition>, started: bool) -> Self {
        let Some(condition) = condition else { return Self::Pending };
        match condition.status {
            ConditionStatus::True => Self::Succeeded,
            ConditionStatus::False if is_cancelled(condition.reason()) => Self::Cancelled,
            ConditionStatus::False => Self::Failed,
            ConditionStatus::Unknown if !started || is_pending(condition.reason()) => Self::Pending,
            ConditionStatus::Unknown => Self::Running,
        }
    }

    /// True when nothing more will happen.
    pub fn is_done(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// One word for people.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Cancelled => "Cancelled",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

fn is_cancelled(reason: &str) -> bool {
    [reasons::pipeline_run::CANCELLED, reasons::task_run::CANCELLED, reasons::custom_run::CANCELLED]
        .contains(&reason)
}

fn is_pending(reason: &str) -> bool {
    [reasons::pipeline_run::PENDING, reasons::task_run::PENDING_BY_USER, reasons::task_run::PENDING]
        .contains(&reason)
}

/// A run of either kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Run {
    /// A run of a Pipeline.
    Pipeline(Box<PipelineRun>),
    /// A run of a Task.
    Task(Box<TaskRun>),
}

impl From<PipelineRun> for Run {
    fn from(run: PipelineRun) -> Self {
        Self::Pipeline(Box::new(run))
    }
}

impl From<TaskRun> for Run {
    fn from(run: TaskRun) -> Self {
        Self::Task(Box::new(run))
    }
}

impl Run {
    /// The kind.
    pub fn kind(&self) -> RunKind {
        match self {
            Self::Pipeline(_) => RunKind::PipelineRun,
            Self::Task(_) => RunKind::TaskRun,
        }
    }

    /// The API group.
    pub fn group(&self) -> Group {
        match self {
            Self::Pipeline(run) => run.group(),
            Self::Task(run) => run.group(),
        }
    }

    /// Names, labels and the like.
    pub fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::Pipeline(run) => &run.metadata,
            Self::Task(run) => &run.metadata,
        }
    }

    /// The name, or the empty text.
    pub fn name(&self) -> &str {
        self.metadata().name.as_deref().unwrap_or_default()
    }

    /// The namespace, or the empty text.
    pub fn namespace(&self) -> &str {
        self.metadata().namespace.as_deref().unwrap_or_default()
    }

    /// What names this run.
    pub fn reference(&self) -> RunRef {
        RunRef {
            group: self.group(),
            kind: self.kind(),
            namespace: self.namespace().to_owned(),
            name: self.name().to_owned(),
        }
    }

    /// The `Succeeded` condition.
    pub fn condition(&self) -> Option<&Condition> {
        match self {
            Self::Pipeline(run) => run.condition(),
            Self::Task(run) => run.condition(),
        }
    }

    /// How far it is.
    pub fn phase(&self) -> Phase {
        Phase::of(self.condition(), self.started_at().is_some())
    }

    /// True when nothing more will happen.
    pub fn is_done(&self) -> bool {
        self.phase().is_done()
    }

    /// When the object was made.
    pub fn created_at(&self) -> Option<Timestamp> {
        self.metadata().creation_timestamp.as_ref().map(|time| time.0)
    }

    /// When it started.
    pub fn started_at(&self) -> Option<Timestamp> {
        match self {
            Self::Pipeline(run) => run.status.as_ref()?.start_time.as_ref(),
            Self::Task(run) => run.status.as_ref()?.start_time.as_ref(),
        }
        .map(|time| time.0)
    }

    /// When it ended.
    pub fn ended_at(&self) -> Option<Timestamp> {
        match self {
            Self::Pipeline(run) => run.status.as_ref()?.completion_time.as_ref(),
            Self::Task(run) => run.status.as_ref()?.completion_time.as_ref(),
        }
        .map(|time| time.0)
    }

    /// The name of the Pipeline or Task that it runs, unless that is written inside the run.
    pub fn runs(&self) -> Option<&str> {
        match self {
            Self::Pipeline(run) => run.spec.pipeline_ref.as_ref()?.name.as_deref(),
            Self::Task(run) => run.spec.task_ref.as_ref()?.name.as_deref(),
        }
    }

    /// Name and value of each result.
    pub fn results(&self) -> Vec<(&str, &ParamValue)> {
        match self {
            Self::Pipeline(run) => run
                .status
                .iter()
                .flat_map(|status| &status.results)
                .map(|result| (result.name.as_str(), &result.value))
                .collect(),
            Self::Task(run) => run
                .status
                .iter()
                .flat_map(|status| &status.results)
                .map(|result| (result.name.as_str(), &result.value))
                .collect(),
        }
    }

    /// The object as JSON.
    pub fn to_json(&self) -> Result<Value> {
        match self {
            Self::Pipeline(run) => serde_json::to_value(run),
            Self::Task(run) => serde_json::to_value(run),
        }
        .map_err(|source| Error::Decode { what: self.reference().to_string(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_phase_follows_from_the_condition() {
        let table = [
            (None, false, Phase::Pending),
            (Some((ConditionStatus::Unknown, "Running")), true, Phase::Running),
            (Some((ConditionStatus::Unknown, "Started")), false, Phase::Pending),
            (Some((ConditionStatus::Unknown, "PipelineRunPending")), false, Phase::Pending),
            (Some((ConditionStatus::True, "Completed")), true, Phase::Succeeded),
            (Some((ConditionStatus::False, "TaskRunTimeout")), true, Phase::Failed),
            (Some((ConditionStatus::False, "TaskRunCancelled")), true, Phase::Cancelled),
            (Some((ConditionStatus::False, "Cancelled")), true, Phase::Cancelled),
        ];
        for (condition, started, expected) in table {
            let made = condition.map(|(status, reason)| Condition::succeeded(status, reason, ""));
            assert_eq!(Phase::of(made.as_ref(), started), expected, "{condition:?}");
        }
    }
}
