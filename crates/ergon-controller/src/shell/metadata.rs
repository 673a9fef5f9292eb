//! Adding labels and annotations to the run that is reconciled.

use std::sync::Arc;

use ergon_api::Group;
use ergon_engine::Action;
use kube::api::Patch;
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::perform::{Performed, patching, refused};
use super::{Error, Key, Shell};
use crate::cache::Cache;
use crate::trim::Trim;

/// What became of the run.
pub(super) enum Added<K> {
    /// It is as it was: there is nothing to add.
    Nothing,
    /// As it is now: its status is written onto this version.
    Now(Arc<K>),
    /// The API server will not take them, and the user must know why.
    Refused(String),
}

impl Shell {
    /// Does the `AddMetadata` among the actions. It changes the run's version, on which its status is written.
    pub(super) async fn add_metadata<K>(
        &self,
        key: &Key,
        cache: &Cache<K>,
        run: &K,
        actions: &[Action],
    ) -> Result<Added<K>, Error>
    where
        K: Resource<DynamicType = Group, Scope = kube::core::DynamicResourceScope>
            + Trim
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
    {
        let Some((labels, annotations)) = actions.iter().find_map(|action| match action {
            Action::AddMetadata { labels, annotations } => Some((labels, annotations)),
            _ => None,
        }) else {
            return Ok(Added::Nothing);
        };
        let kind = key.kind.name();
        let meta = run.meta();
        let patch = json!({"metadata": {
            // What was decided on older data is not written.
            "uid": meta.uid, "resourceVersion": meta.resource_version,
            "labels": labels, "annotations": annotations,
        }});
        let api: Api<K> = Api::namespaced_with(self.client.clone(), &key.name.namespace, &key.group);
        let outcome = api.patch(&key.name.name, &patching(), &Patch::Merge(&patch)).await;
        match self.metrics.write("patch", kind, outcome) {
            Ok(mut written) => {
                written.trim();
                cache.written(written.clone());
                Ok(Added::Now(Arc::new(written)))
            }
            Err(kube::Error::Api(status)) if status.code == 409 => {
                Err(Error::Stale { kind, name: key.name.to_string() })
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 400 | 422) => {
                match refused(run, kind, &key.name.name, kube::Error::Api(status))? {
                    Performed::Refused(message) => Ok(Added::Refused(message)),
                    _ => Ok(Added::Nothing),
                }
            }
            Err(error) => Err(Error::api("label", kind, &key.name.to_string(), error)),
        }
    }
}
