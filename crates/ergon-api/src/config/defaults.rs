//! ConfigMap `config-defaults`: what runs get that they do not say themselves.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde::Deserialize;

use super::read::{Problem, Reader};
use crate::{Duration, PodTemplate, WorkspaceBinding};

/// What runs get that they do not say themselves.
#[derive(Debug, Clone, PartialEq)]
pub struct Defaults {
    /// How long a run may take; zero: as long as it likes. `default-timeout-minutes`.
    pub timeout: Duration,
    /// `default-service-account`.
    pub service_account: String,
    /// The value of the label `app.kubernetes.io/managed-by` of runs; none: the group's own.
    /// `default-managed-by-label-value`.
    pub managed_by_label_value: Option<String>,
    /// Settings of pods, under those that a run gives. `default-pod-template`.
    pub pod_template: Option<PodTemplate>,
    /// Where CloudEvents go if `config-events` does not say. `default-cloud-events-sink`.
    pub cloud_events_sink: Option<String>,
    /// What a workspace of a Task is that a TaskRun does not bind. `default-task-run-workspace-binding`.
    pub task_run_workspace_binding: Option<WorkspaceBinding>,
    /// How many legs a matrix may have. `default-max-matrix-combinations-count`.
    pub max_matrix_combinations: u32,
    /// Environment variables that a pod template cannot set, sorted. `default-forbidden-env`.
    pub forbidden_env: Vec<String>,
    /// The resolver of a reference without a name and resolver. `default-resolver-type`.
    pub resolver_type: Option<String>,
    /// Resources of containers that name none: by container, by `prefix-<beginning>`, and for all others `default`.
    /// `default-container-resource-requirements`.
    pub container_resources: BTreeMap<String, ResourceRequirements>,
    /// How long an image that cannot be pulled is tried again before the run fails; zero: it fails at once.
    /// `default-imagepullbackoff-timeout`.
    pub image_pull_back_off_timeout: Duration,
    /// The same for a container that the node could not make in time. `default-create-container-error-timeout`.
    pub create_container_error_timeout: Duration,
    /// How long resolving a remote reference may take. `default-maximum-resolution-timeout`.
    pub maximum_resolution_timeout: Duration,
    /// How many StepActions of one run are looked up at once. `default-step-ref-concurrency-limit`.
    pub step_ref_concurrency: u32,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(3600),
            service_account: "default".to_owned(),
            managed_by_label_value: None,
            pod_template: None,
            cloud_events_sink: None,
            task_run_workspace_binding: None,
            max_matrix_combinations: 256,
            forbidden_env: Vec::new(),
            resolver_type: None,
            container_resources: BTreeMap::new(),
            image_pull_back_off_timeout: Duration::ZERO,
            create_container_error_timeout: Duration::ZERO,
            maximum_resolution_timeout: Duration::from_secs(60),
            step_ref_concurrency: 5,
        }
    }
}

impl Defaults {
    pub(super) fn read(data: &BTreeMap<String, String>) -> (Self, Vec<Problem>) {
        let mut all = Self::default();
        let mut reader = Reader::new("config-defaults", data);
        if let Some(minutes) = reader.number("default-timeout-minutes", 1 << 24, "minutes, 0 for no limit") {
            all.timeout = Duration::from_secs(i64::from(minutes) * 60);
        }
        if let Some(name) = reader.text("default-service-account") {
            all.service_account = name;
        }
        all.managed_by_label_value = reader.text("default-managed-by-label-value");
        all.pod_template = reader.yaml::<Option<PodTemplate>>("default-pod-template").flatten();
        reader.without_effect(
            "default-affinity-assistant-pod-template",
            "",
            "there are no placeholder pods that it could be for",
        );
        all.cloud_events_sink = reader.text("default-cloud-events-sink");
        all.task_run_workspace_binding =
            reader.yaml::<Option<WorkspaceBinding>>("default-task-run-workspace-binding").flatten();
        if let Some(count) =
            reader.number("default-max-matrix-combinations-count", 100_001, "combinations of a matrix")
        {
            all.max_matrix_combinations = count;
        }
        let names = reader.get("default-forbidden-env").unwrap_or_default();
        all.forbidden_env =
            names.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
        all.forbidden_env.sort_unstable();
        all.forbidden_env.dedup();
        all.resolver_type = reader.text("default-resolver-type");
        let resources = reader
            .yaml::<Option<BTreeMap<String, Option<Resources>>>>("default-container-resource-requirements");
        all.container_resources = resources
            .flatten()
            .unwrap_or_default()
            .into_iter()
            .map(|(name, resources)| (name, resources.unwrap_or_default().into()))
            .collect();
        reader.duration("default-imagepullbackoff-timeout", &mut all.image_pull_back_off_timeout);
        reader.duration("default-create-container-error-timeout", &mut all.create_container_error_timeout);
        reader.duration("default-maximum-resolution-timeout", &mut all.maximum_resolution_timeout);
        reader.without_effect(
            "default-sidecar-log-polling-interval",
            "100ms",
            "results do not travel through a sidecar's log",
        );
        if let Some(limit) = reader.number("default-step-ref-concurrency-limit", 10_001, "look-ups at once") {
            all.step_ref_concurrency = limit.max(1);
        }
        (all, reader.finish())
    }
}

/// Requests and limits, whose amounts people also write as numbers.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Resources {
    requests: Option<BTreeMap<String, Amount>>,
    limits: Option<BTreeMap<String, Amount>>,
}

struct Amount(String);

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => Ok(Self(text)),
            serde_json::Value::Number(number) => Ok(Self(number.to_string())),
            other => {
                Err(serde::de::Error::custom(format_args!("{other} is no amount, such as `500m` or `1Gi`")))
            }
        }
    }
}

impl From<Resources> for ResourceRequirements {
    fn from(resources: Resources) -> Self {
        let amounts = |amounts: Option<BTreeMap<String, Amount>>| {
            amounts.map(|map| map.into_iter().map(|(name, amount)| (name, Quantity(amount.0))).collect())
        };
        Self { requests: amounts(resources.requests), limits: amounts(resources.limits), claims: None }
    }
}
