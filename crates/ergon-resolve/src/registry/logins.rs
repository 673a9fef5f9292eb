//! Who a run is to a registry: what its pull Secrets say, read as the kubelet reads them.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use oci_client::Reference;
use serde::Deserialize;

use crate::Data;

/// A name and a password.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Login {
    pub user: String,
    pub password: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct File {
    auths: BTreeMap<String, Entry>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: String,
    username: String,
    password: String,
}

/// The logins that Secrets have for an image, the closest first. A Secret that cannot be read has none.
pub fn logins(secrets: &[Data<Vec<u8>>], image: &Reference) -> Vec<Login> {
    of(secrets, image.registry(), image.repository())
}

fn of(secrets: &[Data<Vec<u8>>], registry: &str, repository: &str) -> Vec<Login> {
    let mut found: Vec<(usize, Login)> = secrets
        .iter()
        .flat_map(entries)
        .filter_map(|(key, entry)| Some((fit(&key, registry, repository)?, entry.login()?)))
        .collect();
    found.sort_by_key(|(closeness, _)| std::cmp::Reverse(*closeness));
    let mut logins: Vec<Login> = Vec::new();
    for (_, login) in found {
        if !logins.contains(&login) {
            logins.push(login);
        }
    }
    logins
}

fn entries(secret: &Data<Vec<u8>>) -> BTreeMap<String, Entry> {
    let read = match (secret.get(".dockerconfigjson"), secret.get(".dockercfg")) {
        (Some(file), _) => serde_json::from_slice::<File>(file).map(|file| file.auths),
        (None, Some(file)) => serde_json::from_slice(file),
        (None, None) => return BTreeMap::new(),
    };
    read.unwrap_or_else(|error| {
        tracing::warn!(%error, "a pull secret cannot be read; going on without");
        BTreeMap::new()
    })
}

impl Entry {
    fn login(&self) -> Option<Login> {
        if self.auth.is_empty() {
            let login = Login { user: self.username.clone(), password: self.password.clone() };
            return (!login.user.is_empty()).then_some(login);
        }
        let pair = BASE64_STANDARD.decode(self.auth.trim()).ok()?;
        let pair = String::from_utf8(pair).ok()?;
        let (user, password) = pair.split_once(':')?;
        Some(Login { user: user.to_owned(), password: password.to_owned() })
    }
}

/// How closely an entry's key fits a repository: the length of what fits; none where it is for another.
fn fit(key: &str, registry: &str, repository: &str) -> Option<usize> {
    let key = key.split_once("://").map_or(key, |(_, rest)| rest);
    let (host, path) = key.split_once('/').unwrap_or((key, ""));
    if !is_host(host, registry) {
        return None;
    }
    let closeness = host.len() - host.matches('*').count();
    // The registry's own path, and no repository's.
    let path = path.trim_end_matches('/');
    if path.is_empty() || path == "v1" || path == "v2" {
        return Some(closeness);
    }
    let rest = repository.strip_prefix(path)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(closeness + path.len())
}

/// Whether a key's host, which may have `*` for parts of a name, is the registry. Docker Hub has three names.
fn is_host(pattern: &str, registry: &str) -> bool {
    fn plain(host: &str) -> &str {
        match host {
            "index.docker.io" | "registry-1.docker.io" => "docker.io",
            host => host,
        }
    }
    let (pattern, registry) = (plain(pattern), plain(registry));
    if !pattern.contains('*') {
        return pattern == registry;
    }
    let (patterns, parts): (Vec<&str>, Vec<&str>) =
        (pattern.split('.').collect(), registry.split('.').collect());
    patterns.len() == parts.len()
        && patterns.iter().zip(&parts).all(|(pattern, part)| match pattern.split_once('*') {
            Some((before, after)) => {
                part.len() >= before.len() + after.len() && part.starts_with(before) && part.ends_with(after)
            }
            None => pattern == part,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(key: &str, text: &str) -> Data<Vec<u8>> {
        Data::from([(key.to_owned(), text.as_bytes().to_vec())])
    }

    #[test]
    fn the_closest_login_comes_first() {
        let auth = BASE64_STANDARD.encode("team:pass:word");
        let file = format!(
            r#"{{"auths": {{"https://index.docker.io/v1/": {{"username": "hub", "password": "p"}},
                "r.example": {{"username": "all", "password": "p"}}, "r.example/team": {{"auth": "{auth}"}},
                "*.example": {{"username": "star", "password": "p"}}, "empty.example": {{}}}}}}"#
        );
        let secrets = [
            secret(".dockerconfigjson", &file),
            secret(".dockercfg", r#"{"old.example:5000": {"username": "old", "password": "p"}}"#),
            secret(".dockerconfigjson", "no JSON"),
            secret("other", "x"),
        ];
        for (registry, repository, expected) in [
            ("docker.io", "library/busybox", &["hub"][..]),
            ("r.example", "team/app", &["team", "all", "star"]),
            ("r.example", "teams/app", &["all", "star"]),
            ("old.example:5000", "a", &["old"]),
            ("empty.example", "a", &["star"]),
            ("a.r.example", "a", &[]),
        ] {
            let users: Vec<String> =
                of(&secrets, registry, repository).into_iter().map(|login| login.user).collect();
            assert_eq!(users, expected, "{registry}/{repository}");
        }
        assert_eq!(of(&secrets, "r.example", "team/app")[0].password, "pass:word");
    }
}
