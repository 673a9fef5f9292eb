//! References to Tasks, Pipelines and StepActions, conditions, and bindings of workspaces.

use super::Errors;
use crate::{Param, PipelineRef, StepRef, TaskRef, WhenExpression, WorkspaceBinding};

/// Checks the reference of a TaskRun or pipeline task.
pub(super) fn check_task_ref(errors: &mut Errors, path: &str, task_ref: &TaskRef) {
    if task_ref.is_custom_task() {
        return;
    }
    check_target(errors, path, task_ref.name.as_deref(), task_ref.resolver.as_deref(), &task_ref.params);
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
        (Some(_), Some(_)) => {
            errors.add(format!("{path}.name"), "expected exactly one, got both: name, resolver");
        }
        (None, None) => {
            errors.add_with_help(path, "missing field `name`", "write `name`, or `resolver` and `params`");
        }
        (None, Some(_)) => super::params::check_values(errors, &format!("{path}.params"), params),
        (Some(_), None) if !params.is_empty() => errors.add_with_help(
            format!("{path}.params"),
            "parameters of a reference are for a resolver, and there is none",
            "parameters for the Task or Pipeline stand beside the reference",
        ),
        (Some(_), None) => {}
    }
}

/// Checks conditions.
pub(super) fn check_when(errors: &mut Errors, path: &str, when: &[WhenExpression]) {
    for (index, expression) in when.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let WhenExpression { input, operator, values, cel } = expression;
        if cel.is_some() {
            if !input.is_empty() || operator.is_some() || !values.is_empty() {
                errors.add(format!("{path}.cel"), "`cel` stands alone, without input, operator and values");
            }
            continue;
        }
        if operator.is_none() {
            errors.add_with_help(path.as_str(), "missing field `operator`", "write `in` or `notin`");
        }
        if values.is_empty() {
            errors.missing(&path, "values");
        }
    }
}

/// Checks the folders that a run provides.
pub(super) fn check_bindings(errors: &mut Errors, path: &str, bindings: &[WorkspaceBinding]) {
    errors.unique(path, "workspace", bindings.iter().map(|binding| binding.name.as_str()));
    for (index, binding) in bindings.iter().enumerate() {
        let path = format!("{path}[{index}]");
        if binding.name.is_empty() {
            errors.missing(&path, "name");
        }
        match binding.kinds().as_slice() {
            [_] => check_binding(errors, &path, binding),
            [] => errors.add_with_help(
                path,
                format!("workspace `{}` has no volume", binding.name),
                "write one of volumeClaimTemplate, persistentVolumeClaim, emptyDir, configMap, secret, projected, csi",
            ),
            [_, second, ..] => errors.add(
                format!("{path}.{second}"),
                format!("expected exactly one, got both: {}", binding.kinds().join(", ")),
            ),
        }
    }
}

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
