//! An API server in memory, for tests: objects by path, with versions, conflicts, and failures on demand.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

use crate::sync::lock;

/// What the server holds. Copies share it.
#[derive(Clone, Default)]
pub struct Fake {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    version: u64,
    failures: VecDeque<Failure>,
    /// Every write, as `POST /api/v1/…`.
    writes: Vec<String>,
    /// Every read, as `GET /api/v1/…`.
    reads: Vec<String>,
}

struct Failure {
    method: Method,
    path: String,
    code: u16,
    message: String,
}

impl Fake {
    pub fn client(&self) -> Client {
        let fake = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let fake = fake.clone();
            async move {
                let (parts, body) = request.into_parts();
                let bytes = body.collect_bytes().await.expect("a body");
                let sent = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
                let (code, answer) = lock(&fake.state).answer(&parts.method, parts.uri.path(), sent);
                let body = Body::from(answer.to_string().into_bytes());
                Ok::<_, Infallible>(Response::builder().status(code).body(body).expect("a response"))
            }
        });
        Client::new(service, "default")
    }

    /// Stores an object as it is, with a new version.
    pub fn put(&self, path: &str, mut object: Value) -> Value {
        let mut state = lock(&self.state);
        state.version += 1;
        object["metadata"]["resourceVersion"] = json!(state.version.to_string());
        state.objects.insert(path.to_owned(), object.clone());
        object
    }

    pub fn get(&self, path: &str) -> Option<Value> {
        lock(&self.state).objects.get(path).cloned()
    }

    /// The objects whose paths begin so.
    pub fn below(&self, path: &str) -> Vec<Value> {
        let state = lock(&self.state);
        let objects = state.objects.iter().filter(|(of, _)| of.starts_with(path));
        objects.map(|(_, object)| object.clone()).collect()
    }

    /// The next request of this method to this path fails.
    pub fn fail(&self, method: Method, path: &str, code: u16, message: &str) {
        let failure = Failure { method, path: path.to_owned(), code, message: message.to_owned() };
        lock(&self.state).failures.push_back(failure);
    }

    /// The reads since the last call.
    pub fn reads(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.state).reads)
    }

    /// The writes since the last call, without those of events.
    pub fn writes(&self) -> Vec<String> {
        let mut writes = std::mem::take(&mut lock(&self.state).writes);
        writes.retain(|write| !write.contains("/events"));
        writes
    }
}

impl State {
    fn answer(&mut self, method: &Method, path: &str, sent: Value) -> (u16, Value) {
        let requests = if *method == Method::GET { &mut self.reads } else { &mut self.writes };
        requests.push(format!("{method} {path}"));
        let failing = |failure: &Failure| failure.method == *method && failure.path == path;
        if let Some(at) = self.failures.iter().position(failing)
            && let Some(failure) = self.failures.remove(at)
        {
            return status(failure.code, &failure.message);
        }
        let item = path.strip_suffix("/status").unwrap_or(path);
        match *method {
            Method::GET => match self.objects.get(item) {
                Some(object) => (200, object.clone()),
                None => self.list(item).map_or_else(|| status(404, "not found"), |list| (200, list)),
            },
            Method::POST => self.create(path, sent),
            Method::PUT => self.replace(item, sent),
            Method::PATCH => self.patch(item, &sent),
            Method::DELETE => match self.objects.remove(item) {
                Some(object) => (200, object),
                None => status(404, "not found"),
            },
            _ => status(405, "not allowed"),
        }
    }

    /// The objects of a kind in a namespace; none where the path is one object's.
    fn list(&self, path: &str) -> Option<Value> {
        let (_, rest) = path.split_once("/namespaces/")?;
        if rest.split('/').count() != 2 {
            return None;
        }
        let below = format!("{path}/");
        let items: Vec<&Value> = self
            .objects
            .iter()
            .filter(|(path, _)| path.starts_with(&below))
            .map(|(_, object)| object)
            .collect();
        Some(json!({"metadata": {"resourceVersion": self.version.to_string()}, "items": items}))
    }

    fn create(&mut self, collection: &str, mut object: Value) -> (u16, Value) {
        let path = format!("{collection}/{}", object["metadata"]["name"].as_str().unwrap_or_default());
        if self.objects.contains_key(&path) {
            return status(409, "already exists");
        }
        self.version += 1;
        object["metadata"]["uid"] = json!(format!("uid-{}", self.version));
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.objects.insert(path, object.clone());
        (201, object)
    }

    fn replace(&mut self, path: &str, mut object: Value) -> (u16, Value) {
        let Some(known) = self.objects.get(path) else { return status(404, "not found") };
        if known["metadata"]["resourceVersion"] != object["metadata"]["resourceVersion"] {
            return status(409, "conflict");
        }
        self.version += 1;
        object["metadata"]["uid"] = known["metadata"]["uid"].clone();
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.objects.insert(path.to_owned(), object.clone());
        (200, object)
    }

    fn patch(&mut self, path: &str, patch: &Value) -> (u16, Value) {
        let Some(object) = self.objects.get_mut(path) else { return status(404, "not found") };
        for field in ["uid", "resourceVersion"] {
            let wanted = &patch["metadata"][field];
            if !wanted.is_null() && *wanted != object["metadata"][field] {
                return status(409, "conflict");
            }
        }
        json_patch::merge(object, patch);
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        (200, object.clone())
    }
}

fn status(code: u16, message: &str) -> (u16, Value) {
    let reason = match (code, message) {
        (404, _) => "NotFound",
        (_, "already exists") => "AlreadyExists",
        _ => "",
    };
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "code": code, "reason": reason, "message": message});
    (code, status)
}
