//! Following objects as they change: no polling, and a watch that breaks is taken up where it broke.

use std::fmt::Debug;
use std::time::Duration;

use ergon_api::{PipelineRun, TaskRun};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use kube::runtime::WatchStreamExt;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::connect::Ergon;
use crate::error::{Error, Result};
use crate::run::{Run, RunKind, RunRef};

/// How long failures may follow one another before a watch gives up.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LAST_DELAY: Duration = Duration::from_secs(5);

impl Ergon {
    /// The run as it is, then again each time that it changes, until it is done; then the stream ends.
    ///
    /// # Errors
    /// [`Error::Deleted`] when it is deleted first, [`Error::NotFound`] when it is not there at the start, and whatever
    /// keeps a watch from going on for a minute. After an error the stream ends.
    pub fn watch(&self, run: &RunRef) -> impl Stream<Item = Result<Run>> + Send + use<> {
        let here = self.clone().in_namespace(&run.namespace);
        let changes = match run.kind {
            RunKind::PipelineRun => watch_one(here.api::<PipelineRun>(run.group), &run.name)
                .map_ok(|run| run.map(Run::from))
                .boxed(),
            RunKind::TaskRun => {
                watch_one(here.api::<TaskRun>(run.group), &run.name).map_ok(|run| run.map(Run::from)).boxed()
            }
        };
        let reference = run.clone();
        stream::unfold(Some((changes, false)), move |state| {
            let what = reference.to_string();
            async move {
                let (mut changes, seen) = state?;
                match changes.next().await? {
                    Ok(Some(run)) if run.is_done() => Some((Ok(run), None)),
                    Ok(Some(run)) => Some((Ok(run), Some((changes, true)))),
                    Ok(None) if seen => Some((Err(Error::Deleted { what }), None)),
                    Ok(None) => Some((Err(Error::not_found(what)), None)),
                    Err(error) => Some((Err(error), None)),
                }
            }
        })
        .boxed()
    }

    /// The run once it is done.
    pub async fn wait(&self, run: &RunRef) -> Result<Run> {
        let mut last = None;
        let mut changes = std::pin::pin!(self.watch(run));
        while let Some(run) = changes.try_next().await? {
            last = Some(run);
        }
        last.filter(Run::is_done).ok_or_else(|| Error::Deleted { what: run.to_string() })
    }
}

/// One object as it is, then as it changes; `None` while it does not exist. Ends only with an error.
pub(crate) fn watch_one<K>(api: Api<K>, name: &str) -> impl Stream<Item = Result<Option<K>>> + Send + use<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut found = false;
    watch_many(api, config, format!("`{name}`")).filter_map(move |event| {
        let item = match event {
            Ok(Event::Init) => {
                found = false;
                None
            }
            Ok(Event::InitApply(object) | Event::Apply(object)) => {
                found = true;
                Some(Ok(Some(object)))
            }
            Ok(Event::InitDone) => (!found).then_some(Ok(None)),
            Ok(Event::Delete(_)) => Some(Ok(None)),
            Err(error) => Some(Err(error)),
        };
        std::future::ready(item)
    })
}

/// The events of a watch. What may pass is tried again; what will not, or does not for a minute, ends the stream.
pub(crate) fn watch_many<K>(
    api: Api<K>,
    config: watcher::Config,
    what: String,
) -> impl Stream<Item = Result<Event<K>>> + Send + use<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let mut trouble = Trouble::default();
    let events = watcher(api, config).backoff(Pause::default());
    until_error(events.filter_map(move |event| {
        let item = match event {
            Ok(event) => {
                trouble = Trouble::default();
                Some(Ok(event))
            }
            Err(error) => {
                let error = Error::of_watch(error, &what);
                tracing::debug!(%error, "a watch was interrupted");
                // An expired resource version (410) is a failure too: the watcher lists anew.
                let expired = matches!(error, Error::Server { code: 410, .. });
                let passing = expired || error.is_transient();
                (!passing || trouble.is_too_long(Instant::now())).then_some(Err(error))
            }
        };
        std::future::ready(item)
    }))
}

/// The stream up to and with its first error, and nothing after it.
fn until_error<T: Send>(
    stream: impl Stream<Item = Result<T>> + Send + 'static,
) -> impl Stream<Item = Result<T>> + Send {
    stream::unfold(Some(stream.boxed()), async |stream| {
        let mut stream = stream?;
        let item = stream.next().await?;
        let rest = item.is_ok().then_some(stream);
        Some((item, rest))
    })
}

/// A row of failures.
#[derive(Debug, Default)]
struct Trouble {
    first_and_last: Option<(Instant, Instant)>,
}

impl Trouble {
    /// Notes a failure; true when the row has lasted too long. A watch that works says nothing while nothing changes,
    /// so failures that lie further apart than the pauses between tries are not of one row.
    fn is_too_long(&mut self, now: Instant) -> bool {
        let first = match self.first_and_last {
            Some((first, last)) if now - last < 4 * LAST_DELAY => first,
            _ => now,
        };
        self.first_and_last = Some((first, now));
        now - first > PATIENCE
    }
}

/// Pauses that double.
#[derive(Debug, Clone)]
pub(crate) struct Pause {
    next: Duration,
}

impl Default for Pause {
    fn default() -> Self {
        Self { next: FIRST_DELAY }
    }
}

impl Iterator for Pause {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.next;
        self.next = (pause * 2).min(LAST_DELAY);
        Some(pause)
    }
}

impl Backoff for Pause {
    fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_failures_close_to_one_another_are_a_row() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut trouble = Trouble::default();
        assert!(!trouble.is_too_long(at(0)));
        assert!(!trouble.is_too_long(at(300)), "the first one is long past");
        for second in (305..360).step_by(5) {
            assert!(!trouble.is_too_long(at(second)), "{second}");
        }
        assert!(trouble.is_too_long(at(365)));
    }

    #[test]
    fn pauses_double_up_to_a_bound() {
        let pauses: Vec<u128> = Pause::default().take(8).map(|pause| pause.as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    }
}
