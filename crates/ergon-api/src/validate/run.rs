//! Runs: what they refer to, what they set, and what may change once they have started.

use super::scope::{Scope, declared};
use super::{Errors, FieldError, params, pipeline, references, task};
use crate::{
    Config, CustomRunSpec, Duration, PipelineRun, PipelineRunSpec, PipelineRunSpecStatus, PodTemplate,
    TaskRun, TaskRunSidecarSpec, TaskRunSpec, TaskRunSpecStatus, TaskRunStepSpec, TimeoutFields,
    WorkspaceBinding,
};

/// Checks a TaskRun.
pub(super) fn check_task_run(errors: &mut Errors, spec: &TaskRunSpec) {
    errors
        .exactly_one("spec", &[("taskRef", spec.task_ref.is_some()), ("taskSpec", spec.task_spec.is_some())]);
    if let Some(task_ref) = &spec.task_ref {
        references::check_task_ref(errors, "spec.taskRef", task_ref);
    }
    if let Some(inline) = &spec.task_spec {
        let mut scope = Scope::default();
        scope.set(&spec.params);
        scope.provide(names(&spec.workspaces));
        task::check(errors, "spec.taskSpec", inline, &scope);
        params::check_against(errors, "spec.params", &spec.params, &inline.params);
    }
    params::check_values(errors, "spec.params", &spec.params);
    references::check_bindings(errors, "spec.workspaces", &spec.workspaces);
    check_attempts(errors, spec.retries, spec.timeout);
    if spec.status_message.is_some() && spec.status != Some(TaskRunSpecStatus::Cancelled) {
        errors.add("spec.statusMessage", "statusMessage is for a run whose `status` is `TaskRunCancelled`");
    }
    if let Some(breakpoints) = spec.debug.as_ref().and_then(|debug| debug.breakpoints.as_ref()) {
        if let Some(on_failure) = breakpoints.on_failure.as_deref()
            && on_failure != "enabled"
        {
            errors.add_with_help(
                "spec.debug.breakpoints.onFailure",
                format!("invalid value `{on_failure}`"),
                "write `enabled`, or remove the field",
            );
        }
        for (index, step) in breakpoints.before_steps.iter().enumerate() {
            if breakpoints.before_steps[..index].contains(step) {
                errors.add(
                    format!("spec.debug.breakpoints.beforeSteps[{index}]"),
                    format!("step `{step}` stands twice"),
                );
            }
        }
    }
    check_pod_template(errors, "spec.podTemplate", spec.pod_template.as_ref());
    check_overrides(errors, "spec", &spec.step_specs, &spec.sidecar_specs, spec.compute_resources.is_some());
}

/// Checks a PipelineRun.
pub(super) fn check_pipeline_run(errors: &mut Errors, spec: &PipelineRunSpec) {
    errors.exactly_one(
        "spec",
        &[("pipelineRef", spec.pipeline_ref.is_some()), ("pipelineSpec", spec.pipeline_spec.is_some())],
    );
    if let Some(pipeline_ref) = &spec.pipeline_ref {
        references::check_pipeline_ref(errors, "spec.pipelineRef", pipeline_ref);
    }
    if let Some(inline) = &spec.pipeline_spec {
        let mut scope = Scope::default();
        scope.set(&spec.params);
        scope.provide(names(&spec.workspaces));
        pipeline::check(errors, "spec.pipelineSpec", inline, &scope);
        params::check_against(errors, "spec.params", &spec.params, &inline.params);
    }
    params::check_values(errors, "spec.params", &spec.params);
    references::check_bindings(errors, "spec.workspaces", &spec.workspaces);
    if let Some(timeouts) = &spec.timeouts {
        check_timeouts(errors, timeouts);
    }
    let template = spec.task_run_template.as_ref().and_then(|template| template.pod_template.as_ref());
    check_pod_template(errors, "spec.taskRunTemplate.podTemplate", template);
    for (index, settings) in spec.task_run_specs.iter().enumerate() {
        let path = format!("spec.taskRunSpecs[{index}]");
        let name = settings.pipeline_task_name.as_str();
        if name.is_empty() {
            errors.missing(&path, "pipelineTaskName");
        } else if spec.task_run_specs[..index].iter().any(|other| other.pipeline_task_name == name) {
            errors.add(format!("{path}.pipelineTaskName"), format!("task `{name}` has settings already"));
        } else if let Some(inline) = &spec.pipeline_spec
            && !inline.all_tasks().any(|task| task.name == name)
        {
            errors.add_with_help(
                format!("{path}.pipelineTaskName"),
                format!("task `{name}` is not in the Pipeline"),
                declared("tasks", name, inline.all_tasks().map(|task| task.name.as_str())),
            );
        }
        check_pod_template(errors, &format!("{path}.podTemplate"), settings.pod_template.as_ref());
        if settings.timeout.is_some_and(Duration::is_negative) {
            errors.add(format!("{path}.timeout"), "a timeout cannot be negative");
        }
        check_overrides(
            errors,
            &path,
            &settings.step_specs,
            &settings.sidecar_specs,
            settings.compute_resources.is_some(),
        );
    }
}

/// Variables that the installation keeps for itself are not for pod templates.
fn check_pod_template(errors: &mut Errors, path: &str, template: Option<&PodTemplate>) {
    for (index, variable) in template.iter().flat_map(|template| &template.env).enumerate() {
        if errors.config.defaults.forbidden_env.contains(&variable.name) {
            errors.add_with_help(
                format!("{path}.env[{index}]"),
                format!("invalid value: PodTemplate cannot update a forbidden env: {}", variable.name),
                "the installation has it in `default-forbidden-env` of ConfigMap `config-defaults`",
            );
        }
    }
}

/// Checks a CustomRun.
pub(super) fn check_custom_run(errors: &mut Errors, spec: &CustomRunSpec) {
    errors.exactly_one(
        "spec",
        &[("customRef", spec.custom_ref.is_some()), ("customSpec", spec.custom_spec.is_some())],
    );
    if let Some(custom_ref) = &spec.custom_ref {
        for (field, is_set) in
            [("apiVersion", custom_ref.api_version.is_some()), ("kind", custom_ref.kind.is_some())]
        {
            if !is_set {
                errors.missing("spec.customRef", field);
            }
        }
    }
    if let Some(custom) = &spec.custom_spec {
        for (field, is_set) in [("apiVersion", custom.api_version.is_some()), ("kind", custom.kind.is_some())]
        {
            if !is_set {
                errors.missing("spec.customSpec", field);
            }
        }
    }
    params::check_values(errors, "spec.params", &spec.params);
    references::check_bindings(errors, "spec.workspaces", &spec.workspaces);
    check_attempts(errors, spec.retries, spec.timeout);
}

fn names(bindings: &[WorkspaceBinding]) -> impl Iterator<Item = &str> {
    bindings.iter().map(|binding| binding.name.as_str())
}

fn check_attempts(errors: &mut Errors, retries: Option<i32>, timeout: Option<Duration>) {
    if retries.is_some_and(|retries| retries < 0) {
        errors.add("spec.retries", "retries cannot be negative");
    }
    if timeout.is_some_and(Duration::is_negative) {
        errors.add("spec.timeout", "a timeout cannot be negative");
    }
}

/// The parts of a run fit into the whole; zero stands for "no limit".
fn check_timeouts(errors: &mut Errors, timeouts: &TimeoutFields) {
    let parts = [("pipeline", timeouts.pipeline), ("tasks", timeouts.tasks), ("finally", timeouts.finally)];
    for (name, timeout) in parts {
        if timeout.is_some_and(Duration::is_negative) {
            errors.add(format!("spec.timeouts.{name}"), "a timeout cannot be negative");
            return;
        }
    }
    let whole = timeouts.pipeline.unwrap_or(errors.config.defaults.timeout);
    if whole.is_zero() {
        return;
    }
    let note = if timeouts.pipeline.is_some() { "" } else { ", its default" };
    let mut too_long = false;
    for (name, timeout) in &parts[1..] {
        let Some(timeout) = timeout else { continue };
        if timeout.is_zero() || *timeout > whole {
            let shown = if timeout.is_zero() { "0 (no limit)".to_owned() } else { timeout.to_string() };
            errors.add_with_help(
                format!("spec.timeouts.{name}"),
                format!("{name} may take {shown}, and the whole pipeline {whole}{note}"),
                "raise `timeouts.pipeline`; `0` means no limit",
            );
            too_long = true;
        }
    }
    if let (Some(tasks), Some(finally), false) = (timeouts.tasks, timeouts.finally, too_long)
        && tasks.saturating_add(finally) > whole
    {
        errors.add_with_help(
            "spec.timeouts",
            format!(
                "tasks and finally together may take {}, and the whole pipeline {whole}{note}",
                tasks.saturating_add(finally)
            ),
            "raise `timeouts.pipeline`; `0` means no limit",
        );
    }
}

/// Resources for single steps and sidecars. Resources of steps and of the whole task exclude each other.
fn check_overrides(
    errors: &mut Errors,
    path: &str,
    steps: &[TaskRunStepSpec],
    sidecars: &[TaskRunSidecarSpec],
    has_task_resources: bool,
) {
    let step_names = || steps.iter().map(|step| step.name.as_str());
    let sidecar_names = || sidecars.iter().map(|sidecar| sidecar.name.as_str());
    errors.unique(&format!("{path}.stepSpecs"), "step", step_names());
    errors.unique(&format!("{path}.sidecarSpecs"), "sidecar", sidecar_names());
    for (index, name) in step_names().enumerate() {
        if name.is_empty() {
            errors.missing(&format!("{path}.stepSpecs[{index}]"), "name");
        }
    }
    for (index, name) in sidecar_names().enumerate() {
        if name.is_empty() {
            errors.missing(&format!("{path}.sidecarSpecs[{index}]"), "name");
        }
    }
    if has_task_resources && let Some(index) = steps.iter().position(|step| step.compute_resources.is_some())
    {
        errors.add(
            format!("{path}.stepSpecs[{index}].computeResources"),
            "expected exactly one, got both: stepSpecs.computeResources, computeResources",
        );
    }
}

/// What an update of a TaskRun does that it may not. A run that has ended does not change; one that has started
/// changes only in `status` and `statusMessage`; `managedBy` never changes.
pub fn task_run_update(old: &TaskRun, new: &TaskRun) -> Vec<FieldError> {
    let config = Config::default();
    let mut errors = Errors::new(&config);
    let fixed = |run: &TaskRun| TaskRunSpec { status: None, status_message: None, ..run.spec.clone() };
    if old.is_done() && old.spec != new.spec {
        errors.add("spec", "once the TaskRun is complete, no updates are allowed");
    } else if old.has_started() && fixed(old) != fixed(new) {
        errors.add("spec", "once the TaskRun has started, only status and statusMessage updates are allowed");
    }
    if old.spec.managed_by != new.spec.managed_by {
        errors.add("spec.managedBy", "managedBy cannot be changed");
    }
    if old.has_started() && new.is_pending() {
        errors.add("spec.status", "a run that has started cannot be made to wait");
    }
    errors.found
}

/// What an update of a PipelineRun does that it may not. A run that has ended does not change; one that has started
/// changes only in `status`; `managedBy` never changes.
pub fn pipeline_run_update(old: &PipelineRun, new: &PipelineRun) -> Vec<FieldError> {
    let config = Config::default();
    let mut errors = Errors::new(&config);
    let fixed = |run: &PipelineRun| PipelineRunSpec { status: None, ..run.spec.clone() };
    if old.is_done() && old.spec != new.spec {
        errors.add("spec", "once the PipelineRun is complete, no updates are allowed");
    } else if old.has_started() && fixed(old) != fixed(new) {
        errors.add("spec", "once the PipelineRun has started, only status updates are allowed");
    }
    if old.spec.managed_by != new.spec.managed_by {
        errors.add("spec.managedBy", "managedBy cannot be changed");
    }
    if old.has_started() && new.spec.status == Some(PipelineRunSpecStatus::Pending) {
        errors.add("spec.status", "a run that has started cannot be made to wait");
    }
    errors.found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_may_change_once_a_run_has_started() {
        let run = |spec: serde_json::Value, started: bool, status: &str| -> TaskRun {
            let mut run = json!({"kind": "TaskRun", "spec": spec});
            if started {
                run["status"] = json!({
                    "startTime": "2026-01-01T00:00:00Z",
                    "conditions": [{"type": "Succeeded", "status": status}]
                });
            }
            serde_json::from_value(run).unwrap()
        };
        let update = |started, status, old, new| {
            let errors = task_run_update(&run(old, started, status), &run(new, started, status));
            super::super::summary(&errors)
        };
        let base = json!({"taskRef": {"name": "a"}});
        let other = json!({"taskRef": {"name": "b"}});
        let cancelled = json!({"taskRef": {"name": "a"}, "status": "TaskRunCancelled"});
        let foreign = json!({"taskRef": {"name": "a"}, "managedBy": "somebody"});
        assert_eq!(update(false, "", base.clone(), other.clone()), "");
        assert_eq!(update(true, "Unknown", base.clone(), cancelled.clone()), "");
        assert!(update(true, "Unknown", base.clone(), other).contains("only status and statusMessage"));
        assert!(update(true, "True", base.clone(), cancelled).contains("is complete"));
        assert!(update(false, "", base, foreign).contains("managedBy cannot be changed"));
    }
}
