//! Ergon's own language, as far as it is found in the texts of a Task or Pipeline: tags in double braces.
//!
//! A script with a tag is a template. Here each name in its tags becomes a reference of its step, so that whoever looks
//! for references finds them, and whoever puts values in puts them beside the script and never into it. What the names
//! may be is checked by [`crate::validate`], and `ergon-engine` renders the script.

mod conditions;
mod fields;

use std::collections::BTreeMap;

use ergon_template::Template;

use crate::variables::variables;
use crate::{ParamSpec, ParamType, PipelineSpec, ScriptValue, Step, TaskSpec};

pub(crate) use fields::{Tags, action_tags, pipeline_tags, task_tags};
pub use fields::{is_read_already, refer_action, refer_pipeline, refer_task};

/// Whether a script under `ergon.dev` is a template.
pub fn is_template(script: &str) -> bool {
    script.contains("{{")
}

/// The reference that a name in a tag stands for: `$(params.list[0])` for `params.list.0`. None where it is no name.
pub fn reference(name: &str) -> Option<String> {
    let mut found = String::new();
    let mut rest = name;
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            let (key, after) = inner.split_once(']')?;
            rest = after.strip_prefix('.').unwrap_or(after);
            let key = key.trim_matches(['"', '\'']);
            let is_index = inner.starts_with(|c: char| c.is_ascii_digit() || c == '*');
            found += &if is_index { format!("[{key}]") } else { format!("[\"{key}\"]") };
            continue;
        }
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let (segment, after) = rest.split_at(end);
        let is_index = !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit());
        found += &match (found.is_empty(), is_index) {
            (true, _) => segment.to_owned(),
            (false, true) => format!("[{segment}]"),
            (false, false) => format!(".{segment}"),
        };
        rest = after.strip_prefix('.').unwrap_or(after);
    }
    let reference = format!("$({found})");
    variables(&reference).first().is_some_and(|variable| variable.is_alone).then_some(reference)
}

/// Has a step's script, if it is a template, refer to what its tags name. What refers already stays as it is. `params`
/// are those that the script sees.
pub fn bind_step(step: &mut Step, params: &[ParamSpec]) {
    bind(step.script.as_deref(), &mut step.script_values, params, &[]);
}

/// `outer`: the parameters of the pipeline around it, which it sees too.
fn bind(
    script: Option<&str>,
    bound: &mut Option<BTreeMap<String, ScriptValue>>,
    params: &[ParamSpec],
    outer: &[ParamSpec],
) {
    let Some(script) = script.filter(|script| is_template(script)) else { return };
    let mut values = bound.take().unwrap_or_default();
    // A tag that is none is told where the script is checked, and where it is rendered.
    for used in Template::names(script).unwrap_or_default() {
        if let Some(reference) = reference(&used.name) {
            let constrained = is_constrained(&reference, params);
            let type_ = named(&reference, params).or_else(|| named(&reference, outer));
            let type_ = type_.map(ParamSpec::effective_type);
            let type_ = type_.filter(|type_| matches!(type_, ParamType::Number | ParamType::Boolean));
            let value = ScriptValue { reference: Some(reference), value: None, constrained, type_ };
            values.entry(used.name).or_insert(value);
        }
    }
    *bound = Some(values);
}

/// Whether a reference can only be what the author has written down: one of some values, a number, or harmless text.
pub fn is_constrained(reference: &str, params: &[ParamSpec]) -> bool {
    named(reference, params).is_some_and(|param| match param.effective_type() {
        ParamType::Number | ParamType::Boolean => true,
        ParamType::String => {
            !param.enum_.is_empty() || param.pattern.as_deref().is_some_and(crate::types::is_plain)
        }
        _ => false,
    })
}

/// The parameter that a reference names as a whole.
fn named<'a>(reference: &str, params: &'a [ParamSpec]) -> Option<&'a ParamSpec> {
    let found = variables(reference);
    let names = found.first().map(crate::variables::Variable::names).unwrap_or_default();
    let ["params", name] = names.as_slice() else { return None };
    params.iter().find(|param| param.name == *name)
}

/// [`bind_step`] for all steps of a task, and for its sidecars.
pub fn bind_task(task: &mut TaskSpec) {
    bind_within(task, &[]);
}

fn bind_within(task: &mut TaskSpec, outer: &[ParamSpec]) {
    conditions::bind_steps(task, outer);
    for sidecar in &mut task.sidecars {
        bind(sidecar.script.as_deref(), &mut sidecar.script_values, &task.params, outer);
    }
    for step in &mut task.steps {
        bind(step.script.as_deref(), &mut step.script_values, &task.params, outer);
    }
}

/// [`bind_task`] for the tasks that are written out in a pipeline. Pipelines that are written out in it are left as they
/// are: they run as runs of their own.
pub fn bind_pipeline(pipeline: &mut PipelineSpec) {
    conditions::bind_tasks(pipeline);
    for task in pipeline.tasks.iter_mut().chain(&mut pipeline.finally) {
        if let Some(embedded) = &mut task.task_spec {
            bind_within(&mut embedded.task, &pipeline.params);
        }
    }
}

/// What is known already of a script's names: a run that a pipeline run made has the values of some.
pub(crate) fn known(step: &Step) -> BTreeMap<&str, &crate::Known> {
    let values = step.script_values.iter().flatten();
    values.filter_map(|(name, value)| Some((name.as_str(), value.value.as_ref()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_for_references() {
        for (name, wanted) in [
            ("params.version", Some("$(params.version)")),
            ("params.list.0", Some("$(params.list[0])")),
            ("params.list[0]", Some("$(params.list[0])")),
            ("params.list[*]", Some("$(params.list[*])")),
            ("params.[a.b]", Some("$(params[\"a.b\"])")),
            ("params[\"a.b\"]", Some("$(params[\"a.b\"])")),
            ("params['a.b'].key", Some("$(params[\"a.b\"].key)")),
            ("tasks.build-it.results.digest", Some("$(tasks.build-it.results.digest)")),
            ("params.", Some("$(params)")),
            ("params..a", None),
            ("params.[a", None),
        ] {
            assert_eq!(reference(name).as_deref(), wanted, "{name}");
        }
    }

    #[test]
    fn tags_become_references_of_their_step() {
        let mut task: TaskSpec = serde_json::from_value(serde_json::json!({
            "params": [{"name": "a", "enum": ["x", "y"]}, {"name": "b"}],
            "steps": [
                {"script": "echo {{params.a}} {{#each params.b as |i|}}{{i}}{{/each}}"},
                {"script": "echo $(params.a)"}
            ]
        }))
        .unwrap();
        bind_task(&mut task);
        let bound = task.clone();
        bind_task(&mut task);
        assert_eq!(task, bound);
        assert_eq!(
            serde_json::to_value(&task.steps[0].script_values).unwrap(),
            serde_json::json!({
                "params.a": {"reference": "$(params.a)", "constrained": true},
                "params.b": {"reference": "$(params.b)"}
            })
        );
        assert_eq!(task.steps[1].script_values, None);
    }

    #[test]
    fn what_is_known_has_no_references() {
        let mut step: Step =
            serde_json::from_value(serde_json::json!({"script": "{{params.a}} {{params.b}}"})).unwrap();
        bind_step(&mut step, &[]);
        let values = step.script_values.as_mut().unwrap();
        let known = ScriptValue {
            value: Some(crate::Known(crate::ParamValue::String("$(tasks.x.results.y)".to_owned()))),
            ..Default::default()
        };
        values.insert("params.a".to_owned(), known);
        let found: Vec<String> =
            crate::texts::variables_in(&step, &[]).into_iter().map(|(_, variable)| variable.text).collect();
        assert_eq!(found, ["params.b"]);
    }
}
