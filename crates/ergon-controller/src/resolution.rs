//! Asking resolvers, in the background: no reconcile waits for a server far away.
//!
//! A run's question is asked once and its answer kept until the run rests, so that all of its passes see the same
//! definition, and its children with them. Runs that ask the same at the same time share one answer.

#[cfg(test)]
mod against_a_fake;
mod world;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use ergon_api::{Config, Group};
use ergon_engine::remote::{self, Answer, Failure, Request};
use ergon_resolve::{Fetched, ResolveError, Resolvers};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Client;
use tokio::sync::watch;
use tracing::{debug, info};

use crate::install::{TEKTON_NAMESPACE, resolvers_namespace};
use crate::queue::Queue;
use crate::requests::Requests;
use crate::settings::Settings;
use crate::shell::Key;
use crate::sync::lock;
use world::ClusterWorld;

/// How long a reconcile waits for an answer before it says that it waits: what is near answers sooner, and a status
/// less is written.
const GRACE: Duration = Duration::from_millis(50);

/// Questions and answers.
pub struct Resolutions {
    inner: Arc<Inner>,
    pub requests: Arc<Requests>,
}

/// Who asks.
pub struct Asker<'a> {
    pub key: &'a Key,
    /// The run as an owner, where it is known.
    pub reference: Option<OwnerReference>,
    /// The run that it is a part of.
    pub owner: Option<&'a Key>,
}

struct Inner {
    client: Client,
    queue: Arc<Queue<Key>>,
    settings: Arc<Settings>,
    resolvers: Resolvers,
    requests: Arc<Requests>,
    state: Mutex<State>,
    /// Where the ConfigMaps of the installation are.
    namespace: OnceLock<String>,
}

#[derive(Default)]
struct State {
    /// By the run that asked.
    answers: HashMap<Key, BTreeMap<Request, Answer>>,
    flights: HashMap<Flight, Waiting>,
}

/// What tells answers apart: secrets and names are those of a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Flight {
    namespace: String,
    group: Group,
    request: Request,
    /// A question to somebody else's resolver is an object, and belongs to one run.
    run: Option<Key>,
}

struct Waiting {
    keys: BTreeSet<Key>,
    landed: watch::Receiver<bool>,
}

impl Resolutions {
    pub fn new(client: Client, queue: Arc<Queue<Key>>, settings: Arc<Settings>) -> Self {
        let requests = Arc::new(Requests::new(client.clone()));
        let inner = Inner {
            client,
            queue,
            settings,
            resolvers: Resolvers::new(false),
            requests: Arc::clone(&requests),
            state: Mutex::default(),
            namespace: OnceLock::new(),
        };
        Self { inner: Arc::new(inner), requests }
    }

    /// Says where the ConfigMaps of the installation are. Once, before the first question.
    pub fn settings_in(&self, namespace: &str) {
        let _ = self.inner.namespace.set(namespace.to_owned());
    }

    /// What is known of a run's question; asks it where it is new. The run is reconciled again when the answer is there.
    pub async fn ask(&self, asker: &Asker<'_>, request: &Request, config: &Arc<Config>) -> Answer {
        let key = asker.key;
        let landed = {
            let mut state = lock(&self.inner.state);
            if let Some(answer) = state.known(key, request) {
                return answer;
            }
            // A child runs what its pipeline run was checked with.
            if let Some(Answer::Found(found)) = asker.owner.and_then(|owner| state.known(owner, request)) {
                return Answer::Found(found);
            }
            self.board(&mut state, asker, request, config)
        };
        let mut landed = landed;
        let _ = tokio::time::timeout(GRACE, landed.wait_for(|landed| *landed)).await;
        lock(&self.inner.state).known(key, request).unwrap_or(Answer::Waiting)
    }

    /// Whether there is a resolver of ours of this name.
    pub fn know(&self, resolver: &str) -> bool {
        self.inner.resolvers.know(resolver)
    }

    /// Has a resolver of ours answer at once, for whoever asks in this namespace.
    pub async fn resolve(
        &self,
        namespace: &str,
        group: Group,
        request: &Request,
    ) -> Result<Fetched, ResolveError> {
        self.inner.resolve(namespace, group, request).await
    }

    /// Forgets the answers of a run that rests.
    pub fn forget(&self, key: &Key) {
        lock(&self.inner.state).answers.remove(key);
    }

    /// Joins those who ask the same already, or begins to ask.
    fn board(
        &self,
        state: &mut State,
        asker: &Asker<'_>,
        request: &Request,
        config: &Arc<Config>,
    ) -> watch::Receiver<bool> {
        let key = asker.key;
        let as_object = !self.know(&request.resolver) && self.requests.is_served();
        let flight = Flight {
            namespace: key.name.namespace.clone(),
            group: key.group,
            request: request.clone(),
            run: as_object.then(|| key.clone()),
        };
        if let Some(waiting) = state.flights.get_mut(&flight) {
            waiting.keys.insert(key.clone());
            return waiting.landed.clone();
        }
        let (landing, landed) = watch::channel(false);
        let waiting = Waiting { keys: [key.clone()].into(), landed: landed.clone() };
        state.flights.insert(flight.clone(), waiting);
        let (inner, key, config) = (Arc::clone(&self.inner), key.clone(), Arc::clone(config));
        let run = asker.reference.clone();
        tokio::spawn(async move {
            // A panic in a resolver must not leave runs waiting for good: the flight ends all the same.
            let task = tokio::spawn({
                let (inner, flight) = (Arc::clone(&inner), flight.clone());
                async move { inner.fetch(&flight, &key, run.as_ref(), &config).await }
            });
            let answer = task.await.unwrap_or_else(|_| {
                Answer::Failed(Failure::NotFetched("the resolver ended without an answer".to_owned()))
            });
            inner.land(&flight, &answer);
            let _ = landing.send(true);
        });
        landed
    }
}

impl Inner {
    async fn fetch(
        &self,
        flight: &Flight,
        key: &Key,
        run: Option<&OwnerReference>,
        config: &Config,
    ) -> Answer {
        let Flight { namespace, group, request, .. } = flight;
        if let Some(run) = run.filter(|_| flight.run.is_some()) {
            let object = remote::object_for(request, namespace, run);
            return match self.requests.ask(&object, config).await {
                Ok(fetched) => read(fetched, config),
                Err(message) => Answer::Failed(Failure::NotFetched(message)),
            };
        }
        debug!(resolver = request.resolver, namespace, "asks");
        match self.resolve(namespace, *group, request).await {
            Ok(fetched) => read(fetched, config),
            Err(error) => {
                info!(resolver = request.resolver, namespace, %error, "has no answer");
                Answer::Failed(Self::failure(&error, request, key))
            }
        }
    }

    async fn resolve(
        &self,
        namespace: &str,
        group: Group,
        request: &Request,
    ) -> Result<Fetched, ResolveError> {
        let tekton = self.namespace.get().map_or(TEKTON_NAMESPACE, String::as_str);
        let world = ClusterWorld {
            client: self.client.clone(),
            group,
            namespace: namespace.to_owned(),
            settings: resolvers_namespace(tekton),
            installation: Arc::clone(&self.settings),
        };
        self.resolvers.resolve(&world, request).await
    }

    fn failure(error: &ResolveError, request: &Request, key: &Key) -> Failure {
        let name = request.name(&key.name.namespace, &key.name.name);
        let asked = format!("{}/{name}", key.name.namespace);
        Failure::NotFetched(error.told(&request.resolver, &asked))
    }

    /// Gives the answer to all who wait for it.
    fn land(&self, flight: &Flight, answer: &Answer) {
        let keys = {
            let mut state = lock(&self.state);
            let keys = state.flights.remove(flight).map(|waiting| waiting.keys).unwrap_or_default();
            for key in &keys {
                state.answers.entry(key.clone()).or_default().insert(flight.request.clone(), answer.clone());
            }
            keys
        };
        for key in keys {
            self.queue.add(key);
        }
    }
}

impl State {
    fn known(&self, key: &Key, request: &Request) -> Option<Answer> {
        self.answers.get(key)?.get(request).cloned()
    }
}

fn read(fetched: Fetched, config: &Config) -> Answer {
    let Fetched { data, source, .. } = fetched;
    let name = source.entry_point.clone().or_else(|| source.uri.clone()).unwrap_or_default();
    match remote::read(&data, &name, Some(source), config) {
        Ok(found) => Answer::Found(Arc::new(found)),
        Err(failure) => Answer::Failed(failure),
    }
}

#[cfg(test)]
mod tests {
    use ergon_api::{Object, Param};
    use serde_json::json;

    use super::*;
    use crate::cache::Name;
    use crate::fake::Fake;

    fn request(name: &str) -> Request {
        let param = |name: &str, value: &str| Param::string(name, value);
        let params = vec![param("kind", "task"), param("name", name), param("namespace", "other")];
        Request { resolver: "cluster".to_owned(), url: None, params }
    }

    fn key(name: &str) -> Key {
        Key::task_run(Group::Tekton, Name::new("ns", name))
    }

    /// Asks until there is an answer, as reconciles do.
    async fn answer(resolutions: &Resolutions, key: &Key, owner: Option<&Key>, request: &Request) -> Answer {
        loop {
            let queued = resolutions.inner.queue.next();
            let asker = Asker { key, reference: None, owner };
            match resolutions.ask(&asker, request, &Arc::default()).await {
                Answer::Waiting => assert_eq!(queued.await.as_ref(), Some(key), "is told when it is there"),
                answer => return answer,
            }
            resolutions.inner.queue.done(key, crate::queue::After::Rest);
        }
    }

    #[tokio::test]
    async fn a_run_and_its_children_see_one_answer() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let fake = Fake::default();
        let path = "/apis/tekton.dev/v1/namespaces/other/tasks/t";
        let task = |script: &str| {
            json!({"apiVersion": "tekton.dev/v1", "kind": "Task", "metadata": {"name": "t", "uid": "u"},
                "spec": {"steps": [{"image": "i", "script": script}]}})
        };
        fake.put(path, task("old"));
        let resolutions = Resolutions::new(fake.client(), Arc::default(), Arc::default());
        let script = |answer: Answer| match answer {
            Answer::Found(found) => match &found.object {
                Object::Task(task) => task.spec.steps[0].script.clone().unwrap_or_default(),
                other => panic!("{}", other.kind()),
            },
            other => panic!("{other:?}"),
        };
        let (parent, child) = (key("parent"), key("child"));
        assert_eq!(script(answer(&resolutions, &parent, None, &request("t")).await), "old");
        fake.put(path, task("new"));
        assert_eq!(script(answer(&resolutions, &parent, None, &request("t")).await), "old");
        assert_eq!(script(answer(&resolutions, &child, Some(&parent), &request("t")).await), "old");
        assert_eq!(script(answer(&resolutions, &key("other"), None, &request("t")).await), "new");
        resolutions.forget(&parent);
        assert_eq!(script(answer(&resolutions, &parent, None, &request("t")).await), "new");
    }

    #[tokio::test]
    async fn a_failure_is_told_as_tekton_tells_it() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let resolutions = Resolutions::new(Fake::default().client(), Arc::default(), Arc::default());
        let asked = request("t").name("ns", "run");
        let failed = |message: String| Answer::Failed(Failure::NotFetched(message));
        assert_eq!(
            answer(&resolutions, &key("run"), None, &request("t")).await,
            failed(format!("error getting \"Cluster\" \"ns/{asked}\": tasks.tekton.dev \"t\" not found"))
        );
    }
}
