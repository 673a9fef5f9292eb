//! Events on runs: written in the background, so that no decision waits for one; the same one again becomes a series.
//!
//! Several writers share the work, each the same objects always: what is told of one stays in order. Where more is to be
//! told than can be written, the same event that waits already is counted with it, and then warnings come before others.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex};

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
use crate::sync::lock;

/// How many write at once.
const WRITERS: usize = 4;
/// How many events may wait for one writer; more are dropped.
const WAITING: usize = 2500;
/// So many of these places are for warnings alone.
const FOR_WARNINGS: usize = 500;
/// How many events each writer remembers to recognise the same one again.
const REMEMBERED: usize = 500;
/// The API server's limit of a note, in bytes.
const NOTE_LIMIT: usize = 1024;

/// Where events go.
#[derive(Clone)]
pub struct Events {
    lanes: Arc<[Lane]>,
    hasher: RandomState,
    metrics: Arc<Metrics>,
}

/// What goes to one writer.
struct Lane {
    /// In the order in which they came.
    sender: mpsc::Sender<EventKey>,
    waiting: Arc<Mutex<HashMap<EventKey, Waiting>>>,
}

/// What makes two events the same: the object's UID, the reason and the message.
type EventKey = (String, String, String);

/// An event that waits to be written.
struct Waiting {
    regarding: ObjectReference,
    event: Event,
    /// How often it was told since.
    count: i32,
    first: Timestamp,
    last: Timestamp,
}

impl Events {
    /// Starts the writers. They end when the last copy of the answer is dropped.
    pub fn start(client: &Client, instance: &str, metrics: &Arc<Metrics>) -> Self {
        let lane = |_| {
            let (sender, receiver) = mpsc::channel(WAITING);
            let waiting = Arc::<Mutex<HashMap<_, _>>>::default();
            let writer = Writer {
                client: client.clone(),
                instance: instance.to_owned(),
                metrics: Arc::clone(metrics),
                known: HashMap::new(),
            };
            tokio::spawn(writer.write_all(receiver, Arc::clone(&waiting)));
            Lane { sender, waiting }
        };
        Self {
            lanes: (0..WRITERS).map(lane).collect(),
            hasher: RandomState::new(),
            metrics: Arc::clone(metrics),
        }
    }

    pub fn emit(&self, regarding: ObjectReference, event: Event) {
        let now = Timestamp::now();
        let key = (regarding.uid.clone().unwrap_or_default(), event.reason.clone(), event.message.clone());
        let lanes = u64::try_from(self.lanes.len()).unwrap_or(1);
        let at = usize::try_from(self.hasher.hash_one(&key.0) % lanes).unwrap_or(0);
        let Some(lane) = self.lanes.get(at) else { return };
        let mut waiting = lock(&lane.waiting);
        if let Some(same) = waiting.get_mut(&key) {
            same.count = same.count.saturating_add(1);
            same.last = now;
            return;
        }
        let is_urgent = event.kind == EventKind::Warning;
        let has_room = is_urgent || lane.sender.capacity() > FOR_WARNINGS;
        // Before the lock is given back: the writer takes it to look the event up.
        if has_room && lane.sender.try_send(key.clone()).is_ok() {
            waiting.insert(key, Waiting { regarding, event, count: 1, first: now, last: now });
        } else {
            self.metrics.events_dropped.inc();
            debug!(reason = event.reason, "an event was dropped: too many wait");
        }
    }
}

/// Writes the events of one lane.
struct Writer {
    client: Client,
    instance: String,
    metrics: Arc<Metrics>,
    /// Those that were written: their names, and how often they were told.
    known: HashMap<EventKey, (String, i32)>,
}

impl Writer {
    async fn write_all(
        mut self,
        mut receiver: mpsc::Receiver<EventKey>,
        waiting: Arc<Mutex<HashMap<EventKey, Waiting>>>,
    ) {
        while let Some(key) = receiver.recv().await {
            let next = lock(&waiting).remove(&key);
            if let Some(next) = next {
                self.write(key, next).await;
            }
        }
    }

    async fn write(&mut self, key: EventKey, next: Waiting) {
        let namespace = next.regarding.namespace.clone().unwrap_or_else(|| "default".to_owned());
        let api: Api<ApiEvent> = Api::namespaced(self.client.clone(), &namespace);
        if let Some((name, count)) = self.known.get_mut(&key) {
            *count = count.saturating_add(next.count);
            let series = EventSeries { count: *count, last_observed_time: MicroTime(next.last) };
            let patch = Patch::Merge(serde_json::json!({"series": series}));
            let written = api.patch(name, &PatchParams::default(), &patch).await;
            match self.metrics.write("patch", "Event", written) {
                Ok(_) => return,
                // It has expired by now: write a new one.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => {
                    debug!(%error, "an event was not written");
                    return;
                }
            }
        }
        let mut event = build(&next.regarding, &next.event, &self.instance, next.first);
        // The API server takes no series of one.
        event.series = (next.count > 1)
            .then_some(EventSeries { count: next.count, last_observed_time: MicroTime(next.last) });
        let name = event.metadata.name.clone().unwrap_or_default();
        match self.metrics.write("create", "Event", api.create(&PostParams::default(), &event).await) {
            Ok(_) => {
                if self.known.len() >= REMEMBERED {
                    self.known.clear();
                }
                self.known.insert(key, (name, next.count));
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
    use std::collections::BTreeSet;

    use super::*;
    use crate::fake::Fake;

    fn about(run: usize) -> ObjectReference {
        let name = format!("run-{run}");
        ObjectReference {
            uid: Some(name.clone()),
            name: Some(name),
            namespace: Some("ns".to_owned()),
            ..Default::default()
        }
    }

    fn event(kind: EventKind, message: &str) -> Event {
        Event { kind, reason: "Running".to_owned(), message: message.to_owned() }
    }

    /// The events that were written, by their notes, with how often they were told.
    async fn written(fake: &Fake, is_enough: impl Fn(usize) -> bool) -> Vec<(String, i64)> {
        loop {
            let all = fake.below("/apis/events.k8s.io/v1/namespaces/ns/events/");
            if is_enough(all.len()) {
                let told = |event: &serde_json::Value| {
                    let note = event["note"].as_str().unwrap_or_default().to_owned();
                    (note, event["series"]["count"].as_i64().unwrap_or(1))
                };
                return all.iter().map(told).collect();
            }
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn what_waits_is_counted_and_none_is_lost() {
        let fake = Fake::default();
        let metrics = Arc::new(Metrics::default());
        let events = Events::start(&fake.client(), "test", &metrics);
        // The writers have had no turn yet.
        for _ in 0..3 {
            for run in 0..300 {
                events.emit(about(run), event(EventKind::Normal, &format!("message {run}")));
            }
        }
        let told = written(&fake, |count| count == 300).await;
        assert!(told.iter().all(|(_, count)| *count == 3), "{told:?}");
        assert_eq!(told.iter().map(|(note, _)| note).collect::<BTreeSet<_>>().len(), 300);
        assert_eq!(metrics.events_dropped.get(), 0);
        // The same one later goes on with the series.
        events.emit(about(7), event(EventKind::Normal, "message 7"));
        while !written(&fake, |count| count == 300).await.contains(&("message 7".to_owned(), 4)) {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn where_there_is_no_room_warnings_are_told_still() {
        let fake = Fake::default();
        let metrics = Arc::new(Metrics::default());
        let events = Events::start(&fake.client(), "test", &metrics);
        for at in 0..WAITING {
            events.emit(about(0), event(EventKind::Normal, &format!("message {at}")));
        }
        events.emit(about(0), event(EventKind::Warning, "trouble"));
        assert_eq!(metrics.events_dropped.get(), u64::try_from(FOR_WARNINGS).expect("small"));
        let told = written(&fake, |count| count == WAITING - FOR_WARNINGS + 1).await;
        assert!(told.contains(&("trouble".to_owned(), 1)));
    }

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
