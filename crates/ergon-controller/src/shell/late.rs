//! What the node says of a run only after its end: which images its steps ran, and how its sidecars ended.
//!
//! An agent's report may be sooner than the kubelet's first word on the containers. The end is not held up for that: it
//! is written, and the rest follows when it is known.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use ergon_api::TaskRunStatus;
use ergon_engine::task::{lacks_facts, with_facts};
use k8s_openapi::api::core::v1::Pod;
use tokio::time::Instant;

use crate::sync::lock;

/// How long the node may take. It mostly takes some tens of milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// The statuses of runs that have ended and of which not all is known, by the run's UID. Whoever starts anew has none:
/// then that stays away.
#[derive(Debug, Default)]
pub struct Late {
    waiting: Mutex<HashMap<String, (Instant, TaskRunStatus)>>,
}

impl Late {
    /// Keeps the last status of a run, if something is missing in it.
    pub fn keep(&self, uid: &str, status: &TaskRunStatus) {
        let mut waiting = lock(&self.waiting);
        waiting.retain(|_, (since, _)| since.elapsed() < PATIENCE);
        if lacks_facts(status) {
            waiting.insert(uid.to_owned(), (Instant::now(), status.clone()));
        }
    }

    /// The status as it was written and as it is with what the pod says by now; none where nothing is new.
    pub fn completed(&self, uid: &str, pod: &Pod) -> Option<(TaskRunStatus, TaskRunStatus)> {
        let waiting = lock(&self.waiting);
        let (_, status) = waiting.get(uid)?;
        Some((status.clone(), with_facts(status, pod)?))
    }

    /// It was written, or will not be.
    pub fn forget(&self, uid: &str) {
        lock(&self.waiting).remove(uid);
    }

    /// How many runs wait.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        lock(&self.waiting).len()
    }
}
