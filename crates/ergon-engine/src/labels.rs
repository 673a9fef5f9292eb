//! Labels that tools select by, on task runs and pods.

use std::collections::BTreeMap;

use ergon_api::defaults::MANAGED_BY_LABEL;
use ergon_api::{Group, PipelineRun, TaskRun, convert};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::action::Action;

/// Values of labels are limited to this.
const LONGEST_LABEL: usize = 63;
/// The annotation on a task run whose failure its pipeline ignores.
pub const ON_ERROR: &str = "pipeline.tekton.dev/pipeline-task-on-error";

/// The label with the number of the run of a task that has several, counted from 1; the first has none: the tries of a
/// pipeline, and the runs of a task whose pod was lost.
pub const RETRY: &str = "ergon.dev/retry";

/// The labels of a pod, without their group, that name its task alone.
pub const OF_TASK: [&str; 5] = ["taskRun", "taskRunUID", "task", "pipelineTask", "memberOf"];

/// Whether the run's steps must not have a network.
pub fn is_hermetic(run: &TaskRun) -> bool {
    let annotations = run.metadata.annotations.as_ref();
    annotations
        .and_then(|annotations| annotations.get("experimental.tekton.dev/execution-mode"))
        .is_some_and(|mode| mode == "hermetic")
}

/// Whether the run's pipeline goes on when it fails.
pub fn failure_is_ignored(run: &TaskRun) -> bool {
    let annotations = run.metadata.annotations.as_ref();
    annotations.and_then(|annotations| annotations.get(ON_ERROR)).is_some_and(|value| value == "continue")
}

/// The labels of a task run's pod: the run's own, and those that name the run and its Task.
pub fn task_run(group: Group, run: &TaskRun, task: &str) -> BTreeMap<String, String> {
    let mut labels: BTreeMap<String, String> = run.metadata.labels.clone().unwrap_or_default();
    // Admission has set it; a run that never passed there gets the group's own.
    labels.entry(MANAGED_BY_LABEL.to_owned()).or_insert_with(|| group.managed_by().to_owned());
    labels.insert(group.label("taskRun"), run.name().to_owned());
    labels.insert(group.label("taskRunUID"), run.uid().to_owned());
    if run.spec.task_ref.is_some() {
        labels.insert(group.label("task"), task.to_owned());
    }
    labels
}

/// The label with the name of a run's Task or Pipeline.
pub fn definition(group: Group, metadata: &ObjectMeta, kind: &str) -> Option<String> {
    metadata.labels.as_ref()?.get(&group.label(kind)).cloned()
}

/// The value of a pipeline run's `pipeline` label: its own, else the name of its Pipeline.
pub fn pipeline_of(group: Group, run: &PipelineRun, name: &str) -> String {
    definition(group, &run.metadata, "pipeline").unwrap_or_else(|| name.to_owned())
}

/// A run's metadata with what its definition hands to it, and the action that writes it down if anything is new.
///
/// The run's own labels and annotations win. `label` says which definition it is.
pub fn with_definition(
    run: &ObjectMeta,
    definition: &ObjectMeta,
    label: (String, &str),
) -> (ObjectMeta, Option<Action>) {
    let mut merged = run.clone();
    let (mut new_labels, mut new_annotations) = (BTreeMap::new(), BTreeMap::new());
    let own = merged.labels.get_or_insert_default();
    let (key, name) = label;
    // What is too long for a label stays out of it, and the run works all the same.
    if name.len() <= LONGEST_LABEL && !name.is_empty() && own.get(&key).is_none_or(|known| known != name) {
        new_labels.insert(key, name.to_owned());
    }
    let given = definition.labels.clone().unwrap_or_default();
    new_labels.extend(given.into_iter().filter(|(key, _)| !own.contains_key(key)));
    own.extend(new_labels.clone());
    let own = merged.annotations.get_or_insert_default();
    let given = without_client_annotations(definition.annotations.clone().unwrap_or_default());
    new_annotations.extend(given.into_iter().filter(|(key, _)| !own.contains_key(key)));
    own.extend(new_annotations.clone());
    let is_new = !new_labels.is_empty() || !new_annotations.is_empty();
    let action = is_new.then_some(Action::AddMetadata { labels: new_labels, annotations: new_annotations });
    (merged, action)
}

/// Annotations to hand down to children: not kubectl's copy of the whole object, and not what the object keeps for
/// those who read it in an older version.
pub fn without_client_annotations(mut annotations: BTreeMap<String, String>) -> BTreeMap<String, String> {
    annotations.retain(|name, _| {
        name != "kubectl.kubernetes.io/last-applied-configuration" && !convert::is_kept_in(name)
    });
    annotations
}
