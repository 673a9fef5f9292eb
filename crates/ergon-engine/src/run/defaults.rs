//! Defaults of a pipeline's parameters that use other parameters.

use std::collections::{BTreeMap, BTreeSet};

use ergon_api::texts::variables_in;
use ergon_api::{Param, ParamSpec, ParamValue};

use crate::expr::{Scope, expand, expand_value};

/// How long a chain of defaults that use each other may be, as in Tekton.
const DEEPEST: usize = 10;

/// Replaces references to other parameters in those values that are defaults. Given values stay as they are: they are
/// never scanned.
///
/// # Errors
/// A chain that goes in a circle or is too long, or that uses a parameter which has no value; in Tekton's words.
pub(super) fn resolve(
    declared: &[ParamSpec],
    given: &[Param],
    values: &mut BTreeMap<String, ParamValue>,
) -> Result<(), String> {
    let given: BTreeMap<&str, &ParamValue> =
        given.iter().map(|param| (param.name.as_str(), &param.value)).collect();
    let mut open: BTreeSet<String> = declared
        .iter()
        .filter(|spec| {
            spec.default.is_some()
                && !matches!(
                    given.get(spec.name.as_str()),
                    Some(ParamValue::String(_) | ParamValue::Array(_))
                )
        })
        .map(|spec| spec.name.clone())
        .collect();
    while let Some(name) = open.first().cloned() {
        let mut chain = Vec::new();
        settle(&name, &given, &mut open, &mut chain, values)?;
    }
    Ok(())
}

fn settle(
    name: &str,
    given: &BTreeMap<&str, &ParamValue>,
    open: &mut BTreeSet<String>,
    chain: &mut Vec<String>,
    values: &mut BTreeMap<String, ParamValue>,
) -> Result<(), String> {
    if chain.iter().any(|known| known == name) {
        return Err(format!(
            "parameter resolution failed: circular dependency detected in param \"params.{name}\""
        ));
    }
    if chain.len() > DEEPEST {
        return Err(format!(
            "parameter resolution failed: maximum recursion depth ({DEEPEST}) exceeded for param \"params.{name}\""
        ));
    }
    chain.push(name.to_owned());
    let Some(value) = values.get(name).cloned() else {
        open.remove(name);
        chain.pop();
        return Ok(());
    };
    let mut scope = Scope::default();
    for needed in used(&value) {
        if needed == name || open.contains(&needed) {
            settle(&needed, given, open, chain, values)?;
        }
        let Some(known) = values.get(&needed) else {
            return Err(format!(
                "parameter resolution failed: param \"params.{name}\" references undefined param \"params.{needed}\""
            ));
        };
        scope.set(&["params", &needed], known.clone());
    }
    let settled = match (value, given.get(name)) {
        // The keys that were given are no default.
        (ParamValue::Object(object), Some(ParamValue::Object(given))) => ParamValue::Object(
            object
                .into_iter()
                .map(|(key, text)| {
                    let text = if given.contains_key(&key) { text } else { expand(&text, &scope) };
                    (key, text)
                })
                .collect(),
        ),
        (value, _) => expand_value(&value, &scope),
    };
    values.insert(name.to_owned(), settled);
    open.remove(name);
    chain.pop();
    Ok(())
}

/// The parameters that a value refers to.
fn used(value: &ParamValue) -> BTreeSet<String> {
    variables_in(value, &[])
        .into_iter()
        .filter_map(|(_, reference)| match reference.names().as_slice() {
            ["params", name, ..] => Some((*name).to_owned()),
            _ => None,
        })
        .collect()
}
