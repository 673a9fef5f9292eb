//! What the pod brings with it of its pipeline run.

use std::collections::BTreeMap;

use ergon_api::{Config, Group, PipelineRun, PodTemplate, Task, TaskRun, WorkspaceBinding};
use ergon_wire::PodPlan;
use serde::{Deserialize, Serialize};

use crate::action::ImageConfig;

/// The part of a pipeline run that a shared pod carries out: all that its decisions depend on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// Such as `ergon.dev/v1`.
    pub api_version: String,
    /// With the part's tasks alone in its status' spec, and those ended ones that they name.
    pub run: PipelineRun,
    /// The run of the task that starts with the pod; where that waits, what it is made like.
    pub first: Box<TaskRun>,
    /// The pod was made ahead, and begins once it is told to, with [`Begin`]: the tasks outside of it that others in it wait
    /// for, beside the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<Vec<String>>,
    /// The runs of tasks that ended before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<TaskRun>,
    /// The Tasks that the part's tasks refer to, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tasks: BTreeMap<String, Task>,
    /// By reference, for steps without a command.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<String, ImageConfig>,
    /// Variables of containers whose values wait for results, by container.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub late_env: BTreeMap<String, Vec<String>>,
    pub given: Given,
}

/// What a pod that was made ahead is told when the turn of its first task has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Begin {
    /// The run of the first task.
    pub first: Box<TaskRun>,
    /// The runs of those tasks that it waited for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<TaskRun>,
}

/// What the installation gives to runs, as far as steps depend on it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Given {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub forbidden_env: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_template: Option<PodTemplate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workspace_binding: Option<WorkspaceBinding>,
    /// Bytes of one result.
    pub max_result_size: u32,
}

impl Given {
    pub fn of(config: &Config) -> Self {
        Self {
            forbidden_env: config.defaults.forbidden_env.clone(),
            pod_template: config.defaults.pod_template.clone(),
            workspace_binding: config.defaults.task_run_workspace_binding.clone(),
            max_result_size: config.features.max_result_size,
        }
    }

    pub fn config(&self) -> Config {
        let mut config = Config::default();
        config.defaults.forbidden_env.clone_from(&self.forbidden_env);
        config.defaults.pod_template.clone_from(&self.pod_template);
        config.defaults.task_run_workspace_binding.clone_from(&self.workspace_binding);
        config.features.max_result_size = self.max_result_size;
        config
    }
}

impl Part {
    /// The part in a pod's plan, if the pod is a shared one.
    ///
    /// # Errors
    /// It is not as this version writes it.
    pub fn of(plan: &PodPlan) -> Result<Option<Self>, serde_json::Error> {
        plan.pipeline.as_deref().map(Self::deserialize).transpose()
    }

    pub fn group(&self) -> Group {
        Group::of(&self.api_version).unwrap_or_default()
    }
}
