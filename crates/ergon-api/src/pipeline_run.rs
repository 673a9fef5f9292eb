//! PipelineRun: one execution of a Pipeline.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube_core::ObjectMeta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::group::impl_kind;
use crate::{
    Condition, ConditionStatus, Duration, Fuse, ObjectLabels, Param, ParamValue, PipelineRef, PipelineSpec,
    PodTemplate, Prestart, Provenance, TaskRunSidecarSpec, TaskRunStepSpec, WhenExpression, WorkspaceBinding,
    condition, lenient, opaque, shared,
};

/// One execution of a Pipeline.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PipelineRun {
    /// `ergon.dev/v1` or `tekton.dev/v1`.
    pub api_version: String,
    /// `PipelineRun`.
    pub kind: String,
    /// Name, namespace, labels and annotations.
    pub metadata: ObjectMeta,
    /// What to run, and with what.
    pub spec: PipelineRunSpec,
    /// How far it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<PipelineRunStatus>,
}

impl_kind!(PipelineRun, "pipelineruns", "pipelinerun", "v1");

/// What to run, and with what. Once the run has started, only `status` may change.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PipelineRunSpec {
    /// The Pipeline to run. Exactly one of `pipelineRef` and `pipelineSpec` must be set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pipeline_ref: Option<PipelineRef>,
    /// A Pipeline, written out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pipeline_spec: Option<PipelineSpec>,
    /// Parameters for the Pipeline.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub params: Vec<Param>,
    /// Folders for the Pipeline's workspaces.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub workspaces: Vec<WorkspaceBinding>,
    /// `Cancelled` ends the run at once; `CancelledRunFinally` ends its tasks and runs `finally`; `StoppedRunFinally` lets
    /// running tasks end and runs `finally`; `PipelineRunPending` keeps the run from starting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<PipelineRunSpecStatus>,
    /// How long the run and its parts may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<TimeoutFields>,
    /// Settings for all tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_run_template: Option<PipelineTaskRunTemplate>,
    /// Settings for single tasks.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub task_run_specs: Vec<PipelineTaskRunSpec>,
    /// The controller that runs it. Absent means the one that serves this API. It never changes.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub managed_by: Option<String>,
    /// How tasks share pods in this run, when not as the Pipeline says: `auto`, `never`, `pod` or `container`. Only
    /// `ergon.dev`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fuse: Option<Fuse>,
    /// Whether pods of tasks may be made before their turn in this run, when not as the Pipeline says: `never` or `auto`.
    /// Only `ergon.dev`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prestart: Option<Prestart>,
}

/// What the user wants of a PipelineRun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum PipelineRunSpecStatus {
    /// End it at once.
    Cancelled,
    /// End its tasks, then run `finally`.
    CancelledRunFinally,
    /// Start no more tasks, let running ones end, then run `finally`.
    StoppedRunFinally,
    /// Do not start it yet.
    #[serde(rename = "PipelineRunPending")]
    Pending,
}

/// How long a run and its parts may take. `0` means no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TimeoutFields {
    /// The whole run; one hour when absent. Not less than `tasks` and `finally` together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<Duration>,
    /// The tasks; what `pipeline` leaves after `finally` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks: Option<Duration>,
    /// The final tasks; what `pipeline` leaves after `tasks` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finally: Option<Duration>,
}

/// Settings for all tasks of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PipelineTaskRunTemplate {
    /// Settings of the pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_template: Option<PodTemplate>,
    /// The service account of the pods; `default` when absent.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub service_account_name: Option<String>,
}

/// Settings for one task of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PipelineTaskRunSpec {
    /// The task's name in the Pipeline.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "lenient::or_default")]
    pub pipeline_task_name: String,
    /// The service account of its pod.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub service_account_name: Option<String>,
    /// Settings of its pod, laid over those for all tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_template: Option<PodTemplate>,
    /// Resources of single steps.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub step_specs: Vec<TaskRunStepSpec>,
    /// Resources of single sidecars.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub sidecar_specs: Vec<TaskRunSidecarSpec>,
    /// Labels and annotations for its runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<ObjectLabels>,
    /// Resources of the whole task.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "opaque::object")]
    pub compute_resources: Option<ResourceRequirements>,
    /// How long one attempt may take, when not as the Pipeline says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
}

/// How far a PipelineRun is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PipelineRunStatus {
    /// What is known about the run. `Succeeded` is `Unknown` while it runs.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub conditions: Vec<Condition>,
    /// The generation of the spec that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Notes of the controller.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "lenient::or_default")]
    pub annotations: BTreeMap<String, String>,
    /// When the controller first saw the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When the run ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
    /// When the first final task was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finally_start_time: Option<Time>,
    /// What the Pipeline produced.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub results: Vec<PipelineRunResult>,
    /// The Pipeline that was run, as it was found, with parameters filled in.
    #[serde(skip_serializing_if = "Option::is_none", with = "shared")]
    #[schemars(schema_with = "opaque::object")]
    pub pipeline_spec: Option<Arc<PipelineSpec>>,
    /// Tasks that were not run, and why.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub skipped_tasks: Vec<SkippedTask>,
    /// The runs that this run made.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub child_references: Vec<ChildStatusReference>,
    /// The tasks whose runs are too many to be in `childReferences`. They have the label `ergon.dev/pipelineTask`.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub child_counts: Vec<ChildCount>,
    /// Where the Pipeline came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provenance: Option<Provenance>,
    /// The trace that this run belongs to.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "lenient::or_default")]
    pub span_context: BTreeMap<String, String>,
}

/// A value that a pipeline produced.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PipelineRunResult {
    /// The result's name.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "lenient::or_default")]
    pub name: String,
    /// The value.
    pub value: ParamValue,
}

/// A task that was not run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SkippedTask {
    /// The task's name in the Pipeline.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "lenient::or_default")]
    pub name: String,
    /// Why it was not run, as a sentence.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "lenient::or_default")]
    pub reason: String,
    /// Its conditions, as they were evaluated.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub when_expressions: Vec<WhenExpression>,
}

/// A run that this run made.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ChildStatusReference {
    /// The child's API version.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub api_version: Option<String>,
    /// The child's kind: `TaskRun`, `CustomRun` or `PipelineRun`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub kind: Option<String>,
    /// The child's name.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "lenient::or_default")]
    pub name: String,
    /// The task's name for people.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub display_name: Option<String>,
    /// The task's name in the Pipeline.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub pipeline_task_name: Option<String>,
    /// Its conditions, as they were evaluated.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub when_expressions: Vec<WhenExpression>,
}

/// How far the runs of a task with a large matrix are.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ChildCount {
    /// The task's name in the Pipeline.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "lenient::or_default")]
    pub pipeline_task_name: String,
    /// The kind of its runs: `TaskRun`, `CustomRun` or `PipelineRun`.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "lenient::or_default")]
    pub kind: String,
    /// How many runs it has once all are made.
    pub total: u32,
    /// How many are made and have not ended.
    #[serde(skip_serializing_if = "is_zero")]
    pub running: u32,
    /// How many ended well.
    #[serde(skip_serializing_if = "is_zero")]
    pub succeeded: u32,
    /// How many ended otherwise and were not cancelled.
    #[serde(skip_serializing_if = "is_zero")]
    pub failed: u32,
    /// How many were cancelled.
    #[serde(skip_serializing_if = "is_zero")]
    pub cancelled: u32,
    /// The task's conditions, as they were evaluated.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub when_expressions: Vec<WhenExpression>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl PipelineRun {
    /// The `Succeeded` condition.
    pub fn condition(&self) -> Option<&Condition> {
        self.status.as_ref().and_then(PipelineRunStatus::condition)
    }

    /// True once the controller has seen it.
    pub fn has_started(&self) -> bool {
        self.status.as_ref().is_some_and(|status| status.start_time.is_some())
    }

    /// True once it has ended, well or not.
    pub fn is_done(&self) -> bool {
        self.status.as_ref().is_some_and(PipelineRunStatus::is_done)
    }

    /// True once it has ended well.
    pub fn is_successful(&self) -> bool {
        self.condition().is_some_and(|condition| condition.status == ConditionStatus::True)
    }

    /// True once it has failed, been cancelled, or timed out.
    pub fn is_failed(&self) -> bool {
        self.condition().is_some_and(|condition| condition.status == ConditionStatus::False)
    }

    /// True when the user wants it ended at once.
    pub fn is_cancelled(&self) -> bool {
        self.spec.status == Some(PipelineRunSpecStatus::Cancelled)
    }

    /// True when the user wants its tasks ended and `finally` run.
    pub fn is_gracefully_cancelled(&self) -> bool {
        self.spec.status == Some(PipelineRunSpecStatus::CancelledRunFinally)
    }

    /// True when the user wants no more tasks started and `finally` run.
    pub fn is_gracefully_stopped(&self) -> bool {
        self.spec.status == Some(PipelineRunSpecStatus::StoppedRunFinally)
    }

    /// True when the user wants it to wait.
    pub fn is_pending(&self) -> bool {
        self.spec.status == Some(PipelineRunSpecStatus::Pending)
    }

    /// The limit of the whole run: `None` for no limit, `default` when the run says nothing.
    pub fn pipeline_timeout(&self, default: Duration) -> Option<Duration> {
        let timeout = self.spec.timeouts.and_then(|timeouts| timeouts.pipeline).unwrap_or(default);
        (!timeout.is_zero()).then_some(timeout)
    }

    /// The limit of the tasks: what the run says, or what its pipeline leaves after `finally`; `None` for no limit.
    pub fn tasks_timeout(&self) -> Option<Duration> {
        let timeouts = self.spec.timeouts?;
        part_of(timeouts.pipeline, timeouts.tasks, timeouts.finally)
    }

    /// The limit of the final tasks: what the run says, or what its pipeline leaves after `tasks`; `None` for no limit.
    pub fn finally_timeout(&self) -> Option<Duration> {
        let timeouts = self.spec.timeouts?;
        part_of(timeouts.pipeline, timeouts.finally, timeouts.tasks)
    }
}

/// The limit of one part of a run: its own, or the whole's without the other part's.
fn part_of(whole: Option<Duration>, own: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    let limit = match (own, whole, other) {
        (Some(own), _, _) => own,
        (None, Some(whole), Some(other)) if !whole.is_zero() && !other.is_zero() => {
            whole.saturating_sub(other)
        }
        _ => return None,
    };
    (!limit.is_zero()).then_some(limit)
}

impl PipelineRunStatus {
    /// The `Succeeded` condition.
    pub fn condition(&self) -> Option<&Condition> {
        condition::find_succeeded(&self.conditions)
    }

    /// True once the run has ended, well or not.
    pub fn is_done(&self) -> bool {
        self.condition().is_some_and(|condition| condition.status != ConditionStatus::Unknown)
    }

    /// Sets a condition. The time of its last transition moves only when its status changes. Returns true when anything
    /// but the time differs.
    pub fn set_condition(&mut self, condition: Condition, now: Time) -> bool {
        condition::set(&mut self.conditions, condition, now)
    }
}
