//! Guards: whether a task or a step runs.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ScriptValue, lenient, opaque};

/// One condition. All conditions of a task or step must hold for it to run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WhenExpression {
    /// The text to test. It may use parameters and results.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "lenient::or_default")]
    pub input: String,
    /// `in`: the input must be one of the values. `notin`: it must be none of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<WhenOperator>,
    /// The values to compare with. They may use parameters and results; `$(params.list[*])` stands for a whole list.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub values: Vec<String>,
    /// A condition in the Common Expression Language. It replaces the other three fields. Under `ergon.dev` it has names
    /// for parameters and results, as in `params.version != 'dev'`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub cel: Option<String>,
    /// What the names in `cel` stand for. Filled in when a run starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "opaque::object")]
    pub cel_values: Option<BTreeMap<String, ScriptValue>>,
}

/// How a [`WhenExpression`] compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WhenOperator {
    /// The input is one of the values.
    In,
    /// The input is none of the values.
    NotIn,
}
