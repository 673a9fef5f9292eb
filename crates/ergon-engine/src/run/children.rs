//! A pipeline run's task runs: their names, and what they are made of.

use std::collections::BTreeMap;

use ergon_api::{
    ChildStatusReference, Config, Group, MATRIX_LEG_LABEL, Param, PipelineRun, PipelineTask,
    PipelineTaskRunSpec, PodTemplate, SetDefaults, TaskRun, TaskRunSpec, TaskRunSpecStatus, WhenExpression,
    WorkspaceBinding, reasons::pipeline_run as reasons,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube_core::Resource as _;

use super::matrix;
use super::prepare::Prepared;
use crate::action::Action;
use crate::expr::{Scope, expand, expand_object};
use crate::task::Invalid;
use crate::{labels, name};

/// What a task run is told when its pipeline run ends it.
pub fn stop_message(why: &str) -> String {
    format!("TaskRun cancelled as the PipelineRun it belongs to {why}.")
}

/// The name of a pipeline task's run, and of one leg of a matrix.
pub fn child_name(run: &PipelineRun, task: &PipelineTask, leg: Option<usize>) -> String {
    match leg {
        None => name::child(run.name(), &format!("-{}", task.name)),
        Some(leg) => name::child(run.name(), &format!("-{}-{leg}", task.name)),
    }
}

/// What is needed besides the task itself to make its runs.
pub(super) struct Making<'a> {
    pub group: Group,
    pub run: &'a PipelineRun,
    pub prepared: &'a Prepared,
    /// Results of other tasks, and for `finally` tasks their statuses.
    pub scope: &'a Scope,
    pub config: &'a Config,
    pub finally: bool,
}

impl Making<'_> {
    /// The runs of a task: one, or one for each leg of its matrix.
    ///
    /// # Errors
    /// A value that does not fit where it is used.
    pub fn runs(&self, task: &PipelineTask) -> Result<Vec<TaskRun>, Invalid> {
        let invalid = |error: serde_json::Error| {
            Invalid::new(
                reasons::CREATE_RUN_FAILED,
                format!("task `{}`: a value does not fit the field it is used in: {error}", task.name),
            )
        };
        let params = matrix::expand_params(&task.params, self.scope);
        let Some(matrix) = &task.matrix else {
            return Ok(vec![self.make(task, None, params).map_err(invalid)?]);
        };
        let legs = matrix::legs(&matrix::expand(matrix, self.scope));
        legs.into_iter()
            .enumerate()
            .map(|(at, leg)| {
                let mut params = params.clone();
                for param in leg {
                    match params.iter_mut().find(|known| known.name == param.name) {
                        Some(known) => known.value = param.value,
                        None => params.push(param),
                    }
                }
                self.make(task, Some(at), params).map_err(invalid)
            })
            .collect()
    }

    fn make(
        &self,
        task: &PipelineTask,
        leg: Option<usize>,
        params: Vec<Param>,
    ) -> Result<TaskRun, serde_json::Error> {
        let run = self.run;
        let own = run.spec.task_run_specs.iter().find(|spec| spec.pipeline_task_name == task.name);
        let task_spec =
            task.task_spec.as_ref().map(|spec| expand_object(&spec.task, self.scope)).transpose()?;
        let template = run.spec.task_run_template.as_ref();
        let name = child_name(run, task, leg);
        let mut child = TaskRun::new(self.group, &name);
        child.metadata = self.metadata(task, own, name, leg);
        child.spec = TaskRunSpec {
            params,
            task_ref: task
                .task_ref
                .as_ref()
                .map(|reference| expand_object(reference, self.scope))
                .transpose()?,
            task_spec,
            service_account_name: own
                .and_then(|own| own.service_account_name.clone())
                .or_else(|| template.and_then(|template| template.service_account_name.clone())),
            pod_template: PodTemplate::merged(
                own.and_then(|own| own.pod_template.as_ref()),
                template.and_then(|template| template.pod_template.as_ref()),
            ),
            retries: task.retries,
            timeout: own.and_then(|own| own.timeout).or(task.timeout),
            workspaces: self.workspaces(task),
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

    fn metadata(
        &self,
        task: &PipelineTask,
        own: Option<&PipelineTaskRunSpec>,
        name: String,
        leg: Option<usize>,
    ) -> ObjectMeta {
        let (run, group) = (self.run, self.group);
        let mut child_labels: BTreeMap<String, String> = run.metadata.labels.clone().unwrap_or_default();
        let mut annotations =
            labels::without_client_annotations(run.metadata.annotations.clone().unwrap_or_default());
        let embedded = task.task_spec.as_ref().map(|spec| &spec.metadata);
        for metadata in [embedded, own.and_then(|own| own.metadata.as_ref())].into_iter().flatten() {
            child_labels.extend(metadata.labels.clone());
            annotations.extend(metadata.annotations.clone());
        }
        child_labels
            .insert(group.label("pipeline"), labels::pipeline_of(group, run, &self.prepared.pipeline_name));
        child_labels.insert(group.label("pipelineRun"), run.name().to_owned());
        child_labels.insert(group.label("pipelineRunUID"), run.uid().to_owned());
        child_labels.insert(group.label("pipelineTask"), task.name.clone());
        child_labels
            .insert(group.label("memberOf"), if self.finally { "finally" } else { "tasks" }.to_owned());
        child_labels.extend(leg.map(|leg| (MATRIX_LEG_LABEL.to_owned(), leg.to_string())));
        if task.continues_on_error() {
            annotations.insert(labels::ON_ERROR.to_owned(), "continue".to_owned());
        }
        ObjectMeta {
            name: Some(name),
            namespace: run.metadata.namespace.clone(),
            labels: Some(child_labels),
            annotations: (!annotations.is_empty()).then_some(annotations),
            owner_references: run.controller_owner_ref(&group).map(|owner| vec![owner]),
            ..Default::default()
        }
    }

    /// The run's bindings under the names that the task knows them by.
    fn workspaces(&self, task: &PipelineTask) -> Vec<WorkspaceBinding> {
        task.workspaces
            .iter()
            .filter_map(|used| {
                let bound = used.workspace.as_deref().filter(|name| !name.is_empty()).unwrap_or(&used.name);
                let binding = self.prepared.workspaces.get(bound)?;
                let sub_path =
                    [binding.sub_path.clone(), used.sub_path.as_ref().map(|path| expand(path, self.scope))]
                        .into_iter()
                        .flatten()
                        .filter(|path| !path.is_empty())
                        .collect::<Vec<_>>()
                        .join("/");
                Some(WorkspaceBinding {
                    name: used.name.clone(),
                    sub_path: (!sub_path.is_empty()).then_some(sub_path),
                    ..binding.clone()
                })
            })
            .collect()
    }
}

/// The reference to a child in the status.
pub(super) fn reference(
    group: Group,
    child: &TaskRun,
    task: &PipelineTask,
    when: &[WhenExpression],
) -> ChildStatusReference {
    ChildStatusReference {
        api_version: Some(group.api_version().to_owned()),
        kind: Some(TaskRun::KIND.to_owned()),
        name: child.name().to_owned(),
        display_name: task.display_name.clone(),
        pipeline_task_name: Some(task.name.clone()),
        when_expressions: when.to_vec(),
    }
}

/// Ends those children that still run.
pub(super) fn stop<'a>(children: impl Iterator<Item = &'a &'a TaskRun>, why: &str) -> Vec<Action> {
    children
        .filter(|child| !child.is_done() && child.spec.status.is_none())
        .map(|child| Action::StopTaskRun {
            name: child.name().to_owned(),
            uid: child.uid().to_owned(),
            status: TaskRunSpecStatus::Cancelled,
            message: stop_message(why),
        })
        .collect()
}
