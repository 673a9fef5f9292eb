//! Steps, sidecars and StepActions.

use k8s_openapi::api::core::v1::VolumeMount;

use super::scope::{Scope, declared, each_variable, each_variable_except};
use super::{Errors, names, params, references, scripts};
use crate::variables::{Variable, variables};
use crate::{OnError, Sidecar, Step, StepActionSpec, StepResult, StepTemplate};

/// Checks one step by itself; its variables are checked with the task's.
pub(super) fn check(errors: &mut Errors, path: &str, step: &Step, template: Option<&StepTemplate>) {
    if !step.name.is_empty()
        && let Err(help) = names::label(&step.name)
    {
        errors.add_with_help(format!("{path}.name"), format!("invalid value {:?}", step.name), help);
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
                    format!(
                        "{} cannot be used with Ref",
                        if field == "workingDir" { "working dir" } else { field }
                    ),
                    "the StepAction of `ref` says it",
                );
            }
        }
        errors.ours(|errors| params::check_values(errors, &format!("{path}.params"), &step.params));
    } else {
        if !step.params.is_empty() {
            errors.add_with_help(
                format!("{path}.params"),
                "params cannot be used without Ref",
                "declare parameters in the Task's `spec.params`",
            );
        }
        if step.image.is_none() && template.is_none_or(|template| template.image.is_none()) {
            errors.add_with_help(
                format!("{path}.image"),
                "missing field(s)",
                "write `image`, here or in `stepTemplate`, or `ref` for a StepAction",
            );
        }
    }
    if step.ref_.is_none() {
        let inherited = template.map(|template| template.command.as_slice()).unwrap_or_default();
        let command = if step.command.is_empty() { inherited } else { &step.command };
        script_or_command(errors, path, step.script.as_deref(), command);
    }
    if let Some(timeout) = step.timeout.filter(|timeout| timeout.is_negative()) {
        errors.add_with_help(
            format!("{path}.timeout"),
            format!("invalid value: {timeout}"),
            "a timeout cannot be negative",
        );
    }
    check_on_error(errors, path, step.on_error.as_deref(), |word| format!("invalid value: {word:?}"));
    check_outputs_of_steps(errors, path, step);
    check_mounts(errors, path, &step.volume_mounts);
    errors.ours(|errors| check_pull_policy(errors, path, step.image_pull_policy.as_deref()));
    check_results(errors, path, &step.results);
    references::check_when(errors, &format!("{path}.when"), &step.when);
}

/// Checks one sidecar by itself.
pub(super) fn check_sidecar(errors: &mut Errors, path: &str, sidecar: &Sidecar) {
    if sidecar.name == "tekton-log-results" {
        errors.add(format!("{path}.name"), "Invalid: cannot use reserved sidecar name tekton-log-results ");
    }
    if sidecar.image.is_none() {
        errors.missing(path, "image");
    }
    script_or_command(errors, path, sidecar.script.as_deref(), &sidecar.command);
    errors.ours(|errors| {
        if !sidecar.name.is_empty()
            && let Err(help) = names::label(&sidecar.name)
        {
            errors.add_with_help(format!("{path}.name"), format!("invalid value {:?}", sidecar.name), help);
        }
        check_pull_policy(errors, path, sidecar.image_pull_policy.as_deref());
        if let Some(policy) = sidecar.restart_policy.as_deref()
            && policy != "Always"
        {
            errors.add_with_help(
                format!("{path}.restartPolicy"),
                format!("invalid value: {policy}"),
                "only `Always` is allowed",
            );
        }
    });
}

/// Checks a StepAction.
pub(super) fn check_action(errors: &mut Errors, path: &str, action: &StepActionSpec) {
    params::check_specs(errors, &format!("{path}.params"), &action.params, params::Owner::Task);
    if action.image.is_none() {
        errors.missing(path, "image");
    }
    script_or_command(errors, path, action.script.as_deref(), &action.command);
    check_results(errors, path, &action.results);
    let mut scope = Scope::default();
    scope.declare(&action.params);
    // Parameters in a script would become code; Tekton refuses them here, and a shared step should not start with it.
    // In a tag they do not.
    let except = scripts::read_elsewhere(errors, action.script.as_deref(), &None);
    if let Some(script) = action.script.as_ref().filter(|_| except.is_empty()) {
        each_variable(&format!("{path}.script"), script, |path, variable| {
            match variable.names().as_slice() {
                ["results", name, "path"] if !action.results.iter().any(|result| result.name == *name) => {
                    errors.add_with_help(
                        path,
                        format!("non-existent variable in \"{variable}\""),
                        declared("results", name, action.results.iter().map(|result| result.name.as_str())),
                    );
                }
                ["params", name, ..] => {
                    errors.add_with_help(
                    path,
                    "param substitution in scripts is not allowed.",
                    format!(
                        "instead of `{variable}`, set an environment variable to `$(params.{name})` in `env` and use that"
                    ),
                );
                }
                _ => {}
            }
        });
    }
    let without_script = StepActionSpec { script: None, ..action.clone() };
    each_variable(path, &without_script, |path, variable| {
        if variable.path[0] == "params" {
            scope.check(errors, path, variable);
        }
    });
    errors.ours(|errors| check_mounts(errors, path, &action.volume_mounts));
    each_variable_except(path, action, except, |path, variable| {
        let is_ours = !path.ends_with(".script");
        check_own_result(errors, path, variable, &action.results, is_ours);
    });
    errors.ours(|errors| {
        let own = scripts::Own::of_action(action, &scope);
        let step = Step { script: action.script.clone(), ..Step::default() };
        scripts::check(
            errors,
            &format!("{path}.script"),
            &step,
            &own,
            &scope,
            &mut |errors, path, variable| {
                if !scope.check(errors, path, variable) {
                    check_own_result(errors, path, variable, &action.results, true);
                }
            },
        );
    });
    for (index, mount) in action.volume_mounts.iter().enumerate() {
        let is_param = variables(&mount.name).first().is_some_and(|v| v.is_alone && v.path[0] == "params");
        if !is_param {
            errors.add_with_help(
                format!("{path}.volumeMounts[{index}].name"),
                format!("invalid value: {}", mount.name),
                "expect the Name to be a single param reference: the Task decides which volume it is",
            );
        }
    }
}

/// `$(step.results.<name>.path)` names a result that the step declares. Tekton does not check it if `is_ours`.
pub(super) fn check_own_result(
    errors: &mut Errors,
    path: &str,
    variable: &Variable,
    results: &[StepResult],
    is_ours: bool,
) {
    if let ["step", "results", name, "path"] = variable.names().as_slice()
        && !results.iter().any(|result| result.name == *name)
    {
        errors.ours_if(is_ours, |errors| {
            errors.add_with_help(
                path,
                format!("non-existent variable in \"{variable}\""),
                format!(
                    "the step does not declare the result `{name}`: {}",
                    declared("results", name, results.iter().map(|result| result.name.as_str()))
                ),
            );
        });
    }
}

/// Results and artifacts of other steps are known only once those have run: they can be used where the step's own process
/// puts them in.
fn check_outputs_of_steps(errors: &mut Errors, path: &str, step: &Step) {
    let outside = Step {
        command: Vec::new(),
        args: Vec::new(),
        env: Vec::new(),
        when: Vec::new(),
        params: Vec::new(),
        ref_: None,
        results: Vec::new(),
        script_values: None,
        ..step.clone()
    };
    each_variable_except(
        path,
        &outside,
        scripts::read_elsewhere(errors, step.script.as_deref(), &step.script_values),
        |path, variable| {
            match variable.names().as_slice() {
        ["steps", _, "results", ..] => errors
            .add(path, "stepResult substitutions are only allowed in env, command and args. Found usage in"),
        ["steps", _, "inputs" | "outputs", ..] if !path.ends_with(".script") => errors.add(
            path,
            "stepArtifact substitutions are only allowed in env, command, args and script. Found usage in",
        ),
        _ => {}
    }
        },
    );
}

/// The field is `continue` or `stopAndFail`, or a variable. `message` makes the message from another word.
pub(super) fn check_on_error(
    errors: &mut Errors,
    path: &str,
    on_error: Option<&str>,
    message: impl Fn(&str) -> String,
) {
    if OnError::of(on_error).is_none() && !on_error.is_some_and(|text| text.starts_with("$(params")) {
        errors.add_with_help(
            format!("{path}.onError"),
            message(on_error.unwrap_or_default()),
            "write `continue` or `stopAndFail`",
        );
    }
}

fn script_or_command(errors: &mut Errors, path: &str, script: Option<&str>, command: &[String]) {
    if script.is_some() && !command.is_empty() {
        errors.add_with_help(
            format!("{path}.script"),
            "script cannot be used with command",
            "put the command into the script, or the script's text into `args`",
        );
    }
}

fn check_mounts(errors: &mut Errors, path: &str, mounts: &[VolumeMount]) {
    for (index, mount) in mounts.iter().enumerate() {
        let path = format!("{path}.volumeMounts[{index}]");
        let place = super::task::clean(&mount.mount_path);
        if place.starts_with("/tekton/") && !place.starts_with("/tekton/home") {
            errors.add_with_help(
                format!("{path}.mountPath"),
                format!(
                    "volumeMount cannot be mounted under /tekton/ (volumeMount {:?} mounted at {:?})",
                    mount.name, mount.mount_path
                ),
                "only /tekton/home can be mounted there",
            );
        }
        for reserved in ["tekton-internal-", "ergon-internal-"] {
            if mount.name.starts_with(reserved) {
                errors.add(
                    format!("{path}.name"),
                    format!("volumeMount name {:?} cannot start with {reserved:?}", mount.name),
                );
            }
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
            format!("invalid value: {policy}"),
            "write `Always`, `IfNotPresent` or `Never`",
        );
    }
}

fn check_results(errors: &mut Errors, path: &str, results: &[StepResult]) {
    params::check_results(
        errors,
        &format!("{path}.results"),
        "the",
        results.iter().map(|result| (result.name.as_str(), result.type_, &result.properties)),
    );
}
