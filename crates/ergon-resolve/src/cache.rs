//! What was fetched lately, for requests whose answer cannot have changed, or that do not mind.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ergon_engine::remote::Request;
use tokio::sync::watch;

use crate::params::{Texts, given, span};
use crate::{Fetched, ResolveError};

const DEFAULT_SIZE: usize = 1000;
const DEFAULT_TTL: Duration = Duration::from_mins(5);
/// The parameter with the mode.
const PARAM: &str = "cache";

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
        let asked = request.text(PARAM).filter(|mode| !mode.is_empty());
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

/// What tells answers apart: secrets of one namespace open nothing for another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    namespace: String,
    group: String,
    request: Request,
}

impl Key {
    /// `group`: the API group of the run that asks. How the cache is to be used is not part of the question, nor is the
    /// order of the parameters.
    pub fn new(namespace: &str, group: &str, request: &Request) -> Self {
        let mut request = request.clone();
        request.params.retain(|param| param.name != PARAM);
        request.params.sort_by(|one, other| one.name.cmp(&other.name));
        Self { namespace: namespace.to_owned(), group: group.to_owned(), request }
    }
}

pub(crate) type Outcome = Result<Fetched, ResolveError>;

/// What was fetched lately, and what is being fetched.
#[derive(Default)]
pub(crate) struct Cache {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    known: HashMap<Key, Known>,
    flights: HashMap<Key, watch::Receiver<Option<Outcome>>>,
    /// The settings that the answers were kept with.
    limits: Texts,
}

struct Known {
    fetched: Fetched,
    until: Instant,
    used: Instant,
}

/// Whose turn it is to fetch.
pub(crate) enum Turn {
    Known(Fetched),
    /// Somebody else's, who tells.
    Theirs(watch::Receiver<Option<Outcome>>),
    /// The asker's, to be ended with [`Cache::land`].
    Ours(watch::Sender<Option<Outcome>>),
}

impl Cache {
    /// What is known, or who finds it out. Settings that changed since empty the cache.
    pub fn turn(&self, key: &Key, limits: &Texts) -> Turn {
        let now = Instant::now();
        let mut state = self.lock();
        if state.limits != *limits {
            state.known.clear();
            state.limits = limits.clone();
        }
        if let Some(entry) = state.known.get_mut(key).filter(|known| now < known.until) {
            entry.used = now;
            let mut fetched = entry.fetched.clone();
            annotate(&mut fetched, key, "retrieve");
            return Turn::Known(fetched);
        }
        // One whose sender is gone was given up in flight.
        if let Some(flight) = state.flights.get(key).filter(|flight| flight.has_changed().is_ok()) {
            return Turn::Theirs(flight.clone());
        }
        let (sender, receiver) = watch::channel(None);
        state.flights.insert(key.clone(), receiver);
        Turn::Ours(sender)
    }

    /// Tells those who wait what came of it, and keeps an answer for so long, or as long as the settings say. Those that
    /// are too old, or the one used longest ago, make room for it.
    pub fn land(
        &self,
        key: &Key,
        turn: &watch::Sender<Option<Outcome>>,
        mut outcome: Outcome,
        ttl: Option<Duration>,
    ) -> Outcome {
        let now = Instant::now();
        let mut state = self.lock();
        state.flights.remove(key);
        if let Ok(fetched) = &mut outcome {
            annotate(fetched, key, "store");
            let size = given(&state.limits, "max-size").and_then(|size| size.parse().ok());
            let size = size.filter(|size| *size > 0).unwrap_or(DEFAULT_SIZE);
            let ttl = ttl.or_else(|| self::ttl(&state.limits)).unwrap_or(DEFAULT_TTL);
            let known = &mut state.known;
            known.retain(|_, known| now < known.until);
            while known.len() >= size {
                let oldest = known.iter().min_by_key(|(_, known)| known.used).map(|(key, _)| key.clone());
                let Some(oldest) = oldest else { break };
                known.remove(&oldest);
            }
            known.insert(key.clone(), Known { fetched: fetched.clone(), until: now + ttl, used: now });
        }
        drop(state);
        turn.send_replace(Some(outcome.clone()));
        outcome
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long answers are kept, by the settings of a resolver or of all.
pub(crate) fn ttl(settings: &Texts) -> Option<Duration> {
    let text = given(settings, "ttl").or(given(settings, "default-ttl"))?;
    span(text).filter(|ttl| !ttl.is_zero())
}

/// Says that an answer has to do with the cache, as Tekton does.
fn annotate(fetched: &mut Fetched, key: &Key, operation: &str) {
    let now = jiff::Timestamp::now();
    let now = jiff::Timestamp::from_second(now.as_second()).unwrap_or(now).to_string();
    for (name, value) in [
        ("cached", "true"),
        ("cache-timestamp", &now),
        ("cache-resolver-type", &key.request.resolver),
        ("cache-operation", operation),
    ] {
        fetched.annotations.insert(format!("resolution.tekton.dev/{name}"), value.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use ergon_api::{Param, RefSource};

    use super::*;

    fn request(name: &str) -> Request {
        Request { resolver: "git".to_owned(), url: None, params: vec![Param::string("name", name)] }
    }

    fn fetched(data: &str) -> Fetched {
        Fetched { data: data.into(), source: RefSource::default(), annotations: Texts::new() }
    }

    fn put(cache: &Cache, key: &Key, limits: &Texts, ttl: Option<Duration>) {
        let Turn::Ours(turn) = cache.turn(key, limits) else { panic!("is known") };
        let stored = cache.land(key, &turn, Ok(fetched("x")), ttl).unwrap();
        assert_eq!(stored.annotations["resolution.tekton.dev/cache-operation"], "store");
    }

    fn knows(cache: &Cache, key: &Key, limits: &Texts) -> bool {
        match cache.turn(key, limits) {
            Turn::Known(fetched) => {
                assert_eq!(fetched.annotations["resolution.tekton.dev/cache-operation"], "retrieve");
                assert_eq!(fetched.annotations["resolution.tekton.dev/cached"], "true");
                assert_eq!(fetched.annotations["resolution.tekton.dev/cache-resolver-type"], "git");
                true
            }
            _ => false,
        }
    }

    #[test]
    fn the_one_used_longest_ago_goes_and_namespaces_are_apart() {
        let cache = Cache::default();
        let limits = Texts::from([("max-size".to_owned(), "2".to_owned())]);
        let key = |name: &str| Key::new("ns", "tekton.dev", &request(name));
        put(&cache, &key("a"), &limits, None);
        put(&cache, &key("b"), &limits, None);
        assert!(knows(&cache, &key("a"), &limits));
        put(&cache, &key("c"), &limits, None);
        let known = ["a", "b", "c"].map(|name| knows(&cache, &key(name), &limits));
        assert_eq!(known, [true, false, true]);
        assert!(!knows(&cache, &Key::new("other", "tekton.dev", &request("a")), &limits));
        assert!(!knows(&cache, &Key::new("ns", "ergon.dev", &request("a")), &limits));
        put(&cache, &key("d"), &limits, Some(Duration::ZERO));
        assert!(!knows(&cache, &key("d"), &limits), "too old");
        assert!(!knows(&cache, &key("a"), &Texts::new()), "other settings");
    }

    #[test]
    fn the_mode_and_the_order_are_not_part_of_the_question() {
        let of = |params: &[(&str, &str)]| {
            let params = params.iter().map(|(name, value)| Param::string(*name, *value)).collect();
            Key::new("ns", "g", &Request { resolver: "git".to_owned(), url: None, params })
        };
        assert_eq!(of(&[("a", "1"), ("b", "2"), ("cache", "always")]), of(&[("b", "2"), ("a", "1")]));
        assert_ne!(of(&[("a", "1")]), of(&[("a", "2")]));
    }

    #[tokio::test]
    async fn those_who_ask_the_same_meanwhile_are_told() {
        let (cache, limits) = (Cache::default(), Texts::new());
        let key = Key::new("ns", "g", &request("a"));
        let Turn::Ours(turn) = cache.turn(&key, &limits) else { panic!("is known") };
        let Turn::Theirs(mut theirs) = cache.turn(&key, &limits) else { panic!("is asked twice") };
        let failed = Err(ResolveError::Failed("no".to_owned()));
        let _ = cache.land(&key, &turn, failed.clone(), None);
        assert_eq!(theirs.wait_for(Option::is_some).await.unwrap().clone(), Some(failed));
        let Turn::Ours(given_up) = cache.turn(&key, &limits) else { panic!("a failure is kept") };
        drop(given_up);
        assert!(matches!(cache.turn(&key, &limits), Turn::Ours(_)));
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
