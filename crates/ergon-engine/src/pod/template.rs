//! What a run's `podTemplate` says of its pods.

use ergon_api::PodTemplate;
use k8s_openapi::api::core::v1::PodSpec;

use super::PodError;
use super::step::some;

/// The node label that says which operating system a node has.
const OS: &str = "kubernetes.io/os";

/// Refuses what no pod of ours can be.
///
/// # Errors
/// The field, and why.
pub(super) fn check(template: &PodTemplate) -> Result<(), PodError> {
    match template.node_selector.get(OS) {
        Some(os) if os != "linux" => Err(PodError::Field {
            field: format!("spec.podTemplate.nodeSelector[{OS}]"),
            message: format!("`{os}` nodes are not served: steps run on `linux`"),
        }),
        _ => Ok(()),
    }
}

/// Fills in the fields of the template. Its volumes, variables and security context are merged where those are made.
pub(super) fn apply(template: &PodTemplate, spec: &mut PodSpec) {
    let template = template.clone();
    spec.node_selector = (!template.node_selector.is_empty()).then_some(template.node_selector);
    spec.tolerations = some(template.tolerations);
    spec.affinity = template.affinity;
    spec.runtime_class_name = template.runtime_class_name;
    spec.dns_policy = template.dns_policy;
    spec.dns_config = template.dns_config;
    spec.priority_class_name = template.priority_class_name;
    spec.scheduler_name = template.scheduler_name;
    spec.image_pull_secrets = some(template.image_pull_secrets);
    spec.host_aliases = some(template.host_aliases);
    spec.host_network = template.host_network;
    spec.host_users = template.host_users;
    spec.topology_spread_constraints = some(template.topology_spread_constraints);
    if template.enable_service_links.is_some() {
        spec.enable_service_links = template.enable_service_links;
    }
    if template.automount_service_account_token.is_some() {
        spec.automount_service_account_token = template.automount_service_account_token;
    }
}
