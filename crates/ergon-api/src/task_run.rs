//! TaskRun: one execution of a Task.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube_core::ObjectMeta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::group::impl_kind;
use crate::{
    Condition, ConditionStatus, Duration, Param, ParamType, ParamValue, PodTemplate, TaskRef, TaskSpec,
    WorkspaceBinding, condition, lenient, opaque,
};

/// One execution of a Task.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskRun {
    /// `ergon.dev/v1` or `tekton.dev/v1`.
    pub api_version: String,
    /// `TaskRun`.
    pub kind: String,
    /// Name, namespace, labels and annotations.
    pub metadata: ObjectMeta,
    /// What to run, and with what.
    pub spec: TaskRunSpec,
    /// How far it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<TaskRunStatus>,
}

impl_kind!(TaskRun, "taskruns", "taskrun", "v1");

/// What to run, and with what. Once the run has started, only `status` and `statusMessage` may change.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskRunSpec {
    /// The Task to run. Exactly one of `taskRef` and `taskSpec` must be set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_ref: Option<TaskRef>,
    /// A Task, written out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_spec: Option<TaskSpec>,
    /// Parameters for the Task.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub params: Vec<Param>,
    /// Folders for the Task's workspaces.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub workspaces: Vec<WorkspaceBinding>,
    /// The service account of the pod; `default` when absent.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub service_account_name: Option<String>,
    /// Settings of the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_template: Option<PodTemplate>,
    /// How many times to try again after a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<i32>,
    /// How long one attempt may take, such as `10m`; one hour when absent. `0` means no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// `TaskRunCancelled` cancels the run; `TaskRunPending` keeps it from starting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<TaskRunSpecStatus>,
    /// Why the run was cancelled.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub status_message: Option<String>,
    /// Where to stop for a look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub debug: Option<TaskRunDebug>,
    /// Resources of single steps, instead of what the Task says.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub step_specs: Vec<TaskRunStepSpec>,
    /// Resources of single sidecars, instead of what the Task says.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub sidecar_specs: Vec<TaskRunSidecarSpec>,
    /// Resources of the whole task, instead of what its steps say.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "opaque::object")]
    pub compute_resources: Option<ResourceRequirements>,
    /// The controller that runs it. Absent means the one that serves this API. It never changes.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub managed_by: Option<String>,
}

/// What the user wants of a TaskRun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum TaskRunSpecStatus {
    /// End it.
    #[serde(rename = "TaskRunCancelled")]
    Cancelled,
    /// Do not start it yet.
    #[serde(rename = "TaskRunPending")]
    Pending,
}

/// Where to stop for a look.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskRunDebug {
    /// The breakpoints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub breakpoints: Option<TaskBreakpoints>,
}

/// The breakpoints of a TaskRun.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskBreakpoints {
    /// `enabled` keeps the pod when a step fails, so that one can look at it.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub on_failure: Option<String>,
    /// Names of steps before which to stop.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub before_steps: Vec<String>,
}

/// Resources of one step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskRunStepSpec {
    /// The step's name.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "lenient::or_default")]
    pub name: String,
    /// Its resources.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "opaque::object")]
    pub compute_resources: Option<ResourceRequirements>,
}

/// Resources of one sidecar.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskRunSidecarSpec {
    /// The sidecar's name.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "lenient::or_default")]
    pub name: String,
    /// Its resources.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "opaque::object")]
    pub compute_resources: Option<ResourceRequirements>,
}

/// How far a TaskRun is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskRunStatus {
    /// What is known about the run. `Succeeded` is `Unknown` while it runs.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub conditions: Vec<Condition>,
    /// The generation of the spec that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Notes of the controller.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "lenient::or_default")]
    pub annotations: BTreeMap<String, String>,
    /// The pod that runs the current attempt.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub pod_name: Option<String>,
    /// When the controller first saw the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When the run ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
    /// The steps, in order.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub steps: Vec<StepState>,
    /// The sidecars, in order.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub sidecars: Vec<SidecarState>,
    /// What the Task produced.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub results: Vec<TaskRunResult>,
    /// What the Task used and made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifacts: Option<Artifacts>,
    /// The statuses of earlier attempts, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    #[schemars(schema_with = "opaque::list")]
    pub retries_status: Vec<RetriesStatus>,
    /// The Task that was run, as it was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "opaque::object")]
    pub task_spec: Option<TaskSpec>,
    /// Where the Task came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provenance: Option<Provenance>,
    /// The trace that this run belongs to.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "lenient::or_default")]
    pub span_context: BTreeMap<String, String>,
}

/// The status of an earlier attempt.
pub type RetriesStatus = TaskRunStatus;

/// How far one step is. At most one of `waiting`, `running` and `terminated` is set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct StepState {
    /// The step's name; `unnamed-<index>` when it has none.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "lenient::or_default")]
    pub name: String,
    /// The container's name in the pod.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "lenient::or_default")]
    pub container: String,
    /// The image that ran, with its digest.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    #[serde(rename = "imageID")]
    pub image_id: Option<String>,
    /// Set while the step has not started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<ContainerStateWaiting>,
    /// Set while the step runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running: Option<ContainerStateRunning>,
    /// Set once the step has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terminated: Option<ContainerStateTerminated>,
    /// How the step ended: `Completed`, `Error`, `Skipped`, `Continued`, `TimeoutExceeded`, `Cancelled`,
    /// `TaskRunCancelled` or `TaskRunTimeout`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub termination_reason: Option<String>,
    /// What the step produced.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub results: Vec<TaskRunResult>,
    /// Where the StepAction came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provenance: Option<Provenance>,
    /// What the step used.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub inputs: Vec<Artifact>,
    /// What the step made.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub outputs: Vec<Artifact>,
}

/// How far one sidecar is. At most one of `waiting`, `running` and `terminated` is set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SidecarState {
    /// The sidecar's name.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "lenient::or_default")]
    pub name: String,
    /// The container's name in the pod.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "lenient::or_default")]
    pub container: String,
    /// The image that ran, with its digest.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    #[serde(rename = "imageID")]
    pub image_id: Option<String>,
    /// Set while the sidecar has not started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<ContainerStateWaiting>,
    /// Set while the sidecar runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running: Option<ContainerStateRunning>,
    /// Set once the sidecar has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terminated: Option<ContainerStateTerminated>,
}

/// A value that a task or step produced.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskRunResult {
    /// The result's name.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "lenient::or_default")]
    pub name: String,
    /// What the value is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(rename = "type")]
    pub type_: Option<ParamType>,
    /// The value.
    pub value: ParamValue,
}

/// What a task used and made.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Artifacts {
    /// What it used.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub inputs: Vec<Artifact>,
    /// What it made.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub outputs: Vec<Artifact>,
}

/// A thing with an address and a digest.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Artifact {
    /// The artifact's name.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "lenient::or_default")]
    pub name: String,
    /// Its values.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub values: Vec<ArtifactValue>,
    /// True when it is what the build is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build_output: Option<bool>,
}

/// One address of an [`Artifact`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ArtifactValue {
    /// The address.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub uri: Option<String>,
    /// Digests by algorithm, such as `sha256`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "lenient::or_default")]
    pub digest: BTreeMap<String, String>,
}

/// Where a definition came from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Provenance {
    /// The place it was fetched from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ref_source: Option<RefSource>,
    /// The settings of the controller that ran it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "opaque::object")]
    pub feature_flags: Option<Value>,
}

/// The place a definition was fetched from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RefSource {
    /// The address, such as `git+https://example.com/repo.git`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub uri: Option<String>,
    /// Digests by algorithm, such as `sha256`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "lenient::or_default")]
    pub digest: BTreeMap<String, String>,
    /// The path inside, such as a file in the repository.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub entry_point: Option<String>,
}

/// The label that says which leg of its task's matrix a task run is, in both groups. The run's name says so too, but
/// not where it had to be shortened.
pub const MATRIX_LEG_LABEL: &str = "ergon.dev/matrix-leg";

impl TaskRun {
    /// The `Succeeded` condition.
    pub fn condition(&self) -> Option<&Condition> {
        self.status.as_ref().and_then(TaskRunStatus::condition)
    }

    /// True once the controller has seen it.
    pub fn has_started(&self) -> bool {
        self.status.as_ref().is_some_and(|status| status.start_time.is_some())
    }

    /// True once it has ended, well or not.
    pub fn is_done(&self) -> bool {
        self.status.as_ref().is_some_and(TaskRunStatus::is_done)
    }

    /// True once it has ended well.
    pub fn is_successful(&self) -> bool {
        self.condition().is_some_and(|condition| condition.status == ConditionStatus::True)
    }

    /// True once it has failed, been cancelled, or timed out.
    pub fn is_failed(&self) -> bool {
        self.condition().is_some_and(|condition| condition.status == ConditionStatus::False)
    }

    /// True when the user wants it ended.
    pub fn is_cancelled(&self) -> bool {
        self.spec.status == Some(TaskRunSpecStatus::Cancelled)
    }

    /// True when the user wants it to wait.
    pub fn is_pending(&self) -> bool {
        self.spec.status == Some(TaskRunSpecStatus::Pending)
    }

    /// The name of the pipeline task that it is a run of; none where it belongs to no pipeline.
    pub fn pipeline_task(&self) -> Option<&str> {
        self.label(&self.group().label("pipelineTask"))
    }

    /// Which leg of its task's matrix it is, counted from 0; none where there is no matrix.
    pub fn matrix_leg(&self) -> Option<usize> {
        self.label(MATRIX_LEG_LABEL)?.parse().ok()
    }

    /// What it is called for people: its task's name in the pipeline, with the number for a leg of a matrix, such as
    /// `test[0]`; its own name where it belongs to no pipeline.
    pub fn task_label(&self) -> String {
        match (self.pipeline_task(), self.matrix_leg()) {
            (Some(task), Some(leg)) => format!("{task}[{leg}]"),
            (Some(task), None) => task.to_owned(),
            (None, _) => self.name().to_owned(),
        }
    }

    fn label(&self, key: &str) -> Option<&str> {
        self.metadata.labels.as_ref()?.get(key).map(String::as_str)
    }

    /// How many times it may be tried again.
    pub fn retries(&self) -> u32 {
        u32::try_from(self.spec.retries.unwrap_or(0)).unwrap_or(0)
    }
}

impl TaskRunStatus {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Group;

    #[test]
    fn a_task_run_is_called_as_its_task_in_the_pipeline() {
        for (task, leg, expected) in [
            (None, None, "run-1"),
            (Some("build"), None, "build"),
            (Some("test"), Some("12"), "test[12]"),
            (Some("test"), Some("x"), "test"),
        ] {
            let mut run = TaskRun::new(Group::Tekton, "run-1");
            let labels = [("tekton.dev/pipelineTask", task), (MATRIX_LEG_LABEL, leg)];
            run.metadata.labels = Some(
                labels
                    .iter()
                    .filter_map(|(key, value)| Some(((*key).to_owned(), (*value)?.to_owned())))
                    .collect(),
            );
            assert_eq!(run.task_label(), expected);
        }
    }
}
