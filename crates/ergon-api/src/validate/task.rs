//! Tasks, alone or written out in a run or pipeline.

use std::collections::BTreeSet;

use super::scope::{Scope, declared, each_variable, each_variable_except, last, tekton_reads};
use super::{Errors, conditions, names, params, scripts, step};
use crate::variables::Variable;
use crate::{Group, ParamType, Step, TaskResult, TaskSpec};

/// Checks a Task. `outer` is what the run or pipeline around it declares.
pub(super) fn check(errors: &mut Errors, path: &str, spec: &TaskSpec, outer: &Scope<'_>) {
    if spec.steps.is_empty() {
        errors.add_with_help(format!("{path}.steps"), "missing field(s)", "a Task has at least one step");
    }
    params::check_specs(errors, &format!("{path}.params"), &spec.params, params::Owner::Task);
    params::check_results(
        errors,
        &format!("{path}.results"),
        "The",
        spec.results.iter().map(|result| (result.name.as_str(), result.type_, &result.properties)),
    );
    params::check_result_limits(errors, &format!("{path}.results"), &spec.results);
    check_volumes(errors, path, spec);
    check_workspaces(errors, path, spec);

    let steps = format!("{path}.steps");
    errors.one_each(&steps, spec.steps.iter().map(|step| step.name.as_str()));
    for (index, step) in spec.steps.iter().enumerate() {
        step::check(errors, &format!("{steps}[{index}]"), step, spec.step_template.as_ref());
    }
    let sidecars = format!("{path}.sidecars");
    errors.ours(|errors| {
        errors.one_each(&sidecars, spec.sidecars.iter().map(|sidecar| sidecar.name.as_str()));
    });
    for (index, sidecar) in spec.sidecars.iter().enumerate() {
        step::check_sidecar(errors, &format!("{sidecars}[{index}]"), sidecar);
    }

    let mut scope = outer.inside();
    scope.declare(&spec.params);
    scope.provide(spec.workspaces.iter().map(|workspace| workspace.name.as_str()));
    check_variables(errors, path, spec, &scope);
}

fn check_volumes(errors: &mut Errors, path: &str, spec: &TaskSpec) {
    let path = format!("{path}.volumes");
    errors.unique(&path, spec.volumes.iter().map(|volume| volume.name.as_str()), |name, _, _| {
        format!("multiple volumes with same name {name:?}")
    });
    for (index, volume) in spec.volumes.iter().enumerate() {
        if volume.name.is_empty() {
            errors.missing(&format!("{path}[{index}]"), "name");
        }
        errors.ours(|errors| {
            if volume.name.starts_with("tekton-internal-") || volume.name.starts_with("ergon-internal-") {
                errors.add(
                    format!("{path}[{index}].name"),
                    format!("the volume name `{}` is reserved", volume.name),
                );
            }
        });
    }
}

/// Workspaces have names of their own and places of their own, and steps use only those that are declared.
fn check_workspaces(errors: &mut Errors, path: &str, spec: &TaskSpec) {
    let workspaces = format!("{path}.workspaces");
    errors.unique(
        &workspaces,
        spec.workspaces.iter().map(|workspace| workspace.name.as_str()),
        |name, _, _| format!("workspace name {name:?} must be unique"),
    );
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
        if !places.insert(place.clone()) {
            errors.add_with_help(
                format!("{path}.mountPath"),
                format!("workspace mount path {place:?} must be unique"),
                "another workspace or volume is mounted there",
            );
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
                    format!("undefined workspace {:?}", usage.name),
                    declared("workspaces", &usage.name, declared_names()),
                );
            }
        }
    }
}

/// A path without doubled or trailing slashes, `.` and `..`.
pub(super) fn clean(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

fn check_variables(errors: &mut Errors, path: &str, spec: &TaskSpec, scope: &Scope<'_>) {
    for (index, step) in spec.steps.iter().enumerate() {
        let mut check = |errors: &mut Errors, path: &str, variable: &Variable| {
            check_variable(errors, path, variable, spec, scope);
            if step.ref_.is_none() {
                let is_ours = !path.ends_with(".script") || step.results.is_empty();
                step::check_own_result(errors, path, variable, &step.results, is_ours);
            }
        };
        let path = format!("{path}.steps[{index}]");
        let except = scripts::read_elsewhere(errors, step.script.as_deref(), &step.script_values);
        each_variable_except(&path, step, except, |path, variable| {
            if errors.group != Group::Ergon || last(path) != "cel" {
                check(errors, path, variable);
            }
        });
        errors.ours(|errors| check_conditions(errors, &path, step, spec, scope));
        errors.ours(|errors| {
            let own = scripts::Own::of_task(spec, index, scope);
            scripts::check(errors, &format!("{path}.script"), step, &own, scope, &mut check);
        });
    }
    if let Some(template) = &spec.step_template {
        each_variable(&format!("{path}.stepTemplate"), template, |path, variable| {
            check_variable(errors, path, variable, spec, scope);
        });
    }
    for (index, sidecar) in spec.sidecars.iter().enumerate() {
        let path = format!("{path}.sidecars[{index}]");
        let except = scripts::read_elsewhere(errors, sidecar.script.as_deref(), &sidecar.script_values);
        each_variable_except(&path, sidecar, except, |path, variable| {
            check_variable(errors, path, variable, spec, scope);
        });
        errors.ours(|errors| {
            let own = scripts::Own::of_sidecar(spec, scope);
            let step = Step {
                script: sidecar.script.clone(),
                script_values: sidecar.script_values.clone(),
                env: sidecar.env.clone(),
                ..Step::default()
            };
            scripts::check(
                errors,
                &format!("{path}.script"),
                &step,
                &own,
                scope,
                &mut |errors, path, variable| {
                    check_variable(errors, path, variable, spec, scope);
                },
            );
        });
    }
    each_variable(&format!("{path}.volumes"), &spec.volumes, |path, variable| {
        check_variable(errors, path, variable, spec, scope);
    });
    for (index, result) in spec.results.iter().enumerate() {
        check_result_value(errors, &format!("{path}.results[{index}]"), result, &spec.steps);
    }
}

/// Expressions in CEL are typed against what a step can see.
fn check_conditions(errors: &mut Errors, path: &str, step: &Step, spec: &TaskSpec, scope: &Scope<'_>) {
    let type_of = |variable: &Variable| scope.type_of(variable);
    let names = conditions::Names {
        roots: &["params", "steps", "context", "workspaces"],
        type_of: &type_of,
        params: scope.param_names().into_iter().map(str::to_owned).collect(),
        matrix: Vec::new(),
    };
    for (index, when) in step.when.iter().enumerate() {
        // What was bound when its run started was checked before.
        let Some(text) = when.cel.as_ref().filter(|_| when.cel_values.is_none() && !errors.is_read_already)
        else {
            continue;
        };
        let path = format!("{path}.when[{index}].cel");
        conditions::check(errors, &path, text, &names, |errors, variable| {
            check_variable(errors, &path, variable, spec, scope);
        });
    }
}

fn check_variable(errors: &mut Errors, path: &str, variable: &Variable, spec: &TaskSpec, scope: &Scope<'_>) {
    if scope.check(errors, path, variable) {
        return;
    }
    let reads = tekton_reads(path);
    match variable.names().as_slice() {
        ["results", name, "path"] if !spec.results.iter().any(|result| result.name == *name) => {
            errors.ours_if(!reads || !path.ends_with(".script"), |errors| {
                let known = spec.results.iter().map(|result| result.name.as_str());
                errors.add_with_help(
                    path,
                    format!("non-existent variable in \"{variable}\""),
                    format!(
                        "the Task does not declare the result `{name}`: {}",
                        declared("results", name, known)
                    ),
                );
            });
        }
        ["steps", name, "exitCode", "path"] => errors.ours(|errors| {
            let step = name.strip_prefix("step-").unwrap_or(name);
            check_step_name(errors, path, variable, step, &spec.steps);
        }),
        ["steps", step, "results", result, ..] => errors.ours(|errors| {
            check_step_result(errors, path, variable, step, result, &spec.steps);
        }),
        ["context", "taskRun", field] if !["name", "namespace", "uid"].contains(field) => {
            errors.ours_if(!reads, |errors| {
                errors.add_with_help(
                    path,
                    format!("non-existent variable in \"{variable}\""),
                    "the fields of context.taskRun are name, namespace and uid",
                );
            });
        }
        ["context", "task", field] if !["name", "retry-count"].contains(field) => {
            errors.ours_if(!reads, |errors| {
                errors.add_with_help(
                    path,
                    format!("non-existent variable in \"{variable}\""),
                    "the fields of context.task are name and retry-count",
                );
            });
        }
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
            format!("Invalid Type. Wanted string but got: \"{}\"", value.type_()),
            "write `$(steps.<step>.results.<name>)`",
        );
        return;
    };
    let found = crate::variables::variables(text);
    let is_result =
        |variable: &&Variable| matches!(variable.names().as_slice(), ["steps", _, "results", _, ..]);
    let Some(variable) = found.iter().find(is_result) else {
        errors.add_with_help(
            path,
            format!(
                "Could not extract step name and result name. Expected value to look like \
                 $(steps.<stepName>.results.<resultName>) but got \"{text}\""
            ),
            if result.effective_type() == ParamType::String {
                "write `$(steps.<step>.results.<name>)`"
            } else {
                "write `$(steps.<step>.results.<name>[*])`"
            },
        );
        return;
    };
    errors.ours(|errors| {
        if let ["steps", step, "results", name, ..] = variable.names().as_slice() {
            check_step_result(errors, &path, variable, step, name, steps);
        }
        if !variable.is_alone {
            errors.add(path, format!("`{variable}` must be alone in its text"));
        }
    });
}

/// The name of a pipeline's task, which becomes part of the names of its runs.
pub(super) fn check_label(errors: &mut Errors, path: &str, name: &str) {
    if let Err(help) = names::label(name) {
        errors.add_with_help(format!("{path}.name"), format!("invalid value {name:?}"), help);
    }
}
