//! What was fetched lately, for requests whose answer cannot have changed, or that do not mind.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ergon_engine::remote::Request;

use crate::params::{Texts, given, span};
use crate::{Fetched, ResolveError};

const DEFAULT_SIZE: usize = 1000;
const DEFAULT_TTL: Duration = Duration::from_mins(5);

/// When a request may be answered from the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Always,
    Never,
    /// Where the request names what cannot change: a digest, a commit.
    Auto,
}

impl Mode {
    /// What the request says, or else the resolver's settings.
    pub fn of(request: &Request, settings: &Texts) -> Result<Self, ResolveError> {
        let asked = request.text("cache").filter(|mode| !mode.is_empty());
        match asked.or(given(settings, "default-cache-mode")) {
            Some("always") => Ok(Self::Always),
            Some("never") => Ok(Self::Never),
            Some("auto") | None => Ok(Self::Auto),
            Some(other) if asked.is_some() => Err(ResolveError::Invalid(format!(
                "invalid cache mode '{other}', must be one of: [always never auto] (or empty for default)"
            ))),
            Some(_) => Ok(Self::Auto),
        }
    }

    pub fn uses_cache(self, immutable: bool) -> bool {
        self == Self::Always || self == Self::Auto && immutable
    }
}

/// Answers by namespace and request: secrets of one namespace open nothing for another.
#[derive(Default)]
pub(crate) struct Cache {
    known: Mutex<HashMap<(String, Request), Known>>,
}

struct Known {
    fetched: Fetched,
    until: Instant,
    used: Instant,
}

impl Cache {
    pub fn get(&self, namespace: &str, request: &Request) -> Option<Fetched> {
        let now = Instant::now();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (namespace.to_owned(), request.clone());
        let entry = known.get_mut(&key).filter(|known| now < known.until)?;
        entry.used = now;
        Some(entry.fetched.clone())
    }

    /// Keeps an answer; those that are too old, or the one used longest ago, make room for it.
    pub fn put(&self, namespace: &str, request: &Request, fetched: &Fetched, limits: &Texts) {
        let size = given(limits, "max-size").and_then(|size| size.parse().ok()).unwrap_or(DEFAULT_SIZE);
        let ttl = given(limits, "ttl").or(given(limits, "default-ttl")).and_then(span).unwrap_or(DEFAULT_TTL);
        let now = Instant::now();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, known| now < known.until);
        while known.len() >= size.max(1) {
            let oldest = known.iter().min_by_key(|(_, known)| known.used).map(|(key, _)| key.clone());
            let Some(oldest) = oldest else { break };
            known.remove(&oldest);
        }
        let entry = Known { fetched: fetched.clone(), until: now + ttl, used: now };
        known.insert((namespace.to_owned(), request.clone()), entry);
    }
}

#[cfg(test)]
mod tests {
    use ergon_api::{Param, RefSource};

    use super::*;

    fn request(name: &str) -> Request {
        Request { resolver: "git".to_owned(), url: None, params: vec![Param::string("name", name)] }
    }

    #[test]
    fn the_one_used_longest_ago_goes_and_namespaces_are_apart() {
        let cache = Cache::default();
        let limits = Texts::from([("max-size".to_owned(), "2".to_owned())]);
        let fetched = |data: &str| Fetched {
            data: data.into(),
            source: RefSource::default(),
            annotations: Texts::new(),
        };
        cache.put("ns", &request("a"), &fetched("a"), &limits);
        cache.put("ns", &request("b"), &fetched("b"), &limits);
        assert!(cache.get("ns", &request("a")).is_some());
        cache.put("ns", &request("c"), &fetched("c"), &limits);
        let known = ["a", "b", "c"].map(|name| cache.get("ns", &request(name)).is_some());
        assert_eq!(known, [true, false, true]);
        assert_eq!(cache.get("other", &request("a")), None);
        let short = Texts::from([("ttl".to_owned(), "0s".to_owned())]);
        cache.put("ns", &request("d"), &fetched("d"), &short);
        assert_eq!(cache.get("ns", &request("d")), None);
    }

    #[test]
    fn modes() {
        let with = |mode: &str| {
            let mut request = request("a");
            request.params.push(Param::string("cache", mode));
            request
        };
        let settings = |mode: &str| Texts::from([("default-cache-mode".to_owned(), mode.to_owned())]);
        assert_eq!(Mode::of(&with("always"), &settings("never")), Ok(Mode::Always));
        assert_eq!(Mode::of(&with(""), &settings("never")), Ok(Mode::Never));
        assert_eq!(Mode::of(&request("a"), &settings("sometimes")), Ok(Mode::Auto));
        assert!(Mode::of(&with("sometimes"), &Texts::new()).is_err());
        assert!(Mode::Auto.uses_cache(true) && !Mode::Auto.uses_cache(false));
    }
}
