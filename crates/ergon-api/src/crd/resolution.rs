//! The definition of ResolutionRequest, which is of a group of its own.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceColumnDefinition, CustomResourceDefinition, CustomResourceDefinitionNames,
    CustomResourceDefinitionSpec, CustomResourceDefinitionVersion, CustomResourceSubresourceStatus,
    CustomResourceSubresources, CustomResourceValidation, WebhookClientConfig,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use super::{labels, schema, webhook};
use crate::resolution::{ResolutionRequest, ResolutionRequestSpec, ResolutionRequestStatus};

/// The definition. Without `conversion`, the older version is not served.
pub(super) fn definition(conversion: Option<&WebhookClientConfig>) -> CustomResourceDefinition {
    let texts = |texts: &[&str]| Some(texts.iter().map(|text| (*text).to_owned()).collect());
    let older = conversion.map(|_| version("v1alpha1"));
    CustomResourceDefinition {
        metadata: ObjectMeta {
            name: Some(ResolutionRequest::DEFINITION.to_owned()),
            labels: Some(labels()),
            ..ObjectMeta::default()
        },
        spec: CustomResourceDefinitionSpec {
            group: ResolutionRequest::GROUP.to_owned(),
            names: CustomResourceDefinitionNames {
                kind: ResolutionRequest::KIND.to_owned(),
                list_kind: Some(format!("{}List", ResolutionRequest::KIND)),
                plural: ResolutionRequest::PLURAL.to_owned(),
                singular: Some("resolutionrequest".to_owned()),
                short_names: None,
                categories: texts(&["tekton", "tekton-pipelines"]),
            },
            scope: "Namespaced".to_owned(),
            versions: std::iter::once(version(ResolutionRequest::VERSION)).chain(older).collect(),
            conversion: conversion.map(webhook),
            preserve_unknown_fields: None,
        },
        status: None,
    }
}

fn version(name: &str) -> CustomResourceDefinitionVersion {
    let is_stored = name == ResolutionRequest::VERSION;
    let mut spec = schema::of::<ResolutionRequestSpec>();
    if !is_stored {
        spec["properties"]["params"] = json!({
            "type": "object", "description": "Parameters for the resolver.",
            "additionalProperties": {"type": "string"},
        });
    }
    let schema = json!({
        "type": "object", "description": "A question to a resolver, and its answer.",
        "properties": {
            "apiVersion": {"type": "string", "description": "The group and version of this object's kind."},
            "kind": {"type": "string", "description": format!("`{}`.", ResolutionRequest::KIND)},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": schema::of::<ResolutionRequestStatus>(),
        },
    });
    CustomResourceDefinitionVersion {
        name: name.to_owned(),
        served: true,
        storage: is_stored,
        deprecated: (!is_stored).then_some(true),
        additional_printer_columns: Some(columns()),
        schema: Some(CustomResourceValidation { open_api_v3_schema: serde_json::from_value(schema).ok() }),
        subresources: Some(CustomResourceSubresources {
            status: Some(CustomResourceSubresourceStatus(Value::Object(serde_json::Map::new()))),
            ..CustomResourceSubresources::default()
        }),
        ..CustomResourceDefinitionVersion::default()
    }
}

/// The columns of `kubectl get`, as Tekton has them.
fn columns() -> Vec<CustomResourceColumnDefinition> {
    [
        ("OwnerKind", ".metadata.ownerReferences[0].kind"),
        ("Owner", ".metadata.ownerReferences[0].name"),
        ("Succeeded", r#".status.conditions[?(@.type=="Succeeded")].status"#),
        ("Reason", r#".status.conditions[?(@.type=="Succeeded")].reason"#),
        ("StartTime", ".metadata.creationTimestamp"),
        ("EndTime", r#".status.conditions[?(@.type=="Succeeded")].lastTransitionTime"#),
    ]
    .map(|(name, path)| CustomResourceColumnDefinition {
        name: name.to_owned(),
        type_: "string".to_owned(),
        json_path: path.to_owned(),
        ..CustomResourceColumnDefinition::default()
    })
    .into()
}
