//! A step's container, and the part of the plan that runs in it.

use std::collections::BTreeSet;
use std::path::Path;

use ergon_api::variables::variables;
use ergon_api::{Group, ScriptValue, Step, StepOutputConfig, WhenExpression, WhenOperator};
use ergon_wire::{Breakpoints, CelValue, Condition, OnError, Script, StepPlan};
use k8s_openapi::api::core::v1::{Container, EnvVar, VolumeMount};

use super::{PodError, PodInput, merge, script, security, volumes};
use crate::Library;
use crate::action::ImageConfig;
use crate::expr::cel_value;
use crate::task::paths::{self, step_container};
use crate::task::verdict::continues;

/// How long a command may take to end after SIGTERM, in milliseconds.
pub(super) const GRACE_MS: i64 = 10_000;
/// A step's arguments are shown in its container up to so many bytes.
const SHOWN_ARGS_LIMIT: usize = 4096;
/// All results of a task together may have so many bytes.
const RESULT_LIMIT: usize = 1 << 20;

/// The container of a step: it runs the shim, which waits for its turn. `step` has its template merged in, `mounts`
/// are what every step sees, and `extra_env` wins over the step's own variables.
pub(super) fn container(
    input: &PodInput<'_>,
    step: &Step,
    at: usize,
    mounts: &[VolumeMount],
    extra_env: &[EnvVar],
) -> Result<Container, PodError> {
    let name = step_container(&step.name, at);
    let image = step.image.clone().ok_or_else(|| PodError::Field {
        field: format!("spec.steps[{at}].image"),
        message: "is missing, and `stepTemplate` has none".to_owned(),
    })?;
    let ours = [
        volumes::binaries_mount(),
        volumes::run_mount(&name),
        // All steps' folders can be read, and only the step's own written to.
        VolumeMount {
            sub_path: Some(name.clone()),
            ..volumes::mount(volumes::STEPS, &format!("{}/{name}", paths::steps(input.group)), false)
        },
    ];
    let debug = breakpoints(input, step).map(|breakpoints| VolumeMount {
        sub_path: Some(format!("{name}-debug")),
        ..volumes::mount(volumes::RUN, &breakpoints.directory, false)
    });
    let debug: Vec<VolumeMount> = debug.into_iter().collect();
    let volume_mounts = merge::mounts(&[&ours, &debug, mounts, &step.volume_mounts]);
    Ok(Container {
        name,
        image: Some(image),
        image_pull_policy: step.image_pull_policy.clone(),
        command: Some(vec![volumes::shim()]),
        args: shown_args(&step.args),
        working_dir: working_dir(step).filter(|directory| is_of_the_image(directory, &volume_mounts)),
        env: some(merge::env(&[&step.env, extra_env, &script::secrets(step)])),
        env_from: some(step.env_from.clone()),
        volume_mounts: some(volume_mounts),
        volume_devices: some(step.volume_devices.clone()),
        resources: step.compute_resources.clone(),
        security_context: security::container(input.group, step.security_context.as_ref()),
        ..Default::default()
    })
}

/// What the agent has this step do.
pub(super) fn plan(input: &PodInput<'_>, step: &Step, at: usize) -> Result<StepPlan, PodError> {
    let container = step_container(&step.name, at);
    let containers = input.resolved.spec.steps.len() + input.resolved.spec.sidecars.len() + 1;
    if step.script.as_ref().is_some_and(|script| script.trim_start().starts_with("#!win")) {
        return Err(PodError::Field {
            field: format!("spec.steps[{at}].script"),
            message: "is for Windows (`#!win`): steps run on Linux, so name an interpreter there is"
                .to_owned(),
        });
    }
    let (argv, script) = match &step.script {
        Some(script) => (
            step.args.clone(),
            Some(Script {
                path: paths::script(input.group, at),
                ..script::of(step, &format!("spec.steps[{at}].script"), script)?
            }),
        ),
        None if step.command.is_empty() => (image_argv(input, step)?, None),
        None => ([step.command.as_slice(), &step.args].concat(), None),
    };
    let variables = step.env.iter().filter_map(|variable| variable.value.as_deref());
    let references = references(argv.iter().map(String::as_str).chain(variables));
    let path = |config: Option<&StepOutputConfig>| {
        config.and_then(|config| config.path.clone()).filter(|path| !path.is_empty())
    };
    Ok(StepPlan {
        masked: masked(input.group, step),
        step_results: step.results.iter().map(|result| result.name.clone()).collect(),
        artifacts_dir: Some(paths::artifacts(input.group)),
        references,
        when: step.when.iter().map(condition).collect(),
        stdout_path: path(step.stdout_config.as_ref()),
        stderr_path: path(step.stderr_config.as_ref()),
        breakpoints: breakpoints(input, step),
        step_dir: format!("{}/{container}", paths::steps(input.group)),
        results_dir: paths::results(input.group),
        container,
        argv,
        script,
        working_dir: working_dir(step),
        on_error: if continues(step) { OnError::Continue } else { OnError::StopAndFail },
        timeout_ms: step.timeout.map(ergon_api::Duration::as_millis).filter(|millis| *millis > 0),
        message_limit: ergon_wire::message_limit(containers),
        result_limit: RESULT_LIMIT,
        grace_ms: GRACE_MS,
        ..Default::default()
    })
}

/// The variables whose values are not for the log: those that come from Secrets.
pub(super) fn masked(group: Group, step: &Step) -> Vec<String> {
    let secrets = script::secrets(step);
    let variables = step.env.iter().chain(&secrets).filter(|_| group == Group::Ergon);
    let is_secret = |variable: &&EnvVar| {
        variable.value_from.as_ref().is_some_and(|source| source.secret_key_ref.is_some())
    };
    let names: BTreeSet<&String> = variables.filter(is_secret).map(|variable| &variable.name).collect();
    names.into_iter().cloned().collect()
}

/// What the texts refer to of earlier steps, without `$(` and `)`: their values are known once those have ended.
fn references<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<String> {
    let found: BTreeSet<String> = texts
        .flat_map(variables)
        .filter(|variable| {
            matches!(variable.names().as_slice(), ["steps", _, "results" | "inputs" | "outputs", _, ..])
        })
        .map(|variable| variable.text)
        .collect();
    found.into_iter().collect()
}

fn condition(when: &WhenExpression) -> Condition {
    let (input, values) = (when.input.clone(), when.values.clone());
    match (&when.cel, when.operator) {
        (Some(expression), _) => {
            let later = |value: &ScriptValue| {
                let found = variables(value.reference.as_deref()?);
                found.first().map(|variable| CelValue::Later(variable.text.clone()))
            };
            let value = |value: &ScriptValue| cel_value(value).map(CelValue::Known).or_else(|| later(value));
            let values = when.cel_values.as_ref().map(|values| {
                values.iter().filter_map(|(name, known)| Some((name.clone(), value(known)?))).collect()
            });
            Condition::Cel { expression: expression.clone(), values }
        }
        (None, Some(WhenOperator::NotIn)) => Condition::NotIn { input, values },
        (None, _) => Condition::In { input, values },
    }
}

/// Where the run wants this step to wait for a person.
pub(super) fn breakpoints(input: &PodInput<'_>, step: &Step) -> Option<Breakpoints> {
    let wanted = input.run.spec.debug.as_ref()?.breakpoints.as_ref()?;
    let before = !step.name.is_empty() && wanted.before_steps.contains(&step.name);
    let on_failure = wanted.on_failure.as_deref() == Some("enabled");
    let directory = paths::debug(input.group);
    (before || on_failure).then_some(Breakpoints { before, on_failure, directory })
}

/// A step's arguments for those who read pods: they find them behind `--`, as in Tekton's. What runs is in the plan, and
/// the shim reads none of these. Long ones are not carried twice.
fn shown_args(args: &[String]) -> Option<Vec<String>> {
    let length: usize = args.iter().map(String::len).sum();
    let shown = !args.is_empty() && length <= SHOWN_ARGS_LIMIT;
    shown.then(|| std::iter::once("--").chain(args.iter().map(String::as_str)).map(str::to_owned).collect())
}

pub(super) fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

/// Where the step's command runs; a relative path is below the workspace.
fn working_dir(step: &Step) -> Option<String> {
    let directory = step.working_dir.as_deref().filter(|directory| !directory.is_empty())?;
    Some(if directory.starts_with('/') { directory.to_owned() } else { format!("/workspace/{directory}") })
}

/// Whether a folder is in no volume. The container runtime makes such a one as root, whoever the step is; a folder in
/// a volume is made by the step, so that it is the step's own.
fn is_of_the_image(directory: &str, mounts: &[VolumeMount]) -> bool {
    let directory = Path::new(directory);
    !mounts.iter().any(|mount| directory.starts_with(&mount.mount_path))
}

/// A script's text with a shebang: without one it is read by `sh`, and ends at the first command that fails.
pub(super) fn with_shebang(script: &str) -> String {
    let script = script.strip_prefix('\n').unwrap_or(script);
    if script.starts_with("#!") { script.to_owned() } else { format!("#!/bin/sh\nset -e\n{script}") }
}

/// The image's own command, for a step without one.
fn image_argv(input: &PodInput<'_>, step: &Step) -> Result<Vec<String>, PodError> {
    let image = step.image.as_deref().unwrap_or_default();
    let missing = |why: String| PodError::NoCommand { step: step.name.clone(), why };
    let config = image_config(input.library, image).map_err(&missing)?;
    let argv = argv_of(input.group, config, &step.args);
    if argv.is_empty() {
        return Err(missing(format!("its image `{image}` brings no command either")));
    }
    Ok(argv)
}

/// What was looked up of an image; or why that is not known.
pub(super) fn image_config<'a>(library: &'a Library, image: &str) -> Result<&'a ImageConfig, String> {
    match library.images.get(image) {
        Some(Ok(config)) => Ok(config),
        Some(Err(why)) => Err(format!("the command of its image cannot be looked up: {why}")),
        None => Err(format!("the image `{image}` was not looked up")),
    }
}

/// An image's entrypoint, and its arguments unless the step has some. Tekton takes those for the entrypoint of an image
/// that has none, so that the step's arguments follow them.
pub(super) fn argv_of(group: Group, image: &ImageConfig, args: &[String]) -> Vec<String> {
    if image.entrypoint.is_empty() && group == Group::Tekton {
        return [image.cmd.as_slice(), args].concat();
    }
    let args = if args.is_empty() { &image.cmd } else { args };
    [image.entrypoint.as_slice(), args].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_follow_what_the_image_starts() {
        let list = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        for (group, entrypoint, cmd, args, expected) in [
            (Group::Tekton, "e", "c d", "", "e c d"),
            (Group::Tekton, "e", "c d", "a", "e a"),
            (Group::Tekton, "", "c d", "", "c d"),
            (Group::Tekton, "", "c d", "a", "c d a"),
            (Group::Ergon, "", "c d", "a", "a"),
            (Group::Ergon, "e", "c d", "", "e c d"),
        ] {
            let image = ImageConfig { entrypoint: list(entrypoint), cmd: list(cmd) };
            assert_eq!(
                argv_of(group, &image, &list(args)),
                list(expected),
                "{group} {entrypoint} {cmd} {args}"
            );
        }
    }

    #[test]
    fn long_arguments_are_not_carried_twice() {
        let shown = |args: &[&str]| shown_args(&args.iter().map(|&arg| arg.to_owned()).collect::<Vec<_>>());
        assert_eq!(shown(&[]), None);
        assert_eq!(shown(&["a", "--", ""]).unwrap(), ["--", "a", "--", ""]);
        let long = "x".repeat(SHOWN_ARGS_LIMIT);
        assert_eq!(shown(&[&long]).map(|args| args.len()), Some(2));
        assert_eq!(shown(&[&long, "x"]), None);
    }

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
}
