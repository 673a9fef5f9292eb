//! Putting off status writes that only say how far a run is.
//!
//! A pod that starts passes through half a dozen states within a second, each with its own message. Whoever looks
//! wants the last of them, and every write costs the API server and all who watch. So the first one waits a moment,
//! and what is decided by then is written. Where many runs wait for their turn, or many statuses are written, the API
//! server has enough to do with what makes runs go on: it waits longer then, and that the first step begins waits as well.

use std::collections::{HashMap, VecDeque};
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
/// The same for a run of which no step has begun.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// How much longer the status of a pipeline run waits for each child that it names.
const A_CHILD: Duration = Duration::from_millis(10);
/// How many runs have to wait for their turn for that.
const MANY: usize = 16;
/// Or how many statuses have to be written within a second.
const MANY_WRITES: usize = 24;
const SECOND: Duration = Duration::from_secs(1);

/// How much there is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// As usual.
    Calm,
    /// More than can be done at once.
    Busy,
}

impl Pace {
    /// `has_begun`: whether a step of the run has.
    fn wait(self, has_begun: bool) -> Duration {
        match self {
            Self::Calm => WAIT,
            Self::Busy if has_begun => LONG_WAIT,
            Self::Busy => LONGEST_WAIT,
        }
    }
}

/// The runs that wait for their status to be written.
#[derive(Debug, Default)]
pub struct Held {
    waiting: Mutex<HashMap<Key, Waiting>>,
    /// When the last statuses were written.
    written: Mutex<VecDeque<Instant>>,
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
    /// How much there is to do where so many runs wait for their turn.
    pub fn pace(&self, depth: usize) -> Pace {
        let mut written = lock(&self.written);
        while written.front().is_some_and(|at| at.elapsed() > SECOND) {
            written.pop_front();
        }
        if depth > MANY || written.len() >= MANY_WRITES { Pace::Busy } else { Pace::Calm }
    }

    /// A status is written.
    pub fn note_write(&self) {
        let mut written = lock(&self.written);
        if written.len() >= MANY_WRITES {
            written.pop_front();
        }
        written.push_back(Instant::now());
    }

    /// How long the run, whose status would be this one, still has to wait. None: its time has come.
    pub fn left(&self, key: &Key, new: &Value, pace: Pace) -> Option<Duration> {
        // A pipeline run has no steps, and goes on from its start.
        let wait = pace.wait(has_begun(new) || !new["podName"].is_string());
        // What it costs to write a status grows with it.
        let children = new["childReferences"].as_array().map_or(0, Vec::len);
        let wait = wait + A_CHILD * u32::try_from(children).unwrap_or(u32::MAX);
        let since = lock(&self.waiting).entry(key.clone()).or_default().since;
        Some(wait.saturating_sub(since.elapsed())).filter(|left| !left.is_zero())
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
    use ergon_api::Group;
    use serde_json::json;

    use super::*;
    use crate::merge_diff::merge_diff;

    #[tokio::test(start_paused = true)]
    async fn much_to_do_makes_what_has_not_begun_wait_longest() {
        let held = Held::default();
        let key = Key::task_run(Group::Ergon, crate::cache::Name::new("ns".to_owned(), "run".to_owned()));
        let waiting = json!({"podName": "p"});
        let begun = json!({"podName": "p", "steps": [{"running": {}}]});
        assert_eq!(held.pace(MANY), Pace::Calm);
        assert_eq!(held.pace(MANY + 1), Pace::Busy);
        for _ in 0..2 * MANY_WRITES {
            assert!(lock(&held.written).len() <= MANY_WRITES);
            held.note_write();
        }
        assert_eq!(held.pace(0), Pace::Busy);
        assert_eq!(held.left(&key, &waiting, Pace::Busy), Some(LONGEST_WAIT));
        assert_eq!(held.left(&key, &json!({}), Pace::Busy), Some(LONG_WAIT));
        assert_eq!(held.left(&key, &begun, Pace::Busy), Some(LONG_WAIT));
        assert_eq!(held.left(&key, &begun, Pace::Calm), Some(WAIT));
        tokio::time::advance(SECOND * 2).await;
        assert_eq!(held.pace(0), Pace::Calm);
        assert_eq!(held.left(&key, &begun, Pace::Calm), None);
    }

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
