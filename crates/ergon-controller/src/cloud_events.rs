//! CloudEvents on runs: posted in the background to the sink that the settings name, so that no decision waits for it.
//!
//! Types, source, subject and data are those of Tekton's format `tektonv1`, which its dashboards and chat bots read.

use std::sync::Arc;
use std::time::Duration;

use ergon_api::{CustomRun, Group, PipelineRun, TaskRun, convert, reasons};
use jiff::Timestamp;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Certificate, Client};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tracing::warn;

use crate::shell::RunKind;

/// How many events may be on their way; more are dropped.
const WAITING: usize = 1000;
/// How long one try may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often an event is tried, each time after twice the wait: for about two minutes.
const TRIES: u32 = 8;
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// Where events are sent from.
#[derive(Debug, Clone)]
pub struct CloudEvents {
    on_their_way: Arc<Semaphore>,
}

impl Default for CloudEvents {
    fn default() -> Self {
        Self { on_their_way: Arc::new(Semaphore::new(WAITING)) }
    }
}

/// One event, as it is posted.
#[derive(Debug, Clone, PartialEq)]
pub struct CloudEvent {
    /// For example `dev.tekton.event.taskrun.started.v1`.
    pub kind: String,
    pub id: String,
    pub source: String,
    pub subject: String,
    pub time: Timestamp,
    pub data: Value,
}

impl CloudEvents {
    /// Posts an event, again and again for a while. `failed` is told when nobody took it. `authorities`, as PEM, are
    /// trusted besides the machine's own.
    pub fn send(
        &self,
        sink: &str,
        authorities: &str,
        event: CloudEvent,
        failed: impl FnOnce(String) + Send + 'static,
    ) {
        let Ok(permit) = Arc::clone(&self.on_their_way).try_acquire_owned() else {
            warn!(kind = event.kind, run = event.subject, "a CloudEvent was dropped: too many wait");
            return;
        };
        let (sink, authorities) = (sink.to_owned(), authorities.to_owned());
        tokio::spawn(async move {
            if let Err(problem) = deliver(&sink, &authorities, &event).await {
                failed(format!("the sink {sink} did not take {}: {problem}", event.kind));
            }
            drop(permit);
        });
    }
}

/// The events that a change of a run's condition comes to, in their order. `object` is the run as it is now, with its
/// group and kind.
pub fn events(
    group: Group,
    kind: RunKind,
    before: &Value,
    object: &Value,
    now: Timestamp,
) -> Vec<CloudEvent> {
    let after = &object["status"]["conditions"][0];
    let before = &before["conditions"][0];
    if after.is_null() || state(before) == state(after) {
        return Vec::new();
    }
    let word = match ended(after) {
        Some(word) => word,
        None if after["reason"] == reasons::task_run::STARTED => "started",
        None if after["reason"] == reasons::task_run::RUNNING => "running",
        None => "unknown",
    };
    let mut words = vec![word];
    if before.is_null() {
        if word != "started" {
            words.insert(0, "started");
        }
        // It has waited for this first look at it.
        words.insert(0, "queued");
    }
    told(group.api_version(), kind.name(), &words, object, now)
}

/// The events on a CustomRun, which its own controller carries out. `before`: its condition when last seen; none where
/// it is new.
pub fn custom_events(
    group: Group,
    before: Option<&Value>,
    object: &Value,
    now: Timestamp,
) -> Vec<CloudEvent> {
    let after = &object["status"]["conditions"][0];
    let mut words = Vec::new();
    if before.is_none() {
        words.push("started");
    }
    if !after.is_null() && before.is_none_or(|before| state(before) != state(after)) {
        // Its controller has reasons of its own.
        words.push(ended(after).unwrap_or("running"));
    }
    told(group.beta_api_version(), CustomRun::KIND, &words, object, now)
}

/// What a condition says, but for its times.
fn state(condition: &Value) -> [&str; 3] {
    ["status", "reason", "message"].map(|field| condition[field].as_str().unwrap_or_default())
}

fn ended(condition: &Value) -> Option<&'static str> {
    match condition["status"].as_str() {
        Some("True") => Some("successful"),
        Some("False") => Some("failed"),
        _ => None,
    }
}

fn told(api_version: &str, kind: &str, words: &[&str], object: &Value, now: Timestamp) -> Vec<CloudEvent> {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    let (name, namespace) = (text("name"), text("namespace"));
    let source = format!("/apis/{api_version}/namespaces/{namespace}/{kind}/{name}");
    let data = data(kind, object);
    words
        .iter()
        .map(|word| CloudEvent {
            kind: format!("dev.tekton.event.{}.{word}.v1", kind.to_lowercase()),
            id: format!("{}-{}-{word}", text("uid"), text("resourceVersion")),
            source: source.clone(),
            subject: name.clone(),
            time: now,
            data: data.clone(),
        })
        .collect()
}

/// The run under the name of its kind; Tekton's in the version that its format has.
fn data(kind: &str, object: &Value) -> Value {
    let mut object = object.clone();
    match kind {
        TaskRun::KIND => {
            convert::to_v1beta1(&mut object);
            json!({"taskRun": object})
        }
        PipelineRun::KIND => {
            convert::to_v1beta1(&mut object);
            json!({"pipelineRun": object})
        }
        _ => json!({"customRun": object}),
    }
}

async fn deliver(sink: &str, authorities: &str, event: &CloudEvent) -> Result<(), String> {
    let client = client(authorities)?;
    let body = event.data.to_string();
    let mut wait = FIRST_WAIT;
    let mut last = String::new();
    for attempt in 0..TRIES {
        if attempt > 0 {
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
        let request = client
            .post(sink)
            .header(CONTENT_TYPE, "application/json")
            .header("ce-specversion", "1.0")
            .header("ce-type", &event.kind)
            .header("ce-id", &event.id)
            .header("ce-source", &event.source)
            .header("ce-subject", &event.subject)
            .header("ce-time", event.time.to_string())
            .body(body.clone());
        match request.send().await {
            Ok(answer) if answer.status().is_success() => return Ok(()),
            // Another try would be refused as well.
            Ok(answer) if answer.status().is_client_error() && !may_pass(answer.status().as_u16()) => {
                return Err(format!("it answered {}", answer.status()));
            }
            Ok(answer) => last = format!("it answered {}", answer.status()),
            Err(error) => last = error.without_url().to_string(),
        }
    }
    Err(last)
}

/// Whether a refusal may pass: not in time, or too many at once.
fn may_pass(status: u16) -> bool {
    matches!(status, 408 | 425 | 429)
}

fn client(authorities: &str) -> Result<Client, String> {
    let extra = if authorities.trim().is_empty() {
        Vec::new()
    } else {
        Certificate::from_pem_bundle(authorities.as_bytes()).map_err(|error| error.to_string())?
    };
    let base =
        || Client::builder().timeout(PATIENCE).user_agent(concat!("ergon/", env!("CARGO_PKG_VERSION")));
    match base().tls_certs_merge(extra.clone()).build() {
        Ok(client) => Ok(client),
        // An image from scratch has no authorities of its own: those given, or none.
        Err(_) => base().tls_certs_only(extra).build().map_err(|error| error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::{HeaderMap, StatusCode};
    use axum::routing::post;
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;

    use super::*;

    fn status(status: &str, reason: &str) -> Value {
        json!({"conditions": [{"type": "Succeeded", "status": status, "reason": reason}]})
    }

    fn run(status: &Value) -> Value {
        json!({"apiVersion": "tekton.dev/v1", "kind": "TaskRun", "spec": {"taskRef": {"name": "t"}},
            "metadata": {"name": "r", "namespace": "ns", "uid": "u", "resourceVersion": "7"}, "status": status})
    }

    #[test]
    fn what_a_change_is_told_as() {
        let none = Value::Null;
        for (before, after, words) in [
            (&none, status("Unknown", "Started"), vec!["queued", "started"]),
            (&none, status("Unknown", "Pending"), vec!["queued", "started", "unknown"]),
            (&status("Unknown", "Started"), status("Unknown", "Running"), vec!["running"]),
            (&status("Unknown", "Running"), status("Unknown", "Running"), vec![]),
            (&status("Unknown", "Running"), status("True", "Succeeded"), vec!["successful"]),
            (&status("Unknown", "Running"), status("False", "TaskRunTimeout"), vec!["failed"]),
            (&none, json!({}), vec![]),
        ] {
            let now = Timestamp::UNIX_EPOCH;
            let told = events(Group::Tekton, RunKind::TaskRun, before, &run(&after), now);
            let kinds: Vec<&str> = told.iter().map(|event| event.kind.as_str()).collect();
            let expected: Vec<String> =
                words.iter().map(|word| format!("dev.tekton.event.taskrun.{word}.v1")).collect();
            assert_eq!(kinds, expected, "{before} {after}");
            for event in told {
                assert_eq!(event.source, "/apis/tekton.dev/v1/namespaces/ns/TaskRun/r");
                assert_eq!(event.data["taskRun"]["apiVersion"], "tekton.dev/v1beta1");
            }
        }
    }

    #[test]
    fn what_a_custom_run_is_told_as() {
        let going = json!({"status": "Unknown", "reason": "Mine"});
        for (before, after, words) in [
            (None, json!({}), vec!["started"]),
            (None, status("Unknown", "Mine"), vec!["started", "running"]),
            (Some(Value::Null), status("Unknown", "Mine"), vec!["running"]),
            (Some(going.clone()), status("Unknown", "Mine"), vec![]),
            (Some(going.clone()), status("False", "Mine"), vec!["failed"]),
            (Some(going), status("True", "Mine"), vec!["successful"]),
        ] {
            let told = custom_events(Group::Tekton, before.as_ref(), &run(&after), Timestamp::UNIX_EPOCH);
            let kinds: Vec<&str> = told.iter().map(|event| event.kind.as_str()).collect();
            let expected: Vec<String> =
                words.iter().map(|word| format!("dev.tekton.event.customrun.{word}.v1")).collect();
            assert_eq!(kinds, expected, "{before:?} {after}");
            for event in told {
                assert_eq!(event.source, "/apis/tekton.dev/v1beta1/namespaces/ns/CustomRun/r");
                assert_eq!(event.data["customRun"]["metadata"]["name"], "r");
            }
        }
    }

    #[tokio::test]
    async fn an_event_arrives_and_a_refusal_is_told() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (sender, mut taken) = mpsc::unbounded_channel();
        let take = move |headers: HeaderMap, body: String| async move {
            let header = |name: &str| headers[name].to_str().expect("text").to_owned();
            sender.send((header("ce-type"), header("ce-id"), body)).expect("somebody listens");
        };
        let router = Router::new()
            .route("/take", post(take))
            .route("/refuse", post(|| async { StatusCode::FORBIDDEN }));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, router).await });
        let object = run(&status("True", "Succeeded"));
        let event = events(
            Group::Tekton,
            RunKind::TaskRun,
            &status("Unknown", "Running"),
            &object,
            Timestamp::UNIX_EPOCH,
        )
        .remove(0);
        let cloud_events = CloudEvents::default();
        let (told, mut failures) = mpsc::unbounded_channel();
        let fail = |told: mpsc::UnboundedSender<String>| move |why| told.send(why).expect("somebody listens");
        cloud_events.send(&format!("http://{address}/take"), "", event.clone(), fail(told.clone()));
        let (kind, id, body) = taken.recv().await.expect("an event");
        assert_eq!(
            (kind.as_str(), id.as_str()),
            ("dev.tekton.event.taskrun.successful.v1", "u-7-successful")
        );
        assert_eq!(serde_json::from_str::<Value>(&body).expect("JSON")["taskRun"]["metadata"]["name"], "r");
        cloud_events.send(&format!("http://{address}/refuse"), "", event, fail(told));
        let failure = failures.recv().await.expect("a failure");
        assert!(failure.ends_with("it answered 403 Forbidden"), "{failure}");
    }
}
