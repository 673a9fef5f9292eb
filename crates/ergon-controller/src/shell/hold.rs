//! Putting off status writes that only say how far a run is.
//!
//! A pod that starts passes through half a dozen states within a second, each with its own message. Whoever looks
//! wants the last of them, and every write costs the API server and all who watch. So the first one waits a moment,
//! and what is decided by then is written. Where many runs wait for their turn, the API server has enough to do with
//! what makes them go on: it waits longer then, and that the first step begins waits as well.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::Key;
use crate::sync::lock;

/// How long such a write waits at most.
const WAIT: Duration = Duration::from_secs(1);
/// The same where there is much to do.
const LONG_WAIT: Duration = Duration::from_secs(5);
/// How many runs have to wait for their turn for that.
const MANY: usize = 16;

/// How much there is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// As usual.
    Calm,
    /// More than can be done at once.
    Busy,
}

impl Pace {
    /// Where so many runs wait for their turn.
    pub fn of(depth: usize) -> Self {
        if depth > MANY { Self::Busy } else { Self::Calm }
    }

    fn wait(self) -> Duration {
        match self {
            Self::Calm => WAIT,
            Self::Busy => LONG_WAIT,
        }
    }
}

/// The runs that wait for their status to be written.
#[derive(Debug, Default)]
pub struct Held {
    waiting: Mutex<HashMap<Key, Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    since: Instant,
    /// Where the run in memory has a status that is not stored: its version, and the status that is.
    stored: Option<(String, Value)>,
}

impl Default for Waiting {
    fn default() -> Self {
        Self { since: Instant::now(), stored: None }
    }
}

impl Held {
    /// How long the run still has to wait. None: its time has come.
    pub fn left(&self, key: &Key, pace: Pace) -> Option<Duration> {
        let began = lock(&self.waiting).entry(key.clone()).or_default().since;
        Some(pace.wait().saturating_sub(began.elapsed())).filter(|left| !left.is_zero())
    }

    /// The run in memory has got a status that is not stored. `stored`: the one that is, in this version.
    pub fn assume(&self, key: &Key, version: &str, stored: Value) {
        lock(&self.waiting).entry(key.clone()).or_default().stored = Some((version.to_owned(), stored));
    }

    /// The status that is stored of a run of this version, if the one in memory is not.
    pub fn stored(&self, key: &Key, version: &str) -> Option<Value> {
        let waiting = lock(&self.waiting);
        let (of, stored) = waiting.get(key)?.stored.as_ref()?;
        (of == version).then(|| stored.clone())
    }

    /// Its status was written, or has become what is stored.
    pub fn forget(&self, key: &Key) {
        lock(&self.waiting).remove(key);
    }

    /// How many runs wait.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        lock(&self.waiting).len()
    }
}

/// Whether a change of a status may wait: the run goes on before and after it, no step is the first to begin (or there
/// is much to do), and nothing but conditions, steps, sidecars and counts of children differs, and which children there are
/// where there is much to do; or it is the first, and its pod is made. `patch` is the change.
pub(super) fn may_wait(old: &Value, new: &Value, patch: &Value, pace: Pace) -> bool {
    let of_progress = |field: &String| match field.as_str() {
        "conditions" | "steps" | "sidecars" | "childCounts" => true,
        // Each child names its run: they are found again.
        "childReferences" => pace == Pace::Busy,
        _ => false,
    };
    let of_progress = || patch.as_object().is_some_and(|patch| patch.keys().all(of_progress));
    let is_first = || old["conditions"].is_null() && old["podName"].is_null() && new["podName"].is_string();
    goes_on(new)
        && ((goes_on(old) && of_progress()) || is_first())
        && (pace == Pace::Busy || has_begun(old) || !has_begun(new))
}

fn goes_on(status: &Value) -> bool {
    let conditions = status["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Succeeded" && condition["status"] == "Unknown")
}

fn has_begun(status: &Value) -> bool {
    let steps = status["steps"].as_array();
    steps.into_iter().flatten().any(|step| step["running"].is_object() || step["terminated"].is_object())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::merge_diff::merge_diff;

    #[test]
    fn what_may_wait() {
        let status = |succeeded: &str, message: &str, steps: Value| {
            json!({"conditions": [{"type": "Succeeded", "status": succeeded, "message": message}],
                "podName": "p", "steps": steps})
        };
        let waiting = json!([{"name": "a", "waiting": {"reason": "ContainerCreating"}}]);
        let running = json!([{"name": "a", "running": {}}]);
        let pulled = json!([{"name": "a", "running": {}, "imageID": "sha256:1"}]);
        let going = status("Unknown", "Pending", waiting.clone());
        let mut other_pod = going.clone();
        other_pod["podName"] = json!("p-retry1");
        let begun = status("Unknown", "Running", running.clone());
        let ended = status("True", "Done", running.clone());
        let mut no_pod = going.clone();
        no_pod["podName"] = Value::Null;
        let parent = |children: usize| {
            let children: Vec<Value> = (0..children).map(|at| json!({"name": at})).collect();
            json!({"conditions": [{"type": "Succeeded", "status": "Unknown"}], "childReferences": children})
        };
        let counts = |succeeded: u32| {
            json!({"conditions": [{"type": "Succeeded", "status": "Unknown"}],
                "childCounts": [{"pipelineTaskName": "a", "total": 9, "succeeded": succeeded}]})
        };
        for (old, new, calm, busy, case) in [
            (going.clone(), status("Unknown", "Pulling", waiting.clone()), true, true, "a message"),
            (going.clone(), status("Unknown", "Pending", json!([])), true, true, "steps that wait"),
            (json!({}), going.clone(), true, true, "the first status, with a pod"),
            (json!({}), begun.clone(), false, true, "the first status, with a step that runs"),
            (json!({}), no_pod, false, false, "the first status, without a pod"),
            (json!({}), ended.clone(), false, false, "the first status, at the end"),
            (parent(1), parent(2), false, true, "another child"),
            (counts(1), counts(2), true, true, "one more of many children has ended"),
            (going.clone(), begun.clone(), false, true, "the first step begins"),
            (begun.clone(), status("Unknown", "Running", pulled), true, true, "more about a step that runs"),
            (begun, ended.clone(), false, false, "the end"),
            (going.clone(), other_pod, false, false, "another try"),
        ] {
            let patch = merge_diff(&old, &new).expect("they differ");
            assert_eq!(may_wait(&old, &new, &patch, Pace::Calm), calm, "{case}");
            assert_eq!(may_wait(&old, &new, &patch, Pace::Busy), busy, "{case}, while busy");
        }
    }
}
