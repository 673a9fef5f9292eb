//! Events on runs: written in the background, so that no decision waits for one; the same one again becomes a series.

use std::collections::HashMap;
use std::sync::Arc;

use ergon_engine::{Event, EventKind};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::{Event as ApiEvent, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use tokio::sync::mpsc;
use tracing::debug;

use crate::metrics::Metrics;

/// How many events may wait to be written; more are dropped.
const WAITING: usize = 1000;
/// How many events are remembered to recognise the same one again.
const REMEMBERED: usize = 500;
/// The API server's limit of a note, in bytes.
const NOTE_LIMIT: usize = 1024;

/// Where events go.
#[derive(Clone)]
pub struct Events {
    sender: mpsc::Sender<(ObjectReference, Event)>,
}

impl Events {
    /// Starts the writer. It ends when the last copy of the answer is dropped.
    pub fn start(client: Client, instance: String, metrics: Arc<Metrics>) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        tokio::spawn(write_all(client, instance, metrics, receiver));
        Self { sender }
    }

    pub fn emit(&self, regarding: ObjectReference, event: Event) {
        if self.sender.try_send((regarding, event)).is_err() {
            debug!("an event was dropped: too many wait");
        }
    }
}

/// What makes two events the same.
type EventKey = (String, String, String);

async fn write_all(
    client: Client,
    instance: String,
    metrics: Arc<Metrics>,
    mut receiver: mpsc::Receiver<(ObjectReference, Event)>,
) {
    let mut known: HashMap<EventKey, (String, i32)> = HashMap::new();
    while let Some((regarding, event)) = receiver.recv().await {
        let now = Timestamp::now();
        let namespace = regarding.namespace.clone().unwrap_or_else(|| "default".to_owned());
        let api: Api<ApiEvent> = Api::namespaced(client.clone(), &namespace);
        let key = (regarding.uid.clone().unwrap_or_default(), event.reason.clone(), event.message.clone());
        if let Some((name, count)) = known.get_mut(&key) {
            *count = count.saturating_add(1);
            let series = EventSeries { count: *count, last_observed_time: MicroTime(now) };
            let patch = Patch::Merge(serde_json::json!({"series": series}));
            match metrics.write("patch", "Event", api.patch(name, &PatchParams::default(), &patch).await) {
                Ok(_) => continue,
                // It has expired by now: write a new one.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => {
                    debug!(%error, "an event was not written");
                    continue;
                }
            }
        }
        let event = build(&regarding, &event, &instance, now);
        let name = event.metadata.name.clone().unwrap_or_default();
        match metrics.write("create", "Event", api.create(&PostParams::default(), &event).await) {
            Ok(_) => {
                if known.len() >= REMEMBERED {
                    known.clear();
                }
                known.insert(key, (name, 1));
            }
            Err(error) => debug!(%error, "an event was not written"),
        }
    }
}

fn build(regarding: &ObjectReference, event: &Event, instance: &str, now: Timestamp) -> ApiEvent {
    let about = regarding.name.as_deref().unwrap_or("ergon");
    let note = if event.message.is_empty() { &event.reason } else { &event.message };
    ApiEvent {
        metadata: ObjectMeta {
            name: Some(format!("{about}.{:x}", now.as_nanosecond())),
            namespace: regarding.namespace.clone(),
            ..Default::default()
        },
        event_time: Some(MicroTime(now)),
        regarding: Some(regarding.clone()),
        reason: Some(event.reason.clone()),
        action: Some("Reconcile".to_owned()),
        note: Some(cut(note, NOTE_LIMIT).to_owned()),
        type_: Some(match event.kind {
            EventKind::Normal => "Normal".to_owned(),
            EventKind::Warning => "Warning".to_owned(),
        }),
        reporting_controller: Some("ergon".to_owned()),
        reporting_instance: Some(instance.to_owned()),
        ..Default::default()
    }
}

/// The first bytes of a text, at most `limit`, that end with a whole character.
fn cut(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_fit_and_are_never_empty() {
        let regarding = ObjectReference { name: Some("run".into()), ..Default::default() };
        let build = |message: &str| {
            let event = Event { kind: EventKind::Normal, reason: "Started".into(), message: message.into() };
            build(&regarding, &event, "pod", Timestamp::UNIX_EPOCH).note.unwrap_or_default()
        };
        assert_eq!(build(""), "Started");
        let long = build(&"ä".repeat(600));
        assert_eq!(long.len(), 1024);
        assert_eq!(build(&format!("x{}", "ä".repeat(600))).len(), 1023);
    }
}
