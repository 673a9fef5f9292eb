//! A step's container, and the part of the plan that runs in it.

use ergon_api::{Group, Sidecar, Step};
use ergon_wire::{OnError, Script, StepPlan};
use k8s_openapi::api::core::v1::{Container, EnvVar, VolumeMount};

use super::{PodError, PodInput, security, volumes};
use crate::task::paths::{self, sidecar_container, step_container};
use crate::task::verdict::continues;

/// How long a command may take to end after SIGTERM, in milliseconds.
const GRACE_MS: i64 = 10_000;
/// The kubelet keeps so much of one container's termination message, and so much of all of a pod's.
const MESSAGE_LIMIT: usize = 4096;
const POD_MESSAGE_LIMIT: usize = 12 << 10;
/// All results of a task together may have so many bytes.
const RESULT_LIMIT: usize = 1 << 20;
/// Where a script of a sidecar travels: sidecars have no agent to talk to.
const SCRIPT_VARIABLE: &str = "ERGON_SCRIPT";

/// The container of a step: it runs the shim, which waits for its turn.
pub(super) fn container(
    input: &PodInput<'_>,
    step: &Step,
    at: usize,
    mounts: Vec<VolumeMount>,
    extra_env: &[EnvVar],
) -> Result<Container, PodError> {
    let template = input.resolved.spec.step_template.clone().unwrap_or_default();
    let name = step_container(&step.name, at);
    let image = step.image.clone().or(template.image.clone()).ok_or_else(|| PodError::Field {
        field: format!("spec.steps[{at}].image"),
        message: "is missing, and `stepTemplate` has none".to_owned(),
    })?;
    let mut volume_mounts = vec![
        volumes::binaries_mount(),
        VolumeMount {
            sub_path: Some(name.clone()),
            ..volumes::mount(volumes::RUN, ergon_wire::paths::RUN, false)
        },
    ];
    volume_mounts.extend(mounts);
    volume_mounts.extend(template.volume_mounts.iter().cloned());
    volume_mounts.extend(step.volume_mounts.iter().cloned());
    let security = merge(template.security_context.as_ref(), step.security_context.as_ref());
    Ok(Container {
        name,
        image: Some(image),
        image_pull_policy: step.image_pull_policy.clone().or(template.image_pull_policy.clone()),
        command: Some(vec![format!("{}/ergon-shim", ergon_wire::paths::BIN)]),
        env: some(env(&[extra_env, &template.env, &step.env])),
        env_from: some([template.env_from.clone(), step.env_from.clone()].concat()),
        volume_mounts: some(volume_mounts),
        volume_devices: some([template.volume_devices.clone(), step.volume_devices.clone()].concat()),
        resources: merge(template.compute_resources.as_ref(), step.compute_resources.as_ref()),
        security_context: security::container(input.group, security.as_ref()),
        ..Default::default()
    })
}

/// What the agent has this step do.
pub(super) fn plan(input: &PodInput<'_>, step: &Step, at: usize) -> Result<StepPlan, PodError> {
    let template = input.resolved.spec.step_template.clone().unwrap_or_default();
    let container = step_container(&step.name, at);
    let containers = input.resolved.spec.steps.len() + input.resolved.spec.sidecars.len() + 1;
    let args = if step.args.is_empty() { template.args.clone() } else { step.args.clone() };
    let command = if step.command.is_empty() { template.command.clone() } else { step.command.clone() };
    let (argv, script) = match &step.script {
        Some(script) => (args, Some(Script { text: with_shebang(script) })),
        None if command.is_empty() => (image_argv(input, step, args)?, None),
        None => ([command, args].concat(), None),
    };
    let working_dir = step.working_dir.clone().or(template.working_dir).map(|directory| {
        if directory.starts_with('/') { directory } else { format!("/workspace/{directory}") }
    });
    Ok(StepPlan {
        step_dir: format!("{}/{container}", paths::steps(input.group)),
        results_dir: paths::results(input.group),
        container,
        argv,
        script,
        working_dir,
        on_error: if continues(step) { OnError::Continue } else { OnError::StopAndFail },
        timeout_ms: step.timeout.map(ergon_api::Duration::as_millis).filter(|millis| *millis > 0),
        message_limit: MESSAGE_LIMIT.min(POD_MESSAGE_LIMIT / containers),
        result_limit: RESULT_LIMIT,
        grace_ms: GRACE_MS,
    })
}

/// A sidecar: a native one, which the kubelet starts before the steps and ends after them.
pub(super) fn sidecar(
    group: Group,
    sidecar: &Sidecar,
    at: usize,
    mounts: Vec<VolumeMount>,
) -> Result<Container, PodError> {
    let image = sidecar.image.clone().ok_or_else(|| PodError::Field {
        field: format!("spec.sidecars[{at}].image"),
        message: "is missing".to_owned(),
    })?;
    let mut env = sidecar.env.clone();
    let (command, args) = match &sidecar.script {
        Some(script) => {
            env.push(EnvVar {
                name: SCRIPT_VARIABLE.to_owned(),
                // The kubelet would expand `$(NAME)` in a variable's value and halve each `$$`.
                value: Some(with_shebang(script).replace('$', "$$")),
                ..Default::default()
            });
            let shim = format!("{}/ergon-shim", ergon_wire::paths::BIN);
            (vec![shim, "--script-from".to_owned(), SCRIPT_VARIABLE.to_owned()], sidecar.args.clone())
        }
        None => (sidecar.command.clone(), sidecar.args.clone()),
    };
    let mut volume_mounts = vec![volumes::binaries_mount()];
    volume_mounts.extend(mounts);
    volume_mounts.extend(sidecar.volume_mounts.iter().cloned());
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
        volume_mounts: some(volume_mounts),
        volume_devices: some(sidecar.volume_devices.clone()),
        resources: sidecar.compute_resources.clone(),
        security_context: security::container(group, sidecar.security_context.as_ref()),
        restart_policy: Some("Always".to_owned()),
        liveness_probe: sidecar.liveness_probe.clone(),
        readiness_probe: sidecar.readiness_probe.clone(),
        // Steps start once the sidecars are ready: only a startup probe makes the kubelet wait.
        startup_probe: sidecar.startup_probe.clone().or_else(|| sidecar.readiness_probe.clone()),
        lifecycle: sidecar.lifecycle.clone(),
        stdin: sidecar.stdin,
        stdin_once: sidecar.stdin_once,
        tty: sidecar.tty,
        ..Default::default()
    })
}

pub(super) fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

/// A script's text with a shebang: without one it is read by `sh`, and ends at the first command that fails.
fn with_shebang(script: &str) -> String {
    let script = script.strip_prefix('\n').unwrap_or(script);
    if script.starts_with("#!") { script.to_owned() } else { format!("#!/bin/sh\nset -e\n{script}") }
}

/// The image's own command, for a step without one: its entrypoint, and its arguments unless the step has some.
fn image_argv(input: &PodInput<'_>, step: &Step, args: Vec<String>) -> Result<Vec<String>, PodError> {
    let image = step.image.as_deref().unwrap_or_default();
    let missing = |why: String| PodError::NoCommand { step: step.name.clone(), why };
    let config = match input.library.images.get(image) {
        Some(Ok(config)) => config,
        Some(Err(why)) => {
            return Err(missing(format!("the command of its image cannot be looked up: {why}")));
        }
        None => return Err(missing(format!("the image `{image}` was not looked up"))),
    };
    let argv = if args.is_empty() {
        [config.entrypoint.clone(), config.cmd.clone()].concat()
    } else {
        [config.entrypoint.clone(), args].concat()
    };
    if argv.is_empty() {
        return Err(missing(format!("its image `{image}` brings no command either")));
    }
    Ok(argv)
}

/// Lists of variables in one: a later one of the same name replaces an earlier one in its place.
fn env(lists: &[&[EnvVar]]) -> Vec<EnvVar> {
    let mut merged: Vec<EnvVar> = Vec::new();
    for variable in lists.iter().copied().flatten() {
        match merged.iter_mut().find(|known| known.name == variable.name) {
            Some(known) => *known = variable.clone(),
            None => merged.push(variable.clone()),
        }
    }
    merged
}

/// Two objects in one, field by field: what `over` has wins.
pub(crate) fn merge<T>(base: Option<&T>, over: Option<&T>) -> Option<T>
where
    T: Clone + serde::Serialize + serde::de::DeserializeOwned,
{
    fn fold(base: &mut serde_json::Value, over: serde_json::Value) {
        match (base, over) {
            (serde_json::Value::Object(base), serde_json::Value::Object(over)) => {
                for (key, value) in over {
                    fold(base.entry(key).or_insert(serde_json::Value::Null), value);
                }
            }
            (base, over) => *base = over,
        }
    }
    let (Some(base), Some(over)) = (base, over) else { return over.or(base).cloned() };
    let mut value = serde_json::to_value(base).ok()?;
    fold(&mut value, serde_json::to_value(over).ok()?);
    serde_json::from_value(value).ok().or_else(|| Some(over.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_get_a_shebang_once() {
        for (script, expected) in [
            ("echo", "#!/bin/sh\nset -e\necho"),
            ("#!/usr/bin/env python3\nprint()", "#!/usr/bin/env python3\nprint()"),
            ("\n#!/bin/bash\n:", "#!/bin/bash\n:"),
        ] {
            assert_eq!(with_shebang(script), expected);
        }
    }

    #[test]
    fn later_variables_replace_earlier_ones() {
        let variable = |name: &str, value: &str| EnvVar {
            name: name.into(),
            value: Some(value.into()),
            ..Default::default()
        };
        let merged = env(&[&[variable("A", "1"), variable("B", "2")], &[variable("A", "3")]]);
        assert_eq!(merged, [variable("A", "3"), variable("B", "2")]);
    }
}
