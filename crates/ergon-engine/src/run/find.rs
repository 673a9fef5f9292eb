//! Finding a run's Pipeline, and the Tasks of its tasks.

use std::borrow::Cow;

use ergon_api::texts::variables_in;
use ergon_api::{
    Group, PipelineRef, PipelineRun, PipelineRunStatus, PipelineSpec, PipelineTask, Provenance, RefSource,
    TaskSpec, reasons::pipeline_run as reasons,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;

use super::Observed;
use super::prepare::pipeline_name;
use crate::action::{Action, Need};
use crate::definitions::{self, Lookup};
use crate::expr::Scope;
use crate::graph::as_result;
use crate::labels;
use crate::task::Invalid;
use crate::task::inputs::param_scope;

/// What the look-up of a Pipeline came to.
pub(super) enum Seen {
    Found(Found),
    Need(Need),
    /// A resolver is at it.
    Waiting,
}

/// A Pipeline to run.
pub(super) struct Found {
    pub spec: PipelineSpec,
    /// The API group whose language it is written in.
    pub language: Group,
    /// The Pipeline's own metadata; none where the spec is the run's own.
    metadata: Option<ObjectMeta>,
    source: Option<RefSource>,
}

/// The spec as the user wrote it: the run's own, or the Pipeline's.
///
/// # Errors
/// There is no such Pipeline, or its resolver failed.
pub(super) fn pipeline(observed: &Observed<'_>) -> Result<Seen, Invalid> {
    let run = observed.run;
    if let Some(spec) = &run.spec.pipeline_spec {
        return Ok(Seen::Found(Found {
            spec: spec.clone(),
            language: observed.group,
            metadata: None,
            source: None,
        }));
    }
    let unnamed = PipelineRef::default();
    let reference = run.spec.pipeline_ref.as_ref().unwrap_or(&unnamed);
    let failed = |what: &str| {
        format!("Error retrieving pipeline for pipelinerun {}/{}: {what}", run.namespace(), run.name())
    };
    Ok(match definitions::pipeline(observed.library, reference, &reference_scope(run)) {
        Lookup::Found(found) => Seen::Found(Found {
            spec: found.object.spec.clone(),
            language: found.group.unwrap_or(observed.group),
            metadata: Some(found.object.metadata.clone()),
            source: found.source.cloned(),
        }),
        Lookup::Need(need) => Seen::Need(need),
        Lookup::Waiting => Seen::Waiting,
        Lookup::NoSuch(name) => {
            let what = format!("pipelines.{} \"{name}\" not found", observed.group.name());
            return Err(Invalid::new(reasons::COULDNT_GET_PIPELINE, failed(&what)));
        }
        Lookup::Failed(_, failure) => {
            let reason = if failure.is_of_object() {
                reasons::FAILED_VALIDATION
            } else {
                reasons::COULDNT_GET_PIPELINE
            };
            return Err(Invalid::new(reason, failed(&failure.to_string())));
        }
        Lookup::Unnamed => {
            return Err(Invalid::new(
                reasons::COULDNT_GET_PIPELINE,
                "the run names no pipeline: set `spec.pipelineRef.name` or `spec.pipelineSpec`",
            ));
        }
    })
}

impl Found {
    /// The run with the labels and annotations that its Pipeline gives it, and the action that writes them down.
    pub fn given_to<'a>(&self, group: Group, run: &'a PipelineRun) -> (Cow<'a, PipelineRun>, Option<Action>) {
        let embedded = ObjectMeta::default();
        let metadata = self.metadata.as_ref().unwrap_or(&embedded);
        let name = match metadata.name.as_deref() {
            Some(name) => name.to_owned(),
            None => labels::pipeline_of(group, run, run.name()),
        };
        let (merged, action) =
            labels::with_definition(&run.metadata, metadata, (group.label("pipeline"), &name));
        if action.is_none() {
            return (Cow::Borrowed(run), None);
        }
        (Cow::Owned(PipelineRun { metadata: merged, ..run.clone() }), action)
    }

    /// Writes down where the Pipeline came from.
    pub fn source_into(&self, status: &mut PipelineRunStatus) {
        if let Some(source) = &self.source {
            let provenance = status.provenance.get_or_insert_with(Provenance::default);
            provenance.ref_source.get_or_insert_with(|| source.clone());
        }
    }
}

/// What the parameters of a resolver may refer to: the run's own parameters and its name. The Pipeline, and with it the
/// defaults, is not known yet.
fn reference_scope(run: &PipelineRun) -> Scope {
    let values = run.spec.params.iter().map(|param| (param.name.clone(), param.value.clone())).collect();
    let mut scope = param_scope(&values);
    scope
        .set(&["context", "pipelineRun", "name"], run.name())
        .set(&["context", "pipelineRun", "namespace"], run.namespace())
        .set(&["context", "pipelineRun", "uid"], run.uid());
    scope
}

/// What the look-up of a task's Task came to.
pub(super) enum TaskSeen<'a> {
    Spec(&'a TaskSpec),
    /// It is a pipeline of its own.
    Pipeline(&'a PipelineSpec),
    Need(Need),
    Waiting,
    /// Its resolver, or its name, needs the result of another task: known when that has ended. Or it is a custom task,
    /// which only its own controller knows.
    Later,
}

/// The spec of a task of the pipeline.
///
/// # Errors
/// There is no such Task, or its resolver failed.
pub(super) fn task<'a>(observed: &Observed<'a>, task: &'a PipelineTask) -> Result<TaskSeen<'a>, Invalid> {
    if task.is_custom_task() {
        return Ok(TaskSeen::Later);
    }
    if task.is_pipeline() {
        return pipeline_of(observed, task);
    }
    if let Some(embedded) = &task.task_spec {
        return Ok(TaskSeen::Spec(&embedded.task));
    }
    let Some(reference) = &task.task_ref else { return Err(unnamed(task)) };
    if needs_results(&(&reference.name, &reference.params)) {
        return Ok(TaskSeen::Later);
    }
    let missing = |name: &str, what: &str| {
        Invalid::new(
            reasons::COULDNT_GET_TASK,
            format!(
                "Pipeline {}/{} can't be Run; it contains Tasks that don't exist: Couldn't retrieve Task {name:?}: {what} (pipeline task `{}`)",
                observed.run.namespace(),
                pipeline_name(observed.group, observed.run),
                task.name
            ),
        )
    };
    Ok(match definitions::task(observed.library, reference, &Scope::default()) {
        Lookup::Found(found) => TaskSeen::Spec(&found.object.spec),
        Lookup::Need(need) => TaskSeen::Need(need),
        Lookup::Waiting => TaskSeen::Waiting,
        Lookup::NoSuch(name) => {
            let what = format!(
                "tasks.{} \"{name}\" not found in namespace \"{}\"",
                observed.group.name(),
                observed.run.namespace()
            );
            return Err(missing(name, &what));
        }
        Lookup::Failed(request, failure) => {
            return Err(missing(&request.describe(), &failure.to_string()));
        }
        Lookup::Unnamed => return Err(unnamed(task)),
    })
}

/// The spec of a task that is a pipeline.
fn pipeline_of<'a>(observed: &Observed<'a>, task: &'a PipelineTask) -> Result<TaskSeen<'a>, Invalid> {
    if let Some(spec) = &task.pipeline_spec {
        return Ok(TaskSeen::Pipeline(spec));
    }
    let Some(reference) = &task.pipeline_ref else { return Err(unnamed(task)) };
    if needs_results(&(&reference.name, &reference.params)) {
        return Ok(TaskSeen::Later);
    }
    let missing = |name: &str, what: &str| {
        Invalid::new(
            reasons::COULDNT_GET_PIPELINE,
            format!(
                "Pipeline {}/{} can't be Run; it contains child Pipelines that don't exist: Couldn't retrieve Pipeline {name:?}: {what} (pipeline task `{}`)",
                observed.run.namespace(),
                pipeline_name(observed.group, observed.run),
                task.name
            ),
        )
    };
    Ok(match definitions::pipeline(observed.library, reference, &Scope::default()) {
        Lookup::Found(found) => TaskSeen::Pipeline(&found.object.spec),
        Lookup::Need(need) => TaskSeen::Need(need),
        Lookup::Waiting => TaskSeen::Waiting,
        Lookup::NoSuch(name) => {
            let what = format!("pipelines.{} \"{name}\" not found", observed.group.name());
            return Err(missing(name, &what));
        }
        Lookup::Failed(request, failure) => {
            return Err(missing(&request.describe(), &failure.to_string()));
        }
        Lookup::Unnamed => return Err(unnamed(task)),
    })
}

fn unnamed(task: &PipelineTask) -> Invalid {
    Invalid::new(
        reasons::FAILED_VALIDATION,
        format!("task `{}` names no Task: set `taskRef.name` or `taskSpec`", task.name),
    )
}

fn needs_results(reference: &impl Serialize) -> bool {
    variables_in(reference, &[]).iter().any(|(_, reference)| as_result(reference).is_some())
}
