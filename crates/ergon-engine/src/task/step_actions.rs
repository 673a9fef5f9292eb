//! StepActions: steps that are defined elsewhere, and what becomes of them in a task.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use ergon_api::variables::{Part, Variable, variables};
use ergon_api::{
    Group, Param, ParamSpec, ParamValue, Provenance, RefSource, Step, StepActionSpec, StepRef, StepState,
    TaskRun, TaskSpec, reasons::task_run as reasons,
};

use super::inputs::{Invalid, list, reference_scope};
use super::paths::step_container;
use super::{params, status};
use crate::Library;
use crate::action::Need;
use crate::definitions;
use crate::expr::{Scope, expand_object, expand_value};

/// What is known of the StepAction that a step refers to.
pub enum Lookup<'a> {
    /// With the API group whose language it is written in, and where it was fetched from, if it was.
    Found(Group, &'a StepActionSpec, Option<&'a RefSource>),
    /// To be looked up first.
    Wanted(Need),
    /// A resolver is at it.
    Waiting,
}

/// Finds the StepAction of a reference.
///
/// # Errors
/// There is none.
pub fn look_up<'a>(
    group: Group,
    run: &TaskRun,
    reference: &StepRef,
    scope: &Scope,
    library: &'a Library,
) -> Result<Lookup<'a>, String> {
    match definitions::step_action(library, reference, scope) {
        None => {}
        Some(definitions::Lookup::Found(found)) => {
            return Ok(Lookup::Found(found.group.unwrap_or(group), &found.object.spec, found.source));
        }
        Some(definitions::Lookup::Need(need)) => return Ok(Lookup::Wanted(need)),
        Some(definitions::Lookup::Failed(_, failure)) => return Err(failure.to_string()),
        Some(_) => return Ok(Lookup::Waiting),
    }
    let Some(name) = reference.name.as_deref().filter(|name| !name.is_empty()) else {
        return Err("the reference names no StepAction: set `ref.name`".to_owned());
    };
    match library.step_actions.get(name) {
        None => Ok(Lookup::Wanted(Need::StepAction(name.to_owned()))),
        Some(Some(action)) => Ok(Lookup::Found(group, action, None)),
        Some(None) => Err(format!(
            "stepactions.{} \"{name}\" not found in namespace \"{}\"",
            group.name(),
            run.namespace()
        )),
    }
}

/// The StepActions of a task's steps, by the step's place, as far as they are known; and what has to be looked up.
#[derive(Debug, Default)]
pub struct Actions<'a> {
    pub found: BTreeMap<usize, (Group, &'a StepActionSpec)>,
    /// Where those came from that were fetched.
    sources: BTreeMap<usize, &'a RefSource>,
    pub wanted: Vec<Need>,
    /// Resolvers are fetching some of them.
    pub is_waiting: bool,
}

impl<'a> Actions<'a> {
    /// Finds all of them.
    ///
    /// # Errors
    /// A step refers to what is not there.
    pub fn of(group: Group, run: &TaskRun, task: &TaskSpec, library: &'a Library) -> Result<Self, Invalid> {
        let mut actions = Self::default();
        let mut wanted = BTreeSet::new();
        let scope = reference_scope(run, &task.params);
        for (at, step) in task.steps.iter().enumerate() {
            let Some(reference) = &step.ref_ else { continue };
            match look_up(group, run, reference, &scope, library) {
                Ok(Lookup::Found(language, action, source)) => {
                    actions.found.insert(at, (language, action));
                    actions.sources.extend(source.map(|source| (at, source)));
                }
                Ok(Lookup::Wanted(need)) => {
                    wanted.insert(need);
                }
                Ok(Lookup::Waiting) => actions.is_waiting = true,
                Err(message) => return Err(failed(step, at, &message)),
            }
        }
        actions.wanted = wanted.into_iter().collect();
        Ok(actions)
    }

    /// What the status says of steps before they run: where their StepActions came from. None where none was fetched,
    /// else all steps, since who follows them takes the list for the whole.
    pub fn origins(&self, task: &TaskSpec) -> Vec<StepState> {
        let from =
            |source: &&RefSource| Provenance { ref_source: Some((*source).clone()), ..Default::default() };
        let origin = |(at, step): (usize, &Step)| {
            let container = step_container(&step.name, at);
            let provenance = self.sources.get(&at).map(from);
            StepState { name: status::step_name(&container), container, provenance, ..Default::default() }
        };
        let steps = task.steps.iter().enumerate().filter(|_| !self.sources.is_empty());
        steps.map(origin).collect()
    }
}

/// The step with what its StepAction says, and every reference replaced. The StepAction sees its own parameters and
/// not the task's; the step's other settings see the task's.
///
/// # Errors
/// Parameters that do not fit those that the StepAction declares, and values that do not fit where they are used.
pub(super) fn merge(
    language: Group,
    step: &Step,
    at: usize,
    action: &StepActionSpec,
    scope: &Scope,
    action_scope: &Scope,
) -> Result<Step, Invalid> {
    let internal = |error: serde_json::Error| {
        failed(step, at, &format!("a value does not fit the field it is used in: {error}"))
    };
    let mut action = Cow::Borrowed(action);
    if language == Group::Ergon {
        ergon_api::language::refer_action(action.to_mut())
            .map_err(|error| failed(step, at, &error.to_string()))?;
    }
    let action = action.as_ref();
    let given = step
        .params
        .iter()
        .map(|param| Param { name: param.name.clone(), value: expand_value(&param.value, scope) });
    let mut own_scope = action_scope.clone();
    own_scope.extend(&params(language, step, at, &action.params, given.collect())?);
    let own = Step { ref_: None, params: Vec::new(), ..step.clone() };
    let own = expand_object(&own, scope).map_err(internal)?;
    let body = StepActionSpec { params: Vec::new(), description: None, script: None, ..action.clone() };
    let mut scripted = Step { script: action.script.clone(), ..Step::default() };
    if language == Group::Ergon {
        ergon_api::language::bind_step(&mut scripted, &action.params);
    }
    let scripted = expand_object(&scripted, &own_scope).map_err(internal)?;
    let body = expand_object(&body, &own_scope).map_err(internal)?;
    Ok(Step {
        image: body.image,
        command: body.command,
        args: body.args,
        script: scripted.script,
        script_values: scripted.script_values,
        env: body.env,
        working_dir: body.working_dir,
        results: body.results,
        security_context: body.security_context,
        volume_mounts: body.volume_mounts,
        ..own
    })
}

/// The StepAction's parameters: what the step gives, then the defaults, which may refer to other parameters.
fn params(
    language: Group,
    step: &Step,
    at: usize,
    declared: &[ParamSpec],
    given: Vec<Param>,
) -> Result<Scope, Invalid> {
    let known = |name: &str| declared.iter().find(|spec| spec.name == name);
    let extra: Vec<&str> =
        given.iter().map(|param| param.name.as_str()).filter(|name| known(name).is_none()).collect();
    if !extra.is_empty() {
        let declared = list(declared.iter().map(|spec| spec.name.as_str()));
        let extra = extra.join(" ");
        let message = format!(
            "extra params passed by Step to StepAction: [{extra}] (the StepAction declares: {declared})"
        );
        return Err(failed(step, at, &message));
    }
    let mut scope = Scope::default();
    let mut plain = Vec::new();
    let mut aliased = BTreeSet::new();
    for param in given {
        let default = known(&param.name).and_then(|spec| spec.default.as_ref());
        if let Some(result) = step_result(&param.value) {
            scope.alias(&["params", &param.name], &result);
            aliased.insert(param.name);
        } else if default.is_none_or(|default| default.type_() == param.value.type_())
            || !is_unknown(&param.value)
        {
            plain.push(param);
        }
        // A reference to nothing is no value where there is a default of another type.
    }
    let declared: Vec<ParamSpec> =
        declared.iter().filter(|spec| !aliased.contains(&spec.name)).cloned().collect();
    let missing: Vec<&str> = declared
        .iter()
        .filter(|spec| spec.default.is_none() && plain.iter().all(|param| param.name != spec.name))
        .map(|spec| spec.name.as_str())
        .collect();
    if !missing.is_empty() {
        return Err(failed(step, at, &format!("non-existent params in Step: [{}]", missing.join(" "))));
    }
    let values = params::resolve(language, &declared, &plain)
        .map_err(|problem| failed(step, at, &problem.of("the StepAction")))?;
    let mut later = Vec::new();
    for (name, value) in values {
        let is_default = plain.iter().all(|param| param.name != name);
        if is_default && !param_names(&value).is_empty() {
            later.push((name, value));
        } else {
            scope.set(&["params", &name], value);
        }
    }
    defaults(&mut scope, later, &declared, &aliased).map_err(|message| failed(step, at, &message))?;
    Ok(scope)
}

/// Adds defaults that refer to other parameters, each once those are known.
fn defaults(
    scope: &mut Scope,
    mut later: Vec<(String, ParamValue)>,
    declared: &[ParamSpec],
    aliased: &BTreeSet<String>,
) -> Result<(), String> {
    while !later.is_empty() {
        let waiting: BTreeSet<String> = later.iter().map(|(name, _)| name.clone()).collect();
        let (ready, rest): (Vec<_>, Vec<_>) =
            later.into_iter().partition(|(_, value)| param_names(value).is_disjoint(&waiting));
        if ready.is_empty() {
            let names = list(waiting.iter().map(String::as_str));
            return Err(format!("circular dependency detected in parameter references: {names}"));
        }
        for (name, value) in ready {
            let known =
                |other: &String| aliased.contains(other) || declared.iter().any(|spec| spec.name == *other);
            if let Some(other) = param_names(&value).iter().find(|other| !known(other)) {
                return Err(format!("parameter \"{name}\" references non-existent parameter \"{other}\""));
            }
            let value = expand_value(&value, scope);
            scope.set(&["params", &name], value);
        }
        later = rest;
    }
    Ok(())
}

/// The parameters that a value refers to.
fn param_names(value: &ParamValue) -> BTreeSet<String> {
    let names = value.texts().flat_map(variables).filter_map(|variable| match variable.path.as_slice() {
        [params, name, ..] if params == "params" => Some(name.clone()),
        _ => None,
    });
    names.collect()
}

/// The result of an earlier step that is the whole value, without `$(`, `[*]` and `)`.
fn step_result(value: &ParamValue) -> Option<String> {
    let variable = lone(value)?;
    let names = variable.names();
    let (["steps", _, "results", _], Part::Value | Part::All) = (names.as_slice(), variable.part) else {
        return None;
    };
    Some(variable.text.strip_suffix("[*]").unwrap_or(&variable.text).to_owned())
}

fn is_unknown(value: &ParamValue) -> bool {
    lone(value).is_some()
}

/// The reference that is all of a value: as a list's only item too, which is what `["$(…[*])"]` is.
fn lone(value: &ParamValue) -> Option<Variable> {
    let text = match value {
        ParamValue::String(text) => text,
        ParamValue::Array(items) => match items.as_slice() {
            [one] => one,
            _ => return None,
        },
        ParamValue::Object(_) | ParamValue::Secret(_) => return None,
    };
    variables(text).into_iter().next().filter(|variable| variable.is_alone)
}

fn failed(step: &Step, at: usize, message: &str) -> Invalid {
    Invalid::new(
        reasons::RESOLUTION_FAILED,
        format!("failed to resolve step ref for step \"{}\" (index {at}): {message}", step.name),
    )
}
