//! From a task run and its Task to a spec with every reference replaced.

use std::collections::{BTreeMap, BTreeSet};

use ergon_api::{
    Group, ParamSpec, ParamValue, PodTemplate, Step, StepActionSpec, StepResult, TaskRun, TaskRunSidecarSpec,
    TaskRunStepSpec, TaskSpec, WorkspaceBinding, WorkspaceDeclaration, reasons::task_run,
};
use ergon_wire::paths::PROVENANCE;
use k8s_openapi::api::core::v1::ResourceRequirements;
use serde::{Deserialize, Serialize};

use crate::expr::{Scope, expand_object};
use crate::labels;
use crate::task::paths::{self, step_container};
use crate::task::{params, step_actions};

/// Why a run cannot go on: the user's mistake, with the reason that the condition gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    pub reason: &'static str,
    pub message: String,
    is_labelled: bool,
}

impl Invalid {
    pub fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), is_labelled: false }
    }

    /// Marks it as what Tekton labels as the user's: its clients look for the label.
    #[must_use]
    pub fn by_user(mut self) -> Self {
        self.is_labelled = true;
        self
    }

    /// The message as the condition has it.
    pub fn told(&self, group: Group) -> String {
        let label = if self.is_labelled && group == Group::Tekton { "[User error] " } else { "" };
        format!("{label}{}", self.message)
    }
}

/// A scope with `params.<name>` for every value.
pub fn param_scope(values: &BTreeMap<String, ParamValue>) -> Scope {
    let mut scope = Scope::default();
    for (name, value) in values {
        scope.set(&["params", name], value.clone());
    }
    scope
}

/// A task's spec with every reference replaced that is known before its pod starts.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    pub spec: TaskSpec,
    /// The bindings of the declared workspaces, by name; an optional one that is not bound is not there.
    pub workspaces: BTreeMap<String, WorkspaceBinding>,
    /// What the run itself says of its pod: the template, and resources.
    pub wishes: Wishes,
}

/// The run's own settings of its pod.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Wishes {
    pub pod_template: PodTemplate,
    pub step_specs: Vec<TaskRunStepSpec>,
    pub sidecar_specs: Vec<TaskRunSidecarSpec>,
    pub compute_resources: Option<ResourceRequirements>,
}

impl Wishes {
    fn of(run: &TaskRun) -> Self {
        Self {
            pod_template: run.spec.pod_template.clone().unwrap_or_default(),
            step_specs: run.spec.step_specs.clone(),
            sidecar_specs: run.spec.sidecar_specs.clone(),
            compute_resources: run.spec.compute_resources.clone(),
        }
    }
}

impl Resolved {
    /// The same for one try: `$(context.task.retry-count)` is the only reference that is not replaced before.
    ///
    /// # Errors
    /// The number does not fit a field that it is used in.
    pub fn for_attempt(&self, attempt: usize) -> Result<Self, Invalid> {
        let mut scope = Scope::default();
        scope.set(&["context", "task", "retry-count"], attempt.to_string());
        Ok(Self {
            spec: expand_object(&self.spec, &scope).map_err(|error| does_not_fit(&error))?,
            workspaces: self.workspaces.clone(),
            wishes: self.wishes.clone(),
        })
    }
}

/// Checks a run's parameters and workspaces against its task, and puts their values in their places.
///
/// # Errors
/// What the user must mend, with the condition's reason.
pub fn resolve(
    group: Group,
    run: &TaskRun,
    task: &TaskSpec,
    actions: &BTreeMap<usize, (Group, &StepActionSpec)>,
) -> Result<Resolved, Invalid> {
    let mut spec = task.clone();
    if group == Group::Tekton && run.spec.task_spec.is_some() {
        declare_bound(&mut spec, &run.spec.workspaces);
    }
    let (scope, without_params, workspaces) = scopes(group, run, &spec)?;
    for (at, step) in spec.steps.iter_mut().enumerate() {
        let action = actions.get(&at).copied();
        let results = action.map_or(&step.results, |(_, action)| &action.results);
        let own = step_scope(group, &step_container(&step.name, at), results);
        let scope = scope.clone().extend(&own).clone();
        let name = std::mem::take(&mut step.name);
        *step = match action {
            Some((language, action)) => {
                let action_scope = without_params.clone().extend(&own).clone();
                let named = Step { name: name.clone(), ..step.clone() };
                step_actions::merge(language, &named, at, action, &scope, &action_scope)?
            }
            None => expand_object(step, &scope).map_err(|error| does_not_fit(&error))?,
        };
        step.name = name;
    }
    for sidecar in &mut spec.sidecars {
        let name = std::mem::take(&mut sidecar.name);
        *sidecar = expand_object(sidecar, &scope).map_err(|error| does_not_fit(&error))?;
        sidecar.name = name;
    }
    spec.volumes = expand_object(&spec.volumes, &scope).map_err(|error| does_not_fit(&error))?;
    spec.step_template = expand_object(&spec.step_template, &scope).map_err(|error| does_not_fit(&error))?;
    let workspaces = expand_workspaces(workspaces, &scope)?;
    let wishes = expand_object(&Wishes::of(run), &scope).map_err(|error| does_not_fit(&error))?;
    Ok(Resolved { spec, workspaces, wishes })
}

/// The same for a spec whose references are replaced already, such as the one in a run's status.
///
/// # Errors
/// What the user must mend, with the condition's reason.
pub fn resolved(group: Group, run: &TaskRun, spec: &TaskSpec) -> Result<Resolved, Invalid> {
    let (scope, _, workspaces) = scopes(group, run, spec)?;
    let workspaces = expand_workspaces(workspaces, &scope)?;
    let wishes = expand_object(&Wishes::of(run), &scope).map_err(|error| does_not_fit(&error))?;
    Ok(Resolved { spec: spec.clone(), workspaces, wishes })
}

type Bindings = BTreeMap<String, WorkspaceBinding>;

/// All that the task may refer to; the same without its parameters; and its workspaces.
fn scopes(group: Group, run: &TaskRun, task: &TaskSpec) -> Result<(Scope, Scope, Bindings), Invalid> {
    let what = format!("task {}", task_name(group, run));
    let values = params::resolve(group, &task.params, &run.spec.params).map_err(|problem| {
        let reason = match problem {
            params::Problem::Enum { .. } | params::Problem::Value { .. } => task_run::INVALID_PARAM_VALUE,
            _ => task_run::VALIDATION_FAILED,
        };
        Invalid::new(reason, problem.of(&what)).by_user()
    })?;
    let workspaces = bind(task, &run.spec.workspaces)?;
    let without_params = scope(group, run, task, &workspaces);
    let mut all = param_scope(&values);
    if group == Group::Tekton {
        // What parameters were called in Tekton's first API, which tasks may still use.
        for (name, value) in &values {
            all.set(&["inputs", "params", name], value.clone());
        }
    }
    all.extend(&without_params);
    Ok((all, without_params, workspaces))
}

fn expand_workspaces(workspaces: Bindings, scope: &Scope) -> Result<Bindings, Invalid> {
    workspaces
        .into_iter()
        .map(|(name, binding)| {
            Ok((name, expand_object(&binding, scope).map_err(|error| does_not_fit(&error))?))
        })
        .collect()
}

fn does_not_fit(error: &serde_json::Error) -> Invalid {
    Invalid::new(
        task_run::VALIDATION_FAILED,
        format!("a value does not fit the field it is used in: {error}"),
    )
}

/// What a step calls its own.
fn step_scope(group: Group, container: &str, results: &[StepResult]) -> Scope {
    let directory = format!("{}/{container}", paths::steps(group));
    let mut scope = Scope::default();
    scope.set(&["step", "artifacts", "path"], format!("{directory}/artifacts/{PROVENANCE}"));
    for result in results {
        scope.set(&["step", "results", &result.name, "path"], format!("{directory}/results/{}", result.name));
    }
    scope
}

/// A task that is written in its run need not declare the workspaces that the run binds.
fn declare_bound(task: &mut TaskSpec, given: &[WorkspaceBinding]) {
    for binding in given {
        if !task.workspaces.iter().any(|workspace| workspace.name == binding.name) {
            let name = binding.name.clone();
            task.workspaces.push(WorkspaceDeclaration { name, ..WorkspaceDeclaration::default() });
        }
    }
}

/// The binding of each workspace that the task declares.
fn bind(task: &TaskSpec, given: &[WorkspaceBinding]) -> Result<BTreeMap<String, WorkspaceBinding>, Invalid> {
    let declared: BTreeSet<&str> = task.workspaces.iter().map(|workspace| workspace.name.as_str()).collect();
    let invalid = |message: String| Invalid::new(task_run::VALIDATION_FAILED, message).by_user();
    if let Some(extra) = given.iter().find(|binding| !declared.contains(binding.name.as_str())) {
        return Err(invalid(format!(
            "workspace binding \"{}\" does not match any declared workspace (the task declares: {})",
            extra.name,
            list(declared.iter().copied())
        )));
    }
    let mut bound = BTreeMap::new();
    for workspace in &task.workspaces {
        match given.iter().find(|binding| binding.name == workspace.name) {
            Some(binding) => {
                bound.insert(workspace.name.clone(), binding.clone());
            }
            None if workspace.is_optional() => {}
            None => {
                return Err(invalid(format!(
                    "declared workspace \"{}\" is required but has not been bound: add it to `spec.workspaces`",
                    workspace.name
                )));
            }
        }
    }
    Ok(bound)
}

/// All names that a task's spec may refer to, but for its parameters.
fn scope(
    group: Group,
    run: &TaskRun,
    task: &TaskSpec,
    workspaces: &BTreeMap<String, WorkspaceBinding>,
) -> Scope {
    let mut scope = Scope::default();
    name_run(&mut scope, run);
    let mut text = |path: &[&str], value: String| {
        scope.set(path, ParamValue::String(value));
    };
    text(&["credentials", "path"], paths::credentials(group));
    text(&["context", "task", "name"], task_name(group, run));
    text(&["artifacts", "path"], format!("{}/{PROVENANCE}", paths::artifacts(group)));
    for result in &task.results {
        text(&["results", &result.name, "path"], format!("{}/{}", paths::results(group), result.name));
    }
    for workspace in &task.workspaces {
        let name = workspace.name.as_str();
        let binding = workspaces.get(name);
        let path = binding.map(|_| workspace.effective_mount_path()).unwrap_or_default();
        let claim = binding
            .and_then(|binding| binding.persistent_volume_claim.as_ref())
            .map(|claim| claim.claim_name.clone())
            .unwrap_or_default();
        text(&["workspaces", name, "path"], path);
        text(&["workspaces", name, "bound"], binding.is_some().to_string());
        text(&["workspaces", name, "claim"], claim);
        text(&["workspaces", name, "volume"], binding.map(paths::workspace_volume).unwrap_or_default());
    }
    for (at, step) in task.steps.iter().enumerate() {
        let container = step_container(&step.name, at);
        let path = format!("{}/{container}/exitCode", paths::steps(group));
        text(&["steps", &container, "exitCode", "path"], path);
    }
    scope
}

/// The Task's name: the reference's, the fetched one's, or the run's own where the spec is embedded.
pub fn task_name(group: Group, run: &TaskRun) -> String {
    let Some(reference) = &run.spec.task_ref else { return run.name().to_owned() };
    match &reference.name {
        Some(name) if reference.resolver.is_none() => name.clone(),
        // Its label is set as soon as the Task is there.
        _ => labels::definition(group, &run.metadata, "task").unwrap_or_else(|| run.name().to_owned()),
    }
}

/// What the parameters of a resolver may refer to: the run's own parameters and its name, and the defaults of the Task,
/// which is not known yet while it is fetched itself.
pub(super) fn reference_scope(run: &TaskRun, declared: &[ParamSpec]) -> Scope {
    let defaults = declared.iter().filter_map(|spec| Some((spec.name.clone(), spec.default.clone()?)));
    let given = run.spec.params.iter().map(|param| (param.name.clone(), param.value.clone()));
    let values = defaults.chain(given).collect();
    let mut scope = param_scope(&values);
    name_run(&mut scope, run);
    scope
}

fn name_run(scope: &mut Scope, run: &TaskRun) {
    scope
        .set(&["context", "taskRun", "name"], run.name())
        .set(&["context", "taskRun", "namespace"], run.namespace())
        .set(&["context", "taskRun", "uid"], run.uid());
}

/// Names in backticks, for a message; "none" where there are none.
pub(crate) fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let listed: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    if listed.is_empty() { "none".to_owned() } else { listed.join(", ") }
}
