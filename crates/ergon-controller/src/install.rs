//! What `ergon install` puts into a cluster, and how.

mod apply;
mod rbac;
mod settings;
mod webhooks;
mod workload;

pub use apply::{InstallError, Step, apply, definitions, uninstall};
pub(crate) use settings::resolvers_namespace;
pub use webhooks::{CONFIGURATION, Target, configurations, conversion};

use ergon_api::Group;
use kube::core::DynamicObject;
use serde_json::{Value, json};

use crate::beside::Beside;

/// The name of the Deployment, the Service, the service account and the roles.
pub const NAME: &str = "ergon-controller";
/// Seconds that the controller has to end after SIGTERM, before it is killed.
pub(crate) const GRACE_SECS: u64 = 15;
/// Where the ConfigMaps with settings are, unless told otherwise: where Tekton's users look for them.
pub const TEKTON_NAMESPACE: &str = "tekton-pipelines";
/// The port of webhooks and reports.
pub const TLS_PORT: u16 = 9443;
/// The port of health and metrics.
pub const HTTP_PORT: u16 = 8080;

/// What to install.
#[derive(Debug, Clone)]
pub struct InstallOptions {
    /// Where the controller runs.
    pub namespace: String,
    /// The image with the controller, the agent and the shim.
    pub image: String,
    /// `Always`, `IfNotPresent` or `Never`; none: as Kubernetes decides.
    pub image_pull_policy: Option<String>,
    /// Where the ConfigMaps with settings are; those of resolvers are in `<this>-resolvers`.
    pub tekton_namespace: String,
    /// Whose kinds are installed and served.
    pub groups: Vec<Group>,
    /// Whether Tekton is in the cluster, and what is its own stays.
    pub beside_tekton: Beside,
    /// How many controllers; they share the runs, and all serve the webhooks.
    pub replicas: u32,
    /// Whether objects are defaulted and checked when they are admitted.
    pub webhooks: bool,
    /// More arguments for the controller.
    pub args: Vec<String>,
}

impl Default for InstallOptions {
    fn default() -> Self {
        Self {
            namespace: "ergon-system".to_owned(),
            image: format!("ghcr.io/ergon-dev/ergon:v{}", env!("CARGO_PKG_VERSION")),
            image_pull_policy: None,
            tekton_namespace: TEKTON_NAMESPACE.to_owned(),
            groups: Group::ALL.to_vec(),
            beside_tekton: Beside::Auto,
            replicas: 1,
            webhooks: true,
            args: Vec::new(),
        }
    }
}

/// All objects, in the order in which they must be there. Pure: the same options always give the same objects.
/// Without a cluster to look at, `auto` means that Tekton is not there.
pub fn manifests(options: &InstallOptions) -> Vec<DynamicObject> {
    manifests_beside(options, options.beside_tekton == Beside::Always)
}

/// The same. `beside`: Tekton is there, so its definitions, webhooks and settings are left to it.
fn manifests_beside(options: &InstallOptions, beside: bool) -> Vec<DynamicObject> {
    let groups = own_groups(options, beside);
    let mut objects = vec![namespace(options)];
    let target = Target::Service { namespace: options.namespace.clone() };
    let conversion = conversion(&target, None).filter(|_| options.webhooks);
    for group in &groups {
        objects.extend(ergon_api::crds(*group, conversion.as_ref()).iter().map(|crd| json!(crd)));
    }
    objects.extend(settings::objects(&options.tekton_namespace));
    objects.extend(rbac::objects(options, beside));
    objects.extend(workload::objects(options));
    if options.webhooks {
        // Who checks Tekton's settings is Tekton.
        let settings = (!beside).then_some(options.tekton_namespace.as_str());
        objects.extend(configurations(&groups, &options.namespace, settings, &target, None));
    }
    // Only objects made here: each has a kind, a version and metadata.
    objects.into_iter().filter_map(|object| serde_json::from_value(object).ok()).collect()
}

/// The groups whose definitions and webhooks are ours.
fn own_groups(options: &InstallOptions, beside: bool) -> Vec<Group> {
    options.groups.iter().copied().filter(|group| !(beside && *group == Group::Tekton)).collect()
}

fn namespace(options: &InstallOptions) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": options.namespace, "labels": with_labels(&json!({
            "pod-security.kubernetes.io/enforce": "restricted",
            "pod-security.kubernetes.io/warn": "restricted",
        }))},
    })
}

/// The labels that all our objects carry, and these.
fn with_labels(more: &Value) -> Value {
    let mut labels = json!({"app.kubernetes.io/name": "ergon", "app.kubernetes.io/part-of": "ergon"});
    json_patch::merge(&mut labels, more);
    labels
}

fn labels() -> Value {
    with_labels(&json!({}))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn all() -> Vec<Value> {
        manifests(&InstallOptions::default()).iter().map(|object| json!(object)).collect()
    }

    fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
        objects.iter().filter(|object| object["kind"] == kind).collect()
    }

    #[test]
    fn everything_is_there_in_order_and_labelled() {
        let objects = all();
        let kinds: Vec<&str> = objects.iter().filter_map(|object| object["kind"].as_str()).collect();
        let mut firsts: Vec<&str> = Vec::new();
        for kind in kinds {
            if !firsts.contains(&kind) {
                firsts.push(kind);
            }
        }
        assert_eq!(
            firsts,
            [
                "Namespace",
                "CustomResourceDefinition",
                "ConfigMap",
                "ServiceAccount",
                "ClusterRole",
                "ClusterRoleBinding",
                "Role",
                "RoleBinding",
                "Service",
                "Deployment",
                "MutatingWebhookConfiguration",
                "ValidatingWebhookConfiguration",
            ]
        );
        assert_eq!(of_kind(&objects, "CustomResourceDefinition").len(), 13);
        for object in &objects {
            assert_eq!(object["metadata"]["labels"]["app.kubernetes.io/part-of"], "ergon", "{object}");
        }
        let names: BTreeSet<String> = objects
            .iter()
            .map(|object| {
                let metadata = &object["metadata"];
                format!("{} {} {}", object["kind"], metadata["namespace"], metadata["name"])
            })
            .collect();
        assert_eq!(names.len(), objects.len(), "no object is there twice");
    }

    #[test]
    fn one_group_brings_its_own_kinds_and_nothing_of_the_other() {
        let options =
            InstallOptions { groups: vec![Group::Ergon], webhooks: false, ..InstallOptions::default() };
        let objects = manifests(&options);
        let text = serde_json::to_string(&objects).expect("JSON");
        assert!(
            !text.contains("tekton.dev/")
                && !text.contains("tekton.dev\"")
                && !text.contains("WebhookConfiguration")
        );
        assert!(text.contains("--groups=ergon.dev") && text.contains("--no-webhooks"));
    }

    #[test]
    fn beside_tekton_its_own_stays() {
        let options = InstallOptions { beside_tekton: Beside::Always, ..InstallOptions::default() };
        let objects: Vec<Value> = manifests(&options).iter().map(|object| json!(object)).collect();
        assert_eq!(of_kind(&objects, "CustomResourceDefinition").len(), 6);
        for kind in
            ["CustomResourceDefinition", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"]
        {
            let text = json!(of_kind(&objects, kind)).to_string();
            assert!(!text.contains("tekton.dev\"") && !text.contains("configmaps"), "{text}");
        }
        let names: Vec<&str> =
            objects.iter().filter_map(|object| object["metadata"]["name"].as_str()).collect();
        for role in ["tekton-aggregate-edit", "tekton-aggregate-view", "tekton-pipelines-info"] {
            assert!(!names.contains(&role), "{role} is Tekton's own");
            assert!(all().iter().any(|object| object["metadata"]["name"] == role), "{role}");
        }
        let text = json!(of_kind(&objects, "Deployment")).to_string();
        assert!(text.contains("--groups=ergon.dev,tekton.dev") && text.contains("--beside-tekton=always"));
    }

    #[test]
    fn the_pod_meets_the_restricted_standard() {
        let objects = all();
        let pod = &of_kind(&objects, "Deployment")[0]["spec"]["template"]["spec"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        let container = &pod["containers"][0]["securityContext"];
        assert_eq!(container["allowPrivilegeEscalation"], false);
        assert_eq!(container["readOnlyRootFilesystem"], true);
        assert_eq!(container["capabilities"]["drop"], json!(["ALL"]));
    }

    #[test]
    fn a_new_replica_serves_before_the_old_one_ends() {
        let objects = all();
        let spec = &of_kind(&objects, "Deployment")[0]["spec"];
        assert_eq!(spec["strategy"]["rollingUpdate"], json!({"maxUnavailable": 0, "maxSurge": 1}));
        assert_eq!(spec["template"]["spec"]["terminationGracePeriodSeconds"], GRACE_SECS);
        let probe = &spec["template"]["spec"]["containers"][0]["readinessProbe"]["httpGet"];
        assert_eq!(probe["path"], "/readyz");
    }

    #[test]
    fn the_controller_may_do_only_what_it_does() {
        let objects = all();
        let role = of_kind(&objects, "ClusterRole")
            .into_iter()
            .find(|role| role["metadata"]["name"] == NAME)
            .expect("the controller's role");
        for rule in role["rules"].as_array().expect("rules") {
            let text = rule.to_string();
            assert!(!text.contains("\"*\""), "{text}");
            // Those that service accounts list, by name: it can neither list, watch nor change any.
            assert!(!text.contains("secrets") || rule["verbs"] == json!(["get"]), "{text}");
        }
    }
}
