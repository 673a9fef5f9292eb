//! An API server in memory: as much of one as the client speaks to.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard};

use ergon_client::Ergon;
use futures::StreamExt;
use futures::channel::mpsc;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use serde_json::{Value, json};

type Body = UnsyncBoxBody<Bytes, std::io::Error>;
type Chunk = Result<Frame<Bytes>, std::io::Error>;

/// The server. Cheap to clone; every clone is the same server.
#[derive(Clone, Default)]
pub struct Fake(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// The API groups that it serves.
    groups: Vec<String>,
    version: u64,
    /// Objects by the path of their collection and their name.
    objects: BTreeMap<(String, String), Value>,
    /// What happened, for watches that start at an older version.
    history: Vec<(u64, String, Value)>,
    watches: Vec<Watch>,
    /// What each opening of a log gives, by pod and container.
    logs: BTreeMap<(String, String), VecDeque<Log>>,
    requests: Vec<String>,
}

struct Watch {
    collection: String,
    query: BTreeMap<String, String>,
    events: mpsc::UnboundedSender<Chunk>,
}

/// What one opening of a log gives.
pub enum Log {
    /// This text, and a proper end.
    Text(String),
    /// This text, and then the connection breaks.
    Broken(String),
    /// Lines as the test writes them.
    Live(mpsc::UnboundedReceiver<Chunk>),
    /// A refusal, as while a container has not started.
    Refused(&'static str),
}

impl Fake {
    pub fn new(groups: &[&str]) -> Self {
        let fake = Self::default();
        fake.state().groups = groups.iter().map(|group| (*group).to_owned()).collect();
        fake
    }

    /// A client of it, in the namespace `default`.
    pub fn client(&self) -> Ergon {
        let fake = self.clone();
        let service = tower::service_fn(move |request| {
            let fake = fake.clone();
            async move { Ok::<_, Infallible>(fake.answer(request).await) }
        });
        Ergon::from_client(kube::Client::new(service, "default"), "default")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Every request so far: method, path and the part of the query that tells watches apart.
    pub fn requests(&self) -> Vec<String> {
        self.state().requests.clone()
    }

    /// Stores an object, as it is, in its collection.
    pub fn put(&self, object: Value) {
        self.state().put(object);
    }

    pub fn remove(&self, kind_and_name: (&str, &str)) {
        let mut state = self.state();
        let key = state
            .objects
            .keys()
            .find(|(collection, name)| collection.ends_with(kind_and_name.0) && name == kind_and_name.1)
            .cloned()
            .unwrap();
        let mut object = state.objects.remove(&key).unwrap();
        state.version += 1;
        object["metadata"]["resourceVersion"] = json!(state.version.to_string());
        state.happened("DELETED", &key.0, &object);
    }

    /// What the next openings of a container's log give.
    pub fn logs(&self, pod: &str, container: &str, logs: Vec<Log>) {
        self.state().logs.entry((pod.to_owned(), container.to_owned())).or_default().extend(logs);
    }

    /// A log that the test writes while it is read.
    pub fn live_log(&self, pod: &str, container: &str) -> LiveLog {
        let (sender, receiver) = mpsc::unbounded();
        self.logs(pod, container, vec![Log::Live(receiver)]);
        LiveLog(sender)
    }

    /// Breaks every watch's connection.
    pub fn break_watches(&self) {
        for watch in self.state().watches.drain(..) {
            let _ = watch.events.unbounded_send(Err(std::io::Error::other("connection reset")));
        }
    }

    async fn answer(&self, request: Request<kube::client::Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let path = parts.uri.path().to_owned();
        let query = decode(parts.uri.query().unwrap_or_default());
        let mut state = self.state();
        let mut line = format!("{} {path}", parts.method);
        for key in ["watch", "container", "sinceTime", "dryRun"] {
            if let Some(value) = query.get(key) {
                let _ = write!(line, " {key}={value}");
            }
        }
        if parts.method == Method::PATCH {
            let _ = write!(line, " {}", String::from_utf8_lossy(&body));
        }
        state.requests.push(line);
        state.answer(&parts.method, &path, query, &body)
    }
}

/// Writes into a log that is being read.
pub struct LiveLog(mpsc::UnboundedSender<Chunk>);

impl LiveLog {
    pub fn write(&self, text: &str) {
        self.0.unbounded_send(Ok(Frame::data(Bytes::copy_from_slice(text.as_bytes())))).unwrap();
    }

    /// Breaks the connection.
    pub fn break_off(self) {
        self.0.unbounded_send(Err(std::io::Error::other("connection reset"))).unwrap();
    }
}

impl State {
    fn answer(
        &mut self,
        method: &Method,
        path: &str,
        query: BTreeMap<String, String>,
        body: &[u8],
    ) -> Response<Body> {
        if path == "/apis" {
            let groups: Vec<Value> = self
                .groups
                .iter()
                .map(|name| {
                    let version = json!({"groupVersion": format!("{name}/v1"), "version": "v1"});
                    json!({"name": name, "versions": [version], "preferredVersion": version})
                })
                .collect();
            return ok(&json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}));
        }
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        if let ["api", "v1", "namespaces", _, "pods", pod, "log"] = parts[..] {
            return self.log(pod, &query["container"]);
        }
        let (collection, name) = match parts[..] {
            ["apis", group, "v1", "namespaces", namespace, plural, ref rest @ ..] => {
                if !self.groups.iter().any(|known| known == group) {
                    return failure(StatusCode::NOT_FOUND, "NotFound", "404 page not found", None);
                }
                (format!("/apis/{group}/v1/namespaces/{namespace}/{plural}"), rest.first().copied())
            }
            ["api", "v1", "namespaces", namespace, plural, ref rest @ ..] => {
                (format!("/api/v1/namespaces/{namespace}/{plural}"), rest.first().copied())
            }
            _ => return failure(StatusCode::NOT_FOUND, "NotFound", "404 page not found", None),
        };
        match (method, name) {
            (&Method::GET, None) if query.get("watch").is_some_and(|watch| watch == "true") => {
                self.watch(collection, query)
            }
            (&Method::GET, None) => self.list(&collection, &query),
            (&Method::GET, Some(name)) => match self.objects.get(&(collection, name.to_owned())) {
                Some(object) => ok(object),
                None => missing(name),
            },
            (&Method::PATCH, Some(name)) => {
                let Some(mut object) = self.objects.get(&(collection, name.to_owned())).cloned() else {
                    return missing(name);
                };
                merge(&mut object, &serde_json::from_slice(body).unwrap());
                ok(&self.put(object))
            }
            (&Method::POST, None) => {
                let mut object: Value = serde_json::from_slice(body).unwrap();
                if object["metadata"].get("name").is_none_or(|name| name == "") {
                    let prefix = object["metadata"]["generateName"].as_str().unwrap().to_owned();
                    object["metadata"]["name"] = json!(format!("{prefix}x1"));
                }
                ok(&self.put(object))
            }
            (&Method::DELETE, Some(name)) => match self.objects.remove(&(collection, name.to_owned())) {
                Some(_) => ok(&json!({"kind": "Status", "apiVersion": "v1", "status": "Success"})),
                None => missing(name),
            },
            _ => failure(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "no", None),
        }
    }

    fn put(&mut self, mut object: Value) -> Value {
        self.version += 1;
        let collection = collection_of(&object);
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        object["metadata"]["namespace"] = json!("default");
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        if object["metadata"].get("uid").is_none() {
            object["metadata"]["uid"] = json!(format!("uid-of-{name}"));
        }
        let old = self.objects.insert((collection.clone(), name), object.clone());
        self.happened(if old.is_some() { "MODIFIED" } else { "ADDED" }, &collection, &object);
        object
    }

    fn happened(&mut self, type_: &str, collection: &str, object: &Value) {
        let event = json!({"type": type_, "object": object});
        self.history.push((self.version, collection.to_owned(), event.clone()));
        self.watches.retain(|watch| {
            if watch.collection != collection || !selected(&event["object"], &watch.query) {
                return true;
            }
            watch.events.unbounded_send(Ok(line(&event))).is_ok()
        });
    }

    fn list(&self, collection: &str, query: &BTreeMap<String, String>) -> Response<Body> {
        let items: Vec<&Value> = self
            .objects
            .iter()
            .filter(|((of, _), object)| of == collection && selected(object, query))
            .map(|(_, object)| object)
            .collect();
        let metadata = json!({"resourceVersion": self.version.to_string()});
        ok(&json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items}))
    }

    fn watch(&mut self, collection: String, query: BTreeMap<String, String>) -> Response<Body> {
        let (events, receiver) = mpsc::unbounded();
        let since: u64 = query.get("resourceVersion").and_then(|version| version.parse().ok()).unwrap_or(0);
        for (version, of, event) in &self.history {
            if *version > since && *of == collection && selected(&event["object"], &query) {
                events.unbounded_send(Ok(line(event))).unwrap();
            }
        }
        self.watches.push(Watch { collection, query, events });
        stream(receiver)
    }

    fn log(&mut self, pod: &str, container: &str) -> Response<Body> {
        let next = self.logs.get_mut(&(pod.to_owned(), container.to_owned())).and_then(VecDeque::pop_front);
        match next {
            Some(Log::Text(text)) => Response::new(full(text)),
            Some(Log::Broken(text)) => {
                let chunks: Vec<Chunk> =
                    vec![Ok(Frame::data(Bytes::from(text))), Err(std::io::Error::other("connection reset"))];
                stream(futures::stream::iter(chunks))
            }
            Some(Log::Live(receiver)) => stream(receiver),
            Some(Log::Refused(message)) => failure(StatusCode::BAD_REQUEST, "BadRequest", message, None),
            None => missing(pod),
        }
    }
}

fn selected(object: &Value, query: &BTreeMap<String, String>) -> bool {
    let field = query.get("fieldSelector").and_then(|selector| selector.strip_prefix("metadata.name="));
    let labels = query.get("labelSelector").map(String::as_str).unwrap_or_default();
    field.is_none_or(|name| object["metadata"]["name"] == name)
        && labels.split(',').filter(|label| !label.is_empty()).all(|label| match label.split_once('=') {
            Some((key, value)) => object["metadata"]["labels"][key] == value,
            None => object["metadata"]["labels"][&label[1..]].is_null(),
        })
}

fn collection_of(object: &Value) -> String {
    let version = object["apiVersion"].as_str().unwrap();
    let prefix = if version == "v1" { "/api".to_owned() } else { "/apis".to_owned() };
    let plural = format!("{}s", object["kind"].as_str().unwrap().to_lowercase());
    format!("{prefix}/{version}/namespaces/default/{plural}")
}

fn merge(target: &mut Value, patch: &Value) {
    let (Some(target), Some(patch)) = (target.as_object_mut(), patch.as_object()) else {
        *target = patch.clone();
        return;
    };
    for (key, value) in patch {
        merge(target.entry(key.clone()).or_insert(Value::Null), value);
    }
}

fn line(event: &Value) -> Frame<Bytes> {
    Frame::data(Bytes::from(format!("{event}\n")))
}

fn full(text: String) -> Body {
    Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync()
}

fn stream(chunks: impl futures::Stream<Item = Chunk> + Send + 'static) -> Response<Body> {
    Response::new(BodyExt::boxed_unsync(StreamBody::new(chunks.boxed())))
}

fn ok(object: &Value) -> Response<Body> {
    Response::new(full(object.to_string()))
}

fn missing(name: &str) -> Response<Body> {
    failure(StatusCode::NOT_FOUND, "NotFound", "not found", Some(name))
}

fn failure(code: StatusCode, reason: &str, message: &str, name: Option<&str>) -> Response<Body> {
    let details = name.map(|name| json!({"name": name}));
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code.as_u16(),
        "reason": reason, "message": message, "details": details});
    let mut response = ok(&status);
    *response.status_mut() = code;
    response
}

fn decode(query: &str) -> BTreeMap<String, String> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.to_owned(), percent(value)))
        .collect()
}

fn percent(text: &str) -> String {
    let mut parts = text.split('%');
    let mut decoded = parts.next().unwrap_or_default().replace('+', " ");
    for part in parts {
        decoded.push(char::from(u8::from_str_radix(&part[..2], 16).unwrap()));
        decoded.push_str(&part[2..]);
    }
    decoded
}
