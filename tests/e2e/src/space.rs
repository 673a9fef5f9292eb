//! A namespace of its own for each test, deleted at its end.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};
use ergon_api::{Group, PipelineRun, TaskRun};
use futures::{AsyncBufReadExt as _, FutureExt as _, TryStreamExt as _};
use k8s_openapi::NamespaceResourceScope as Namespaced;
use k8s_openapi::api::core::v1::{ContainerStatus, Namespace, Pod, ServiceAccount};
use kube::api::{DeleteParams, DynamicObject, ListParams, LogParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::sync::RwLock;

use crate::cluster::Cluster;
use crate::manifest::documents;
use crate::wait::{Ran, until};

/// How long a run in a test may take, and anything else that is waited for.
const LONGEST: Duration = Duration::from_mins(2);

/// Most tests share the cluster; one that restarts the controller has it alone.
static CLUSTER: RwLock<()> = RwLock::const_new(());

/// One test's namespace.
pub struct Space {
    cluster: Cluster,
    name: String,
}

/// Runs a test in a namespace of its own. `name` becomes part of the namespace's.
///
/// # Errors
/// The test's own, with the state of what it left; or there is no cluster.
pub async fn in_space(name: &str, test: impl AsyncFnOnce(&Space) -> Result<()>) -> Result<()> {
    let _shared = CLUSTER.read().await;
    Box::pin(with(name, json!({}), test)).await
}

/// As [`in_space`], in a namespace that enforces the restricted Pod Security Standard.
///
/// # Errors
/// See [`in_space`].
pub async fn in_restricted_space(name: &str, test: impl AsyncFnOnce(&Space) -> Result<()>) -> Result<()> {
    let _shared = CLUSTER.read().await;
    Box::pin(with(name, json!({"pod-security.kubernetes.io/enforce": "restricted"}), test)).await
}

/// As [`in_space`], while no other test of this process runs.
///
/// # Errors
/// See [`in_space`].
pub async fn in_space_alone(name: &str, test: impl AsyncFnOnce(&Space) -> Result<()>) -> Result<()> {
    let _alone = CLUSTER.write().await;
    Box::pin(with(name, json!({}), test)).await
}

async fn with(name: &str, labels: Value, test: impl AsyncFnOnce(&Space) -> Result<()>) -> Result<()> {
    let Some(cluster) = Cluster::connect().await? else { return Ok(()) };
    let space = Space::make_with(cluster, name, labels).await?;
    // A failed assertion is a panic: the namespace goes all the same.
    let ended = AssertUnwindSafe(test(&space)).catch_unwind().await;
    if !matches!(ended, Ok(Ok(()))) {
        eprintln!("namespace {}:\n{}", space.name, space.story().await);
    }
    space.remove().await?;
    match ended {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

impl Space {
    /// A namespace without any labels, for whoever removes it: see [`Space::remove`].
    ///
    /// # Errors
    /// The API server's words.
    pub async fn make(cluster: Cluster, name: &str) -> Result<Self> {
        Self::make_with(cluster, name, json!({})).await
    }

    async fn make_with(cluster: Cluster, name: &str, labels: Value) -> Result<Self> {
        let unique = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros();
        let name = format!("e2e-{name}-{unique:x}");
        let namespace: Namespace =
            serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}}))?;
        Api::all(cluster.client().clone()).create(&PostParams::default(), &namespace).await?;
        let space = Self { cluster, name };
        // Pods are refused before the namespace's service account is there.
        let accounts: Api<ServiceAccount> = space.api();
        until(accounts, "default", "created", LONGEST, |account| account.is_some()).await?;
        Ok(space)
    }

    /// Deletes the namespace, with all that is in it; it goes a little later.
    ///
    /// # Errors
    /// The API server's words.
    pub async fn remove(&self) -> Result<()> {
        let namespaces: Api<Namespace> = Api::all(self.client());
        namespaces.delete(&self.name, &DeleteParams::background()).await?;
        Ok(())
    }

    /// The namespace's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The Kubernetes client.
    pub fn client(&self) -> Client {
        self.cluster.client().clone()
    }

    /// The API of a kind of Kubernetes' own, in this namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = Namespaced, DynamicType = ()>,
    {
        Api::namespaced(self.client(), &self.name)
    }

    /// The API of a kind of ours, in this namespace.
    pub fn ours<K>(&self, group: Group) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::DynamicResourceScope, DynamicType = Group>,
    {
        Api::namespaced_with(self.client(), &self.name, &group)
    }

    /// Runs kubectl in this namespace.
    ///
    /// # Errors
    /// It fails, with what it said.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let arguments = [&["--namespace", self.name.as_str()], arguments].concat();
        self.cluster.kubectl(&arguments, "").await?.ok()
    }

    /// Creates one object, with unknown fields refused as kubectl has it.
    ///
    /// # Errors
    /// The API server's words.
    pub async fn create(&self, object: &Value) -> Result<Value, String> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let gvk = GroupVersionKind::try_from(kube::core::TypeMeta {
            api_version: text(&object["apiVersion"]),
            kind: text(&object["kind"]),
        })
        .map_err(|error| error.to_string())?;
        let resource = ApiResource::from_gvk(&gvk);
        let path = <DynamicObject as kube::Resource>::url_path(&resource, Some(&self.name));
        let request = http::Request::post(format!("{path}?fieldValidation=Strict"))
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(object.to_string().into_bytes())
            .map_err(|error| error.to_string())?;
        self.client().request(request).await.map_err(|error| match error {
            kube::Error::Api(status) => status.message.clone(),
            error => format!("{:#}", anyhow::Error::from(error)),
        })
    }

    /// Creates all objects of a YAML text.
    ///
    /// # Errors
    /// It is no YAML, or the API server refuses one.
    pub async fn apply(&self, text: &str) -> Result<Vec<Value>> {
        let mut created = Vec::new();
        for document in documents(text)? {
            let what = format!("{} {}", document["kind"], document["metadata"]["name"]);
            created.push(
                self.create(&document)
                    .await
                    .map_err(|message| anyhow::anyhow!("{what} was refused: {message}"))?,
            );
        }
        Ok(created)
    }

    /// Creates all objects of a YAML text, and returns the last, which is a run.
    ///
    /// # Errors
    /// One is refused, or the last is another kind.
    pub async fn start<K: Ran>(&self, text: &str) -> Result<K> {
        let last = self.apply(text).await?.pop().context("there is no object in the text")?;
        Ok(serde_json::from_value(last)?)
    }

    /// Creates all objects of a YAML text, and returns the last, which is a run, once it has ended.
    ///
    /// # Errors
    /// One is refused, or the run does not end.
    pub async fn run<K: Ran>(&self, text: &str) -> Result<K> {
        let run: K = self.start(text).await?;
        self.ended(&run).await
    }

    /// The run once it has ended.
    ///
    /// # Errors
    /// It does not end.
    pub async fn ended<K: Ran>(&self, run: &K) -> Result<K> {
        self.run_when(run, "done", K::ended).await
    }

    /// The run once it is as wanted.
    ///
    /// # Errors
    /// It never is.
    pub async fn run_when<K: Ran>(&self, run: &K, what: &str, wanted: impl Fn(&K) -> bool) -> Result<K> {
        let api: Api<K> = self.ours(run.group_of());
        let name = run.name_any();
        until(api, &name, what, LONGEST, |run| run.is_some_and(&wanted)).await?.context("it was deleted")
    }

    /// The pod once it is as wanted.
    ///
    /// # Errors
    /// It never is.
    pub async fn pod_when(&self, pod: &str, what: &str, wanted: impl Fn(&Pod) -> bool) -> Result<Pod> {
        until(self.api(), pod, what, LONGEST, |pod| pod.is_some_and(&wanted)).await?.context("it was deleted")
    }

    /// Waits until an object is gone.
    ///
    /// # Errors
    /// It stays.
    pub async fn gone<K>(&self, name: &str) -> Result<()>
    where
        K: kube::Resource<Scope = Namespaced, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + Send
            + serde::Serialize
            + serde::de::DeserializeOwned
            + 'static,
    {
        until::<K>(self.api(), name, "gone", LONGEST, |object| object.is_none()).await.map(drop)
    }

    /// The TaskRuns of a PipelineRun, by name.
    ///
    /// # Errors
    /// They cannot be listed.
    pub async fn children(&self, run: &PipelineRun) -> Result<Vec<TaskRun>> {
        let label = format!("{}={}", run.group().label("pipelineRun"), run.name());
        let children: Api<TaskRun> = self.ours(run.group());
        let mut found = children.list(&ListParams::default().labels(&label)).await?.items;
        found.sort_by(|one, other| one.name().cmp(other.name()));
        Ok(found)
    }

    /// The pods of a TaskRun, one for each try, by name.
    ///
    /// # Errors
    /// They cannot be listed.
    pub async fn pods(&self, run: &TaskRun) -> Result<Vec<Pod>> {
        let label = format!("{}={}", run.group().label("taskRun"), run.name());
        let mut found = self.api::<Pod>().list(&ListParams::default().labels(&label)).await?.items;
        found.sort_by_key(kube::ResourceExt::name_any);
        Ok(found)
    }

    /// What one container of a pod wrote, once it has ended.
    ///
    /// # Errors
    /// There is no log.
    pub async fn log(&self, pod: &str, container: &str) -> Result<String> {
        // A run ends when its agent reports it, up to a second before the kubelet sees the container's end.
        let there = |pod: Option<&Pod>| {
            pod.is_none_or(|pod| containers(pod).any(|status| status.name == container && has_ended(status)))
        };
        let seen = until(self.api(), pod, "at the end of its log", LONGEST, there).await?;
        ensure!(seen.is_some(), "pod `{pod}` is gone, and with it the log of `{container}`");
        let params = LogParams { container: Some(container.to_owned()), ..LogParams::default() };
        self.api::<Pod>()
            .logs(pod, &params)
            .await
            .with_context(|| format!("the log of container `{container}` of pod `{pod}`"))
    }

    /// What all steps of a TaskRun's last try wrote, in order.
    ///
    /// # Errors
    /// There is no log.
    pub async fn step_logs(&self, run: &TaskRun) -> Result<String> {
        let status = run.status.as_ref().context("the run has no status")?;
        let pod = status.pod_name.as_deref().context("the run has no pod")?;
        let mut text = String::new();
        for step in &status.steps {
            text.push_str(&self.log(pod, &step.container).await?);
        }
        Ok(text)
    }

    /// Waits until a running step has written a line with this text.
    ///
    /// # Errors
    /// It does not, or its container never starts.
    pub async fn wrote(&self, pod: &str, container: &str, text: &str) -> Result<()> {
        self.pod_when(pod, "started", |pod| {
            containers(pod)
                .any(|status| status.name == container && (is_running(status) || has_ended(status)))
        })
        .await?;
        let params =
            LogParams { container: Some(container.to_owned()), follow: true, ..LogParams::default() };
        let mut lines = self.api::<Pod>().log_stream(pod, &params).await?.lines();
        let found = async {
            while let Some(line) = lines.try_next().await? {
                if line.contains(text) {
                    return Ok(());
                }
            }
            bail!("the log of `{container}` ended without `{text}`")
        };
        tokio::time::timeout(LONGEST, found)
            .await
            .with_context(|| format!("`{container}` never wrote `{text}`"))?
    }

    /// Waits until every pod here has ended or is gone.
    ///
    /// # Errors
    /// One goes on.
    pub async fn quiet(&self) -> Result<()> {
        for pod in self.api::<Pod>().list(&ListParams::default()).await? {
            let over = |pod: Option<&Pod>| pod.is_none_or(is_over);
            until(self.api::<Pod>(), &pod.name_any(), "over", LONGEST, over).await?;
        }
        Ok(())
    }

    /// Checks that there is no pod here.
    ///
    /// # Errors
    /// There is one.
    pub async fn no_pods(&self) -> Result<()> {
        let pods = self.api::<Pod>().list(&ListParams::default()).await?.items;
        let names: Vec<String> = pods.iter().map(kube::ResourceExt::name_any).collect();
        ensure!(names.is_empty(), "there are pods: {}", names.join(", "));
        Ok(())
    }

    /// What is in the namespace: for whoever reads about a failed test.
    async fn story(&self) -> String {
        let mut lines = Vec::new();
        for group in Group::ALL {
            let params = ListParams::default();
            if let Ok(runs) = self.ours::<PipelineRun>(group).list(&params).await {
                lines.extend(runs.iter().map(described));
            }
            if let Ok(runs) = self.ours::<TaskRun>(group).list(&params).await {
                lines.extend(runs.iter().map(described));
            }
        }
        for pod in self.api::<Pod>().list(&ListParams::default()).await.into_iter().flatten() {
            let phase = pod.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default();
            let states: Vec<String> =
                containers(&pod).map(|status| format!("    {}: {}", status.name, state(status))).collect();
            lines.push(format!("  Pod {} {phase}\n{}", pod.name_any(), states.join("\n")));
        }
        lines.join("\n")
    }
}

fn described<K: Ran>(run: &K) -> String {
    format!("  {} {}: {} {}", K::kind(&run.group_of()), run.name_any(), run.reason(), run.message())
}

/// A container's state in a few words.
fn state(status: &ContainerStatus) -> String {
    let state = status.state.clone().unwrap_or_default();
    if let Some(ended) = state.terminated {
        return format!("ended with {} ({})", ended.exit_code, ended.reason.unwrap_or_default());
    }
    if let Some(waiting) = state.waiting {
        return format!(
            "waits: {} {}",
            waiting.reason.unwrap_or_default(),
            waiting.message.unwrap_or_default()
        );
    }
    if state.running.is_some() { "runs".to_owned() } else { "unknown".to_owned() }
}

/// All containers of a pod, also those that start before the others.
fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    pod.status.iter().flat_map(|status| {
        status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten())
    })
}

/// Whether none of a pod's containers runs, nor will.
pub fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

fn is_running(status: &ContainerStatus) -> bool {
    status.state.as_ref().is_some_and(|state| state.running.is_some())
}

fn has_ended(status: &ContainerStatus) -> bool {
    status.state.as_ref().is_some_and(|state| state.terminated.is_some())
}
