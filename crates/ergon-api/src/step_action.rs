//! StepAction: a step to be shared by many Tasks.

use k8s_openapi::api::core::v1::{EnvVar, SecurityContext, VolumeMount};
use kube_core::ObjectMeta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::group::impl_kind;
use crate::{ParamSpec, StepResult, lenient, opaque};

/// A step that Tasks refer to by name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StepAction {
    /// `ergon.dev/v1beta1` or `tekton.dev/v1beta1`.
    pub api_version: String,
    /// `StepAction`.
    pub kind: String,
    /// Name, namespace, labels and annotations.
    pub metadata: ObjectMeta,
    /// What the step is.
    pub spec: StepActionSpec,
}

impl_kind!(StepAction, "stepactions", "stepaction", "v1beta1");

/// A step that Tasks refer to by name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct StepActionSpec {
    /// What the StepAction does, for people and user interfaces.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub description: Option<String>,
    /// Parameters, set by the step that refers to it. Their variables are `$(params.<name>)`.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub params: Vec<ParamSpec>,
    /// The container image.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub image: Option<String>,
    /// The program and its first arguments; the image's entrypoint when absent. Not together with `script`.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub command: Vec<String>,
    /// Arguments to the command or script.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub args: Vec<String>,
    /// Environment variables.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    #[schemars(schema_with = "opaque::list")]
    pub env: Vec<EnvVar>,
    /// A program to run. Its first line names the interpreter. Use environment variables for parameters inside.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub script: Option<String>,
    /// The working directory; the image's when absent.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub working_dir: Option<String>,
    /// Values that the step writes to `$(step.results.<name>.path)`.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub results: Vec<StepResult>,
    /// User, capabilities and other security settings of the step's container.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "opaque::object")]
    pub security_context: Option<SecurityContext>,
    /// Volumes to mount. The name of a volume may be a parameter.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    #[schemars(schema_with = "opaque::list")]
    pub volume_mounts: Vec<VolumeMount>,
}
