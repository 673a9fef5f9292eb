//! Claims that a run's workspace templates ask for.

use std::collections::BTreeMap;

use ergon_api::{Group, PipelineRun, WorkspaceBinding};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimVolumeSource};
use kube_core::ResourceExt as _;

use crate::pod;

/// The run's bindings by name, with a claim in place of each template, and those claims. They are owned by the run
/// and go with it.
pub(super) fn bind(
    group: Group,
    run: &PipelineRun,
) -> (BTreeMap<String, WorkspaceBinding>, Vec<PersistentVolumeClaim>) {
    let mut claims = Vec::new();
    let mut bindings = BTreeMap::new();
    for binding in &run.spec.workspaces {
        let mut binding = binding.clone();
        if let Some(template) = binding.volume_claim_template.take() {
            let claim = pod::claim(group, run, &binding.name, template);
            binding.persistent_volume_claim =
                Some(PersistentVolumeClaimVolumeSource { claim_name: claim.name_any(), read_only: None });
            claims.push(claim);
        }
        bindings.insert(binding.name.clone(), binding);
    }
    (bindings, claims)
}
