//! The names that variables can use at some place, and whether the variables there use them rightly.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::Errors;
use crate::variables::{Part, Variable, variables};
use crate::{Param, ParamSpec, ParamType, suggest};

/// What is declared around a place. Parameters and workspaces come from further out as well: those of a run can be
/// used in the Task or Pipeline that is written out in it.
#[derive(Debug, Clone, Default)]
pub(super) struct Scope {
    params: BTreeMap<String, Known>,
    workspaces: BTreeSet<String>,
}

#[derive(Debug, Clone)]
struct Known {
    type_: ParamType,
    /// The keys of an object; none when they are not known.
    keys: Option<BTreeSet<String>>,
}

impl Scope {
    /// Adds declared parameters; they win over those from further out.
    pub(super) fn declare(&mut self, params: &[ParamSpec]) {
        for param in params {
            let type_ = param.effective_type();
            let keys = (!param.properties.is_empty()).then(|| param.properties.keys().cloned().collect());
            self.params.insert(param.name.clone(), Known { type_, keys });
        }
    }

    /// Adds parameters that are set without being declared here.
    pub(super) fn set(&mut self, params: &[Param]) {
        for param in params {
            // A text that is one variable may turn out to be a list or a map.
            let is_whole =
                param.value.as_str().is_some_and(|text| variables(text).iter().any(|v| v.is_alone));
            if is_whole && self.params.contains_key(&param.name) {
                continue;
            }
            let keys = param.value.as_object().map(|map| map.keys().cloned().collect());
            self.params.insert(param.name.clone(), Known { type_: param.value.type_(), keys });
        }
    }

    /// Adds workspaces.
    pub(super) fn provide<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        self.workspaces.extend(names.map(str::to_owned));
    }

    /// True when a workspace of this name is declared or provided.
    pub(super) fn has_workspace(&self, name: &str) -> bool {
        self.workspaces.contains(name)
    }

    /// Names the workspaces, for messages.
    pub(super) fn workspace_help(&self, name: &str) -> String {
        declared("workspaces", name, self.workspaces.iter().map(String::as_str))
    }

    /// Checks a variable that starts with `params` or `workspaces`. Returns false for any other.
    pub(super) fn check(&self, errors: &mut Errors, path: &str, variable: &Variable) -> bool {
        match variable.names().as_slice() {
            ["params", name, rest @ ..] => self.check_param(errors, path, variable, name, rest),
            // Tekton's own conditions ask for the `bound` of workspaces that are not there.
            ["workspaces", name, "bound"] if !self.has_workspace(name) && path.contains(".when[") => {}
            ["workspaces", name, field] => {
                if !self.has_workspace(name) {
                    errors.add_with_help(
                        path,
                        format!("`{variable}` uses the workspace `{name}`, which is not declared"),
                        self.workspace_help(name),
                    );
                } else if !["path", "bound", "claim", "volume"].contains(field) {
                    errors.add_with_help(
                        path,
                        format!("`{variable}` uses `{field}`, which a workspace does not have"),
                        "a workspace has path, bound, claim and volume",
                    );
                }
            }
            _ => return false,
        }
        true
    }

    fn check_param(&self, errors: &mut Errors, path: &str, variable: &Variable, name: &str, rest: &[&str]) {
        let Some(known) = self.params.get(name) else {
            let dotted = variable.path[1..].join(".");
            let help = if self.params.contains_key(&dotted) {
                format!("a name with dots needs brackets: `$(params[\"{dotted}\"])`")
            } else {
                declared("parameters", name, self.params.keys().map(String::as_str))
            };
            errors.add_with_help(
                path,
                format!("`{variable}` uses the parameter `{name}`, which is not declared"),
                help,
            );
            return;
        };
        match (known.type_, rest, variable.part) {
            (ParamType::String, [], Part::Value) | (ParamType::Array, [], Part::Item(_)) => {}
            (ParamType::String, [], _) => errors.add_with_help(
                path,
                format!("`{variable}` uses the parameter `{name}` as an array, and it is a string"),
                format!("write `$(params.{name})`"),
            ),
            (ParamType::Array | ParamType::Object, [], Part::Value | Part::All) => {
                if known.type_ == ParamType::Object && !takes_maps(path) {
                    errors.add_with_help(
                        path,
                        format!("`{variable}` uses the whole object `{name}` in a text"),
                        format!("use one key, as in `$(params.{name}.<key>)`"),
                    );
                } else if known.type_ == ParamType::Array && !takes_lists(path) {
                    errors.add_with_help(
                        path,
                        format!("`{variable}` uses the whole array `{name}` in a text"),
                        format!(
                            "use one item, as in `$(params.{name}[0])`, or the whole as an item of `args` or `command`"
                        ),
                    );
                } else if !variable.is_alone {
                    errors.add_with_help(
                        path,
                        format!(
                            "`{variable}` stands for a whole {} and must be alone in its text",
                            known.type_
                        ),
                        "remove what stands before and after it",
                    );
                }
            }
            (ParamType::Object, [key], Part::Value) => {
                if let Some(keys) = &known.keys
                    && !keys.contains(*key)
                {
                    errors.add_with_help(
                        path,
                        format!(
                            "`{variable}` uses the key `{key}`, which the parameter `{name}` does not have"
                        ),
                        declared("keys", key, keys.iter().map(String::as_str)),
                    );
                }
            }
            (type_, ..) => {
                errors.add(
                    path,
                    format!("`{variable}` does not fit the parameter `{name}`, which is of type {type_}"),
                );
            }
        }
    }
}

/// Places where a whole list can be put in.
fn takes_lists(path: &str) -> bool {
    [".args[", ".command[", ".params[", ".when[", ".matrix."].iter().any(|place| path.contains(place))
}

/// Places where a whole map can be put in: the values of parameters.
fn takes_maps(path: &str) -> bool {
    path.contains(".params[") || path.contains(".matrix.")
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
pub(super) fn each_variable(path: &str, part: &impl Serialize, mut visit: impl FnMut(&str, &Variable)) {
    if let Ok(value) = serde_json::to_value(part) {
        walk(path, &value, &mut visit);
    }
}

fn walk(path: &str, value: &Value, visit: &mut impl FnMut(&str, &Variable)) {
    match value {
        Value::String(text) => {
            for variable in variables(text) {
                visit(path, &variable);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(&format!("{path}[{index}]"), item, visit);
            }
        }
        Value::Object(map) => {
            for (name, value) in map.iter().filter(|(name, _)| *name != "description") {
                walk(&format!("{path}.{name}"), value, visit);
            }
        }
        _ => {}
    }
}
