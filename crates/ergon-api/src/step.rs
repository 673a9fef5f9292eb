//! The containers of a task: steps, which run one after another, and sidecars, which run beside them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    ContainerPort, EnvFromSource, EnvVar, Lifecycle, Probe, ResourceRequirements, SecurityContext,
    VolumeDevice, VolumeMount,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Duration, Param, ParamType, ParamValue, PropertySpec, StepRef, WhenExpression, WorkspaceUsage, lenient,
    opaque,
};

/// One container of a task. Steps run in order, each after the one before it has ended.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Step {
    /// The step's name: lower-case letters, digits and `-`, at most 63. The container is called `step-<name>`, or
    /// `step-unnamed-<index>` when there is none.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "lenient::or_default")]
    pub name: String,
    /// A name for people.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub display_name: Option<String>,
    /// The container image. May be left to the step template.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub image: Option<String>,
    /// The program and its first arguments; the image's entrypoint when absent. Not together with `script`.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub command: Vec<String>,
    /// Arguments to the command or script; the image's when both are absent.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub args: Vec<String>,
    /// The working directory; the image's when absent. A folder below a workspace is created.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub working_dir: Option<String>,
    /// ConfigMaps and Secrets whose keys become environment variables.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    #[schemars(schema_with = "opaque::list")]
    pub env_from: Vec<EnvFromSource>,
    /// Environment variables.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    #[schemars(schema_with = "opaque::list")]
    pub env: Vec<EnvVar>,
    /// CPU, memory and other resources of this step's container.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "opaque::object")]
    pub compute_resources: Option<ResourceRequirements>,
    /// Volumes to mount. Paths below `/tekton` are reserved, except `/tekton/home`.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    #[schemars(schema_with = "opaque::list")]
    pub volume_mounts: Vec<VolumeMount>,
    /// Block devices to attach.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    #[schemars(schema_with = "opaque::list")]
    pub volume_devices: Vec<VolumeDevice>,
    /// When to pull the image: `Always`, `IfNotPresent` or `Never`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub image_pull_policy: Option<String>,
    /// User, capabilities and other security settings of this step's container.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "opaque::object")]
    pub security_context: Option<SecurityContext>,
    /// A program to run. Its first line names the interpreter, as in `#!/usr/bin/env python3`; without one it is run by
    /// `/bin/sh` and stops at the first error.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub script: Option<String>,
    /// What the tags of the script stand for, by what is written in them. Ergon sets it under `ergon.dev`; in a run's
    /// status it has their values.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "opaque::object")]
    pub script_values: Option<BTreeMap<String, ScriptValue>>,
    /// How long the step may take, such as `90s` or `1h30m`. No limit when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Workspaces that only this step, and others that list them, can see.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub workspaces: Vec<WorkspaceUsage>,
    /// What a failure means: `stopAndFail` (the default) fails the task; `continue` runs the next step. It may be a
    /// parameter.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub on_error: Option<String>,
    /// Where to keep a copy of what the step prints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdout_config: Option<StepOutputConfig>,
    /// Where to keep a copy of what the step prints as errors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stderr_config: Option<StepOutputConfig>,
    /// The StepAction that this step runs, in place of an image and a command or script.
    #[serde(rename = "ref")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ref_: Option<StepRef>,
    /// Parameters for the StepAction.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub params: Vec<Param>,
    /// Values that the step writes to `$(step.results.<name>.path)`, and that later steps may read.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub results: Vec<StepResult>,
    /// Conditions that must all hold for the step to run. A step that does not run counts as ended well.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub when: Vec<WhenExpression>,
}

/// What a name in a script's tags stands for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScriptValue {
    /// As `$(…)` has it, while the value is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Known>,
    /// It can only be what the task's author has written down.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub constrained: bool,
    /// What its text is, where that is a number or a boolean.
    #[serde(rename = "type")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub type_: Option<ParamType>,
}

/// A value that is known: [`crate::texts`] looks for no references in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Known(pub ParamValue);

/// What happens when a step fails. See [`Step::on_error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OnError {
    /// The task fails and later steps are skipped.
    #[default]
    StopAndFail,
    /// The exit code is kept and the next step runs.
    Continue,
}

impl OnError {
    /// Reads the field's text after substitution; `None` when it is neither word.
    pub fn of(text: Option<&str>) -> Option<Self> {
        match text {
            None | Some("" | "stopAndFail") => Some(Self::StopAndFail),
            Some("continue") => Some(Self::Continue),
            Some(_) => None,
        }
    }
}

/// Where to copy one of a step's output streams.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct StepOutputConfig {
    /// A file in the step's container, such as the path of a result.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub path: Option<String>,
}

/// Declares a value that a step writes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct StepResult {
    /// The name by which the result is written and read.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "lenient::or_default")]
    pub name: String,
    /// What the result holds: `string` (the default), `array` or `object`; the last two are written as JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(rename = "type")]
    pub type_: Option<ParamType>,
    /// The keys of an `object` result.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "lenient::or_default")]
    pub properties: BTreeMap<String, PropertySpec>,
    /// What the result is, for people and user interfaces.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub description: Option<String>,
}

impl StepResult {
    /// The declared type, or the one that `properties` implies.
    pub fn effective_type(&self) -> ParamType {
        self.type_.unwrap_or(if self.properties.is_empty() { ParamType::String } else { ParamType::Object })
    }
}

/// Settings that every step of a task starts from. A step's own setting wins.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct StepTemplate {
    /// The container image of steps that name none.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub image: Option<String>,
    /// The program and its first arguments of steps that have none.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub command: Vec<String>,
    /// The arguments of steps that have none.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub args: Vec<String>,
    /// The working directory of steps that have none.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub working_dir: Option<String>,
    /// ConfigMaps and Secrets whose keys become environment variables of every step.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    #[schemars(schema_with = "opaque::list")]
    pub env_from: Vec<EnvFromSource>,
    /// Environment variables of every step. A step's own variable of the same name wins.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    #[schemars(schema_with = "opaque::list")]
    pub env: Vec<EnvVar>,
    /// Resources of steps that ask for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "opaque::object")]
    pub compute_resources: Option<ResourceRequirements>,
    /// Volumes that every step mounts.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    #[schemars(schema_with = "opaque::list")]
    pub volume_mounts: Vec<VolumeMount>,
    /// Block devices that every step sees.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    #[schemars(schema_with = "opaque::list")]
    pub volume_devices: Vec<VolumeDevice>,
    /// When to pull images: `Always`, `IfNotPresent` or `Never`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub image_pull_policy: Option<String>,
    /// Security settings of every step's container, field by field.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "opaque::object")]
    pub security_context: Option<SecurityContext>,
}

/// A container that runs beside the steps, such as a database for tests. It is stopped when the last step has ended.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Sidecar {
    /// The sidecar's name: lower-case letters, digits and `-`. The container is called `sidecar-<name>`.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "lenient::or_default")]
    pub name: String,
    /// The container image.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub image: Option<String>,
    /// The program and its first arguments; the image's entrypoint when absent. Not together with `script`.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub command: Vec<String>,
    /// Arguments to the command or script; the image's when both are absent.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub args: Vec<String>,
    /// The working directory; the image's when absent.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub working_dir: Option<String>,
    /// Ports that the sidecar listens on; informational.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    #[schemars(schema_with = "opaque::list")]
    pub ports: Vec<ContainerPort>,
    /// ConfigMaps and Secrets whose keys become environment variables.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    #[schemars(schema_with = "opaque::list")]
    pub env_from: Vec<EnvFromSource>,
    /// Environment variables.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    #[schemars(schema_with = "opaque::list")]
    pub env: Vec<EnvVar>,
    /// CPU, memory and other resources of this container.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "opaque::object")]
    pub compute_resources: Option<ResourceRequirements>,
    /// Volumes to mount.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    #[schemars(schema_with = "opaque::list")]
    pub volume_mounts: Vec<VolumeMount>,
    /// Block devices to attach.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    #[schemars(schema_with = "opaque::list")]
    pub volume_devices: Vec<VolumeDevice>,
    /// How to find that the sidecar hangs and must be restarted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "opaque::object")]
    pub liveness_probe: Option<Probe>,
    /// How to find that the sidecar is ready. The first step waits for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "opaque::object")]
    pub readiness_probe: Option<Probe>,
    /// How to find that the sidecar has started.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "opaque::object")]
    pub startup_probe: Option<Probe>,
    /// What to run after the start and before the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "opaque::object")]
    pub lifecycle: Option<Lifecycle>,
    /// The file that holds the container's last words.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub termination_message_path: Option<String>,
    /// Where the container's last words come from: `File` or `FallbackToLogsOnError`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub termination_message_policy: Option<String>,
    /// When to pull the image: `Always`, `IfNotPresent` or `Never`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub image_pull_policy: Option<String>,
    /// User, capabilities and other security settings of this container.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "opaque::object")]
    pub security_context: Option<SecurityContext>,
    /// Keep the standard input open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdin: Option<bool>,
    /// Close the standard input after the first client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdin_once: Option<bool>,
    /// Give the container a terminal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tty: Option<bool>,
    /// A program to run, as in a step.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub script: Option<String>,
    /// As a step's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "opaque::object")]
    pub script_values: Option<BTreeMap<String, ScriptValue>>,
    /// Workspaces that only this sidecar, and steps that list them, can see.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub workspaces: Vec<WorkspaceUsage>,
    /// `Always` makes it a native sidecar of the pod, restarted when it ends.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub restart_policy: Option<String>,
}
