//! From a request to what was fetched: which resolver, how long, from the cache or anew.

use std::time::Duration;

use ergon_api::{Duration as Span, RefSource};
use ergon_engine::remote::Request;

use crate::cache::{self, Cache, Key, Mode, Turn};
use crate::params::{self, settings, span, texts};
use crate::retry::Backoff;
use crate::web::{Caller, Web};
use crate::{World, bundles, cluster, git, http, hub};

/// The resolvers that there are.
pub const NAMES: [&str; 5] = ["bundles", "cluster", "git", "http", "hub"];

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
        let longest = longest(config_map, &settings, request, world.longest())?;
        let asking = Asking {
            web: self.web.caller(Backoff::of(&settings)),
            world,
            request,
            texts: texts(request),
            settings: &settings,
        };
        let fetch = async || {
            let fetching = self.fetch(&asking);
            match tokio::time::timeout(longest.span, fetching).await {
                Ok(fetched) => fetched,
                Err(_) => Err(ResolveError::Failed(longest.told)),
            }
        };
        if !mode.uses_cache(immutable) {
            return fetch().await;
        }
        let key = Key::new(world.namespace(), world.group(), request);
        let map = std::env::var("RESOLVER_CACHE_CONFIG_MAP_NAME").ok().filter(|name| !name.is_empty());
        let limits = world.settings(map.as_deref().unwrap_or("resolver-cache-config")).await;
        let limits = limits.unwrap_or_default();
        loop {
            match self.cache.turn(&key, &limits) {
                Turn::Known(fetched) => return Ok(fetched),
                Turn::Theirs(mut theirs) => {
                    // One that was given up is asked again, by us.
                    if let Ok(outcome) = theirs.wait_for(Option::is_some).await
                        && let Some(outcome) = outcome.clone()
                    {
                        return outcome;
                    }
                }
                Turn::Ours(turn) => {
                    let outcome = fetch().await;
                    return self.cache.land(&key, &turn, outcome, cache::ttl(&settings));
                }
            }
        }
    }

    async fn fetch<W: World>(&self, asking: &Asking<'_, W>) -> Result<Fetched, ResolveError> {
        self.web.trust(&asking.world.authorities().await);
        match asking.request.resolver.as_str() {
            "bundles" => bundles::resolve(asking).await,
            "cluster" => cluster::resolve(asking).await,
            "git" => git::resolve(asking, self.local_folders).await,
            "http" => http::resolve(asking).await,
            _ => hub::resolve(asking).await,
        }
    }
}

/// How long a request may take.
struct Limit {
    span: Duration,
    /// What is said when it took longer.
    told: String,
}

/// The resolver's own limit, or that of the installation where it is shorter.
fn longest(
    config_map: &str,
    settings: &params::Texts,
    request: &Request,
    most: Span,
) -> Result<Limit, ResolveError> {
    let key = match (request.resolver.as_str(), request.text("configKey")) {
        ("git", Some(config)) if config != "default" => format!("{config}.fetch-timeout"),
        ("git", _) if !settings.contains_key("fetch-timeout") => "default.fetch-timeout".to_owned(),
        _ => "fetch-timeout".to_owned(),
    };
    let all = Limit {
        span: Duration::from_millis(u64::try_from(most.as_millis()).unwrap_or_default()),
        told: format!("resolution took longer than global timeout of {most}"),
    };
    let Some(text) = params::given(settings, &key) else { return Ok(all) };
    let own = span(text).ok_or_else(|| {
        let why = "it is no span of time such as `1m30s`";
        ResolveError::Failed(format!(
            "error parsing timeout value {text}: {why} ({key} in the ConfigMap {config_map})"
        ))
    })?;
    let told = format!("nothing was fetched within {text} ({key} in the ConfigMap {config_map})");
    Ok(if own < all.span { Limit { span: own, told } } else { all })
}

/// One request, and all that is needed to carry it out.
pub(crate) struct Asking<'a, W> {
    pub web: Caller<'a>,
    pub world: &'a W,
    pub request: &'a Request,
    pub texts: params::Texts,
    pub settings: &'a params::Texts,
}
