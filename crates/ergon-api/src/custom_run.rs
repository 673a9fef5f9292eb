//! CustomRun: one execution of a custom task, carried out by somebody else's controller.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube_core::ObjectMeta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::group::impl_kind;
use crate::{
    Condition, ConditionStatus, Duration, ObjectLabels, Param, PipelineRunResult, TaskRef, WorkspaceBinding,
    condition, lenient, opaque,
};

/// One execution of a custom task. Another controller carries it out and writes its status.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CustomRun {
    /// `ergon.dev/v1beta1` or `tekton.dev/v1beta1`.
    pub api_version: String,
    /// `CustomRun`.
    pub kind: String,
    /// Name, namespace, labels and annotations.
    pub metadata: ObjectMeta,
    /// What to run, and with what.
    pub spec: CustomRunSpec,
    /// How far it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<CustomRunStatus>,
}

impl_kind!(CustomRun, "customruns", "customrun", "v1beta1");

/// What to run, and with what.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CustomRunSpec {
    /// The custom task to run. Exactly one of `customRef` and `customSpec` must be set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom_ref: Option<TaskRef>,
    /// A custom task, written out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom_spec: Option<EmbeddedCustomRun>,
    /// Parameters for the custom task.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub params: Vec<Param>,
    /// `RunCancelled` asks the controller to end the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<CustomRunSpecStatus>,
    /// Why the run was cancelled.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub status_message: Option<String>,
    /// How many times the controller may try again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<i32>,
    /// The service account to use.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub service_account_name: Option<String>,
    /// Folders for the custom task.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub workspaces: Vec<WorkspaceBinding>,
    /// How long the run may take, such as `10m`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
}

/// What the user wants of a CustomRun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum CustomRunSpecStatus {
    /// End it.
    #[serde(rename = "RunCancelled")]
    Cancelled,
}

/// A custom task, written out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EmbeddedCustomRun {
    /// The API version of the custom task.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub api_version: Option<String>,
    /// The kind of the custom task.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub kind: Option<String>,
    /// Labels and annotations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<ObjectLabels>,
    /// What the custom task's controller needs to know.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "opaque::object")]
    pub spec: Option<Value>,
}

/// How far a CustomRun is; written by its controller.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CustomRunStatus {
    /// What is known about the run. `Succeeded` is `Unknown` while it runs.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub conditions: Vec<Condition>,
    /// The generation of the spec that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Notes of the controller.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "lenient::or_default")]
    pub annotations: BTreeMap<String, String>,
    /// When the run started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When the run ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
    /// What the run produced.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub results: Vec<PipelineRunResult>,
    /// The statuses of earlier attempts, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    #[schemars(schema_with = "opaque::list")]
    pub retries_status: Vec<CustomRunStatus>,
    /// Whatever else the controller wants to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "opaque::object")]
    pub extra_fields: Option<Value>,
}

impl CustomRun {
    /// The `Succeeded` condition.
    pub fn condition(&self) -> Option<&Condition> {
        self.status.as_ref().and_then(|status| condition::find_succeeded(&status.conditions))
    }

    /// True once it has ended, well or not.
    pub fn is_done(&self) -> bool {
        self.condition().is_some_and(|condition| condition.status != ConditionStatus::Unknown)
    }

    /// True once it has ended well.
    pub fn is_successful(&self) -> bool {
        self.condition().is_some_and(|condition| condition.status == ConditionStatus::True)
    }

    /// True when the user wants it ended.
    pub fn is_cancelled(&self) -> bool {
        self.spec.status == Some(CustomRunSpecStatus::Cancelled)
    }
}
