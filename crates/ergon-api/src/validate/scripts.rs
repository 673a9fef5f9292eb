//! Scripts with tags, under `ergon.dev`: every name is one that there is, and every value stands where it can.

use std::collections::{BTreeMap, BTreeSet};

use ergon_template::{Kind, Name, Template, Used};

use super::scope::Scope;
use super::tags::with_tags;
use super::{Errors, FieldError};
use crate::language::{is_constrained, is_template, known, reference};
use crate::variables::{Variable, variables};
use crate::{Group, ParamSpec, ParamType, ScriptValue, Step, StepActionSpec, StepResult, TaskSpec, suggest};

/// What a script can name besides parameters and workspaces, as patterns: `*` stands for any name.
pub(super) struct Own<'a> {
    names: BTreeSet<String>,
    params: &'a [ParamSpec],
    is_in_pipeline: bool,
    sees_steps: bool,
}

const OF_ANY: [&str; 3] = ["step.artifacts.path", "artifacts.path", "credentials.path"];
const OF_RUN: [&str; 5] = [
    "context.task.name",
    "context.task.retry-count",
    "context.taskRun.name",
    "context.taskRun.namespace",
    "context.taskRun.uid",
];
const OF_PIPELINE: [&str; 5] = [
    "context.pipeline.name",
    "context.pipelineRun.name",
    "context.pipelineRun.namespace",
    "context.pipelineRun.uid",
    "context.pipelineTask.retries",
];
const ROOTS: &str = "`params.`, `results.`, `workspaces.`, `steps.`";
const OF_WORKSPACE: [&str; 4] = ["path", "bound", "claim", "volume"];

impl<'a> Own<'a> {
    /// Of the step at this place of a task.
    pub(super) fn of_task(spec: &'a TaskSpec, at: usize, scope: &Scope<'_>) -> Self {
        let mut names = of_any(scope, spec.steps.get(at).map_or(&[], |step| step.results.as_slice()));
        names.extend(OF_RUN.map(str::to_owned));
        names.extend(spec.results.iter().map(|result| format!("results.{}.path", result.name)));
        for workspace in scope.workspace_names() {
            names.extend(OF_WORKSPACE.map(|field| format!("workspaces.{workspace}.{field}")));
        }
        for step in spec.steps.iter().take(at) {
            names.extend(
                step.results.iter().map(|result| format!("steps.{}.results.{}", step.name, result.name)),
            );
            names.insert(format!("steps.step-{}.exitCode.path", step.name));
        }
        let is_in_pipeline = scope.is_in_pipeline();
        if is_in_pipeline {
            names.extend(OF_PIPELINE.map(str::to_owned));
        }
        Self { names, params: &spec.params, is_in_pipeline, sees_steps: true }
    }

    /// Of a sidecar, which begins before all steps.
    pub(super) fn of_sidecar(spec: &'a TaskSpec, scope: &Scope<'_>) -> Self {
        let mut own = Self::of_task(spec, 0, scope);
        own.names.retain(|name| !name.starts_with("step"));
        Self { sees_steps: false, ..own }
    }

    /// Of a StepAction.
    pub(super) fn of_action(action: &'a StepActionSpec, scope: &Scope<'_>) -> Self {
        let mut names = of_any(scope, &action.results);
        names.extend(OF_RUN.map(str::to_owned));
        Self { names, params: &action.params, is_in_pipeline: false, sees_steps: true }
    }

    /// Whether there is such a name, and nothing else to check about it.
    fn has(&self, name: &str, variable: &Variable) -> bool {
        match variable.names().as_slice() {
            ["params", ..] | ["workspaces", _, _] | ["results", _, "path"] => true,
            ["step", "results", _, "path"]
            | ["steps", _, "exitCode", "path"]
            | ["steps", _, "results", _, ..]
            | ["steps", _, "inputs" | "outputs", _] => self.sees_steps,
            ["tasks", ..] => self.is_in_pipeline,
            _ => self.names.contains(name),
        }
    }
}

fn of_any(scope: &Scope<'_>, results: &[StepResult]) -> BTreeSet<String> {
    let params = scope.param_names().into_iter().map(|name| format!("params.{name}"));
    let results = results.iter().map(|result| format!("step.results.{}.path", result.name));
    params.chain(results).chain(OF_ANY.map(str::to_owned)).collect()
}

type Bound = Option<BTreeMap<String, ScriptValue>>;

/// The script, if it is a template here.
fn template<'a>(errors: &Errors, script: Option<&'a str>, bound: &Bound) -> Option<&'a str> {
    let reads = bound.is_some() || !errors.is_read_already;
    script.filter(|script| errors.group == Group::Ergon && reads && is_template(script))
}

/// The fields of a step whose references are no references: `script`, where it is a template.
pub(super) fn read_elsewhere(
    errors: &Errors,
    script: Option<&str>,
    bound: &Bound,
) -> &'static [&'static str] {
    if template(errors, script, bound).is_some() { &["script", "scriptValues"] } else { &[] }
}

/// Calls `visit` with every name in a script's tags whose value is not known yet. What it finds wrong is put at the
/// tag, in the tag's words.
pub(super) fn each_name(
    errors: &mut Errors,
    path: &str,
    step: &Step,
    mut visit: impl FnMut(&mut Errors, &str, &Variable),
) {
    let Some(script) = template(errors, step.script.as_deref(), &step.script_values) else { return };
    let known = known(step);
    for used in Template::names(script).unwrap_or_default() {
        let Some(variable) = variable(&used.name) else { continue };
        if !known.contains_key(used.name.as_str()) {
            at_tag(errors, &used, &variable, |errors| visit(errors, path, &variable));
        }
    }
}

/// Checks the script of a step, if it is a template. `visit` checks a name as a reference.
pub(super) fn check(
    errors: &mut Errors,
    path: &str,
    step: &Step,
    own: &Own<'_>,
    scope: &Scope<'_>,
    visit: &mut impl FnMut(&mut Errors, &str, &Variable),
) {
    let Some(script) = template(errors, step.script.as_deref(), &step.script_values) else { return };
    let before = errors.found.len();
    let known = known(step);
    let used = match Template::names(script) {
        Ok(used) => used,
        Err(error) => return refuse(errors, path, &error),
    };
    check_mixed(errors, path, script);
    let mut names = BTreeMap::new();
    for used in used {
        if let Some(value) = known.get(used.name.as_str()) {
            let kind = match value.0.type_() {
                ParamType::Array => Kind::List,
                ParamType::Object => Kind::Object,
                _ => match typed(step, &used.name) {
                    Some(ParamType::Number) => Kind::Number,
                    Some(ParamType::Boolean) => Kind::Boolean,
                    _ => Kind::Text,
                },
            };
            let late = value.0.type_() == ParamType::Secret;
            names.insert(used.name, Name { late, ..Name::of(kind) });
            continue;
        }
        let Some(variable) = variable(&used.name).filter(|variable| own.has(&used.name, variable)) else {
            let help = match suggest::nearest(&used.name, own.names.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None if own.is_in_pipeline => format!("names begin with {ROOTS}, `tasks.` or `context.`"),
                None => format!("names begin with {ROOTS} or `context.`"),
            };
            let message = format!("`{}` is not known here", used.name);
            errors.add_with_help(
                path,
                format!("{}: {message}", place(&used)),
                format!("{help}; for the text `{{{{` itself write `\\{{{{`"),
            );
            continue;
        };
        if let Some(name) = scope.name(&variable) {
            let constrained = is_constrained(&variable.to_string(), own.params);
            names.insert(used.name, Name { constrained, ..name });
            continue;
        }
        at_tag(errors, &used, &variable, |errors| visit(errors, path, &variable));
        names.insert(used.name, kind_of(&variable));
    }
    if errors.found.len() == before && !errors.is_full() {
        let taken = step.env.iter().map(|variable| variable.name.clone()).collect();
        if let Err(error) = Template::script(script, &names, &taken) {
            refuse(errors, path, &error);
        }
    }
}

/// What was bound with a name as its type.
fn typed(step: &Step, name: &str) -> Option<ParamType> {
    step.script_values.as_ref()?.get(name)?.type_
}

/// What a name stands for that is no parameter.
fn kind_of(variable: &Variable) -> Name {
    match variable.names().as_slice() {
        ["steps", _, "results" | "inputs" | "outputs", ..] => Name { late: true, ..Name::of(Kind::Text) },
        ["tasks", _, "results", ..] => Name::of(Kind::Any),
        ["workspaces", _, "bound"] => Name::of(Kind::Boolean),
        ["context", "task", "retry-count"] => Name::of(Kind::Number),
        _ => Name::of(Kind::Text),
    }
}

/// In a script with tags `$(…)` is the shell's own. What looks like a reference is surely meant as one.
fn check_mixed(errors: &mut Errors, path: &str, script: &str) {
    for variable in variables(script) {
        let names = variable.names();
        let roots = ["params", "results", "workspaces", "steps", "step", "tasks", "context", "inputs"];
        if names.len() > 1 && roots.contains(&names[0]) {
            let line = script[..variable.place.start].matches('\n').count() + 1;
            errors.add_with_help(
                path,
                format!(
                    "line {line}: `{variable}` in a script with `{{{{…}}}}`, where `$(…)` runs a command"
                ),
                format!("write `{{{{{}}}}}`", variable.text),
            );
        }
    }
}

fn variable(name: &str) -> Option<Variable> {
    variables(&reference(name)?).into_iter().next()
}

fn place(used: &Used) -> String {
    format!("line {}, column {}", used.line, used.column)
}

/// Does checks of a reference that was written as a tag.
fn at_tag(errors: &mut Errors, used: &Used, variable: &Variable, check: impl FnOnce(&mut Errors)) {
    let before = errors.found.len();
    check(errors);
    for error in &mut errors.found[before..] {
        let message = error.message.replace(&variable.to_string(), &format!("{{{{{}}}}}", used.name));
        error.message = format!("{}: {}", place(used), with_tags(&message));
        error.help = error.help.take().map(|help| with_tags(&help));
    }
}

fn refuse(errors: &mut Errors, path: &str, error: &ergon_template::Error) {
    errors.push(FieldError {
        path: path.to_owned(),
        message: format!("line {}, column {}: {}", error.line, error.column, error.found),
        help: Some(format!("write {}", error.instead)),
    });
}
