//! The runs that a pipeline run makes for its tasks: their names, and what they are made of.

use std::collections::{BTreeMap, BTreeSet};

use ergon_api::{
    ChildStatusReference, Config, CustomRun, CustomRunSpec, Duration, EmbeddedCustomRun, Group,
    MATRIX_LEG_LABEL, ObjectLabels, Param, ParamValue, PipelineRun, PipelineRunSpec, PipelineTask,
    PipelineTaskRunSpec, PodTemplate, SetDefaults, TaskRef, TaskRun, TaskRunSpec, TimeoutFields,
    WhenExpression, WorkspaceBinding, reasons::pipeline_run as reasons,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube_core::Resource as _;

use super::child::{Child, Made};
use super::matrix;
use super::prepare::Prepared;
use crate::expr::{Scope, expand, expand_object};
use crate::task::Invalid;
use crate::{labels, name};

/// How deep pipelines may run in each other, where no name tells that they go in a circle.
const DEEPEST: usize = 16;

/// The name of a pipeline task's run, and of one leg of a matrix.
pub fn child_name(run: &PipelineRun, task: &PipelineTask, leg: Option<usize>) -> String {
    match leg {
        None => name::child(run.name(), &format!("-{}", task.name)),
        Some(leg) => name::child(run.name(), &format!("-{}-{leg}", task.name)),
    }
}

/// The name of a pipeline's run that another try has, counted from 1.
fn retry_name(run: &PipelineRun, task: &PipelineTask, retry: usize) -> String {
    name::child(run.name(), &format!("-{}-retry-{retry}", task.name))
}

/// What is needed besides the task itself to make its runs.
pub(super) struct Making<'a> {
    pub group: Group,
    pub config: &'a Config,
    pub run: &'a PipelineRun,
    /// The runs that this one is a part of, the nearest first.
    pub ancestors: &'a [&'a PipelineRun],
    pub prepared: &'a Prepared,
    /// Results of other tasks, and for `finally` tasks their statuses.
    pub scope: &'a Scope,
    pub finally: bool,
    /// How many tries of the task failed before this one.
    pub retry: usize,
}

impl Making<'_> {
    /// The runs of a task: one, or one for each leg of its matrix; without those of the `known` names, and no more than
    /// `most`.
    ///
    /// # Errors
    /// A value that does not fit where it is used; a pipeline that would run itself.
    pub fn runs(
        &self,
        task: &PipelineTask,
        known: &BTreeSet<&str>,
        most: usize,
    ) -> Result<Vec<Made>, Invalid> {
        let params = matrix::expand_params(&task.params, self.scope);
        let is_new = |leg| !known.contains(self.name(task, leg).as_str());
        let Some(matrix) = &task.matrix else {
            return (0..most.min(1))
                .filter(|_| is_new(None))
                .map(|_| self.make(task, None, params.clone()))
                .collect();
        };
        let matrix = matrix::expand(matrix, self.scope);
        matrix::check(&task.name, &matrix).map_err(|error| {
            Invalid::new(
                reasons::INVALID_MATRIX_PARAMETER_TYPES,
                format!("Failed to validate matrix \"{}\" with error {error}", self.run.name()),
            )
            .by_user()
        })?;
        matrix::legs(&matrix)
            .into_iter()
            .enumerate()
            .filter(|(at, _)| is_new(Some(*at)))
            .take(most)
            .map(|(at, mut leg)| {
                let own = |param: &&Param| !leg.iter().any(|known| known.name == param.name);
                let others: Vec<Param> = params.iter().filter(own).cloned().collect();
                leg.extend(others);
                self.make(task, Some(at), leg)
            })
            .collect()
    }

    /// The name of a run that is made now.
    fn name(&self, task: &PipelineTask, leg: Option<usize>) -> String {
        if self.retry > 0 { retry_name(self.run, task, self.retry) } else { child_name(self.run, task, leg) }
    }

    fn make(&self, task: &PipelineTask, leg: Option<usize>, params: Vec<Param>) -> Result<Made, Invalid> {
        let own = self.run.spec.task_run_specs.iter().find(|spec| spec.pipeline_task_name == task.name);
        let make = || -> Result<Made, serde_json::Error> {
            Ok(if task.is_pipeline() {
                Made::Pipeline(Box::new(self.pipeline_run(task, own, leg, params)?))
            } else if task.is_custom_task() {
                Made::Custom(Box::new(self.custom_run(task, own, leg, params)?))
            } else {
                Made::Task(Box::new(self.task_run(task, own, leg, params)?))
            })
        };
        self.check_circle(task)?;
        make().map_err(|error| {
            Invalid::new(
                reasons::CREATE_RUN_FAILED,
                format!("task `{}`: a value does not fit the field it is used in: {error}", task.name),
            )
        })
    }

    fn task_run(
        &self,
        task: &PipelineTask,
        own: Option<&PipelineTaskRunSpec>,
        leg: Option<usize>,
        params: Vec<Param>,
    ) -> Result<TaskRun, serde_json::Error> {
        let run = self.run;
        let task_spec =
            task.task_spec.as_ref().map(|spec| expand_object(&spec.task, self.scope)).transpose()?;
        let mut child = TaskRun::new(self.group, &child_name(run, task, leg));
        child.metadata = self.metadata(task, own, leg);
        child.spec = TaskRunSpec {
            params,
            task_ref: self.task_ref(task)?,
            task_spec,
            service_account_name: self.service_account(own),
            pod_template: self.pod_template(own),
            retries: task.retries,
            timeout: self.timeout(task, own),
            workspaces: self.workspaces(task)?,
            step_specs: own.map(|own| own.step_specs.clone()).unwrap_or_default(),
            sidecar_specs: own.map(|own| own.sidecar_specs.clone()).unwrap_or_default(),
            compute_resources: own.and_then(|own| own.compute_resources.clone()),
            // Tekton does not hand this down; without it another controller would take the child.
            managed_by: run.spec.managed_by.clone(),
            ..Default::default()
        };
        child.set_defaults(self.group, self.config);
        Ok(child)
    }

    fn custom_run(
        &self,
        task: &PipelineTask,
        own: Option<&PipelineTaskRunSpec>,
        leg: Option<usize>,
        params: Vec<Param>,
    ) -> Result<CustomRun, serde_json::Error> {
        let mut child = CustomRun::new(self.group, &child_name(self.run, task, leg));
        child.metadata = self.metadata(task, own, leg);
        child.spec = CustomRunSpec {
            custom_ref: self.task_ref(task)?,
            // What its controller needs to know goes there as it is: only that controller knows what it means.
            custom_spec: task.task_spec.as_ref().map(|spec| EmbeddedCustomRun {
                api_version: spec.api_version.clone(),
                kind: spec.kind.clone(),
                metadata: Some(spec.metadata.clone()).filter(|metadata| *metadata != ObjectLabels::default()),
                spec: spec.spec.clone(),
            }),
            params,
            retries: task.retries,
            service_account_name: self.service_account(own),
            workspaces: self.workspaces(task)?,
            timeout: self.timeout(task, own),
            ..Default::default()
        };
        child.set_defaults(self.group, self.config);
        Ok(child)
    }

    fn pipeline_run(
        &self,
        task: &PipelineTask,
        own: Option<&PipelineTaskRunSpec>,
        leg: Option<usize>,
        mut params: Vec<Param>,
    ) -> Result<PipelineRun, serde_json::Error> {
        let run = self.run;
        let mut child = PipelineRun::new(self.group, &child_name(run, task, leg));
        child.metadata = self.metadata(task, own, leg);
        if let Some(spec) = &task.pipeline_spec {
            // What the outer pipeline knows is known in one that is written out in it, but for what that one declares.
            let inner = |name: &str| {
                spec.params.iter().any(|param| param.name == name)
                    || params.iter().any(|param| param.name == name)
            };
            let outer: Vec<Param> = self
                .prepared
                .values
                .iter()
                .filter(|(name, _)| !inner(name))
                .map(|(name, value)| Param { name: name.clone(), value: value.clone() })
                .collect();
            params.extend(outer);
        }
        let mut template = run.spec.task_run_template.clone();
        if let Some(own) = own {
            let template = template.get_or_insert_with(Default::default);
            template.pod_template = self.pod_template(Some(own));
            template.service_account_name = self.service_account(Some(own));
        }
        child.spec = PipelineRunSpec {
            pipeline_ref: task
                .pipeline_ref
                .as_ref()
                .map(|reference| expand_object(reference, self.scope))
                .transpose()?,
            pipeline_spec: task.pipeline_spec.as_deref().cloned(),
            params,
            workspaces: self.workspaces(task)?,
            timeouts: self
                .timeout(task, own)
                .map(|timeout| TimeoutFields { pipeline: Some(timeout), ..Default::default() }),
            task_run_template: template,
            managed_by: run.spec.managed_by.clone(),
            fuse: run.spec.fuse,
            ..Default::default()
        };
        child.set_defaults(self.group, self.config);
        Ok(child)
    }

    /// A pipeline that runs itself, directly or through others, would never end.
    fn check_circle(&self, task: &PipelineTask) -> Result<(), Invalid> {
        if !task.is_pipeline() {
            return Ok(());
        }
        let named =
            |run: &PipelineRun| run.spec.pipeline_ref.as_ref().and_then(|pipeline| pipeline.name.clone());
        let around: Vec<String> =
            std::iter::once(self.run).chain(self.ancestors.iter().copied()).filter_map(named).collect();
        let wanted = task.pipeline_ref.as_ref().and_then(|reference| reference.name.as_ref());
        if let Some(wanted) = wanted.filter(|wanted| around.contains(wanted)) {
            return Err(Invalid::new(
                reasons::CREATE_RUN_FAILED,
                format!(
                    "detected cycle in pipeline-in-pipeline: pipeline \"{wanted}\" is already running in ancestor chain [{}] (task `{}`)",
                    around.join(" "),
                    task.name
                ),
            ));
        }
        if self.ancestors.len() >= DEEPEST {
            return Err(Invalid::new(
                reasons::CREATE_RUN_FAILED,
                format!("task `{}`: pipelines run more than {DEEPEST} deep in each other", task.name),
            ));
        }
        Ok(())
    }

    fn metadata(
        &self,
        task: &PipelineTask,
        own: Option<&PipelineTaskRunSpec>,
        leg: Option<usize>,
    ) -> ObjectMeta {
        let (run, group) = (self.run, self.group);
        let mut child_labels: BTreeMap<String, String> = run.metadata.labels.clone().unwrap_or_default();
        // The run itself may be a leg of a matrix, which its children are not.
        child_labels.remove(MATRIX_LEG_LABEL);
        child_labels.remove(labels::RETRY);
        let mut annotations =
            labels::without_client_annotations(run.metadata.annotations.clone().unwrap_or_default());
        // A custom task's own labels go to its controller with its spec.
        let embedded = task.task_spec.as_ref().filter(|_| !task.is_custom_task()).map(|spec| &spec.metadata);
        for metadata in [embedded, own.and_then(|own| own.metadata.as_ref())].into_iter().flatten() {
            child_labels.extend(metadata.labels.clone());
            annotations.extend(metadata.annotations.clone());
        }
        let child_name = self.name(task, leg);
        if self.retry > 0 {
            child_labels.insert(labels::RETRY.to_owned(), self.retry.to_string());
        }
        let pipeline = match (&task.pipeline_ref, task.is_pipeline()) {
            (_, false) => labels::pipeline_of(group, run, &self.prepared.pipeline_name),
            (reference, true) => reference
                .as_ref()
                .and_then(|pipeline| pipeline.name.clone())
                .unwrap_or_else(|| child_name.clone()),
        };
        child_labels.insert(group.label("pipeline"), pipeline);
        child_labels.insert(group.label("pipelineRun"), run.name().to_owned());
        child_labels.insert(group.label("pipelineRunUID"), run.uid().to_owned());
        child_labels.insert(group.label("pipelineTask"), task.name.clone());
        child_labels
            .insert(group.label("memberOf"), if self.finally { "finally" } else { "tasks" }.to_owned());
        child_labels.extend(leg.map(|leg| (MATRIX_LEG_LABEL.to_owned(), leg.to_string())));
        if task.continues_on_error() {
            annotations.insert(labels::ON_ERROR.to_owned(), "continue".to_owned());
        } else {
            annotations.remove(labels::ON_ERROR);
        }
        ObjectMeta {
            name: Some(child_name),
            namespace: run.metadata.namespace.clone(),
            labels: Some(child_labels),
            annotations: (!annotations.is_empty()).then_some(annotations),
            owner_references: run.controller_owner_ref(&group).map(|owner| vec![owner]),
            ..Default::default()
        }
    }

    fn task_ref(&self, task: &PipelineTask) -> Result<Option<TaskRef>, serde_json::Error> {
        task.task_ref.as_ref().map(|reference| expand_object(reference, self.scope)).transpose()
    }

    fn service_account(&self, own: Option<&PipelineTaskRunSpec>) -> Option<String> {
        let template = self.run.spec.task_run_template.as_ref();
        own.and_then(|own| own.service_account_name.clone())
            .or_else(|| template.and_then(|template| template.service_account_name.clone()))
    }

    fn pod_template(&self, own: Option<&PipelineTaskRunSpec>) -> Option<PodTemplate> {
        let template = self.run.spec.task_run_template.as_ref();
        PodTemplate::merged(
            own.and_then(|own| own.pod_template.as_ref()),
            template.and_then(|template| template.pod_template.as_ref()),
        )
    }

    /// The limit of one attempt. A run that may take longer than a task may by default says so to its tasks too.
    fn timeout(&self, task: &PipelineTask, own: Option<&PipelineTaskRunSpec>) -> Option<Duration> {
        let of_part = || {
            let timeouts = self.run.spec.timeouts?;
            let (part, other) = if self.finally {
                (timeouts.finally, timeouts.tasks)
            } else {
                (timeouts.tasks, timeouts.finally)
            };
            let limit = match (part, timeouts.pipeline, other) {
                (Some(part), ..) => part,
                (None, Some(whole), Some(other)) if !whole.is_zero() && !other.is_zero() => {
                    whole.saturating_sub(other)
                }
                _ => return None,
            };
            (limit.is_zero() || limit > self.config.defaults.timeout).then_some(limit)
        };
        own.and_then(|own| own.timeout).or(task.timeout).or_else(of_part)
    }

    /// The run's bindings under the names that the task knows them by.
    fn workspaces(&self, task: &PipelineTask) -> Result<Vec<WorkspaceBinding>, serde_json::Error> {
        let mut bindings = Vec::new();
        if task.workspaces.is_empty() {
            return Ok(bindings);
        }
        let mut scope = self.prepared.scope.clone();
        scope.extend(self.scope);
        for used in &task.workspaces {
            let bound = used.workspace.as_deref().filter(|name| !name.is_empty()).unwrap_or(&used.name);
            let Some(binding) = self.prepared.workspaces.get(bound) else { continue };
            let binding = expand_object(binding, &scope)?;
            let sub_path =
                [binding.sub_path.clone(), used.sub_path.as_ref().map(|path| expand(path, &scope))]
                    .into_iter()
                    .flatten()
                    .filter(|path| !path.is_empty())
                    .collect::<Vec<_>>()
                    .join("/");
            bindings.push(WorkspaceBinding {
                name: used.name.clone(),
                sub_path: (!sub_path.is_empty()).then_some(sub_path),
                ..binding
            });
        }
        Ok(bindings)
    }
}

/// The reference to a child in the status. `task`: with everything replaced that the child was made with.
pub(super) fn reference(
    group: Group,
    child: Child<'_>,
    task: &PipelineTask,
    when: &[WhenExpression],
    scope: &Scope,
) -> ChildStatusReference {
    ChildStatusReference {
        api_version: Some(child.api_version(group).to_owned()),
        kind: Some(child.kind().to_owned()),
        name: child.name().to_owned(),
        display_name: display_name(child, task, scope),
        pipeline_task_name: Some(task.name.clone()),
        when_expressions: when.to_vec(),
    }
}

/// Whether a task or one of its matrix's combinations has a name for people.
pub(super) fn is_named(task: &PipelineTask) -> bool {
    let mut included = task.matrix.iter().flat_map(|matrix| &matrix.include);
    task.display_name.is_some() || included.any(|include| include.name.is_some())
}

/// The task's name for people, with the child's own parameters; or those of the matrix's combinations that it is.
fn display_name(child: Child<'_>, task: &PipelineTask, scope: &Scope) -> Option<String> {
    if !is_named(task) {
        return None;
    }
    let mut scope = scope.clone();
    for param in child.params() {
        if matches!(param.value, ParamValue::String(_)) {
            scope.set(&["params", &param.name], param.value.clone());
        }
    }
    let included = task.matrix.iter().flat_map(|matrix| &matrix.include);
    let names: Vec<String> = included
        .filter(|include| include.name.is_some())
        .filter(|include| {
            include.params.iter().all(|wanted| {
                child.params().iter().any(|given| {
                    given.name == wanted.name
                        && given.value == crate::expr::expand_value(&wanted.value, &scope)
                })
            })
        })
        .filter_map(|include| include.name.as_ref().map(|name| expand(name, &scope)))
        .collect();
    if names.is_empty() {
        task.display_name.as_ref().map(|name| expand(name, &scope))
    } else {
        Some(names.join(" "))
    }
}
