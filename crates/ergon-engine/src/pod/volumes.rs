//! Volumes: ours, and one for each workspace.

use std::collections::BTreeMap;

use ergon_api::{Group, WorkspaceBinding, WorkspaceDeclaration};
use k8s_openapi::api::core::v1::{
    EmptyDirVolumeSource, ImageVolumeSource, ProjectedVolumeSource, ServiceAccountTokenProjection, Volume,
    VolumeMount, VolumeProjection,
};

use super::{Platform, PodError, TOKEN_AUDIENCE};
use crate::task::paths;

pub(crate) const BIN: &str = "ergon-bin";
pub(crate) const RUN: &str = "ergon-run";
pub(super) const TOKEN: &str = "ergon-token";
pub(crate) const STEPS: &str = "ergon-steps";
const RESULTS: &str = "ergon-results";
const ARTIFACTS: &str = "ergon-artifacts";
const HOME: &str = "ergon-home";
const WORKSPACE: &str = "ergon-workspace";

/// What all steps of a pod see. A step that mounts something else at one of these paths sees that instead.
pub(super) fn shared(group: Group) -> Vec<VolumeMount> {
    vec![
        mount(RESULTS, &paths::results(group), false),
        // Each step's own folder in it is mounted once more, to be written to.
        mount(STEPS, &paths::steps(group), true),
        mount(ARTIFACTS, &paths::artifacts(group), false),
        mount(HOME, &paths::home(group), false),
        workspace(),
    ]
}

/// What all sidecars of a pod see: the folder that the steps share. Tekton's sidecars never saw it.
pub(super) fn beside(group: Group) -> Vec<VolumeMount> {
    if group == Group::Ergon { vec![workspace()] } else { Vec::new() }
}

fn workspace() -> VolumeMount {
    mount(WORKSPACE, "/workspace", false)
}

/// The volumes that every pod of ours has.
pub(super) fn ours(platform: &Platform) -> Vec<Volume> {
    let mut volumes = vec![binaries(platform), empty(RUN)];
    if platform.report.is_some() {
        volumes.push(token());
    }
    volumes.extend([RESULTS, STEPS, ARTIFACTS, HOME, WORKSPACE].map(empty));
    volumes
}

/// The program that every container of ours but the agent's starts with.
pub(super) fn shim() -> String {
    format!("{}/ergon-shim", ergon_wire::paths::BIN)
}

/// A mount of a container's own folder: where it finds the agent's socket.
pub(super) fn run_mount(container: &str) -> VolumeMount {
    VolumeMount { sub_path: Some(container.to_owned()), ..mount(RUN, ergon_wire::paths::RUN, false) }
}

/// A mount of the binaries, read-only.
pub(super) fn binaries_mount() -> VolumeMount {
    mount(BIN, ergon_wire::paths::BIN, true)
}

pub(super) fn mount(volume: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: volume.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..Default::default()
    }
}

/// The volumes of the bound workspaces, each once.
pub(super) fn workspaces(bound: &BTreeMap<String, WorkspaceBinding>) -> Result<Vec<Volume>, PodError> {
    let mut volumes: BTreeMap<String, Volume> = BTreeMap::new();
    for (name, binding) in bound {
        let volume = volume(name, binding)?;
        volumes.entry(volume.name.clone()).or_insert(volume);
    }
    Ok(volumes.into_values().collect())
}

/// Where a container sees a workspace.
pub(super) fn workspace_mount(
    declaration: &WorkspaceDeclaration,
    binding: &WorkspaceBinding,
    mount_path: Option<&str>,
) -> VolumeMount {
    let path = mount_path.map_or_else(|| declaration.effective_mount_path(), str::to_owned);
    VolumeMount {
        sub_path: binding.sub_path.clone().filter(|path| !path.is_empty()),
        ..mount(&paths::workspace_volume(binding), &path, declaration.read_only == Some(true))
    }
}

fn volume(workspace: &str, binding: &WorkspaceBinding) -> Result<Volume, PodError> {
    let volume = Volume { name: paths::workspace_volume(binding), ..Default::default() };
    Ok(if let Some(claim) = &binding.persistent_volume_claim {
        Volume { persistent_volume_claim: Some(claim.clone()), ..volume }
    } else if let Some(directory) = &binding.empty_dir {
        Volume { empty_dir: Some(directory.clone()), ..volume }
    } else if let Some(map) = &binding.config_map {
        Volume { config_map: Some(map.clone()), ..volume }
    } else if let Some(secret) = &binding.secret {
        Volume { secret: Some(secret.clone()), ..volume }
    } else if let Some(projected) = &binding.projected {
        Volume { projected: Some(projected.clone()), ..volume }
    } else if let Some(csi) = &binding.csi {
        Volume { csi: Some(csi.clone()), ..volume }
    } else {
        return Err(PodError::Field {
            field: format!("spec.workspaces[{workspace}]"),
            message: "is bound to nothing: name one of persistentVolumeClaim, volumeClaimTemplate, emptyDir, configMap, secret, projected, csi".to_owned(),
        });
    })
}

fn binaries(platform: &Platform) -> Volume {
    if !platform.image_volumes {
        return empty(BIN);
    }
    Volume {
        name: BIN.to_owned(),
        image: Some(ImageVolumeSource {
            reference: Some(platform.image.clone()),
            pull_policy: Some("IfNotPresent".to_owned()),
        }),
        ..Default::default()
    }
}

fn token() -> Volume {
    Volume {
        name: TOKEN.to_owned(),
        projected: Some(ProjectedVolumeSource {
            sources: Some(vec![VolumeProjection {
                service_account_token: Some(ServiceAccountTokenProjection {
                    audience: Some(TOKEN_AUDIENCE.to_owned()),
                    path: "token".to_owned(),
                    ..Default::default()
                }),
                ..Default::default()
            }]),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// Whether a volume is what the steps of one task have together, with nothing in it before the first of them.
pub(crate) fn is_of_the_task(volume: &str) -> bool {
    [RESULTS, ARTIFACTS, HOME, WORKSPACE].contains(&volume)
}

/// Whether a volume is one that every pod of ours has.
pub(crate) fn is_ours(volume: &str) -> bool {
    [BIN, RUN, TOKEN, STEPS, RESULTS, ARTIFACTS, HOME, WORKSPACE].contains(&volume)
}

fn empty(name: &str) -> Volume {
    Volume { name: name.to_owned(), empty_dir: Some(EmptyDirVolumeSource::default()), ..Default::default() }
}
