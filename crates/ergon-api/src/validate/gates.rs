//! What the installation's flags do not allow. By default they allow everything.

use super::Errors;
use super::scope::each_variable;
use crate::config::ApiFields::{Alpha, Beta};
use crate::{
    Param, ParamSpec, PipelineRunSpec, PipelineSpec, PipelineTask, StepActionSpec, TaskRunSpec, TaskSpec,
    WhenExpression,
};

/// Checks a Task.
pub(super) fn task(errors: &mut Errors, path: &str, spec: &TaskSpec) {
    params(errors, path, &spec.params);
    for (index, step) in spec.steps.iter().enumerate() {
        let path = format!("{path}.steps[{index}]");
        if let Some(step_ref) = &step.ref_ {
            let name = step_ref.name.as_deref();
            target(errors, &format!("{path}.ref"), name, step_ref.resolver.as_deref(), &step_ref.params);
        }
        script(errors, &path, step.script.as_deref());
        for (field, what, wanted, is_set) in [
            ("workspaces", "step workspaces", Beta, !step.workspaces.is_empty()),
            ("stdoutConfig", "step stdout stream support", Alpha, step.stdout_config.is_some()),
            ("stderrConfig", "step stderr stream support", Alpha, step.stderr_config.is_some()),
        ] {
            if is_set {
                errors.gate(format!("{path}.{field}"), what, wanted);
            }
        }
        when(errors, &path, &step.when);
        if !errors.config.features.artifacts {
            artifacts(errors, &path, step);
        }
    }
    for (index, sidecar) in spec.sidecars.iter().enumerate() {
        if !sidecar.workspaces.is_empty() {
            errors.gate(format!("{path}.sidecars[{index}].workspaces"), "sidecar workspaces", Beta);
        }
    }
}

/// Checks a StepAction.
pub(super) fn step_action(errors: &mut Errors, path: &str, spec: &StepActionSpec) {
    params(errors, path, &spec.params);
    script(errors, path, spec.script.as_deref());
}

/// Checks a Pipeline.
pub(super) fn pipeline(errors: &mut Errors, path: &str, spec: &PipelineSpec) {
    params(errors, path, &spec.params);
    for (field, tasks) in [("tasks", &spec.tasks), ("finally", &spec.finally)] {
        for (index, task) in tasks.iter().enumerate() {
            pipeline_task(errors, &format!("{path}.{field}[{index}]"), task);
        }
    }
}

fn pipeline_task(errors: &mut Errors, path: &str, spec: &PipelineTask) {
    let inline = errors.config.features.disable_inline_spec.pipeline;
    if let Some(task_ref) = &spec.task_ref
        && !task_ref.is_custom_task()
    {
        let name = task_ref.name.as_deref();
        target(errors, &format!("{path}.taskRef"), name, task_ref.resolver.as_deref(), &task_ref.params);
    }
    if spec.pipeline_ref.is_some() {
        errors.gate(format!("{path}.pipelineRef"), "pipelineRef", Alpha);
    }
    if let Some(embedded) = &spec.task_spec {
        disallowed(errors, path, "taskSpec", inline);
        if !embedded.is_custom_task() {
            task(errors, &format!("{path}.taskSpec"), &embedded.task);
        }
    }
    if let Some(embedded) = &spec.pipeline_spec {
        disallowed(errors, path, "pipelineSpec", inline);
        errors.gate(format!("{path}.pipelineSpec"), "pipelineSpec", Alpha);
        pipeline(errors, &format!("{path}.pipelineSpec"), embedded);
    }
    if spec.on_error.as_deref().is_some_and(|text| !text.starts_with("$(params")) {
        errors.gate(format!("{path}.onError"), "OnError", Beta);
    }
    if spec.matrix.is_some() {
        errors.gate(format!("{path}.matrix"), "matrix", Beta);
    }
    when(errors, path, &spec.when);
    if !errors.config.features.artifacts {
        artifacts(errors, &format!("{path}.params"), &spec.params);
    }
}

/// Checks a TaskRun.
pub(super) fn task_run(errors: &mut Errors, spec: &TaskRunSpec) {
    if let Some(task_ref) = &spec.task_ref {
        let name = task_ref.name.as_deref();
        target(errors, "spec.taskRef", name, task_ref.resolver.as_deref(), &task_ref.params);
    }
    if let Some(inline) = &spec.task_spec {
        disallowed(errors, "spec", "taskSpec", errors.config.features.disable_inline_spec.task_run);
        task(errors, "spec.taskSpec", inline);
    }
    if spec.debug.is_some() {
        errors.gate("spec.debug", "debug", Alpha);
    }
    let resources = spec.compute_resources.is_some();
    overrides(errors, "spec", !spec.step_specs.is_empty(), !spec.sidecar_specs.is_empty(), resources);
}

/// Checks a PipelineRun.
pub(super) fn pipeline_run(errors: &mut Errors, spec: &PipelineRunSpec) {
    if let Some(pipeline_ref) = &spec.pipeline_ref {
        let name = pipeline_ref.name.as_deref();
        target(errors, "spec.pipelineRef", name, pipeline_ref.resolver.as_deref(), &pipeline_ref.params);
    }
    if let Some(inline) = &spec.pipeline_spec {
        disallowed(errors, "spec", "pipelineSpec", errors.config.features.disable_inline_spec.pipeline_run);
        pipeline(errors, "spec.pipelineSpec", inline);
    }
    for (index, own) in spec.task_run_specs.iter().enumerate() {
        let path = format!("spec.taskRunSpecs[{index}]");
        let resources = own.compute_resources.is_some();
        overrides(errors, &path, !own.step_specs.is_empty(), !own.sidecar_specs.is_empty(), resources);
    }
}

fn overrides(errors: &mut Errors, path: &str, steps: bool, sidecars: bool, resources: bool) {
    for (field, is_set) in [("stepSpecs", steps), ("sidecarSpecs", sidecars), ("computeResources", resources)]
    {
        if is_set {
            errors.gate(format!("{path}.{field}"), field, Beta);
        }
    }
}

fn params(errors: &mut Errors, path: &str, params: &[ParamSpec]) {
    let is_on = errors.config.features.param_enum;
    for (index, param) in params.iter().enumerate() {
        if !param.enum_.is_empty() {
            errors.flag(format!("{path}.params[{index}].enum"), "Enum", "enable-param-enum", is_on);
        }
    }
}

fn when(errors: &mut Errors, path: &str, when: &[WhenExpression]) {
    let is_on = errors.config.features.cel_in_when;
    for (index, expression) in when.iter().enumerate() {
        if let Some(cel) = &expression.cel {
            let what = format!("CEL: {cel} in WhenExpression");
            errors.flag(format!("{path}.when[{index}].cel"), &what, "enable-cel-in-whenexpression", is_on);
        }
    }
}

fn target(errors: &mut Errors, path: &str, name: Option<&str>, resolver: Option<&str>, params: &[Param]) {
    if resolver.is_some() {
        errors.gate(format!("{path}.resolver"), "resolver", Beta);
    }
    if !params.is_empty() {
        errors.gate(format!("{path}.params"), "resolver params", Beta);
    }
    if name.is_some_and(|name| name.contains("://")) {
        let is_on = errors.config.features.concise_resolver_syntax;
        let what = "concise resolver syntax";
        errors.flag(format!("{path}.name"), what, "enable-concise-resolver-syntax", is_on);
    }
}

fn script(errors: &mut Errors, path: &str, script: Option<&str>) {
    if script.is_some_and(|script| script.trim_start().starts_with("#!win")) {
        errors.gate(format!("{path}.script"), "windows script support", Alpha);
    }
}

fn disallowed(errors: &mut Errors, path: &str, field: &str, is_disabled: bool) {
    if is_disabled {
        errors.add_with_help(
            format!("{path}.{field}"),
            "must not set the field(s)",
            "the installation has turned specs inside of others off: `disable-inline-spec` in ConfigMap `feature-flags`",
        );
    }
}

fn artifacts<T: serde::Serialize>(errors: &mut Errors, path: &str, value: &T) {
    let mut places = Vec::new();
    each_variable(path, value, |path, variable| {
        if matches!(
            variable.names().as_slice(),
            ["artifacts", "path"]
                | ["step", "artifacts", "path"]
                | ["steps" | "tasks", _, "inputs" | "outputs", ..]
        ) {
            places.push(path.to_owned());
        }
    });
    for place in places {
        errors.flag(place, "artifacts feature.", "enable-artifacts", false);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use crate::config::ConfigName;
    use crate::validate::summary;
    use crate::{Config, PipelineRun, TaskRun, Validate};

    fn config(key: &str, value: &str) -> Config {
        let mut config = Config::default();
        let data = BTreeMap::from([(key.to_owned(), value.to_owned())]);
        assert_eq!(config.take(ConfigName::FeatureFlags, &data), []);
        config
    }

    #[test]
    fn each_gate_closes_what_it_is_for() {
        let step = json!({"name": "a", "image": "i", "script": "x"});
        let with = |field: &str, value: serde_json::Value| {
            let mut step = step.clone();
            step[field] = value;
            json!({"pipelineSpec": {"tasks": [{"name": "t", "taskSpec": {
                "workspaces": [{"name": "w", "optional": true}], "steps": [step]}}]}})
        };
        let task = |field: &str, value: serde_json::Value| {
            let mut task = json!({"name": "t", "taskRef": {"name": "x"}});
            task[field] = value;
            json!({"pipelineSpec": {"tasks": [task]}})
        };
        let nested = json!({"pipelineSpec": {"tasks": [
            {"name": "t", "pipelineSpec": {"tasks": [{"name": "u", "taskRef": {"name": "x"}}]}}]}});
        for (key, value, spec, expected) in [
            (
                "enable-api-fields",
                "beta",
                with("stdoutConfig", json!({"path": "x"})),
                "step stdout stream support requires \"enable-api-fields\" feature gate to be \"alpha\" but it is \"beta\": \
                 spec.pipelineSpec.tasks[0].taskSpec.steps[0].stdoutConfig",
            ),
            (
                "enable-api-fields",
                "stable",
                with("workspaces", json!([{"name": "w"}])),
                "step workspaces requires \"enable-api-fields\" feature gate to be \"alpha\" or \"beta\" but it is \"stable\"",
            ),
            ("enable-api-fields", "beta", nested.clone(), "pipelineSpec requires"),
            (
                "enable-api-fields",
                "stable",
                task("matrix", json!({"params": [{"name": "p", "value": ["a"]}]})),
                "matrix requires",
            ),
            ("enable-api-fields", "stable", task("onError", json!("continue")), "OnError requires"),
            (
                "enable-api-fields",
                "stable",
                json!({"pipelineRef": {"resolver": "git", "params": []}}),
                "resolver requires",
            ),
            (
                "enable-cel-in-whenexpression",
                "false",
                task("when", json!([{"cel": "true"}])),
                "feature flag enable-cel-in-whenexpression should be set to true to use CEL: true in WhenExpression",
            ),
            (
                "enable-artifacts",
                "false",
                with("args", json!(["$(steps.a.outputs.x)"])),
                "feature flag enable-artifacts",
            ),
            (
                "disable-inline-spec",
                "pipeline",
                nested,
                "must not set the field(s): spec.pipelineSpec.tasks[0].pipelineSpec",
            ),
            (
                "disable-inline-spec",
                "pipelinerun",
                task("retries", json!(1)),
                "must not set the field(s): spec.pipelineSpec",
            ),
        ] {
            let run: PipelineRun =
                serde_json::from_value(json!({"metadata": {"name": "r"}, "spec": spec})).unwrap();
            let open = summary(&run.validate(&Config::default()));
            let closed = summary(&run.validate(&config(key, value)));
            assert!(!open.contains(expected), "{open}");
            assert!(closed.contains(expected), "{key} {value}: {closed}");
        }
    }

    #[test]
    fn gates_of_task_runs() {
        for (key, value, spec, expected) in [
            ("enable-api-fields", "beta", json!({"taskRef": {"name": "t"}, "debug": {}}), "debug requires"),
            (
                "enable-api-fields",
                "stable",
                json!({"taskRef": {"name": "t"}, "computeResources": {}}),
                "computeResources requires",
            ),
            (
                "enable-param-enum",
                "false",
                json!({"taskSpec": {"params": [{"name": "p", "enum": ["a"]}], "steps": [{"image": "i"}]}}),
                "feature flag enable-param-enum should be set to true to use Enum: spec.taskSpec.params[0].enum",
            ),
            (
                "disable-inline-spec",
                "taskrun",
                json!({"taskSpec": {"steps": [{"image": "i"}]}}),
                "must not set",
            ),
            (
                "enable-concise-resolver-syntax",
                "false",
                json!({"taskRef": {"name": "https://host/x", "resolver": "http"}}),
                "feature flag enable-concise-resolver-syntax should be set to true",
            ),
        ] {
            let run: TaskRun =
                serde_json::from_value(json!({"metadata": {"name": "r"}, "spec": spec})).unwrap();
            let open = summary(&run.validate(&Config::default()));
            let closed = summary(&run.validate(&config(key, value)));
            assert!(!open.contains(expected), "{open}");
            assert!(closed.contains(expected), "{key} {value}: {closed}");
        }
    }
}
