//! Custom resource definitions, made from the Rust types.
//!
//! `cargo run -p xtask -- codegen` writes them to `crds/`; `ergon install` applies them from here.

mod resolution;
mod schema;

use std::collections::BTreeMap;
use std::sync::{LazyLock, OnceLock};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceColumnDefinition, CustomResourceConversion, CustomResourceDefinition,
    CustomResourceDefinitionNames, CustomResourceDefinitionSpec, CustomResourceDefinitionVersion,
    CustomResourceSubresourceStatus, CustomResourceSubresources, CustomResourceValidation,
    WebhookClientConfig, WebhookConversion,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use crate::convert::{self, Root, V1BETA1};
use crate::{
    CustomRun, CustomRunSpec, CustomRunStatus, Group, Pipeline, PipelineRun, PipelineRunSpec,
    PipelineRunStatus, PipelineSpec, StepAction, StepActionSpec, Task, TaskRun, TaskRunSpec, TaskRunStatus,
    TaskSpec,
};

/// The definitions of all kinds in a group, in a stable order.
///
/// `conversion` is where the API server has objects converted between versions. Without it, versions whose fields
/// differ from those of the stored one are not served.
pub fn crds(group: Group, conversion: Option<&WebhookClientConfig>) -> Vec<CustomResourceDefinition> {
    // Whatever asks for it knows it under Tekton's name alone.
    let requests = (group == Group::Tekton).then(|| resolution::definition(conversion));
    kinds().iter().map(|kind| kind.definition(group, conversion)).chain(requests).collect()
}

/// What a custom resource definition says about a kind, apart from the group.
pub struct Kind {
    /// The kind's name, such as `TaskRun`.
    pub kind: &'static str,
    /// The name in URLs.
    pub plural: &'static str,
    /// The version that both groups serve and store.
    pub version: &'static str,
    /// Older versions, which `tekton.dev` serves as well.
    pub older_versions: &'static [&'static str],
    /// The schema of the whole object: structural, with a description on every field.
    pub schema: LazyLock<Value>,
    singular: &'static str,
    short_names: fn(Group) -> &'static [&'static str],
    is_run: bool,
}

/// All kinds, in a stable order. Built once.
pub fn kinds() -> &'static [Kind] {
    static KINDS: OnceLock<Vec<Kind>> = OnceLock::new();
    KINDS.get_or_init(|| {
        vec![
            kind!(Task, schema::of::<TaskSpec>(), None, short_names: |group| match group {
                Group::Ergon => &["etask"],
                Group::Tekton => &[],
            }),
            kind!(Pipeline, schema::of::<PipelineSpec>(), None, short_names: |group| match group {
                Group::Ergon => &["epipe"],
                Group::Tekton => &[],
            }),
            kind!(TaskRun, schema::of::<TaskRunSpec>(), Some(schema::of::<TaskRunStatus>()), short_names: |group| {
                match group {
                    Group::Ergon => &["etr"],
                    Group::Tekton => &["tr", "trs"],
                }
            }),
            kind!(
                PipelineRun,
                schema::of::<PipelineRunSpec>(),
                Some(schema::of::<PipelineRunStatus>()),
                short_names: |group| match group {
                    Group::Ergon => &["epr"],
                    Group::Tekton => &["pr", "prs"],
                }
            ),
            kind!(StepAction, schema::of::<StepActionSpec>(), None, short_names: |_| &[]),
            kind!(
                CustomRun,
                schema::of::<CustomRunSpec>(),
                Some(schema::of::<CustomRunStatus>()),
                short_names: |_| &[]
            ),
        ]
    })
}

/// A [`Kind`] from its Rust type and the schemas of its spec and status.
macro_rules! kind {
    ($type:ident, $spec:expr, $status:expr, short_names: $short_names:expr $(,)?) => {{
        Kind {
            kind: $type::KIND,
            plural: $type::PLURAL,
            version: $type::VERSION,
            older_versions: match $type::VERSION {
                "v1" => &[V1BETA1],
                _ if $type::KIND == StepAction::KIND => &["v1alpha1"],
                _ => &[],
            },
            // Made when it is asked for: who only reads manifests does without.
            schema: LazyLock::new(|| object_schema($type::KIND, $spec, $status)),
            singular: $type::SINGULAR,
            short_names: $short_names,
            is_run: $type::KIND.ends_with("Run"),
        }
    }};
}
use kind;

/// The schema of a single Rust type, structural, as in the definitions. For look-ups such as "which fields are there".
pub fn schema_of<T: JsonSchema>() -> Value {
    schema::of::<T>()
}

fn object_schema(kind: &str, mut spec: Value, status: Option<Value>) -> Value {
    let description = spec.get("description").cloned().unwrap_or_default();
    if let Some(rules) = rules(kind) {
        spec["x-kubernetes-validations"] = rules;
    }
    let mut properties = Map::new();
    properties.insert(
        "apiVersion".to_owned(),
        json!({ "type": "string", "description": "The group and version of this object's kind." }),
    );
    properties.insert("kind".to_owned(), json!({ "type": "string", "description": format!("`{kind}`.") }));
    // The API server knows its own metadata, and allows no word about it.
    properties.insert("metadata".to_owned(), json!({ "type": "object" }));
    properties.insert("spec".to_owned(), spec);
    if let Some(status) = status {
        properties.insert("status".to_owned(), status);
    }
    let summary = match kind {
        "Task" => "A list of steps that run one after another, in containers of one pod.",
        "Pipeline" => "A graph of Tasks. Edges come from `runAfter` and from the use of results.",
        "TaskRun" => "One execution of a Task.",
        "PipelineRun" => "One execution of a Pipeline.",
        "StepAction" => "A step that Tasks refer to by name.",
        "CustomRun" => {
            "One execution of a custom task. Another controller carries it out and writes its status."
        }
        _ => description.as_str().unwrap_or_default(),
    };
    json!({ "type": "object", "description": summary, "properties": properties })
}

/// Rules that the API server itself enforces, also where no webhook runs. Only what is cheap to evaluate: the server
/// bounds the cost of rules by the largest object that the schema allows.
fn rules(kind: &str) -> Option<Value> {
    let fixed = |field: &str| {
        json!({
            "rule": format!(
                "has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})"
            ),
            "message": format!("{field} cannot be changed"),
        })
    };
    let one_of = |one: &str, other: &str| {
        json!({
            "rule": format!("!(has(self.{one}) && has(self.{other}))"),
            "message": format!("expected exactly one, got both: {one}, {other}"),
        })
    };
    match kind {
        TaskRun::KIND => Some(json!([fixed("managedBy"), one_of("taskRef", "taskSpec")])),
        PipelineRun::KIND => Some(json!([fixed("managedBy"), one_of("pipelineRef", "pipelineSpec")])),
        CustomRun::KIND => Some(json!([one_of("customRef", "customSpec")])),
        _ => None,
    }
}

impl Kind {
    /// The schema of the stored version as a group serves it. Tekton's objects do not have our additions, and what is written out inside
    /// of them is open: there Tekton's webhook, and ours, say what is wrong, and old spellings are let through.
    pub fn schema_in(&self, group: Group) -> Value {
        let mut schema = Value::clone(&self.schema);
        if group == Group::Tekton {
            for ours in ["fuse", "prestart", "childCounts"] {
                remove_property(&mut schema, ours);
            }
            without_types(&mut schema);
            open_property(&mut schema, "taskSpec");
            open_property(&mut schema, "pipelineSpec");
        }
        schema
    }

    /// The schema of a version that a group serves.
    fn schema_of_version(&self, group: Group, version: &str) -> Value {
        let schema = self.schema_in(group);
        match Root::of(self.kind) {
            Some(root) if version != self.version => convert::schema(root, schema),
            _ => schema,
        }
    }

    /// The custom resource definition in a group. See [`crds`].
    pub fn definition(
        &self,
        group: Group,
        conversion: Option<&WebhookClientConfig>,
    ) -> CustomResourceDefinition {
        let versions: Vec<_> = self
            .versions(group)
            .filter(|version| *version == self.version || conversion.is_some() || !self.differs())
            .map(|version| self.definition_version(group, version))
            .collect();
        let conversion = conversion.filter(|_| versions.len() > 1);
        let texts = |texts: &[&str]| Some(texts.iter().map(|text| (*text).to_owned()).collect());
        let short_names = (self.short_names)(group);
        let categories: &[&str] = match group {
            Group::Ergon => &["ergon"],
            Group::Tekton => &["tekton", "tekton-pipelines"],
        };
        CustomResourceDefinition {
            metadata: ObjectMeta {
                name: Some(format!("{}.{}", self.plural, group.name())),
                labels: Some(labels()),
                ..ObjectMeta::default()
            },
            spec: CustomResourceDefinitionSpec {
                group: group.name().to_owned(),
                names: CustomResourceDefinitionNames {
                    kind: self.kind.to_owned(),
                    list_kind: Some(format!("{}List", self.kind)),
                    plural: self.plural.to_owned(),
                    singular: Some(self.singular.to_owned()),
                    short_names: if short_names.is_empty() { None } else { texts(short_names) },
                    categories: texts(categories),
                },
                scope: "Namespaced".to_owned(),
                versions,
                conversion: conversion.map(webhook),
                preserve_unknown_fields: None,
            },
            status: None,
        }
    }
}

fn labels() -> BTreeMap<String, String> {
    [("app.kubernetes.io/part-of", "ergon"), ("app.kubernetes.io/component", "api")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

fn webhook(client_config: &WebhookClientConfig) -> CustomResourceConversion {
    CustomResourceConversion {
        strategy: "Webhook".to_owned(),
        webhook: Some(WebhookConversion {
            client_config: Some(client_config.clone()),
            conversion_review_versions: vec!["v1".to_owned()],
        }),
    }
}

impl Kind {
    /// The versions that a group serves, the stored one first.
    pub fn versions(&self, group: Group) -> impl Iterator<Item = &'static str> {
        let older = if group == Group::Tekton { self.older_versions } else { &[] };
        std::iter::once(self.version).chain(older.iter().copied())
    }

    /// Whether the fields of older versions are not those of the stored one.
    fn differs(&self) -> bool {
        Root::of(self.kind).is_some()
    }

    fn definition_version(&self, group: Group, version: &str) -> CustomResourceDefinitionVersion {
        CustomResourceDefinitionVersion {
            name: version.to_owned(),
            served: true,
            storage: version == self.version,
            additional_printer_columns: self.is_run.then(printer_columns),
            schema: Some(CustomResourceValidation {
                open_api_v3_schema: serde_json::from_value(self.schema_of_version(group, version)).ok(),
            }),
            subresources: self.is_run.then(|| CustomResourceSubresources {
                status: Some(CustomResourceSubresourceStatus(json!({}))),
                ..CustomResourceSubresources::default()
            }),
            ..CustomResourceDefinitionVersion::default()
        }
    }
}

/// The columns of `kubectl get`, as Tekton has them.
fn printer_columns() -> Vec<CustomResourceColumnDefinition> {
    [
        ("Succeeded", "string", r#".status.conditions[?(@.type=="Succeeded")].status"#),
        ("Reason", "string", r#".status.conditions[?(@.type=="Succeeded")].reason"#),
        ("StartTime", "date", ".status.startTime"),
        ("CompletionTime", "date", ".status.completionTime"),
    ]
    .map(|(name, type_, path)| CustomResourceColumnDefinition {
        name: name.to_owned(),
        type_: type_.to_owned(),
        json_path: path.to_owned(),
        ..CustomResourceColumnDefinition::default()
    })
    .into()
}

fn remove_property(schema: &mut Value, name: &str) {
    match schema {
        Value::Object(map) => {
            if let Some(properties) = map.get_mut("properties").and_then(Value::as_object_mut) {
                properties.remove(name);
            }
            map.values_mut().for_each(|value| remove_property(value, name));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| remove_property(item, name)),
        _ => {}
    }
}

/// Takes out what declarations of parameters and results have under `ergon.dev` alone.
fn without_types(schema: &mut Value) {
    for name in ["pattern", "minimum", "maximum", "schema", "filter", "filterValues", "celValues"] {
        remove_property(schema, name);
    }
    each_schema(schema, &mut |map| {
        let plain = ["string", "array", "object"];
        if let Some(words) = map.get_mut("enum").and_then(Value::as_array_mut)
            && words.iter().any(|word| word == "secret")
        {
            words.retain(|word| plain.iter().any(|plain| word == plain));
        }
        if let Some(properties) = map.get_mut("properties").and_then(Value::as_object_mut)
            && let Some(values) = properties.get_mut("enum")
        {
            values["items"] = json!({ "type": "string" });
            // A parameter has a default, and a result has none.
            if !properties.contains_key("default") {
                properties.remove("enum");
            }
        }
    });
}

fn each_schema(schema: &mut Value, visit: &mut impl FnMut(&mut Map<String, Value>)) {
    match schema {
        Value::Object(map) => {
            visit(map);
            map.values_mut().for_each(|value| each_schema(value, visit));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| each_schema(item, visit)),
        _ => {}
    }
}

/// Lets a property hold any object.
fn open_property(schema: &mut Value, name: &str) {
    match schema {
        Value::Object(map) => {
            if let Some(property) = map.get_mut("properties").and_then(|properties| properties.get_mut(name))
            {
                *property = json!({
                    "type": "object",
                    "description": property.get("description").cloned().unwrap_or_default(),
                    "x-kubernetes-preserve-unknown-fields": true,
                });
            }
            map.values_mut().for_each(|value| open_property(value, name));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| open_property(item, name)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the API server demands of a structural schema, and we of a readable one.
    fn check(path: &str, schema: &Value, inside_logic: bool, problems: &mut Vec<String>) {
        let Some(map) = schema.as_object() else {
            problems.push(format!("{path}: not an object"));
            return;
        };
        for forbidden in ["$ref", "$defs", "definitions", "default", "title", "$schema", "const", "nullable"]
        {
            if map.contains_key(forbidden) {
                problems.push(format!("{path}: has `{forbidden}`"));
            }
        }
        let open = ["x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string"];
        match map.get("type") {
            Some(_) if inside_logic => problems.push(format!("{path}: `type` inside anyOf or oneOf")),
            Some(Value::String(_)) => {}
            Some(other) => problems.push(format!("{path}: type is {other}")),
            None if !inside_logic && !open.iter().any(|key| map.contains_key(*key)) => {
                problems.push(format!("{path}: has no type"));
            }
            None => {}
        }
        for (name, property) in map.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let path = format!("{path}.{name}");
            let described =
                property.get("description").and_then(Value::as_str).is_some_and(|text| !text.is_empty());
            if !described && name != "metadata" {
                problems.push(format!("{path}: has no description"));
            }
            check(&path, property, false, problems);
        }
        for key in ["items", "additionalProperties"] {
            if let Some(inner) = map.get(key) {
                check(&format!("{path}[]"), inner, false, problems);
            }
        }
        for key in ["anyOf", "oneOf", "allOf"] {
            for inner in map.get(key).and_then(Value::as_array).into_iter().flatten() {
                check(&format!("{path}({key})"), inner, true, problems);
            }
        }
    }

    #[test]
    fn schemas_are_structural_and_described() {
        let mut problems = Vec::new();
        for kind in kinds() {
            for group in Group::ALL {
                for version in kind.versions(group) {
                    let name = format!("{} {version}", kind.kind);
                    check(&name, &kind.schema_of_version(group, version), false, &mut problems);
                }
            }
        }
        for version in resolution::definition(Some(&WebhookClientConfig::default())).spec.versions {
            let schema = version.schema.and_then(|schema| schema.open_api_v3_schema);
            let name = format!("ResolutionRequest {}", version.name);
            check(&name, &serde_json::to_value(schema).unwrap(), false, &mut problems);
        }
        assert!(problems.is_empty(), "{}", problems.join("\n"));
    }

    #[test]
    fn definitions_fit_into_the_annotation_of_kubectl_apply() {
        for group in Group::ALL {
            for definition in crds(group, Some(&WebhookClientConfig::default())) {
                let name = definition.metadata.name.clone().unwrap_or_default();
                let text = serde_json::to_string(&definition).unwrap();
                assert!(text.len() < 200_000, "{name}: {} bytes", text.len());
                for version in &definition.spec.versions {
                    assert!(version.schema.as_ref().unwrap().open_api_v3_schema.is_some(), "{name}");
                }
            }
        }
    }

    #[test]
    fn our_additions_are_in_our_group_alone() {
        for field in ["\"fuse\"", "\"prestart\"", "\"childCounts\""] {
            let has = |group| serde_json::to_string(&crds(group, None)).unwrap().contains(field);
            assert!(has(Group::Ergon), "{field}");
            assert!(!has(Group::Tekton), "{field}");
        }
    }

    #[test]
    fn older_versions_are_served_where_somebody_converts() {
        let names = |conversion: Option<&WebhookClientConfig>| -> Vec<String> {
            let name = |definition: CustomResourceDefinition| {
                let versions: Vec<_> =
                    definition.spec.versions.iter().map(|version| version.name.clone()).collect();
                let strategy = definition.spec.conversion.map(|conversion| conversion.strategy);
                format!(
                    "{} {} {}",
                    definition.spec.names.kind,
                    versions.join("+"),
                    strategy.unwrap_or_default()
                )
            };
            crds(Group::Tekton, conversion).into_iter().map(name).collect()
        };
        assert_eq!(
            names(Some(&WebhookClientConfig::default())),
            [
                "Task v1+v1beta1 Webhook",
                "Pipeline v1+v1beta1 Webhook",
                "TaskRun v1+v1beta1 Webhook",
                "PipelineRun v1+v1beta1 Webhook",
                "StepAction v1beta1+v1alpha1 Webhook",
                "CustomRun v1beta1 ",
                "ResolutionRequest v1beta1+v1alpha1 Webhook",
            ]
        );
        assert_eq!(names(None)[..2], ["Task v1 ", "Pipeline v1 "]);
        assert_eq!(names(None)[4], "StepAction v1beta1+v1alpha1 ");
        assert_eq!(names(None)[6], "ResolutionRequest v1beta1 ");
        for definition in crds(Group::Ergon, Some(&WebhookClientConfig::default())) {
            assert_eq!((definition.spec.versions.len(), definition.spec.conversion), (1, None));
        }
    }
}
