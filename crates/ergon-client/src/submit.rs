//! Putting things into the cluster: manifests as they are, and new runs of what is there.

use ergon_api::{
    Group, Param, ParamSpec, ParamValue, Pipeline, PipelineRef, PipelineRun, Task, TaskRef, TaskRun,
    WorkspaceBinding,
};
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{GroupVersionKind, ObjectMeta};
use kube::discovery::{Scope, pinned_kind};
use kube::{Api, ResourceExt};
use serde_json::Value;

use crate::connect::Ergon;
use crate::error::{Error, Result};
use crate::params;
use crate::run::{Run, RunKind};

/// Who we are in the API server's record of who wrote which field.
const FIELD_MANAGER: &str = "ergon";

/// What became of a manifest.
#[derive(Debug, Clone, PartialEq)]
pub enum Submitted {
    /// A run was created.
    Run(Run),
    /// Something else was created, or brought to what the manifest says.
    Applied(Box<DynamicObject>),
}

/// A new run of something that the cluster has.
#[derive(Debug, Clone)]
pub struct Start {
    /// A Pipeline for `PipelineRun`, a Task for `TaskRun`.
    pub kind: RunKind,
    /// The Pipeline's or Task's name.
    pub name: String,
    /// The run's name; a generated one when absent.
    pub run_name: Option<String>,
    /// Values for parameters, as texts; read by the declared types (see [`params::value`]).
    pub params: Vec<(String, String)>,
    /// Folders.
    pub workspaces: Vec<WorkspaceBinding>,
    /// The service account of the pods; the default one when absent.
    pub service_account: Option<String>,
    /// Labels of the run.
    pub labels: std::collections::BTreeMap<String, String>,
}

impl Start {
    /// A run with a generated name and nothing set.
    pub fn new(kind: RunKind, name: impl Into<String>) -> Self {
        Self {
            kind,
            name: name.into(),
            run_name: None,
            params: Vec::new(),
            workspaces: Vec::new(),
            service_account: None,
            labels: std::collections::BTreeMap::new(),
        }
    }
}

impl Ergon {
    /// Puts one object into the cluster. Runs, and objects with only a `generateName`, are created; everything else is
    /// applied, so that submitting it twice is no error. Objects without a namespace go into the connection's.
    ///
    /// With `dry_run` the API server checks it, webhooks included, and stores nothing.
    pub async fn submit(&self, object: Value, dry_run: bool) -> Result<Submitted> {
        let mut object: DynamicObject = serde_json::from_value(object)
            .map_err(|source| Error::Decode { what: "the object".to_owned(), source })?;
        let types = object.types.clone().unwrap_or_default();
        let gvk = GroupVersionKind::try_from(&types)
            .map_err(|_| Error::invalid(format!("`{}` is not an API version", types.api_version)))?;
        let shown = object.metadata.name.clone().or_else(|| object.metadata.generate_name.clone());
        let what = format!("{} `{}`", types.kind, shown.unwrap_or_default());
        let (resource, capabilities) =
            pinned_kind(self.client(), &gvk).await.map_err(|error| match error {
                kube::Error::Discovery(_) => {
                    Error::NotServed { what: format!("{} of {}", gvk.kind, types.api_version) }
                }
                error => match Error::of(error, &what) {
                    Error::NotServed { .. } => {
                        Error::NotServed { what: format!("{} of {}", gvk.kind, types.api_version) }
                    }
                    error => error,
                },
            })?;
        let api: Api<DynamicObject> = if capabilities.scope == Scope::Namespaced {
            let namespace = object.metadata.namespace.get_or_insert_with(|| self.namespace().to_owned());
            Api::namespaced_with(self.client().clone(), namespace, &resource)
        } else {
            Api::all_with(self.client().clone(), &resource)
        };
        let run = run_kind(&types.kind).filter(|_| Group::of(&types.api_version).is_some());
        let stored = match (&object.metadata.name, run) {
            (Some(name), None) => {
                let params = PatchParams {
                    dry_run,
                    force: true,
                    ..PatchParams::apply(FIELD_MANAGER).validation_strict()
                };
                api.patch(&name.clone(), &params, &Patch::Apply(&object)).await
            }
            _ => api.create(&post_params(dry_run), &object).await,
        }
        .map_err(|error| Error::of(error, &what))?;
        Ok(match run {
            Some(kind) => Submitted::Run(decode_run(kind, stored)?),
            None => Submitted::Applied(Box::new(stored)),
        })
    }

    /// Starts a run of a Pipeline or Task that the cluster has.
    ///
    /// # Errors
    /// [`Error::Invalid`] when a parameter is not declared, misses a value, or does not fit its type.
    pub async fn start(&self, start: Start, dry_run: bool) -> Result<Run> {
        match start.kind {
            RunKind::PipelineRun => {
                let pipeline: Pipeline = self.get_named(&start.name).await?;
                self.start_declared(start, pipeline.group(), &pipeline.spec.params, dry_run).await
            }
            RunKind::TaskRun => {
                let task: Task = self.get_named(&start.name).await?;
                self.start_declared(start, task.group(), &task.spec.params, dry_run).await
            }
        }
    }

    /// [`Ergon::start`] where the caller knows the Pipeline or Task: its group and its parameters.
    ///
    /// # Errors
    /// As [`Ergon::start`].
    pub async fn start_declared(
        &self,
        start: Start,
        group: Group,
        declared: &[ParamSpec],
        dry_run: bool,
    ) -> Result<Run> {
        let Start { kind, name, run_name, params, workspaces, service_account, mut labels } = start;
        let params = typed(declared, &params)?;
        let label = if kind == RunKind::PipelineRun { "pipeline" } else { "task" };
        labels.insert(group.label(label), name.clone());
        let metadata = ObjectMeta {
            generate_name: run_name.is_none().then(|| format!("{name}-run-")),
            name: run_name,
            namespace: Some(self.namespace().to_owned()),
            labels: Some(labels),
            ..ObjectMeta::default()
        };
        let what = format!("{kind} of `{name}`");
        let of = |error| Error::of(error, &what);
        let post = post_params(dry_run);
        match kind {
            RunKind::PipelineRun => {
                let mut run = PipelineRun::new(group, "");
                run.metadata = metadata;
                run.spec.pipeline_ref = Some(PipelineRef { name: Some(name), ..PipelineRef::default() });
                run.spec.params = params;
                run.spec.workspaces = workspaces;
                if service_account.is_some() {
                    run.spec.task_run_template.get_or_insert_default().service_account_name = service_account;
                }
                Ok(self.api(group).create(&post, &run).await.map_err(of)?.into())
            }
            RunKind::TaskRun => {
                let mut run = TaskRun::new(group, "");
                run.metadata = metadata;
                run.spec.task_ref = Some(TaskRef { name: Some(name), ..TaskRef::default() });
                run.spec.params = params;
                run.spec.workspaces = workspaces;
                run.spec.service_account_name = service_account;
                Ok(self.api(group).create(&post, &run).await.map_err(of)?.into())
            }
        }
    }
}

/// Values by the declarations' types.
fn typed(declared: &[ParamSpec], texts: &[(String, String)]) -> Result<Vec<Param>> {
    params::check(declared, texts)?;
    texts
        .iter()
        .filter_map(|(name, text)| {
            declared.iter().find(|spec| spec.name == *name).map(|spec| (spec, name, text))
        })
        .map(|(spec, name, text)| {
            let value: ParamValue = params::value(spec, text)?;
            Ok(Param { name: name.clone(), value })
        })
        .collect()
}

fn post_params(dry_run: bool) -> PostParams {
    PostParams { dry_run, field_manager: Some(FIELD_MANAGER.to_owned()) }
}

fn run_kind(kind: &str) -> Option<RunKind> {
    RunKind::ALL.into_iter().find(|run| run.name() == kind)
}

fn decode_run(kind: RunKind, object: DynamicObject) -> Result<Run> {
    let what = format!("{kind} `{}`", object.name_any());
    let decode = |source| Error::Decode { what: what.clone(), source };
    let value = serde_json::to_value(object).map_err(decode)?;
    Ok(match kind {
        RunKind::PipelineRun => serde_json::from_value::<PipelineRun>(value).map_err(decode)?.into(),
        RunKind::TaskRun => serde_json::from_value::<TaskRun>(value).map_err(decode)?.into(),
    })
}
