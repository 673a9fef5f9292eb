//! Credentials that a step finds in its home, made from Secrets that its container mounts.

use serde::{Deserialize, Serialize};

/// What the shim writes before it starts a step's command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Credentials {
    /// Where the files are made, such as `/tekton/creds`; from there they are copied to the home.
    pub dir: String,
    /// Where each Secret is mounted, in a directory of its name.
    pub secrets_dir: String,
    pub entries: Vec<Credential>,
}

/// What one Secret is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Credential {
    /// The Secret's name.
    pub secret: String,
    #[serde(flatten)]
    pub usage: CredentialUsage,
}

/// For what, and for which server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "usage")]
pub enum CredentialUsage {
    /// A user's name and password for repositories at this URL.
    GitBasic { url: String },
    /// A private key for repositories at `host[:port][/path]`.
    GitSsh { url: String },
    /// A user's name and password for this registry.
    DockerBasic { url: String },
    /// A whole `config.json`.
    DockerConfigJson,
    /// The older form of it: the registries alone.
    DockerConfig,
}
