//! A file through the API of a hosting service: GitHub, GitLab, Gitea.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{File, Wanted, token};
use crate::params::given;
use crate::resolvers::Asking;
use crate::web::MOST_BYTES;
use crate::{ResolveError, World};

enum Service {
    GitHub,
    GitLab,
    Gitea,
}

/// A service's API, and who we are to it.
struct Api {
    service: Service,
    base: String,
    header: (&'static str, String),
}

#[derive(Deserialize)]
struct Content {
    content: String,
}

#[derive(Deserialize)]
struct Commit {
    #[serde(alias = "id")]
    sha: String,
}

#[derive(Deserialize)]
struct Repository {
    #[serde(alias = "http_url_to_repo")]
    clone_url: String,
}

/// Reads the file, the commit that the revision stands for, and the address to clone from.
pub(super) async fn file<W: World>(
    asking: &Asking<'_, W>,
    wanted: &Wanted,
    org: &str,
    repo: &str,
) -> Result<File, ResolveError> {
    let api = Api::of(asking, wanted).await?;
    let (path, revision) = (escaped(&wanted.path, true), escaped(&wanted.revision, false));
    let (project, commit, content) = match api.service {
        Service::GitHub => {
            let project = format!("{}/repos/{}/{}", api.base, escaped(org, false), escaped(repo, false));
            let commit = format!("{project}/commits/{revision}");
            let content = format!("{project}/contents/{path}?ref={revision}");
            (project, commit, content)
        }
        Service::Gitea => {
            let project = format!("{}/repos/{}/{}", api.base, escaped(org, false), escaped(repo, false));
            let commit = format!("{project}/git/commits/{revision}");
            let content = format!("{project}/contents/{path}?ref={revision}");
            (project, commit, content)
        }
        Service::GitLab => {
            let project = format!("{}/projects/{}", api.base, escaped(&format!("{org}/{repo}"), false));
            let commit = format!("{project}/repository/commits/{revision}");
            let file = escaped(&wanted.path, false);
            let content = format!("{project}/repository/files/{file}?ref={revision}");
            (project, commit, content)
        }
    };
    let content: Content = api.read(asking, &content, "couldn't fetch resource content").await?;
    // Services break the text into lines.
    let packed: String = content.content.split_whitespace().collect();
    let data = BASE64_STANDARD.decode(packed).unwrap_or_default();
    if data.is_empty() {
        return Err(ResolveError::Failed(format!("no content for resource in {org}/{repo} {}", wanted.path)));
    }
    let what = format!("couldn't fetch the commit sha for the ref {} in the repo", wanted.revision);
    let commit: Commit = api.read(asking, &commit, &what).await?;
    let repository: Repository = api.read(asking, &project, "couldn't fetch repository").await?;
    Ok(File { data, commit: commit.sha, url: repository.clone_url })
}

impl Api {
    async fn of<W: World>(asking: &Asking<'_, W>, wanted: &Wanted) -> Result<Self, ResolveError> {
        let (texts, settings) = (&asking.texts, &wanted.settings);
        let type_ = given(texts, "scmType").or(settings.get("scm-type")).unwrap_or("github");
        let own_server = given(texts, "serverURL");
        let server = own_server.or(settings.get("server-url"));
        let service = match type_ {
            "github" => Service::GitHub,
            "gitlab" => Service::GitLab,
            "gitea" => Service::Gitea,
            other => {
                return Err(ResolveError::Failed(format!(
                    "failed to create SCM client: `{other}` is not served (there are github, gitlab, gitea): use `url` instead of `repo`"
                )));
            }
        };
        let server = server.map(|server| server.trim_end_matches('/'));
        let base = match (&service, server) {
            (Service::GitHub, None | Some("https://github.com")) => "https://api.github.com".to_owned(),
            (Service::GitHub, Some(server)) if server.ends_with("/api/v3") => server.to_owned(),
            (Service::GitHub, Some("https://api.github.com")) => "https://api.github.com".to_owned(),
            (Service::GitHub, Some(server)) => format!("{server}/api/v3"),
            (Service::GitLab, server) => format!("{}/api/v4", server.unwrap_or("https://gitlab.com")),
            (Service::Gitea, Some(server)) => format!("{server}/api/v1"),
            (Service::Gitea, None) => {
                return Err(ResolveError::Failed(
                    "failed to create SCM client: gitea needs a server: set `serverURL`".to_owned(),
                ));
            }
        };
        let token = if let Some(secret) = given(texts, "token") {
            let key = given(texts, "tokenKey").unwrap_or("token");
            token(asking.world, asking.world.namespace(), secret, key).await?
        } else {
            if let Some(own) = own_server
                && Some(own) != settings.get("server-url")
            {
                return Err(ResolveError::Failed(format!(
                    "custom serverURL {own:?} requires a token parameter; the system token cannot be sent to a non-default server URL"
                )));
            }
            let missing = |name: &str| {
                ResolveError::Failed(format!(
                    "cannot get API token, required when specifying 'repo' param, '{name}' not specified in config"
                ))
            };
            let of = |name: &str| settings.get(name).ok_or_else(|| missing(name));
            let (secret, key) = (of("api-token-secret-name")?, of("api-token-secret-key")?);
            let namespace = settings.get("api-token-secret-namespace").unwrap_or("default");
            token(asking.world, namespace, secret, key).await?
        };
        let header = match service {
            Service::GitHub => ("authorization", format!("Bearer {token}")),
            Service::GitLab => ("authorization", format!("Bearer {token}")),
            Service::Gitea => ("authorization", format!("token {token}")),
        };
        Ok(Self { service, base, header })
    }

    async fn read<W: World, T: DeserializeOwned>(
        &self,
        asking: &Asking<'_, W>,
        url: &str,
        what: &str,
    ) -> Result<T, ResolveError> {
        let failed = |why: String| ResolveError::Failed(format!("{what}: {why}"));
        let headers = [("accept", "application/json"), (self.header.0, self.header.1.as_str())];
        // The file's content is a third longer as text, and a commit's page lists all files that it changed.
        let page =
            asking.web.get(url, &headers, 8 * MOST_BYTES).await.map_err(|error| failed(error.to_string()))?;
        match page.status.as_u16() {
            200 => serde_json::from_slice(&page.body).map_err(|error| failed(error.to_string())),
            404 => Err(failed("Not Found".to_owned())),
            _ => Err(failed(format!("the server answered {}", page.status))),
        }
    }
}

/// A text as a part of an address.
fn escaped(text: &str, keep_slashes: bool) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            b'/' if keep_slashes => out.push('/'),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}
