//! Whose runs are this replica's: one replica works on all of a run, and on what it is made of.

use std::net::SocketAddr;

use ergon_api::{Group, PipelineRun, TaskRun};
use kube::Resource;

use super::pipeline_run::DEEPEST;
use super::{Key, RunKind, Shell};
use crate::cache::Name;

impl Shell {
    /// Whether the run is this replica's to work on.
    pub fn works_on(&self, key: &Key) -> bool {
        self.shares.is_mine(|| self.root(key))
    }

    /// Where the other replica is that works on the run.
    pub fn elsewhere(&self, key: &Key) -> Option<SocketAddr> {
        self.shares.elsewhere(|| self.root(key))
    }

    fn root(&self, key: &Key) -> Option<String> {
        let runs = self.runs(key.group);
        match key.kind {
            RunKind::TaskRun => self.root_of(runs.task_runs.get(&key.name)?.as_ref()),
            RunKind::PipelineRun => self.root_of(runs.pipeline_runs.get(&key.name)?.as_ref()),
        }
    }

    /// Whether the run of which an object is a part is this replica's.
    pub(super) fn works_on_part<K: Resource>(&self, part: &K) -> bool {
        self.shares.is_mine(|| self.root_of(part))
    }

    /// The UID of the run that an object is a part of in the end, or its own. Where a run on the way is not known yet,
    /// the way ends there: once it is known, [`Self::tell_parts`] has its parts looked at again.
    fn root_of<K: Resource>(&self, part: &K) -> Option<String> {
        let mut root = part.meta().uid.clone();
        let mut next = owner(part);
        // Owners cannot go in a circle where UIDs are true; who writes them by hand is stopped here.
        for _ in 0..DEEPEST {
            let Some((key, uid)) = next.take() else { break };
            if key.kind == RunKind::PipelineRun
                && let Some(parent) = self.runs(key.group).pipeline_runs.get(&key.name)
                && parent.metadata.uid.as_deref() == Some(&uid)
            {
                next = owner(parent.as_ref());
            }
            root = Some(uid);
        }
        root
    }

    /// Forgets what was in mind for a run that is not this replica's. A status that was never written is no more in memory:
    /// should the run come back, it is decided again.
    pub(super) fn give_up(&self, key: &Key) {
        let cache = &self.runs(key.group).task_runs;
        if key.kind == RunKind::TaskRun
            && let Some(run) = cache.get(&key.name)
            && let Some(version) = &run.metadata.resource_version
            && let Some(stored) = self.held.stored(key, version)
        {
            cache.assume(TaskRun { status: serde_json::from_value(stored).ok(), ..run.as_ref().clone() });
        }
        self.forget(key);
    }

    /// Looks at the parts of a run that is a part of another: only now it is known whose they are.
    pub(crate) fn tell_parts(&self, group: Group, run: &PipelineRun) {
        if owner(run).is_none() {
            return;
        }
        let (uid, runs) = (run.metadata.uid.as_deref().unwrap_or_default(), self.runs(group));
        for part in runs.task_runs.owned_by(uid).iter().filter(|part| !part.is_done()) {
            self.queue.add(Key::task_run(group, Name::of(part.as_ref())));
        }
        for part in runs.pipeline_runs.owned_by(uid).iter().filter(|part| !part.is_done()) {
            self.queue.add(Key::pipeline_run(group, Name::of(part.as_ref())));
            self.tell_parts(group, part);
        }
    }

    /// Looks at all runs that are not done, and at all requests: others may be this replica's now. Reports on those that
    /// are not are forgotten, since nobody would do so at their end.
    pub fn enqueue_all(&self) {
        let mut pods = Vec::new();
        self.pods.for_each(|pod| pods.extend(Key::owner_of(pod).zip(pod.metadata.uid.clone())));
        for (owner, pod) in pods {
            if !self.works_on(&owner) {
                self.reports.forget(&pod);
            }
        }
        for group in Group::ALL {
            let (runs, mut keys) = (self.runs(group), Vec::new());
            runs.task_runs.for_each(|run| {
                if !run.is_done() {
                    keys.push(Key::task_run(group, Name::of(run)));
                }
            });
            runs.pipeline_runs.for_each(|run| {
                if !run.is_done() {
                    keys.push(Key::pipeline_run(group, Name::of(run)));
                }
            });
            // The queue asks the caches whose turn it is.
            for key in keys {
                self.queue.add(key);
            }
        }
        let requests = &self.resolutions.requests;
        requests.seen.for_each(|request| requests.queue.add(Name::of(request)));
    }
}

/// The run that controls an object, and its UID.
fn owner<K: Resource>(object: &K) -> Option<(Key, String)> {
    let key = Key::owner_of(object)?;
    let owners = object.meta().owner_references.iter().flatten();
    let uid = owners.filter(|owner| owner.controller == Some(true)).map(|owner| owner.uid.clone()).next()?;
    Some((key, uid))
}
