//! Labels that tools select by, on task runs and pods.

use std::collections::BTreeMap;

use ergon_api::defaults::MANAGED_BY_LABEL;
use ergon_api::{Group, TaskRun};

/// The annotation on a task run whose failure its pipeline ignores.
pub const ON_ERROR: &str = "pipeline.tekton.dev/pipeline-task-on-error";

/// The annotation on a pod with the version of what made it.
pub const RELEASE: &str = "pipeline.tekton.dev/release";

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

/// Annotations to hand down to children: not kubectl's copy of the whole object.
pub fn without_client_annotations(mut annotations: BTreeMap<String, String>) -> BTreeMap<String, String> {
    annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    annotations
}
