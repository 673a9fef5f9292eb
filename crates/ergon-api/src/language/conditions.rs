//! Conditions in CEL: each name in one becomes a reference beside it, as the names in a script do.

use std::collections::BTreeMap;

use super::named;
use crate::variables::variables;
use crate::{ParamSpec, ParamType, PipelineSpec, ScriptValue, TaskSpec};

/// Has the conditions of a task's steps refer to what they name. `outer`: the parameters of the pipeline around it.
pub(super) fn bind_steps(task: &mut TaskSpec, outer: &[ParamSpec]) {
    let params = &task.params;
    let type_of = |reference: &str| {
        named(reference, params).or_else(|| named(reference, outer)).map(ParamSpec::effective_type)
    };
    for when in task.steps.iter_mut().flat_map(|step| &mut step.when) {
        bind(when.cel.as_deref(), &mut when.cel_values, &type_of);
    }
}

/// The same for the tasks of a pipeline, and for the filters of their matrices.
pub(super) fn bind_tasks(pipeline: &mut PipelineSpec) {
    // The types of results, as far as the tasks are written out here.
    let results: BTreeMap<String, ParamType> = pipeline
        .all_tasks()
        .filter_map(|task| Some((task, task.task_spec.as_ref()?)))
        .flat_map(|(task, spec)| spec.task.results.iter().map(move |result| (task, result)))
        .map(|(task, result)| {
            (format!("$(tasks.{}.results.{})", task.name, result.name), result.effective_type())
        })
        .collect();
    let params = &pipeline.params;
    let type_of = |reference: &str| {
        named(reference, params).map(ParamSpec::effective_type).or_else(|| results.get(reference).copied())
    };
    for task in pipeline.tasks.iter_mut().chain(&mut pipeline.finally) {
        for when in &mut task.when {
            bind(when.cel.as_deref(), &mut when.cel_values, &type_of);
        }
        if let Some(matrix) = &mut task.matrix {
            bind(matrix.filter.as_deref(), &mut matrix.filter_values, &type_of);
        }
    }
}

/// `workspaces.cache.bound`.
fn is_bound(name: &str) -> bool {
    name.strip_prefix("workspaces.")
        .and_then(|rest| rest.rsplit_once('.'))
        .is_some_and(|(_, field)| field == "bound")
}

fn bind(
    text: Option<&str>,
    bound: &mut Option<BTreeMap<String, ScriptValue>>,
    type_of: &dyn Fn(&str) -> Option<ParamType>,
) {
    // One with references is as Tekton has it.
    let Some(text) = text.filter(|text| variables(text).is_empty()) else { return };
    let mut values = bound.take().unwrap_or_default();
    // One that is none is told where it is checked, and where it is evaluated.
    for used in ergon_cel::used(text).unwrap_or_default() {
        // A combination's own are known when it is made.
        if used.name.starts_with("matrix.") {
            continue;
        }
        let reference = format!("$({})", used.name);
        let type_ = match used.name.as_str() {
            "context.task.retry-count" => Some(ParamType::Number),
            name if is_bound(name) => Some(ParamType::Boolean),
            _ => type_of(&reference),
        };
        let type_ = type_.filter(|type_| matches!(type_, ParamType::Number | ParamType::Boolean));
        let value = ScriptValue { reference: Some(reference), type_, ..ScriptValue::default() };
        values.entry(used.name).or_insert(value);
    }
    *bound = Some(values);
}
