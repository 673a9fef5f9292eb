//! Telling the API server which authority signed our webhooks' certificate.

mod definitions;

pub use definitions::converted;

use std::fmt::Debug;
use std::sync::Arc;

use ergon_api::Group;
use futures::StreamExt;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{Config, watcher};
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tracing::{debug, info, warn};

use crate::install::{CONFIGURATION, Target, configurations};
use crate::shell::FIELD_MANAGER;

/// A kind of webhook configuration.
trait Configuration:
    Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned + Send + 'static
{
    fn clients(&mut self) -> Vec<&mut WebhookClientConfig>;
}

impl Configuration for MutatingWebhookConfiguration {
    fn clients(&mut self) -> Vec<&mut WebhookClientConfig> {
        self.webhooks.iter_mut().flatten().map(|hook| &mut hook.client_config).collect()
    }
}

impl Configuration for ValidatingWebhookConfiguration {
    fn clients(&mut self) -> Vec<&mut WebhookClientConfig> {
        self.webhooks.iter_mut().flatten().map(|hook| &mut hook.client_config).collect()
    }
}

/// Keeps the authority in both configurations and in the definitions, whenever they or it change. In the background,
/// until the process ends.
pub fn keep(client: &Client, groups: &[Group], authority: &watch::Receiver<Arc<str>>) {
    for name in converted(groups) {
        tokio::spawn(definitions::keep(client.clone(), name, authority.clone()));
    }
    tokio::spawn(keep_one::<MutatingWebhookConfiguration>(client.clone(), authority.clone()));
    tokio::spawn(keep_one::<ValidatingWebhookConfiguration>(client.clone(), authority.clone()));
}

/// Writes both configurations, and where objects are converted, for a controller outside of the cluster.
pub async fn register(
    client: &Client,
    groups: &[Group],
    namespace: &str,
    tekton_namespace: Option<&str>,
    url: &str,
    authority: &str,
) -> Result<(), kube::Error> {
    let target = Target::Url(url.to_owned());
    for object in configurations(groups, namespace, tekton_namespace, &target, Some(authority)) {
        let kind = object["kind"].as_str().unwrap_or_default();
        let gvk = GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", kind);
        let resource = ApiResource::from_gvk_with_plural(&gvk, &format!("{}s", kind.to_lowercase()));
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        api.patch(CONFIGURATION, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&object)).await?;
    }
    for name in converted(groups) {
        definitions::register(client, &name, &target, authority).await?;
    }
    info!(url, "registered the webhooks");
    Ok(())
}

async fn keep_one<K: Configuration>(client: Client, mut authority: watch::Receiver<Arc<str>>) {
    let api: Api<K> = Api::all(client);
    let config = Config::default().fields(&format!("metadata.name={CONFIGURATION}"));
    let mut seen = watcher(api.clone(), config).default_backoff().touched_objects().boxed();
    let mut last: Option<K> = None;
    loop {
        tokio::select! {
            event = seen.next() => match event {
                Some(Ok(object)) => last = Some(object),
                Some(Err(error)) => warn!(%error, kind = %K::kind(&()), "cannot watch"),
                None => return,
            },
            changed = authority.changed() => if changed.is_err() { return },
        }
        let Some(object) = &mut last else { continue };
        let bundle = ByteString(authority.borrow_and_update().as_bytes().to_vec());
        if !trust(object, &bundle) {
            continue;
        }
        match api.replace(CONFIGURATION, &PostParams::default(), object).await {
            Ok(_) => info!(kind = %K::kind(&()), "told the API server whom to trust"),
            // Changed meanwhile, which the watch tells; or gone.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => debug!("is done again"),
            Err(error) => warn!(%error, kind = %K::kind(&()), "cannot tell the API server whom to trust"),
        }
    }
}

/// Whether anything had to change.
fn trust<K: Configuration>(object: &mut K, bundle: &ByteString) -> bool {
    let mut changed = false;
    for client in object.clients() {
        if client.ca_bundle.as_ref() != Some(bundle) {
            client.ca_bundle = Some(bundle.clone());
            changed = true;
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trust_is_written_once() {
        let target = Target::Service { namespace: "ns".to_owned() };
        let [_, validating] = configurations(&Group::ALL, "ns", Some("t"), &target, None);
        let mut object: ValidatingWebhookConfiguration =
            serde_json::from_value(validating).expect("a configuration");
        assert!(trust(&mut object, &ByteString(b"a".to_vec())));
        assert!(!trust(&mut object, &ByteString(b"a".to_vec())));
        assert!(trust(&mut object, &ByteString(b"b".to_vec())));
    }
}
