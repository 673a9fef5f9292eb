//! `git`: a file in a repository, read over git's own protocol or through the API of a hosting service.

mod fetch;
mod hosting;
mod objects;
mod pack;
mod packet;
mod transport;

use ergon_api::RefSource;
use ergon_engine::remote::Request;

use crate::http::token;
use crate::params::{Texts, given};
use crate::resolvers::Asking;
use crate::{Fetched, ResolveError, World};
use transport::Transport;

/// What a new installation has for settings.
pub(crate) const DEFAULTS: &[(&str, &str)] = &[
    ("fetch-timeout", "1m"),
    ("default-url", "https://github.com/tektoncd/catalog.git"),
    ("default-revision", "main"),
    ("scm-type", "github"),
    ("api-token-secret-namespace", "default"),
];

/// Whether the revision is a whole commit.
pub(crate) fn is_immutable(request: &Request) -> bool {
    request.text("revision").is_some_and(is_commit)
}

fn is_commit(revision: &str) -> bool {
    matches!(revision.len(), 40 | 64) && revision.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A file of a commit.
struct File {
    data: Vec<u8>,
    commit: String,
    /// The address to clone from.
    url: String,
}

/// Reads the file.
pub(crate) async fn resolve<W: World>(
    asking: &Asking<'_, W>,
    local_folders: bool,
) -> Result<Fetched, ResolveError> {
    let wanted = wanted(&asking.texts, asking.settings, local_folders)?;
    let mut annotations = Texts::new();
    let mut annotate = |key: &str, value: &str| {
        annotations.insert(format!("resolution.tekton.dev/{key}"), value.to_owned());
    };
    let file = match &wanted.from {
        From::Url(url) => clone(asking, url, &wanted).await?,
        From::Hosting { org, repo } => {
            annotate("org", org);
            annotate("repo", repo);
            hosting::file(asking, &wanted, org, repo).await?
        }
    };
    annotate("revision", &file.commit);
    annotate("path", &wanted.path);
    annotate("url", &file.url);
    annotate("content-type", "application/x-yaml");
    let algorithm = if file.commit.len() == 64 { "sha256" } else { "sha1" };
    let source = RefSource {
        uri: Some(format!("git+{}", file.url)),
        digest: [(algorithm.to_owned(), file.commit)].into(),
        entry_point: Some(wanted.path),
    };
    Ok(Fetched { data: file.data, source, annotations })
}

async fn clone<W: World>(asking: &Asking<'_, W>, url: &str, wanted: &Wanted) -> Result<File, ResolveError> {
    let token = match given(&asking.texts, "gitToken") {
        None => None,
        Some(secret) => {
            let key = given(&asking.texts, "gitTokenKey").unwrap_or("token");
            Some(token(asking.world, asking.world.namespace(), secret, key).await?)
        }
    };
    let transport = Transport::new(&asking.web, url, token.as_deref());
    let (data, commit) = fetch::file(transport, &wanted.revision, &wanted.path)
        .await
        .map_err(|error| ResolveError::Failed(error.to_string()))?;
    Ok(File { data, commit, url: url.to_owned() })
}

/// What the parameters and settings come to.
struct Wanted {
    from: From,
    revision: String,
    path: String,
    settings: Settings,
}

enum From {
    Url(String),
    Hosting { org: String, repo: String },
}

/// The settings under one `configKey`.
struct Settings(Texts);

impl Settings {
    fn of(settings: &Texts, key: Option<&str>) -> Result<Self, ResolveError> {
        let own: Texts = match key {
            None | Some("default") => settings
                .iter()
                .filter_map(|(key, value)| {
                    let name = key.strip_prefix("default.").unwrap_or(key);
                    (!name.contains('.')).then(|| (name.to_owned(), value.clone()))
                })
                .collect(),
            Some(config) => settings
                .iter()
                .filter_map(|(key, value)| {
                    let name = key.strip_prefix(config)?.strip_prefix('.')?;
                    Some((name.to_owned(), value.clone()))
                })
                .collect(),
        };
        match key {
            Some(key) if own.is_empty() && key != "default" => {
                Err(ResolveError::Invalid(format!("no git resolver configuration found for configKey {key}")))
            }
            _ => Ok(Self(own)),
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        given(&self.0, name)
    }
}

fn wanted(texts: &Texts, settings: &Texts, local_folders: bool) -> Result<Wanted, ResolveError> {
    let invalid = |message: String| Err(ResolveError::Invalid(message));
    let settings = Settings::of(settings, texts.get("configKey").map(String::as_str))?;
    let (url, repo) = (given(texts, "url"), given(texts, "repo"));
    let from = match (url.or(settings.get("default-url")), repo) {
        (_, Some(_)) if url.is_some() => return invalid("cannot specify both 'url' and 'repo'".to_owned()),
        (_, Some(repo)) => match texts.get("org").map(String::as_str).or(settings.get("default-org")) {
            Some(org) => From::Hosting { org: org.to_owned(), repo: repo.to_owned() },
            None => return invalid("'org' is required when 'repo' is specified".to_owned()),
        },
        (Some(url), None) => From::Url(url.to_owned()),
        (None, None) => return invalid("must specify one of 'url' or 'repo'".to_owned()),
    };
    let revision = texts.get("revision").map(String::as_str).or(settings.get("default-revision"));
    let path = texts.get("pathInRepo");
    let (Some(revision), Some(path)) = (revision, path) else {
        let missing = [("revision", revision.is_none()), ("pathInRepo", path.is_none())];
        let missing: Vec<&str> = missing.iter().filter(|(_, is)| *is).map(|(name, _)| *name).collect();
        return invalid(format!("missing required git resolver params: {}", missing.join(", ")));
    };
    if revision.starts_with('-') {
        return invalid(format!("invalid revision {revision:?}: must not begin with '-'"));
    }
    if let From::Url(url) = &from {
        let is_web = url.starts_with("https://") || url.starts_with("http://");
        let is_other = ["ssh://", "git://", "ftp://", "ftps://"].iter().any(|scheme| url.starts_with(scheme))
            || url.split_once('@').is_some_and(|(user, rest)| !user.contains('/') && rest.contains(':'));
        if is_other && !is_web {
            return invalid(format!(
                "repositories are read over http and https alone: write {url} as https://…, with the parameter gitToken where it is private"
            ));
        }
        if !is_web && !local_folders {
            return invalid(format!("invalid git repository url: {url}"));
        }
    }
    let path = path.trim_start_matches('/');
    if path.split(['/', '\\']).any(|part| part == "..") {
        return invalid(format!("invalid path {path:?}: must not contain '..' components"));
    }
    Ok(Wanted { from, revision: revision.to_owned(), path: path.to_owned(), settings })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_that_make_no_request() {
        for (params, expected) in [
            (&[][..], "missing required git resolver params: pathInRepo"),
            (&[("url", "https://x"), ("repo", "r")], "cannot specify both 'url' and 'repo'"),
            (&[("repo", "r"), ("pathInRepo", "p")], "'org' is required when 'repo' is specified"),
            (&[("pathInRepo", "p"), ("revision", "-x")], "invalid revision \"-x\": must not begin with '-'"),
            (
                &[("pathInRepo", "../../etc/passwd")],
                "invalid path \"../../etc/passwd\": must not contain '..' components",
            ),
            (&[("url", "file:///x"), ("pathInRepo", "p")], "invalid git repository url: file:///x"),
            (
                &[("configKey", "other"), ("pathInRepo", "p")],
                "no git resolver configuration found for configKey other",
            ),
        ] {
            let map = |pairs: &[(&str, &str)]| {
                pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<Texts>()
            };
            let error = wanted(&map(params), &map(DEFAULTS), false).err();
            assert_eq!(error, Some(ResolveError::Invalid(expected.to_owned())), "{params:?}");
        }
    }

    #[test]
    fn settings_have_names() {
        let settings: Texts = [("default-revision", "main"), ("test.default-revision", "stable")]
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        let revision = |key| Settings::of(&settings, key).unwrap().get("default-revision").map(str::to_owned);
        assert_eq!(revision(None).as_deref(), Some("main"));
        assert_eq!(revision(Some("default")).as_deref(), Some("main"));
        assert_eq!(revision(Some("test")).as_deref(), Some("stable"));
    }
}
