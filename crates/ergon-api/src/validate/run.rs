//! Runs: what they refer to, what they set, and what may change once they have started.

use super::scope::{Scope, declared, each_variable};
use super::{Errors, FieldError, params, pipeline, references, task};
use crate::{
    Config, CustomRunSpec, Duration, Group, Param, PipelineRun, PipelineRunSpec, PodTemplate, SetDefaults,
    TaskBreakpoints, TaskRun, TaskRunSidecarSpec, TaskRunSpec, TaskRunStepSpec, TimeoutFields,
    WorkspaceBinding,
};

/// Checks a TaskRun.
pub(super) fn check_task_run(errors: &mut Errors, run: &TaskRun) {
    let spec = &run.spec;
    if run.is_pending() && run.has_started() {
        errors.add("spec.status", "invalid value: TaskRun cannot be Pending after it is started");
    }
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
        errors.ours(|errors| {
            params::check_against(errors, "spec.params", &spec.params, &inline.params);
        });
    }
    params::check_values(errors, "spec.params", &spec.params);
    references::check_bindings(errors, "spec.workspaces", &spec.workspaces);
    check_attempts(errors, spec.retries, spec.timeout);
    if let (Some(message), None) = (&spec.status_message, spec.status) {
        errors.add_with_help(
            "spec.statusMessage",
            format!(
                "invalid value: statusMessage should not be set if status is not set, but it is currently set to {message}"
            ),
            "it says why `status` is `TaskRunCancelled`",
        );
    }
    if let Some(breakpoints) = spec.debug.as_ref().and_then(|debug| debug.breakpoints.as_ref()) {
        check_breakpoints(errors, "spec.debug.breakpoints", breakpoints);
    }
    check_pod_template(errors, "spec.podTemplate", spec.pod_template.as_ref());
    check_overrides(errors, "spec", &spec.step_specs, &spec.sidecar_specs, spec.compute_resources.is_some());
}

fn check_breakpoints(errors: &mut Errors, path: &str, breakpoints: &TaskBreakpoints) {
    // Tekton asks for onFailure even where there are beforeSteps alone; that is of no use to anybody.
    match breakpoints.on_failure.as_deref() {
        None if breakpoints.before_steps.is_empty() => errors.add(
            format!("{path}.onFailure"),
            "invalid value: onFailure breakpoint is empty, it is only allowed to be set as enabled",
        ),
        None | Some("enabled") => {}
        Some(other) => errors.add_with_help(
            format!("{path}.onFailure"),
            format!(
                "invalid value: {other} is not a valid onFailure breakpoint value, onFailure breakpoint is only allowed to \
                 be set as enabled"
            ),
            "write `enabled`, or remove the field",
        ),
    }
    for (index, step) in breakpoints.before_steps.iter().enumerate() {
        if breakpoints.before_steps[..index].contains(step) {
            errors.add(
                format!("{path}.beforeSteps[{index}]"),
                format!("before step must be unique, the same step: {step} is defined multiple times at"),
            );
        }
    }
}

/// Checks a PipelineRun.
pub(super) fn check_pipeline_run(errors: &mut Errors, run: &PipelineRun) {
    let spec = &run.spec;
    if run.is_pending() && run.has_started() {
        errors.add("spec.status", "invalid value: PipelineRun cannot be Pending after it is started");
    }
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
        pipeline::check(errors, "spec.pipelineSpec", inline, &pipeline::Around::Run(&scope));
        errors.ours(|errors| {
            params::check_against(errors, "spec.params", &spec.params, &inline.params);
        });
    }
    params::check_values(errors, "spec.params", &spec.params);
    check_no_results(errors, &spec.params);
    references::check_pipeline_bindings(errors, "spec.workspaces", &spec.workspaces);
    if let Some(timeouts) = &spec.timeouts {
        check_timeouts(errors, timeouts);
    }
    let template = spec.task_run_template.as_ref().and_then(|template| template.pod_template.as_ref());
    check_pod_template(errors, "spec.taskRunTemplate.podTemplate", template);
    for (index, settings) in spec.task_run_specs.iter().enumerate() {
        let path = format!("spec.taskRunSpecs[{index}]");
        check_pod_template(errors, &format!("{path}.podTemplate"), settings.pod_template.as_ref());
        errors.ours(|errors| check_task_name(errors, &path, spec, index));
        if let Some(timeout) = settings.timeout {
            check_task_timeout(errors, &format!("{path}.timeout"), timeout, spec.timeouts.as_ref());
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

/// Settings are for a task that the Pipeline has, and for each once. Tekton looks when the run starts.
fn check_task_name(errors: &mut Errors, path: &str, spec: &PipelineRunSpec, index: usize) {
    let name = spec.task_run_specs[index].pipeline_task_name.as_str();
    let path = format!("{path}.pipelineTaskName");
    if name.is_empty() {
        errors.add(path, "missing field(s)");
    } else if spec.task_run_specs[..index].iter().any(|other| other.pipeline_task_name == name) {
        errors.add(path, format!("task `{name}` has settings already"));
    } else if let Some(inline) = &spec.pipeline_spec
        && !inline.all_tasks().any(|task| task.name == name)
    {
        errors.add_with_help(
            path,
            format!("task `{name}` is not in the Pipeline"),
            declared("tasks", name, inline.all_tasks().map(|task| task.name.as_str())),
        );
    }
}

/// One task may not take longer than all of them together.
fn check_task_timeout(errors: &mut Errors, path: &str, timeout: Duration, timeouts: Option<&TimeoutFields>) {
    if timeout.is_negative() {
        errors.add(path, format!("invalid value: {timeout} should be >= 0"));
        return;
    }
    let (most, what) = match timeouts {
        Some(TimeoutFields { tasks: Some(tasks), .. }) => (*tasks, "pipeline tasks duration"),
        Some(TimeoutFields { pipeline: Some(pipeline), .. }) => (*pipeline, "pipeline duration"),
        _ => (errors.config.defaults.timeout, "default pipeline duration"),
    };
    if !most.is_zero() && timeout > most {
        errors.add(path, format!("invalid value: {timeout} should be <= {what} {most}"));
    }
}

/// The run's own parameters are there before any task has a result.
fn check_no_results(errors: &mut Errors, params: &[Param]) {
    for (index, param) in params.iter().enumerate() {
        each_variable(&format!("spec.params[{index}].value"), &param.value, |path, variable| {
            if let ["tasks" | "finally", _, "results", ..] = variable.names().as_slice() {
                errors.add(
                    path,
                    format!(
                        "invalid value: cannot use result expressions in [{}] as PipelineRun parameter values",
                        variable.text
                    ),
                );
            }
        });
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
    if let (Some(message), None) = (&spec.status_message, &spec.status) {
        errors.add(
            "spec.statusMessage",
            format!(
                "invalid value: statusMessage should not be set if status is not set, but it is currently set to {message}"
            ),
        );
    }
    params::check_values(errors, "spec.params", &spec.params);
    references::check_bindings(errors, "spec.workspaces", &spec.workspaces);
    errors.ours(|errors| check_attempts(errors, spec.retries, spec.timeout));
}

fn names(bindings: &[WorkspaceBinding]) -> impl Iterator<Item = &str> {
    bindings.iter().map(|binding| binding.name.as_str())
}

fn check_attempts(errors: &mut Errors, retries: Option<i32>, timeout: Option<Duration>) {
    if let Some(retries) = retries.filter(|retries| *retries < 0) {
        errors.add("spec.retries", format!("invalid value: {retries} should be >= 0"));
    }
    if let Some(timeout) = timeout.filter(|timeout| timeout.is_negative()) {
        errors.add("spec.timeout", format!("invalid value: {timeout} should be >= 0"));
    }
}

/// The parts of a run fit into the whole; zero stands for "no limit".
fn check_timeouts(errors: &mut Errors, timeouts: &TimeoutFields) {
    let parts = [("tasks", timeouts.tasks), ("finally", timeouts.finally), ("pipeline", timeouts.pipeline)];
    let negative = |timeout: &Duration| timeout.is_negative();
    if parts.iter().any(|(_, timeout)| timeout.as_ref().is_some_and(negative)) {
        for (name, timeout) in parts {
            if let Some(timeout) = timeout.filter(negative) {
                errors
                    .add(format!("spec.timeouts.{name}"), format!("invalid value: {timeout} should be >= 0"));
            }
        }
        return;
    }
    let whole = timeouts.pipeline.unwrap_or(errors.config.defaults.timeout);
    if whole.is_zero() {
        return;
    }
    let limit = if timeouts.pipeline.is_some() { "pipeline duration" } else { "default timeout duration" };
    let help = format!("the whole pipeline may take {whole}: raise `timeouts.pipeline`; `0` means no limit");
    let mut too_long = false;
    for (name, timeout) in &parts[..2] {
        let Some(timeout) = timeout else { continue };
        if timeout.is_zero() || *timeout > whole {
            let note = if timeout.is_zero() { " (no timeout)" } else { "" };
            errors.add_with_help(
                format!("spec.timeouts.{name}"),
                format!("invalid value: {timeout}{note} should be <= {limit}"),
                help.as_str(),
            );
            too_long = true;
        }
    }
    if let (Some(tasks), Some(finally), false) = (timeouts.tasks, timeouts.finally, too_long)
        && tasks.saturating_add(finally) > whole
    {
        for name in ["tasks", "finally"] {
            errors.add_with_help(
                format!("spec.timeouts.{name}"),
                format!("invalid value: {tasks} + {finally} should be <= {limit}"),
                help.as_str(),
            );
        }
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
    errors.one_each_ignoring_case(&format!("{path}.stepSpecs"), step_names());
    errors.one_each_ignoring_case(&format!("{path}.sidecarSpecs"), sidecar_names());
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
            format!(
                "expected exactly one, got both: {path}.stepSpecs[{index}].computeResources, {path}.computeResources"
            ),
        );
    }
}

/// What an update of a TaskRun does that it may not. A run that has ended does not change; one that has started
/// changes only in `status` and `statusMessage`; `managedBy` never changes. Under `tekton.dev` a run counts as started
/// when it is created.
pub fn task_run_update(old: &TaskRun, new: &TaskRun, config: &Config) -> Vec<FieldError> {
    let mut errors = Errors::new(new.group(), config);
    let fixed = |run: &TaskRun| TaskRunSpec {
        status: None,
        status_message: None,
        managed_by: None,
        ..with_defaults(run, new.group(), config).spec
    };
    if old.is_done() {
        if old.spec != new.spec && with_defaults(old, new.group(), config).spec != new.spec {
            errors.add("spec", "invalid value: Once the TaskRun is complete, no updates are allowed");
        }
    } else if (old.has_started() || new.group() == Group::Tekton) && fixed(old) != fixed(new) {
        errors.add(
            "spec",
            "invalid value: Once the TaskRun has started, only status and statusMessage updates are allowed",
        );
    }
    if old.spec.managed_by != new.spec.managed_by {
        errors.add("spec.managedBy", "invalid value: managedBy is immutable");
    }
    if old.has_started() && new.is_pending() {
        errors.add("spec.status", "invalid value: TaskRun cannot be Pending after it is started");
    }
    errors.found
}

/// What an update of a PipelineRun does that it may not. A run that has ended does not change; one that has started
/// changes only in `status`; `managedBy` never changes. Under `tekton.dev` a run counts as started when it is created.
pub fn pipeline_run_update(old: &PipelineRun, new: &PipelineRun, config: &Config) -> Vec<FieldError> {
    let mut errors = Errors::new(new.group(), config);
    let fixed = |run: &PipelineRun| PipelineRunSpec {
        status: None,
        managed_by: None,
        ..with_defaults(run, new.group(), config).spec
    };
    if old.is_done() {
        if old.spec != new.spec && with_defaults(old, new.group(), config).spec != new.spec {
            errors.add("spec", "invalid value: Once the PipelineRun is complete, no updates are allowed");
        }
    } else if (old.has_started() || new.group() == Group::Tekton) && fixed(old) != fixed(new) {
        errors
            .add("spec", "invalid value: Once the PipelineRun has started, only status updates are allowed");
    }
    if old.spec.managed_by != new.spec.managed_by {
        errors.add("spec.managedBy", "invalid value: managedBy is immutable");
    }
    if old.has_started() && new.is_pending() {
        errors.add("spec.status", "invalid value: PipelineRun cannot be Pending after it is started");
    }
    errors.found
}

/// What is stored may be from before today's defaults.
fn with_defaults<K: SetDefaults + Clone>(run: &K, group: Group, config: &Config) -> K {
    let mut run = run.clone();
    run.set_defaults(group, config);
    run
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
            let errors =
                task_run_update(&run(old, started, status), &run(new, started, status), &Config::default());
            super::super::summary(&errors)
        };
        let base = json!({"taskRef": {"name": "a"}});
        let other = json!({"taskRef": {"name": "b"}});
        let cancelled = json!({"taskRef": {"name": "a"}, "status": "TaskRunCancelled"});
        let foreign = json!({"taskRef": {"name": "a"}, "managedBy": "somebody"});
        assert_eq!(update(false, "", base.clone(), other.clone()), "");
        assert_eq!(update(true, "Unknown", base.clone(), cancelled.clone()), "");
        let frozen = "invalid value: Once the TaskRun has started, only status and statusMessage updates are allowed: spec";
        assert_eq!(update(true, "Unknown", base.clone(), other.clone()), frozen);
        let over = "invalid value: Once the TaskRun is complete, no updates are allowed: spec";
        assert_eq!(update(true, "True", base.clone(), cancelled), over);
        assert_eq!(
            update(false, "", base.clone(), foreign),
            "invalid value: managedBy is immutable: spec.managedBy"
        );
        let waiting = json!({"taskRef": {"name": "a"}, "status": "TaskRunPending"});
        assert_eq!(
            update(true, "Unknown", base.clone(), waiting),
            "invalid value: TaskRun cannot be Pending after it is started: spec.status"
        );
        // Today's defaults are no change; and Tekton takes no other change even before the start.
        let with_default = json!({"taskRef": {"name": "a", "kind": "Task"}, "timeout": "1h", "serviceAccountName": "default"});
        assert_eq!(update(true, "True", base.clone(), with_default), "");
        let tekton = |spec| TaskRun { api_version: "tekton.dev/v1".into(), ..run(spec, false, "") };
        assert_eq!(
            super::super::summary(&task_run_update(&tekton(base), &tekton(other), &Config::default())),
            frozen
        );
    }
}
