//! Writing a run's status: only what differs, and only onto the version that it was decided on.

use ergon_api::Group;
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::{Error, FIELD_MANAGER, Key, Shell};
use crate::cache::Cache;
use crate::merge_diff::merge_diff;
use crate::trim::Trim;

impl Shell {
    /// Writes the status where it differs; gives the run as it is then, or none where nothing was written.
    pub(super) async fn write_status<K, Status>(
        &self,
        key: &Key,
        cache: &Cache<K>,
        run: &K,
        old: Option<&Status>,
        new: &Status,
    ) -> Result<Option<K>, Error>
    where
        K: Resource<DynamicType = Group, Scope = kube::core::DynamicResourceScope>
            + Trim
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
        Status: Serialize + Default,
    {
        let kind = key.kind.name();
        let json = |source| Error::Json { kind, source };
        let default = Status::default();
        let old = serde_json::to_value(old.unwrap_or(&default)).map_err(json)?;
        let new = serde_json::to_value(new).map_err(json)?;
        let Some(status) = merge_diff(&old, &new) else { return Ok(None) };
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
                written.trim();
                cache.written(written.clone());
                Ok(Some(written))
            }
            Err(kube::Error::Api(status)) if status.code == 409 => {
                Err(Error::Stale { kind, name: key.name.to_string() })
            }
            // The run is gone: nobody needs its status.
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(Error::api("write the status of", kind, &key.name.to_string(), error)),
        }
    }
}
