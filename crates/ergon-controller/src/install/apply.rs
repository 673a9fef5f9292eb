//! Putting the manifests into a cluster, and taking them out.

use std::time::Duration;

use ergon_api::Group;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use super::{CONFIGURATION, InstallOptions, NAME, manifests_beside, own_groups};
use crate::beside::{self, Beside};
use crate::trust::converted;

/// Who owns the fields that an install sets.
const FIELD_MANAGER: &str = "ergon-install";
/// How long to wait for anything to become what it should.
const PATIENCE: Duration = Duration::from_mins(2);

/// What has just been done, or is waited for: to tell the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Applied {
        kind: String,
        name: String,
    },
    /// It was there, and is the user's.
    Kept {
        kind: String,
        name: String,
    },
    Deleted {
        kind: String,
        name: String,
    },
    /// Tekton is in the cluster: its definitions and webhooks stay.
    Beside,
    Waiting {
        what: String,
    },
}

/// Why an install or its removal stopped.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    #[error("cannot {verb} {kind} `{name}`")]
    Api { verb: &'static str, kind: String, name: String, source: Box<kube::Error> },
    #[error(
        "CustomResourceDefinition `{0}` is there already and is not ours: Tekton seems to be installed. Install beside it, without the group `tekton.dev`, or remove it first"
    )]
    Foreign(String),
    #[error("waited {} s in vain until {what}", PATIENCE.as_secs())]
    Late { what: String },
    #[error("cannot watch {what}")]
    Watch { what: String, source: Box<kube::runtime::wait::Error> },
}

/// Applies everything, and returns when it works: kinds are served, the controller is there, the webhooks trust it.
pub async fn apply(
    client: &Client,
    options: &InstallOptions,
    mut told: impl FnMut(Step),
) -> Result<(), InstallError> {
    let beside = is_beside(client, options).await?;
    if beside {
        told(Step::Beside);
    }
    apply_definitions(client, &manifests_beside(options, beside), &mut told).await?;
    let others = manifests_beside(options, beside);
    let others = others.iter().filter(|object| !is_definition(object));
    let (hooks, others): (Vec<&DynamicObject>, Vec<&DynamicObject>) =
        others.partition(|object| kind(object).ends_with("WebhookConfiguration"));
    for object in others {
        if is_users(object, options) {
            create_one(client, object, &mut told).await?;
        } else {
            apply_one(client, object, &mut told).await?;
        }
    }
    told(Step::Waiting { what: "the controller is ready".to_owned() });
    let api: Api<Deployment> = Api::namespaced(client.clone(), &options.namespace);
    wait("the controller is ready", await_condition(api, NAME, is_available)).await?;
    // Last: from now on every object passes the controller.
    for hook in &hooks {
        apply_one(client, hook, &mut told).await?;
    }
    if options.webhooks {
        let api: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
        wait("the webhooks are trusted", await_condition(api, CONFIGURATION, mutating_is_trusted)).await?;
        let api: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
        wait("the webhooks are trusted", await_condition(api, CONFIGURATION, validating_is_trusted)).await?;
        for name in converted(&own_groups(options, beside)) {
            let api: Api<CustomResourceDefinition> = Api::all(client.clone());
            let what = format!("the conversion of `{name}` is trusted");
            wait(&what, await_condition(api, &name, conversion_is_trusted)).await?;
        }
    }
    Ok(())
}

/// Applies the kinds alone, and returns when the API server serves them.
pub async fn definitions(
    client: &Client,
    options: &InstallOptions,
    mut told: impl FnMut(Step),
) -> Result<(), InstallError> {
    let beside = is_beside(client, options).await?;
    apply_definitions(client, &manifests_beside(options, beside), &mut told).await
}

/// Whether Tekton's own definitions are in the cluster and stay.
async fn is_beside(client: &Client, options: &InstallOptions) -> Result<bool, InstallError> {
    match options.beside_tekton {
        Beside::Always => Ok(true),
        Beside::Never => Ok(false),
        Beside::Auto if !options.groups.contains(&Group::Tekton) => Ok(false),
        Beside::Auto => beside::is_tekton_here(client).await.map_err(|error| InstallError::Api {
            verb: "read",
            kind: "CustomResourceDefinition".to_owned(),
            name: "taskruns.tekton.dev".to_owned(),
            source: Box::new(error),
        }),
    }
}

async fn apply_definitions(
    client: &Client,
    objects: &[DynamicObject],
    told: &mut impl FnMut(Step),
) -> Result<(), InstallError> {
    let definitions: Vec<&DynamicObject> = objects.iter().filter(|object| is_definition(object)).collect();
    for definition in &definitions {
        refuse_foreign(client, &definition.name_any()).await?;
    }
    for definition in &definitions {
        forget_address(client, &definition.name_any()).await?;
        apply_one(client, definition, told).await?;
    }
    told(Step::Waiting { what: "the API server serves the new kinds".to_owned() });
    for definition in &definitions {
        let api: Api<CustomResourceDefinition> = Api::all(client.clone());
        let name = definition.name_any();
        wait(&format!("`{name}` is served"), await_condition(api, &name, conditions::is_crd_established()))
            .await?;
    }
    Ok(())
}

/// Takes everything out. `definitions`: also the kinds, **and with them every object of theirs**.
pub async fn uninstall(
    client: &Client,
    options: &InstallOptions,
    definitions: bool,
    mut told: impl FnMut(Step),
) -> Result<(), InstallError> {
    // Webhooks first: with their controller gone they would refuse every deletion's updates.
    let beside = is_beside(client, options).await?;
    for object in manifests_beside(options, beside).iter().rev() {
        // Others may have put something there too, such as Tekton's dashboard.
        if kind(object) == "Namespace" && is_users(object, options) {
            continue;
        }
        if kind(object) == "ConfigMap" && !is_labelled(client, object).await? {
            continue;
        }
        if is_definition(object) {
            let ours = definitions && is_ours(client, &object.name_any()).await?.unwrap_or(false);
            if !ours {
                continue;
            }
        }
        let (kind, name) = (kind(object).to_owned(), object.name_any());
        match api(client, object).delete(&name, &DeleteParams::foreground()).await {
            Ok(_) => told(Step::Deleted { kind, name }),
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => {
                return Err(InstallError::Api { verb: "delete", kind, name, source: Box::new(error) });
            }
        }
    }
    Ok(())
}

async fn apply_one(
    client: &Client,
    object: &DynamicObject,
    told: &mut impl FnMut(Step),
) -> Result<(), InstallError> {
    let (kind, name) = (kind(object).to_owned(), object.name_any());
    let params = PatchParams::apply(FIELD_MANAGER).force();
    match api(client, object).patch(&name, &params, &Patch::Apply(object)).await {
        Ok(_) => {
            told(Step::Applied { kind, name });
            Ok(())
        }
        Err(error) => Err(InstallError::Api { verb: "apply", kind, name, source: Box::new(error) }),
    }
}

/// Settings, and the namespaces that they are in, belong to whoever uses the cluster: they are made once, and kept.
fn is_users(object: &DynamicObject, options: &InstallOptions) -> bool {
    match kind(object) {
        "ConfigMap" => true,
        "Namespace" => object.name_any() != options.namespace,
        _ => false,
    }
}

async fn create_one(
    client: &Client,
    object: &DynamicObject,
    told: &mut impl FnMut(Step),
) -> Result<(), InstallError> {
    let (kind, name) = (kind(object).to_owned(), object.name_any());
    match api(client, object).create(&PostParams::default(), object).await {
        Ok(_) => told(Step::Applied { kind, name }),
        Err(kube::Error::Api(status)) if status.code == 409 => told(Step::Kept { kind, name }),
        Err(error) => return Err(InstallError::Api { verb: "create", kind, name, source: Box::new(error) }),
    }
    Ok(())
}

/// Definitions that somebody else brought are not replaced under their feet.
async fn refuse_foreign(client: &Client, name: &str) -> Result<(), InstallError> {
    match is_ours(client, name).await? {
        Some(false) => Err(InstallError::Foreign(name.to_owned())),
        Some(true) | None => Ok(()),
    }
}

/// A controller outside of the cluster may have put its own address into a definition, beside which none of a Service
/// is allowed.
async fn forget_address(client: &Client, name: &str) -> Result<(), InstallError> {
    let failed = |verb, error| InstallError::Api {
        verb,
        kind: "CustomResourceDefinition".to_owned(),
        name: name.to_owned(),
        source: Box::new(error),
    };
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let found = api.get_opt(name).await.map_err(|error| failed("read", error))?;
    let webhook = found.and_then(|found| found.spec.conversion?.webhook?.client_config?.url);
    if webhook.is_some() {
        let none = json!({"spec": {"conversion": {"strategy": "None", "webhook": null}}});
        let params = PatchParams::default();
        api.patch_metadata(name, &params, &Patch::Merge(&none))
            .await
            .map_err(|error| failed("patch", error))?;
    }
    Ok(())
}

/// Whether a definition is ours; none where there is no such definition.
async fn is_ours(client: &Client, name: &str) -> Result<Option<bool>, InstallError> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let found = api.get_metadata_opt(name).await.map_err(|error| InstallError::Api {
        verb: "read",
        kind: "CustomResourceDefinition".to_owned(),
        name: name.to_owned(),
        source: Box::new(error),
    })?;
    Ok(found.map(|found| beside::is_labelled(found.labels())))
}

/// Whether an object is there with our label.
async fn is_labelled(client: &Client, object: &DynamicObject) -> Result<bool, InstallError> {
    let name = object.name_any();
    let found = api(client, object).get_metadata_opt(&name).await.map_err(|error| InstallError::Api {
        verb: "read",
        kind: kind(object).to_owned(),
        name,
        source: Box::new(error),
    })?;
    Ok(found.is_some_and(|found| beside::is_labelled(found.labels())))
}

async fn wait<K>(
    what: &str,
    condition: impl Future<Output = Result<Option<K>, kube::runtime::wait::Error>>,
) -> Result<(), InstallError> {
    match tokio::time::timeout(PATIENCE, Box::pin(condition)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(InstallError::Watch { what: what.to_owned(), source: Box::new(error) }),
        Err(_) => Err(InstallError::Late { what: what.to_owned() }),
    }
}

fn is_available(deployment: Option<&Deployment>) -> bool {
    let Some((deployment, status)) = deployment.and_then(|it| Some((it, it.status.as_ref()?))) else {
        return false;
    };
    let wanted = deployment.spec.replicas.unwrap_or(1);
    let updated = status.updated_replicas.unwrap_or(0);
    status.observed_generation >= deployment.metadata.generation
        && updated >= wanted
        // While one of before is there it may be the one that is available.
        && status.replicas.unwrap_or(0) <= updated
        && status.available_replicas.unwrap_or(0) >= updated
}

fn mutating_is_trusted(hooks: Option<&MutatingWebhookConfiguration>) -> bool {
    hooks.is_some_and(|hooks| {
        hooks.webhooks.iter().flatten().all(|hook| hook.client_config.ca_bundle.is_some())
    })
}

fn validating_is_trusted(hooks: Option<&ValidatingWebhookConfiguration>) -> bool {
    hooks.is_some_and(|hooks| {
        hooks.webhooks.iter().flatten().all(|hook| hook.client_config.ca_bundle.is_some())
    })
}

fn conversion_is_trusted(definition: Option<&CustomResourceDefinition>) -> bool {
    let conversion = definition.and_then(|definition| definition.spec.conversion.as_ref());
    let client = conversion.and_then(|conversion| conversion.webhook.as_ref()?.client_config.as_ref());
    client.is_some_and(|client| client.ca_bundle.is_some())
}

fn is_definition(object: &DynamicObject) -> bool {
    kind(object) == "CustomResourceDefinition"
}

fn kind(object: &DynamicObject) -> &str {
    object.types.as_ref().map_or("", |types| types.kind.as_str())
}

/// The API of one of our manifests. Their plurals are all regular, so nothing has to be discovered.
fn api(client: &Client, object: &DynamicObject) -> Api<DynamicObject> {
    let (version, kind) =
        object.types.as_ref().map_or(("", ""), |types| (types.api_version.as_str(), types.kind.as_str()));
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    let gvk = GroupVersionKind::gvk(group, version, kind);
    let resource = ApiResource::from_gvk_with_plural(&gvk, &format!("{}s", kind.to_lowercase()));
    match &object.metadata.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}
