//! The values of parameters: those that are given, and the defaults of the others.

use std::collections::BTreeMap;

use ergon_api::types::Mismatch;
use ergon_api::{Group, Param, ParamSpec, ParamType, ParamValue};

use crate::expr::is_mark;

/// Why parameters do not fit what is declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Problem {
    /// These have no value.
    Missing(Vec<String>),
    Type {
        name: String,
        wanted: ParamType,
        given: ParamType,
    },
    /// An object lacks keys.
    Keys {
        name: String,
        absent: Vec<String>,
    },
    Enum {
        name: String,
        value: String,
        allowed: Vec<String>,
    },
    /// It is not what its declaration says, which says more than Tekton's can.
    Value {
        name: String,
        mismatch: Mismatch,
    },
}

impl Problem {
    /// What is wrong, in Tekton's words for a Task.
    pub fn of(&self, what: &str) -> String {
        match self {
            Self::Missing(names) => format!(
                "invalid input params for {what}: missing values for these params which have no default values: [{}]",
                names.join(" ")
            ),
            Self::Type { name, wanted, given } => format!(
                "invalid input params for {what}: param types don't match the user-specified type: [{name}]: declared as {wanted}, given {given}"
            ),
            Self::Keys { name, absent } => format!(
                "invalid input params for {what}: missing keys for these params which are required in ParamSpec's properties map[{name}:[{}]]",
                absent.join(" ")
            ),
            Self::Enum { name, value, allowed } => {
                format!("param `{name}` value: {value} is not in the enum list [{}]", allowed.join(" "))
            }
            Self::Value { name, mismatch } => format!("param `{name}`: {mismatch}"),
        }
    }
}

/// The values of all parameters: those given, and the defaults of the others.
///
/// # Errors
/// A parameter without a value, with a value of another type, without a key, or outside its enum.
pub(crate) fn resolve(
    group: Group,
    declared: &[ParamSpec],
    given: &[Param],
) -> Result<BTreeMap<String, ParamValue>, Problem> {
    let as_in_group = |value: &ParamValue| match group {
        Group::Ergon => value.clone(),
        Group::Tekton => value.clone().as_in_tekton(),
    };
    let mut values: BTreeMap<String, ParamValue> =
        given.iter().map(|param| (param.name.clone(), as_in_group(&param.value))).collect();
    let mut missing = Vec::new();
    for spec in declared {
        let value = match (values.remove(&spec.name), &spec.default) {
            // The keys that were not given come from the default.
            (Some(ParamValue::Object(given)), Some(ParamValue::Object(default))) => {
                let mut object = default.clone();
                object.extend(given);
                ParamValue::Object(object)
            }
            (Some(value), _) => value,
            (None, Some(default)) => as_in_group(default),
            (None, None) => {
                missing.push(spec.name.clone());
                continue;
            }
        };
        let value = match group {
            Group::Ergon => spec.declared().read(&value).into_owned(),
            Group::Tekton => value,
        };
        check(spec, &value)?;
        values.insert(spec.name.clone(), value);
    }
    if missing.is_empty() { Ok(values) } else { Err(Problem::Missing(missing)) }
}

fn check(spec: &ParamSpec, value: &ParamValue) -> Result<(), Problem> {
    let name = || spec.name.clone();
    let wanted = spec.effective_type();
    if value.type_() != wanted.carried() {
        return Err(Problem::Type { name: name(), wanted, given: value.type_() });
    }
    if let ParamValue::Object(object) = value {
        let absent: Vec<String> =
            spec.properties.keys().filter(|key| !object.contains_key(*key)).cloned().collect();
        if !absent.is_empty() {
            return Err(Problem::Keys { name: name(), absent });
        }
    }
    let declared = spec.declared();
    match value {
        // It takes the place of a value that is not known yet, and is checked when it is.
        ParamValue::String(text) if is_mark(text) => Ok(()),
        _ if !declared.is_plain() => {
            declared.check(value).map_err(|mismatch| Problem::Value { name: name(), mismatch })
        }
        ParamValue::String(text) if !spec.enum_.is_empty() && !spec.enum_.contains(text) => {
            Err(Problem::Enum { name: name(), value: text.clone(), allowed: spec.enum_.clone() })
        }
        _ => Ok(()),
    }
}
