//! Who we are to a registry: what `docker login` and `podman login` left behind.

use std::collections::HashMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use oci_client::secrets::RegistryAuth;
use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
struct ConfigFile {
    #[serde(default)]
    auths: HashMap<String, Login>,
}

#[derive(Debug, Default, Deserialize)]
struct Login {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
}

/// What the first file that knows the registry says. Helper programs are not asked.
pub(super) fn find(registry: &str) -> RegistryAuth {
    files()
        .iter()
        .find_map(|path| find_in(path, registry))
        .map_or(RegistryAuth::Anonymous, |(name, password)| RegistryAuth::Basic(name, password))
}

fn files() -> Vec<PathBuf> {
    let var = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    [
        var("REGISTRY_AUTH_FILE"),
        var("DOCKER_CONFIG")
            .or_else(|| var("HOME").map(|dir| dir.join(".docker")))
            .map(|dir| dir.join("config.json")),
        var("XDG_RUNTIME_DIR").map(|dir| dir.join("containers/auth.json")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn find_in(path: &Path, registry: &str) -> Option<(String, String)> {
    let text = fs::read(path).ok()?;
    let config: ConfigFile = match serde_json::from_slice(&text) {
        Ok(config) => config,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "cannot read credentials; going on without");
            return None;
        }
    };
    let login =
        config.auths.iter().find_map(|(key, login)| (host_of(key) == host_of(registry)).then_some(login))?;
    if login.auth.is_empty() {
        return (!login.username.is_empty()).then(|| (login.username.clone(), login.password.clone()));
    }
    let pair = String::from_utf8(BASE64_STANDARD.decode(login.auth.trim()).ok()?).ok()?;
    let (name, password) = pair.split_once(':')?;
    Some((name.to_owned(), password.trim_end_matches('\0').to_owned()))
}

/// Keys are hosts or URLs, and Docker Hub has three names.
fn host_of(key: &str) -> &str {
    let key = key.split_once("://").map_or(key, |(_, rest)| rest);
    match key.split('/').next().unwrap_or(key) {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_are_found_by_host() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let auth = BASE64_STANDARD.encode("me:pass:word");
        fs::write(
            file.path(),
            format!(
                r#"{{"auths": {{"https://index.docker.io/v1/": {{"auth": "{auth}"}},
                     "localhost:5000": {{"username": "a", "password": "b"}}, "empty.example": {{}}}},
                   "credsStore": "desktop"}}"#
            ),
        )
        .unwrap();
        for (registry, wanted) in [
            ("docker.io", Some(("me", "pass:word"))),
            ("localhost:5000", Some(("a", "b"))),
            ("empty.example", None),
            ("ghcr.io", None),
        ] {
            let wanted = wanted.map(|(name, password)| (name.to_owned(), password.to_owned()));
            assert_eq!(find_in(file.path(), registry), wanted, "{registry}");
        }
    }
}
