//! One file: its namespace, its objects, its runs, and whether they ended as they should.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use e2e::{Cluster, Space, documents, until};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::discovery::{Scope, oneshot};
use kube::{Api, Client, Resource as _};
use serde_json::Value;

use crate::manifest::Manifest;
use crate::shape::Outcome;
use crate::{explain, report, shape};

/// The annotation that says how the tasks of a pipeline run share pods.
const FUSE: &str = "ergon.dev/fuse";
/// How often an object's creation is tried while the API server fails, and how long apart.
const TRIES: u32 = 5;
const BETWEEN_TRIES: Duration = Duration::from_secs(1);
/// How long deleted namespaces may take to go.
const GONE_WITHIN: Duration = Duration::from_mins(2);

/// Whether a file passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Passed,
    Failed,
    /// There is no run in it.
    NoRun,
}

impl Verdict {
    /// The verdict in a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Passed => "ok",
            Self::Failed => "FAILED",
            Self::NoRun => "no run",
        }
    }
}

/// What came of a file.
#[derive(Debug)]
pub struct Row {
    pub file: String,
    pub verdict: Verdict,
    /// From the creation of the first run to the end of the last.
    pub seconds: Option<f64>,
    /// How long Tekton took, where that is known.
    pub seconds_elsewhere: Option<f64>,
    /// Why it failed.
    pub reasons: Vec<String>,
    /// What its runs did.
    pub shapes: Vec<Value>,
}

impl Row {
    /// Whether it is not as it should be.
    pub fn failed(&self) -> bool {
        self.verdict == Verdict::Failed
    }
}

/// How files are run.
pub struct Runner {
    pub cluster: Cluster,
    /// How long the runs of a file may take.
    pub timeout: Duration,
    /// Where manifests push images to.
    pub repository: String,
    /// How the tasks of a pipeline run share pods, where the run says nothing.
    pub fuse: Option<String>,
    /// Whether namespaces stay.
    pub keep: bool,
}

/// A kind that the API server serves, and whether its objects are in namespaces.
type Kind = (ApiResource, Scope);

/// A run that was created.
struct Started {
    kind: String,
    name: String,
}

impl Runner {
    /// Runs a file. Whatever goes wrong is in what is returned.
    pub async fn run(&self, manifest: &Manifest) -> Row {
        let mut row = Row {
            file: manifest.name.clone(),
            verdict: Verdict::Failed,
            seconds: None,
            seconds_elsewhere: manifest.expected.as_ref().and_then(|expected| expected.seconds),
            reasons: Vec::new(),
            shapes: Vec::new(),
        };
        if let Err(error) = self.try_to_run(manifest, &mut row).await {
            row.verdict = Verdict::Failed;
            row.reasons.push(explain::short(&format!("{error:#}")));
        }
        row
    }

    async fn try_to_run(&self, manifest: &Manifest, row: &mut Row) -> Result<()> {
        let objects = documents(&manifest.text("default", &self.repository)?)?;
        if !objects.iter().any(is_run) {
            row.verdict = Verdict::NoRun;
            return Ok(());
        }
        let space = Space::make(self.cluster.clone(), "compat").await?;
        let mut cluster_wide = Vec::new();
        let ended = self.run_in(&space, manifest, row, &mut cluster_wide).await;
        if !self.keep {
            for path in cluster_wide {
                let request = http::Request::delete(&path).body(Vec::new())?;
                space.client().request_text(request).await.with_context(|| format!("deleting {path}"))?;
            }
            space.remove().await?;
        }
        ended
    }

    async fn run_in(
        &self,
        space: &Space,
        manifest: &Manifest,
        row: &mut Row,
        cluster_wide: &mut Vec<String>,
    ) -> Result<()> {
        let mut started = Vec::new();
        let mut begun = None;
        for mut object in documents(&manifest.text(space.name(), &self.repository)?)? {
            if let Some(fuse) = self.fuse.as_ref().filter(|_| object["kind"] == "PipelineRun") {
                let annotations = &mut object["metadata"]["annotations"];
                if annotations.get(FUSE).is_none() {
                    annotations[FUSE] = Value::String(fuse.clone());
                }
            }
            if is_run(&object) {
                begun.get_or_insert_with(Instant::now);
            }
            let created = create(space, &object, cluster_wide).await?;
            if is_run(&object) {
                started
                    .push(Started { kind: text(&object["kind"]), name: text(&created["metadata"]["name"]) });
            }
        }
        let begun = begun.context("there is no run")?;
        let expected = manifest.expected.as_ref();
        let mut runs = Vec::new();
        for (number, run) in started.iter().enumerate() {
            let wanted = expected
                .and_then(|expected| expected.runs.get(number)?.get("succeeded")?.as_str())
                .unwrap_or("True");
            let (object, ended) = self.wait(space, run, begun + self.timeout).await?;
            let outcome = Outcome::of(&object);
            let what = format!("{} {}", run.kind, run.name);
            if !ended {
                row.reasons
                    .push(explain::short(&format!("{what}: not ended after {:?}: {outcome}", self.timeout)));
            } else if outcome.status != wanted {
                row.reasons.push(explain::short(&format!("{what}: {outcome}")));
            }
            runs.push(object);
        }
        row.seconds = Some(begun.elapsed().as_secs_f64());

        let taskruns = list(space, "TaskRun").await?;
        row.shapes =
            started.iter().zip(&runs).map(|(run, object)| shape::of(&run.kind, object, &taskruns)).collect();
        let mut explained = false;
        if !row.reasons.is_empty() {
            let more = explain::explain(space, &taskruns).await;
            let new: Vec<String> = more.into_iter().filter(|line| !row.reasons.contains(line)).collect();
            row.reasons.extend(new);
            explained = true;
        }
        if let Some(expected) = expected.filter(|_| !explained) {
            let runs = expected.runs.iter().zip(&row.shapes).zip(&started);
            for ((wanted, got), run) in runs.filter(|((wanted, got), _)| wanted != got) {
                let lines = report::differences(wanted, got);
                row.reasons
                    .extend(lines.into_iter().map(|line| format!("{} {}: {line}", run.kind, run.name)));
            }
            if let Some(wanted) = expected.taskruns.filter(|wanted| *wanted != taskruns.len()) {
                row.reasons.push(format!("expected {wanted} TaskRuns, got {}", taskruns.len()));
            }
        }
        row.verdict = if row.reasons.is_empty() { Verdict::Passed } else { Verdict::Failed };
        Ok(())
    }

    /// The run as it was when it ended, or as it is at the deadline and false.
    async fn wait(&self, space: &Space, run: &Started, deadline: Instant) -> Result<(Value, bool)> {
        let api = runs(space, &run.kind);
        let limit = deadline.saturating_duration_since(Instant::now()).max(Duration::from_secs(1));
        let over = |object: Option<&DynamicObject>| {
            object.is_none_or(|object| Outcome::of(&serde_json::to_value(object).unwrap_or_default()).ended())
        };
        let seen = match until(api.clone(), &run.name, "done", limit, over).await {
            Ok(seen) => (seen, true),
            // A deadline, or a watch that was cut: what the API server says now counts.
            Err(_) => (api.get_opt(&run.name).await?, false),
        };
        let object = seen.0.with_context(|| format!("{} {} was deleted", run.kind, run.name))?;
        Ok((serde_json::to_value(object)?, seen.1))
    }

    /// The namespaces that were made here and have not gone within two minutes.
    ///
    /// # Errors
    /// They cannot be listed.
    pub async fn namespaces_left(&self) -> Result<Vec<String>> {
        let namespaces: Api<Namespace> = Api::all(self.cluster.client().clone());
        let deadline = Instant::now() + GONE_WITHIN;
        let mut left = Vec::new();
        for namespace in namespaces.list(&ListParams::default()).await? {
            let name = namespace.metadata.name.unwrap_or_default();
            if name.starts_with("e2e-compat-") && namespace.metadata.deletion_timestamp.is_some() {
                let limit = deadline.saturating_duration_since(Instant::now());
                if until(namespaces.clone(), &name, "gone", limit, |object| object.is_none()).await.is_err() {
                    left.push(name);
                }
            }
        }
        Ok(left)
    }
}

/// Creates an object as kubectl does: in the namespace if its kind has one, with unknown fields refused.
async fn create(space: &Space, object: &Value, cluster_wide: &mut Vec<String>) -> Result<Value> {
    let (api_version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
    let name = &object["metadata"];
    let what =
        format!("{kind} {}", name["name"].as_str().or(name["generateName"].as_str()).unwrap_or_default());
    let (resource, scope) = kind_of(&space.client(), &api_version, &kind).await?;
    let mut object = object.clone();
    let namespaced = scope == Scope::Namespaced;
    if namespaced {
        object["metadata"]["namespace"] = Value::String(space.name().to_owned());
    }
    let path = DynamicObject::url_path(&resource, namespaced.then(|| space.name()));
    let body = object.to_string().into_bytes();
    let mut tries = 1;
    let created: Value = loop {
        let request = http::Request::post(format!("{path}?fieldValidation=Strict"))
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(body.clone())?;
        match space.client().request(request).await {
            Ok(created) => break created,
            // A webhook that does not answer yet is not the manifest's fault.
            Err(kube::Error::Api(status)) if status.code >= 500 && tries < TRIES => {
                tries += 1;
                tokio::time::sleep(BETWEEN_TRIES).await;
            }
            Err(kube::Error::Api(status)) => bail!("{what} was refused: {}", status.message),
            Err(error) => {
                return Err(anyhow::Error::from(error).context(format!("{what} was not created")));
            }
        }
    };
    if !namespaced {
        cluster_wide.push(format!("{path}/{}", text(&created["metadata"]["name"])));
    }
    Ok(created)
}

/// What the API server says of a kind; asked once.
async fn kind_of(client: &Client, api_version: &str, kind: &str) -> Result<Kind> {
    static KNOWN: Mutex<Option<HashMap<String, Kind>>> = Mutex::new(None);
    let key = format!("{api_version} {kind}");
    let lock = || KNOWN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(found) = lock().as_ref().and_then(|known| known.get(&key)) {
        return Ok(found.clone());
    }
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    let (resource, capabilities) = oneshot::pinned_kind(client, &GroupVersionKind::gvk(group, version, kind))
        .await
        .with_context(|| format!("the cluster does not serve {kind} of {api_version}"))?;
    lock().get_or_insert_default().insert(key, (resource.clone(), capabilities.scope.clone()));
    Ok((resource, capabilities.scope))
}

/// The objects of a kind of run in a namespace.
async fn list(space: &Space, kind: &str) -> Result<Vec<Value>> {
    let objects = runs(space, kind).list(&ListParams::default()).await?;
    Ok(objects.items.iter().map(serde_json::to_value).collect::<Result<_, _>>()?)
}

fn runs(space: &Space, kind: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("tekton.dev", "v1", kind));
    Api::namespaced_with(space.client(), space.name(), &resource)
}

fn is_run(object: &Value) -> bool {
    object["apiVersion"].as_str().is_some_and(|version| version.starts_with("tekton.dev/"))
        && (object["kind"] == "TaskRun" || object["kind"] == "PipelineRun")
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
