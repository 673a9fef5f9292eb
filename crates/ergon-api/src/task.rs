//! Task: a list of containerised steps.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Volume;
use kube_core::ObjectMeta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

use crate::group::impl_kind;
use crate::{
    ParamSpec, ParamType, ParamValue, PropertySpec, Sidecar, Step, StepTemplate, WorkspaceDeclaration,
    lenient, opaque,
};

/// A list of steps that run one after another, in containers of one pod.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Task {
    /// `ergon.dev/v1` or `tekton.dev/v1`.
    pub api_version: String,
    /// `Task`.
    pub kind: String,
    /// Name, namespace, labels and annotations.
    pub metadata: ObjectMeta,
    /// What the Task does.
    pub spec: TaskSpec,
}

impl_kind!(Task, "tasks", "task", "v1");

/// A list of steps that run one after another, in containers of one pod.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskSpec {
    /// A name for people.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub display_name: Option<String>,
    /// What the Task does, for people and user interfaces.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub description: Option<String>,
    /// Parameters, set by runs. Their variables are `$(params.<name>)`.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub params: Vec<ParamSpec>,
    /// The containers to run, in order. At least one.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub steps: Vec<Step>,
    /// Settings that every step starts from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step_template: Option<StepTemplate>,
    /// Containers that run beside the steps.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub sidecars: Vec<Sidecar>,
    /// Volumes that steps and sidecars may mount. They may use parameters.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    #[schemars(schema_with = "opaque::list")]
    pub volumes: Vec<Volume>,
    /// Folders that the Task needs, provided by runs.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub workspaces: Vec<WorkspaceDeclaration>,
    /// Values that steps write to `$(results.<name>.path)`, and that other tasks may use.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub results: Vec<TaskResult>,
}

/// Declares a value that a Task produces.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskResult {
    /// The name by which the result is written and read.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "lenient::or_default")]
    pub name: String,
    /// What the result holds: `string` (the default), `array` or `object`, both written as JSON; under `ergon.dev` also
    /// `number` or `boolean`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(rename = "type")]
    pub type_: Option<ParamType>,
    /// The keys of an `object` result.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "lenient::or_default")]
    pub properties: BTreeMap<String, PropertySpec>,
    /// What the result is, for people and user interfaces.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub description: Option<String>,
    /// Where the value comes from when not from the result's file: a step's result, as in
    /// `$(steps.<step>.results.<name>)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<ParamValue>,
    /// The only values that a `string` or `number` result may have.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::scalars")]
    #[schemars(schema_with = "opaque::scalars")]
    #[serde(rename = "enum")]
    pub enum_: Vec<String>,
    /// A regular expression that the whole text of a `string` result has to match.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub pattern: Option<String>,
    /// The least value of a `number` result.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "opaque::number")]
    pub minimum: Option<Number>,
    /// The greatest value of a `number` result.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "opaque::number")]
    pub maximum: Option<Number>,
    /// What the value has to be like, as JSON Schema. A `string` result whose schema is that of something else is JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "opaque::any")]
    pub schema: Option<Value>,
}

impl TaskResult {
    /// The declared type, or the one that other fields imply.
    pub fn effective_type(&self) -> ParamType {
        self.type_.unwrap_or({
            if !self.properties.is_empty() {
                ParamType::Object
            } else if self.minimum.is_some() || self.maximum.is_some() {
                ParamType::Number
            } else {
                ParamType::String
            }
        })
    }
}
