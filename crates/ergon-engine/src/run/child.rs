//! The runs that a pipeline run makes, whatever their kind: task runs, custom runs, and runs of other pipelines.

use std::borrow::Cow;

use ergon_api::{
    Artifacts, Condition, CustomRun, Group, MATRIX_LEG_LABEL, Param, ParamValue, PipelineRun,
    PipelineRunSpecStatus, TaskRun, TaskRunSpecStatus, reasons,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::action::Action;
use crate::{fuse, labels};

/// All runs that a pipeline run owns, in any order. A stale list may delay, never duplicate: names are fixed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Children<'a> {
    pub task_runs: &'a [&'a TaskRun],
    pub custom_runs: &'a [&'a CustomRun],
    pub pipeline_runs: &'a [&'a PipelineRun],
}

impl<'a> Children<'a> {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = Child<'a>> + use<'a> {
        let tasks = self.task_runs.iter().copied().map(Child::Task);
        let customs = self.custom_runs.iter().copied().map(Child::Custom);
        tasks.chain(customs).chain(self.pipeline_runs.iter().copied().map(Child::Pipeline))
    }
}

/// One run that a pipeline run made.
#[derive(Debug, Clone, Copy)]
pub enum Child<'a> {
    Task(&'a TaskRun),
    Custom(&'a CustomRun),
    Pipeline(&'a PipelineRun),
}

impl<'a> Child<'a> {
    pub fn kind(self) -> &'static str {
        match self {
            Self::Task(_) => TaskRun::KIND,
            Self::Custom(_) => CustomRun::KIND,
            Self::Pipeline(_) => PipelineRun::KIND,
        }
    }

    pub fn api_version(self, group: Group) -> &'static str {
        match self {
            Self::Task(_) | Self::Pipeline(_) => group.api_version(),
            Self::Custom(_) => group.beta_api_version(),
        }
    }

    pub fn name(self) -> &'a str {
        self.metadata().name.as_deref().unwrap_or_default()
    }

    /// The parameters that it was made with; none where a run that has ended no longer has them in memory.
    pub fn params(self) -> &'a [Param] {
        match self {
            Self::Task(run) => &run.spec.params,
            Self::Custom(run) => &run.spec.params,
            Self::Pipeline(run) => &run.spec.params,
        }
    }

    pub fn label(self, label: &str) -> Option<&'a str> {
        self.metadata().labels.as_ref()?.get(label).map(String::as_str)
    }

    /// Which leg of a matrix it is, counted from 0.
    pub fn matrix_leg(self) -> Option<usize> {
        self.label(MATRIX_LEG_LABEL)?.parse().ok()
    }

    /// Which run of its task it is, where that runs again: 0 for the first.
    pub fn retry(self) -> i64 {
        self.label(labels::RETRY).and_then(|retry| retry.parse().ok()).unwrap_or_default()
    }

    /// The pod that it shares with others.
    pub fn shared_pod(self) -> Option<&'a str> {
        match self {
            Self::Task(run) => fuse::pod_of(run),
            Self::Custom(_) | Self::Pipeline(_) => None,
        }
    }

    /// What an annotation of it says.
    pub fn annotation(self, name: &str) -> Option<&'a str> {
        self.metadata().annotations.as_ref()?.get(name).map(String::as_str)
    }

    pub fn condition(self) -> Option<&'a Condition> {
        match self {
            Self::Task(run) => run.condition(),
            Self::Custom(run) => run.condition(),
            Self::Pipeline(run) => run.condition(),
        }
    }

    pub fn is_done(self) -> bool {
        match self {
            Self::Task(run) => run.is_done(),
            Self::Custom(run) => run.is_done(),
            Self::Pipeline(run) => run.is_done(),
        }
    }

    pub fn is_successful(self) -> bool {
        match self {
            Self::Task(run) => run.is_successful(),
            Self::Custom(run) => run.is_successful(),
            Self::Pipeline(run) => run.is_successful(),
        }
    }

    /// The reason of its condition; empty while it has none.
    pub fn reason(self) -> &'a str {
        self.condition().map_or("", Condition::reason)
    }

    /// Ended because somebody wanted it to end.
    pub fn is_cancelled(self) -> bool {
        let cancelled = match self {
            Self::Task(_) => reasons::task_run::CANCELLED,
            Self::Custom(_) => reasons::custom_run::CANCELLED,
            Self::Pipeline(_) => reasons::pipeline_run::CANCELLED,
        };
        self.reason() == cancelled
    }

    /// Ended because its pipeline run, or the tasks of that, took too long.
    pub fn is_timed_out(self) -> bool {
        let told = match self {
            Self::Task(run) => run.spec.status_message.as_deref(),
            Self::Custom(run) => run.spec.status_message.as_deref(),
            Self::Pipeline(_) => None,
        };
        self.is_cancelled() && told == Some(&Why::TimedOut.message(self.kind()))
    }

    pub fn result(self, name: &str) -> Option<Cow<'a, ParamValue>> {
        match self {
            Self::Task(run) => {
                let result = run.status.as_ref()?.results.iter().find(|result| result.name == name)?;
                Some(Cow::Borrowed(&result.value))
            }
            Self::Custom(run) => {
                let value = named(&run.status.as_ref()?.results, name)?;
                // Its API has texts only: a list stands in one as JSON.
                let list = value.as_str().and_then(|text| serde_json::from_str::<Vec<String>>(text).ok());
                Some(match list.filter(|list| !list.is_empty()) {
                    Some(list) => Cow::Owned(ParamValue::Array(list)),
                    None => Cow::Borrowed(value),
                })
            }
            Self::Pipeline(run) => named(&run.status.as_ref()?.results, name).map(Cow::Borrowed),
        }
    }

    /// What others need of it, where it is a task run.
    pub fn ended(self) -> Option<TaskRun> {
        match self {
            Self::Task(run) => Some(super::share::ended(run)),
            Self::Custom(_) | Self::Pipeline(_) => None,
        }
    }

    /// The artifacts that it hands on.
    pub fn artifacts(self) -> Option<&'a Artifacts> {
        match self {
            Self::Task(run) => run.status.as_ref()?.artifacts.as_ref(),
            Self::Custom(_) | Self::Pipeline(_) => None,
        }
    }

    /// What ends it, unless it has ended or was told to already.
    pub fn stop(self, why: Why) -> Option<Action> {
        if self.is_done() {
            return None;
        }
        let name = self.name().to_owned();
        let uid = self.metadata().uid.clone().unwrap_or_default();
        let message = why.message(self.kind());
        match self {
            Self::Task(run) if run.spec.status.is_none() => {
                Some(Action::StopTaskRun { name, uid, status: TaskRunSpecStatus::Cancelled, message })
            }
            Self::Custom(run) if run.spec.status.is_none() => {
                Some(Action::StopCustomRun { name, uid, message })
            }
            Self::Pipeline(run) => {
                // Who cancels gracefully wants what `finally` cleans up to be cleaned up there as well.
                let status = if why == Why::GracefullyCancelled {
                    PipelineRunSpecStatus::CancelledRunFinally
                } else {
                    PipelineRunSpecStatus::Cancelled
                };
                let told = run.spec.status == Some(status) || run.is_cancelled();
                (!told).then_some(Action::StopPipelineRun { name, uid, status })
            }
            Self::Task(_) | Self::Custom(_) => None,
        }
    }

    fn metadata(self) -> &'a ObjectMeta {
        match self {
            Self::Task(run) => &run.metadata,
            Self::Custom(run) => &run.metadata,
            Self::Pipeline(run) => &run.metadata,
        }
    }
}

fn named<'a>(results: &'a [ergon_api::PipelineRunResult], name: &str) -> Option<&'a ParamValue> {
    results.iter().find(|result| result.name == name).map(|result| &result.value)
}

/// Why a pipeline run ends what it made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    Cancelled,
    GracefullyCancelled,
    TimedOut,
    Failed,
}

impl Why {
    /// What the child is told, in the words that Tekton's tests compare.
    pub fn message(self, kind: &str) -> String {
        let what = match self {
            Self::Cancelled | Self::GracefullyCancelled => "has been cancelled",
            Self::TimedOut => "has timed out",
            Self::Failed => "has failed",
        };
        format!("{kind} cancelled as the PipelineRun it belongs to {what}.")
    }
}

/// A run that a decision makes.
#[derive(Debug, Clone, PartialEq)]
pub enum Made {
    Task(Box<TaskRun>),
    Custom(Box<CustomRun>),
    Pipeline(Box<PipelineRun>),
}

impl Made {
    pub fn child(&self) -> Child<'_> {
        match self {
            Self::Task(run) => Child::Task(run),
            Self::Custom(run) => Child::Custom(run),
            Self::Pipeline(run) => Child::Pipeline(run),
        }
    }

    pub fn create(self) -> Action {
        match self {
            Self::Task(run) => Action::CreateTaskRun(run),
            Self::Custom(run) => Action::CreateCustomRun(run),
            Self::Pipeline(run) => Action::CreatePipelineRun(run),
        }
    }
}
