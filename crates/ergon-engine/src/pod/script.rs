//! A step's script, with what it reads from its environment.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use ergon_api::variables::variables;
use ergon_api::{ParamType, ParamValue, ScriptValue, Step, language, types};
use ergon_template::{Given, Kind, Name, Template};
use ergon_wire::Script;
use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, SecretKeySelector};
use serde_json::Value;

use super::PodError;
use super::step::with_shebang;
use crate::expr::is_mark;

/// The script of a step, or of a sidecar given as one; `field` is where it is written. One with tags that were read is a
/// template, and the values that it names are never in its text.
/// Where they are secrets it reads them from variables that the container has, and that [`secrets`] gives.
pub(super) fn of(step: &Step, field: &str, script: &str) -> Result<Script, PodError> {
    let Some(bound) = &step.script_values else {
        return Ok(Script { text: with_shebang(script), ..Script::default() });
    };
    let script = script.strip_prefix('\n').unwrap_or(script);
    let refused = |message: String| PodError::Field { field: field.to_owned(), message };
    let mut names = BTreeMap::new();
    let mut given = BTreeMap::new();
    for (name, value) in bound {
        let constrained = value.constrained;
        let (kind, value) = read(name, value).ok_or_else(|| refused(format!("`{name}` has no value")))?;
        let late = matches!(value, Given::Later(_) | Given::Variable(_));
        names.insert(name.clone(), Name { kind, constrained, late });
        given.insert(name.clone(), value);
    }
    let taken = step.env.iter().map(|variable| variable.name.clone()).collect();
    let template = Template::script(script, &names, &taken).map_err(|error| refused(error.to_string()))?;
    let rendered = template.render(&given).map_err(|error| refused(error.to_string()))?;
    let text = |(name, text)| (name, ergon_wire::ScriptValue::Text(text));
    let file = |(name, text)| (name, ergon_wire::ScriptValue::File(text));
    let later = |(name, text)| (name, ergon_wire::ScriptValue::Later(text));
    let values = rendered
        .env
        .into_iter()
        .map(text)
        .chain(rendered.files.into_iter().map(file))
        .chain(rendered.later.into_iter().map(later));
    Ok(Script { text: with_shebang(&rendered.script), values: values.collect(), path: None })
}

/// The variables that hold the secrets which a script names.
pub(super) fn secrets(step: &Step) -> Vec<EnvVar> {
    let bound = step.script_values.iter().flatten();
    bound
        .filter_map(|(name, value)| {
            let secret = value.value.as_ref()?.0.as_secret()?;
            let key =
                SecretKeySelector { name: secret.name.clone(), key: secret.key.clone(), optional: None };
            let source = EnvVarSource { secret_key_ref: Some(key), ..Default::default() };
            Some(EnvVar { name: secret_variable(name), value_from: Some(source), ..Default::default() })
        })
        .collect()
}

/// The variable of a secret, the same whatever else the script names: `ERGON_SECRET_token`.
fn secret_variable(name: &str) -> String {
    let mut variable = "ERGON_SECRET_".to_owned();
    for byte in name.strip_prefix("params.").unwrap_or(name).bytes() {
        if byte.is_ascii_alphanumeric() {
            variable.push(char::from(byte));
        } else {
            let _ = write!(variable, "_{byte:02x}");
        }
    }
    variable
}

/// What a name stands for; none where that is not known, and will not be.
fn read(name: &str, value: &ScriptValue) -> Option<(Kind, Given)> {
    let Some(known) = &value.value else {
        let found = variables(value.reference.as_deref()?);
        let variable = found.first()?;
        let is_late =
            matches!(variable.names().as_slice(), ["steps", _, "results" | "inputs" | "outputs", _, ..]);
        return is_late.then(|| (Kind::Text, Given::Later(variable.text.clone())));
    };
    let found = language::reference(name).map(|reference| variables(&reference)).unwrap_or_default();
    let names = found.first().map(ergon_api::variables::Variable::names).unwrap_or_default();
    let (kind, value) = match (&known.0, names.as_slice()) {
        (ParamValue::String(text), ["workspaces", _, "bound"]) => {
            (Kind::Boolean, Value::Bool(text == "true"))
        }
        (ParamValue::String(text), ["context", "task", "retry-count"]) => {
            (Kind::Number, text.parse::<u64>().ok()?.into())
        }
        (ParamValue::Secret(_), _) => return Some((Kind::Text, Given::Variable(secret_variable(name)))),
        (ParamValue::String(text), _) => typed(value.type_, text),
        (ParamValue::Array(items), _) => (Kind::List, items.clone().into()),
        (ParamValue::Object(map), _) => (Kind::Object, serde_json::to_value(map).ok()?),
    };
    Some((kind, Given::Known(value)))
}

/// A text with the type of its declaration. One that was not checked against it is a text.
fn typed(type_: Option<ParamType>, text: &str) -> (Kind, Value) {
    match (type_, types::number(text), text) {
        (Some(ParamType::Number), Some(number), _) => (Kind::Number, number.into()),
        // Any number will do for what is thrown away.
        (Some(ParamType::Number), None, text) if is_mark(text) => (Kind::Number, 0.into()),
        (Some(ParamType::Boolean), _, "true" | "false") => (Kind::Boolean, (text == "true").into()),
        (Some(ParamType::Boolean), _, text) if is_mark(text) => (Kind::Boolean, false.into()),
        _ => (Kind::Text, text.into()),
    }
}
