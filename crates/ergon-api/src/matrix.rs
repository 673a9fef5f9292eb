//! Fan-out: one pipeline task, run once for each combination of values.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Param, ScriptValue, lenient, opaque};

/// Runs a pipeline task once for each combination.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Matrix {
    /// Lists whose combinations are run: every value of the first with every value of the second, and so on. A value may
    /// be a whole list from a parameter or a result, as in `$(tasks.find.results.files[*])`.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub params: Vec<Param>,
    /// Combinations to add, or to complete: where all parameters that it shares with a combination are equal, it adds its
    /// others to that combination.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub include: Vec<IncludeParams>,
    /// An expression in the Common Expression Language that a combination has to fulfil, as in
    /// `matrix.os != 'mac' || matrix.version == '2'`. `ergon.dev` only.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub filter: Option<String>,
    /// What the other names in `filter` stand for. Filled in when a run starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "opaque::object")]
    pub filter_values: Option<BTreeMap<String, ScriptValue>>,
}

impl Matrix {
    /// True when there is nothing to fan out over.
    pub fn is_empty(&self) -> bool {
        self.params.is_empty() && self.include.is_empty()
    }
}

/// One combination of a [`Matrix`], written out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct IncludeParams {
    /// A name for people.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub name: Option<String>,
    /// The parameters of this combination; texts only.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub params: Vec<Param>,
}
