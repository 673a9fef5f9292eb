//! Workspaces: folders that tasks declare, pipelines connect and runs provide.

use k8s_openapi::api::core::v1::{
    CSIVolumeSource, ConfigMapVolumeSource, EmptyDirVolumeSource, PersistentVolumeClaim,
    PersistentVolumeClaimVolumeSource, ProjectedVolumeSource, SecretVolumeSource,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{lenient, opaque};

/// Declares a folder that a Task needs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkspaceDeclaration {
    /// The name by which the workspace is bound and used, as in `$(workspaces.<name>.path)`.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "lenient::or_default")]
    pub name: String,
    /// What the workspace is for, for people and user interfaces.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub description: Option<String>,
    /// Where it is mounted; `/workspace/<name>` when absent.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub mount_path: Option<String>,
    /// Mount it so that steps cannot write to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
    /// A run may leave it unbound. Its path is then the empty text, and `$(workspaces.<name>.bound)` is `false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}

impl WorkspaceDeclaration {
    /// Where the workspace is mounted in every step that sees it.
    pub fn effective_mount_path(&self) -> String {
        self.mount_path.clone().unwrap_or_else(|| format!("/workspace/{}", self.name))
    }

    /// True when a run may leave it unbound.
    pub fn is_optional(&self) -> bool {
        self.optional.unwrap_or(false)
    }
}

/// Declares a folder that a Pipeline needs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PipelineWorkspaceDeclaration {
    /// The name by which runs bind the workspace and the pipeline's tasks use it.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "lenient::or_default")]
    pub name: String,
    /// What the workspace is for, for people and user interfaces.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub description: Option<String>,
    /// A run may leave it unbound. Tasks that need it may then only use it where they declare it optional too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}

impl PipelineWorkspaceDeclaration {
    /// True when a run may leave it unbound.
    pub fn is_optional(&self) -> bool {
        self.optional.unwrap_or(false)
    }
}

/// Gives a pipeline's workspace to one of its tasks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkspacePipelineTaskBinding {
    /// The workspace's name in the Task.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "lenient::or_default")]
    pub name: String,
    /// The workspace's name in the Pipeline; the same name when absent.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub workspace: Option<String>,
    /// A folder inside the workspace that the task sees as its root.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub sub_path: Option<String>,
}

/// Makes a workspace visible to this step or sidecar, and only to those that list it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkspaceUsage {
    /// The name of a workspace that the Task declares.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "lenient::or_default")]
    pub name: String,
    /// Where this step or sidecar mounts it, when not where the Task says.
    // Go reads names without regard to case, and this spelling is in use.
    #[serde(alias = "mountpath")]
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "lenient::or_default")]
    pub mount_path: String,
}

/// Provides a folder for a run. Exactly one of the kinds of volume must be set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkspaceBinding {
    /// The name of the workspace that the Task or Pipeline declares.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "lenient::or_default")]
    pub name: String,
    /// A folder inside the volume, used as the workspace. It may use parameters.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub sub_path: Option<String>,
    /// A claim made for this run, owned by it and deleted with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "opaque::object")]
    pub volume_claim_template: Option<PersistentVolumeClaim>,
    /// An existing claim.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "opaque::object")]
    pub persistent_volume_claim: Option<PersistentVolumeClaimVolumeSource>,
    /// An empty folder that lives as long as the task's pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "opaque::object")]
    pub empty_dir: Option<EmptyDirVolumeSource>,
    /// The keys of a ConfigMap as files, read-only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "opaque::object")]
    pub config_map: Option<ConfigMapVolumeSource>,
    /// The keys of a Secret as files, read-only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "opaque::object")]
    pub secret: Option<SecretVolumeSource>,
    /// Several sources as files in one folder, read-only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "opaque::object")]
    pub projected: Option<ProjectedVolumeSource>,
    /// A volume from a CSI driver.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "opaque::object")]
    pub csi: Option<CSIVolumeSource>,
}

impl WorkspaceBinding {
    /// The names of the volume kinds that are set; valid when there is exactly one.
    pub fn kinds(&self) -> Vec<&'static str> {
        [
            ("volumeClaimTemplate", self.volume_claim_template.is_some()),
            ("persistentVolumeClaim", self.persistent_volume_claim.is_some()),
            ("emptyDir", self.empty_dir.is_some()),
            ("configMap", self.config_map.is_some()),
            ("secret", self.secret.is_some()),
            ("projected", self.projected.is_some()),
            ("csi", self.csi.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, set)| set.then_some(name))
        .collect()
    }
}
