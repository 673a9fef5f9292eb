//! Writing a run's status: only what differs, only onto the version that it was decided on, and not for every message.

use std::sync::Arc;

use ergon_api::{Condition, CustomRun, Group};
use ergon_engine::{Event, EventKind, progress};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::hold::may_wait;
use super::{Error, FIELD_MANAGER, Key, Shell};
use crate::cache::{Cache, Name};
use crate::cloud_events::{self, CloudEvent};
use crate::merge_diff::merge_diff;
use crate::trim::Trim;

/// What became of a status.
pub(super) enum Written<K> {
    /// Nothing differs, or the run is gone.
    Nothing,
    /// What differs can wait: decide again at that time.
    Later(Timestamp),
    /// The run as it is now.
    Now(Box<K>),
}

impl Shell {
    /// Writes the status where it differs.
    pub(super) async fn write_status<K, Status>(
        &self,
        key: &Key,
        cache: &Cache<K>,
        run: &K,
        old: Option<&Status>,
        new: &Status,
    ) -> Result<Written<K>, Error>
    where
        K: Resource<DynamicType = Group, Scope = kube::core::DynamicResourceScope>
            + Trim
            + Clone
            + std::fmt::Debug
            + Serialize
            + DeserializeOwned,
        Status: Serialize + Default,
    {
        let kind = key.kind.name();
        let json = |source| Error::Json { kind, source };
        let default = Status::default();
        let version = run.meta().resource_version.as_deref().unwrap_or_default();
        let old = match self.held.stored(key, version) {
            Some(stored) => stored,
            None => serde_json::to_value(old.unwrap_or(&default)).map_err(json)?,
        };
        let new = serde_json::to_value(new).map_err(json)?;
        let Some(status) = merge_diff(&old, &new) else {
            self.held.forget(key);
            return Ok(Written::Nothing);
        };
        let pace = self.held.pace(self.queue.depth());
        if may_wait(&old, &new, &status, pace)
            && let Some(left) = self.held.left(key, &new, pace)
            && let Ok(later) = Timestamp::now().checked_add(left)
        {
            return Ok(Written::Later(later));
        }
        self.held.note_write();
        let meta = run.meta();
        let patch = json!({
            // With it the API server refuses a write that was decided on older data.
            "metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version},
            "status": status,
        });
        let api: Api<K> = Api::namespaced_with(self.client.clone(), &key.name.namespace, &key.group);
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..Default::default() };
        let outcome = api.patch_status(&key.name.name, &params, &Patch::Merge(&patch)).await;
        match self.metrics.write("patch-status", kind, outcome) {
            Ok(mut written) => {
                self.held.forget(key);
                written.trim();
                if cache.written(written.clone()) {
                    // It had been dropped from memory meanwhile: who looked since then found nothing.
                    self.queue.add(key.clone());
                }
                self.tell_progress(key, &old, &new, &written);
                self.tell_sink(key, &old, &written);
                Ok(Written::Now(Box::new(written)))
            }
            Err(kube::Error::Api(status)) if status.code == 409 => {
                Err(Error::Stale { kind, name: key.name.to_string() })
            }
            // The run is gone: nobody needs its status.
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(Written::Nothing),
            Err(error) => Err(Error::api("write the status of", kind, &key.name.to_string(), error)),
        }
    }

    /// Emits an event where the run goes on and its condition says something new. Only what was written is told: a
    /// decision whose status can wait is made again.
    fn tell_progress<K>(&self, key: &Key, before: &Value, after: &Value, run: &K)
    where
        K: Resource<DynamicType = Group>,
    {
        let condition = |status: &Value| -> Option<Condition> {
            serde_json::from_value(status["conditions"].get(0)?.clone()).ok()
        };
        if let Some(event) = progress(condition(before).as_ref(), condition(after).as_ref()) {
            self.events.emit(run.object_ref(&key.group), event);
        }
    }

    /// Sends CloudEvents on a status that was just written, where the settings say where to.
    fn tell_sink<K>(&self, key: &Key, before: &Value, run: &K)
    where
        K: Resource<DynamicType = Group> + Serialize,
    {
        let config = self.settings.now();
        let Some(sink) = config.cloud_events_sink() else { return };
        let Ok(object) = serde_json::to_value(run) else { return };
        let told = cloud_events::events(key.group, key.kind, before, &object, Timestamp::now());
        self.send(sink, &run.object_ref(&key.group), told);
    }

    /// Sends CloudEvents on a CustomRun, where the settings say where to and the run is this replica's. `before`: as it was when
    /// last seen; none where it is new.
    pub fn tell_custom_run(self: &Arc<Self>, group: Group, before: Option<&CustomRun>, run: &CustomRun) {
        let config = self.settings.now();
        let Some(sink) = config.cloud_events_sink().map(str::to_owned) else { return };
        if !config.features.send_cloud_events_for_runs || !self.works_on_part(run) {
            return;
        }
        let condition = |run: &CustomRun| serde_json::to_value(run.condition()).unwrap_or_default();
        // What we made ourselves was known before the watch brought it.
        let is_own = |before: &&CustomRun| {
            before.metadata.resource_version == run.metadata.resource_version
                && run.metadata.generation == Some(1)
                && run.condition().is_none()
        };
        let before = before.filter(|before| !is_own(before)).map(condition);
        if before.as_ref().is_some_and(|before| *before == condition(run)) {
            return;
        }
        let (shell, run) = (Arc::clone(self), run.clone());
        tokio::spawn(async move {
            // Who listens wants all of it; in memory is only what decisions read.
            let name = Name::of(&run);
            let api: Api<CustomRun> = Api::namespaced_with(shell.client.clone(), &name.namespace, &group);
            let whole = api.get_opt(&name.name).await.ok().flatten();
            let whole = whole.map(|whole| CustomRun { status: run.status.clone(), ..whole });
            let Ok(object) = serde_json::to_value(whole.as_ref().unwrap_or(&run)) else { return };
            let told = cloud_events::custom_events(group, before.as_ref(), &object, Timestamp::now());
            shell.send(&sink, &run.object_ref(&group), told);
        });
    }

    fn send(&self, sink: &str, about: &ObjectReference, told: Vec<CloudEvent>) {
        let authorities = self.settings.authorities();
        for event in told {
            let (events, about) = (self.events.clone(), about.clone());
            self.cloud_events.send(sink, &authorities, event, move |message| {
                let reason = "CloudEventFailed".to_owned();
                events.emit(about, Event { kind: EventKind::Warning, reason, message });
            });
        }
    }
}
