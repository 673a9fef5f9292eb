//! Tasks, alone or written out in a run or pipeline.

use std::collections::BTreeSet;

use super::scope::{Scope, declared, each_variable};
use super::{Errors, names, params, step};
use crate::variables::Variable;
use crate::{ParamType, Step, TaskResult, TaskSpec};

/// Checks a Task. `outer` is what the run or pipeline around it declares.
pub(super) fn check(errors: &mut Errors, path: &str, spec: &TaskSpec, outer: &Scope) {
    if spec.steps.is_empty() {
        errors.add_with_help(
            format!("{path}.steps"),
            "missing field `steps`",
            "a Task has at least one step",
        );
    }
    params::check_specs(errors, &format!("{path}.params"), &spec.params);
    params::check_results(
        errors,
        &format!("{path}.results"),
        spec.results.iter().map(|result| (result.name.as_str(), result.type_, &result.properties)),
    );
    check_volumes(errors, path, spec);
    check_workspaces(errors, path, spec);

    let steps = format!("{path}.steps");
    errors.unique(&steps, "step", spec.steps.iter().map(|step| step.name.as_str()));
    for (index, step) in spec.steps.iter().enumerate() {
        step::check(errors, &format!("{steps}[{index}]"), step, spec.step_template.as_ref());
    }
    let sidecars = format!("{path}.sidecars");
    errors.unique(&sidecars, "sidecar", spec.sidecars.iter().map(|sidecar| sidecar.name.as_str()));
    for (index, sidecar) in spec.sidecars.iter().enumerate() {
        step::check_sidecar(errors, &format!("{sidecars}[{index}]"), sidecar);
    }

    let mut scope = outer.clone();
    scope.declare(&spec.params);
    scope.provide(spec.workspaces.iter().map(|workspace| workspace.name.as_str()));
    check_variables(errors, path, spec, &scope);
}

fn check_volumes(errors: &mut Errors, path: &str, spec: &TaskSpec) {
    let path = format!("{path}.volumes");
    errors.unique(&path, "volume", spec.volumes.iter().map(|volume| volume.name.as_str()));
    for (index, volume) in spec.volumes.iter().enumerate() {
        if volume.name.is_empty() {
            errors.missing(&format!("{path}[{index}]"), "name");
        }
        if volume.name.starts_with("tekton-internal-") || volume.name.starts_with("ergon-internal-") {
            errors.add(
                format!("{path}[{index}].name"),
                format!("the volume name `{}` is reserved", volume.name),
            );
        }
    }
}

/// Workspaces have names of their own and places of their own, and steps use only those that are declared.
fn check_workspaces(errors: &mut Errors, path: &str, spec: &TaskSpec) {
    let workspaces = format!("{path}.workspaces");
    errors.unique(&workspaces, "workspace", spec.workspaces.iter().map(|workspace| workspace.name.as_str()));
    let template = spec.step_template.iter().flat_map(|template| &template.volume_mounts);
    let mut places: BTreeSet<String> = spec
        .steps
        .iter()
        .flat_map(|step| &step.volume_mounts)
        .chain(template)
        .map(|mount| clean(&mount.mount_path))
        .collect();
    for (index, workspace) in spec.workspaces.iter().enumerate() {
        let path = format!("{workspaces}[{index}]");
        if workspace.name.is_empty() {
            errors.missing(&path, "name");
            continue;
        }
        let place = clean(&workspace.effective_mount_path());
        if !place.contains("$(") && !places.insert(place.clone()) {
            errors
                .add(format!("{path}.mountPath"), format!("`{place}` is already the place of another mount"));
        }
    }
    let declared_names = || spec.workspaces.iter().map(|workspace| workspace.name.as_str());
    let usages = spec
        .steps
        .iter()
        .enumerate()
        .map(|(index, step)| (format!("{path}.steps[{index}]"), &step.workspaces))
        .chain(
            spec.sidecars
                .iter()
                .enumerate()
                .map(|(index, sidecar)| (format!("{path}.sidecars[{index}]"), &sidecar.workspaces)),
        );
    for (path, usages) in usages {
        for (index, usage) in usages.iter().enumerate() {
            if !declared_names().any(|name| name == usage.name) {
                errors.add_with_help(
                    format!("{path}.workspaces[{index}].name"),
                    format!("workspace `{}` is not declared by the Task", usage.name),
                    declared("workspaces", &usage.name, declared_names()),
                );
            }
        }
    }
}

/// A path without doubled or trailing slashes.
fn clean(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    format!("/{}", parts.join("/"))
}

fn check_variables(errors: &mut Errors, path: &str, spec: &TaskSpec, scope: &Scope) {
    for (index, step) in spec.steps.iter().enumerate() {
        each_variable(&format!("{path}.steps[{index}]"), step, |path, variable| {
            check_variable(errors, path, variable, spec, scope);
            if step.ref_.is_none() {
                step::check_own_result(errors, path, variable, &step.results);
            }
        });
    }
    if let Some(template) = &spec.step_template {
        each_variable(&format!("{path}.stepTemplate"), template, |path, variable| {
            check_variable(errors, path, variable, spec, scope);
        });
    }
    for (index, sidecar) in spec.sidecars.iter().enumerate() {
        each_variable(&format!("{path}.sidecars[{index}]"), sidecar, |path, variable| {
            check_variable(errors, path, variable, spec, scope);
        });
    }
    each_variable(&format!("{path}.volumes"), &spec.volumes, |path, variable| {
        check_variable(errors, path, variable, spec, scope);
    });
    for (index, result) in spec.results.iter().enumerate() {
        check_result_value(errors, &format!("{path}.results[{index}]"), result, &spec.steps);
    }
}

fn check_variable(errors: &mut Errors, path: &str, variable: &Variable, spec: &TaskSpec, scope: &Scope) {
    if scope.check(errors, path, variable) {
        return;
    }
    match variable.names().as_slice() {
        ["results", name, "path"] if !spec.results.iter().any(|result| result.name == *name) => {
            errors.add_with_help(
                path,
                format!("`{variable}` uses the result `{name}`, which the Task does not declare"),
                declared("results", name, spec.results.iter().map(|result| result.name.as_str())),
            );
        }
        ["steps", name, "exitCode", "path"] => {
            let step = name.strip_prefix("step-").unwrap_or(name);
            check_step_name(errors, path, variable, step, &spec.steps);
        }
        ["steps", step, "results", result, ..] => {
            check_step_result(errors, path, variable, step, result, &spec.steps);
        }
        ["context", "taskRun", field] if !["name", "namespace", "uid"].contains(field) => errors
            .add_with_help(
                path,
                format!("`{variable}` is not known"),
                "the fields of context.taskRun are name, namespace and uid",
            ),
        ["context", "task", field] if !["name", "retry-count"].contains(field) => errors.add_with_help(
            path,
            format!("`{variable}` is not known"),
            "the fields of context.task are name and retry-count",
        ),
        _ => {}
    }
}

/// The step is one of the Task's, by name or as `unnamed-<index>`. Returns it.
fn check_step_name<'a>(
    errors: &mut Errors,
    path: &str,
    variable: &Variable,
    name: &str,
    steps: &'a [Step],
) -> Option<&'a Step> {
    let unnamed = name
        .strip_prefix("unnamed-")
        .and_then(|index| index.parse::<usize>().ok())
        .and_then(|index| steps.get(index))
        .filter(|step| step.name.is_empty());
    let found = steps.iter().find(|step| step.name == name).or(unnamed);
    if found.is_none() {
        errors.add_with_help(
            path,
            format!("`{variable}` uses the step `{name}`, which the Task does not have"),
            declared(
                "named steps",
                name,
                steps.iter().map(|step| step.name.as_str()).filter(|name| !name.is_empty()),
            ),
        );
    }
    found
}

/// The step has such a result; what a StepAction declares is not known here.
fn check_step_result(
    errors: &mut Errors,
    path: &str,
    variable: &Variable,
    step: &str,
    result: &str,
    steps: &[Step],
) {
    if let Some(step) = check_step_name(errors, path, variable, step, steps)
        && step.ref_.is_none()
        && !step.results.iter().any(|known| known.name == result)
    {
        errors.add_with_help(
            path,
            format!(
                "`{variable}` uses the result `{result}`, which the step `{}` does not declare",
                step.name
            ),
            declared("results", result, step.results.iter().map(|known| known.name.as_str())),
        );
    }
}

/// A result's value is a result of a step.
fn check_result_value(errors: &mut Errors, path: &str, result: &TaskResult, steps: &[Step]) {
    let Some(value) = &result.value else { return };
    let path = format!("{path}.value");
    let Some(text) = value.as_str() else {
        errors.add_with_help(
            path,
            "the value of a result is one text",
            "write `$(steps.<step>.results.<name>)`",
        );
        return;
    };
    let found = crate::variables::variables(text);
    if let [variable] = found.as_slice()
        && variable.is_alone
        && let ["steps", step, "results", name, ..] = variable.names().as_slice()
    {
        check_step_result(errors, &path, variable, step, name, steps);
        return;
    }
    errors.add_with_help(
        path,
        format!("`{text}` is not the result of a step"),
        if result.effective_type() == ParamType::String {
            "write `$(steps.<step>.results.<name>)`"
        } else {
            "write `$(steps.<step>.results.<name>[*])`"
        },
    );
}

/// A workspace's or task's name for a label; shared with pipelines.
pub(super) fn check_label(errors: &mut Errors, path: &str, name: &str) {
    if name.is_empty() {
        errors.missing(path, "name");
    } else if let Err(problem) = names::label(name) {
        errors.add(format!("{path}.name"), problem);
    }
}
