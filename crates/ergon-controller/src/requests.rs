//! Questions to resolvers as objects: those that we ask of somebody else's resolvers, and those that others ask of ours.

#[cfg(test)]
mod against_a_fake;
mod attend;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ergon_api::{Config, ResolutionRequest};
use ergon_engine::remote;
use ergon_resolve::Fetched;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::{Semaphore, oneshot};
use tracing::debug;

use crate::cache::{Cache, Name};
use crate::queue::Queue;
use crate::sync::lock;

/// How much longer than a resolver may take we wait to be told that it took too long.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it takes until a request is made anew that could not be made.
const PAUSE: Duration = Duration::from_secs(1);
/// How many requests of others are answered at once.
const AT_ONCE: usize = 32;

/// The ResolutionRequests of the cluster.
pub struct Requests {
    client: Client,
    /// Those to look after.
    pub queue: Queue<Name>,
    /// As the watch has delivered them; without their answers once they are done.
    pub seen: Cache<ResolutionRequest>,
    /// Whether the kind is installed, and watched.
    is_served: AtomicBool,
    waiting: Mutex<HashMap<Name, Vec<oneshot::Sender<News>>>>,
    /// UIDs of those that a resolver of ours is at.
    answering: Mutex<HashSet<String>>,
    slots: Semaphore,
}

/// What is heard of a request that somebody waits for.
enum News {
    Done(Box<ResolutionRequest>),
    Gone,
}

impl Requests {
    pub fn new(client: Client) -> Self {
        Self {
            client,
            queue: Queue::default(),
            seen: Cache::default(),
            is_served: AtomicBool::new(false),
            waiting: Mutex::default(),
            answering: Mutex::default(),
            slots: Semaphore::new(AT_ONCE),
        }
    }

    /// Whether questions can be asked as objects.
    pub fn is_served(&self) -> bool {
        self.is_served.load(Ordering::Relaxed)
    }

    /// Says that the kind is installed, and watched from now on.
    pub fn serve(&self) {
        self.is_served.store(true, Ordering::Relaxed);
    }

    /// Makes the request, unless it is there already, and waits for its answer. Errors are words for the user.
    pub async fn ask(&self, request: &ResolutionRequest, config: &Config) -> Result<Fetched, String> {
        let longest = config.defaults.maximum_resolution_timeout;
        let patience = u64::try_from(longest.as_millis()).map_or(Duration::MAX, Duration::from_millis);
        let answered = tokio::time::timeout(patience.saturating_add(PATIENCE), self.answered(request)).await;
        self.forget_the_gone();
        let done = answered
            .unwrap_or_else(|_| Err(format!("resolution took longer than global timeout of {longest}")))?;
        let Some(answer) = remote::answer_of(&done) else {
            return Err("the resolver gave no answer".to_owned());
        };
        let (data, source) = answer?;
        let data =
            STANDARD.decode(data).map_err(|error| format!("error decoding data from base64: {error}"))?;
        let annotations: BTreeMap<_, _> = done.status.map(|status| status.annotations).unwrap_or_default();
        Ok(Fetched { data, source, annotations })
    }

    /// The request as it is when it is done. One of before, for a run of the same name, is waited away.
    async fn answered(&self, request: &ResolutionRequest) -> Result<ResolutionRequest, String> {
        let name = Name::of(request);
        loop {
            // Before it is made: nothing that is heard of it afterwards is missed.
            let (told, news) = oneshot::channel();
            lock(&self.waiting).entry(name.clone()).or_default().push(told);
            match self.make(request, &name).await {
                Ok(Made::Waits) => {}
                Ok(Made::Done(done)) => return Ok(*done),
                Ok(Made::Gone) => continue,
                Err(error) if is_final(&error) => {
                    return Err(format!("cannot ask through ResolutionRequest {name}: {error}"));
                }
                // The API server comes back, and the run is not to fail because it was away.
                Err(error) => {
                    debug!(%name, %error, "cannot be made; is tried again");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            }
            match news.await {
                Ok(News::Done(done)) if is_same(request, &done) => return Ok(*done),
                // Of before: its end is not waited for in vain, since its run is gone.
                Ok(News::Done(_) | News::Gone) | Err(_) => {}
            }
        }
    }

    async fn make(&self, request: &ResolutionRequest, name: &Name) -> Result<Made, kube::Error> {
        let api: Api<ResolutionRequest> = Api::namespaced(self.client.clone(), &name.namespace);
        match api.create(&PostParams::default(), request).await {
            Ok(_) => {
                debug!(%name, "asks");
                Ok(Made::Waits)
            }
            // Made by us before this controller was started, or before the answer to its making was lost.
            Err(kube::Error::Api(status)) if status.code == 409 => {
                Ok(match api.get_opt(&name.name).await? {
                    None => Made::Gone,
                    Some(found) if found.is_done() && is_same(request, &found) => Made::Done(Box::new(found)),
                    Some(_) => Made::Waits,
                })
            }
            Err(error) => Err(error),
        }
    }

    /// Whether a request is still there, and without an answer.
    fn is_open(&self, request: &ResolutionRequest) -> bool {
        let seen = self.seen.get(&Name::of(request));
        seen.is_some_and(|seen| seen.metadata.uid == request.metadata.uid && !seen.is_done())
    }

    /// Takes what a watch or an answer of the API server says of a request: those who wait are told. To be called before
    /// the request is put into [`Self::seen`], where it has its answer no more.
    pub fn hear(&self, request: &mut ResolutionRequest) {
        if !request.is_done() {
            return;
        }
        for told in self.waiting_for(request) {
            // Who has stopped waiting needs nothing.
            let _ = told.send(News::Done(Box::new(request.clone())));
        }
        request.spec.params = Vec::new();
        if let Some(status) = &mut request.status {
            status.data = String::new();
            status.annotations = BTreeMap::new();
        }
    }

    /// The request is no more.
    pub fn gone(&self, request: &ResolutionRequest) {
        for told in self.waiting_for(request) {
            let _ = told.send(News::Gone);
        }
    }

    /// Drops the places of those who have stopped waiting.
    fn forget_the_gone(&self) {
        lock(&self.waiting).retain(|_, all| {
            all.retain(|told| !told.is_closed());
            !all.is_empty()
        });
    }

    fn waiting_for(&self, request: &ResolutionRequest) -> Vec<oneshot::Sender<News>> {
        lock(&self.waiting).remove(&Name::of(request)).unwrap_or_default()
    }
}

/// What became of the making of a request.
enum Made {
    /// It is there, and has no answer, or that of somebody else.
    Waits,
    Done(Box<ResolutionRequest>),
    /// It was there a moment ago.
    Gone,
}

/// Whether the API server has understood, and refuses.
fn is_final(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if (400..500).contains(&status.code) && !matches!(status.code, 408 | 409 | 429))
}

/// Whether a request that is there is the one that would be made, and not one that an earlier run of the same name has
/// left behind.
fn is_same(wanted: &ResolutionRequest, found: &ResolutionRequest) -> bool {
    let owners = |request: &ResolutionRequest| -> Vec<String> {
        request.metadata.owner_references.iter().flatten().map(|owner| owner.uid.clone()).collect()
    };
    let (wanted, found_by) = (owners(wanted), owners(found));
    found.metadata.deletion_timestamp.is_none()
        && (found_by.is_empty() || found_by.iter().any(|uid| wanted.contains(uid)))
}
