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

impl PodTemplate {
    /// One template over another, where there are any. See [`Self::over`].
    pub fn merged(own: Option<&Self>, base: Option<&Self>) -> Option<Self> {
        match (own, base) {
            (Some(own), Some(base)) => Some(own.clone().over(base.clone())),
            (own, base) => own.or(base).cloned(),
        }
    }

    /// This template with what it leaves open taken from another. Variables and volumes are merged by their names, every
    /// other field is the one or the other as a whole.
    #[must_use]
    pub fn over(self, base: Self) -> Self {
        fn one<T>(own: Vec<T>, base: Vec<T>) -> Vec<T> {
            if own.is_empty() { base } else { own }
        }
        fn named<T>(mut own: Vec<T>, base: Vec<T>, name: impl Fn(&T) -> &str) -> Vec<T> {
            for item in base {
                if !own.iter().any(|known| name(known) == name(&item)) {
                    own.push(item);
                }
            }
            own
        }
        Self {
            node_selector: if self.node_selector.is_empty() {
                base.node_selector
            } else {
                self.node_selector
            },
            env: named(self.env, base.env, |variable| &variable.name),
            tolerations: one(self.tolerations, base.tolerations),
            affinity: self.affinity.or(base.affinity),
            security_context: self.security_context.or(base.security_context),
            volumes: named(self.volumes, base.volumes, |volume| &volume.name),
            runtime_class_name: self.runtime_class_name.or(base.runtime_class_name),
            automount_service_account_token: self
                .automount_service_account_token
                .or(base.automount_service_account_token),
            dns_policy: self.dns_policy.or(base.dns_policy),
            dns_config: self.dns_config.or(base.dns_config),
            enable_service_links: self.enable_service_links.or(base.enable_service_links),
            priority_class_name: self.priority_class_name.or(base.priority_class_name),
            scheduler_name: self.scheduler_name.or(base.scheduler_name),
            image_pull_secrets: one(self.image_pull_secrets, base.image_pull_secrets),
            host_aliases: one(self.host_aliases, base.host_aliases),
            // Tekton cannot tell `false` from nothing said here.
            host_network: self.host_network.filter(|wanted| *wanted).or(base.host_network),
            host_users: self.host_users.or(base.host_users),
            topology_spread_constraints: one(
                self.topology_spread_constraints,
                base.topology_spread_constraints,
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_over_another() {
        let template = |json: serde_json::Value| serde_json::from_value::<PodTemplate>(json).unwrap();
        let own = template(serde_json::json!({
            "env": [{"name": "A", "value": "own"}], "nodeSelector": {"a": "b"}, "securityContext": {"runAsUser": 1},
        }));
        let base = template(serde_json::json!({
            "env": [{"name": "B", "value": "base"}, {"name": "A", "value": "base"}], "nodeSelector": {"c": "d"},
            "securityContext": {"runAsGroup": 2}, "schedulerName": "s", "hostNetwork": true,
        }));
        let expected = template(serde_json::json!({
            "env": [{"name": "A", "value": "own"}, {"name": "B", "value": "base"}], "nodeSelector": {"a": "b"},
            "securityContext": {"runAsUser": 1}, "schedulerName": "s", "hostNetwork": true,
        }));
        assert_eq!(own.over(base), expected);
    }
}
