//! References to Tasks, Pipelines and StepActions, conditions, and bindings of workspaces.

use super::{Errors, names};
use crate::{Param, PipelineRef, StepRef, TaskRef, WhenExpression, WorkspaceBinding};

/// Checks the reference of a TaskRun or pipeline task.
pub(super) fn check_task_ref(errors: &mut Errors, path: &str, task_ref: &TaskRef) {
    if task_ref.is_custom_task() {
        return;
    }
    check_target(errors, path, task_ref.name.as_deref(), task_ref.resolver.as_deref(), &task_ref.params);
    errors.ours(|errors| check_kind(errors, path, task_ref));
}

fn check_kind(errors: &mut Errors, path: &str, task_ref: &TaskRef) {
    match task_ref.kind.as_deref() {
        None => {}
        Some(kind) if kind.eq_ignore_ascii_case("Task") => {}
        Some("ClusterTask") => errors.add_with_help(
            format!("{path}.kind"),
            "the kind ClusterTask is gone",
            "write `resolver: cluster` with the parameters kind, name and namespace",
        ),
        Some(kind) => errors.add_with_help(
            format!("{path}.kind"),
            format!("`{kind}` is not a Task"),
            "a custom task needs `apiVersion` as well",
        ),
    }
}

/// Checks the reference of a PipelineRun or pipeline task.
pub(super) fn check_pipeline_ref(errors: &mut Errors, path: &str, pipeline_ref: &PipelineRef) {
    let PipelineRef { name, resolver, params, .. } = pipeline_ref;
    check_target(errors, path, name.as_deref(), resolver.as_deref(), params);
}

/// Checks the reference of a step.
pub(super) fn check_step_ref(errors: &mut Errors, path: &str, step_ref: &StepRef) {
    check_target(errors, path, step_ref.name.as_deref(), step_ref.resolver.as_deref(), &step_ref.params);
}

fn check_target(
    errors: &mut Errors,
    path: &str,
    name: Option<&str>,
    resolver: Option<&str>,
    params: &[Param],
) {
    match (name, resolver) {
        // The short way to write a resolver: `gates` asks for its flag.
        (Some(name), Some(_)) if is_like_url(name) => {}
        (Some(_), Some(_)) => errors.add_with_help(
            format!("{path}.name"),
            "invalid value: invalid URI for request",
            "write either `name`, or `resolver` and `params`",
        ),
        (None, None) if !params.is_empty() => errors.missing(path, "resolver"),
        (None, None) => errors.add_with_help(
            format!("{path}.name"),
            "missing field(s)",
            "write `name`, or `resolver` and `params`",
        ),
        (None, Some(_)) => super::params::check_values(errors, &format!("{path}.params"), params),
        (Some(_), None) if !params.is_empty() => errors.add_with_help(
            format!("{path}.params"),
            format!("expected exactly one, got both: {path}.name, {path}.params"),
            "parameters of a reference are for a resolver; those for the Task or Pipeline stand beside the reference",
        ),
        (Some(name), None) if is_like_url(name) => errors.missing(path, "resolver"),
        (Some(name), None) if !names::qualified(name) => errors.add_with_help(
            format!("{path}.name"),
            format!("invalid value: {name}"),
            "a name has letters, digits, `-`, `_` and `.`, beginning and ending with a letter or digit, at most 63",
        ),
        (Some(_), None) => {}
    }
}

/// True for names such as `https://example.com/task.yaml`.
fn is_like_url(name: &str) -> bool {
    name.match_indices(":/")
        .any(|(at, _)| name[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-'))
}

/// Checks conditions.
pub(super) fn check_when(errors: &mut Errors, path: &str, when: &[WhenExpression]) {
    for (index, expression) in when.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let WhenExpression { input, operator, values, cel, cel_values: _ } = expression;
        if cel.is_some() {
            if !input.is_empty() || operator.is_some() || !values.is_empty() {
                errors.add(
                    format!("{path}.cel"),
                    "cel and input+operator+values cannot be set in one WhenExpression",
                );
            }
            continue;
        }
        if operator.is_none() {
            if input.is_empty() && values.is_empty() {
                errors.add_with_help(path, "missing field(s)", "write `input`, `operator` and `values`");
            } else {
                errors.add_with_help(
                    format!("{path}.operator"),
                    "invalid value: operator \"\" is not recognized. valid operators: in,notin",
                    "write `in` or `notin`",
                );
            }
        } else if values.is_empty() {
            errors.add(format!("{path}.values"), "invalid value: expecting non-empty values field");
        }
    }
}

/// Checks the folders that a TaskRun or CustomRun provides.
pub(super) fn check_bindings(errors: &mut Errors, path: &str, bindings: &[WorkspaceBinding]) {
    errors.one_each_ignoring_case(path, bindings.iter().map(|binding| binding.name.as_str()));
    check_each_binding(errors, path, bindings);
}

/// Checks the folders that a PipelineRun provides.
pub(super) fn check_pipeline_bindings(errors: &mut Errors, path: &str, bindings: &[WorkspaceBinding]) {
    errors.unique(path, bindings.iter().map(|binding| binding.name.as_str()), |name, first, index| {
        format!("workspace {name:?} provided by pipelinerun more than once, at index {first} and {index}")
    });
    check_each_binding(errors, path, bindings);
}

fn check_each_binding(errors: &mut Errors, path: &str, bindings: &[WorkspaceBinding]) {
    for (index, binding) in bindings.iter().enumerate() {
        let path = format!("{path}[{index}]");
        if binding.name.is_empty() {
            errors.missing(&path, "name");
        }
        let list =
            |kinds: &[&str]| kinds.iter().map(|kind| format!("{path}.{kind}")).collect::<Vec<_>>().join(", ");
        match binding.kinds().as_slice() {
            [_] => check_binding(errors, &path, binding),
            [] => errors.add_with_help(
                path.as_str(),
                format!("expected exactly one, got neither: {}", list(&KINDS)),
                format!("workspace `{}` has no volume: write one of these", binding.name),
            ),
            kinds @ [_, second, ..] => errors
                .add(format!("{path}.{second}"), format!("expected exactly one, got both: {}", list(kinds))),
        }
    }
}

/// What a workspace can be.
const KINDS: [&str; 7] =
    ["volumeClaimTemplate", "persistentVolumeClaim", "emptyDir", "configMap", "secret", "projected", "csi"];

fn check_binding(errors: &mut Errors, path: &str, binding: &WorkspaceBinding) {
    if binding.persistent_volume_claim.as_ref().is_some_and(|claim| claim.claim_name.is_empty()) {
        errors.missing(&format!("{path}.persistentVolumeClaim"), "claimName");
    }
    if binding.config_map.as_ref().is_some_and(|source| source.name.is_empty()) {
        errors.missing(&format!("{path}.configMap"), "name");
    }
    if binding
        .secret
        .as_ref()
        .is_some_and(|source| source.secret_name.as_deref().unwrap_or_default().is_empty())
    {
        errors.missing(&format!("{path}.secret"), "secretName");
    }
    if binding
        .projected
        .as_ref()
        .is_some_and(|source| source.sources.as_deref().unwrap_or_default().is_empty())
    {
        errors.missing(&format!("{path}.projected"), "sources");
    }
    if binding.csi.as_ref().is_some_and(|source| source.driver.is_empty()) {
        errors.missing(&format!("{path}.csi"), "driver");
    }
}
