//! A sidecar's container.

use ergon_api::{Group, Sidecar};
use k8s_openapi::api::core::v1::{Container, EnvVar, VolumeMount};

use super::step::{some, with_shebang};
use super::{PodError, merge, security, volumes};
use crate::task::paths::sidecar_container;

/// Where a script of a sidecar travels: sidecars have no agent to talk to.
const SCRIPT_VARIABLE: &str = "ERGON_SCRIPT";

/// A sidecar: a native one, which the kubelet starts before the steps and ends after them.
pub(super) fn container(
    group: Group,
    sidecar: &Sidecar,
    at: usize,
    mounts: &[VolumeMount],
) -> Result<Container, PodError> {
    let image = sidecar.image.clone().ok_or_else(|| PodError::Field {
        field: format!("spec.sidecars[{at}].image"),
        message: "is missing".to_owned(),
    })?;
    let mut env = sidecar.env.clone();
    let mut ours = Vec::new();
    let (command, args) = match &sidecar.script {
        Some(script) => {
            env.push(EnvVar {
                name: SCRIPT_VARIABLE.to_owned(),
                // The kubelet would expand `$(NAME)` in a variable's value and halve each `$$`.
                value: Some(with_shebang(script).replace('$', "$$")),
                ..Default::default()
            });
            ours.push(volumes::binaries_mount());
            let shim = format!("{}/ergon-shim", ergon_wire::paths::BIN);
            (vec![shim, "--script-from".to_owned(), SCRIPT_VARIABLE.to_owned()], sidecar.args.clone())
        }
        None => (sidecar.command.clone(), sidecar.args.clone()),
    };
    Ok(Container {
        name: sidecar_container(&sidecar.name),
        image: Some(image),
        image_pull_policy: sidecar.image_pull_policy.clone(),
        command: some(command),
        args: some(args),
        working_dir: sidecar.working_dir.clone(),
        env: some(env),
        env_from: some(sidecar.env_from.clone()),
        ports: some(sidecar.ports.clone()),
        volume_mounts: some(merge::mounts(&[&ours, mounts, &sidecar.volume_mounts])),
        volume_devices: some(sidecar.volume_devices.clone()),
        resources: sidecar.compute_resources.clone(),
        security_context: security::container(group, sidecar.security_context.as_ref()),
        restart_policy: Some("Always".to_owned()),
        liveness_probe: sidecar.liveness_probe.clone(),
        readiness_probe: sidecar.readiness_probe.clone(),
        // Steps start once the sidecars are ready: only a startup probe makes the kubelet wait.
        startup_probe: sidecar.startup_probe.clone().or_else(|| sidecar.readiness_probe.clone()),
        lifecycle: sidecar.lifecycle.clone(),
        termination_message_path: sidecar.termination_message_path.clone(),
        termination_message_policy: sidecar.termination_message_policy.clone(),
        stdin: sidecar.stdin,
        stdin_once: sidecar.stdin_once,
        tty: sidecar.tty,
        ..Default::default()
    })
}
