//! What resolvers ask of the cluster.

use std::collections::BTreeMap;
use std::sync::Arc;

use ergon_api::{Duration, Group};
use ergon_resolve::{Data, Kind, Stored, World};
use k8s_openapi::api::core::v1::{ConfigMap, Secret, ServiceAccount};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};
use tracing::warn;

use crate::settings::Settings;

/// The cluster as one run sees it.
pub(super) struct ClusterWorld {
    pub client: Client,
    pub group: Group,
    /// The run's.
    pub namespace: String,
    /// Where the settings of resolvers are.
    pub settings: String,
    /// The installation's settings.
    pub installation: Arc<Settings>,
}

impl ClusterWorld {
    async fn config_map(&self, namespace: &str, name: &str) -> Option<BTreeMap<String, String>> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
        match api.get_opt(name).await {
            Ok(map) => map.map(|map| map.data.unwrap_or_default()),
            Err(error) => {
                warn!(%error, namespace, name, "cannot read a ConfigMap; goes on without");
                None
            }
        }
    }
}

impl World for ClusterWorld {
    fn namespace(&self) -> &str {
        &self.namespace
    }

    fn group(&self) -> &str {
        self.group.name()
    }

    async fn secret(&self, namespace: &str, name: &str) -> Result<Option<Data<Vec<u8>>>, String> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let secret = api.get_opt(name).await.map_err(|error| error.to_string())?;
        let data = |secret: Secret| secret.data.unwrap_or_default().into_iter();
        Ok(secret.map(|secret| data(secret).map(|(key, value)| (key, value.0)).collect()))
    }

    async fn pull_secrets(
        &self,
        service_account: &str,
        secret: Option<&str>,
    ) -> Result<Vec<Data<Vec<u8>>>, String> {
        let mut names: Vec<String> = secret.map(str::to_owned).into_iter().collect();
        let api: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &self.namespace);
        let account = api.get_opt(service_account).await.map_err(|error| error.to_string())?;
        let pulling = account.into_iter().flat_map(|account| account.image_pull_secrets.unwrap_or_default());
        names.extend(pulling.map(|reference| reference.name));
        let mut secrets = Vec::with_capacity(names.len());
        for name in names {
            match self.secret(&self.namespace, &name).await? {
                Some(data) => secrets.push(data),
                // A service account may name what is not there: the kubelet goes on as well.
                None if secret != Some(&name) => {}
                None => return Err(format!("secret {name} not found in namespace {}", self.namespace)),
            }
        }
        Ok(secrets)
    }

    async fn settings(&self, config_map: &str) -> Option<Data<String>> {
        self.config_map(&self.settings, config_map).await
    }

    async fn object(&self, kind: Kind, namespace: &str, name: &str) -> Result<Option<Stored>, String> {
        let (version, word, plural) = match kind {
            Kind::Task => ("v1", "Task", "tasks"),
            Kind::Pipeline => ("v1", "Pipeline", "pipelines"),
            Kind::StepAction => ("v1beta1", "StepAction", "stepactions"),
        };
        let gvk = GroupVersionKind::gvk(self.group.name(), version, word);
        let resource = ApiResource::from_gvk_with_plural(&gvk, plural);
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &resource);
        let Some(mut object) = api.get_opt(name).await.map_err(|error| error.to_string())? else {
            return Ok(None);
        };
        object.metadata.managed_fields = None;
        let uid = object.metadata.uid.clone().unwrap_or_default();
        let json = serde_json::to_vec(&object).map_err(|error| error.to_string())?;
        Ok(Some(Stored { json, uid, api_version: resource.api_version }))
    }

    fn longest(&self) -> Duration {
        self.installation.now().defaults.maximum_resolution_timeout
    }

    async fn authorities(&self) -> String {
        self.installation.authorities().to_string()
    }
}
