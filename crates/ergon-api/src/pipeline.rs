//! Pipeline: a graph of Tasks.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Volume;
use kube_core::ObjectMeta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::group::impl_kind;
use crate::references::is_custom_task;
use crate::{
    Duration, Matrix, OnError, Param, ParamSpec, ParamType, ParamValue, PipelineRef,
    PipelineWorkspaceDeclaration, Sidecar, Step, StepTemplate, TaskRef, TaskResult, TaskSpec, WhenExpression,
    WorkspaceDeclaration, WorkspacePipelineTaskBinding, lenient, opaque,
};

/// A graph of Tasks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Pipeline {
    /// `ergon.dev/v1` or `tekton.dev/v1`.
    pub api_version: String,
    /// `Pipeline`.
    pub kind: String,
    /// Name, namespace, labels and annotations.
    pub metadata: ObjectMeta,
    /// What the Pipeline does.
    pub spec: PipelineSpec,
}

impl_kind!(Pipeline, "pipelines", "pipeline", "v1");

/// A graph of Tasks. Edges come from `runAfter` and from the use of results.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PipelineSpec {
    /// A name for people.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub display_name: Option<String>,
    /// What the Pipeline does, for people and user interfaces.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub description: Option<String>,
    /// Parameters, set by runs. Their variables are `$(params.<name>)`.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub params: Vec<ParamSpec>,
    /// Folders that the Pipeline needs, provided by runs.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub workspaces: Vec<PipelineWorkspaceDeclaration>,
    /// The tasks of the graph.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub tasks: Vec<PipelineTask>,
    /// Tasks that run once all others have ended, however they ended. They run side by side.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub finally: Vec<PipelineTask>,
    /// Values that the Pipeline produces from the results of its tasks.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub results: Vec<PipelineResult>,
    /// How tasks share pods: `auto`, `never`, `pod` or `container`. Only `ergon.dev`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fuse: Option<Fuse>,
    /// Whether pods of tasks may be made before their turn: `never` or `auto`. Only `ergon.dev`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prestart: Option<Prestart>,
}

impl PipelineSpec {
    /// All tasks, those of `finally` last.
    pub fn all_tasks(&self) -> impl Iterator<Item = &PipelineTask> + Clone {
        self.tasks.iter().chain(&self.finally)
    }
}

/// How far tasks may share a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Fuse {
    /// Share a pod where nothing but the speed can differ.
    #[default]
    Auto,
    /// A pod for each task.
    Never,
    /// Share a pod wherever it is possible at all.
    Pod,
    /// As `pod`, and run neighbouring steps of one image in one container.
    Container,
}

/// Whether a task's pod may be made before its turn, and wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Prestart {
    /// A pod is made when the task's turn has come.
    #[default]
    Never,
    /// A pod is made while the last of the tasks before it run, as far as the installation's limit allows.
    Auto,
}

/// One node of the graph.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PipelineTask {
    /// The task's name in the graph: lower-case letters, digits and `-`, at most 63.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "lenient::or_default")]
    pub name: String,
    /// A name for people. It may use parameters and results.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub display_name: Option<String>,
    /// What the task does here, for people and user interfaces.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub description: Option<String>,
    /// The Task to run. Exactly one of `taskRef`, `taskSpec`, `pipelineRef` and `pipelineSpec` must be set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_ref: Option<TaskRef>,
    /// A Task, written out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_spec: Option<EmbeddedTask>,
    /// The Pipeline to run as one task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pipeline_ref: Option<PipelineRef>,
    /// A Pipeline, written out, to run as one task.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "opaque::object")]
    pub pipeline_spec: Option<Box<PipelineSpec>>,
    /// Conditions that must all hold for the task to run.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub when: Vec<WhenExpression>,
    /// How many times to try again after a failure. Not together with `onError: continue`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<i32>,
    /// What a failure means: `stopAndFail` (the default) stops the pipeline; `continue` ignores it.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub on_error: Option<String>,
    /// Names of tasks that must have ended first, beside those whose results are used.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub run_after: Vec<String>,
    /// Parameters for the Task. They may use the pipeline's parameters, and results as `$(tasks.<task>.results.<name>)`.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub params: Vec<Param>,
    /// Run the task once for each combination of parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matrix: Option<Matrix>,
    /// Which of the pipeline's workspaces the Task gets.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub workspaces: Vec<WorkspacePipelineTaskBinding>,
    /// How long one attempt may take, such as `10m`. `0` means no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// How this task may share a pod, when not as the Pipeline says. Only `ergon.dev`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fuse: Option<Fuse>,
    /// Whether this task's pod may be made before its turn, when not as the Pipeline says. Only `ergon.dev`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prestart: Option<Prestart>,
}

impl PipelineTask {
    /// True when a CustomRun runs it instead of a TaskRun.
    pub fn is_custom_task(&self) -> bool {
        self.task_ref.as_ref().is_some_and(TaskRef::is_custom_task)
            || self.task_spec.as_ref().is_some_and(EmbeddedTask::is_custom_task)
    }

    /// True when a PipelineRun runs it instead of a TaskRun.
    pub fn is_pipeline(&self) -> bool {
        self.pipeline_ref.is_some() || self.pipeline_spec.is_some()
    }

    /// True when it runs once for each combination of a matrix.
    pub fn is_matrixed(&self) -> bool {
        self.matrix.as_ref().is_some_and(|matrix| !matrix.is_empty())
    }

    /// True when a failure of it is ignored.
    pub fn continues_on_error(&self) -> bool {
        OnError::of(self.on_error.as_deref()) == Some(OnError::Continue)
    }
}

/// Declares a value that a Pipeline produces.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PipelineResult {
    /// The result's name.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "lenient::or_default")]
    pub name: String,
    /// What the result holds: `string` (the default), `array` or `object`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(rename = "type")]
    pub type_: Option<ParamType>,
    /// What the result is, for people and user interfaces.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub description: Option<String>,
    /// The value, made from results of tasks, as in `$(tasks.<task>.results.<name>)`.
    pub value: ParamValue,
}

/// Labels and annotations for the runs of an embedded task.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectLabels {
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "lenient::or_default")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "lenient::or_default")]
    pub annotations: BTreeMap<String, String>,
}

/// A Task, or a custom task, written out inside a Pipeline.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "EmbeddedTaskFields", into = "EmbeddedTaskFields")]
pub struct EmbeddedTask {
    /// The API version of a custom task.
    pub api_version: Option<String>,
    /// The kind of a custom task.
    pub kind: Option<String>,
    /// What a custom task's controller needs to know; opaque here.
    pub spec: Option<Value>,
    /// Labels and annotations for the runs.
    pub metadata: ObjectLabels,
    /// The Task. In YAML its fields stand beside the others.
    pub task: TaskSpec,
}

impl EmbeddedTask {
    /// True when this is a custom task.
    pub fn is_custom_task(&self) -> bool {
        is_custom_task(self.api_version.as_deref(), self.kind.as_deref())
    }
}

/// An embedded task as it stands in YAML. Written out instead of flattened, because flattening loses the place of errors
/// and hides misspelt fields.
#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct EmbeddedTaskFields {
    /// The API version of a custom task.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    api_version: Option<String>,
    /// The kind of a custom task.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    kind: Option<String>,
    /// What a custom task's controller needs to know.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "opaque::object")]
    spec: Option<Value>,
    /// Labels and annotations for the runs of this task.
    #[serde(skip_serializing_if = "is_empty", deserialize_with = "lenient::or_default")]
    metadata: ObjectLabels,
    /// A name for people.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    display_name: Option<String>,
    /// What the task does, for people and user interfaces.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    description: Option<String>,
    /// Parameters, set by the pipeline task. Those of the Pipeline need not be declared again.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    params: Vec<ParamSpec>,
    /// The containers to run, in order. At least one.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    steps: Vec<Step>,
    /// Settings that every step starts from.
    #[serde(skip_serializing_if = "Option::is_none")]
    step_template: Option<StepTemplate>,
    /// Containers that run beside the steps.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    sidecars: Vec<Sidecar>,
    /// Volumes that steps and sidecars may mount. They may use parameters.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    #[schemars(schema_with = "opaque::list")]
    volumes: Vec<Volume>,
    /// Folders that the task needs.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    workspaces: Vec<WorkspaceDeclaration>,
    /// Values that steps write to `$(results.<name>.path)`, and that other tasks may use.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    results: Vec<TaskResult>,
}

fn is_empty(labels: &ObjectLabels) -> bool {
    labels.labels.is_empty() && labels.annotations.is_empty()
}

impl JsonSchema for EmbeddedTask {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "EmbeddedTask".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        EmbeddedTaskFields::json_schema(generator)
    }
}

impl From<EmbeddedTaskFields> for EmbeddedTask {
    fn from(fields: EmbeddedTaskFields) -> Self {
        let EmbeddedTaskFields {
            api_version,
            kind,
            spec,
            metadata,
            display_name,
            description,
            params,
            steps,
            step_template,
            sidecars,
            volumes,
            workspaces,
            results,
        } = fields;
        let task = TaskSpec {
            display_name,
            description,
            params,
            steps,
            step_template,
            sidecars,
            volumes,
            workspaces,
            results,
        };
        Self { api_version, kind, spec, metadata, task }
    }
}

impl From<EmbeddedTask> for EmbeddedTaskFields {
    fn from(embedded: EmbeddedTask) -> Self {
        let EmbeddedTask { api_version, kind, spec, metadata, task } = embedded;
        let TaskSpec {
            display_name,
            description,
            params,
            steps,
            step_template,
            sidecars,
            volumes,
            workspaces,
            results,
        } = task;
        Self {
            api_version,
            kind,
            spec,
            metadata,
            display_name,
            description,
            params,
            steps,
            step_template,
            sidecars,
            volumes,
            workspaces,
            results,
        }
    }
}
