//! One pass over a PipelineRun.

use std::sync::Arc;

use ergon_api::{CustomRun, Group, PipelineRun, PipelineRunStatus, TaskRun};
use ergon_engine::fuse::{self, SharedPod, Sharing};
use ergon_engine::run::{self, Children, Observed};
use ergon_engine::task::PodSeen;
use ergon_engine::{Action, Event, EventKind, Library, Outcome};
use ergon_wire::PodReport;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::Resource;

use super::metadata::Added;
use super::perform::Performed;
use super::status::Written;
use super::task_run::Live;
use super::{Error, Key, ROUNDS, RunKind, Shell};
use crate::cache::Name;

const OVER_QUOTA: &str = ergon_api::reasons::task_run::EXCEEDED_RESOURCE_QUOTA;
/// How long to wait before something that is over its namespace's quota is tried again.
const QUOTA_RETRY: SignedDuration = SignedDuration::from_secs(10);

/// How many runs around one are looked at: more than the engine lets there be.
pub(super) const DEEPEST: usize = 64;

/// What is known of a pod that tasks share.
struct Seen {
    name: String,
    pod: Option<Arc<Pod>>,
    report: Option<Arc<PodReport>>,
}

impl Seen {
    fn as_shared(&self) -> SharedPod<'_> {
        SharedPod {
            name: &self.name,
            pod: self.pod.as_deref().map_or(PodSeen::Gone, PodSeen::Here),
            report: self.report.as_deref(),
        }
    }
}

impl Shell {
    /// Reads the PipelineRun and its children, lets the engine decide, does it. Gives the time to come again at.
    pub(super) async fn reconcile_pipeline_run(&self, key: &Key) -> Result<Option<Timestamp>, Error> {
        let runs = self.runs(key.group);
        let Some(run) = runs.pipeline_runs.get(&key.name) else { return Ok(None) };
        // A run that is going away takes its children with it.
        if !self.is_ours(key.group, run.spec.managed_by.as_deref())
            || run.metadata.deletion_timestamp.is_some()
            || run.is_done()
        {
            return Ok(None);
        }
        let task_runs = runs.task_runs.owned_by(run.uid());
        let task_runs: Vec<&TaskRun> = task_runs.iter().map(AsRef::as_ref).collect();
        let custom_runs = runs.custom_runs.owned_by(run.uid());
        let custom_runs: Vec<&CustomRun> = custom_runs.iter().map(AsRef::as_ref).collect();
        let pipeline_runs = runs.pipeline_runs.owned_by(run.uid());
        let pipeline_runs: Vec<&PipelineRun> = pipeline_runs.iter().map(AsRef::as_ref).collect();
        let ancestors = self.ancestors(key, &run);
        let ancestors: Vec<&PipelineRun> = ancestors.iter().map(AsRef::as_ref).collect();
        let plan = self.plans.of(key, &run);
        let pods = self.shared_pods(key, &run, &task_runs).await?;
        let platform = self.platform();
        let mut may_make = true;
        let mut library = Library::default();
        let mut needs = Vec::new();
        for _ in 0..ROUNDS {
            let config = self.settings.now();
            let pods: Vec<SharedPod<'_>> = pods.iter().map(Seen::as_shared).collect();
            let observed = Observed {
                group: key.group,
                run: &run,
                children: Children {
                    task_runs: &task_runs,
                    custom_runs: &custom_runs,
                    pipeline_runs: &pipeline_runs,
                },
                ancestors: &ancestors,
                library: &library,
                config: &config,
                plan: plan.as_ref(),
                sharing: Some(Sharing { platform: &platform, pods: &pods, may_make }),
            };
            let decision = match run::reconcile(&observed, Timestamp::now()) {
                Outcome::Decided(decision) => decision,
                Outcome::Needs(asked) => {
                    self.look_up(key, &asked, &mut library).await?;
                    needs = asked;
                    continue;
                }
            };
            let cache = &runs.pipeline_runs;
            let run = match self.add_metadata(key, cache, &*run, &decision.actions).await? {
                Added::Nothing => Arc::clone(&run),
                Added::Now(run) => run,
                Added::Refused(message) => {
                    let decision = run::child_refused(&observed, &message, Timestamp::now());
                    self.perform(key, &*run, decision.actions).await?;
                    self.write_status(key, cache, &*run, run.status.as_ref(), &decision.status).await?;
                    return Ok(None);
                }
            };
            let shares =
                may_make && decision.actions.iter().any(|action| matches!(action, Action::CreatePod(_)));
            let (status, wake_at) = match self.perform(key, &*run, decision.actions).await? {
                // What is too much for one pod may be fine for several.
                Performed::OverQuota(_) | Performed::Refused(_) if shares => {
                    may_make = false;
                    continue;
                }
                Performed::OverQuota(message) => {
                    let event = Event { kind: EventKind::Warning, reason: OVER_QUOTA.to_owned(), message };
                    self.events.emit(run.object_ref(&key.group), event);
                    return Ok(Timestamp::now().checked_add(QUOTA_RETRY).ok());
                }
                Performed::Refused(message) => {
                    let decision = run::child_refused(&observed, &message, Timestamp::now());
                    self.perform(key, &*run, decision.actions).await?;
                    (decision.status, None)
                }
                Performed::All | Performed::PodIsThere(_) => (decision.status, decision.wake_at),
            };
            let (old, new) = apart_from_spec(run.status.as_ref(), status);
            let written = match self.write_status(key, cache, &*run, old.as_ref(), &new).await? {
                Written::Now(written) => written,
                Written::Later(at) => return Ok(wake_at.into_iter().chain([at]).min()),
                Written::Nothing => return Ok(wake_at),
            };
            if written.is_done() {
                let status = written.status.as_ref();
                let start = status.and_then(|status| status.start_time.as_ref());
                let end = status.and_then(|status| status.completion_time.as_ref());
                let took =
                    start.zip(end).and_then(|(start, end)| end.0.duration_since(start.0).try_into().ok());
                self.metrics.ended(PipelineRun::KIND, written.is_successful(), took);
                if key.group == Group::Tekton {
                    let settings = self.settings.now().observability;
                    self.metrics.tekton.pipeline_run_ended(&run, &written, settings);
                }
                // The watch will not tell its owner: what it delivers is known by now.
                if let Some(owner) = Key::owner_of(written.as_ref()) {
                    self.queue.add(owner);
                }
                return Ok(None);
            }
            return Ok(wake_at);
        }
        Err(Error::Unsettled(needs))
    }

    /// The pods that tasks of the run share, as the first run of each says, and those that were made ahead.
    async fn shared_pods(
        &self,
        key: &Key,
        run: &PipelineRun,
        task_runs: &[&TaskRun],
    ) -> Result<Vec<Seen>, Error> {
        let mut all = Vec::new();
        for name in task_runs.iter().filter_map(|run| fuse::made_with(run)) {
            let cached = self.pods.get(&Name::new(key.name.namespace.clone(), name.to_owned()));
            let pod = match cached {
                Some(pod) => Some(pod),
                // The cache had it as soon as it was made, unless another replica made it.
                None => match self.ask_for_pod(&key.name.namespace, name).await? {
                    Live::Here(pod) => Some(Arc::from(pod)),
                    Live::NotAsked | Live::Gone => None,
                },
            };
            let report = pod.as_ref().and_then(|pod| self.reports.get(pod.metadata.uid.as_deref()?));
            all.push(Seen { name: name.to_owned(), pod, report });
        }
        for name in fuse::ahead_pods(run) {
            // One that the cache does not know yet is made, or used, a moment later.
            if let Some(pod) = self.pods.get(&Name::new(key.name.namespace.clone(), name.clone()))
                && all.iter().all(|seen| seen.name != name)
            {
                let report = pod.metadata.uid.as_deref().and_then(|uid| self.reports.get(uid));
                all.push(Seen { name, pod: Some(pod), report });
            }
        }
        Ok(all)
    }

    /// The runs that a run is a part of, the nearest first.
    fn ancestors(&self, key: &Key, run: &PipelineRun) -> Vec<Arc<PipelineRun>> {
        let mut found: Vec<Arc<PipelineRun>> = Vec::new();
        let mut next = Key::owner_of(run);
        // Owners cannot go in a circle where UIDs are true; who writes them by hand is stopped here.
        while found.len() < DEEPEST
            && let Some(owner) =
                next.filter(|owner| owner.kind == RunKind::PipelineRun && owner.group == key.group)
            && let Some(parent) = self.runs(key.group).pipeline_runs.get(&owner.name)
        {
            next = Key::owner_of(parent.as_ref());
            found.push(parent);
        }
        found
    }
}

/// Two statuses as they are to be compared: without the Pipeline's spec, where it is one that both share. It is by far
/// the largest part of them.
fn apart_from_spec(
    old: Option<&PipelineRunStatus>,
    mut new: PipelineRunStatus,
) -> (Option<PipelineRunStatus>, PipelineRunStatus) {
    let mut old = old.cloned();
    if let Some(old) = &mut old
        && let (Some(before), Some(after)) = (&old.pipeline_spec, &new.pipeline_spec)
        && Arc::ptr_eq(before, after)
    {
        (old.pipeline_spec, new.pipeline_spec) = (None, None);
    }
    (old, new)
}
