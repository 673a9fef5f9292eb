//! Dropping what no decision reads, before an object is kept in memory.

use ergon_api::{CustomRun, PipelineRun, ResolutionRequest, TaskRun};
use ergon_engine::fuse::AHEAD_ANNOTATIONS;
use k8s_openapi::api::core::v1::{Container, LimitRange, Pod, PodSpec, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// kubectl's copy of the whole object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A kind that is kept in memory.
pub trait Trim {
    /// Drops what is not read.
    fn trim(&mut self);

    /// Takes from an earlier version of the same object what is large and has not changed.
    fn share(&mut self, _earlier: &Self) {}
}

impl Trim for TaskRun {
    fn trim(&mut self) {
        meta(&mut self.metadata);
        if self.is_done() {
            // Its pipeline run reads the outcome and the results. Nothing is decided about it again.
            self.spec.task_spec = None;
            self.spec.pod_template = None;
            self.spec.params = Vec::new();
            self.spec.workspaces = Vec::new();
            if let Some(status) = &mut self.status {
                status.task_spec = None;
                status.steps = Vec::new();
                status.sidecars = Vec::new();
                status.retries_status = Vec::new();
            }
        }
    }
}

impl Trim for CustomRun {
    fn trim(&mut self) {
        meta(&mut self.metadata);
        self.spec.custom_spec = None;
        self.spec.workspaces = Vec::new();
        if let Some(status) = &mut self.status {
            status.retries_status = Vec::new();
            status.extra_fields = None;
        }
    }
}

impl Trim for PipelineRun {
    fn trim(&mut self) {
        meta(&mut self.metadata);
        if self.is_done() {
            self.spec.pipeline_spec = None;
            self.spec.params = Vec::new();
            self.spec.workspaces = Vec::new();
            self.spec.task_run_specs = Vec::new();
            self.spec.task_run_template = None;
            if let Some(status) = &mut self.status {
                status.pipeline_spec = None;
                status.child_references = Vec::new();
                status.child_counts = Vec::new();
                status.skipped_tasks = Vec::new();
                // A run that it is a part of reads its results.
                if !self.metadata.owner_references.iter().flatten().any(|owner| owner.kind == Self::KIND) {
                    status.results = Vec::new();
                }
            }
        }
    }

    fn share(&mut self, earlier: &Self) {
        let spec = |run: &Self| run.status.as_ref()?.pipeline_spec.clone();
        if let (Some(status), Some(earlier)) = (&mut self.status, spec(earlier))
            && status.pipeline_spec.as_ref() == Some(&earlier)
        {
            status.pipeline_spec = Some(earlier);
        }
    }
}

impl Trim for ResolutionRequest {
    fn trim(&mut self) {
        meta(&mut self.metadata);
    }
}

impl Trim for Pod {
    fn trim(&mut self) {
        pod(self);
    }
}

/// Of a service account: who it is, and the names of the Secrets that it lists.
impl Trim for ServiceAccount {
    fn trim(&mut self) {
        identity(&mut self.metadata);
    }
}

impl Trim for LimitRange {
    fn trim(&mut self) {
        identity(&mut self.metadata);
    }
}

/// Of a pod: who it is and belongs to, what one that was made ahead says of itself, its containers' names and images, and
/// its status.
pub fn pod(pod: &mut Pod) {
    meta(&mut pod.metadata);
    if let Some(annotations) = &mut pod.metadata.annotations {
        annotations.retain(|name, _| AHEAD_ANNOTATIONS.contains(&name.as_str()));
    }
    pod.metadata.annotations.take_if(|annotations| annotations.is_empty());
    let containers = |containers: Vec<Container>| -> Vec<Container> {
        containers
            .into_iter()
            .map(|container| Container { name: container.name, image: container.image, ..Default::default() })
            .collect()
    };
    pod.spec = pod.spec.take().map(|spec| PodSpec {
        containers: containers(spec.containers),
        init_containers: spec.init_containers.map(containers),
        node_name: spec.node_name,
        active_deadline_seconds: spec.active_deadline_seconds,
        ..Default::default()
    });
}

/// All of the metadata but who it is, and in which version.
fn identity(meta: &mut ObjectMeta) {
    *meta = ObjectMeta {
        name: meta.name.take(),
        namespace: meta.namespace.take(),
        uid: meta.uid.take(),
        resource_version: meta.resource_version.take(),
        ..Default::default()
    };
}

fn meta(meta: &mut ObjectMeta) {
    meta.managed_fields = None;
    meta.self_link = None;
    if let Some(annotations) = &mut meta.annotations {
        annotations.remove(LAST_APPLIED);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_keeps_what_decisions_read() {
        let mut object: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "uid": "u", "labels": {"a": "b"}, "annotations": {"x": "y"},
                "managedFields": [{"manager": "m"}],
                "ownerReferences": [{"apiVersion": "v1", "kind": "K", "name": "n", "uid": "o"}]},
            "spec": {"containers": [{"name": "step-a", "image": "i", "env": [{"name": "A", "value": "long"}]}],
                "volumes": [{"name": "v"}]},
            "status": {"phase": "Running"},
        }))
        .expect("a pod");
        pod(&mut object);
        assert_eq!(
            serde_json::to_value(&object).expect("JSON"),
            json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": "p", "uid": "u", "labels": {"a": "b"},
                    "ownerReferences": [{"apiVersion": "v1", "kind": "K", "name": "n", "uid": "o"}]},
                "spec": {"containers": [{"name": "step-a", "image": "i"}]},
                "status": {"phase": "Running"},
            })
        );
    }

    #[test]
    fn versions_of_a_run_share_its_pipeline() {
        let run = |task: &str| -> PipelineRun {
            serde_json::from_value(json!({
                "metadata": {"name": "r"},
                "status": {"pipelineSpec": {"tasks": [{"name": task, "taskRef": {"name": "t"}}]}},
            }))
            .expect("a run")
        };
        let spec = |run: &PipelineRun| run.status.as_ref().and_then(|status| status.pipeline_spec.clone());
        let earlier = run("a");
        for (task, is_shared) in [("a", true), ("b", false)] {
            let mut later = run(task);
            later.share(&earlier);
            assert_eq!(later, run(task));
            let (one, other) = (spec(&earlier).expect("a spec"), spec(&later).expect("a spec"));
            assert_eq!(std::sync::Arc::ptr_eq(&one, &other), is_shared);
        }
    }

    #[test]
    fn a_run_keeps_everything_until_it_is_done() {
        let run = |succeeded: &str| -> TaskRun {
            serde_json::from_value(json!({
                "apiVersion": "ergon.dev/v1", "kind": "TaskRun",
                "metadata": {"name": "r", "annotations": {LAST_APPLIED: "{}", "mine": "1"}},
                "spec": {"taskSpec": {"steps": [{"name": "a", "image": "i"}]}},
                "status": {"conditions": [{"type": "Succeeded", "status": succeeded}],
                    "results": [{"name": "r", "value": "v"}]},
            }))
            .expect("a run")
        };
        let mut going = run("Unknown");
        going.trim();
        assert!(going.spec.task_spec.is_some());
        assert_eq!(going.metadata.annotations.as_ref().map(std::collections::BTreeMap::len), Some(1));
        let mut done = run("True");
        done.trim();
        assert!(done.spec.task_spec.is_none() && done.is_done() && done.is_successful());
        assert_eq!(done.status.expect("a status").results.len(), 1);
    }
}
