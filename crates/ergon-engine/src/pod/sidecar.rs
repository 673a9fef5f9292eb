//! A sidecar's container, and the part of the plan that runs in it.
//!
//! Mostly it is an ordinary container, as Tekton's sidecars are: it runs the shim, is there before the first step, may
//! end early and is ended by the agent. What only the kubelet can do (probes, hooks, restarts) makes it a native one.

use ergon_api::{Config, Group, Sidecar, Step, TaskSpec};
use ergon_wire::{Script, ScriptValue, StepPlan};
use k8s_openapi::api::core::v1::{Container, EnvVar, VolumeMount};

use super::step::{GRACE_MS, argv_of, image_config, masked, some};
use super::{PodError, merge, script, security, volumes};
use crate::Library;
use crate::task::inputs::Wishes;
use crate::task::paths::sidecar_container;

/// Where a script of a native sidecar travels: those have no agent to talk to.
const SCRIPT_VARIABLE: &str = "ERGON_SCRIPT";

/// A sidecar as its pod has it.
#[derive(Debug)]
pub(super) enum Made {
    /// The kubelet starts it before the steps and ends it after them.
    Native(Container),
    /// The agent does.
    Ordinary(Container, StepPlan),
}

/// The container of a sidecar. `mounts` are what every sidecar sees.
pub(super) fn make(
    group: Group,
    sidecar: &Sidecar,
    at: usize,
    mounts: &[VolumeMount],
    library: &Library,
    config: &Config,
) -> Result<Made, PodError> {
    let image = sidecar.image.clone().ok_or_else(|| PodError::Field {
        field: format!("spec.sidecars[{at}].image"),
        message: "is missing".to_owned(),
    })?;
    let container = Container {
        name: sidecar_container(&sidecar.name),
        image: Some(image),
        image_pull_policy: sidecar.image_pull_policy.clone(),
        working_dir: sidecar.working_dir.clone(),
        env: some(merge::env(&[&sidecar.env, &script::secrets(&as_step(sidecar))])),
        env_from: some(sidecar.env_from.clone()),
        ports: some(sidecar.ports.clone()),
        volume_mounts: some(merge::mounts(&[mounts, &sidecar.volume_mounts])),
        volume_devices: some(sidecar.volume_devices.clone()),
        resources: sidecar.compute_resources.clone(),
        security_context: security::container(group, sidecar.security_context.as_ref()),
        termination_message_path: sidecar.termination_message_path.clone(),
        termination_message_policy: sidecar.termination_message_policy.clone(),
        stdin: sidecar.stdin,
        stdin_once: sidecar.stdin_once,
        tty: sidecar.tty,
        ..Default::default()
    };
    let field = format!("spec.sidecars[{at}].script");
    let script = sidecar.script.as_deref().map(|text| script::of(&as_step(sidecar), &field, text));
    let script = script.transpose()?;
    Ok(match (is_native(sidecar, config), argv(sidecar, library)) {
        (false, Some(argv)) => ordinary(container, argv, script, masked(group, &as_step(sidecar))),
        // What its image starts could not be found out: the kubelet knows.
        _ => Made::Native(native(sidecar, container, script, &field)?),
    })
}

/// As much of a step as its script needs.
fn as_step(sidecar: &Sidecar) -> Step {
    Step {
        script: sidecar.script.clone(),
        script_values: sidecar.script_values.clone(),
        env: sidecar.env.clone(),
        ..Step::default()
    }
}

/// Images of sidecars whose command has to be looked up.
pub(crate) fn unknown_images(task: &TaskSpec, run: &Wishes, config: &Config) -> impl Iterator<Item = String> {
    let asks = |sidecar: &Sidecar| {
        !is_native(sidecar, config) && sidecar.command.is_empty() && sidecar.script.is_none()
    };
    merge::sidecars(task, run).into_iter().filter(move |it| asks(it)).filter_map(|sidecar| sidecar.image)
}

/// Whether it needs the kubelet, or the installation wants it so.
fn is_native(sidecar: &Sidecar, config: &Config) -> bool {
    config.features.kubernetes_sidecar
        || sidecar.readiness_probe.is_some()
        || sidecar.startup_probe.is_some()
        || sidecar.liveness_probe.is_some()
        || sidecar.lifecycle.is_some()
        || sidecar.restart_policy.as_deref() == Some("Always")
}

/// What a sidecar without a script starts, as Kubernetes has it; none where that is not known.
fn argv(sidecar: &Sidecar, library: &Library) -> Option<Vec<String>> {
    if sidecar.script.is_some() {
        return Some(sidecar.args.clone());
    }
    if !sidecar.command.is_empty() {
        return Some([sidecar.command.as_slice(), &sidecar.args].concat());
    }
    let image = image_config(library, sidecar.image.as_deref()?).ok()?;
    Some(argv_of(Group::Ergon, image, &sidecar.args)).filter(|argv| !argv.is_empty())
}

fn ordinary(container: Container, argv: Vec<String>, script: Option<Script>, masked: Vec<String>) -> Made {
    let name = container.name.clone();
    let ours = [volumes::binaries_mount(), volumes::run_mount(&name)];
    let own = container.volume_mounts.unwrap_or_default();
    let plan = StepPlan {
        container: name,
        argv,
        script,
        masked,
        is_sidecar: true,
        grace_ms: GRACE_MS,
        ..Default::default()
    };
    let container = Container {
        command: Some(vec![volumes::shim()]),
        volume_mounts: some(merge::mounts(&[&ours, &own])),
        ..container
    };
    Made::Ordinary(container, plan)
}

fn native(
    sidecar: &Sidecar,
    container: Container,
    script: Option<Script>,
    field: &str,
) -> Result<Container, PodError> {
    // The kubelet would expand `$(NAME)` in a variable's value and halve each `$$`.
    let variable =
        |name: String, value: &str| EnvVar { name, value: Some(value.replace('$', "$$")), value_from: None };
    let mut env = container.env.unwrap_or_default();
    let mut ours = Vec::new();
    let command = match script {
        Some(script) => {
            env.push(variable(SCRIPT_VARIABLE.to_owned(), &script.text));
            for (name, value) in script.values {
                let ScriptValue::Text(text) = value else {
                    let message =
                        "has a value that is too long for a sidecar with probes or hooks".to_owned();
                    return Err(PodError::Field { field: field.to_owned(), message });
                };
                env.push(variable(name, &text));
            }
            ours.push(volumes::binaries_mount());
            vec![volumes::shim(), "--script-from".to_owned(), SCRIPT_VARIABLE.to_owned()]
        }
        None => sidecar.command.clone(),
    };
    let own = container.volume_mounts.unwrap_or_default();
    Ok(Container {
        command: some(command),
        args: some(sidecar.args.clone()),
        env: some(env),
        volume_mounts: some(merge::mounts(&[&ours, &own])),
        restart_policy: Some("Always".to_owned()),
        liveness_probe: sidecar.liveness_probe.clone(),
        readiness_probe: sidecar.readiness_probe.clone(),
        // Steps start once the sidecars are ready: only a startup probe makes the kubelet wait.
        startup_probe: sidecar.startup_probe.clone().or_else(|| sidecar.readiness_probe.clone()),
        lifecycle: sidecar.lifecycle.clone(),
        ..container
    })
}
