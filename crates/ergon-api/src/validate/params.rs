//! Declared parameters and results, and the parameters that runs set.

use std::collections::{BTreeMap, BTreeSet};

use super::{Errors, names};
use crate::types::{self, Declared, an};
use crate::{Group, Param, ParamSpec, ParamType, ParamValue, PropertySpec, SecretRef, TaskResult};

/// Whose parameters are declared: Tekton looks closer at those of a Task.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// A Task or StepAction.
    Task,
    /// A Pipeline with at least one Task written out in it.
    PipelineWithTasks,
    /// A Pipeline of references.
    Pipeline,
}

/// Checks declarations of parameters.
pub(super) fn check_specs(errors: &mut Errors, path: &str, params: &[ParamSpec], owner: Owner) {
    errors.unique(path, params.iter().map(|param| param.name.as_str()), |_, _, _| {
        "parameter appears more than once".to_owned()
    });
    for (index, param) in params.iter().enumerate() {
        check_spec(errors, &format!("{path}[{index}]"), param, owner);
    }
}

fn check_spec(errors: &mut Errors, path: &str, param: &ParamSpec, owner: Owner) {
    let type_ = param.effective_type();
    errors.ours_if(owner != Owner::Task, |errors| check_spec_name(errors, path, &param.name, type_));
    check_default(errors, path, param, type_);
    match type_ {
        ParamType::Object if param.properties.is_empty() => {
            errors.ours_if(owner == Owner::Pipeline, |errors| missing_properties(errors, path));
        }
        ParamType::Object => check_properties(errors, path, &param.name, &param.properties, "The", ""),
        _ if !param.properties.is_empty() => errors.ours(|errors| {
            errors.add(format!("{path}.properties"), format!("{} has no properties", an(type_)));
        }),
        _ => {}
    }
    check_enum(errors, path, &param.enum_, type_);
    if let Some(ParamValue::String(default)) = &param.default
        && !default.is_empty()
        && !param.enum_.is_empty()
        && !param.enum_.contains(default)
        && type_ == ParamType::String
    {
        errors.add_with_help(
            format!("{path}.enum"),
            format!("param default value {default} not in the enum list"),
            format!("the values are {}", param.enum_.join(", ")),
        );
    }
    check_limits(errors, path, &param.declared());
}

/// The default is what the type says, as far as it is known already.
fn check_default(errors: &mut Errors, path: &str, param: &ParamSpec, type_: ParamType) {
    let Some(written) = &param.default else { return };
    let declared = param.declared();
    let default =
        if errors.group == Group::Ergon { declared.read(written).into_owned() } else { written.clone() };
    let path = format!("{path}.default");
    if default.type_() != type_.carried() {
        errors.add_with_help(
            path,
            format!("\"{type_}\" type does not match default value's type: \"{}\"", default.type_()),
            how_to_write(type_),
        );
        return;
    }
    errors.ours(|errors| match &default {
        ParamValue::Secret(reference) => check_secret(errors, &path, reference),
        _ if declared.is_plain() || has_reference(&default) => {}
        _ => {
            if let Err(mismatch) = declared.check(&default) {
                errors.add_with_help(path, format!("the default: {mismatch}"), how_to_write(type_));
            }
        }
    });
}

/// A reference to a Secret names one that there can be.
fn check_secret(errors: &mut Errors, path: &str, reference: &SecretRef) {
    let fits = |text: &str| {
        !text.is_empty()
            && text.len() <= 253
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    for (field, text) in [("name", &reference.name), ("key", &reference.key)] {
        if !fits(text) {
            errors.add_with_help(
                format!("{path}.secretKeyRef.{field}"),
                format!("`{text}` is no {field} of a Secret"),
                "write letters, digits, `-`, `_` and `.`; which Secret it is cannot depend on a value",
            );
        }
    }
}

fn has_reference(value: &ParamValue) -> bool {
    value.texts().any(|text| text.contains("$("))
}

/// What says more of a value than Tekton knows.
fn check_limits(errors: &mut Errors, path: &str, declared: &Declared<'_>) {
    let type_ = declared.type_;
    let fields = [
        ("pattern", declared.pattern.is_some(), ParamType::String, "a text"),
        ("minimum", declared.minimum.is_some(), ParamType::Number, "a number"),
        ("maximum", declared.maximum.is_some(), ParamType::Number, "a number"),
        ("schema", declared.schema.is_some(), type_, "a value"),
    ];
    if errors.group == Group::Tekton {
        if type_ != type_.carried() || type_ == ParamType::Secret {
            errors.add_with_help(
                format!("{path}.type"),
                format!("invalid value: {type_}"),
                "the types are string, array and object; `ergon.dev` has others too",
            );
        }
        for (field, ..) in fields.iter().filter(|(_, is_set, ..)| *is_set) {
            let message = format!("unknown field `{field}`");
            errors.add_with_help(
                format!("{path}.{field}"),
                message,
                "`ergon.dev` has it, and `tekton.dev` has not",
            );
        }
        return;
    }
    for (field, is_set, wanted, what) in fields {
        let is_secret = type_ == ParamType::Secret;
        if is_set && (type_ != wanted || is_secret) {
            let help = if is_secret {
                "nothing but the step ever sees the value: check it there".to_owned()
            } else {
                format!("write `type: {wanted}`, or remove `{field}`")
            };
            errors.add_with_help(
                format!("{path}.{field}"),
                format!("`{field}` says something of {what}, and this is {}", an(type_)),
                help,
            );
        }
    }
    if let Some(pattern) = declared.pattern
        && let Some(problem) = types::pattern_problem(pattern)
    {
        errors.add_with_help(
            format!("{path}.pattern"),
            format!("`{pattern}` is no regular expression: {problem}"),
            "it is matched against the whole text, in time proportional to it: there is no look-around and no backreference",
        );
    }
    if let (Some(least), Some(most)) = (declared.minimum, declared.maximum)
        && least.as_f64() > most.as_f64()
    {
        errors.add(format!("{path}.minimum"), format!("the minimum {least} is more than the maximum {most}"));
    }
    for (place, problem) in declared.schema.map(types::schema_problems).unwrap_or_default() {
        let place = format!("{path}.schema{place}");
        errors.add(place, problem);
    }
}

fn check_spec_name(errors: &mut Errors, path: &str, name: &str, type_: ParamType) {
    if name.is_empty() {
        errors.missing(path, "name");
    } else if type_ == ParamType::Object && !names::object(name) {
        errors.add_with_help(
            format!("{path}.name"),
            format!("Object param name and key name format is invalid: map[{name}:[]]"),
            "the name of an object has letters, digits, `-` and `_`, beginning with a letter or `_`",
        );
    } else if !names::parameter(name) {
        errors.add_with_help(
            format!("{path}.name"),
            format!("The format of following array and string variable names is invalid: [{name}]"),
            "use letters, digits, `-`, `_` and `.`, beginning with a letter or `_`",
        );
    }
}

fn missing_properties(errors: &mut Errors, path: &str) {
    errors.add_with_help(
        format!("{path}.properties"),
        "missing field(s)",
        "declare each key of the object, as in `properties: {url: {type: string}}`",
    );
}

/// `the` and `end` are how Tekton's message about types begins and ends at this place.
fn check_properties(
    errors: &mut Errors,
    path: &str,
    name: &str,
    properties: &BTreeMap<String, PropertySpec>,
    the: &str,
    end: &str,
) {
    for (key, property) in properties {
        let path = format!("{path}.properties.{key}");
        if !names::object(key) {
            errors.add_with_help(
                path.as_str(),
                format!("Object param name and key name format is invalid: map[{name}:[{key}]]"),
                "a key has letters, digits, `-` and `_`, beginning with a letter or `_`",
            );
        }
        if property.type_.is_some_and(|type_| type_ != ParamType::String) {
            errors.add_with_help(
                format!("{path}.type"),
                format!("{the} value type specified for these keys [{key}] is invalid{end}"),
                "a key can only be of type `string`",
            );
        }
    }
}

fn check_enum(errors: &mut Errors, path: &str, values: &[String], type_: ParamType) {
    if values.is_empty() {
        return;
    }
    let path = format!("{path}.enum");
    if !matches!(type_, ParamType::String | ParamType::Number) {
        errors.add_with_help(
            path,
            "enum can only be set with string type param",
            format!("the parameter is {}", an(type_)),
        );
        return;
    }
    let mut seen = BTreeSet::new();
    for (index, value) in values.iter().enumerate() {
        if type_ == ParamType::Number && types::number(value).is_none() {
            errors.add(format!("{path}[{index}]"), format!("`{value}` is no number"));
        }
        if !seen.insert(value) {
            errors.add(
                format!("{path}[{index}]"),
                format!("parameter enum value {value} appears more than once"),
            );
        }
    }
}

/// What results say of their values beyond their type.
pub(super) fn check_result_limits(errors: &mut Errors, path: &str, results: &[TaskResult]) {
    for (index, result) in results.iter().enumerate() {
        let path = format!("{path}[{index}]");
        if !result.enum_.is_empty() && errors.group == Group::Tekton {
            errors.add(format!("{path}.enum"), "unknown field `enum`");
        } else {
            check_enum(errors, &path, &result.enum_, result.effective_type());
        }
        check_limits(errors, &path, &result.declared());
    }
}

/// Checks declarations of results of a step or task. `the` is how Tekton's message about their types begins.
pub(super) fn check_results<'a>(
    errors: &mut Errors,
    path: &str,
    the: &str,
    results: impl Iterator<Item = (&'a str, Option<ParamType>, &'a BTreeMap<String, PropertySpec>)> + Clone,
) {
    errors.ours(|errors| errors.one_each(path, results.clone().map(|(name, ..)| name)));
    for (index, (name, type_, properties)) in results.enumerate() {
        let path = format!("{path}[{index}]");
        if name.is_empty() {
            errors.missing(&path, "name");
        } else if !names::result(name) {
            errors.add_with_help(
                format!("{path}.name"),
                format!("invalid key name {name:?}"),
                "use letters, digits, `-`, `_` and `.`, beginning and ending with a letter or digit",
            );
        }
        match type_ {
            Some(ParamType::Object) if properties.is_empty() => missing_properties(errors, &path),
            Some(type_ @ (ParamType::String | ParamType::Array | ParamType::Number | ParamType::Boolean)) => {
                errors.ours(|errors| {
                    if !properties.is_empty() {
                        errors.add(format!("{path}.properties"), format!("{} has no properties", an(type_)));
                    }
                });
            }
            Some(ParamType::Secret) => errors.ours(|errors| {
                errors.add_with_help(
                    format!("{path}.type"),
                    "a result is no secret",
                    "results are in the status, for all to read: write the value into a Secret or a workspace",
                );
            }),
            Some(ParamType::Object) | None => {
                let bad_type =
                    |property: &&PropertySpec| property.type_.is_some_and(|type_| type_ != ParamType::String);
                errors.ours_if(!properties.values().any(|property| bad_type(&property)), |errors| {
                    check_properties(errors, &path, name, properties, the, ", the type must be string");
                });
            }
        }
    }
}

/// Checks parameters that a run or reference sets: names there and unique.
pub(super) fn check_values(errors: &mut Errors, path: &str, params: &[Param]) {
    errors.one_each_ignoring_case(path, params.iter().map(|param| param.name.as_str()));
    check_value_names(errors, path, params);
}

/// Checks parameters that a pipeline's task or a matrix sets: names there and unique.
pub(super) fn check_task_values(errors: &mut Errors, path: &str, params: &[Param]) {
    errors.unique(path, params.iter().map(|param| param.name.as_str()), |name, _, _| {
        format!("parameter names must be unique, the parameter {name:?} is also defined at")
    });
    check_value_names(errors, path, params);
}

fn check_value_names(errors: &mut Errors, path: &str, params: &[Param]) {
    for (index, param) in params.iter().enumerate() {
        if param.name.is_empty() {
            errors.missing(&format!("{path}[{index}]"), "name");
        }
    }
}

/// Checks parameters that are set against their declarations in the same object. Tekton does so when the run starts.
pub(super) fn check_against(errors: &mut Errors, path: &str, params: &[Param], declared: &[ParamSpec]) {
    for (index, param) in params.iter().enumerate() {
        let Some(spec) = declared.iter().find(|spec| spec.name == param.name) else { continue };
        let wanted = spec.effective_type();
        let declared = spec.declared();
        let value = declared.read(&param.value);
        let found = value.type_();
        let path = format!("{path}[{index}].value");
        // A text may stand for a list or map that is filled in later, as `$(params.list[*])`.
        let is_whole = value
            .as_str()
            .is_some_and(|text| crate::variables::variables(text).iter().any(|variable| variable.is_alone));
        if found != wanted.carried() && !is_whole {
            errors.add_with_help(
                path,
                format!("the value is {}, and the parameter `{}` is {}", an(found), param.name, an(wanted)),
                how_to_write(wanted),
            );
        } else if let ParamValue::Secret(reference) = value.as_ref() {
            check_secret(errors, &path, reference);
        } else if !declared.is_plain() {
            if let (false, Err(mismatch)) = (has_reference(&value), declared.check(&value)) {
                errors.add_with_help(
                    path,
                    format!("the parameter `{}`: {mismatch}", param.name),
                    how_to_write(wanted),
                );
            }
        } else if let (Some(text), false) = (value.as_str(), spec.enum_.is_empty())
            && !text.contains("$(")
            && !spec.enum_.iter().any(|value| value == text)
        {
            errors.add(path, format!("`{text}` is not among the values: {}", spec.enum_.join(", ")));
        } else if let Some(map) = value.as_object() {
            let default = spec.default.as_ref().and_then(ParamValue::as_object);
            let missing: Vec<&str> = spec
                .properties
                .keys()
                .filter(|key| {
                    !map.contains_key(*key) && !default.is_some_and(|default| default.contains_key(*key))
                })
                .map(String::as_str)
                .collect();
            if !missing.is_empty() {
                errors.add(path, format!("the object lacks the keys {}", missing.join(", ")));
            }
        }
    }
}

/// How a value of a type is written.
pub(super) fn how_to_write(type_: ParamType) -> &'static str {
    match type_ {
        ParamType::String => "write a text; put numbers, true and false in quotes",
        ParamType::Array => "write a list of texts, as in `[\"a\", \"b\"]`",
        ParamType::Object => "write a map from text to text, as in `{url: \"…\"}`",
        ParamType::Number => "write a number, as in `3` or `0.5`",
        ParamType::Boolean => "write true or false",
        ParamType::Secret => {
            "write where the value is, as in `secretKeyRef: {name: registry, key: password}`"
        }
    }
}
