//! Declared parameters and results, and the parameters that runs set.

use std::collections::{BTreeMap, BTreeSet};

use super::{Errors, names};
use crate::{Param, ParamSpec, ParamType, ParamValue, PropertySpec};

/// Checks declarations of parameters.
pub(super) fn check_specs(errors: &mut Errors, path: &str, params: &[ParamSpec]) {
    errors.unique(path, "parameter", params.iter().map(|param| param.name.as_str()));
    for (index, param) in params.iter().enumerate() {
        check_spec(errors, &format!("{path}[{index}]"), param);
    }
}

fn check_spec(errors: &mut Errors, path: &str, param: &ParamSpec) {
    let type_ = param.effective_type();
    if param.name.is_empty() {
        errors.missing(path, "name");
    } else if type_ == ParamType::Object && !names::object(&param.name) {
        errors.add(
            format!("{path}.name"),
            format!(
                "invalid name `{}`: an object parameter's name has letters, digits, `-` and `_`, beginning with a \
                 letter or `_`",
                param.name
            ),
        );
    } else if !names::parameter(&param.name) {
        errors.add(
            format!("{path}.name"),
            format!(
                "invalid name `{}`: use letters, digits, `-`, `_` and `.`, beginning with a letter or `_`",
                param.name
            ),
        );
    }
    if let Some(default) = &param.default
        && default.type_() != type_
    {
        errors.add_with_help(
            format!("{path}.default"),
            format!("the default is {}, and the parameter is {}", an(default.type_()), an(type_)),
            how_to_write(type_),
        );
    }
    match type_ {
        ParamType::Object if param.properties.is_empty() => errors.add_with_help(
            path,
            "missing field `properties`",
            "declare each key of the object, as in `properties: {url: {type: string}}`",
        ),
        ParamType::Object => check_properties(errors, path, &param.properties),
        ParamType::String | ParamType::Array if !param.properties.is_empty() => {
            errors.add(format!("{path}.properties"), format!("{} has no properties", an(type_)));
        }
        ParamType::String | ParamType::Array => {}
    }
    check_enum(errors, path, param, type_);
}

fn check_properties(errors: &mut Errors, path: &str, properties: &BTreeMap<String, PropertySpec>) {
    for (key, property) in properties {
        let path = format!("{path}.properties.{key}");
        if !names::object(key) {
            errors.add(
                path.as_str(),
                format!(
                    "invalid key `{key}`: use letters, digits, `-` and `_`, beginning with a letter or `_`"
                ),
            );
        }
        if property.type_.is_some_and(|type_| type_ != ParamType::String) {
            errors.add(format!("{path}.type"), "a key can only be of type `string`");
        }
    }
}

fn check_enum(errors: &mut Errors, path: &str, param: &ParamSpec, type_: ParamType) {
    if param.enum_.is_empty() {
        return;
    }
    let path = format!("{path}.enum");
    if type_ != ParamType::String {
        errors.add(path, format!("only a string can have `enum`, and the parameter is {}", an(type_)));
        return;
    }
    let mut seen = BTreeSet::new();
    for (index, value) in param.enum_.iter().enumerate() {
        if !seen.insert(value) {
            errors.add(format!("{path}[{index}]"), format!("`{value}` stands twice in `enum`"));
        }
    }
    if let Some(ParamValue::String(default)) = &param.default
        && !seen.contains(default)
    {
        errors.add(
            path,
            format!("the default `{default}` is not among the values: {}", param.enum_.join(", ")),
        );
    }
}

/// Checks declarations of results of a step or task.
pub(super) fn check_results<'a>(
    errors: &mut Errors,
    path: &str,
    results: impl Iterator<Item = (&'a str, Option<ParamType>, &'a BTreeMap<String, PropertySpec>)> + Clone,
) {
    errors.unique(path, "result", results.clone().map(|(name, ..)| name));
    for (index, (name, type_, properties)) in results.enumerate() {
        let path = format!("{path}[{index}]");
        if name.is_empty() {
            errors.missing(&path, "name");
        } else if !names::result(name) {
            errors.add(
                format!("{path}.name"),
                format!(
                    "invalid name `{name}`: use letters, digits, `-`, `_` and `.`, beginning and ending with a letter \
                     or digit"
                ),
            );
        }
        match type_ {
            Some(ParamType::Object) if properties.is_empty() => errors.add_with_help(
                path.as_str(),
                "missing field `properties`",
                "declare each key of the object, as in `properties: {url: {type: string}}`",
            ),
            Some(type_ @ (ParamType::String | ParamType::Array)) if !properties.is_empty() => {
                errors.add(format!("{path}.properties"), format!("{} has no properties", an(type_)));
            }
            _ => check_properties(errors, &path, properties),
        }
    }
}

/// Checks parameters that are set: names there and unique.
pub(super) fn check_values(errors: &mut Errors, path: &str, params: &[Param]) {
    errors.unique(path, "parameter", params.iter().map(|param| param.name.as_str()));
    for (index, param) in params.iter().enumerate() {
        if param.name.is_empty() {
            errors.missing(&format!("{path}[{index}]"), "name");
        }
    }
}

/// Checks parameters that are set against their declarations in the same object.
pub(super) fn check_against(errors: &mut Errors, path: &str, params: &[Param], declared: &[ParamSpec]) {
    for (index, param) in params.iter().enumerate() {
        let Some(spec) = declared.iter().find(|spec| spec.name == param.name) else { continue };
        let wanted = spec.effective_type();
        let found = param.value.type_();
        let path = format!("{path}[{index}].value");
        // A text may stand for a list or map that is filled in later, as `$(params.list[*])`.
        let is_whole = param
            .value
            .as_str()
            .is_some_and(|text| crate::variables::variables(text).iter().any(|variable| variable.is_alone));
        if found != wanted && !is_whole {
            errors.add_with_help(
                path,
                format!("the value is {}, and the parameter `{}` is {}", an(found), param.name, an(wanted)),
                how_to_write(wanted),
            );
        } else if let (Some(text), false) = (param.value.as_str(), spec.enum_.is_empty())
            && !text.contains("$(")
            && !spec.enum_.iter().any(|value| value == text)
        {
            errors.add(path, format!("`{text}` is not among the values: {}", spec.enum_.join(", ")));
        } else if let Some(map) = param.value.as_object() {
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

fn an(type_: ParamType) -> String {
    match type_ {
        ParamType::String => "a string".to_owned(),
        ParamType::Array | ParamType::Object => format!("an {type_}"),
    }
}

fn how_to_write(type_: ParamType) -> &'static str {
    match type_ {
        ParamType::String => "write a text; put numbers, true and false in quotes",
        ParamType::Array => "write a list of texts, as in `[\"a\", \"b\"]`",
        ParamType::Object => "write a map from text to text, as in `{url: \"…\"}`",
    }
}
