//! Many tasks on nodes that run nothing: how many in a second, and what each costs.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use e2e::Space;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http_body_util::BodyExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::client::Body;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource, ResourceExt as _};
use serde_json::{Value, json};

use crate::cases::Scale;
use crate::controller::{Controller, api_server, counted};
use crate::measure::{api_of, succeeded};
use crate::shapes;

/// How many objects are created at the same time.
const AT_ONCE: usize = 32;
/// How long one measurement may take.
const LONGEST: Duration = Duration::from_mins(15);
/// How often the controller's memory is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How long the controller rests before its memory is taken as what finished runs cost.
const REST: Duration = Duration::from_secs(3);
/// How long the controller may take to see a setting.
const SETTLED: Duration = Duration::from_mins(1);
/// The namespace that Ergon is installed in.
const SETTINGS: &str = "tekton-pipelines";
/// No more plain pods than this are made for comparison.
const MOST_PODS: usize = 300;
/// Objects are read in pages of so many.
const PAGE: usize = 500;

/// What was measured.
pub struct Measured {
    runs: f64,
    tasks: f64,
    seconds: f64,
    /// How many plain pods in a second the cluster starts and ends on the same nodes.
    pods_a_second: f64,
    /// The controller's memory in MiB: before, at most, and after it has rested.
    memory: [f64; 3],
    /// Processor time of the controller, in seconds.
    processor: Option<f64>,
    /// Processor time of the API server, in milliseconds: for a plain pod, and for a task.
    api_server: [Option<f64>; 2],
    /// Writes of the controller by verb and kind, such as `patch-status TaskRun`, for one task.
    writes: BTreeMap<String, f64>,
    reconciles: f64,
    /// Bytes in etcd: of runs, of their TaskRuns, of pods; and the largest run.
    bytes: [usize; 3],
    largest: usize,
}

impl Measured {
    /// How many tasks were done in a second.
    pub fn rate(&self) -> f64 {
        self.tasks / self.seconds
    }

    /// How many plain pods in a second the cluster starts and ends on the same nodes.
    pub fn pods_a_second(&self) -> f64 {
        self.pods_a_second
    }

    /// The controller's memory at most, in MiB.
    pub fn peak(&self) -> f64 {
        self.memory[1]
    }

    /// The largest run, in bytes.
    pub fn largest(&self) -> usize {
        self.largest
    }

    /// Processor time of the controller for one task, in milliseconds.
    pub fn processor_ms(&self) -> f64 {
        self.processor.map_or(f64::NAN, |seconds| seconds * 1000.0 / self.tasks)
    }

    /// Bytes in etcd for one run that is over, with its TaskRuns and without its pods.
    #[expect(clippy::cast_precision_loss, reason = "sizes of objects are small")]
    pub fn bytes_a_run(&self) -> f64 {
        (self.bytes[0] + self.bytes[1]) as f64 / self.runs
    }

    /// The line of JSON.
    #[expect(clippy::cast_precision_loss, reason = "sizes of objects are small")]
    pub fn json(&self, name: &str) -> Value {
        let round = crate::rounded;
        let [before, peak, after] = self.memory;
        json!({
            "case": name, "runs": self.runs, "tasks": self.tasks, "seconds": round(self.seconds),
            "tasks_per_s": round(self.rate()), "raw_pods_per_s": round(self.pods_a_second),
            "controller_mib_before": round(before), "controller_mib_peak": round(peak),
            "controller_mib_after": round(after),
            "kib_per_finished_run": round((after - before) * 1024.0 / self.runs),
            "cpu_ms_per_task": round(self.processor_ms()),
            "cpu_cores": self.processor.map(|seconds| round(seconds / self.seconds)),
            "api_server_cpu_ms_per_task": self.api_server[1].map(round),
            "api_server_cpu_ms_per_raw_pod": self.api_server[0].map(round),
            "writes_per_task": self.writes,
            "reconciles_per_task": round(self.reconciles / self.tasks),
            "etcd_bytes_per_run": round(self.bytes_a_run()),
            "etcd_pod_bytes_per_run": round(self.bytes[2] as f64 / self.runs),
            "largest_run_bytes": self.largest,
        })
    }
}

/// Measures a case, and deletes what it made.
pub async fn measure(space: &Space, case: &Scale) -> Result<Measured> {
    let Some(legs) = case.legs else { return carry_out(space, case).await };
    set_most_legs(space, Some(legs)).await?;
    let measured = match until_allowed(space, &(case.run)("allowed")).await {
        Ok(()) => carry_out(space, case).await,
        Err(error) => Err(error),
    };
    set_most_legs(space, None).await?;
    measured
}

/// Sets how many legs a matrix may have; none for the default.
async fn set_most_legs(space: &Space, legs: Option<usize>) -> Result<()> {
    let configs: Api<ConfigMap> = Api::namespaced(space.client(), SETTINGS);
    let legs = legs.map(|legs| legs.to_string());
    let patch = json!({"data": {"default-max-matrix-combinations-count": legs}});
    configs.patch("config-defaults", &PatchParams::default(), &Patch::Merge(&patch)).await?;
    Ok(())
}

/// Waits until a run of that shape would be taken: the controller has seen the settings.
async fn until_allowed(space: &Space, run: &Value) -> Result<()> {
    let api = api_of(space, run)?;
    let run: DynamicObject = serde_json::from_value(run.clone())?;
    let params = PostParams { dry_run: true, ..PostParams::default() };
    let allowed = async {
        while let Err(error) = api.create(&params, &run).await {
            let kube::Error::Api(_) = error else { return Err(error) };
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    };
    Ok(tokio::time::timeout(SETTLED, allowed).await.context("such a matrix is never allowed")??)
}

#[expect(clippy::cast_precision_loss, reason = "there are not so many runs")]
async fn carry_out(space: &Space, case: &Scale) -> Result<Measured> {
    let tasks = case.runs * case.tasks;
    let pods: Vec<Value> =
        (0..tasks.min(MOST_PODS)).map(|number| shapes::fake_pod(&format!("raw-{number}"))).collect();
    let ended =
        |pod: &Pod| Ok(pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Succeeded"));
    let api: Api<Pod> = space.api();
    let pods_made = pods.len() as f64;
    let served = api_server();
    let raw = all(space, &api, &pods, ended).await.context("plain pods")?;
    let for_a_pod = passed(served, api_server()).map(|seconds| seconds * 1000.0 / pods_made);
    remove(&api).await?;

    let controller = Controller::find(space.cluster()).await?;
    let counters = controller.counters().await?;
    let (before, processor) = (controller.memory().await?, controller.processor());
    let runs: Vec<Value> = (0..case.runs).map(|number| (case.run)(&format!("r{number:04}"))).collect();
    let api = api_of(space, runs.first().context("no runs")?)?;
    let mut peak = before;
    let served = api_server();
    let looking = async {
        loop {
            tokio::time::sleep(LOOK).await;
            match controller.memory().await {
                Ok(now) => peak = peak.max(now),
                Err(error) => return error,
            }
        }
    };
    let seconds = tokio::select! {
        seconds = all(space, &api, &runs, succeeded) => seconds?,
        error = looking => return Err(error),
    };
    let processor = passed(processor, controller.processor());
    let for_a_task = passed(served, api_server()).map(|seconds| seconds * 1000.0 / tasks as f64);
    let now = controller.counters().await?;
    tokio::time::sleep(REST).await;
    let after = controller.memory().await?;
    ensure!(controller.is_the_same().await?, "the controller was replaced meanwhile");

    let task_runs = api_of(space, &json!({"apiVersion": "ergon.dev/v1", "kind": "TaskRun"}))?;
    let ((runs, largest), (children, _)) = (json_size(&api).await?, json_size(&task_runs).await?);
    let pods = pod_size(space).await?;
    let tasks = tasks as f64;
    let writes = counted(&counters, &now, "api_writes", &["verb", "kind"]);
    let reconciles = counted(&counters, &now, "reconciles", &[]).into_values().sum();
    remove(&api).await?;
    remove(&task_runs).await?;
    remove(&space.api::<Pod>()).await?;
    Ok(Measured {
        runs: case.runs as f64,
        tasks,
        seconds,
        pods_a_second: pods_made / raw,
        memory: [before, peak.max(after), after],
        processor,
        api_server: [for_a_pod, for_a_task],
        writes: writes.into_iter().map(|(what, count)| (what, crate::rounded(count / tasks))).collect(),
        reconciles,
        bytes: [runs, children, pods],
        largest,
    })
}

/// What has passed between two readings.
fn passed(before: Option<f64>, after: Option<f64>) -> Option<f64> {
    before.zip(after).map(|(before, after)| after - before)
}

/// Seconds from the first creation until all objects are as wanted.
async fn all<K>(
    space: &Space,
    api: &Api<K>,
    objects: &[Value],
    wanted: impl Fn(&K) -> Result<bool>,
) -> Result<f64>
where
    K: Resource + Clone + std::fmt::Debug + Send + serde::de::DeserializeOwned + 'static,
{
    let mut events = pin!(watcher(api.clone(), watcher::Config::default().streaming_lists()));
    // Nothing is there yet.
    while let Some(event) = events.next().await {
        if matches!(event?, Event::InitDone) {
            break;
        }
    }
    let begin = Instant::now();
    let mut done = BTreeSet::new();
    let watching = async {
        while let Some(event) = events.next().await {
            // The API server drops slow watchers: the next one goes on from there.
            let Ok(Event::Apply(object) | Event::InitApply(object)) = event else { continue };
            if wanted(&object)? {
                done.insert(object.name_any());
                if done.len() == objects.len() {
                    return Ok(begin.elapsed().as_secs_f64());
                }
            }
        }
        bail!("the watch ended")
    };
    let creating = stream::iter(objects)
        .map(|object| async move { space.create(object).await.map_err(|message| anyhow!(message)) })
        .buffer_unordered(AT_ONCE)
        .try_for_each(|_| std::future::ready(Ok(())));
    let both = async { tokio::try_join!(watching, creating) };
    let outcome = tokio::time::timeout(LONGEST, both).await;
    match outcome {
        Ok(outcome) => Ok(outcome?.0),
        Err(_) => bail!("only {} of {} were done in {LONGEST:?}", done.len(), objects.len()),
    }
}

/// The size of all objects as they are stored, which for kinds of a CustomResourceDefinition is JSON; and of the largest.
async fn json_size(api: &Api<DynamicObject>) -> Result<(usize, usize)> {
    let (mut sum, mut largest) = (0, 0);
    let mut next: Option<String> = None;
    loop {
        let mut params = ListParams::default().limit(u32::try_from(PAGE)?);
        params.continue_token = next;
        let list = api.list(&params).await?;
        for object in &list.items {
            let size = serde_json::to_vec(object)?.len();
            sum += size;
            largest = largest.max(size);
        }
        next = list.metadata.continue_.filter(|token| !token.is_empty());
        if next.is_none() {
            return Ok((sum, largest));
        }
    }
}

/// The size of all pods as they are stored, which for Kubernetes' own kinds is protobuf.
async fn pod_size(space: &Space) -> Result<usize> {
    let path = format!("/api/v1/namespaces/{}/pods", space.name());
    let request = http::Request::get(path)
        .header(http::header::ACCEPT, "application/vnd.kubernetes.protobuf")
        .body(Body::empty())?;
    let response = space.client().send(request).await?;
    ensure!(response.status().is_success(), "pods cannot be read as protobuf: {}", response.status());
    Ok(response.into_body().collect().await?.to_bytes().len())
}

/// Deletes all objects, and waits until they are gone.
async fn remove<K>(api: &Api<K>) -> Result<()>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    api.delete_collection(&DeleteParams::background().grace_period(0), &ListParams::default()).await?;
    let gone = async {
        while !api.list_metadata(&ListParams::default().limit(1)).await?.items.is_empty() {
            tokio::time::sleep(LOOK).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(LONGEST, gone).await.context("what was made does not go away")?
}
