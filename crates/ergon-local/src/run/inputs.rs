//! From documents and options to a world with one run in it.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use ergon_api::manifest::Object;
use ergon_api::{
    Document, Group, Param, ParamSpec, ParamType, ParamValue, Pipeline, PipelineRef, PipelineRun, SetDefaults,
    Task, TaskRef, TaskRun, WorkspaceBinding,
};
use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, PersistentVolumeClaimVolumeSource};
use serde_json::Value;

use super::world::{Files, World};
use super::{Folders, RunError, RunOptions, WorkspaceSource, volumes};

/// Finds what is to be run, and puts everything in its place.
pub(super) fn world(options: &RunOptions, folders: &Folders) -> Result<World, RunError> {
    let chosen = choose(&options.documents, options.name.as_deref())?;
    let group = group_of(&chosen.object);
    let mut world = World::new(group, files(options, folders)?, folders.run.join("claims"));
    for document in &options.documents {
        match &document.object {
            Object::Task(task) => {
                let mut task = (**task).clone();
                task.set_defaults(group);
                world.library.tasks.insert(task.name().to_owned(), Some(task.spec));
            }
            Object::Pipeline(pipeline) => {
                let mut pipeline = (**pipeline).clone();
                pipeline.set_defaults(group);
                world.library.pipelines.insert(pipeline.name().to_owned(), Some(pipeline.spec));
            }
            _ => {}
        }
    }
    match &chosen.object {
        Object::PipelineRun(run) => world.put_pipeline_run((**run).clone(), options)?,
        Object::TaskRun(run) => world.put_task_run((**run).clone(), options)?,
        Object::Pipeline(pipeline) => {
            let run = run_of_pipeline(group, pipeline, options);
            world.put_pipeline_run(run, options)?;
        }
        Object::Task(task) => {
            let run = run_of_task(group, task, options);
            world.put_task_run(run, options)?;
        }
        _ => {}
    }
    Ok(world)
}

/// The one document to run: a run before a pipeline, a pipeline before a task.
fn choose<'a>(documents: &'a [Document], name: Option<&str>) -> Result<&'a Document, RunError> {
    let rank = |object: &Object| match object {
        Object::PipelineRun(_) | Object::TaskRun(_) => Some(0),
        Object::Pipeline(_) => Some(1),
        Object::Task(_) => Some(2),
        _ => None,
    };
    let named = |document: &&Document| name.is_none_or(|name| document.object.name() == name);
    let candidates: Vec<(u8, &Document)> = documents
        .iter()
        .filter(named)
        .filter_map(|document| rank(&document.object).map(|rank| (rank, document)))
        .collect();
    let best = candidates.iter().map(|(rank, _)| *rank).min();
    let chosen: Vec<&Document> =
        candidates.iter().filter(|(rank, _)| Some(*rank) == best).map(|(_, document)| *document).collect();
    match chosen.as_slice() {
        [one] => Ok(one),
        [] => Err(RunError::Input(match name {
            Some(name) => format!("there is no Task, Pipeline or run `{name}` in the files"),
            None => "there is nothing to run in the files: no Task, Pipeline, TaskRun or PipelineRun".to_owned(),
        })),
        many => {
            let names: Vec<String> = many
                .iter()
                .map(|document| format!("{} `{}`", document.object.kind(), document.object.name()))
                .collect();
            Err(RunError::Input(format!(
                "there is more than one thing to run: {}; name one with `--task NAME`",
                names.join(", ")
            )))
        }
    }
}

fn group_of(object: &Object) -> Group {
    match object {
        Object::Task(object) => object.group(),
        Object::Pipeline(object) => object.group(),
        Object::TaskRun(object) => object.group(),
        Object::PipelineRun(object) => object.group(),
        _ => Group::Ergon,
    }
}

fn run_of_pipeline(group: Group, pipeline: &Pipeline, options: &RunOptions) -> PipelineRun {
    let mut run = PipelineRun::new(group, pipeline.name());
    run.spec.pipeline_ref = Some(PipelineRef { name: Some(pipeline.name().to_owned()), ..Default::default() });
    let declared = pipeline.spec.workspaces.iter().filter(|workspace| !workspace.is_optional());
    run.spec.workspaces = fresh(declared.map(|workspace| workspace.name.as_str()), options);
    run
}

fn run_of_task(group: Group, task: &Task, options: &RunOptions) -> TaskRun {
    let mut run = TaskRun::new(group, task.name());
    run.spec.task_ref = Some(TaskRef { name: Some(task.name().to_owned()), ..Default::default() });
    let declared = task.spec.workspaces.iter().filter(|workspace| !workspace.is_optional());
    run.spec.workspaces = fresh(declared.map(|workspace| workspace.name.as_str()), options);
    run
}

/// A new folder for each workspace that the user said nothing of.
fn fresh<'a>(names: impl Iterator<Item = &'a str>, options: &RunOptions) -> Vec<WorkspaceBinding> {
    names
        .filter(|name| !options.workspaces.contains_key(*name))
        .map(|name| binding(name, &WorkspaceSource::EmptyDir))
        .collect()
}

impl World {
    fn put_pipeline_run(&mut self, mut run: PipelineRun, options: &RunOptions) -> Result<(), RunError> {
        run.status = None;
        run.spec.status = None;
        self.admit(&mut run.metadata);
        let declared = match (&run.spec.pipeline_spec, &run.spec.pipeline_ref) {
            (Some(spec), _) => spec.params.clone(),
            (None, Some(reference)) => {
                let spec = reference.name.as_ref().and_then(|name| self.library.pipelines.get(name));
                spec.cloned().flatten().map(|spec| spec.params).unwrap_or_default()
            }
            (None, None) => Vec::new(),
        };
        override_params(&mut run.spec.params, options, &declared)?;
        override_workspaces(&mut run.spec.workspaces, options);
        run.set_defaults(self.group);
        self.pipeline_run = Some(run);
        Ok(())
    }

    fn put_task_run(&mut self, mut run: TaskRun, options: &RunOptions) -> Result<(), RunError> {
        run.status = None;
        run.spec.status = None;
        self.admit(&mut run.metadata);
        let declared = match (&run.spec.task_spec, &run.spec.task_ref) {
            (Some(spec), _) => spec.params.clone(),
            (None, Some(reference)) => {
                let spec = reference.name.as_ref().and_then(|name| self.library.tasks.get(name));
                spec.cloned().flatten().map(|spec| spec.params).unwrap_or_default()
            }
            (None, None) => Vec::new(),
        };
        override_params(&mut run.spec.params, options, &declared)?;
        override_workspaces(&mut run.spec.workspaces, options);
        run.set_defaults(self.group);
        self.task_runs.insert(run.name().to_owned(), run);
        Ok(())
    }
}

/// The user's values in the place of the file's, read as the type that the parameter is declared with.
fn override_params(params: &mut Vec<Param>, options: &RunOptions, declared: &[ParamSpec]) -> Result<(), RunError> {
    for given in &options.params {
        let Some(spec) = declared.iter().find(|spec| spec.name == given.name) else {
            let known: Vec<String> = declared.iter().map(|spec| format!("`{}`", spec.name)).collect();
            return Err(RunError::Input(format!(
                "there is no parameter `{}` (there are: {})",
                given.name,
                if known.is_empty() { "none".to_owned() } else { known.join(", ") }
            )));
        };
        let value = typed(&given.value, spec)?;
        match params.iter_mut().find(|param| param.name == given.name) {
            Some(param) => param.value = value,
            None => params.push(Param { name: given.name.clone(), value }),
        }
    }
    Ok(())
}

fn typed(value: &ParamValue, spec: &ParamSpec) -> Result<ParamValue, RunError> {
    let ParamValue::String(text) = value else { return Ok(value.clone()) };
    let invalid = |what: &str| {
        RunError::Input(format!("parameter `{}` is declared as {what}, and `{text}` is no such value", spec.name))
    };
    match spec.effective_type() {
        ParamType::String => Ok(value.clone()),
        // Items separated by commas, or JSON.
        ParamType::Array if !text.trim_start().starts_with('[') => {
            Ok(ParamValue::Array(text.split(',').filter(|item| !item.is_empty()).map(str::to_owned).collect()))
        }
        ParamType::Array => serde_json::from_str(text).map(ParamValue::Array).map_err(|_| invalid("an array")),
        ParamType::Object => serde_json::from_str(text)
            .map(ParamValue::Object)
            .map_err(|_| invalid("an object (write it as JSON, `{\"key\": \"value\"}`)")),
    }
}

fn override_workspaces(bindings: &mut Vec<WorkspaceBinding>, options: &RunOptions) {
    for (name, source) in &options.workspaces {
        bindings.retain(|binding| binding.name != *name);
        bindings.push(binding(name, source));
    }
}

fn binding(name: &str, source: &WorkspaceSource) -> WorkspaceBinding {
    let binding = WorkspaceBinding { name: name.to_owned(), ..Default::default() };
    match source {
        WorkspaceSource::EmptyDir => {
            WorkspaceBinding { empty_dir: Some(EmptyDirVolumeSource::default()), ..binding }
        }
        WorkspaceSource::Path(_) => WorkspaceBinding {
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: folder_claim(name),
                read_only: None,
            }),
            ..binding
        },
    }
}

/// A folder of the user's is a claim of this name: a name that no claim in a file can have.
fn folder_claim(workspace: &str) -> String {
    format!("folder:{workspace}")
}

fn files(options: &RunOptions, folders: &Folders) -> Result<Files, RunError> {
    let mut files = Files::default();
    let mut claims = BTreeMap::new();
    for (name, source) in &options.workspaces {
        if let WorkspaceSource::Path(path) = source {
            let path = path.canonicalize().map_err(|source| RunError::Folder { path: path.clone(), source })?;
            if !path.is_dir() {
                return Err(RunError::Input(format!(
                    "workspace `{name}`: {} is not a folder",
                    path.display()
                )));
            }
            claims.insert(folder_claim(name), path);
        }
    }
    for document in &options.documents {
        let Object::Other(value) = &document.object else { continue };
        let name = document.object.name().to_owned();
        match document.object.kind() {
            "ConfigMap" => {
                files.config_maps.insert(name, data(value));
            }
            "Secret" => {
                files.secrets.insert(name, data(value));
            }
            "PersistentVolumeClaim" => {
                claims.insert(name.clone(), claim_dir(&folders.run, &name)?);
            }
            _ => {}
        }
    }
    files.claims = std::sync::Arc::new(std::sync::Mutex::new(claims));
    Ok(files)
}

fn claim_dir(run: &Path, name: &str) -> Result<std::path::PathBuf, RunError> {
    let path = run.join("claims").join(name);
    volumes::make_open_dir(&path).map_err(|source| RunError::Folder { path: path.clone(), source })?;
    Ok(path)
}

/// The entries of a ConfigMap or a Secret: plain texts, and `data` of a Secret or `binaryData` in base64.
fn data(object: &Value) -> BTreeMap<String, Vec<u8>> {
    let secret = object["kind"] == "Secret";
    let mut entries = BTreeMap::new();
    for (field, encoded) in [("data", secret), ("binaryData", true), ("stringData", false)] {
        for (key, value) in object[field].as_object().into_iter().flatten() {
            let text = value.as_str().unwrap_or_default();
            let bytes = if encoded {
                base64::engine::general_purpose::STANDARD.decode(text.trim()).unwrap_or_default()
            } else {
                text.as_bytes().to_vec()
            };
            entries.insert(key.clone(), bytes);
        }
    }
    entries
}
