//! What references may name where they stand.

use std::collections::BTreeMap;

use ergon_api::ParamValue;
use ergon_api::variables::{Part, Variable};

/// Names and their values. Looking up a name that is not there gives none, and the reference stays as it is.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    values: BTreeMap<Vec<String>, ParamValue>,
    /// Names that stand for other references, without `$(` and `)`.
    aliases: BTreeMap<Vec<String>, String>,
}

impl Scope {
    /// Adds or replaces one value. The path's segments are names, such as `["params", "version"]`.
    pub fn set(&mut self, path: &[&str], value: impl Into<ParamValue>) -> &mut Self {
        self.values.insert(path.iter().map(|&segment| segment.to_owned()).collect(), value.into());
        self
    }

    /// Makes a name stand for another reference, such as `steps.a.results.r`, whose value is known only later: what is
    /// put in its place is that reference, with the same key, item or `[*]`.
    pub fn alias(&mut self, path: &[&str], reference: &str) -> &mut Self {
        self.aliases.insert(path.iter().map(|&segment| segment.to_owned()).collect(), reference.to_owned());
        self
    }

    fn aliased(&self, reference: &Variable) -> Option<String> {
        let part = match reference.part {
            Part::Value => String::new(),
            Part::Item(index) => format!("[{index}]"),
            Part::All => "[*]".to_owned(),
        };
        if let Some(other) = self.aliases.get(&reference.path) {
            return Some(format!("$({other}{part})"));
        }
        let (key, parent) = reference.path.split_last()?;
        self.aliases.get(parent).map(|other| format!("$({other}.{key}{part})"))
    }

    /// The value that a reference names: the value at its path, an object's key, or an array's item.
    pub fn get(&self, reference: &Variable) -> Option<ParamValue> {
        if let Some(other) = self.aliased(reference) {
            return Some(ParamValue::String(other));
        }
        let value = if let Some(value) = self.values.get(&reference.path) {
            value.clone()
        } else {
            let (key, parent) = reference.path.split_last()?;
            let ParamValue::Object(object) = self.values.get(parent)? else { return None };
            ParamValue::String(object.get(key)?.clone())
        };
        match (reference.part, value) {
            (Part::Item(index), ParamValue::Array(items)) => {
                items.into_iter().nth(index).map(ParamValue::String)
            }
            (Part::Item(_), _) | (Part::All, ParamValue::String(_)) => None,
            (Part::Value | Part::All, value) => Some(value),
        }
    }

    /// Takes one value out, so that references to it stay as they are.
    pub fn remove(&mut self, path: &[&str]) {
        self.values.remove(&path.iter().map(|&segment| segment.to_owned()).collect::<Vec<_>>());
    }

    /// All of another scope's names, replacing those that are here already.
    pub fn extend(&mut self, other: &Scope) -> &mut Self {
        self.values.extend(other.values.iter().map(|(path, value)| (path.clone(), value.clone())));
        self.aliases.extend(other.aliases.iter().map(|(path, other)| (path.clone(), other.clone())));
        self
    }
}
