//! What the API server is told about our webhooks.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ergon_api::Group;
use ergon_api::config::ConfigName;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::WebhookClientConfig;
use serde_json::{Value, json};

use super::{NAME, TLS_PORT, labels};
use crate::convert;

/// The name of both configurations.
pub const CONFIGURATION: &str = "ergon-controller";

/// Where the API server reaches the webhooks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The Service in this namespace.
    Service { namespace: String },
    /// An address such as `https://10.0.0.1:9443`, for a controller outside of the cluster.
    Url(String),
}

impl Target {
    fn client_config(&self, path: &str, authority: Option<&str>) -> Value {
        let mut config = match self {
            Self::Service { namespace } => {
                json!({"service": {"name": NAME, "namespace": namespace, "path": path, "port": TLS_PORT}})
            }
            Self::Url(url) => json!({"url": format!("{}{path}", url.trim_end_matches('/'))}),
        };
        // Without it here, the controller fills it in: it knows the authority, and nobody else does.
        if let Some(authority) = authority {
            config["caBundle"] = json!(STANDARD.encode(authority));
        }
        config
    }
}

/// What the kinds' definitions say about conversion between versions. `authority` is PEM.
pub fn conversion(target: &Target, authority: Option<&str>) -> Option<WebhookClientConfig> {
    // Only what was made here: it has the right fields.
    serde_json::from_value(target.client_config(convert::PATH, authority)).ok()
}

/// Both configurations. `authority` is PEM. Settings are checked in `tekton_namespace`, if anywhere.
pub fn configurations(
    groups: &[Group],
    namespace: &str,
    tekton_namespace: Option<&str>,
    target: &Target,
    authority: Option<&str>,
) -> [Value; 2] {
    let names: Vec<&str> = groups.iter().map(|group| group.name()).collect();
    // What the controller writes itself is complete and right: that saves every child two round trips.
    let not_ours = json!([{
        "name": "not-the-controller",
        "expression": format!("request.userInfo.username != 'system:serviceaccount:{namespace}:{NAME}'"),
    }]);
    let rule = |version: &str, resources: Value| {
        json!({
            "apiGroups": names, "apiVersions": [version], "operations": ["CREATE", "UPDATE"],
            "resources": resources, "scope": "Namespaced",
        })
    };
    let webhook = |path: &str| {
        json!({
            "name": format!("{}.webhook.ergon.dev", path.trim_start_matches('/')),
            "clientConfig": target.client_config(path, authority),
            "rules": [
                rule("v1", json!(["tasks", "pipelines", "taskruns", "pipelineruns"])),
                rule("v1beta1", json!(["stepactions", "customruns"])),
            ],
            // Objects in older versions come here in the stored one.
            "matchPolicy": "Equivalent",
            "matchConditions": not_ours,
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "timeoutSeconds": 10,
            "failurePolicy": "Fail",
        })
    };
    let configuration = |kind: &str, hooks: Vec<Value>| {
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind,
            "metadata": {"name": CONFIGURATION, "labels": labels()},
            "webhooks": hooks,
        })
    };
    // A setting that cannot be read is refused where it is written. Not having asked must not stop anybody.
    let settings = tekton_namespace.map(|tekton_namespace| {
        json!({
            "name": "settings.webhook.ergon.dev",
            "clientConfig": target.client_config("/validate", authority),
            "rules": [{
                "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
                "resources": ["configmaps"], "scope": "Namespaced",
            }],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": tekton_namespace}},
            "matchConditions": [{
                "name": "settings",
                "expression": format!("request.name in {}", json!(ConfigName::ALL.map(ConfigName::as_str))),
            }],
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "timeoutSeconds": 3,
            "failurePolicy": "Ignore",
        })
    });
    [
        configuration("MutatingWebhookConfiguration", vec![webhook("/mutate")]),
        configuration(
            "ValidatingWebhookConfiguration",
            [webhook("/validate")].into_iter().chain(settings).collect(),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_the_api_server_calls() {
        let service = Target::Service { namespace: "ns".to_owned() };
        let [mutating, _] = configurations(&[Group::Ergon], "ns", Some("t"), &service, None);
        assert_eq!(
            mutating["webhooks"][0]["clientConfig"],
            json!({"service": {"name": NAME, "namespace": "ns", "path": "/mutate", "port": 9443}})
        );
        let url = Target::Url("https://h:1/".to_owned());
        let [_, validating] = configurations(&[Group::Ergon], "ns", Some("t"), &url, Some("PEM"));
        assert_eq!(
            validating["webhooks"][0]["clientConfig"],
            json!({"url": "https://h:1/validate", "caBundle": "UEVN"})
        );
    }
}
