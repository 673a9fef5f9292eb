//! Which pods run on one node, and which must not: the setting `coschedule`.
//!
//! No placeholder pods are needed for that, as Tekton's affinity assistant has them. Pods that belong together have a
//! label in common, and each must be where another pod with that label runs; the first one satisfies its own rule.

use std::collections::BTreeMap;

use ergon_api::config::Coschedule;
use ergon_api::{Config, Group, TaskRun};
use k8s_openapi::api::core::v1::{Affinity, Pod, PodAffinity, PodAffinityTerm, Volume};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

/// The label on pods of a pipeline run that shares its node with no other such run: the run's UID.
const ISOLATED: &str = "ergon.dev/isolated";
/// The value of the label on pods with a claim.
const SHARED: &str = "shared";

/// What the label on pods with a claim begins with; the name of its volume follows.
const CLAIM: &str = "ergon.dev/claim-";

/// Takes off a pod what keeps it near others with the same claims, and gives back those claims, each with the label that
/// pods with it have.
pub(crate) fn take_claims(pod: &mut Pod) -> Vec<(String, String)> {
    let Some(spec) = &mut pod.spec else { return Vec::new() };
    let mut taken = Vec::new();
    for volume in spec.volumes.iter().flatten() {
        let Some(claim) = &volume.persistent_volume_claim else { continue };
        let label = format!("{CLAIM}{}", volume.name);
        if pod.metadata.labels.as_mut().is_some_and(|labels| labels.remove(&label).is_some()) {
            taken.push((claim.claim_name.clone(), label));
        }
    }
    if taken.is_empty() {
        return taken;
    }
    let of_claim = |selector: &LabelSelector| {
        let labels = selector.match_labels.iter().flatten();
        labels.into_iter().any(|(name, _)| taken.iter().any(|(_, label)| label == name))
    };
    if let Some(affinity) = &mut spec.affinity {
        if let Some(near) = &mut affinity.pod_affinity {
            if let Some(rules) = &mut near.required_during_scheduling_ignored_during_execution {
                rules.retain(|rule| !rule.label_selector.as_ref().is_some_and(of_claim));
            }
            near.required_during_scheduling_ignored_during_execution.take_if(|rules| rules.is_empty());
        }
        affinity.pod_affinity.take_if(|near| *near == PodAffinity::default());
    }
    spec.affinity.take_if(|affinity| *affinity == Affinity::default());
    taken
}

/// Puts a pod near others with these claims, by the labels that pods with them have.
pub(crate) fn put_near(pod: &mut Pod, labels: &[String]) {
    let mut place = Place::default();
    for label in labels {
        place.near(label, SHARED);
        pod.metadata.labels.get_or_insert_default().insert(label.clone(), SHARED.to_owned());
    }
    if let Some(spec) = &mut pod.spec {
        spec.affinity = place.add_to(spec.affinity.take());
    }
}

/// Where a pod may run, as seen from other pods.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// The labels that others find it by.
    pub labels: BTreeMap<String, String>,
    near: Vec<LabelSelector>,
    far: Vec<LabelSelector>,
}

impl Place {
    /// The place of a task run's pod with these workspaces.
    ///
    /// Most volumes can be attached to one node at a time, so that pods with the same claim run on one, if not all of
    /// their pipeline run do.
    pub fn of(group: Group, run: &TaskRun, workspaces: &[Volume], config: &Config) -> Self {
        let mode = config.features.coschedule;
        let uid = group.label("pipelineRunUID");
        let own = run.metadata.labels.as_ref().and_then(|labels| labels.get(&uid));
        let mut place = Self::default();
        match (mode, own) {
            (Coschedule::Disabled, _) => {}
            (Coschedule::PipelineRuns, Some(own)) => place.near(&uid, own),
            (Coschedule::IsolatePipelineRun, Some(own)) => {
                place.near(&uid, own);
                place.labels.insert(ISOLATED.to_owned(), own.clone());
                let rule = |operator: &str, values: Option<Vec<String>>| LabelSelectorRequirement {
                    key: ISOLATED.to_owned(),
                    operator: operator.to_owned(),
                    values,
                };
                place.far.push(LabelSelector {
                    match_expressions: Some(vec![
                        rule("Exists", None),
                        rule("NotIn", Some(vec![own.clone()])),
                    ]),
                    ..Default::default()
                });
            }
            (
                Coschedule::Workspaces
                | Coschedule::PipelineRuns
                | Coschedule::IsolatePipelineRun
                | Coschedule::Pod,
                _,
            ) => {
                for volume in workspaces.iter().filter(|volume| volume.persistent_volume_claim.is_some()) {
                    let label = format!("{CLAIM}{}", volume.name);
                    place.near(&label, SHARED);
                    place.labels.insert(label, SHARED.to_owned());
                }
            }
        }
        place
    }

    fn near(&mut self, label: &str, value: &str) {
        self.near.push(LabelSelector {
            match_labels: Some(BTreeMap::from([(label.to_owned(), value.to_owned())])),
            ..Default::default()
        });
    }

    /// A pod's own affinity, with these rules.
    pub fn add_to(self, affinity: Option<Affinity>) -> Option<Affinity> {
        if self.near.is_empty() && self.far.is_empty() {
            return affinity;
        }
        let mut affinity = affinity.unwrap_or_default();
        if !self.near.is_empty() {
            let rules = affinity.pod_affinity.get_or_insert_default();
            let rules = rules.required_during_scheduling_ignored_during_execution.get_or_insert_default();
            rules.extend(self.near.into_iter().map(on_one_node));
        }
        if !self.far.is_empty() {
            let rules = affinity.pod_anti_affinity.get_or_insert_default();
            let rules = rules.required_during_scheduling_ignored_during_execution.get_or_insert_default();
            rules.extend(self.far.into_iter().map(on_one_node));
        }
        Some(affinity)
    }
}

fn on_one_node(selector: LabelSelector) -> PodAffinityTerm {
    PodAffinityTerm {
        label_selector: Some(selector),
        topology_key: "kubernetes.io/hostname".to_owned(),
        ..Default::default()
    }
}
