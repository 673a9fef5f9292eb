//! Pods that share a claim run on one node: most volumes can be attached to one at a time.
//!
//! No placeholder pods are needed for that, as Tekton's affinity assistant has them. Each pod that uses a claim has a
//! label for it, and must be where another pod with that label runs; the first one satisfies its own rule.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, PodAffinityTerm, Volume};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// The labels for the claims among a pod's volumes.
pub(super) fn labels(volumes: &[Volume]) -> BTreeMap<String, String> {
    volumes
        .iter()
        .filter(|volume| volume.persistent_volume_claim.is_some())
        .map(|volume| (format!("ergon.dev/claim-{}", volume.name), "shared".to_owned()))
        .collect()
}

/// The pod's affinity, with a term for each of those labels.
pub(super) fn add(affinity: Option<Affinity>, labels: &BTreeMap<String, String>) -> Option<Affinity> {
    if labels.is_empty() {
        return affinity;
    }
    let mut affinity = affinity.unwrap_or_default();
    let terms = affinity
        .pod_affinity
        .get_or_insert_default()
        .required_during_scheduling_ignored_during_execution
        .get_or_insert_default();
    terms.extend(labels.iter().map(|(key, value)| PodAffinityTerm {
        label_selector: Some(LabelSelector {
            match_labels: Some(BTreeMap::from([(key.clone(), value.clone())])),
            ..Default::default()
        }),
        topology_key: "kubernetes.io/hostname".to_owned(),
        ..Default::default()
    }));
    Some(affinity)
}
