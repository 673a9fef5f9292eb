//! How a step ended, as its shim saw it. Nothing else counts as a success.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Millis;

/// How a step's command ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Exit {
    /// The command ended by itself.
    Exited { code: i32 },
    /// A signal that did not come from us ended the command, such as SIGKILL from the kernel's OOM killer.
    Signaled { signal: i32 },
    /// The step's own timeout passed and the shim ended the command.
    TimedOut,
    /// The command was ended because its task was cancelled.
    Cancelled,
    /// The command was never started, because a step before it failed or the task was stopped.
    Skipped,
    /// The command was never started, because a condition of the step did not hold. The task goes on.
    WhenFalse,
    /// The command could not be started: no such program, no such interpreter, no permission.
    NotStarted { message: String },
    /// The shim was told to end from outside (a deleted or evicted pod), or lost its agent.
    Interrupted { message: String },
}

impl Exit {
    /// The one thing that is a success of a command.
    pub fn is_success(&self) -> bool {
        *self == Self::Exited { code: 0 }
    }

    /// The exit code that the shim itself ends with, and that users see on the container: the command's own, or as
    /// a shell has it (128 + signal, 126/127 where it was not started), 1 for a timeout as Tekton has it.
    pub fn code(&self) -> i32 {
        match self {
            Self::Exited { code } => *code,
            Self::Signaled { signal } => 128 + signal,
            Self::WhenFalse => 0,
            Self::TimedOut | Self::Skipped => 1,
            Self::NotStarted { .. } => 127,
            Self::Cancelled | Self::Interrupted { .. } => 143,
        }
    }
}

/// A step's end: what the shim reports to the agent, and what it leaves as the termination message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExitRecord {
    pub exit: Exit,
    /// When the command started; none where it never did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Millis>,
    pub finished_at: Millis,
    /// Processor time of the command and its children, user and system together, in milliseconds.
    #[serde(default)]
    pub cpu_ms: u64,
    /// The largest resident size that any process of the command had, in KiB.
    #[serde(default)]
    pub memory_peak_kib: u64,
    /// The results that the step added or changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub results: Vec<StepResult>,
    /// The results of the step itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub step_results: Vec<StepResult>,
    /// What the step says it used and made: the text of its `provenance.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_artifacts: Option<String>,
    /// What the step says the task used and made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifacts: Option<String>,
    /// Why results are missing that the step wrote: over the limit, unreadable, not text. Such a step failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub results_error: Option<String>,
}

/// What [`ExitRecord::results_error`] says of a result with a secret in it.
pub const HAS_SECRET: &str = "has the value of a secret in it";

impl ExitRecord {
    /// A record of nothing but how and when a step ended.
    pub fn bare(exit: Exit, started_at: Option<Millis>, finished_at: Millis) -> Self {
        Self {
            exit,
            started_at,
            finished_at,
            cpu_ms: 0,
            memory_peak_kib: 0,
            results: Vec::new(),
            step_results: Vec::new(),
            step_artifacts: None,
            artifacts: None,
            results_error: None,
        }
    }

    /// Whether the command was started, or should have been: not where the step only waited until the end.
    pub fn was_started(&self) -> bool {
        self.started_at.is_some() || !matches!(self.exit, Exit::Skipped | Exit::Interrupted { .. })
    }
}

/// One result file's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepResult {
    pub name: String,
    /// The file's text as it is: the engine knows the declared type and reads it as that.
    pub value: String,
}

/// A result's value once its type is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ResultValue {
    String(String),
    Array(Vec<String>),
    Object(BTreeMap<String, String>),
}

/// As it stands in a text: a list or a map is its JSON.
impl fmt::Display for ResultValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::String(text) => f.write_str(text),
            whole => f.write_str(&serde_json::to_string(whole).unwrap_or_default()),
        }
    }
}

/// Bytes that one container's termination message may have in a pod of so many: the kubelet keeps 4096 of each, and 12 KiB
/// of all together.
pub const fn message_limit(containers: usize) -> usize {
    const OF_ONE: usize = 4096;
    const OF_ALL: usize = 12 << 10;
    if containers * OF_ONE <= OF_ALL { OF_ONE } else { OF_ALL / containers }
}

/// What the shim leaves for the kubelet: the second source of truth, smaller than the first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TerminationMessage {
    /// 1: a message without it was not written by a shim, and proves nothing.
    pub ergon: u32,
    /// The step, where several run in one container: there each has a line of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    pub record: ExitRecord,
    /// Whether the results did not fit and were left out here; the report has them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub results_omitted: bool,
}

impl TerminationMessage {
    /// The record as a message of at most `limit` bytes: without its results where they do not fit, and with its
    /// texts cut where that is not enough.
    pub fn encode(record: &ExitRecord, step: Option<&str>, limit: usize) -> String {
        let whole =
            Self { ergon: 1, step: step.map(str::to_owned), record: record.clone(), results_omitted: false };
        let text = serde_json::to_string(&whole).unwrap_or_default();
        if text.len() <= limit {
            return text;
        }
        let mut short = whole;
        short.results_omitted = !record.results.is_empty() || !record.step_results.is_empty();
        short.record.results.clear();
        short.record.step_results.clear();
        short.record.step_artifacts = None;
        short.record.artifacts = None;
        let cut = |text: &mut String| {
            let end = text.char_indices().map(|(at, _)| at).take_while(|at| *at <= 200).last().unwrap_or(0);
            if text.len() > 200 {
                text.truncate(end);
                text.push('…');
            }
        };
        if let Exit::NotStarted { message } | Exit::Interrupted { message } = &mut short.record.exit {
            cut(message);
        }
        if let Some(error) = &mut short.record.results_error {
            cut(error);
        }
        serde_json::to_string(&short).unwrap_or_default()
    }

    /// Reads a container's termination message; none where a shim did not write it. Where several steps run in the
    /// container: that of the first one.
    pub fn decode(message: &str) -> Option<Self> {
        Self::decode_all(message).next()
    }

    /// Reads what all steps of a container left.
    pub fn decode_all(message: &str) -> impl Iterator<Item = Self> {
        message
            .lines()
            .filter_map(|line| serde_json::from_str::<Self>(line.trim()).ok())
            .filter(|message| message.ergon == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(results: Vec<StepResult>) -> ExitRecord {
        ExitRecord {
            exit: Exit::Exited { code: 0 },
            started_at: Some(1),
            finished_at: 2,
            cpu_ms: 3,
            memory_peak_kib: 4,
            results,
            step_results: Vec::new(),
            step_artifacts: None,
            artifacts: None,
            results_error: None,
        }
    }

    #[test]
    fn a_message_fits_its_limit_and_says_what_it_left_out() {
        let small = record(vec![StepResult { name: "a".into(), value: "1".into() }]);
        let message = TerminationMessage::decode(&TerminationMessage::encode(&small, None, 4096)).unwrap();
        assert_eq!(
            message,
            TerminationMessage { ergon: 1, step: None, record: small, results_omitted: false }
        );

        let large = record(vec![StepResult { name: "a".into(), value: "x".repeat(5000) }]);
        let text = TerminationMessage::encode(&large, None, 4096);
        assert!(text.len() < 4096);
        assert!(TerminationMessage::decode(&text).unwrap().results_omitted);
    }

    #[test]
    fn steps_of_one_container_have_a_line_each() {
        let lines = ["a", "b"].map(|step| TerminationMessage::encode(&record(Vec::new()), Some(step), 4096));
        let steps: Vec<_> =
            TerminationMessage::decode_all(&lines.join("\n")).map(|message| message.step).collect();
        assert_eq!(steps, [Some("a".to_owned()), Some("b".to_owned())]);
    }

    #[test]
    fn what_no_shim_wrote_proves_nothing() {
        for text in ["", "done", "{}", r#"[{"key":"a","value":"b"}]"#] {
            assert_eq!(TerminationMessage::decode(text), None, "{text}");
        }
    }
}
