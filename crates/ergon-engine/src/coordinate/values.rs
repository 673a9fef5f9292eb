//! What earlier steps left, as later steps refer to it: `$(steps.NAME.results.R)` and `$(steps.NAME.outputs.A)`.
//!
//! A reference to something that is not there stays as it is, as every unknown reference does. A value that was put in
//! is not scanned again.

use std::collections::BTreeMap;

use ergon_api::ParamValue;
use ergon_api::variables::{Part, Variable, variables};
use ergon_wire::{ExitRecord, ResultValue, StepPlan};

use crate::task::artifacts;

/// The results and artifacts of the steps that have ended, by the steps' names.
pub(super) struct Values<'a> {
    steps: BTreeMap<&'a str, &'a ExitRecord>,
}

impl<'a> Values<'a> {
    pub fn of(before: &[(Option<&'a ExitRecord>, &'a StepPlan)]) -> Self {
        let steps = before.iter().filter_map(|(record, plan)| Some((plan.own_name(), (*record)?)));
        Self { steps: steps.collect() }
    }

    /// The values of these references, which are written without `$(` and `)`; those that have one.
    pub fn named(&self, references: &[String]) -> BTreeMap<String, ResultValue> {
        let value = |reference: &String| {
            let value = self.get(variables(&format!("$({reference})")).first()?)?;
            Some((reference.clone(), value))
        };
        references.iter().filter_map(value).collect()
    }

    /// A text with its references replaced; a whole list or map is its JSON.
    pub fn put(&self, text: &str) -> String {
        replace(text, |variable| self.get(variable))
    }

    /// A text of a list: a whole list that stands alone becomes as many items as it has.
    pub fn put_items(&self, text: &str) -> Vec<String> {
        match variables(text).as_slice() {
            [variable] if variable.is_alone => match self.get(variable) {
                Some(ResultValue::Array(items)) => items,
                _ => vec![self.put(text)],
            },
            _ => vec![self.put(text)],
        }
    }

    /// A script with the artifacts that it refers to. Results are not put into scripts: they would become code.
    pub fn put_artifacts(&self, script: &str) -> String {
        replace(script, |variable| self.artifact(variable))
    }

    fn get(&self, variable: &Variable) -> Option<ResultValue> {
        self.result(variable).or_else(|| self.artifact(variable))
    }

    fn result(&self, variable: &Variable) -> Option<ResultValue> {
        let names = variable.names();
        let ["steps", step, "results", name, key @ ..] = names.as_slice() else { return None };
        let results = &self.steps.get(step)?.step_results;
        let text = results.iter().find(|result| result.name == *name).map(|result| &result.value)?;
        let json = || serde_json::from_str(text).ok().map(ParamValue::from_json);
        match (key, variable.part) {
            ([], Part::Value) => Some(ResultValue::String(text.clone())),
            ([], Part::Item(index)) => match json()? {
                ParamValue::Array(items) => items.into_iter().nth(index).map(ResultValue::String),
                _ => None,
            },
            ([], Part::All) => match json()? {
                ParamValue::Array(items) => Some(ResultValue::Array(items)),
                ParamValue::Object(map) => Some(ResultValue::Object(map)),
                ParamValue::String(_) | ParamValue::Secret(_) => None,
            },
            ([key], Part::Value) => match json()? {
                ParamValue::Object(map) => map.get(*key).cloned().map(ResultValue::String),
                _ => None,
            },
            _ => None,
        }
    }

    fn artifact(&self, variable: &Variable) -> Option<ResultValue> {
        let names = variable.names();
        let (["steps", step, side @ ("inputs" | "outputs"), name], Part::Value) =
            (names.as_slice(), variable.part)
        else {
            return None;
        };
        let found = artifacts::read(self.steps.get(step)?.step_artifacts.as_deref()?)?;
        let list = if *side == "inputs" { found.inputs } else { found.outputs };
        let artifact = list.iter().find(|artifact| artifact.name == *name)?;
        Some(ResultValue::String(artifacts::values_text(artifact)))
    }
}

fn replace(text: &str, value: impl Fn(&Variable) -> Option<ResultValue>) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut plain = 0;
    for variable in variables(text) {
        let Some(value) = value(&variable) else { continue };
        replaced.push_str(&text[plain..variable.place.start]);
        plain = variable.place.end;
        replaced.push_str(&value.to_string());
    }
    replaced.push_str(&text[plain..]);
    replaced
}
