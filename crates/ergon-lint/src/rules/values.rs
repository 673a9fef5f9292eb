//! Whether a value fits the parameter that it is for.

use std::collections::BTreeMap;

use ergon_api::variables::{Part, Variable, variables};
use ergon_api::{Group, Param, ParamSpec, ParamType, ParamValue};

use crate::report::Report;
use crate::rule::{MISSING_PARAM, TYPE_MISMATCH, UNKNOWN_PARAM};

/// A value that is given, and its place.
#[derive(Debug, Clone)]
pub(crate) struct Given<'a> {
    pub param: &'a Param,
    /// Such as `spec.tasks[0].params[1]`.
    pub path: String,
    /// Of a matrix, each run gets one of the items.
    pub is_of_matrix: bool,
}

/// The values of a list of parameters.
pub(crate) fn given<'a>(path: &str, params: &'a [Param], is_of_matrix: bool) -> Vec<Given<'a>> {
    let at = |(index, param)| Given { param, path: format!("{path}[{index}]"), is_of_matrix };
    params.iter().enumerate().map(at).collect()
}

/// Who asks for values: its name for messages, and the field that names it.
pub(crate) struct Asker<'a> {
    /// Such as "Task `build`".
    pub what: &'a str,
    pub declared: &'a [ParamSpec],
    /// Where it is said that something is missing.
    pub path: &'a str,
    /// Whether more may be given than is declared.
    pub takes_more: bool,
}

/// Checks values against declarations.
pub(crate) fn check(
    report: &mut Report<'_>,
    asker: &Asker<'_>,
    given: &[Given<'_>],
    type_of: &dyn Fn(&Variable) -> Option<ParamType>,
) {
    let by_name: BTreeMap<&str, &ParamSpec> =
        asker.declared.iter().map(|spec| (spec.name.as_str(), spec)).collect();
    let missing: Vec<&ParamSpec> = asker
        .declared
        .iter()
        .filter(|spec| spec.default.is_none() && !given.iter().any(|value| value.param.name == spec.name))
        .collect();
    if let [first, ..] = missing.as_slice() {
        let names: Vec<String> = missing.iter().map(|spec| format!("`{}`", spec.name)).collect();
        let many = if missing.len() == 1 { "the parameter" } else { "the parameters" };
        report
            .at_value(&MISSING_PARAM, asker.path, format!("{} needs {many} {}", asker.what, names.join(", ")))
            .help(format!("write `params: [{{name: {}, value: …}}]`", first.name));
    }
    for value in given {
        let name = value.param.name.as_str();
        match by_name.get(name) {
            Some(spec) => fits(report, asker, value, spec, type_of),
            None if asker.takes_more => {}
            None => {
                let help = match ergon_api::nearest(name, by_name.keys().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None if by_name.is_empty() => "it has no parameters: remove it".to_owned(),
                    None => {
                        format!("declared are {}", by_name.keys().copied().collect::<Vec<_>>().join(", "))
                    }
                };
                report
                    .at_value(
                        &UNKNOWN_PARAM,
                        &format!("{}.name", value.path),
                        format!("{} has no parameter `{name}`", asker.what),
                    )
                    .help(help);
            }
        }
    }
}

fn fits(
    report: &mut Report<'_>,
    asker: &Asker<'_>,
    value: &Given<'_>,
    spec: &ParamSpec,
    type_of: &dyn Fn(&Variable) -> Option<ParamType>,
) {
    let declared = spec.declared();
    let wanted = declared.type_;
    let path = format!("{}.value", value.path);
    let name = &spec.name;
    if value.is_of_matrix {
        let items = value.param.value.as_array().unwrap_or_default();
        if ParamType::String.may_be(wanted) {
            for (index, item) in items.iter().enumerate().filter(|(_, item)| !is_open(item)) {
                if let Err(mismatch) = declared.check(&ParamValue::String(item.clone())) {
                    let message = format!("`{name}` of {}: {mismatch}", asker.what);
                    report.at_value(&TYPE_MISMATCH, &format!("{path}[{index}]"), message);
                }
            }
        } else if value.param.value.as_str().is_none() {
            let message = format!(
                "each run gets a text of the matrix, and `{name}` of {} is {}",
                asker.what,
                an(wanted)
            );
            report.at_value(&TYPE_MISMATCH, &path, message);
        }
        return;
    }
    let given = &value.param.value;
    if !given.texts().any(is_open) {
        if let Err(mismatch) = declared.check(&declared.read(given)) {
            report.at_value(&TYPE_MISMATCH, &path, format!("`{name}` of {}: {mismatch}", asker.what));
        } else if let ParamValue::Object(map) = given {
            let default = spec.default.as_ref().and_then(ParamValue::as_object);
            let is_there =
                |key: &String| map.contains_key(key) || default.is_some_and(|it| it.contains_key(key));
            let absent: Vec<&str> =
                spec.properties.keys().filter(|key| !is_there(key)).map(String::as_str).collect();
            if !absent.is_empty() {
                let message = format!("`{name}` of {} lacks the keys {}", asker.what, absent.join(", "));
                report.at_value(&TYPE_MISMATCH, &path, message);
            }
        }
        return;
    }
    let Some(found) = type_of_value(given, type_of).filter(|found| !found.may_be(wanted)) else { return };
    let help = match (found, wanted) {
        (ParamType::Array, ParamType::String) => {
            Some("use one item, as in `[0]`, or a parameter of type array")
        }
        (ParamType::Object, ParamType::String) => Some("use one key, as in `.url`"),
        (_, ParamType::Array) => Some("write a list, or a whole array with `[*]`"),
        (_, ParamType::Object) => Some("write a map, or a whole object with `[*]`"),
        _ => None,
    };
    report
        .at_value(
            &TYPE_MISMATCH,
            &path,
            format!("this is {}, and `{name}` of {} is {}", an(found), asker.what, an(wanted)),
        )
        .help(help.map(str::to_owned));
}

fn an(type_: ParamType) -> String {
    match type_ {
        ParamType::Array | ParamType::Object => format!("an {type_}"),
        _ => format!("a {type_}"),
    }
}

/// Whether a text has something put in before it is a value.
fn is_open(text: &str) -> bool {
    text.contains("{{") || !variables(text).is_empty()
}

/// What a value will be; none where that is not known.
fn type_of_value(value: &ParamValue, type_of: &dyn Fn(&Variable) -> Option<ParamType>) -> Option<ParamType> {
    match value {
        ParamValue::String(text) => match variables(text).as_slice() {
            [variable] if variable.is_alone => type_of(variable),
            _ => Some(ParamType::String),
        },
        other => Some(other.type_()),
    }
}

/// What a parameter gives where it is used so; none where that is not known or not allowed.
pub(crate) fn of_param(group: Group, declared: &[ParamSpec], variable: &Variable) -> Option<ParamType> {
    let names = variable.names();
    let ["params", name, rest @ ..] = names.as_slice() else { return None };
    let spec = declared.iter().find(|spec| spec.name == *name)?;
    let type_ = spec.effective_type();
    match (rest, variable.part) {
        ([], Part::Item(_)) | ([_], Part::Value) => Some(ParamType::String),
        ([], Part::Value) if group == Group::Ergon || !has_parts(type_) => Some(type_),
        ([], Part::All) if has_parts(type_) => Some(type_),
        _ => None,
    }
}

/// Whether values of this type have items or keys.
pub(crate) fn has_parts(type_: ParamType) -> bool {
    matches!(type_, ParamType::Array | ParamType::Object)
}
