//! Waiting by watches: never by sleeping and asking again.

use std::fmt::Debug;
use std::time::Duration;

use anyhow::{Result, bail};
use ergon_api::{Condition, CustomRun, Group, PipelineRun, TaskRun};
use futures::StreamExt as _;
use kube::core::DynamicResourceScope;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::watch_object;
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// How much of an object a failed wait shows.
const SHOWN: usize = 2000;

/// Waits until an object is as wanted, and returns it as it was then; it is none where it is not there.
///
/// # Errors
/// It was not within `limit`, with what it looked like last.
pub async fn until<K>(
    api: Api<K>,
    name: &str,
    what: &str,
    limit: Duration,
    wanted: impl Fn(Option<&K>) -> bool,
) -> Result<Option<K>>
where
    K: Resource + Clone + Debug + Send + Serialize + DeserializeOwned + 'static,
{
    let mut last: Option<K> = None;
    let mut failure = None;
    let found = tokio::time::timeout(limit, async {
        // On the heap: a watch's state is large, and tests wait for many things at the same time.
        let mut states = watch_object(api, name).default_backoff().boxed();
        while let Some(state) = states.next().await {
            match state {
                Ok(state) if wanted(state.as_ref()) => return Some(state),
                Ok(state) => last = state,
                // The API server drops slow watchers: the next one goes on from there.
                Err(error) => failure = Some(error.to_string()),
            }
        }
        None
    })
    .await;
    if let Ok(Some(state)) = found {
        return Ok(state);
    }
    let seen = last.map_or_else(|| "it was not there".to_owned(), |last| shown(&last));
    let trouble = failure.map(|failure| format!("; the watch failed with: {failure}")).unwrap_or_default();
    bail!("`{name}`: not {what} within {limit:?}: {seen}{trouble}")
}

fn shown(object: &impl Serialize) -> String {
    let value = serde_json::to_value(object).unwrap_or_default();
    let mut text = value["status"].to_string();
    if text.len() > SHOWN {
        let end = (0..=SHOWN).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

/// A run of any kind.
pub trait Ran:
    Resource<DynamicType = Group, Scope = DynamicResourceScope>
    + Clone
    + Debug
    + Send
    + Serialize
    + DeserializeOwned
    + 'static
{
    /// The `Succeeded` condition.
    fn outcome(&self) -> Option<&Condition>;

    /// Whether it has ended.
    fn ended(&self) -> bool;

    /// Its group.
    fn group_of(&self) -> Group;

    /// The condition's reason, or the empty text.
    fn reason(&self) -> &str {
        self.outcome().map_or("", Condition::reason)
    }

    /// The condition's message, or the empty text.
    fn message(&self) -> &str {
        self.outcome().map_or("", Condition::message)
    }
}

/// All kinds of runs tell it by the same names.
macro_rules! ran {
    ($($kind:ty),*) => {$(
        impl Ran for $kind {
            fn outcome(&self) -> Option<&Condition> {
                self.condition()
            }

            fn ended(&self) -> bool {
                self.is_done()
            }

            fn group_of(&self) -> Group {
                self.group()
            }
        }
    )*};
}

ran!(TaskRun, PipelineRun, CustomRun);
