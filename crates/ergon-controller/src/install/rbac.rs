//! Who may do what.

use ergon_api::{Group, ResolutionRequest};
use serde_json::{Value, json};

use super::settings::{INFO, resolvers_namespace};
use super::{CONFIGURATION, InstallOptions, NAME, labels, with_labels};
use crate::certificate::SECRET;
use crate::trust::converted;

/// `beside`: Tekton is there, with roles of its own.
pub(super) fn objects(options: &InstallOptions, beside: bool) -> Vec<Value> {
    let namespace = &options.namespace;
    let groups: Vec<&str> = options.groups.iter().map(|group| group.name()).collect();
    let subject = json!([{"kind": "ServiceAccount", "name": NAME, "namespace": namespace}]);
    let rbac = "rbac.authorization.k8s.io";
    let (api_version, meta) = (format!("{rbac}/v1"), json!({"name": NAME, "labels": labels()}));
    let namespaced = json!({"name": NAME, "namespace": namespace, "labels": labels()});
    let mut objects = vec![
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": namespaced}),
        json!({"apiVersion": api_version, "kind": "ClusterRole", "metadata": meta, "rules": with_definitions(with_requests(controller(&groups), &options.groups), &converted(&options.groups))}),
    ];
    objects.extend(aggregated(&api_version, "ergon-edit", "ergon-view", &groups));
    if options.groups.contains(&Group::Tekton) && !beside {
        // Under the names that other tools' bindings have.
        let (edit, view) = ("tekton-aggregate-edit", "tekton-aggregate-view");
        objects.extend(aggregated(&api_version, edit, view, &[Group::Tekton.name()]));
    }
    objects.extend([
        json!({"apiVersion": api_version, "kind": "ClusterRoleBinding", "metadata": meta, "subjects": subject,
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": NAME}}),
        json!({"apiVersion": api_version, "kind": "Role", "metadata": namespaced, "rules": own_namespace()}),
        json!({"apiVersion": api_version, "kind": "RoleBinding", "metadata": namespaced, "subjects": subject,
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": NAME}}),
    ]);
    // Settings are read, and nothing else in those namespaces.
    for namespace in [options.tekton_namespace.clone(), resolvers_namespace(&options.tekton_namespace)] {
        let metadata = json!({"name": NAME, "namespace": namespace, "labels": labels()});
        let rules =
            json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"]}]);
        objects.extend([
            json!({"apiVersion": api_version, "kind": "Role", "metadata": metadata, "rules": rules}),
            json!({"apiVersion": api_version, "kind": "RoleBinding", "metadata": metadata, "subjects": subject,
                "roleRef": {"apiGroup": rbac, "kind": "Role", "name": NAME}}),
        ]);
    }
    // Tekton has the same ones.
    if beside {
        return objects;
    }
    let everybody = json!([{"apiGroup": rbac, "kind": "Group", "name": "system:authenticated"}]);
    let metadata =
        json!({"name": "tekton-pipelines-info", "namespace": options.tekton_namespace, "labels": labels()});
    let rules =
        json!([{"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [INFO], "verbs": ["get"]}]);
    objects.extend([
        json!({"apiVersion": api_version, "kind": "Role", "metadata": metadata, "rules": rules}),
        json!({"apiVersion": api_version, "kind": "RoleBinding", "metadata": metadata, "subjects": everybody,
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "tekton-pipelines-info"}}),
    ]);
    objects
}

fn controller(groups: &[&str]) -> Value {
    json!([
        {"apiGroups": groups, "resources": ["tasks", "pipelines", "stepactions"], "verbs": ["get"]},
        {"apiGroups": groups, "resources": ["taskruns", "pipelineruns", "customruns"],
            "verbs": ["get", "list", "watch", "create", "patch"]},
        {"apiGroups": groups, "resources": ["taskruns/status", "pipelineruns/status"], "verbs": ["patch"]},
        // Children block their owner's foreground deletion; some clusters ask this of who says so.
        {"apiGroups": groups, "resources": ["taskruns/finalizers", "pipelineruns/finalizers"], "verbs": ["update"]},
        {"apiGroups": [""], "resources": ["pods"],
            "verbs": ["get", "list", "watch", "create", "patch", "delete"]},
        // A claim is read before it is deleted: only one that the run owns is.
        {"apiGroups": [""], "resources": ["persistentvolumeclaims"], "verbs": ["get", "create", "patch", "delete"]},
        // What a pod depends on: its account, the namespace's limits, the Secrets that the account lists. And the
        // credentials of registries, repositories and servers that references name.
        {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["limitranges"], "verbs": ["list", "watch"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]},
        {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]},
        {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]},
        {"apiGroups": ["admissionregistration.k8s.io"],
            "resources": ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"],
            "resourceNames": [CONFIGURATION], "verbs": ["get", "list", "watch", "update"]},
    ])
}

/// The controller asks resolvers that are programs of their own, and answers those who ask ours.
fn with_requests(mut rules: Value, groups: &[Group]) -> Value {
    if let Some(rules) = rules.as_array_mut().filter(|_| groups.contains(&Group::Tekton)) {
        let (group, requests) = (ResolutionRequest::GROUP, ResolutionRequest::PLURAL);
        rules.extend([
            json!({"apiGroups": [group], "resources": [requests], "verbs": ["get", "list", "watch", "create"]}),
            json!({"apiGroups": [group], "resources": [format!("{requests}/status")], "verbs": ["patch"]}),
        ]);
    }
    rules
}

/// The controller tells the API server whom to trust when objects are converted.
fn with_definitions(mut rules: Value, converted: &[String]) -> Value {
    // No names would mean all.
    if let Some(rules) = rules.as_array_mut().filter(|_| !converted.is_empty()) {
        rules.push(json!({"apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions"],
            "resourceNames": converted, "verbs": ["get", "list", "watch", "patch"]}));
    }
    rules
}

fn own_namespace() -> Value {
    json!([
        // One for each replica, under its own name.
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"],
            "verbs": ["list", "create", "update", "delete"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]},
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": [SECRET], "verbs": ["get", "update"]},
    ])
}

/// Roles that add our kinds to the cluster's own `view`, `edit` and `admin`.
fn aggregated(api_version: &str, edit: &str, view: &str, groups: &[&str]) -> [Value; 2] {
    let resources = json!(["tasks", "pipelines", "taskruns", "pipelineruns", "stepactions", "customruns"]);
    let role = |name: &str, into: Value, verbs: Value| {
        json!({
            "apiVersion": api_version, "kind": "ClusterRole",
            "metadata": {"name": name, "labels": with_labels(&into)},
            "rules": [{"apiGroups": groups, "resources": resources, "verbs": verbs}],
        })
    };
    let into = |role: &str| format!("rbac.authorization.k8s.io/aggregate-to-{role}");
    [
        role(
            edit,
            json!({into("edit"): "true", into("admin"): "true"}),
            json!(["create", "update", "patch", "delete", "deletecollection", "get", "list", "watch",]),
        ),
        role(view, json!({into("view"): "true"}), json!(["get", "list", "watch"])),
    ]
}
