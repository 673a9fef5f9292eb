//! The documents of an image, as far as they are used; OCI's and Docker's forms are the same in these fields.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ImageError;

/// The annotation that containerd writes: the image's whole name.
pub(crate) const NAME_CONTAINERD: &str = "io.containerd.image.name";
/// OCI's annotation: a whole name or only a tag, depending on who wrote it.
pub(crate) const NAME_OCI: &str = "org.opencontainers.image.ref.name";

/// Manifests, indexes and configs are read into memory; none that is real comes near this, in bytes.
pub(crate) const DOCUMENT_MAX: u64 = 16 << 20;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    pub digest: String,
    #[serde(default)]
    pub size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Platform {
    #[serde(default)]
    pub architecture: String,
    #[serde(default)]
    pub os: String,
}

/// A manifest or an index of manifests; which one it is shows in its fields, since not all name their media type.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub schema_version: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Descriptor>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub manifests: Vec<Descriptor>,
}

/// The config, as far as it says how to run the image.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct ConfigFile {
    #[serde(default)]
    pub config: Option<Execution>,
    #[serde(default)]
    pub rootfs: RootFs,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Execution {
    #[serde(default)]
    pub entrypoint: Option<Vec<String>>,
    #[serde(default)]
    pub cmd: Option<Vec<String>>,
    #[serde(default)]
    pub env: Option<Vec<String>>,
    #[serde(default)]
    pub working_dir: Option<String>,
    #[serde(default)]
    pub user: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct RootFs {
    #[serde(default)]
    pub diff_ids: Vec<String>,
}

/// One image of `manifest.json` in what `docker save` writes.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DockerImage {
    pub config: String,
    #[serde(default)]
    pub repo_tags: Option<Vec<String>>,
    #[serde(default)]
    pub layers: Vec<String>,
}

/// OCI's word for the machine that this runs on.
pub(crate) const fn architecture() -> &'static str {
    if cfg!(target_arch = "x86_64") {
        "amd64"
    } else if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        std::env::consts::ARCH
    }
}

/// The manifest of an index that fits this machine: the first that says so, else one that says nothing.
pub(crate) fn choose_platform(manifests: &[Descriptor]) -> Result<&Descriptor, ImageError> {
    let fits = |platform: &Platform| platform.os == "linux" && platform.architecture == architecture();
    manifests
        .iter()
        .find(|entry| entry.platform.as_ref().is_some_and(fits))
        .or_else(|| manifests.iter().find(|entry| entry.platform.is_none()))
        .ok_or_else(|| ImageError::NoPlatform {
            architecture: architecture(),
            found: manifests
                .iter()
                .filter_map(|entry| entry.platform.as_ref())
                .map(|platform| format!("{}/{}", platform.os, platform.architecture))
                .collect::<Vec<_>>()
                .join(", "),
        })
}

pub(crate) fn parse<T: for<'a> Deserialize<'a>>(bytes: &[u8], what: &str) -> Result<T, ImageError> {
    serde_json::from_slice(bytes).map_err(|source| ImageError::Document { what: what.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(os: &str, architecture: &str) -> Descriptor {
        Descriptor {
            digest: format!("{os}-{architecture}"),
            platform: Some(Platform { os: os.into(), architecture: architecture.into() }),
            ..Descriptor::default()
        }
    }

    #[test]
    fn the_platform_of_this_machine_is_chosen() {
        let list =
            [entry("unknown", "unknown"), entry("windows", architecture()), entry("linux", architecture())];
        assert_eq!(choose_platform(&list).unwrap().digest, format!("linux-{}", architecture()));
        let error = choose_platform(&list[..2]).unwrap_err().to_string();
        assert!(error.contains("unknown/unknown, windows/"), "{error}");
    }
}
