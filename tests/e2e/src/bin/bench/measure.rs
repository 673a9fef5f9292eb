//! One measurement: the watch is open before anything is created, and what was created is gone afterwards.

use std::collections::BTreeSet;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use e2e::Space;
use futures::TryStreamExt as _;
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, DynamicObject, ListParams, WatchEvent, WatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// How long one measurement may take.
const LONGEST: Duration = Duration::from_mins(3);

/// Durations of one kind, in seconds.
#[derive(Default)]
pub struct Times(Vec<f64>);

impl Times {
    /// Adds one.
    pub fn add(&mut self, seconds: f64) {
        self.0.push(seconds);
        self.0.sort_by(f64::total_cmp);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The one in the middle, or the mean of the two there.
    pub fn median(&self) -> f64 {
        let middle = self.0.len() / 2;
        match self.0.len() {
            0 => f64::NAN,
            count if count % 2 == 0 => f64::midpoint(self.0[middle - 1], self.0[middle]),
            _ => self.0[middle],
        }
    }

    /// The shortest.
    pub fn min(&self) -> f64 {
        self.0.first().copied().unwrap_or(f64::NAN)
    }

    /// The longest.
    pub fn max(&self) -> f64 {
        self.0.last().copied().unwrap_or(f64::NAN)
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:.2} ({:.2}-{:.2})", self.median(), self.min(), self.max()))
    }
}

/// Seconds from the creation of plain pods to a container of each running.
pub async fn pods(space: &Space, pods: &[Value]) -> Result<f64> {
    let api: Api<Pod> = space.api();
    let mut running = BTreeSet::new();
    let seconds = watched(space, &api, WatchParams::default().labels("bench=raw"), pods, |pod: &Pod| {
        let started =
            pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten()).any(|status| {
                status
                    .state
                    .as_ref()
                    .is_some_and(|state| state.running.is_some() || state.terminated.is_some())
            });
        if started {
            running.insert(pod.name_any());
        }
        Ok(running.len() == pods.len())
    })
    .await?;
    for name in running {
        api.delete(&name, &DeleteParams::default()).await?;
    }
    pods_gone(space).await?;
    pause().await;
    Ok(seconds)
}

/// Creates a run and waits until it has succeeded.
pub async fn run_once(space: &Space, run: &Value) -> Result<()> {
    let label = WatchParams::default().labels("bench=run");
    watched(space, &api_of(space, run)?, label, std::slice::from_ref(run), succeeded).await.map(drop)
}

/// Deletes a run, and waits until its pods are gone.
pub async fn remove_run(space: &Space, run: &Value) -> Result<()> {
    let name = run["metadata"]["name"].as_str().context("a run without a name")?;
    api_of(space, run)?.delete(name, &DeleteParams::background()).await?;
    pods_gone(space).await
}

/// Seconds from the creation of runs of one kind to the success of each.
pub async fn runs(space: &Space, objects: &[Value]) -> Result<f64> {
    let api = api_of(space, objects.first().context("no runs")?)?;
    let mut done = BTreeSet::new();
    let label = WatchParams::default().labels("bench=run");
    let seconds = watched(space, &api, label, objects, |run: &DynamicObject| {
        if succeeded(run)? {
            done.insert(run.name_any());
        }
        Ok(done.len() == objects.len())
    })
    .await?;
    for name in done {
        api.delete(&name, &DeleteParams::background()).await?;
    }
    pods_gone(space).await?;
    pause().await;
    Ok(seconds)
}

/// Whether a run has succeeded; an error where it has failed.
pub fn succeeded(run: &DynamicObject) -> Result<bool> {
    let condition = &run.data["status"]["conditions"][0];
    match condition["status"].as_str() {
        Some("True") => Ok(true),
        Some("False") => bail!("{} failed: {}", run.name_any(), condition["message"]),
        _ => Ok(false),
    }
}

/// The API of an object's kind.
pub fn api_of(space: &Space, object: &Value) -> Result<Api<DynamicObject>> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let gvk = GroupVersionKind::try_from(kube::core::TypeMeta {
        api_version: text(&object["apiVersion"]),
        kind: text(&object["kind"]),
    })?;
    Ok(Api::namespaced_with(space.client(), space.name(), &ApiResource::from_gvk(&gvk)))
}

/// Waits until the pods are gone, so that the next measurement does not see the node at work on them.
async fn pods_gone(space: &Space) -> Result<()> {
    let pods = space.api::<Pod>().list_metadata(&ListParams::default()).await?.items;
    let names: Vec<String> = pods.iter().map(kube::ResourceExt::name_any).collect();
    try_join_all(names.iter().map(|name| space.gone::<Pod>(name))).await?;
    Ok(())
}

/// Seconds from the creation of objects to `seen` being content with what the watch brings.
async fn watched<K>(
    space: &Space,
    api: &Api<K>,
    which: WatchParams,
    objects: &[Value],
    mut seen: impl FnMut(&K) -> Result<bool>,
) -> Result<f64>
where
    K: Resource + Clone + DeserializeOwned + fmt::Debug,
{
    let now = api.list_metadata(&ListParams::default().limit(1)).await?;
    let version = now.metadata.resource_version.context("a list without a resource version")?;
    let mut events = pin!(api.watch(&which, &version).await?);
    let begin = Instant::now();
    let watching = async {
        while let Some(event) = events.try_next().await? {
            match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    if seen(&object)? {
                        return Ok(begin.elapsed().as_secs_f64());
                    }
                }
                WatchEvent::Deleted(_) => bail!("it was deleted"),
                WatchEvent::Error(error) => bail!("the watch failed: {}", error.message),
                WatchEvent::Bookmark(_) => {}
            }
        }
        bail!("the watch ended")
    };
    let creating = async {
        try_join_all(objects.iter().map(|object| space.create(object)))
            .await
            .map_err(|message| anyhow!(message))
    };
    let (seconds, _) = tokio::time::timeout(LONGEST, async { tokio::try_join!(watching, creating) })
        .await
        .context("too slow")??;
    Ok(seconds)
}

/// A pause of random length: the kubelet looks at its containers once a second, and all pods would otherwise start at
/// the same moment of that second.
async fn pause() {
    let random = RandomState::new().hash_one(()) % 1000;
    tokio::time::sleep(Duration::from_millis(500 + random)).await;
}
