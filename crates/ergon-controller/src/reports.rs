//! What agents have reported, kept in memory until their runs are done.
//!
//! A second source beside the pod's status: losing one delays a run and never changes its outcome.

pub mod endpoint;
pub mod forward;
pub mod identity;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use ergon_wire::PodReport;
use tokio::sync::Notify;

use crate::sync::lock;

/// Bytes that one report may have.
pub const REPORT_LIMIT: usize = 2 << 20;
/// Bytes that all reports together may have, as they came over the wire.
const TOTAL_LIMIT: usize = 64 << 20;

/// The newest report of each pod, by the pod's UID.
#[derive(Debug, Default)]
pub struct Reports {
    inner: Mutex<Inner>,
    /// Those whose agents wait for an answer that is kept back.
    listening: Arc<Mutex<HashMap<String, Arc<Notify>>>>,
}

/// One agent that waits for an answer.
pub struct Listening {
    pod_uid: String,
    notify: Arc<Notify>,
    all: Arc<Mutex<HashMap<String, Arc<Notify>>>>,
}

impl Listening {
    /// Until there may be something to say.
    pub async fn told(&self) {
        self.notify.notified().await;
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut all = lock(&self.all);
        // The agent may have asked again over another connection.
        if all.get(&self.pod_uid).is_some_and(|newest| Arc::ptr_eq(newest, &self.notify)) {
            all.remove(&self.pod_uid);
        }
    }
}

#[derive(Debug, Default)]
struct Inner {
    by_pod: HashMap<String, Kept>,
    total: usize,
}

#[derive(Debug)]
struct Kept {
    report: Arc<PodReport>,
    bytes: usize,
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    New,
    /// One as new was here already.
    Old,
    /// There is no room.
    Full,
}

impl Reports {
    /// Keeps a report of `bytes` bytes, unless one as new is here.
    pub fn keep(&self, pod_uid: &str, report: PodReport, bytes: usize) -> Taken {
        let mut inner = lock(&self.inner);
        let old = inner.by_pod.get(pod_uid);
        if old.is_some_and(|old| old.report.sequence >= report.sequence) {
            return Taken::Old;
        }
        let total = inner.total - old.map_or(0, |old| old.bytes) + bytes;
        if total > TOTAL_LIMIT {
            return Taken::Full;
        }
        inner.total = total;
        inner.by_pod.insert(pod_uid.to_owned(), Kept { report: Arc::new(report), bytes });
        Taken::New
    }

    pub fn get(&self, pod_uid: &str) -> Option<Arc<PodReport>> {
        lock(&self.inner).by_pod.get(pod_uid).map(|kept| Arc::clone(&kept.report))
    }

    /// Notes that a pod's agent waits for an answer. What is told from now on is heard.
    pub fn listen(&self, pod_uid: &str) -> Listening {
        let notify = Arc::new(Notify::new());
        lock(&self.listening).insert(pod_uid.to_owned(), Arc::clone(&notify));
        Listening { pod_uid: pod_uid.to_owned(), notify, all: Arc::clone(&self.listening) }
    }

    /// There may be something to say to a pod's agent.
    pub fn tell(&self, pod_uid: &str) {
        if let Some(listening) = lock(&self.listening).get(pod_uid) {
            listening.notify_one();
        }
    }

    /// Forgets a pod whose run is done or that is gone.
    pub fn forget(&self, pod_uid: &str) {
        let mut inner = lock(&self.inner);
        if let Some(kept) = inner.by_pod.remove(pod_uid) {
            inner.total -= kept.bytes;
        }
    }

    /// How many reports are kept.
    pub fn len(&self) -> usize {
        lock(&self.inner).by_pod.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(sequence: u64) -> PodReport {
        PodReport { sequence, ..Default::default() }
    }

    #[test]
    fn the_newest_report_stays() {
        let reports = Reports::default();
        assert_eq!(reports.keep("a", report(2), 10), Taken::New);
        assert_eq!(reports.keep("a", report(1), 10), Taken::Old);
        assert_eq!(reports.keep("a", report(2), 10), Taken::Old);
        assert_eq!(reports.keep("a", report(3), 10), Taken::New);
        assert_eq!(reports.get("a").map(|report| report.sequence), Some(3));
        reports.forget("a");
        assert!(reports.is_empty() && reports.get("a").is_none());
    }

    #[tokio::test]
    async fn who_listens_is_told_and_is_forgotten_then() {
        let reports = Reports::default();
        reports.tell("a");
        let first = reports.listen("a");
        let second = reports.listen("a");
        drop(first);
        reports.tell("b");
        reports.tell("a");
        second.told().await;
        drop(second);
        assert!(lock(&reports.listening).is_empty());
    }

    #[test]
    fn memory_is_bounded_and_given_back() {
        let reports = Reports::default();
        assert_eq!(reports.keep("a", report(1), TOTAL_LIMIT - 1), Taken::New);
        assert_eq!(reports.keep("b", report(1), 2), Taken::Full);
        assert_eq!(reports.keep("a", report(2), 10), Taken::New);
        assert_eq!(reports.keep("b", report(1), TOTAL_LIMIT - 10), Taken::New);
        reports.forget("a");
        reports.forget("b");
        assert_eq!(lock(&reports.inner).total, 0);
    }
}
