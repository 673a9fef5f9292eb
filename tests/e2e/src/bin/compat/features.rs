//! The feature flags that the manifests were tried with: the ConfigMap `feature-flags`, as Tekton's users set it.

use std::collections::BTreeMap;

use anyhow::Result;
use clap::ValueEnum;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::PostParams;
use kube::{Api, Client};
use serde::Deserialize;
use serde_json::json;

const NAMESPACE: &str = "tekton-pipelines";
const NAME: &str = "feature-flags";

/// A set of flags, as Tekton's own tests have them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Flags {
    /// Stable fields alone.
    Stable,
    /// Tekton's default.
    Beta,
    /// Everything is on.
    Alpha,
}

/// What is set in any set of flags, and otherwise goes back to its default.
const ALPHA: [(&str, &str); 8] = [
    ("results-from", "sidecar-logs"),
    ("keep-pod-on-cancel", "true"),
    ("enable-cel-in-whenexpression", "true"),
    ("enable-param-enum", "true"),
    ("enable-artifacts", "true"),
    ("enable-concise-resolver-syntax", "true"),
    ("enable-kubernetes-sidecar", "true"),
    ("enable-termination-message-compression", "true"),
];

/// The ConfigMap, if there is one.
///
/// # Errors
/// The API server's words.
pub async fn read(client: &Client) -> Result<Option<ConfigMap>> {
    Ok(Api::namespaced(client.clone(), NAMESPACE).get_opt(NAME).await?)
}

/// That ConfigMap with a set of flags.
pub fn with(before: Option<&ConfigMap>, flags: Flags) -> ConfigMap {
    let mut config = before.cloned().unwrap_or_default();
    config.metadata.name = Some(NAME.to_owned());
    let data: &mut BTreeMap<String, String> = config.data.get_or_insert_default();
    let level = match flags {
        Flags::Stable => "stable",
        Flags::Beta => "beta",
        Flags::Alpha => "alpha",
    };
    data.insert("enable-api-fields".to_owned(), level.to_owned());
    for (name, value) in ALPHA {
        if flags == Flags::Alpha {
            data.insert(name.to_owned(), value.to_owned());
        } else if before.and_then(|before| before.data.as_ref()?.get(name)).is_none() {
            data.remove(name);
        }
    }
    config
}

/// Creates or replaces the ConfigMap, and its namespace where that is missing.
///
/// # Errors
/// The API server's words.
pub async fn write(client: &Client, config: &ConfigMap) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    if namespaces.get_opt(NAMESPACE).await?.is_none() {
        let namespace = serde_json::from_value(json!({"metadata": {"name": NAMESPACE}}))?;
        namespaces.create(&PostParams::default(), &namespace).await?;
    }
    let configs: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
    let mut config = config.clone();
    config.metadata.resource_version = None;
    match configs.replace(NAME, &PostParams::default(), &config).await {
        Err(kube::Error::Api(status)) if status.is_not_found() => {
            configs.create(&PostParams::default(), &config).await?;
        }
        replaced => drop(replaced?),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_the_user_stay() {
        let before: ConfigMap =
            serde_json::from_value(json!({"data": {"coschedule": "disabled", "enable-param-enum": "true"}}))
                .unwrap();
        let beta = with(Some(&before), Flags::Beta).data.unwrap();
        assert_eq!(beta["enable-api-fields"], "beta");
        assert_eq!(beta["coschedule"], "disabled");
        assert_eq!(beta["enable-param-enum"], "true");
        let alpha = with(None, Flags::Alpha).data.unwrap();
        assert_eq!(alpha["results-from"], "sidecar-logs");
        assert!(!with(None, Flags::Stable).data.unwrap().contains_key("results-from"));
    }
}
