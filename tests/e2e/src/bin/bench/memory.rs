//! How much memory the controller uses.

use anyhow::{Context as _, Result};
use e2e::Cluster;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::ResourceExt as _;
use kube::api::ListParams;
use serde_json::Value;

/// Resident memory of the controller, in MiB: from this machine's processes where the node is this machine, otherwise as
/// the kubelet tells it, which is up to ten seconds old.
pub async fn controller(cluster: &Cluster) -> Result<f64> {
    let pods: Api<Pod> = Api::namespaced(cluster.client().clone(), "ergon-system");
    let of_controller = ListParams::default().labels("app.kubernetes.io/component=controller");
    let pod = pods.list(&of_controller).await?.items.pop().context("no controller runs")?;
    match of_process(&pod.uid().unwrap_or_default()) {
        Some(mebibytes) => Ok(mebibytes),
        None => of_kubelet(cluster, &pod).await,
    }
}

/// The process of the controller whose cgroup is named after its pod.
fn of_process(uid: &str) -> Option<f64> {
    let with_underscores = uid.replace('-', "_");
    for entry in std::fs::read_dir("/proc").ok()?.flatten() {
        let read = |file: &str| std::fs::read_to_string(entry.path().join(file)).unwrap_or_default();
        if !read("cmdline").starts_with("/ergon-controller") {
            continue;
        }
        let cgroup = read("cgroup");
        if cgroup.contains(uid) || cgroup.contains(&with_underscores) {
            let status = read("status");
            let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
            return Some(kibibytes.trim().trim_end_matches(" kB").parse::<f64>().ok()? / 1024.0);
        }
    }
    None
}

async fn of_kubelet(cluster: &Cluster, pod: &Pod) -> Result<f64> {
    let node =
        pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).context("the controller has no node")?;
    let request = http::Request::get(format!("/api/v1/nodes/{node}/proxy/stats/summary")).body(Vec::new())?;
    let summary: Value = cluster.client().request(request).await?;
    let stats = summary["pods"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|stats| stats["podRef"]["uid"].as_str() == pod.metadata.uid.as_deref());
    let bytes = stats.and_then(|stats| stats["containers"][0]["memory"]["rssBytes"].as_f64());
    Ok(bytes.context("the kubelet tells nothing of the controller's memory")? / f64::from(1 << 20))
}
