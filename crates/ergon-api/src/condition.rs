//! Conditions of runs, in the form that Knative gave them and Tekton's clients read.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::lenient;

/// The type of the one condition that says how a run ended.
pub const SUCCEEDED: &str = "Succeeded";

/// One thing that is known about a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    /// What the condition is about. `Succeeded` says how the run ended.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "lenient::or_default")]
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False`, or `Unknown` while it is not yet decided.
    pub status: ConditionStatus,
    /// How grave it is when the status is not `True`; empty means an error.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub severity: Option<String>,
    /// When the status last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Time>,
    /// Why, as one word for programs.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub reason: Option<String>,
    /// Why, as a sentence for people.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub message: Option<String>,
}

impl Condition {
    /// A `Succeeded` condition.
    pub fn succeeded(status: ConditionStatus, reason: &str, message: impl Into<String>) -> Self {
        Self {
            type_: SUCCEEDED.to_owned(),
            status,
            reason: Some(reason.to_owned()),
            message: Some(message.into()).filter(|message| !message.is_empty()),
            ..Self::default()
        }
    }

    /// The reason, or the empty text.
    pub fn reason(&self) -> &str {
        self.reason.as_deref().unwrap_or_default()
    }

    /// The message, or the empty text.
    pub fn message(&self) -> &str {
        self.message.as_deref().unwrap_or_default()
    }
}

/// The status of a [`Condition`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold, and never will.
    False,
    /// It is not decided yet.
    #[default]
    Unknown,
}

/// The `Succeeded` condition among `conditions`.
pub(crate) fn find_succeeded(conditions: &[Condition]) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.type_ == SUCCEEDED)
}

/// Puts `condition` in the place of the one of its type, keeping the time of the last transition when the status is the
/// same. Returns true when anything but the time differs.
pub(crate) fn set(conditions: &mut Vec<Condition>, mut condition: Condition, now: Time) -> bool {
    let Some(old) = conditions.iter_mut().find(|old| old.type_ == condition.type_) else {
        condition.last_transition_time = Some(now);
        conditions.push(condition);
        return true;
    };
    condition.last_transition_time = if old.status == condition.status {
        old.last_transition_time.clone().or(Some(now))
    } else {
        Some(now)
    };
    let changed = old.status != condition.status
        || old.reason != condition.reason
        || old.message != condition.message
        || old.severity != condition.severity;
    *old = condition;
    changed
}
