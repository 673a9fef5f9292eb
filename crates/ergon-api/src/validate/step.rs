//! Steps, sidecars and StepActions.

use k8s_openapi::api::core::v1::VolumeMount;

use super::scope::{Scope, declared, each_variable};
use super::{Errors, names, params, references};
use crate::{OnError, Sidecar, Step, StepActionSpec, StepResult, StepTemplate};

/// Checks one step by itself; its variables are checked with the task's.
pub(super) fn check(errors: &mut Errors, path: &str, step: &Step, template: Option<&StepTemplate>) {
    if !step.name.is_empty()
        && let Err(problem) = names::label(&step.name)
    {
        errors.add(format!("{path}.name"), problem);
    }
    if let Some(step_ref) = &step.ref_ {
        references::check_step_ref(errors, &format!("{path}.ref"), step_ref);
        for (field, is_set) in [
            ("image", step.image.is_some()),
            ("command", !step.command.is_empty()),
            ("args", !step.args.is_empty()),
            ("script", step.script.is_some()),
            ("env", !step.env.is_empty()),
            ("volumeMounts", !step.volume_mounts.is_empty()),
            ("workingDir", step.working_dir.is_some()),
            ("results", !step.results.is_empty()),
        ] {
            if is_set {
                errors.add_with_help(
                    format!("{path}.{field}"),
                    format!("{field} cannot be used with `ref`"),
                    "the StepAction says it",
                );
            }
        }
        params::check_values(errors, &format!("{path}.params"), &step.params);
    } else {
        if !step.params.is_empty() {
            errors.add_with_help(
                format!("{path}.params"),
                "params cannot be used without `ref`",
                "declare parameters in the Task's `spec.params`",
            );
        }
        if step.image.is_none() && template.is_none_or(|template| template.image.is_none()) {
            errors.add_with_help(
                path,
                "missing field `image`",
                "write `image`, here or in `stepTemplate`, or `ref` for a StepAction",
            );
        }
    }
    script_or_command(errors, path, step.script.as_deref(), &step.command);
    if step.timeout.is_some_and(crate::Duration::is_negative) {
        errors.add(format!("{path}.timeout"), "a timeout cannot be negative");
    }
    check_on_error(errors, path, step.on_error.as_deref());
    check_mounts(errors, path, &step.volume_mounts);
    check_pull_policy(errors, path, step.image_pull_policy.as_deref());
    check_results(errors, path, &step.results);
    references::check_when(errors, &format!("{path}.when"), &step.when);
}

/// Checks one sidecar by itself.
pub(super) fn check_sidecar(errors: &mut Errors, path: &str, sidecar: &Sidecar) {
    if !sidecar.name.is_empty()
        && let Err(problem) = names::label(&sidecar.name)
    {
        errors.add(format!("{path}.name"), problem);
    }
    if sidecar.name == "tekton-log-results" {
        errors.add(format!("{path}.name"), "the name `tekton-log-results` is reserved");
    }
    if sidecar.image.is_none() {
        errors.missing(path, "image");
    }
    script_or_command(errors, path, sidecar.script.as_deref(), &sidecar.command);
    check_pull_policy(errors, path, sidecar.image_pull_policy.as_deref());
    if let Some(policy) = sidecar.restart_policy.as_deref()
        && policy != "Always"
    {
        errors.add(
            format!("{path}.restartPolicy"),
            format!("invalid value `{policy}`: only `Always` is allowed"),
        );
    }
}

/// Checks a StepAction.
pub(super) fn check_action(errors: &mut Errors, path: &str, action: &StepActionSpec) {
    params::check_specs(errors, &format!("{path}.params"), &action.params);
    if action.image.is_none() {
        errors.missing(path, "image");
    }
    script_or_command(errors, path, action.script.as_deref(), &action.command);
    check_mounts(errors, path, &action.volume_mounts);
    check_results(errors, path, &action.results);
    let mut scope = Scope::default();
    scope.declare(&action.params);
    // Parameters in a script would become code; Tekton refuses them here, and a shared step should not start with it.
    if let Some(script) = &action.script {
        each_variable(&format!("{path}.script"), script, |path, variable| {
            if let ["params", name, ..] = variable.names().as_slice() {
                errors.add_with_help(
                    path,
                    format!("`{variable}` puts a parameter into the script of a StepAction"),
                    format!("set an environment variable to `$(params.{name})` in `env` and use that"),
                );
            }
        });
    }
    let without_script = StepActionSpec { script: None, ..action.clone() };
    each_variable(path, &without_script, |path, variable| {
        if variable.path[0] == "params" {
            scope.check(errors, path, variable);
        }
    });
    each_variable(path, action, |path, variable| check_own_result(errors, path, variable, &action.results));
}

/// `$(step.results.<name>.path)` names a result that the step declares.
pub(super) fn check_own_result(
    errors: &mut Errors,
    path: &str,
    variable: &crate::variables::Variable,
    results: &[StepResult],
) {
    if let ["step", "results", name, "path"] = variable.names().as_slice()
        && !results.iter().any(|result| result.name == *name)
    {
        errors.add_with_help(
            path,
            format!("`{variable}` uses the result `{name}`, which the step does not declare"),
            declared("results", name, results.iter().map(|result| result.name.as_str())),
        );
    }
}

/// The field is `continue` or `stopAndFail`, or a variable.
pub(super) fn check_on_error(errors: &mut Errors, path: &str, on_error: Option<&str>) {
    if OnError::of(on_error).is_none() && !on_error.is_some_and(|text| text.contains("$(")) {
        errors.add_with_help(
            format!("{path}.onError"),
            format!("invalid value `{}`", on_error.unwrap_or_default()),
            "write `continue` or `stopAndFail`",
        );
    }
}

fn script_or_command(errors: &mut Errors, path: &str, script: Option<&str>, command: &[String]) {
    if script.is_some() && !command.is_empty() {
        errors.add_with_help(
            format!("{path}.script"),
            "script cannot be used with `command`",
            "put the command into the script, or the script's text into `args`",
        );
    }
}

fn check_mounts(errors: &mut Errors, path: &str, mounts: &[VolumeMount]) {
    for (index, mount) in mounts.iter().enumerate() {
        let path = format!("{path}.volumeMounts[{index}]");
        let place = mount.mount_path.as_str();
        if place.starts_with("/tekton/") && !place.starts_with("/tekton/home") {
            errors.add(
                format!("{path}.mountPath"),
                format!("`{place}` is reserved: nothing below /tekton can be mounted, except /tekton/home"),
            );
        }
        if mount.name.starts_with("tekton-internal-") || mount.name.starts_with("ergon-internal-") {
            errors.add(format!("{path}.name"), format!("the volume name `{}` is reserved", mount.name));
        }
    }
}

fn check_pull_policy(errors: &mut Errors, path: &str, policy: Option<&str>) {
    if let Some(policy) = policy
        && !["Always", "IfNotPresent", "Never"].contains(&policy)
        && !policy.contains("$(")
    {
        errors.add_with_help(
            format!("{path}.imagePullPolicy"),
            format!("invalid value `{policy}`"),
            "write `Always`, `IfNotPresent` or `Never`",
        );
    }
}

fn check_results(errors: &mut Errors, path: &str, results: &[StepResult]) {
    params::check_results(
        errors,
        &format!("{path}.results"),
        results.iter().map(|result| (result.name.as_str(), result.type_, &result.properties)),
    );
}
