//! The watches: what the API server says goes into the caches, and the runs that it is about into the queue.

use std::sync::Arc;
use std::time::Duration;

use ergon_api::{CustomRun, Group, PipelineRun, ResolutionRequest, TaskRun};
use ergon_engine::pod::POD_LABEL;
use ergon_engine::{Event as RunEvent, EventKind};
use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::core::DeserializeGuard;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use crate::cache::{Cache, Name};
use crate::shell::{Key, RunKind, Shell};
use crate::trim::{self, Trim};

/// How often it is looked again for what is not there: kinds that are not installed, rights that are not given.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Whether the API server knows a group's runs.
pub async fn is_installed(client: &Client, group: Group) -> Result<bool, kube::Error> {
    match client.list_api_group_resources(group.api_version()).await {
        Ok(list) => Ok([TaskRun::PLURAL, PipelineRun::PLURAL]
            .iter()
            .all(|plural| list.resources.iter().any(|resource| resource.name == *plural))),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(error) => Err(error),
    }
}

/// Starts the watch of our pods. It ends when the process does.
pub fn pods(shell: &Arc<Shell>, config: watcher::Config) {
    let shell = Arc::clone(shell);
    tokio::spawn(async move {
        let api: Api<Pod> = Api::all(shell.client.clone());
        let mut events = watcher(api, config.labels(POD_LABEL)).default_backoff().boxed();
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    let event = event.modify(trim::pod);
                    if let Event::Apply(pod) = &event {
                        measure_start(&shell, pod);
                    }
                    take(
                        &shell.pods,
                        event,
                        |pod| {
                            if let Some(key) = Key::owner_of(pod) {
                                shell.wake(&key, &pod.name_any());
                            }
                        },
                        |pod| shell.reports.forget(pod.metadata.uid.as_deref().unwrap_or_default()),
                    );
                }
                Err(error) => warn!(%error, "the watch of pods failed; it is resumed"),
            }
        }
    });
}

/// Starts the watches of a group's runs, once its kinds are installed.
/// Gives true at once where they are; else looks again now and then, in the background.
pub async fn runs(shell: &Arc<Shell>, group: Group, config: watcher::Config) -> Result<bool, kube::Error> {
    if is_installed(&shell.client, group).await? {
        start_runs(shell, group, config);
        return Ok(true);
    }
    info!(%group, "its kinds are not installed; looks again every {} s", LOOK_AGAIN.as_secs());
    let shell = Arc::clone(shell);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(LOOK_AGAIN).await;
            match is_installed(&shell.client, group).await {
                Ok(true) => break,
                Ok(false) => {}
                Err(error) => debug!(%group, %error, "cannot look whether its kinds are installed"),
            }
        }
        info!(%group, "its kinds are installed now");
        start_runs(&shell, group, config);
    });
    Ok(false)
}

fn start_runs(shell: &Arc<Shell>, group: Group, config: watcher::Config) {
    let task_runs = Arc::clone(shell);
    let (task_config, custom_config) = (config.clone(), config.clone());
    tokio::spawn(async move {
        let changed = |run: &TaskRun| {
            task_runs.queue.add(Key::task_run(group, Name::of(run)));
            tell_owner(&task_runs, run);
        };
        watch_runs(&task_runs, group, task_config, &task_runs.runs(group).task_runs, changed, |_, _| {})
            .await;
    });
    let pipeline_runs = Arc::clone(shell);
    tokio::spawn(async move {
        let changed = |run: &PipelineRun| {
            pipeline_runs.queue.add(Key::pipeline_run(group, Name::of(run)));
            tell_owner(&pipeline_runs, run);
            pipeline_runs.tell_parts(group, run);
        };
        let cache = &pipeline_runs.runs(group).pipeline_runs;
        watch_runs(&pipeline_runs, group, config, cache, changed, |_, _| {}).await;
    });
    let custom_runs = Arc::clone(shell);
    tokio::spawn(async move {
        let changed = |run: &CustomRun| tell_owner(&custom_runs, run);
        let cache = &custom_runs.runs(group).custom_runs;
        let news = |before: Option<&CustomRun>, run: &CustomRun| {
            custom_runs.tell_custom_run(group, before, run);
        };
        watch_runs(&custom_runs, group, custom_config, cache, changed, news).await;
    });
}

/// Watches the ResolutionRequests and looks after them, once their kind is installed. Until it is dropped.
pub async fn requests(shell: &Arc<Shell>, config: watcher::Config) -> JoinSet<()> {
    let mut work = JoinSet::new();
    let is_here = are_requests_installed(&shell.client).await;
    if is_here {
        shell.resolutions.requests.serve();
    }
    let watching = Arc::clone(shell);
    work.spawn(async move {
        if !is_here {
            while !are_requests_installed(&watching.client).await {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            watching.resolutions.requests.serve();
        }
        watch_requests(&watching, config).await;
    });
    work.spawn(Arc::clone(shell).attend());
    work
}

async fn are_requests_installed(client: &Client) -> bool {
    match client.list_api_group_resources(ResolutionRequest::API_VERSION).await {
        Ok(list) => list.resources.iter().any(|resource| resource.name == ResolutionRequest::PLURAL),
        Err(error) => {
            debug!(%error, "cannot look whether ResolutionRequest is installed");
            false
        }
    }
}

async fn watch_requests(shell: &Shell, config: watcher::Config) {
    let requests = &shell.resolutions.requests;
    let api: Api<DeserializeGuard<ResolutionRequest>> = Api::all(shell.client.clone());
    let mut events = watcher(api, config).default_backoff().boxed();
    while let Some(event) = events.next().await {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                warn!(kind = ResolutionRequest::KIND, %error, "a watch failed; it is resumed");
                continue;
            }
        };
        let event = readable(event, |invalid| {
            warn!(kind = ResolutionRequest::KIND, name = ?invalid.metadata.name, error = invalid.error,
                "cannot be read, and is left alone");
        });
        if let Some(event) = event {
            let event = event.modify(|request| requests.hear(request));
            take(
                &requests.seen,
                event,
                |request| requests.queue.add(Name::of(request)),
                |request| requests.gone(request),
            );
        }
    }
}

/// The pipeline run that a run is a part of looks at it.
fn tell_owner<K: Resource>(shell: &Shell, run: &K) {
    if let Some(owner) = Key::owner_of(run).filter(|owner| owner.kind == RunKind::PipelineRun) {
        shell.queue.add(owner);
    }
}

async fn watch_runs<K>(
    shell: &Shell,
    group: Group,
    config: watcher::Config,
    cache: &Cache<K>,
    changed: impl Fn(&K),
    news: impl Fn(Option<&K>, &K),
) where
    K: Resource<DynamicType = Group, Scope = kube::core::DynamicResourceScope>
        + Trim
        + Clone
        + std::fmt::Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    // The guard keeps one object that cannot be read from stopping the watch of all others.
    let api: Api<DeserializeGuard<K>> = Api::all_with(shell.client.clone(), &group);
    let mut events = watcher(api, config).default_backoff().boxed();
    while let Some(event) = events.next().await {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                warn!(%group, kind = %K::kind(&group), %error, "a watch failed; it is resumed");
                continue;
            }
        };
        if let Some(event) = readable(event, |invalid| report_invalid::<K>(shell, group, invalid)) {
            // A list only tells how things are, not what has happened.
            let before = match &event {
                Event::Apply(object) => Some((cache.get(&Name::of(object)), object.clone())),
                _ => None,
            };
            if let Some((before, object)) = before {
                news(before.as_deref(), &object);
            }
            take(cache, event, &changed, |_| {});
        }
    }
}

/// An event without its guard; none where the object cannot be read.
fn readable<K: Trim>(
    event: Event<DeserializeGuard<K>>,
    invalid: impl Fn(kube::core::error_boundary::InvalidObject),
) -> Option<Event<K>> {
    let open = |guard: DeserializeGuard<K>| match guard.0 {
        Ok(mut object) => {
            object.trim();
            Some(object)
        }
        Err(error) => {
            invalid(error);
            None
        }
    };
    Some(match event {
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
        Event::Apply(guard) => Event::Apply(open(guard)?),
        Event::InitApply(guard) => Event::InitApply(open(guard)?),
        Event::Delete(guard) => Event::Delete(open(guard)?),
    })
}

/// Brings a cache up to date.
pub(crate) fn take<K: Resource + Clone + Trim>(
    cache: &Cache<K>,
    event: Event<K>,
    changed: impl Fn(&K),
    gone: impl Fn(&K),
) {
    match event {
        Event::Init => cache.begin_list(),
        Event::InitApply(object) | Event::Apply(object) => {
            if cache.observe(object.clone()) {
                changed(&object);
            }
        }
        Event::Delete(object) => {
            cache.delete(&object);
            gone(&object);
            changed(&object);
        }
        Event::InitDone => {
            for object in cache.end_list() {
                gone(&object);
                changed(&object);
            }
        }
    }
}

fn report_invalid<K: Resource<DynamicType = Group>>(
    shell: &Shell,
    group: Group,
    invalid: kube::core::error_boundary::InvalidObject,
) {
    let name = invalid.metadata.name.clone().unwrap_or_default();
    let namespace = invalid.metadata.namespace.clone().unwrap_or_default();
    warn!(%group, kind = %K::kind(&group), %namespace, %name, error = invalid.error, "cannot be read, and is left alone");
    let reference = k8s_openapi::api::core::v1::ObjectReference {
        api_version: Some(group.api_version().to_owned()),
        kind: Some(K::kind(&group).into_owned()),
        name: Some(name),
        namespace: Some(namespace),
        uid: invalid.metadata.uid,
        ..Default::default()
    };
    let message = format!("the object cannot be read, and is left alone: {}", invalid.error);
    shell
        .events
        .emit(reference, RunEvent { kind: EventKind::Warning, reason: "Unreadable".to_owned(), message });
}

/// Measures the time from a pod's creation to the first sight of it running.
fn measure_start(shell: &Shell, pod: &Pod) {
    let phase = |pod: &Pod| pod.status.as_ref().and_then(|status| status.phase.clone());
    if phase(pod).as_deref() != Some("Running") {
        return;
    }
    let before = shell.pods.get(&Name::of(pod));
    if before.is_some_and(|before| phase(&before).as_deref() == Some("Pending"))
        && let Some(created) = &pod.metadata.creation_timestamp
        && let Ok(took) = Duration::try_from(Timestamp::now().duration_since(created.0))
    {
        shell.metrics.pod_started(took);
        shell.metrics.tekton.pod_started(pod, shell.settings.now().observability);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_that_cannot_be_read_does_not_stop_the_others() {
        let guard = |object: serde_json::Value| -> DeserializeGuard<TaskRun> {
            serde_json::from_value(object).expect("guarded")
        };
        let bad = guard(json!({"apiVersion": "ergon.dev/v1", "kind": "TaskRun",
            "metadata": {"name": "bad", "namespace": "ns"}, "spec": {"retries": {"no": "number"}}}));
        let good = guard(json!({"apiVersion": "ergon.dev/v1", "kind": "TaskRun",
            "metadata": {"name": "good", "namespace": "ns", "resourceVersion": "1", "managedFields": []}, "spec": {}}));
        let (cache, invalid, changed) =
            (Cache::default(), RefCell::new(Vec::new()), RefCell::new(Vec::new()));
        for event in [Event::Init, Event::InitApply(bad), Event::InitApply(good), Event::InitDone] {
            let note = |object: kube::core::error_boundary::InvalidObject| {
                invalid.borrow_mut().push(object.metadata.name.unwrap_or_default());
            };
            if let Some(event) = readable(event, note) {
                take(&cache, event, |run| changed.borrow_mut().push(run.name().to_owned()), |_| {});
            }
        }
        assert_eq!(*invalid.borrow(), ["bad"]);
        assert_eq!(*changed.borrow(), ["good"]);
        assert!(cache.is_synced() && cache.get(&Name::new("ns", "good")).is_some());
    }
}
