//! The names that variables can use at some place, and whether the variables there use them rightly.

use std::collections::{BTreeMap, BTreeSet};

use ergon_template::{Kind, Name};
use serde::Serialize;

use super::Errors;
use crate::texts::variables_in;
use crate::variables::{Part, Variable, variables};
use crate::{Group, Param, ParamSpec, ParamType, suggest};

/// What is declared around a place. Parameters and workspaces come from further out as well: those of a run can be
/// used in the Task or Pipeline that is written out in it.
#[derive(Debug, Clone, Default)]
pub(super) struct Scope<'a> {
    outer: Option<&'a Scope<'a>>,
    params: BTreeMap<String, Known>,
    workspaces: BTreeSet<String>,
    /// Where more may be declared than is known here, what is not known is not reported under `tekton.dev`.
    is_partial: bool,
    /// What the tasks of a pipeline leave can be used here.
    is_in_pipeline: bool,
}

#[derive(Debug, Clone)]
struct Known {
    type_: ParamType,
    /// The keys of an object; none when they are not known.
    keys: Option<BTreeSet<String>>,
}

impl Known {
    fn declared(param: &ParamSpec) -> Self {
        let keys = (!param.properties.is_empty()).then(|| param.properties.keys().cloned().collect());
        Self { type_: param.effective_type(), keys }
    }

    fn set(param: &Param) -> Self {
        let keys = param.value.as_object().map(|map| map.keys().cloned().collect());
        Self { type_: param.value.type_(), keys }
    }
}

impl<'a> Scope<'a> {
    /// A scope that knows only what is added to it, and not all that may be declared.
    pub(super) fn partial() -> Self {
        Self { is_partial: true, ..Self::default() }
    }

    /// A scope inside this one.
    pub(super) fn inside(&'a self) -> Self {
        Self {
            outer: Some(self),
            is_partial: self.is_partial,
            is_in_pipeline: self.is_in_pipeline,
            ..Self::default()
        }
    }

    /// Makes it the scope of what is written out in a pipeline.
    pub(super) fn enter_pipeline(&mut self) {
        self.is_in_pipeline = true;
    }

    pub(super) fn is_in_pipeline(&self) -> bool {
        self.is_in_pipeline
    }

    /// What a tag in a script may do with a parameter's value; none where there is no such value.
    pub(super) fn name(&self, variable: &Variable) -> Option<Name> {
        let names = variable.names();
        let ["params", name, rest @ ..] = names.as_slice() else { return None };
        let known = self.param(name)?;
        let kind = match (known.type_, rest, variable.part) {
            (ParamType::Number, [], Part::Value) => Some(Kind::Number),
            (ParamType::Boolean, [], Part::Value) => Some(Kind::Boolean),
            // Only the step itself ever has it.
            (ParamType::Secret, [], Part::Value) => return Some(Name { late: true, ..Name::of(Kind::Text) }),
            (ParamType::String, [], Part::Value) | (ParamType::Array, [], Part::Item(_)) => Some(Kind::Text),
            (ParamType::Array, [], Part::Value) => Some(Kind::List),
            (ParamType::Object, [], Part::Value) => Some(Kind::Object),
            (ParamType::Object, [key], Part::Value) => {
                known.keys.as_ref().is_none_or(|keys| keys.contains(*key)).then_some(Kind::Text)
            }
            _ => None,
        };
        kind.map(Name::of)
    }

    /// The type of a parameter that a variable is the whole of.
    pub(super) fn type_of(&self, variable: &Variable) -> Option<ParamType> {
        match (variable.names().as_slice(), variable.part) {
            (["params", name], Part::Value | Part::All) => self.param(name).map(|known| known.type_),
            _ => None,
        }
    }

    /// The names of all parameters.
    pub(super) fn param_names(&self) -> BTreeSet<&str> {
        self.levels().flat_map(|level| level.params.keys().map(String::as_str)).collect()
    }

    /// The names of all workspaces.
    pub(super) fn workspace_names(&self) -> BTreeSet<&str> {
        self.levels().flat_map(|level| level.workspaces.iter().map(String::as_str)).collect()
    }

    /// Adds declared parameters; they win over those from further out.
    pub(super) fn declare(&mut self, params: &[ParamSpec]) {
        for param in params {
            self.params.insert(param.name.clone(), Known::declared(param));
        }
    }

    /// Adds declared parameters as Tekton does for what is written out in a run: values that are set keep their type.
    pub(super) fn combine(&mut self, params: &[ParamSpec]) {
        for param in params {
            match self.params.get_mut(&param.name) {
                Some(known) if known.type_ == ParamType::Object => known.keys = Known::declared(param).keys,
                Some(_) => {}
                None => {
                    self.params.insert(param.name.clone(), Known::declared(param));
                }
            }
        }
    }

    /// Adds parameters that are set without being declared here.
    pub(super) fn set(&mut self, params: &[Param]) {
        for param in params {
            // A text that is one variable may turn out to be a list or a map.
            let is_whole =
                param.value.as_str().is_some_and(|text| variables(text).iter().any(|v| v.is_alone));
            if is_whole && self.param(&param.name).is_some() {
                continue;
            }
            self.params.insert(param.name.clone(), Known::set(param));
        }
    }

    /// Adds parameters that a task of a pipeline sets, as Tekton does for what is written out in a run: to objects, keys
    /// are added.
    pub(super) fn add(&mut self, params: &[Param]) {
        for param in params {
            match self.params.get_mut(&param.name) {
                None => {
                    self.params.insert(param.name.clone(), Known::set(param));
                }
                Some(Known { keys: Some(keys), .. }) => {
                    keys.extend(param.value.as_object().into_iter().flat_map(BTreeMap::keys).cloned());
                }
                Some(_) => {}
            }
        }
    }

    /// Adds workspaces.
    pub(super) fn provide<'n>(&mut self, names: impl Iterator<Item = &'n str>) {
        self.workspaces.extend(names.map(str::to_owned));
    }

    /// True when a workspace of this name is declared or provided.
    pub(super) fn has_workspace(&self, name: &str) -> bool {
        self.levels().any(|level| level.workspaces.contains(name))
    }

    /// Names the workspaces, for messages.
    pub(super) fn workspace_help(&self, name: &str) -> String {
        declared("workspaces", name, self.workspace_names().iter().copied())
    }

    /// This scope, and those around it from the inside out.
    fn levels(&self) -> impl Iterator<Item = &Scope<'a>> {
        std::iter::successors(Some(self), |level| level.outer)
    }

    fn param(&self, name: &str) -> Option<&Known> {
        self.levels().find_map(|level| level.params.get(name))
    }

    /// Checks a variable that starts with `params` or `workspaces`. Returns false for any other.
    pub(super) fn check(&self, errors: &mut Errors, path: &str, variable: &Variable) -> bool {
        if errors.is_full() {
            return true;
        }
        match variable.names().as_slice() {
            ["params", name, rest @ ..] => {
                if errors.group == Group::Ergon || tekton_reads(path) {
                    self.check_param(errors, path, variable, name, rest);
                }
            }
            ["workspaces", name, field] => {
                errors.ours(|errors| self.check_workspace(errors, path, variable, name, field));
            }
            _ => return false,
        }
        true
    }

    fn check_workspace(&self, errors: &mut Errors, path: &str, variable: &Variable, name: &str, field: &str) {
        if !self.has_workspace(name) {
            // Conditions may ask for the `bound` of workspaces that are not there.
            if field != "bound" || !path.contains(".when[") {
                errors.add_with_help(
                    path,
                    format!("`{variable}` uses the workspace `{name}`, which is not declared"),
                    self.workspace_help(name),
                );
            }
        } else if !["path", "bound", "claim", "volume"].contains(&field) {
            errors.add_with_help(
                path,
                format!("`{variable}` uses `{field}`, which a workspace does not have"),
                "a workspace has path, bound, claim and volume",
            );
        }
    }

    fn check_param(&self, errors: &mut Errors, path: &str, variable: &Variable, name: &str, rest: &[&str]) {
        let unknown = || format!("non-existent variable in \"{variable}\"");
        let bad_type = || format!("variable type invalid in \"{variable}\"");
        let Some(known) = self.param(name) else {
            errors.ours_if(self.is_partial, |errors| self.unknown_param(errors, path, variable, name));
            return;
        };
        if rest.len() > 1 {
            errors.add(path, too_many_names(variable));
            return;
        }
        match (known.type_, rest, variable.part) {
            (ParamType::String | ParamType::Number | ParamType::Boolean, [], Part::Value)
            | (ParamType::Array, [], Part::Item(_)) => {}
            (ParamType::Secret, [], Part::Value) if variable.is_alone && takes_secret(path) => {}
            (ParamType::Secret, ..) => errors.ours(|errors| {
                errors.add_with_help(
                    path,
                    format!("`{variable}` puts a secret where it could be seen"),
                    "a secret stands alone in the `value` of a variable in `env`, alone as a parameter of a task, or in a \
                     tag of a script",
                );
            }),
            (type_ @ (ParamType::String | ParamType::Number | ParamType::Boolean), [], _) => errors.ours(|errors| {
                errors.add_with_help(
                    path,
                    bad_type(),
                    format!("the parameter `{name}` is {}: write `$(params.{name})`", crate::types::an(type_)),
                );
            }),
            (type_ @ (ParamType::Array | ParamType::Object), [], Part::Value | Part::All) => {
                let help = match type_ {
                    ParamType::Object => {
                        format!("`{name}` is an object: use one key, as in `$(params.{name}.<key>)`")
                    }
                    _ => format!(
                        "`{name}` is an array: use one item, as in `$(params.{name}[0])`, or the whole as an item of \
                         `args` or `command`"
                    ),
                };
                match Takes::at(path, errors.group, type_, variable.part) {
                    Takes::Whole if variable.is_alone => {}
                    Takes::Whole if type_ == ParamType::Array && !is_value(path) => errors.add_with_help(
                        path,
                        format!("variable is not properly isolated in \"{variable}\""),
                        "a whole array must be alone in its text: remove what stands before and after it",
                    ),
                    Takes::Whole => errors.add_with_help(
                        path,
                        bad_type(),
                        format!("a whole {type_} must be alone in its text: remove what stands before and after it"),
                    ),
                    Takes::WholeWithStar => errors.add_with_help(
                        path,
                        bad_type(),
                        format!("for the whole {type_}, write `$(params.{name}[*])`"),
                    ),
                    Takes::Text => errors.add_with_help(path, bad_type(), help),
                }
            }
            (ParamType::Object, [key], Part::Value) => {
                if let Some(keys) = &known.keys
                    && !keys.contains(*key)
                {
                    let help = declared("keys", key, keys.iter().map(String::as_str));
                    errors.add_with_help(path, unknown(), format!("`{name}` has no key `{key}`: {help}"));
                }
            }
            (type_, ..) => errors.ours(|errors| {
                errors.add_with_help(path, bad_type(), format!("the parameter `{name}` is of type {type_}"));
            }),
        }
    }

    fn unknown_param(&self, errors: &mut Errors, path: &str, variable: &Variable, name: &str) {
        let dotted = variable.path[1..].join(".");
        if self.param(&dotted).is_some() {
            let message = if variable.path.len() > 3 {
                too_many_names(variable)
            } else {
                format!("non-existent variable in \"{variable}\"")
            };
            let help = format!("a name with dots needs brackets: `$(params[\"{dotted}\"])`");
            errors.add_with_help(path, message, help);
            return;
        }
        let help = declared("parameters", name, self.param_names().iter().copied());
        errors.add_with_help(
            path,
            format!("non-existent variable in \"{variable}\""),
            format!("the parameter `{name}` is not declared: {help}"),
        );
    }
}

fn too_many_names(variable: &Variable) -> String {
    format!(
        "Invalid referencing of parameters in \"{variable}\"! Only two dot-separated components after the prefix \
         \"params\" are allowed."
    )
}

/// What can be put in at a place.
enum Takes {
    /// A text.
    Text,
    /// A whole list or map, when it is alone.
    Whole,
    /// A whole list or map, but it needs a `[*]`.
    WholeWithStar,
}

impl Takes {
    fn at(path: &str, group: Group, type_: ParamType, part: Part) -> Self {
        let takes = match group {
            Group::Ergon if type_ == ParamType::Object => {
                path.contains(".params[") || path.contains(".matrix.")
            }
            Group::Ergon => [".args[", ".command[", ".params[", ".when[", ".matrix."]
                .iter()
                .any(|place| path.contains(place)),
            Group::Tekton if is_value(path) || path.contains(".values[") => {
                let is_condition = path.contains(".values[");
                if (is_condition && type_ == ParamType::Object) || path.contains(".matrix.include[") {
                    return Self::Text;
                }
                return if part == Part::All { Self::Whole } else { Self::WholeWithStar };
            }
            Group::Tekton => {
                type_ == ParamType::Array
                    && (path.contains(".args[") || path.contains(".command[") || path.contains(".value["))
            }
        };
        if takes { Self::Whole } else { Self::Text }
    }
}

/// True for places where a secret can be handed on without being looked at.
fn takes_secret(path: &str) -> bool {
    let is_hidden = path.contains(".env[") || path.contains(".params[");
    path.ends_with("].value") && is_hidden && !path.contains(".matrix.") && !path.contains("ef.params[")
}

/// True for the value of a parameter, when it is one text.
fn is_value(path: &str) -> bool {
    path.ends_with("].value") && !path.contains(".env[")
}

/// True for places where Tekton checks variables when an object is admitted. Elsewhere it leaves what it does not know
/// as it is.
pub(super) fn tekton_reads(path: &str) -> bool {
    if path.contains(".sidecars[") {
        return false;
    }
    // It merges the environment of the template into the steps first.
    if path.contains(".stepTemplate.env[") {
        return last(path) == "value";
    }
    if let Some((_, field)) = path.rsplit_once(".steps[").and_then(|(_, rest)| rest.split_once("].")) {
        return tekton_reads_of_step(field);
    }
    let task = path.rfind(".tasks[").max(path.rfind(".finally["));
    let Some((_, field)) = task.and_then(|at| path[at..].split_once("].")) else {
        // A StepAction's fields are those of a step.
        return path.split_once('.').is_some_and(|(_, field)| tekton_reads_of_step(field));
    };
    let name = field.split(['.', '[']).next().unwrap_or_default();
    ["params", "when", "matrix"].contains(&name) && !["name", "cel"].contains(&last(field))
}

/// The name of a field.
pub(super) fn last(field: &str) -> &str {
    field.rsplit('.').next().unwrap_or_default()
}

fn tekton_reads_of_step(field: &str) -> bool {
    let name = field.split(['.', '[']).next().unwrap_or_default();
    match name {
        "name" | "image" | "workingDir" | "script" | "onError" | "command" | "args" => true,
        "env" => field.ends_with("].value"),
        "volumeMounts" => ["name", "mountPath", "subPath"].contains(&last(field)),
        _ => false,
    }
}

/// "did you mean", or what there is.
pub(super) fn declared<'a>(what: &str, name: &str, names: impl Iterator<Item = &'a str> + Clone) -> String {
    if let Some(near) = suggest::nearest(name, names.clone()) {
        return format!("did you mean `{near}`?");
    }
    let names: BTreeSet<&str> = names.filter(|name| !name.is_empty()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    if names.is_empty() {
        format!("no {what} are declared")
    } else {
        format!("the {what} are {}", names.join(", "))
    }
}

/// Calls `visit` with every variable in every text of a part of an object, and its path. Descriptions are for people:
/// variables in them mean nothing.
pub(super) fn each_variable(path: &str, part: &impl Serialize, visit: impl FnMut(&str, &Variable)) {
    each_variable_except(path, part, &[], visit);
}

/// [`each_variable`] without some of the part's own fields.
pub(super) fn each_variable_except(
    path: &str,
    part: &impl Serialize,
    except: &[&str],
    mut visit: impl FnMut(&str, &Variable),
) {
    for (field, variable) in variables_in(part, except) {
        if field.rsplit('.').next() == Some("description") {
            continue;
        }
        let dot = if field.is_empty() || field.starts_with('[') { "" } else { "." };
        visit(&format!("{path}{dot}{field}"), &variable);
    }
}
