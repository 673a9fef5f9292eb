//! References to Tasks, Pipelines and StepActions, by name or through a resolver.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Group, Param, lenient};

/// Names the Task, or the custom task, to run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskRef {
    /// The name of the Task in the run's namespace. Not together with `resolver`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub name: Option<String>,
    /// The kind: `Task`, or the kind of a custom task.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub kind: Option<String>,
    /// The API version of a custom task. With a `kind` other than `Task` it makes the reference a custom task.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub api_version: Option<String>,
    /// The resolver that fetches the Task, such as `git`, `bundles`, `cluster`, `hub` or `http`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub resolver: Option<String>,
    /// What the resolver needs to know, such as a URL and a revision.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub params: Vec<Param>,
}

impl TaskRef {
    /// True when this names a custom task, for which a CustomRun is created instead of a TaskRun.
    ///
    /// An API version and a kind make a reference a custom task, unless they say the group's own `Task`. Tekton counts
    /// `tekton.dev/v1beta1` with `Task` as a custom task too, and so do we.
    pub fn is_custom_task(&self) -> bool {
        is_custom_task(self.api_version.as_deref(), self.kind.as_deref())
    }
}

/// See [`TaskRef::is_custom_task`].
pub(crate) fn is_custom_task(api_version: Option<&str>, kind: Option<&str>) -> bool {
    match (api_version, kind) {
        (Some(api_version), Some(kind)) => {
            kind != "Task" || !Group::ALL.iter().any(|group| group.api_version() == api_version)
        }
        _ => false,
    }
}

/// Names the Pipeline to run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PipelineRef {
    /// The name of the Pipeline in the run's namespace. Not together with `resolver`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub name: Option<String>,
    /// The API version of the Pipeline; informational.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub api_version: Option<String>,
    /// The resolver that fetches the Pipeline, such as `git`, `bundles`, `cluster`, `hub` or `http`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub resolver: Option<String>,
    /// What the resolver needs to know, such as a URL and a revision.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub params: Vec<Param>,
}

/// Names the StepAction that a step runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct StepRef {
    /// The name of the StepAction in the run's namespace. Not together with `resolver`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub name: Option<String>,
    /// The resolver that fetches the StepAction, such as `git`, `bundles`, `cluster`, `hub` or `http`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub resolver: Option<String>,
    /// What the resolver needs to know, such as a URL and a revision.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub params: Vec<Param>,
}
