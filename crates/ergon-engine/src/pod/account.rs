//! A pod's service account: whose Secrets become files in the steps' homes, and which ones pull images.

use std::collections::{BTreeMap, BTreeSet};

use ergon_api::{Config, Group, TaskRun};
use ergon_wire::{Credential, CredentialUsage, Credentials};
use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, SecretVolumeSource, Volume, VolumeMount};

use super::{PodError, volumes};
use crate::name;
use crate::task::paths;

/// A service account, as far as pods depend on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// Those Secrets that it lists and that are there, in its order.
    pub secrets: Vec<SecretView>,
    /// Those that it lists and that are not there.
    pub missing_secrets: Vec<String>,
    /// Names of Secrets with registry credentials, for its pods' images.
    pub image_pull_secrets: Vec<String>,
}

/// A Secret without what is secret.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecretView {
    pub name: String,
    /// Such as `kubernetes.io/basic-auth`.
    pub type_: String,
    pub annotations: BTreeMap<String, String>,
    pub keys: BTreeSet<String>,
}

/// The service account of a run's pod.
pub fn account_name<'a>(run: &'a TaskRun, config: &'a Config) -> &'a str {
    let own = run.spec.service_account_name.as_deref().filter(|name| !name.is_empty());
    own.unwrap_or(&config.defaults.service_account)
}

/// What a pod's steps get of its account's Secrets; none where that is nothing.
///
/// # Errors
/// Two Secrets for one server, or a key for git without the server's own where those are demanded.
pub(super) fn credentials(
    group: Group,
    account: &Account,
    config: &Config,
) -> Result<Option<Credentials>, PodError> {
    if config.features.disable_creds_init {
        return Ok(None);
    }
    let mut entries: Vec<Credential> = Vec::new();
    for secret in &account.secrets {
        if entries.iter().any(|entry| entry.secret == secret.name) {
            continue;
        }
        let no_known_hosts = secret.type_ == SSH_AUTH && !secret.keys.contains("known_hosts");
        if no_known_hosts && config.features.require_git_ssh_secret_known_hosts {
            return Err(PodError::Field {
                field: format!("secret `{}`", secret.name),
                message: "TaskRun validation failed. Git SSH Secret must have \"known_hosts\" included when feature flag \"require-git-ssh-secret-known-hosts\" is set to true".to_owned(),
            });
        }
        for usage in usages(secret) {
            let same = entries.iter().find(|entry| entry.usage == usage && is_single(&usage));
            if let Some(other) = same {
                return Err(PodError::Field {
                    field: format!("secrets `{}` and `{}`", other.secret, secret.name),
                    message: "both are for the same server, so none can be chosen: annotate one of them with another URL".to_owned(),
                });
            }
            entries.push(Credential { secret: secret.name.clone(), usage });
        }
    }
    Ok((!entries.is_empty()).then(|| Credentials {
        dir: paths::credentials(group),
        secrets_dir: format!("{}-secrets", paths::credentials(group)),
        entries,
    }))
}

/// The pod's volumes for its steps' credentials: the Secrets, and a folder in memory.
pub(super) fn credential_volumes(credentials: &Credentials) -> Vec<Volume> {
    let secrets = secrets(credentials).into_iter().map(|secret| Volume {
        name: volume_of(secret),
        secret: Some(SecretVolumeSource { secret_name: Some(secret.to_owned()), ..Default::default() }),
        ..Default::default()
    });
    secrets.chain([folder()]).collect()
}

/// The folder in memory that credentials are made in; each step has its own part of it.
pub(super) fn folder() -> Volume {
    Volume {
        name: FOLDER.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource { medium: Some("Memory".to_owned()), ..Default::default() }),
        ..Default::default()
    }
}

/// What one step sees of them.
pub(super) fn credential_mounts(credentials: &Credentials, container: &str) -> Vec<VolumeMount> {
    let secrets = secrets(credentials).into_iter().map(|secret| {
        volumes::mount(&volume_of(secret), &format!("{}/{secret}", credentials.secrets_dir), true)
    });
    secrets.chain([folder_mount(&credentials.dir, container)]).collect()
}

/// One step's part of the folder in memory.
pub(super) fn folder_mount(dir: &str, container: &str) -> VolumeMount {
    VolumeMount { sub_path: Some(container.to_owned()), ..volumes::mount(FOLDER, dir, false) }
}

const FOLDER: &str = "ergon-creds";
const BASIC_AUTH: &str = "kubernetes.io/basic-auth";
const SSH_AUTH: &str = "kubernetes.io/ssh-auth";

fn volume_of(secret: &str) -> String {
    name::derived("creds", "secret", secret)
}

fn secrets(credentials: &Credentials) -> BTreeSet<&str> {
    credentials.entries.iter().map(|entry| entry.secret.as_str()).collect()
}

/// What a Secret is for: its type says how, its annotations for which servers.
fn usages(secret: &SecretView) -> Vec<CredentialUsage> {
    let urls = |tool: &str| {
        let mut urls: Vec<String> = secret
            .annotations
            .iter()
            .filter(|(key, _)| {
                ["tekton.dev/", "ergon.dev/"]
                    .iter()
                    .any(|group| key.strip_prefix(group).and_then(|key| key.strip_prefix(tool)).is_some())
            })
            .map(|(_, url)| url.clone())
            .collect();
        urls.sort_unstable();
        urls.dedup();
        urls.into_iter()
    };
    match secret.type_.as_str() {
        BASIC_AUTH => urls("docker-")
            .map(|url| CredentialUsage::DockerBasic { url })
            .chain(urls("git-").map(|url| CredentialUsage::GitBasic { url }))
            .collect(),
        SSH_AUTH => urls("git-").map(|url| CredentialUsage::GitSsh { url }).collect(),
        "kubernetes.io/dockerconfigjson" => vec![CredentialUsage::DockerConfigJson],
        "kubernetes.io/dockercfg" => vec![CredentialUsage::DockerConfig],
        _ => Vec::new(),
    }
}

/// Whether only one Secret can be for this: several keys for one host are tried in turn, and files of docker are merged.
fn is_single(usage: &CredentialUsage) -> bool {
    matches!(usage, CredentialUsage::GitBasic { .. } | CredentialUsage::DockerBasic { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(name: &str, type_: &str, annotations: &[(&str, &str)]) -> SecretView {
        SecretView {
            name: name.to_owned(),
            type_: type_.to_owned(),
            annotations: annotations
                .iter()
                .map(|(key, url)| ((*key).to_owned(), (*url).to_owned()))
                .collect(),
            keys: BTreeSet::new(),
        }
    }

    fn told(secrets: Vec<SecretView>, config: &Config) -> Result<Vec<String>, String> {
        let account = Account { secrets, ..Default::default() };
        let credentials = credentials(Group::Tekton, &account, config).map_err(|error| error.to_string())?;
        let entries = credentials.into_iter().flat_map(|credentials| credentials.entries);
        Ok(entries.map(|entry| format!("{} {:?}", entry.secret, entry.usage)).collect())
    }

    #[test]
    fn a_secret_is_used_for_what_it_is_annotated_with() {
        let secrets = vec![
            secret(
                "both",
                BASIC_AUTH,
                &[
                    ("tekton.dev/git-1", "https://b"),
                    ("tekton.dev/git-0", "https://a"),
                    ("tekton.dev/docker-0", "https://r"),
                    ("other", "x"),
                ],
            ),
            secret(
                "key",
                SSH_AUTH,
                &[("ergon.dev/git-0", "github.com"), ("tekton.dev/docker-0", "https://r")],
            ),
            secret("pull", "kubernetes.io/dockerconfigjson", &[]),
            secret("old", "kubernetes.io/dockercfg", &[]),
            secret("opaque", "Opaque", &[("tekton.dev/git-0", "https://c")]),
            secret("plain", BASIC_AUTH, &[]),
            secret("key", SSH_AUTH, &[("ergon.dev/git-0", "github.com")]),
        ];
        assert_eq!(
            told(secrets.clone(), &Config::default()).unwrap(),
            [
                "both DockerBasic { url: \"https://r\" }",
                "both GitBasic { url: \"https://a\" }",
                "both GitBasic { url: \"https://b\" }",
                "key GitSsh { url: \"github.com\" }",
                "pull DockerConfigJson",
                "old DockerConfig",
            ]
        );
        let mut off = Config::default();
        off.features.disable_creds_init = true;
        assert_eq!(told(secrets, &off), Ok(Vec::new()));
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        let two = ["a", "b"].map(|name| secret(name, BASIC_AUTH, &[("tekton.dev/git-0", "https://x")]));
        assert!(
            told(two.into(), &Config::default()).unwrap_err().contains("secrets `a` and `b`: both are for")
        );
        let mut strict = Config::default();
        strict.features.require_git_ssh_secret_known_hosts = true;
        let mut key = secret("k", SSH_AUTH, &[("tekton.dev/git-0", "x")]);
        assert!(told(vec![key.clone()], &strict).unwrap_err().contains("must have \"known_hosts\" included"));
        key.keys.insert("known_hosts".to_owned());
        assert_eq!(told(vec![key], &strict).unwrap().len(), 1);
    }
}
