//! What references may name where they stand.

use std::borrow::Cow;
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

    pub(super) fn aliased(&self, reference: &Variable) -> Option<String> {
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
        self.look_up(reference).map(Cow::into_owned)
    }

    /// [`Self::get`] without a copy of a whole value, so that many references to a long list cost no more than they
    /// bring.
    pub(super) fn look_up(&self, reference: &Variable) -> Option<Cow<'_, ParamValue>> {
        let text = |text: &String| Cow::Owned(ParamValue::String(text.clone()));
        if let Some(other) = self.aliased(reference) {
            return Some(Cow::Owned(ParamValue::String(other)));
        }
        if let Some(value) = self.values.get(&reference.path) {
            return match (reference.part, value) {
                (Part::Item(index), ParamValue::Array(items)) => items.get(index).map(text),
                (Part::Item(_), _) | (Part::All, ParamValue::String(_)) => None,
                (Part::Value | Part::All, value) => Some(Cow::Borrowed(value)),
            };
        }
        let (key, parent) = reference.path.split_last()?;
        match (reference.part, self.values.get(parent)?) {
            (Part::Value, ParamValue::Object(object)) => object.get(key).map(text),
            _ => None,
        }
    }

    /// Whether the path stands for a text.
    pub fn has_text(&self, path: &[&str]) -> bool {
        let path: Vec<String> = path.iter().map(|&segment| segment.to_owned()).collect();
        matches!(self.values.get(&path), Some(ParamValue::String(_)))
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
