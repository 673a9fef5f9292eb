//! The same for the conversion of our kinds' older versions, which their definitions speak of.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ergon_api::{Group, ResolutionRequest};
use futures::StreamExt;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{Config, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tokio::sync::watch;
use tracing::{debug, info, warn};

use crate::beside::is_labelled;
use crate::install::{Target, conversion};
use crate::shell::FIELD_MANAGER;

/// The names of the definitions whose objects are converted, in these groups.
pub fn converted(groups: &[Group]) -> Vec<String> {
    let kinds = ergon_api::crd::kinds();
    let several = |group: Group| kinds.iter().filter(move |kind| kind.versions(group).count() > 1);
    groups
        .iter()
        .flat_map(|group| {
            let requests = (*group == Group::Tekton).then(|| ResolutionRequest::DEFINITION.to_owned());
            several(*group).map(|kind| format!("{}.{}", kind.plural, group.name())).chain(requests)
        })
        .collect()
}

/// Keeps the authority in a definition, whenever either changes.
pub(super) async fn keep(client: Client, name: String, mut authority: watch::Receiver<Arc<str>>) {
    // Its metadata alone: a definition with its schemas is large.
    let api: Api<PartialObjectMeta<CustomResourceDefinition>> = Api::all(client);
    let config = Config::default().fields(&format!("metadata.name={name}"));
    let mut seen = watcher(api.clone(), config).default_backoff().touched_objects().boxed();
    // UID and generation as they are with the authority in.
    let mut told = None;
    let mut last = None;
    loop {
        tokio::select! {
            event = seen.next() => match event {
                Some(Ok(definition)) => last = Some(definition),
                Some(Err(error)) => warn!(%error, name, "cannot watch the definition"),
                None => return,
            },
            changed = authority.changed() => {
                if changed.is_err() {
                    return;
                }
                told = None;
            }
        }
        let Some(definition) = last.as_ref().filter(|definition| is_labelled(definition.labels())) else {
            continue;
        };
        let state = (definition.uid(), definition.metadata.generation);
        if told.as_ref() == Some(&state) || definition.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let bundle = STANDARD.encode(authority.borrow_and_update().as_bytes());
        let patch = json!({"spec": {"conversion": {"webhook": {"clientConfig": {"caBundle": bundle}}}}});
        match api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Ok(patched) => {
                info!(name, "told the API server whom to trust");
                told = Some((patched.uid(), patched.metadata.generation));
            }
            // Without conversion, such as where webhooks were not installed; or gone.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409 | 422) => {
                debug!(name, status.message, "nothing to tell");
                told = Some(state);
            }
            Err(error) => warn!(%error, name, "cannot tell the API server whom to trust"),
        }
    }
}

/// Has the API server ask a controller outside of the cluster.
pub(super) async fn register(
    client: &Client,
    name: &str,
    target: &Target,
    authority: &str,
) -> Result<(), kube::Error> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let found = api.get_metadata_opt(name).await?;
    if found.is_some_and(|definition| is_labelled(definition.labels())) {
        let mut config: Value = json!(conversion(target, Some(authority)));
        config["service"] = Value::Null;
        let webhook = json!({"clientConfig": config, "conversionReviewVersions": ["v1"]});
        let patch = json!({"spec": {"conversion": {"strategy": "Webhook", "webhook": webhook}}});
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        api.patch_metadata(name, &params, &Patch::Merge(&patch)).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_kinds_with_several_versions_are_converted() {
        assert_eq!(
            converted(&Group::ALL),
            [
                "tasks",
                "pipelines",
                "taskruns",
                "pipelineruns",
                "stepactions",
                "resolutionrequests.resolution"
            ]
            .map(|name| format!("{name}.tekton.dev"))
        );
        assert!(converted(&[Group::Ergon]).is_empty());
    }
}
