//! What a run may say about the pods of its tasks.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, EnvVar, HostAlias, LocalObjectReference, PodDNSConfig, PodSecurityContext, Toleration,
    TopologySpreadConstraint, Volume,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{lenient, opaque};

/// Settings of the pods that run tasks. All fields mean what they mean in a Kubernetes pod.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PodTemplate {
    /// Labels that a node must have.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "lenient::or_default")]
    pub node_selector: BTreeMap<String, String>,
    /// Environment variables for every step. They win over a step's own variable of the same name.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    #[schemars(schema_with = "opaque::list")]
    pub env: Vec<EnvVar>,
    /// Taints of nodes that the pod may run on.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    #[schemars(schema_with = "opaque::list")]
    pub tolerations: Vec<Toleration>,
    /// Rules about which nodes the pod runs on, and beside which pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "opaque::object")]
    pub affinity: Option<Affinity>,
    /// User, groups and other security settings of the whole pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "opaque::object")]
    pub security_context: Option<PodSecurityContext>,
    /// Volumes that steps may mount. They may use parameters.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    #[schemars(schema_with = "opaque::list")]
    pub volumes: Vec<Volume>,
    /// The runtime class, such as `gvisor`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub runtime_class_name: Option<String>,
    /// Whether steps see a service account token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub automount_service_account_token: Option<bool>,
    /// Where names are resolved: `ClusterFirst`, `ClusterFirstWithHostNet`, `Default` or `None`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub dns_policy: Option<String>,
    /// Name servers and search domains, beside those that the policy gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "opaque::object")]
    pub dns_config: Option<PodDNSConfig>,
    /// Whether services of the namespace appear as environment variables.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_service_links: Option<bool>,
    /// The priority class.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub priority_class_name: Option<String>,
    /// The scheduler that places the pod.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub scheduler_name: Option<String>,
    /// Secrets with registry credentials, beside those of the service account.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    #[schemars(schema_with = "opaque::list")]
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// Lines for `/etc/hosts`.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    #[schemars(schema_with = "opaque::list")]
    pub host_aliases: Vec<HostAlias>,
    /// Use the node's network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_network: Option<bool>,
    /// Use the node's user namespace; `false` gives the pod its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_users: Option<bool>,
    /// How pods spread over nodes and zones.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    #[schemars(schema_with = "opaque::list")]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
}
