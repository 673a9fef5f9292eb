//! Why a file failed: what whoever reads about it would look at first.

use e2e::Space;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt as _;
use kube::api::{ListParams, LogParams};
use serde_json::Value;

use crate::shape::Outcome;

/// The container that no manifest asks for.
const AGENT: &str = "ergon-agent";
/// How many lines of a container's log are shown, and how much of a line.
const LINES: i64 = 8;
const LONGEST_LINE: usize = 300;

/// The TaskRuns that have not succeeded, the containers that wait or failed, and the last lines of their logs.
pub async fn explain(space: &Space, taskruns: &[Value]) -> Vec<String> {
    let mut lines = Vec::new();
    for taskrun in taskruns {
        let outcome = Outcome::of(taskrun);
        if outcome.status != "True" {
            let name = taskrun["metadata"]["name"].as_str().unwrap_or_default();
            lines.push(short(&format!("TaskRun {name}: {outcome}")));
        }
    }
    for pod in space.api::<Pod>().list(&ListParams::default()).await.into_iter().flatten() {
        lines.extend(pod_story(space, &pod).await);
    }
    lines
}

async fn pod_story(space: &Space, pod: &Pod) -> Vec<String> {
    let mut lines = Vec::new();
    let name = pod.name_any();
    let Some(status) = &pod.status else { return lines };
    let containers: Vec<&ContainerStatus> = [&status.init_container_statuses, &status.container_statuses]
        .into_iter()
        .flatten()
        .flatten()
        .collect();
    if containers.is_empty() && status.phase.as_deref() == Some("Pending") {
        let why = status.conditions.iter().flatten().filter_map(|condition| condition.message.clone());
        lines.push(short(&format!("pod {name}: Pending {}", why.collect::<Vec<_>>().join("; "))));
    }
    // A run may end before the kubelet tells that its steps have, so what is said to run is shown too.
    for container in containers.into_iter().filter(|container| container.name != AGENT) {
        let Some(state) = &container.state else { continue };
        if let Some(waiting) = &state.waiting {
            let reason = waiting.reason.as_deref().unwrap_or_default();
            if reason != "PodInitializing" && reason != "ContainerCreating" {
                let message = waiting.message.as_deref().unwrap_or_default();
                lines.push(short(&format!("pod {name}, {}: {reason}: {message}", container.name)));
            }
            continue;
        }
        let how = match &state.terminated {
            Some(ended) if ended.exit_code == 0 => continue,
            Some(ended) => format!("ended with {}", ended.exit_code),
            None => "runs".to_owned(),
        };
        lines.push(format!("pod {name}, {}: {how}", container.name));
        let params = LogParams {
            container: Some(container.name.clone()),
            tail_lines: Some(LINES),
            ..LogParams::default()
        };
        if let Ok(log) = space.api::<Pod>().logs(&name, &params).await {
            lines.extend(log.lines().map(|line| short(&format!("  | {line}"))));
        }
    }
    lines
}

/// A line that is not too long to read.
pub fn short(line: &str) -> String {
    let mut line = line.replace('\n', " ");
    if let Some((end, _)) = line.char_indices().nth(LONGEST_LINE) {
        line.truncate(end);
        line.push('…');
    }
    line
}
