//! One pass over a TaskRun.

use std::sync::Arc;

use ergon_api::{Group, TaskRun, TaskRunStatus};
use ergon_engine::task::{self, Observed, PodSeen};
use ergon_engine::{Library, Need, Outcome};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Resource, ResourceExt};

use super::metadata::Added;
use super::perform::Performed;
use super::status::Written;
use super::{Error, Key, ROUNDS, Shell};
use crate::cache::Name;
use crate::trim;

/// What the API server itself has said of the pod in this pass.
pub(super) enum Live {
    NotAsked,
    Here(Box<Pod>),
    Gone,
}

impl Shell {
    /// Reads the TaskRun, lets the engine decide, does it. Gives the time to come again at.
    pub(super) async fn reconcile_task_run(&self, key: &Key) -> Result<Option<Timestamp>, Error> {
        let Some(run) = self.runs(key.group).task_runs.get(&key.name) else { return Ok(None) };
        // A run that is going away takes its pod with it.
        if !self.is_ours(key.group, run.spec.managed_by.as_deref())
            || run.metadata.deletion_timestamp.is_some()
        {
            return Ok(None);
        }
        let pod_name = task::pod_name(&run);
        let cached = self.pods.get(&Name::new(key.name.namespace.clone(), pod_name.clone()));
        if run.is_done() {
            if let Some(pod) = &cached {
                if is_owned(pod.as_ref(), run.uid()) {
                    self.reports.forget(&pod.uid().unwrap_or_default());
                }
                if task::belongs_to(pod, &run) {
                    self.complete(key, &run, pod).await?;
                }
            }
            return Ok(None);
        }
        // A pod that an earlier run of this name left behind is not this run's; creating ours will meet it.
        let cached = cached.filter(|pod| task::belongs_to(pod, &run));
        let mut library = Library::default();
        let mut live = Live::NotAsked;
        let mut needs = Vec::new();
        for _ in 0..ROUNDS {
            let pod = match &live {
                Live::Here(pod) => Some(pod.as_ref()),
                Live::Gone => None,
                Live::NotAsked => cached.as_deref(),
            };
            let report = pod.and_then(|pod| self.reports.get(pod.metadata.uid.as_deref()?));
            let platform = self.platform();
            let config = self.settings.now();
            let observed = Observed {
                group: key.group,
                run: &run,
                pod: match (pod, &live) {
                    (Some(pod), _) => PodSeen::Here(pod),
                    (None, Live::Gone) => PodSeen::Gone,
                    (None, _) => PodSeen::NotInCache,
                },
                report: report.as_deref(),
                library: &library,
                config: &config,
                platform: &platform,
            };
            let decision = match task::reconcile(&observed, Timestamp::now()) {
                Outcome::Decided(decision) => decision,
                Outcome::Needs(asked) => {
                    for need in &asked {
                        if let Need::Pod(name) = need {
                            live = self.ask_for_pod(&key.name.namespace, name).await?;
                        }
                    }
                    self.look_up(key, &asked, &mut library).await?;
                    needs = asked;
                    continue;
                }
            };
            let cache = &self.runs(key.group).task_runs;
            let run = match self.add_metadata(key, cache, &*run, &decision.actions).await? {
                Added::Nothing => Arc::clone(&run),
                Added::Now(run) => run,
                Added::Refused(message) => {
                    let status = task::pod_refused(&run, &message, Timestamp::now());
                    self.write_task_run(key, &run, &status).await?;
                    return Ok(None);
                }
            };
            match self.perform(key, &*run, decision.actions).await? {
                Performed::All => {
                    let later = self.write_task_run(key, &run, &decision.status).await?;
                    return Ok(later.into_iter().chain(decision.wake_at).min());
                }
                // Its name is taken: decide again with what is there.
                Performed::PodIsThere(pod) => live = Live::Here(pod),
                Performed::Refused(message) => {
                    let status = task::pod_refused(&run, &message, Timestamp::now());
                    self.write_task_run(key, &run, &status).await?;
                    return Ok(None);
                }
                Performed::OverQuota(message) => {
                    let (status, wake_at) = task::pod_waits(&run, &message, Timestamp::now());
                    let later = self.write_task_run(key, &run, &status).await?;
                    return Ok(later.into_iter().chain([wake_at]).min());
                }
            }
        }
        Err(Error::Unsettled(needs))
    }

    pub(super) async fn ask_for_pod(&self, namespace: &str, name: &str) -> Result<Live, Error> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let pod = api.get_opt(name).await.map_err(|error| Error::api("read", "Pod", name, error))?;
        Ok(pod.map_or(Live::Gone, |mut pod| {
            trim::pod(&mut pod);
            Live::Here(Box::new(pod))
        }))
    }

    /// Writes what the node has said only now of a run that has ended.
    async fn complete(&self, key: &Key, run: &TaskRun, pod: &Pod) -> Result<(), Error> {
        if let Some((old, new)) = self.late.completed(run.uid(), pod) {
            let cache = &self.runs(key.group).task_runs;
            self.write_status(key, cache, run, Some(&old), &new).await?;
            self.late.forget(run.uid());
            // There may be more to come: sidecars end one by one.
            self.late.keep(run.uid(), &new);
        }
        Ok(())
    }

    /// Writes the status, or gives the time until which that can wait.
    pub(super) async fn write_task_run(
        &self,
        key: &Key,
        run: &Arc<TaskRun>,
        status: &TaskRunStatus,
    ) -> Result<Option<Timestamp>, Error> {
        let cache = &self.runs(key.group).task_runs;
        let written = match self.write_status(key, cache, run, run.status.as_ref(), status).await? {
            Written::Now(written) => written,
            Written::Later(at) => {
                self.assume_first(key, run, status)?;
                return Ok(Some(at));
            }
            Written::Nothing => return Ok(None),
        };
        // The watch will not tell its owner: what it delivers is known by now.
        if let Some(owner) = Key::owner_of(written.as_ref()) {
            self.queue.add(owner);
        }
        if !written.is_done() {
            return Ok(None);
        }
        self.late.keep(written.uid(), status);
        let pod = Name::new(key.name.namespace.clone(), task::pod_name(&written));
        if let Some(pod) = self.pods.get(&pod).filter(|pod| is_owned(pod.as_ref(), written.uid())) {
            self.reports.forget(&pod.uid().unwrap_or_default());
        }
        let status = written.status.as_ref();
        let start = status.and_then(|status| status.start_time.as_ref());
        let end = status.and_then(|status| status.completion_time.as_ref());
        let took = start.zip(end).and_then(|(start, end)| end.0.duration_since(start.0).try_into().ok());
        self.metrics.ended(TaskRun::KIND, written.is_successful(), took);
        if key.group == Group::Tekton {
            self.metrics.tekton.task_run_ended(run, &written, self.settings.now().observability);
        }
        Ok(None)
    }
}

impl Shell {
    /// Goes on as if a run's first status were written: when it began, and what it runs, is decided once.
    fn assume_first(&self, key: &Key, run: &TaskRun, status: &TaskRunStatus) -> Result<(), Error> {
        let json = |source| Error::Json { kind: TaskRun::KIND, source };
        let stored = run.status.clone().unwrap_or_default();
        if stored.pod_name.is_some() {
            return Ok(());
        }
        let version = run.metadata.resource_version.as_deref().unwrap_or_default();
        let assumed = TaskRun { status: Some(status.clone()), ..run.clone() };
        if self.runs(key.group).task_runs.assume(assumed) {
            self.held.assume(key, version, serde_json::to_value(&stored).map_err(json)?);
        }
        Ok(())
    }
}

/// Whether the object of this UID owns the other.
pub(super) fn is_owned<K: Resource>(object: &K, uid: &str) -> bool {
    object.meta().owner_references.iter().flatten().any(|owner| owner.uid == uid)
}
