//! Doing what the engine decided. Each action can be done twice with the same end.

use ergon_api::{CustomRun, CustomRunSpecStatus, Group, PipelineRun, TaskRun};
use ergon_engine::{Action, fuse};
use futures::stream::{self, StreamExt, TryStreamExt};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tracing::warn;

use super::refusal::{self, Refusal};
use super::task_run::is_owned;
use super::{Error, FIELD_MANAGER, Key, RunKind, Runs, Shell};
use crate::cache::{Cache, Name};
use crate::trim::{self, Trim};

/// How many children of one run are created side by side.
const AT_ONCE: usize = 8;

/// How far the actions got.
#[derive(Debug)]
pub(super) enum Performed {
    All,
    /// There is a pod of this name: ours from an earlier pass, or somebody else's.
    PodIsThere(Box<Pod>),
    /// The API server will not create something, and the user must know why.
    Refused(String),
    /// The namespace's quota has no room now.
    OverQuota(String),
}

impl Shell {
    /// Does all actions in order; creations of children that follow each other are done side by side.
    pub(super) async fn perform<K>(
        &self,
        key: &Key,
        run: &K,
        actions: Vec<Action>,
    ) -> Result<Performed, Error>
    where
        K: Resource<DynamicType = Group>,
    {
        let mut children = Vec::new();
        for action in actions {
            if is_child(&action) {
                children.push(action);
                continue;
            }
            for outcome in [
                self.create_children(key, run, std::mem::take(&mut children)).await?,
                self.perform_one(key, run, action).await?,
            ] {
                if !matches!(outcome, Performed::All) {
                    return Ok(outcome);
                }
            }
        }
        self.create_children(key, run, children).await
    }

    async fn perform_one<K>(&self, key: &Key, run: &K, action: Action) -> Result<Performed, Error>
    where
        K: Resource<DynamicType = Group>,
    {
        match action {
            Action::CreateTaskRun(child) => self.create_child(key, run, child.name(), child.as_ref()).await,
            Action::CreateCustomRun(child) => self.create_child(key, run, child.name(), child.as_ref()).await,
            Action::CreatePipelineRun(child) => {
                self.create_child(key, run, child.name(), child.as_ref()).await
            }
            Action::CreatePod(pod) => self.create_pod(key, run, &pod).await,
            Action::CreateClaim(claim) => self.create_claim(key, run, &claim).await,
            Action::DeleteClaim { name } => {
                self.delete_claim(key, run, &name).await;
                Ok(Performed::All)
            }
            Action::StopTaskRun { name, uid, status, message } => {
                let spec = json!({"status": status, "statusMessage": message});
                self.stop_child::<TaskRun>(key, &name, &uid, spec).await.map(|()| Performed::All)
            }
            Action::StopCustomRun { name, uid, message } => {
                let spec = json!({"status": CustomRunSpecStatus::Cancelled, "statusMessage": message});
                self.stop_child::<CustomRun>(key, &name, &uid, spec).await.map(|()| Performed::All)
            }
            Action::StopPipelineRun { name, uid, status } => {
                let spec = json!({"status": status});
                self.stop_child::<PipelineRun>(key, &name, &uid, spec).await.map(|()| Performed::All)
            }
            Action::EndPod { name, uid, keep } => {
                self.end_pod(key, &name, &uid, keep).await.map(|()| Performed::All)
            }
            // Done before all others: see `Shell::add_metadata`.
            Action::AddMetadata { .. } => Ok(Performed::All),
            Action::Emit(event) => {
                self.events.emit(run.object_ref(&key.group), event);
                Ok(Performed::All)
            }
        }
    }

    async fn create_children<K>(&self, key: &Key, run: &K, children: Vec<Action>) -> Result<Performed, Error>
    where
        K: Resource<DynamicType = Group>,
    {
        stream::iter(children)
            .map(|child| async move { self.perform_one(key, run, child).await })
            .buffer_unordered(AT_ONCE)
            .try_fold(Performed::All, |all, one| async move {
                Ok(if matches!(all, Performed::All) { one } else { all })
            })
            .await
    }

    async fn create_child<K: Resource, C: ChildRun>(
        &self,
        key: &Key,
        run: &K,
        name: &str,
        child: &C,
    ) -> Result<Performed, Error> {
        let api: Api<C> = Api::namespaced_with(self.client.clone(), &key.name.namespace, &key.group);
        let created = self.metrics.write("create", C::NAME, api.create(&creation(), child).await);
        match created {
            Ok(created) => {
                self.take_child(key, created);
                Ok(Performed::All)
            }
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let found =
                    api.get_opt(name).await.map_err(|error| Error::api("read", C::NAME, name, error))?;
                let uid = run.meta().uid.as_deref().unwrap_or_default();
                match found {
                    Some(found) if is_owned(&found, uid) => {
                        self.take_child(key, found);
                        // It may have gone on, even to its end, since this pass read it as absent.
                        self.queue.add(key.clone());
                        Ok(Performed::All)
                    }
                    Some(found) if is_leaving(&found, &key.name.name) => Err(taken(C::NAME, name)),
                    Some(_) => Ok(Performed::Refused(format!(
                        "{} \"{name}\" exists already and does not belong to this run: delete it, or give the run another name",
                        C::NAME
                    ))),
                    None => Err(taken(C::NAME, name)),
                }
            }
            Err(error) => refused(run, C::NAME, name, error),
        }
    }

    /// Keeps a child as the API server answered it, and goes on with it at once: the watch will not tell it again.
    pub(super) fn take_child<C: ChildRun>(&self, key: &Key, mut child: C) {
        child.trim();
        let name = Name::of(&child);
        let pod = child.begins_in().map(|pod| Name::new(name.namespace.clone(), pod.to_owned()));
        C::cache(self.runs(key.group)).written(child);
        // If that pod was made ahead, its agent waits for this.
        if let Some(pod) = pod.and_then(|pod| self.pods.get(&pod)) {
            self.reports.tell(pod.metadata.uid.as_deref().unwrap_or_default());
        }
        if let Some(kind) = C::RUN {
            self.queue.add(Key { kind, group: key.group, name });
        }
    }

    /// Keeps a pod as the API server answered it, and looks at its run again: the watch will not tell it again.
    pub(crate) fn take_pod(&self, mut pod: Pod) {
        trim::pod(&mut pod);
        let (owner, name) = (Key::owner_of(&pod), pod.name_any());
        self.pods.written(pod);
        if let Some(owner) = owner {
            self.wake(&owner, &name);
        }
    }

    async fn create_pod<K: Resource>(&self, key: &Key, run: &K, pod: &Pod) -> Result<Performed, Error> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &key.name.namespace);
        let name = pod.name_any();
        match self.metrics.write("create", "Pod", api.create(&creation(), pod).await) {
            Ok(mut created) => {
                trim::pod(&mut created);
                // Nothing has happened to it yet that this pass does not know: nobody is to be told.
                self.pods.written(created);
                Ok(Performed::All)
            }
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let found =
                    api.get_opt(&name).await.map_err(|error| Error::api("read", "Pod", &name, error))?;
                let Some(mut found) = found else { return Err(taken("Pod", &name)) };
                let uid = run.meta().uid.as_deref().unwrap_or_default();
                if !is_owned(&found, uid) && is_leaving(&found, &key.name.name) {
                    return Err(taken("Pod", &name));
                }
                trim::pod(&mut found);
                if key.kind == RunKind::PipelineRun && is_owned(&found, uid) {
                    self.pods.written(found);
                    return Ok(Performed::All);
                }
                Ok(Performed::PodIsThere(Box::new(found)))
            }
            Err(error) => refused(run, "Pod", &name, error),
        }
    }

    async fn create_claim<K: Resource>(
        &self,
        key: &Key,
        run: &K,
        claim: &PersistentVolumeClaim,
    ) -> Result<Performed, Error> {
        let api: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), &key.name.namespace);
        let created = api.create(&creation(), claim).await;
        match self.metrics.write("create", "PersistentVolumeClaim", created) {
            Ok(_) => Ok(Performed::All),
            // Its name follows from the run's UID: it is ours from an earlier pass.
            Err(kube::Error::Api(status)) if status.code == 409 && status.is_already_exists() => {
                Ok(Performed::All)
            }
            Err(error) => refused(run, "PersistentVolumeClaim", &claim.name_any(), error),
        }
    }

    /// Deletes a claim of this run, and lets it go although pods that have ended still name it. The run has ended: where
    /// this fails, it is said, and the claim goes when the run is deleted.
    async fn delete_claim<K: Resource>(&self, key: &Key, run: &K, name: &str) {
        const KIND: &str = "PersistentVolumeClaim";
        const IN_USE: &str = "kubernetes.io/pvc-protection";
        let api: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), &key.name.namespace);
        let owner = run.meta().uid.as_deref().unwrap_or_default();
        let delete = async {
            let Some(claim) = api.get_opt(name).await?.filter(|claim| is_owned(claim, owner)) else {
                return Ok(());
            };
            let uid = claim.uid().unwrap_or_default();
            let precondition = Preconditions { uid: Some(uid.clone()), resource_version: None };
            let params = DeleteParams::default().preconditions(precondition);
            self.metrics.write("delete", KIND, api.delete(name, &params).await)?;
            let others: Vec<&String> = claim.finalizers().iter().filter(|name| *name != IN_USE).collect();
            if others.len() < claim.finalizers().len() {
                let patch = json!({"metadata": {"uid": uid, "finalizers": others}});
                let patched = api.patch(name, &patching(), &Patch::Merge(&patch)).await;
                self.metrics.write("patch", KIND, patched)?;
            }
            Ok(())
        };
        if let Err(error) = delete.await.or_else(|error| gone_is_fine("delete", KIND, name, error)) {
            warn!(%error, claim = name, "stays until its run is deleted");
        }
    }

    async fn stop_child<C: ChildRun>(
        &self,
        key: &Key,
        name: &str,
        uid: &str,
        spec: serde_json::Value,
    ) -> Result<(), Error> {
        let api: Api<C> = Api::namespaced_with(self.client.clone(), &key.name.namespace, &key.group);
        let patch = json!({"metadata": {"uid": uid}, "spec": spec});
        let outcome = api.patch(name, &patching(), &Patch::Merge(&patch)).await;
        match self.metrics.write("patch", C::NAME, outcome) {
            Ok(stopped) => {
                self.take_child(key, stopped);
                self.queue.add(key.clone());
                Ok(())
            }
            Err(error) => gone_is_fine("stop", C::NAME, name, error),
        }
    }

    async fn end_pod(&self, key: &Key, name: &str, uid: &str, keep: bool) -> Result<(), Error> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &key.name.namespace);
        if !keep {
            let precondition = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
            let params = DeleteParams::default().preconditions(precondition);
            let outcome = self.metrics.write("delete", "Pod", api.delete(name, &params).await);
            return outcome.map(|_| ()).or_else(|error| gone_is_fine("delete", "Pod", name, error));
        }
        // The one way to end a pod's containers and keep the pod with its logs.
        let patch = json!({"metadata": {"uid": uid}, "spec": {"activeDeadlineSeconds": 1}});
        let outcome = api.patch(name, &patching(), &Patch::Merge(&patch)).await;
        match self.metrics.write("patch", "Pod", outcome) {
            Ok(pod) => {
                self.take_pod(pod);
                Ok(())
            }
            Err(error) => gone_is_fine("end", "Pod", name, error),
        }
    }
}

/// A kind of run that pipeline runs make.
pub(super) trait ChildRun:
    Resource<DynamicType = Group, Scope = kube::core::DynamicResourceScope>
    + Trim
    + Clone
    + std::fmt::Debug
    + Serialize
    + DeserializeOwned
{
    const NAME: &'static str;
    /// What it is to the queue; none where another controller carries it out.
    const RUN: Option<RunKind>;
    fn cache(runs: &Runs) -> &Cache<Self>;

    /// The shared pod whose first task it runs.
    fn begins_in(&self) -> Option<&str> {
        None
    }
}

impl ChildRun for TaskRun {
    const NAME: &'static str = Self::KIND;
    const RUN: Option<RunKind> = Some(RunKind::TaskRun);
    fn cache(runs: &Runs) -> &Cache<Self> {
        &runs.task_runs
    }

    fn begins_in(&self) -> Option<&str> {
        fuse::made_with(self)
    }
}

impl ChildRun for PipelineRun {
    const NAME: &'static str = Self::KIND;
    const RUN: Option<RunKind> = Some(RunKind::PipelineRun);
    fn cache(runs: &Runs) -> &Cache<Self> {
        &runs.pipeline_runs
    }
}

impl ChildRun for CustomRun {
    const NAME: &'static str = Self::KIND;
    const RUN: Option<RunKind> = None;
    fn cache(runs: &Runs) -> &Cache<Self> {
        &runs.custom_runs
    }
}

fn is_child(action: &Action) -> bool {
    matches!(action, Action::CreateTaskRun(_) | Action::CreateCustomRun(_) | Action::CreatePipelineRun(_))
}

pub(super) fn creation() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..Default::default() }
}

pub(super) fn patching() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..Default::default() }
}

fn taken(kind: &'static str, name: &str) -> Error {
    Error::NameTaken { kind, name: name.to_owned() }
}

/// An object that somebody else owns and that will be gone soon: it is being deleted, or an earlier run of the same
/// name owned it and the garbage collector has yet to come.
fn is_leaving<K: Resource>(object: &K, run: &str) -> bool {
    let of_namesake = |owner: &OwnerReference| owner.name == run && Group::of(&owner.api_version).is_some();
    object.meta().deletion_timestamp.is_some()
        || object.meta().owner_references.iter().flatten().any(of_namesake)
}

/// An object that is gone, or replaced by another of its name, need not be ended.
fn gone_is_fine(verb: &'static str, kind: &'static str, name: &str, error: kube::Error) -> Result<(), Error> {
    match error {
        kube::Error::Api(status) if matches!(status.code, 404 | 409) => Ok(()),
        error => Err(Error::api(verb, kind, name, error)),
    }
}

pub(super) fn refused<K: Resource>(
    run: &K,
    kind: &'static str,
    name: &str,
    error: kube::Error,
) -> Result<Performed, Error> {
    let kube::Error::Api(status) = error else { return Err(Error::api("create", kind, name, error)) };
    let created = run.meta().creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    let age = Timestamp::now().duration_since(created).as_secs();
    match refusal::read(&status, age) {
        Refusal::Final => {
            Ok(Performed::Refused(format!("{kind} \"{name}\" was refused: {}", status.message)))
        }
        Refusal::OverQuota => {
            Ok(Performed::OverQuota(format!("{kind} \"{name}\" must wait: {}", status.message)))
        }
        Refusal::Retry => Err(Error::api("create", kind, name, kube::Error::Api(status))),
    }
}
