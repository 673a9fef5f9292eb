//! The shell around the engine: observe, let it decide, do what it says. No decision is made here.

#[cfg(test)]
mod against_a_fake;
mod hold;
mod late;
mod lookup;
mod metadata;
mod perform;
mod pipeline_run;
mod plans;
mod refusal;
mod share;
mod status;
mod task_run;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ergon_api::{CustomRun, Group, PipelineRun, TaskRun};
use ergon_engine::pod::Platform;
use ergon_engine::{Need, fuse};
use futures::FutureExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{Client, Resource};
use tokio::time::Instant;
use tracing::Instrument;
use tracing::{debug, error, info_span, warn};

use crate::beside;
use crate::cache::{Cache, Name};
use crate::cloud_events::CloudEvents;
use crate::events::Events;
use crate::images::Images;
use crate::members::Shares;
use crate::metrics::{Metrics, Running};
use crate::queue::{After, Queue};
use crate::reports::Reports;
use crate::resolution::Resolutions;
use crate::settings::Settings;
use crate::surroundings::Surroundings;
use crate::sync::lock;

/// Who writes, in managed fields.
pub const FIELD_MANAGER: &str = "ergon-controller";

/// One reconcile may take so long; then it is given up and tried again.
const LONGEST: Duration = Duration::from_mins(1);
/// How often the engine may ask for something before that counts as our error.
const ROUNDS: usize = 8;

/// A run to reconcile.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub kind: RunKind,
    pub group: Group,
    pub name: Name,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RunKind {
    TaskRun,
    PipelineRun,
}

impl RunKind {
    pub const fn name(self) -> &'static str {
        match self {
            Self::TaskRun => TaskRun::KIND,
            Self::PipelineRun => PipelineRun::KIND,
        }
    }
}

impl Key {
    pub fn task_run(group: Group, name: Name) -> Self {
        Self { kind: RunKind::TaskRun, group, name }
    }

    pub fn pipeline_run(group: Group, name: Name) -> Self {
        Self { kind: RunKind::PipelineRun, group, name }
    }

    /// The run that controls an object, if one of ours does.
    pub fn owner_of<K: Resource>(object: &K) -> Option<Self> {
        let namespace = object.meta().namespace.clone().unwrap_or_default();
        let owner =
            object.meta().owner_references.iter().flatten().find(|owner| owner.controller == Some(true))?;
        let group = Group::of(&owner.api_version)?;
        let kind = match owner.kind.as_str() {
            TaskRun::KIND => RunKind::TaskRun,
            PipelineRun::KIND => RunKind::PipelineRun,
            _ => return None,
        };
        Some(Self { kind, group, name: Name::new(namespace, owner.name.clone()) })
    }
}

/// Why a reconcile did not come to its end. Each is ours, not the user's, and is tried again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {verb} {kind} `{name}`: {source}")]
    Api { verb: &'static str, kind: &'static str, name: String, source: Box<kube::Error> },
    #[error("the status of {kind} `{name}` was written on older data; it is done again on newer data")]
    Stale { kind: &'static str, name: String },
    #[error("{kind} `{name}` exists and belongs to an object that is going away; waits until it is gone")]
    NameTaken { kind: &'static str, name: String },
    #[error("a {kind} cannot be written as JSON: {source}")]
    Json { kind: &'static str, source: serde_json::Error },
    #[error("nothing was decided in {ROUNDS} rounds; still asks for {0:?}")]
    Unsettled(Vec<Need>),
    #[error("took longer than {} s", LONGEST.as_secs())]
    Slow,
    #[error("panicked")]
    Panicked,
}

impl Error {
    pub(crate) fn api(verb: &'static str, kind: &'static str, name: &str, source: kube::Error) -> Self {
        Self::Api { verb, kind, name: name.to_owned(), source: Box::new(source) }
    }

    /// The word for metrics.
    fn label(&self) -> &'static str {
        match self {
            Self::Api { .. } => "api",
            Self::Stale { .. } => "stale",
            Self::NameTaken { .. } => "name_taken",
            Self::Json { .. } => "json",
            Self::Unsettled(_) => "unsettled",
            Self::Slow => "slow",
            Self::Panicked => "panicked",
        }
    }

    /// Part of the ordinary course of things.
    fn is_expected(&self) -> bool {
        matches!(self, Self::Stale { .. } | Self::NameTaken { .. })
    }
}

/// What is known of one group's runs.
#[derive(Debug, Default)]
pub struct Runs {
    pub task_runs: Cache<TaskRun>,
    pub pipeline_runs: Cache<PipelineRun>,
    /// Other controllers carry them out; we only look how far they are.
    pub custom_runs: Cache<CustomRun>,
}

impl Runs {
    /// What takes its turn as one: a pipeline run with the task runs that it made, or a task run of its own.
    fn flow(&self, key: &Key) -> u64 {
        let owner = match key.kind {
            RunKind::TaskRun => self.task_runs.get(&key.name).and_then(|run| Key::owner_of(run.as_ref())),
            RunKind::PipelineRun => None,
        };
        let mut hasher = DefaultHasher::new();
        owner.as_ref().unwrap_or(key).hash(&mut hasher);
        hasher.finish()
    }
}

fn of_group(runs: &[Runs; 2], group: Group) -> &Runs {
    match group {
        Group::Ergon => &runs[0],
        Group::Tekton => &runs[1],
    }
}

/// Everything that reconciles share.
pub struct Shell {
    pub client: Client,
    pub queue: Arc<Queue<Key>>,
    runs: Arc<[Runs; 2]>,
    pub pods: Cache<Pod>,
    pub surroundings: Surroundings,
    pub reports: Reports,
    pub images: Images,
    pub resolutions: Resolutions,
    pub events: Events,
    pub cloud_events: CloudEvents,
    pub metrics: Arc<Metrics>,
    held: hold::Held,
    plans: plans::Plans,
    late: late::Late,
    platform: Mutex<Arc<Platform>>,
    pub settings: Arc<Settings>,
    beside_tekton: AtomicBool,
    pub shares: Shares,
}

impl Shell {
    pub fn new(client: Client, platform: Platform, events: Events, metrics: Arc<Metrics>) -> Self {
        let runs = Arc::<[Runs; 2]>::default();
        let of = Arc::clone(&runs);
        let queue = Arc::new(Queue::with_flows(move |key: &Key| of_group(&of, key.group).flow(key)));
        let settings = Arc::<Settings>::default();
        Self {
            resolutions: Resolutions::new(client.clone(), Arc::clone(&queue), Arc::clone(&settings)),
            client,
            queue,
            runs,
            pods: Cache::default(),
            surroundings: Surroundings::default(),
            reports: Reports::default(),
            images: Images::default(),
            events,
            cloud_events: CloudEvents::default(),
            metrics,
            held: hold::Held::default(),
            plans: plans::Plans::default(),
            late: late::Late::default(),
            platform: Mutex::new(Arc::new(platform)),
            settings,
            beside_tekton: AtomicBool::new(false),
            shares: Shares::default(),
        }
    }

    pub fn runs(&self, group: Group) -> &Runs {
        of_group(&self.runs, group)
    }

    pub fn platform(&self) -> Arc<Platform> {
        Arc::clone(&lock(&self.platform))
    }

    /// Changes what new pods are made with.
    pub fn set_platform(&self, change: impl FnOnce(&mut Platform)) {
        change(Arc::make_mut(&mut lock(&self.platform)));
    }

    /// Says whether Tekton's controller is in the cluster. Gives true where that is new.
    pub fn set_beside_tekton(&self, is_here: bool) -> bool {
        self.beside_tekton.swap(is_here, Ordering::Relaxed) != is_here
    }

    /// Whether Tekton's controller is in the cluster.
    pub fn is_beside_tekton(&self) -> bool {
        self.beside_tekton.load(Ordering::Relaxed)
    }

    /// Whether a run with this `spec.managedBy` is ours.
    fn is_ours(&self, group: Group, managed_by: Option<&str>) -> bool {
        beside::is_ours(group, managed_by, self.is_beside_tekton())
    }

    /// Works until the queue is closed.
    pub async fn work(self: Arc<Self>) {
        while let Some(key) = self.queue.next().await {
            let after = self.reconcile(&key).await;
            self.queue.done(&key, after);
        }
    }

    /// One pass over one run. What a simulation calls step by step.
    pub async fn reconcile(&self, key: &Key) -> After {
        if !self.works_on(key) {
            self.give_up(key);
            return After::Rest;
        }
        let start = Instant::now();
        let span = info_span!("reconcile", kind = key.kind.name(), group = %key.group, run = %key.name);
        let pass = async {
            match key.kind {
                RunKind::TaskRun => self.reconcile_task_run(key).await,
                RunKind::PipelineRun => self.reconcile_pipeline_run(key).await,
            }
        };
        let guarded =
            tokio::time::timeout(LONGEST, AssertUnwindSafe(pass).catch_unwind()).instrument(span.clone());
        let outcome = match guarded.await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(Error::Panicked),
            Err(_) => Err(Error::Slow),
        };
        let label = outcome.as_ref().map_or_else(Error::label, |_| "ok");
        self.metrics.reconciled(key.kind.name(), label, start.elapsed());
        let _entered = span.enter();
        match outcome {
            Ok(None) => {
                // Nothing waits for a run that rests: it is done or gone.
                self.forget(key);
                After::Rest
            }
            Ok(Some(at)) => After::WakeAt(instant(at, Timestamp::now(), Instant::now())),
            Err(problem) if problem.is_expected() => {
                debug!(%problem, "is tried again");
                After::Retry
            }
            Err(Error::Panicked) => {
                error!("panicked: this is a bug; is tried again");
                After::Retry
            }
            Err(problem) => {
                warn!(%problem, "is tried again");
                After::Retry
            }
        }
    }

    fn forget(&self, key: &Key) {
        self.held.forget(key);
        self.plans.forget(key);
        self.resolutions.forget(key);
    }

    /// Looks at the run that a pod belongs to, and at all runs that share it.
    pub fn wake(&self, owner: &Key, pod: &str) {
        self.queue.add(owner.clone());
        if owner.kind == RunKind::TaskRun {
            return;
        }
        let runs = self.runs(owner.group);
        let Some(parent) = runs.pipeline_runs.get(&owner.name) else { return };
        for run in runs.task_runs.owned_by(parent.uid()) {
            if fuse::pod_of(&run) == Some(pod) && !run.is_done() {
                self.queue.add(Key::task_run(owner.group, Name::of(run.as_ref())));
            }
        }
    }

    /// Brings the gauges up to date.
    pub fn measure(&self) {
        self.metrics.queue_depth.set(i64::try_from(self.queue.depth()).unwrap_or(i64::MAX));
        self.metrics.members.set(i64::try_from(self.shares.members()).unwrap_or(i64::MAX));
        self.metrics.cached("Pod", self.pods.len());
        let sum = |count: fn(&Runs) -> usize| self.runs.iter().map(count).sum();
        self.metrics.cached(TaskRun::KIND, sum(|runs| runs.task_runs.len()));
        self.metrics.cached(PipelineRun::KIND, sum(|runs| runs.pipeline_runs.len()));
        self.metrics.cached(CustomRun::KIND, sum(|runs| runs.custom_runs.len()));
        self.metrics.cached("ServiceAccount", self.surroundings.accounts.len());
        self.metrics.cached("LimitRange", self.surroundings.limit_ranges.len());
        let mut running = Running::new(self.settings.now().observability);
        let runs = self.runs(Group::Tekton);
        runs.task_runs.for_each(|run| running.add_task_run(run));
        runs.pipeline_runs.for_each(|run| running.add_pipeline_run(run));
        self.metrics.tekton.measure(&running);
    }
}

/// A time of day as a moment of tokio's clock.
pub(crate) fn instant(at: Timestamp, now: Timestamp, moment: Instant) -> Instant {
    let ahead = at.duration_since(now);
    moment + Duration::try_from(ahead).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn owners_that_are_runs_of_ours() {
        let owner = |api_version: &str, kind: &str, controller: bool| {
            let pod: Pod = serde_json::from_value(json!({"metadata": {"namespace": "ns", "ownerReferences": [
                {"apiVersion": api_version, "kind": kind, "name": "r", "uid": "u", "controller": controller}]}}))
            .expect("a pod");
            Key::owner_of(&pod)
        };
        let name = Name::new("ns", "r");
        assert_eq!(owner("ergon.dev/v1", "TaskRun", true), Some(Key::task_run(Group::Ergon, name.clone())));
        assert_eq!(owner("tekton.dev/v1", "PipelineRun", true), Some(Key::pipeline_run(Group::Tekton, name)));
        assert_eq!(owner("ergon.dev/v1", "TaskRun", false), None);
        assert_eq!(owner("batch/v1", "Job", true), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_that_has_passed_is_now() {
        let (now, moment) = (Timestamp::from_second(1000).expect("a time"), Instant::now());
        let at = |seconds| Timestamp::from_second(seconds).expect("a time");
        assert_eq!(instant(at(1005), now, moment), moment + Duration::from_secs(5));
        assert_eq!(instant(at(990), now, moment), moment);
    }
}
