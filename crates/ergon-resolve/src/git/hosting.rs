//! A file through the API of a hosting service: GitHub, GitLab, Gitea, Bitbucket.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{File, Wanted, token};
use crate::params::given;
use crate::resolvers::Asking;
use crate::web::MOST_BYTES;
use crate::{ResolveError, World};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Service {
    GitHub,
    GitLab,
    Gitea,
    BitbucketCloud,
    /// Also called Data Center.
    BitbucketServer,
}

/// The services by their names in settings.
const SERVICES: [(&str, Service); 5] = [
    ("github", Service::GitHub),
    ("gitlab", Service::GitLab),
    ("gitea", Service::Gitea),
    ("bitbucketcloud", Service::BitbucketCloud),
    ("bitbucketserver", Service::BitbucketServer),
];

/// A service's API, and who we are to it.
struct Api {
    service: Service,
    base: String,
    authorization: String,
}

#[derive(Deserialize)]
struct Content {
    content: String,
}

#[derive(Deserialize)]
struct Commit {
    #[serde(alias = "id", alias = "hash")]
    sha: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Repository {
    #[serde(alias = "http_url_to_repo")]
    clone_url: String,
    links: Links,
}

/// Bitbucket's way to say where to clone from.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Links {
    clone: Vec<Link>,
}

#[derive(Deserialize)]
struct Link {
    name: String,
    href: String,
}

impl Repository {
    fn url(self) -> String {
        let link = self.links.clone.into_iter().find(|link| matches!(link.name.as_str(), "http" | "https"));
        link.map_or(self.clone_url, |link| link.href)
    }
}

/// Where a service has what is asked for.
struct Addresses {
    project: String,
    commit: String,
    content: String,
}

/// Reads the file, the commit that the revision stands for, and the address to clone from.
pub(super) async fn file<W: World>(
    asking: &Asking<'_, W>,
    wanted: &Wanted,
    org: &str,
    repo: &str,
) -> Result<File, ResolveError> {
    let api = Api::of(asking, wanted).await?;
    let addresses = api.addresses(org, repo, &wanted.revision, &wanted.path);
    let page = api.get(asking, &addresses.content, "couldn't fetch resource content").await?;
    let data = if matches!(api.service, Service::BitbucketCloud | Service::BitbucketServer) {
        page
    } else {
        let content: Content = read(&page, "couldn't fetch resource content")?;
        // Services break the text into lines.
        let packed: String = content.content.split_whitespace().collect();
        BASE64_STANDARD.decode(packed).unwrap_or_default()
    };
    if data.is_empty() {
        return Err(ResolveError::Failed(format!("no content for resource in {org}/{repo} {}", wanted.path)));
    }
    let what = format!("couldn't fetch the commit sha for the ref {} in the repo", wanted.revision);
    let commit: Commit = read(&api.get(asking, &addresses.commit, &what).await?, &what)?;
    let what = "couldn't fetch repository";
    let repository: Repository = read(&api.get(asking, &addresses.project, what).await?, what)?;
    Ok(File { data, commit: commit.sha, url: repository.url() })
}

fn read<T: DeserializeOwned>(page: &[u8], what: &str) -> Result<T, ResolveError> {
    serde_json::from_slice(page).map_err(|error| ResolveError::Failed(format!("{what}: {error}")))
}

impl Api {
    async fn of<W: World>(asking: &Asking<'_, W>, wanted: &Wanted) -> Result<Self, ResolveError> {
        let (texts, settings) = (&asking.texts, &wanted.settings);
        let type_ = given(texts, "scmType").or(settings.get("scm-type")).unwrap_or("github");
        let own_server = given(texts, "serverURL");
        let server = own_server.or(settings.get("server-url"));
        let failed = |why: String| ResolveError::Failed(format!("failed to create SCM client: {why}"));
        let known = SERVICES.iter().find(|(name, _)| *name == type_);
        let Some((_, service)) = known else {
            let known = SERVICES.map(|(name, _)| name).join(", ");
            return Err(failed(format!(
                "`{type_}` is not served (there are {known}): use `url` instead of `repo`"
            )));
        };
        let server = server.map(|server| server.trim_end_matches('/'));
        let base = match (service, server) {
            (Service::GitHub, None | Some("https://github.com" | "https://api.github.com")) => {
                "https://api.github.com".to_owned()
            }
            (Service::GitHub, Some(server)) if server.contains("/api/") => server.to_owned(),
            (Service::GitHub, Some(server)) => format!("{server}/api/v3"),
            (Service::GitLab, server) => format!("{}/api/v4", server.unwrap_or("https://gitlab.com")),
            (Service::BitbucketCloud, None | Some("https://bitbucket.org")) => {
                "https://api.bitbucket.org/2.0".to_owned()
            }
            (Service::BitbucketCloud, Some(server)) => format!("{server}/2.0"),
            (Service::Gitea, Some(server)) => format!("{server}/api/v1"),
            (Service::BitbucketServer, Some(server)) => format!("{server}/rest/api/1.0"),
            (Service::Gitea | Service::BitbucketServer, None) => {
                return Err(failed(format!("{type_} needs a server: set `serverURL`")));
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
        let authorization = match service {
            Service::Gitea => format!("token {token}"),
            // An app password, which goes with a name.
            Service::BitbucketCloud if token.contains(':') => {
                format!("Basic {}", BASE64_STANDARD.encode(token))
            }
            // GitLab knows a header of its own as well, but that would be handed on where it redirects to.
            _ => format!("Bearer {token}"),
        };
        Ok(Self { service: *service, base, authorization })
    }

    fn addresses(&self, org: &str, repo: &str, revision: &str, path: &str) -> Addresses {
        let Self { base, .. } = self;
        let whole = |text: &str| escaped(text, false);
        let (file, org, repo) = (escaped(path, true), org, whole(repo));
        // Gitea knows no references by their full names.
        let short = ["refs/heads/", "refs/tags/"].iter().find_map(|prefix| revision.strip_prefix(prefix));
        let revision =
            whole(if self.service == Service::Gitea { short.unwrap_or(revision) } else { revision });
        let (project, commit, content) = match self.service {
            Service::GitHub => {
                let project = format!("{base}/repos/{}/{repo}", whole(org));
                let content = format!("{project}/contents/{file}?ref={revision}");
                (project, format!("commits/{revision}"), content)
            }
            Service::Gitea => {
                let project = format!("{base}/repos/{}/{repo}", whole(org));
                let content = format!("{project}/contents/{file}?ref={revision}");
                (project, format!("git/commits/{revision}"), content)
            }
            Service::GitLab => {
                let project = format!("{base}/projects/{}%2F{repo}", whole(org));
                let content = format!("{project}/repository/files/{}?ref={revision}", whole(path));
                (project, format!("repository/commits/{revision}"), content)
            }
            Service::BitbucketCloud => {
                let project = format!("{base}/repositories/{}/{repo}", whole(org));
                let content = format!("{project}/src/{revision}/{file}");
                (project, format!("commit/{revision}"), content)
            }
            Service::BitbucketServer => {
                let project = format!("{base}/projects/{}/repos/{repo}", whole(org));
                let content = format!("{project}/raw/{file}?at={revision}");
                (project, format!("commits/{revision}"), content)
            }
        };
        Addresses { commit: format!("{project}/{commit}"), content, project }
    }

    async fn get<W: World>(
        &self,
        asking: &Asking<'_, W>,
        url: &str,
        what: &str,
    ) -> Result<Vec<u8>, ResolveError> {
        let failed = |why: String| ResolveError::Failed(format!("{what}: {why}"));
        let headers = [("accept", "application/json, */*"), ("authorization", self.authorization.as_str())];
        // The file's content is a third longer as text, and a commit's page lists all files that it changed.
        let page =
            asking.web.get(url, &headers, 8 * MOST_BYTES).await.map_err(|error| failed(error.to_string()))?;
        match page.status.as_u16() {
            200 => Ok(page.body),
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
