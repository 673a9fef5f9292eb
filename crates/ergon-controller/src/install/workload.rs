//! The controller's Service and Deployment.

use serde_json::{Value, json};

use crate::beside::Beside;

use super::{GRACE_SECS, HTTP_PORT, InstallOptions, NAME, TEKTON_NAMESPACE, TLS_PORT, with_labels};

pub(super) fn objects(options: &InstallOptions) -> [Value; 2] {
    let selector = json!({"app.kubernetes.io/name": "ergon", "app.kubernetes.io/component": "controller"});
    let labels = with_labels(&selector);
    let metadata = json!({"name": NAME, "namespace": options.namespace, "labels": labels});
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": metadata,
        "spec": {
            "selector": selector,
            "ports": [
                {"name": "https", "port": TLS_PORT, "targetPort": "https"},
                {"name": "http", "port": HTTP_PORT, "targetPort": "http"},
            ],
        },
    });
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
        "spec": {
            "replicas": options.replicas,
            // A webhook that nobody answers refuses every write: the new replica serves before the old one ends.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "selector": {"matchLabels": selector},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "serviceAccountName": NAME,
                    // It goes on serving for some seconds after it was told to end.
                    "terminationGracePeriodSeconds": GRACE_SECS,
                    "securityContext": {
                        "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "containers": [container(options)],
                },
            },
        },
    });
    [service, deployment]
}

fn container(options: &InstallOptions) -> Value {
    let groups: Vec<&str> = options.groups.iter().map(|group| group.name()).collect();
    let mut args = vec![format!("--groups={}", groups.join(",")), "--log-format=json".to_owned()];
    if options.tekton_namespace != TEKTON_NAMESPACE {
        args.push(format!("--tekton-namespace={}", options.tekton_namespace));
    }
    if options.beside_tekton != Beside::Auto {
        args.push(format!("--beside-tekton={}", options.beside_tekton.word()));
    }
    if !options.webhooks {
        args.push("--no-webhooks".to_owned());
    }
    args.extend(options.args.iter().cloned());
    let field = |path: &str| json!({"fieldRef": {"fieldPath": path}});
    let probe = |path: &str, period: u32, failures: u32| json!({"httpGet": {"path": path, "port": "http"}, "periodSeconds": period, "failureThreshold": failures});
    let mut container = json!({
        "name": "controller",
        "image": options.image,
        "command": ["/ergon-controller"],
        "args": args,
        "env": [
            {"name": "ERGON_IMAGE", "value": options.image},
            {"name": "ERGON_NAMESPACE", "valueFrom": field("metadata.namespace")},
            {"name": "ERGON_IDENTITY", "valueFrom": field("metadata.name")},
            {"name": "ERGON_ADDRESS", "valueFrom": field("status.podIP")},
            // The allocator keeps an arena for each thread otherwise: twice the memory, and no faster here.
            {"name": "MALLOC_ARENA_MAX", "value": "1"},
            // And it keeps what was freed; a fixed threshold gives it back.
            {"name": "MALLOC_TRIM_THRESHOLD_", "value": "262144"},
        ],
        "ports": [
            {"name": "https", "containerPort": TLS_PORT},
            {"name": "http", "containerPort": HTTP_PORT},
        ],
        "readinessProbe": probe("/readyz", 1, 3),
        "livenessProbe": probe("/healthz", 10, 3),
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        },
    });
    if let Some(policy) = &options.image_pull_policy {
        container["imagePullPolicy"] = json!(policy);
    }
    container
}
