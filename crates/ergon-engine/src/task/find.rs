//! Finding the Task of a run.

use std::borrow::Cow;

use ergon_api::{
    Group, Provenance, RefSource, TaskRef, TaskRun, TaskRunStatus, TaskSpec, reasons::task_run as reasons,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::Observed;
use super::inputs::{Invalid, reference_scope};
use crate::action::{Action, Need};
use crate::definitions::{self, Lookup};
use crate::{fuse, labels};

/// What the look-up came to.
pub(super) enum Seen {
    Found(Found),
    Need(Need),
    /// A resolver is at it.
    Waiting,
}

/// A Task to run.
pub(super) struct Found {
    pub spec: TaskSpec,
    /// The API group whose language it is written in.
    pub language: Group,
    /// The Task's own metadata; none where the spec is the run's own, or was found in an earlier pass.
    metadata: Option<ObjectMeta>,
    source: Option<RefSource>,
}

/// The spec to run: the one in the status once it is there, so that a later edit of the Task changes nothing.
///
/// # Errors
/// There is no such Task, or its resolver failed.
pub(super) fn task(observed: &Observed<'_>, old: &TaskRunStatus) -> Result<Seen, Invalid> {
    let (run, language) = (observed.run, observed.group);
    let embedded = old.task_spec.as_ref().or(run.spec.task_spec.as_ref());
    if let Some(spec) = embedded {
        return Ok(Seen::Found(Found { spec: spec.clone(), language, metadata: None, source: None }));
    }
    let unnamed = TaskRef::default();
    let reference = run.spec.task_ref.as_ref().unwrap_or(&unnamed);
    if let Some(pod) = fuse::pod_of(run) {
        // The Task as it was when the pod was made.
        let Some(part) = observed.library.parts.get(pod) else {
            return Ok(Seen::Need(Need::Part(pod.to_owned())));
        };
        let task = part.as_ref().and_then(|part| part.tasks.get(reference.name.as_deref()?));
        if let Some(task) = task {
            let metadata = Some(task.metadata.clone());
            return Ok(Seen::Found(Found { spec: task.spec.clone(), language, metadata, source: None }));
        }
    }
    Ok(match definitions::task(observed.library, reference, &reference_scope(run, &[])) {
        Lookup::Found(found) => Seen::Found(Found {
            spec: found.object.spec.clone(),
            language: found.group.unwrap_or(language),
            metadata: Some(found.object.metadata.clone()),
            source: found.source.cloned(),
        }),
        Lookup::Need(need) => Seen::Need(need),
        Lookup::Waiting => Seen::Waiting,
        Lookup::NoSuch(name) => {
            return Err(Invalid::new(
                reasons::RESOLUTION_FAILED,
                format!(
                    "failed to get task: tasks.{} \"{name}\" not found in namespace \"{}\"",
                    observed.group.name(),
                    run.namespace()
                ),
            ));
        }
        Lookup::Failed(_, failure) => {
            let reason = if failure.is_of_object() {
                reasons::TASK_VALIDATION_FAILED
            } else {
                reasons::RESOLUTION_FAILED
            };
            return Err(Invalid::new(reason, failure.to_string()));
        }
        Lookup::Unnamed => {
            return Err(Invalid::new(
                reasons::VALIDATION_FAILED,
                "the run names no task: set `spec.taskRef.name` or `spec.taskSpec`",
            ));
        }
    })
}

impl Found {
    /// The run with the labels and annotations that its Task gives it, and the action that writes them down.
    pub fn given_to<'a>(&self, group: Group, run: &'a TaskRun) -> (Cow<'a, TaskRun>, Option<Action>) {
        let Some(metadata) = &self.metadata else { return (Cow::Borrowed(run), None) };
        let name = metadata.name.as_deref().unwrap_or_default();
        let (merged, action) = labels::with_definition(&run.metadata, metadata, (group.label("task"), name));
        if action.is_none() {
            return (Cow::Borrowed(run), None);
        }
        (Cow::Owned(TaskRun { metadata: merged, ..run.clone() }), action)
    }

    /// Writes down where the Task came from.
    pub fn source_into(&self, status: &mut TaskRunStatus) {
        if let Some(source) = &self.source {
            let provenance = status.provenance.get_or_insert_with(Provenance::default);
            provenance.ref_source.get_or_insert_with(|| source.clone());
        }
    }
}
