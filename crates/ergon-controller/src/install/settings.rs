//! The ConfigMaps that settings are read from, as they are at first. They are the user's: an install makes those that
//! are not there, and changes none.

use serde_json::{Value, json};

use super::labels;

/// What tools ask for Tekton's version. Everybody may read it.
pub(super) const INFO: &str = "pipelines-info";
/// The release of Tekton whose behaviour is served: tools compare it with the release that a feature came with.
const TEKTON: &str = "v1.15.0";

/// Where Tekton's users look for the settings of resolvers: beside those of everything else.
pub(crate) fn resolvers_namespace(tekton_namespace: &str) -> String {
    format!("{tekton_namespace}-resolvers")
}

/// Namespaces and ConfigMaps. All flags stand in `feature-flags`, because tools and tests read them there.
pub(super) fn objects(tekton_namespace: &str) -> Vec<Value> {
    let resolvers = resolvers_namespace(tekton_namespace);
    let map = |namespace: &str, name: &str, data: Value| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": namespace, "labels": labels()},
            "data": data,
        })
    };
    let namespace = |name: &str| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels()}});
    let own = |name: &str, data: Value| map(tekton_namespace, name, data);
    let resolver = |name: &str, data: Value| map(&resolvers, name, data);
    vec![
        namespace(tekton_namespace),
        namespace(&resolvers),
        own("feature-flags", feature_flags()),
        own("config-defaults", json!({"_example": DEFAULTS_EXAMPLE})),
        own("config-events", json!({"formats": "tektonv1"})),
        own("config-observability", json!({"metrics-protocol": "prometheus"})),
        own("config-registry-cert", json!({})),
        own(INFO, json!({"version": TEKTON, "ergon": format!("v{}", env!("CARGO_PKG_VERSION"))})),
        resolver(
            "resolvers-feature-flags",
            json!({
                "enable-bundles-resolver": "true", "enable-hub-resolver": "true", "enable-git-resolver": "true",
                "enable-cluster-resolver": "true", "enable-http-resolver": "true",
            }),
        ),
        resolver(
            "bundleresolver-config",
            json!({"default-service-account": "default", "default-kind": "task"}),
        ),
        resolver(
            "cluster-resolver-config",
            json!({
                "default-kind": "task", "default-namespace": "", "allowed-namespaces": "", "blocked-namespaces": "",
            }),
        ),
        resolver(
            "git-resolver-config",
            json!({
                "fetch-timeout": "1m", "default-url": "https://github.com/tektoncd/catalog.git",
                "default-revision": "main", "scm-type": "github", "server-url": "", "api-token-secret-name": "",
                "api-token-secret-key": "", "api-token-secret-namespace": "default", "default-org": "",
            }),
        ),
        resolver("http-resolver-config", json!({"fetch-timeout": "1m"})),
        resolver(
            "hubresolver-config",
            json!({
                "default-tekton-hub-catalog": "Tekton", "default-artifact-hub-task-catalog": "tekton-catalog-tasks",
                "default-artifact-hub-pipeline-catalog": "tekton-catalog-pipelines", "default-kind": "task",
                "default-type": "artifact",
            }),
        ),
        resolver("resolver-cache-config", json!({"max-size": "1000", "ttl": "5m"})),
    ]
}

fn feature_flags() -> Value {
    json!({
        "await-sidecar-readiness": "true",
        "coschedule": "workspaces",
        "disable-creds-init": "false",
        "disable-inline-spec": "",
        "enable-api-fields": "alpha",
        "enable-artifacts": "true",
        "enable-cel-in-whenexpression": "true",
        "enable-concise-resolver-syntax": "true",
        "enable-kubernetes-sidecar": "false",
        "enable-param-enum": "true",
        "enable-provenance-in-status": "true",
        "enable-step-actions": "true",
        "enable-tekton-oci-bundles": "false",
        "enable-termination-message-compression": "false",
        "enable-wait-exponential-backoff": "false",
        "enforce-nonfalsifiability": "none",
        "keep-pod-on-cancel": "true",
        "prestart-limit": "4",
        "require-git-ssh-secret-known-hosts": "false",
        "results-from": "termination-message",
        "running-in-environment-with-injected-sidecars": "true",
        "send-cloudevents-for-runs": "true",
        "set-security-context": "false",
        "set-security-context-read-only-root-filesystem": "false",
        "trusted-resources-verification-no-match-policy": "ignore",
    })
}

/// For people who edit the ConfigMap.
const DEFAULTS_EXAMPLE: &str = "\
# None of this is set: copy what you need beside `_example`.
default-timeout-minutes: \"60\"
default-service-account: \"default\"
default-managed-by-label-value: \"tekton-pipelines\"
default-pod-template: |
  nodeSelector:
    kubernetes.io/arch: amd64
default-task-run-workspace-binding: |
  emptyDir: {}
default-max-matrix-combinations-count: \"256\"
default-forbidden-env: \"HTTP_PROXY,HTTPS_PROXY\"
default-resolver-type: \"git\"
default-container-resource-requirements: |
  default:
    requests: {cpu: 250m, memory: 64Mi}
default-imagepullbackoff-timeout: \"5m\"
default-create-container-error-timeout: \"5m\"
default-maximum-resolution-timeout: \"1m\"
";

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ergon_api::Config;
    use ergon_api::config::ConfigName;

    use super::*;

    #[test]
    fn what_is_installed_are_the_defaults() {
        let mut config = Config::default();
        let mut read = 0;
        for object in objects("tekton-pipelines") {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            if let Some(name) = ConfigName::of(name).filter(|_| object["kind"] == "ConfigMap") {
                let data: BTreeMap<String, String> =
                    serde_json::from_value(object["data"].clone()).expect("texts");
                assert_eq!(config.take(name, &data), [], "{name}");
                read += 1;
            }
        }
        assert_eq!(read, ConfigName::ALL.len());
        assert_eq!(config, Config::default());
    }
}
