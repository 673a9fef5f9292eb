//! Claims that a run's workspace templates ask for, and their end.

use std::collections::BTreeMap;

use ergon_api::config::Coschedule;
use ergon_api::{Group, PipelineRun, WorkspaceBinding};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimVolumeSource};
use kube_core::ResourceExt as _;

use super::Observed;
use crate::action::Action;
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

/// The claims of templates that are deleted with the run's end, not only with the run itself: where the run asks for it,
/// and wherever all pods of a run share a node.
pub(super) fn delete(observed: &Observed<'_>) -> Vec<Action> {
    let run = observed.run;
    let asked = || {
        let annotations = run.metadata.annotations.as_ref();
        let wish = annotations.and_then(|all| all.get(&observed.group.label("auto-cleanup-pvc")));
        wish.is_some_and(|wish| wish == "true")
    };
    let wanted = match observed.config.features.coschedule {
        Coschedule::Workspaces | Coschedule::Pod => asked(),
        Coschedule::PipelineRuns | Coschedule::IsolatePipelineRun => true,
        Coschedule::Disabled => false,
    };
    if !wanted {
        return Vec::new();
    }
    let (_, claims) = bind(observed.group, run);
    claims.into_iter().map(|claim| Action::DeleteClaim { name: claim.name_any() }).collect()
}
