//! Where things are inside a step's container: a contract that tasks rely on.
//!
//! Tekton's paths under `tekton.dev`; the same ones below `/ergon` under `ergon.dev`.

use ergon_api::{Group, WorkspaceBinding};

use crate::name;

/// The folder with a file for each result.
pub fn results(group: Group) -> String {
    format!("{}/results", base(group))
}

/// The folder with a folder for each step's exit code and results.
pub fn steps(group: Group) -> String {
    format!("{}/steps", base(group))
}

/// The folder with the task's own `provenance.json`.
pub fn artifacts(group: Group) -> String {
    format!("{}/artifacts", base(group))
}

/// Where a step's script is, as Tekton's steps find it; ours have no such place.
pub fn script(group: Group, step: usize) -> Option<String> {
    (group == Group::Tekton).then(|| format!("{}/scripts/script-{step}", base(group)))
}

/// The folder with what lets a step go on that waits at a breakpoint.
pub fn debug(group: Group) -> String {
    format!("{}/debug", base(group))
}

/// A folder that all steps share and that tools may write their configuration to.
pub fn home(group: Group) -> String {
    format!("{}/home", base(group))
}

/// A folder of each step with credentials for git and registries, and what `$(credentials.path)` stands for.
pub fn credentials(group: Group) -> String {
    format!("{}/creds", base(group))
}

/// The name of a workspace's volume: the same for two workspaces on the same claim, since a pod mounts a claim once.
pub fn workspace_volume(binding: &WorkspaceBinding) -> String {
    match &binding.persistent_volume_claim {
        Some(claim) => name::derived("ws", "claim", &claim.claim_name),
        None => name::derived("ws", "binding", &binding.name),
    }
}

/// The name of a step's container.
pub fn step_container(step: &str, index: usize) -> String {
    if step.is_empty() { format!("step-unnamed-{index}") } else { fitting(format!("step-{step}")) }
}

/// The name of a sidecar's container.
pub fn sidecar_container(sidecar: &str) -> String {
    fitting(format!("sidecar-{sidecar}"))
}

/// A container's name has at most 63 characters and ends with a letter or a digit.
fn fitting(mut name: String) -> String {
    name = name.chars().take(63).collect();
    name.truncate(name.trim_end_matches(|last: char| !last.is_ascii_alphanumeric()).len());
    name
}

fn base(group: Group) -> &'static str {
    match group {
        Group::Tekton => "/tekton",
        Group::Ergon => "/ergon",
    }
}
