//! From documents and options to a world with one run in it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use ergon_api::manifest::Object;
use ergon_api::{
    Document, Group, Param, ParamSpec, Pipeline, PipelineRef, PipelineRun, SetDefaults, Task, TaskRef,
    TaskRun, WorkspaceBinding,
};
use ergon_engine::pod::{Account, SecretView};
use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, PersistentVolumeClaimVolumeSource};
use serde_json::Value;

use super::world::{Files, World};
use super::{Folders, RunError, RunOptions, WorkspaceSource, volumes};

/// Finds what is to be run, and puts everything in its place.
///
/// `files`: what containers mount; `claims_dir`: where claims that do not exist yet are to be.
pub(super) fn world(options: &RunOptions, files: Files, claims_dir: PathBuf) -> Result<World, RunError> {
    let chosen = target(&options.documents, options.name.as_deref())?;
    let group = group_of(&chosen.object);
    let mut world = World::new(group, files, claims_dir);
    for document in &options.documents {
        match &document.object {
            Object::Task(task) => {
                let mut task = (**task).clone();
                task.set_defaults(group, &world.config);
                world.library.tasks.insert(task.name().to_owned(), Some(task));
            }
            Object::StepAction(action) => {
                let mut action = (**action).clone();
                action.set_defaults(group, &world.config);
                world.library.step_actions.insert(action.name().to_owned(), Some(action.spec));
            }
            Object::Pipeline(pipeline) => {
                let mut pipeline = (**pipeline).clone();
                pipeline.set_defaults(group, &world.config);
                world.library.pipelines.insert(pipeline.name().to_owned(), Some(pipeline));
            }
            _ => {}
        }
    }
    world.library.accounts =
        accounts(&options.documents).into_iter().map(|(name, account)| (name, Some(account))).collect();
    match &chosen.object {
        Object::PipelineRun(run) => world.put_pipeline_run((**run).clone(), options),
        Object::TaskRun(run) => world.put_task_run((**run).clone(), options),
        Object::Pipeline(pipeline) => {
            let run = run_of_pipeline(group, pipeline, options);
            world.put_pipeline_run(run, options);
        }
        Object::Task(task) => {
            let run = run_of_task(group, task, options);
            world.put_task_run(run, options);
        }
        _ => {}
    }
    Ok(world)
}

/// The one document to run: a run before a pipeline, a pipeline before a task; the one of this name where there is one.
///
/// # Errors
/// [`RunError::Input`] when there is none, or more than one.
pub fn target<'a>(documents: &'a [Document], name: Option<&str>) -> Result<&'a Document, RunError> {
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
            Some(name) => {
                let known = documents.iter().filter(|document| rank(&document.object).is_some());
                format!(
                    "there is no Task, Pipeline or run `{name}` in the files (there are: {})",
                    listed(known)
                )
            }
            None => {
                "there is nothing to run in the files: no Task, Pipeline, TaskRun or PipelineRun".to_owned()
            }
        })),
        many => Err(RunError::Input(format!(
            "there is more than one thing to run: {}; name one with `--task NAME`",
            listed(many.iter().copied())
        ))),
    }
}

/// What is run, for people and for finding it again: its name, or what its name begins with.
pub(super) fn called(target: &Object) -> &str {
    let generated = match target {
        Object::PipelineRun(run) => run.metadata.generate_name.as_deref(),
        Object::TaskRun(run) => run.metadata.generate_name.as_deref(),
        _ => None,
    };
    match target.name() {
        "" => generated.unwrap_or_default().trim_end_matches('-'),
        name => name,
    }
}

/// The declared parameters of what is run, wherever the files have them; none when they do not.
pub fn declared<'a>(documents: &'a [Document], target: &'a Object) -> Option<&'a [ParamSpec]> {
    let named = |name: Option<&String>, pipeline: bool| {
        documents.iter().find_map(|document| match &document.object {
            Object::Pipeline(object) if pipeline && Some(object.name()) == name.map(String::as_str) => {
                Some(object.spec.params.as_slice())
            }
            Object::Task(object) if !pipeline && Some(object.name()) == name.map(String::as_str) => {
                Some(object.spec.params.as_slice())
            }
            _ => None,
        })
    };
    match target {
        Object::Pipeline(object) => Some(&object.spec.params),
        Object::Task(object) => Some(&object.spec.params),
        Object::PipelineRun(run) => match (&run.spec.pipeline_spec, &run.spec.pipeline_ref) {
            (Some(spec), _) => Some(&spec.params),
            (None, reference) => {
                named(reference.as_ref().and_then(|reference| reference.name.as_ref()), true)
            }
        },
        Object::TaskRun(run) => match (&run.spec.task_spec, &run.spec.task_ref) {
            (Some(spec), _) => Some(&spec.params),
            (None, reference) => {
                named(reference.as_ref().and_then(|reference| reference.name.as_ref()), false)
            }
        },
        Object::StepAction(_) | Object::CustomRun(_) | Object::Other(_) => None,
    }
}

fn listed<'a>(documents: impl Iterator<Item = &'a Document>) -> String {
    let names: Vec<String> = documents
        .map(|document| format!("{} `{}`", document.object.kind(), document.object.name()))
        .collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
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
    run.spec.pipeline_ref =
        Some(PipelineRef { name: Some(pipeline.name().to_owned()), ..Default::default() });
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
    fn put_pipeline_run(&mut self, mut run: PipelineRun, options: &RunOptions) {
        run.status = None;
        run.spec.status = None;
        self.admit(&mut run.metadata);
        override_params(&mut run.spec.params, options);
        override_workspaces(&mut run.spec.workspaces, options);
        run.set_defaults(self.group, &self.config);
        self.pipeline_run = Some(run);
    }

    fn put_task_run(&mut self, mut run: TaskRun, options: &RunOptions) {
        run.status = None;
        run.spec.status = None;
        self.admit(&mut run.metadata);
        override_params(&mut run.spec.params, options);
        override_workspaces(&mut run.spec.workspaces, options);
        run.set_defaults(self.group, &self.config);
        self.task_runs.insert(run.name().to_owned(), run);
    }
}

/// The user's values in the place of the file's.
fn override_params(params: &mut Vec<Param>, options: &RunOptions) {
    params.retain(|param| !options.params.iter().any(|given| given.name == param.name));
    params.extend_from_slice(&options.params);
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

pub(super) fn is_folder_claim(claim: &str) -> bool {
    claim.starts_with("folder:")
}

/// The user's folders, and the objects in the files that containers mount.
pub(super) fn files(options: &RunOptions, folders: &Folders) -> Result<Files, RunError> {
    let mut files = Files::default();
    let mut claims = BTreeMap::new();
    for (name, source) in &options.workspaces {
        if let WorkspaceSource::Path(path) = source {
            let path =
                path.canonicalize().map_err(|source| RunError::Folder { path: path.clone(), source })?;
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

/// The service accounts in the files, with those of their Secrets that are in the files.
fn accounts(documents: &[Document]) -> BTreeMap<String, Account> {
    let of_kind = |kind: &'static str| {
        documents.iter().filter_map(move |document| match &document.object {
            Object::Other(value) if document.object.kind() == kind => Some((document.object.name(), value)),
            _ => None,
        })
    };
    let secrets: BTreeMap<&str, SecretView> = of_kind("Secret")
        .map(|(name, secret)| {
            let view = SecretView {
                name: name.to_owned(),
                type_: secret["type"].as_str().unwrap_or("Opaque").to_owned(),
                annotations: secret["metadata"]["annotations"]
                    .as_object()
                    .into_iter()
                    .flatten()
                    .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
                    .collect(),
                keys: data(secret).into_keys().collect(),
            };
            (name, view)
        })
        .collect();
    let names = |list: &Value| -> Vec<String> {
        let items = list.as_array().into_iter().flatten();
        items.filter_map(|item| item["name"].as_str()).map(str::to_owned).collect()
    };
    of_kind("ServiceAccount")
        .map(|(name, account)| {
            let (here, missing): (Vec<String>, Vec<String>) =
                names(&account["secrets"]).into_iter().partition(|name| secrets.contains_key(name.as_str()));
            let account = Account {
                secrets: here.iter().filter_map(|name| secrets.get(name.as_str()).cloned()).collect(),
                missing_secrets: missing,
                image_pull_secrets: names(&account["imagePullSecrets"]),
            };
            (name.to_owned(), account)
        })
        .collect()
}

fn claim_dir(run: &Path, name: &str) -> Result<PathBuf, RunError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: &str = "apiVersion: ergon.dev/v1\nkind: Task\nmetadata: {name: t}\nspec: {steps: [{image: a, command: [a]}]}\n";
    const OTHER: &str = "apiVersion: ergon.dev/v1\nkind: Task\nmetadata: {name: u}\nspec: {steps: [{image: a, command: [a]}]}\n";
    const PIPELINE: &str = "apiVersion: ergon.dev/v1\nkind: Pipeline\nmetadata: {name: p}\nspec: {tasks: [{name: a, taskRef: {name: t}}]}\n";
    const RUN: &str =
        "apiVersion: ergon.dev/v1\nkind: PipelineRun\nmetadata: {name: r}\nspec: {pipelineRef: {name: p}}\n";
    const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\n";

    #[test]
    fn service_accounts_have_the_secrets_of_the_files() {
        let text = "apiVersion: v1\nkind: Secret\ntype: kubernetes.io/ssh-auth\nmetadata: {name: key, annotations: {tekton.dev/git-0: host}}\nstringData: {ssh-privatekey: x}\n---\n\
            apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: robot}\nsecrets: [{name: key}, {name: gone}]\nimagePullSecrets: [{name: pull}]\n";
        let found = accounts(&ergon_api::parse(text, "test.yaml").unwrap());
        let secret = SecretView {
            name: "key".to_owned(),
            type_: "kubernetes.io/ssh-auth".to_owned(),
            annotations: [("tekton.dev/git-0".to_owned(), "host".to_owned())].into(),
            keys: ["ssh-privatekey".to_owned()].into(),
        };
        let robot = Account {
            secrets: vec![secret],
            missing_secrets: vec!["gone".to_owned()],
            image_pull_secrets: vec!["pull".to_owned()],
        };
        assert_eq!(found, BTreeMap::from([("robot".to_owned(), robot)]));
    }

    #[test]
    fn a_run_comes_before_a_pipeline_and_a_pipeline_before_a_task() {
        type Case<'a> = (&'a [&'a str], Option<&'a str>, Result<&'a str, &'a str>);
        let table: [Case<'_>; 8] = [
            (&[TASK], None, Ok("t")),
            (&[TASK, PIPELINE], None, Ok("p")),
            (&[TASK, PIPELINE, RUN, MAP], None, Ok("r")),
            (&[TASK, OTHER, PIPELINE], Some("t"), Ok("t")),
            (
                &[TASK, OTHER],
                None,
                Err("there is more than one thing to run: Task `t`, Task `u`; name one with `--task NAME`"),
            ),
            (
                &[TASK, MAP],
                Some("m"),
                Err("there is no Task, Pipeline or run `m` in the files (there are: Task `t`)"),
            ),
            (&[MAP], Some("t"), Err("there is no Task, Pipeline or run `t` in the files (there are: none)")),
            (
                &[MAP],
                None,
                Err("there is nothing to run in the files: no Task, Pipeline, TaskRun or PipelineRun"),
            ),
        ];
        for (texts, name, expected) in table {
            let documents = ergon_api::parse(&texts.join("---\n"), "test.yaml").unwrap();
            let found = target(&documents, name).map(|document| document.object.name());
            assert_eq!(
                found.map_err(|error| error.to_string()),
                expected.map_err(str::to_owned),
                "{texts:?}"
            );
        }
    }
}
