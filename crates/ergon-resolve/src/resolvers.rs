//! From a request to what was fetched: which resolver, how long, from the cache or anew.

use std::time::Duration;

use ergon_api::RefSource;
use ergon_engine::remote::Request;

use crate::cache::{Cache, Mode};
use crate::params::{self, settings, span, texts};
use crate::web::Web;
use crate::{World, bundles, cluster, git, http, hub};

/// The resolvers that there are.
pub const NAMES: [&str; 5] = ["bundles", "cluster", "git", "http", "hub"];

/// How long a request may take, if no setting of the resolver says otherwise.
const LONGEST: Duration = Duration::from_mins(1);

/// What was fetched.
#[derive(Debug, Clone, PartialEq)]
pub struct Fetched {
    pub data: Vec<u8>,
    pub source: RefSource,
    /// What a ResolutionRequest says of it besides.
    pub annotations: params::Texts,
}

/// Why nothing was fetched: words for the user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The parameters make no request.
    #[error("{0}")]
    Invalid(String),
    /// The request was made, and failed.
    #[error("{0}")]
    Failed(String),
}

impl ResolveError {
    /// The message that Tekton's ResolutionRequest of this key would have.
    pub fn told(&self, resolver: &str, key: &str) -> String {
        match self {
            Self::Invalid(message) => format!("invalid resource request {key:?}: {message}"),
            Self::Failed(message) => format!("error getting {:?} {key:?}: {message}", title(resolver)),
        }
    }
}

/// The resolver's name as Tekton's messages have it.
fn title(resolver: &str) -> &str {
    match resolver {
        "bundles" => "bundleresolver",
        "cluster" => "Cluster",
        "git" => "Git",
        "http" => "Http",
        "hub" => "Hub",
        other => other,
    }
}

/// All resolvers, and what they remember.
pub struct Resolvers {
    web: Web,
    cache: Cache,
    /// Whether repositories may be folders of this machine.
    local_folders: bool,
}

impl Resolvers {
    /// `local_folders`: whether repositories may be folders of this machine. Only where the run is the user's own.
    pub fn new(local_folders: bool) -> Self {
        Self { web: Web::default(), cache: Cache::default(), local_folders }
    }

    /// Whether there is a resolver of this name.
    pub fn know(&self, resolver: &str) -> bool {
        NAMES.contains(&resolver)
    }

    /// Fetches, or gives what was fetched before where the request allows it.
    ///
    /// # Errors
    /// Parameters that make no request, and whatever can go wrong on the way.
    pub async fn resolve<W: World>(&self, world: &W, request: &Request) -> Result<Fetched, ResolveError> {
        let resolver = request.resolver.as_str();
        let (config_map, defaults) = match resolver {
            "bundles" => ("bundleresolver-config", bundles::DEFAULTS),
            "cluster" => ("cluster-resolver-config", cluster::DEFAULTS),
            "git" => ("git-resolver-config", git::DEFAULTS),
            "http" => ("http-resolver-config", http::DEFAULTS),
            "hub" => ("hubresolver-config", hub::DEFAULTS),
            other => {
                let known = NAMES.join(", ");
                return Err(ResolveError::Invalid(format!(
                    "there is no resolver `{other}` (there are {known})"
                )));
            }
        };
        let flag = format!("enable-{resolver}-resolver");
        let flags = world.settings("resolvers-feature-flags").await.unwrap_or_default();
        if flags.get(&flag).is_some_and(|value| value.trim() != "true") {
            return Err(ResolveError::Invalid(format!(
                "cannot handle resolution request, {flag} feature flag not true"
            )));
        }
        let settings = settings(world, config_map, defaults).await;
        let mode = Mode::of(request, &settings)?;
        let immutable = match resolver {
            "bundles" => bundles::is_immutable(request),
            "git" => git::is_immutable(request),
            _ => false,
        };
        let cacheable = mode.uses_cache(immutable);
        if cacheable && let Some(known) = self.cache.get(world.namespace(), request) {
            return Ok(known);
        }
        let longest = Self::longest(resolver, &settings, request)?;
        self.web.trust(&world.authorities().await);
        let asking = Asking { web: &self.web, world, request, texts: texts(request), settings: &settings };
        let fetching = async {
            match resolver {
                "bundles" => bundles::resolve(&asking).await,
                "cluster" => cluster::resolve(&asking).await,
                "git" => git::resolve(&asking, self.local_folders).await,
                "http" => http::resolve(&asking).await,
                _ => hub::resolve(&asking).await,
            }
        };
        let fetched = tokio::time::timeout(longest, fetching).await.unwrap_or_else(|_| {
            Err(ResolveError::Failed(format!("nothing was fetched within {} s", longest.as_secs_f32())))
        })?;
        if cacheable {
            let limits = world.settings("resolver-cache-config").await.unwrap_or_default();
            self.cache.put(world.namespace(), request, &fetched, &limits);
        }
        Ok(fetched)
    }

    fn longest(
        resolver: &str,
        settings: &params::Texts,
        request: &Request,
    ) -> Result<Duration, ResolveError> {
        let key = match (resolver, request.text("configKey")) {
            ("git", Some(config)) if config != "default" => format!("{config}.fetch-timeout"),
            _ => "fetch-timeout".to_owned(),
        };
        match settings.get(&key).filter(|text| !text.is_empty()) {
            None => Ok(LONGEST),
            Some(text) => span(text).ok_or_else(|| {
                ResolveError::Failed(format!("error parsing timeout value {text}: no duration"))
            }),
        }
    }
}

/// One request, and all that is needed to carry it out.
pub(crate) struct Asking<'a, W> {
    pub web: &'a Web,
    pub world: &'a W,
    pub request: &'a Request,
    pub texts: params::Texts,
    pub settings: &'a params::Texts,
}
