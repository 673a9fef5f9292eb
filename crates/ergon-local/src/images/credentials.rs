//! Who we are to a registry: what `docker login` and `podman login` left behind, in files or with helper programs.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// How long a helper program may take: it may ask a person.
const HELPER_LIMIT: Duration = Duration::from_mins(1);
/// What a helper says that does not know the registry.
const UNKNOWN: &str = "credentials not found";
/// The user name of helpers for a token that is no password.
const TOKEN: &str = "<token>";

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ConfigFile {
    auths: BTreeMap<String, Login>,
    /// The helper of one registry.
    cred_helpers: BTreeMap<String, String>,
    /// The helper of all others.
    creds_store: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Login {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// What was found for an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// A name and a password; none: go without.
    pub login: Option<(String, String)>,
    /// Why there is none, where there should have been one.
    pub trouble: Option<String>,
}

/// The login for an image of this registry and repository: the first file that has one.
pub(crate) async fn find(registry: &str, repository: &str) -> Found {
    find_in(&files(), None, registry, repository).await
}

fn files() -> Vec<PathBuf> {
    let var = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    [
        var("REGISTRY_AUTH_FILE"),
        var("DOCKER_CONFIG")
            .or_else(|| var("HOME").map(|dir| dir.join(".docker")))
            .map(|dir| dir.join("config.json")),
        var("XDG_RUNTIME_DIR").map(|dir| dir.join("containers/auth.json")),
        // Where podman keeps it when there is no folder for the session.
        var("XDG_CONFIG_HOME")
            .or_else(|| var("HOME").map(|dir| dir.join(".config")))
            .map(|dir| dir.join("containers/auth.json")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// `path`: where helpers are looked for; none: as ever.
async fn find_in(files: &[PathBuf], path: Option<&OsString>, registry: &str, repository: &str) -> Found {
    let mut trouble = None;
    for file in files {
        let Some(config) = read(file) else { continue };
        match of_file(&config, path, registry, repository).await {
            Ok(Some(login)) => return Found { login: Some(login), trouble: None },
            Ok(None) => {}
            Err(why) => trouble = Some(format!("{}: {why}", file.display())),
        }
    }
    if let Some(trouble) = &trouble {
        tracing::warn!(%trouble, "going on without a login");
    }
    Found { login: None, trouble }
}

fn read(path: &Path) -> Option<ConfigFile> {
    let text = fs::read(path).ok()?;
    match serde_json::from_slice(&text) {
        Ok(config) => Some(config),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "cannot read credentials; going on without");
            None
        }
    }
}

async fn of_file(
    config: &ConfigFile,
    path: Option<&OsString>,
    registry: &str,
    repository: &str,
) -> Result<Option<(String, String)>, String> {
    let own = config.cred_helpers.iter().find(|(key, _)| host_of(key) == host_of(registry));
    let helper = own.map(|(key, helper)| (helper.as_str(), key.as_str())).or_else(|| {
        // Docker Hub is known to helpers by its oldest name.
        let key = if host_of(registry) == "docker.io" { "https://index.docker.io/v1/" } else { registry };
        (!config.creds_store.is_empty()).then_some((config.creds_store.as_str(), key))
    });
    let asked = match helper {
        Some((helper, key)) => ask(helper, key, path).await,
        None => Ok(None),
    };
    match asked {
        Ok(None) => in_file(config, registry, repository),
        // What stands in the file is as good.
        Err(why) => in_file(config, registry, repository)?.map(Some).ok_or(why),
        found => found,
    }
}

/// The closest entry of the file itself: podman has some for a part of a registry.
fn in_file(
    config: &ConfigFile,
    registry: &str,
    repository: &str,
) -> Result<Option<(String, String)>, String> {
    let fits = config.auths.iter().filter_map(|(key, login)| {
        let scope = scope_of(key);
        let fits = host_of(key) == host_of(registry)
            && (scope.is_empty()
                || repository
                    .strip_prefix(scope)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
        fits.then_some((scope.len(), login))
    });
    let Some((_, login)) = fits.max_by_key(|(closeness, _)| *closeness) else { return Ok(None) };
    if !login.identitytoken.is_empty() {
        return Err("the login is an identity token, which is not served: log in with a password".to_owned());
    }
    if login.auth.is_empty() {
        let pair = (login.username.clone(), login.password.clone());
        return Ok((!login.username.is_empty()).then_some(pair));
    }
    let pair = BASE64_STANDARD.decode(login.auth.trim()).ok().and_then(|pair| String::from_utf8(pair).ok());
    let pair = pair.as_deref().and_then(|pair| pair.split_once(':'));
    let (name, password) = pair.ok_or_else(|| format!("the login of `{registry}` cannot be read"))?;
    Ok(Some((name.to_owned(), password.trim_end_matches('\0').to_owned())))
}

/// Asks `docker-credential-<helper>`.
async fn ask(helper: &str, key: &str, path: Option<&OsString>) -> Result<Option<(String, String)>, String> {
    let program = format!("docker-credential-{helper}");
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if !helper.chars().all(plain) {
        return Err(format!("`{program}` is no name of a helper"));
    }
    let failed = |why: String| format!("`{program}` failed: {why}");
    let mut command = Command::new(&program);
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    if let Some(path) = path {
        command.env("PATH", path);
    }
    let answer = tokio::time::timeout(HELPER_LIMIT, async {
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // One that does not read it has its reasons, and says so.
            let _ = stdin.write_all(key.as_bytes()).await;
        }
        child.wait_with_output().await
    });
    let output = match answer.await {
        Ok(output) => output.map_err(|error| failed(error.to_string()))?,
        Err(_) => return Err(failed(format!("no answer in {} s", HELPER_LIMIT.as_secs()))),
    };
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        return if said.contains(UNKNOWN) { Ok(None) } else { Err(failed(said)) };
    }
    // The answer is never shown: it is a secret.
    let answer: Answer =
        serde_json::from_slice(&output.stdout).map_err(|_| failed("its answer cannot be read".to_owned()))?;
    match answer.username.as_str() {
        TOKEN => {
            Err(failed("it has an identity token, which is not served: log in with a password".to_owned()))
        }
        "" => Ok(None),
        _ => Ok(Some((answer.username, answer.secret))),
    }
}

/// Keys are hosts, URLs or podman's scopes, and Docker Hub has three names.
fn host_of(key: &str) -> &str {
    let key = key.split_once("://").map_or(key, |(_, rest)| rest);
    match key.split('/').next().unwrap_or(key) {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    }
}

/// The part of a registry that a key is for. A URL's path is none.
fn scope_of(key: &str) -> &str {
    if key.contains("://") {
        return "";
    }
    key.split_once('/').map_or("", |(_, scope)| scope.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn config(&self, name: &str, text: &str) -> PathBuf {
            let path = self.0.path().join(name);
            fs::write(&path, text).unwrap();
            path
        }

        fn helper(&self, name: &str, script: &str) {
            let path = self.0.path().join(format!("docker-credential-{name}"));
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }

        async fn find(&self, files: &[PathBuf], registry: &str, repository: &str) -> Found {
            let path = OsString::from(format!("{}:/usr/bin:/bin", self.0.path().display()));
            find_in(files, Some(&path), registry, repository).await
        }
    }

    fn pair(name: &str, password: &str) -> (String, String) {
        (name.to_owned(), password.to_owned())
    }

    #[tokio::test]
    async fn logins_in_files_are_found_by_host_and_the_closest_wins() {
        let folder = Folder::new();
        let auth = BASE64_STANDARD.encode("me:pass:word");
        let docker = folder.config(
            "docker.json",
            &format!(
                r#"{{"auths": {{"https://index.docker.io/v1/": {{"auth": "{auth}"}},
                     "localhost:5000": {{"username": "a", "password": "b"}}, "empty.example": {{}}}}}}"#
            ),
        );
        let podman = folder.config(
            "auth.json",
            r#"{"auths": {"quay.example": {"username": "all", "password": "1"},
                "quay.example/team": {"username": "team", "password": "2"},
                "localhost:5000": {"username": "later", "password": "3"}}}"#,
        );
        let broken = folder.config("broken.json", "{");
        let files = [broken, docker, podman];
        for (registry, repository, wanted) in [
            ("docker.io", "library/x", Some(pair("me", "pass:word"))),
            ("localhost:5000", "x", Some(pair("a", "b"))),
            ("empty.example", "x", None),
            ("quay.example", "team/app", Some(pair("team", "2"))),
            ("quay.example", "teams/app", Some(pair("all", "1"))),
            ("ghcr.io", "x", None),
        ] {
            let found = folder.find(&files, registry, repository).await;
            assert_eq!(found, Found { login: wanted, trouble: None }, "{registry}/{repository}");
        }
    }

    #[tokio::test]
    async fn helpers_are_asked_for_their_registries() {
        let folder = Folder::new();
        folder.helper("own", r#"read -r key || true; printf '{"ServerURL":"x","Username":"own","Secret":"%s %s"}' "$1" "$key""#);
        folder.helper(
            "store",
            r#"read -r key || true
            case $key in
            https://index.docker.io/v1/) printf '{"ServerURL":"x","Username":"hub","Secret":"s"}' ;;
            token.example) printf '{"ServerURL":"x","Username":"<token>","Secret":"s"}' ;;
            broken.example) echo "the keychain is locked" >&2; exit 1 ;;
            odd.example) echo hello ;;
            *) echo "credentials not found in native keychain"; exit 1 ;;
            esac"#,
        );
        let config = folder.config(
            "config.json",
            r#"{"credHelpers": {"own.example": "own", "gone.example": "gone", "evil.example": "../evil"}, "credsStore": "store",
                "auths": {"file.example": {"username": "f", "password": "p"}, "own.example": {}}}"#,
        );
        for (registry, login, trouble) in [
            ("own.example", Some(pair("own", "get own.example")), ""),
            ("docker.io", Some(pair("hub", "s")), ""),
            ("file.example", Some(pair("f", "p")), ""),
            ("other.example", None, ""),
            ("token.example", None, "`docker-credential-store` failed: it has an identity token"),
            ("broken.example", None, "`docker-credential-store` failed: the keychain is locked"),
            ("odd.example", None, "its answer cannot be read"),
            ("gone.example", None, "`docker-credential-gone` failed: No such file"),
            ("evil.example", None, "`docker-credential-../evil` is no name of a helper"),
        ] {
            let found = folder.find(std::slice::from_ref(&config), registry, "x").await;
            assert_eq!(found.login, login, "{registry}");
            let told = found.trouble.unwrap_or_default();
            assert!(told.contains(trouble) && told.is_empty() == trouble.is_empty(), "{registry}: {told}");
        }
    }
}
