//! What is declared and not used.

use std::collections::BTreeSet;

use ergon_api::{ParamSpec, PipelineSpec, StepActionSpec, TaskSpec};
use serde_json::Value;

use crate::report::Report;
use crate::rule::{UNUSED_PARAM, UNUSED_WORKSPACE};
use crate::spec::{At, Uses, uses_of_action, uses_of_pipeline, uses_of_task};

pub(crate) fn task(report: &mut Report<'_>, at: &At<'_, TaskSpec>) {
    let uses = uses_of_task(at.group, at.spec);
    let texts = Texts::of(report, at.spec);
    params(report, &at.path, &at.spec.params, &uses, &texts, "Task");
    let bound = at.spec.steps.iter().flat_map(|step| &step.workspaces);
    let bound: BTreeSet<&str> = bound
        .chain(at.spec.sidecars.iter().flat_map(|sidecar| &sidecar.workspaces))
        .map(|usage| usage.name.as_str())
        .collect();
    for (index, workspace) in at.spec.workspaces.iter().enumerate() {
        let is_named = bound.contains(workspace.name.as_str())
            || names_workspace(&uses, &workspace.name)
            || texts.name("workspaces", &workspace.name);
        // A step may go there by the folder's own name.
        let place = workspace.effective_mount_path();
        if !is_named && !texts.all(at.spec).iter().any(|text| text.contains(&place)) {
            let message = format!("no step uses the workspace `{}`", workspace.name);
            report
                .at_value(&UNUSED_WORKSPACE, &format!("{}.workspaces[{index}].name", at.path), message)
                .help("remove it".to_owned());
        }
    }
}

pub(crate) fn action(report: &mut Report<'_>, at: &At<'_, StepActionSpec>) {
    let uses = uses_of_action(at.group, at.spec);
    let texts = Texts::of(report, at.spec);
    params(report, &at.path, &at.spec.params, &uses, &texts, "StepAction");
}

pub(crate) fn pipeline(report: &mut Report<'_>, at: &At<'_, PipelineSpec>) {
    let uses = uses_of_pipeline(at.group, at.spec);
    let texts = Texts::of(report, at.spec);
    params(report, &at.path, &at.spec.params, &uses, &texts, "Pipeline");
    let bound: BTreeSet<&str> = at
        .spec
        .all_tasks()
        .flat_map(|task| &task.workspaces)
        .map(|binding| binding.workspace.as_deref().unwrap_or(&binding.name))
        .collect();
    for (index, workspace) in at.spec.workspaces.iter().enumerate() {
        let is_named = names_workspace(&uses, &workspace.name) || texts.name("workspaces", &workspace.name);
        if !bound.contains(workspace.name.as_str()) && !is_named {
            let message = format!("no task uses the workspace `{}`", workspace.name);
            report
                .at_value(&UNUSED_WORKSPACE, &format!("{}.workspaces[{index}].name", at.path), message)
                .help("hand it to a task in its `workspaces`, or remove it".to_owned());
        }
    }
}

fn names_workspace(uses: &Uses, name: &str) -> bool {
    uses.iter()
        .any(|(_, variable)| matches!(variable.names().as_slice(), ["workspaces", used, ..] if *used == name))
}

fn params(
    report: &mut Report<'_>,
    path: &str,
    declared: &[ParamSpec],
    uses: &Uses,
    texts: &Texts,
    kind: &str,
) {
    if declared.is_empty() {
        return;
    }
    let used: BTreeSet<&str> = uses
        .iter()
        .filter(|(place, _)| !place.starts_with("params["))
        .filter_map(|(_, variable)| match variable.names().as_slice() {
            ["params", ..] => variable.path.get(1),
            ["inputs", "params", ..] => variable.path.get(2),
            _ => None,
        })
        .map(String::as_str)
        .collect();
    for (index, param) in declared.iter().enumerate() {
        if param.name.is_empty() || used.contains(param.name.as_str()) || texts.name("params", &param.name) {
            continue;
        }
        let message = format!("nothing in the {kind} uses the parameter `{}`", param.name);
        report
            .at_value(&UNUSED_PARAM, &format!("{path}.params[{index}].name"), message)
            .help("remove it, or use it".to_owned());
    }
}

/// Texts in which names stand alone, in no `$(…)` and in no tag: expressions.
struct Texts {
    expressions: Vec<String>,
}

impl Texts {
    fn of(report: &Report<'_>, spec: &impl serde::Serialize) -> Self {
        let mut expressions = Vec::new();
        if ["cel", "filter", "expression"].iter().any(|word| report.source.text.contains(word))
            && let Ok(value) = serde_json::to_value(spec)
        {
            collect(
                &value,
                &mut |name| ["cel", "filter", "expression"].contains(&name),
                false,
                &mut expressions,
            );
        }
        Self { expressions }
    }

    /// Whether an expression names a parameter or workspace.
    fn name(&self, root: &str, name: &str) -> bool {
        let dotted = format!("{root}.{name}");
        self.expressions.iter().any(|text| {
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            text.match_indices(&dotted).any(|(at, _)| !text[at + dotted.len()..].starts_with(is_name))
                || text.contains(&format!("{root}[\"{name}\"]"))
                || text.contains(&format!("{root}['{name}']"))
        })
    }

    /// All texts there are.
    #[expect(clippy::unused_self, reason = "what texts are is known here")]
    fn all(&self, spec: &TaskSpec) -> Vec<String> {
        let mut texts = Vec::new();
        if let Ok(value) = serde_json::to_value((&spec.steps, &spec.sidecars, &spec.step_template)) {
            collect(&value, &mut |_| false, true, &mut texts);
        }
        texts
    }
}

/// The texts in a value: those in fields that are wanted, or all.
fn collect(value: &Value, is_wanted: &mut impl FnMut(&str) -> bool, all: bool, texts: &mut Vec<String>) {
    match value {
        Value::String(text) if all => texts.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect(item, is_wanted, all, texts)),
        Value::Object(fields) => {
            for (name, field) in fields {
                let all = all || is_wanted(name);
                collect(field, is_wanted, all, texts);
            }
        }
        _ => {}
    }
}
