//! What the controller uses: memory, processor time, and what it says of its writes.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use e2e::Cluster;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use serde_json::Value;

const NAMESPACE: &str = "ergon-system";
/// What the kernel counts processor time in, on every Linux that Kubernetes runs on.
const TICKS_A_SECOND: f64 = 100.0;

/// Counters by name and labels, such as `api_writes{verb="create",kind="Pod",result="ok"}`.
pub type Counters = BTreeMap<String, f64>;

/// The controller that runs in the cluster.
pub struct Controller {
    cluster: Cluster,
    pod: Pod,
    /// Its process, where the node is this machine.
    process: Option<u32>,
}

impl Controller {
    /// Finds it.
    pub async fn find(cluster: &Cluster) -> Result<Self> {
        let pods: Api<Pod> = Api::namespaced(cluster.client().clone(), NAMESPACE);
        let of_controller = ListParams::default().labels("app.kubernetes.io/component=controller");
        let runs = |pod: &Pod| {
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            phase == Some("Running") && pod.metadata.deletion_timestamp.is_none()
        };
        let all = pods.list(&of_controller).await?.items;
        let pod = all.into_iter().find(runs).context("no controller runs")?;
        let process = process(&pod.uid().unwrap_or_default());
        Ok(Self { cluster: cluster.clone(), pod, process })
    }

    /// Whether it still runs: figures of two controllers are none.
    pub async fn is_the_same(&self) -> Result<bool> {
        Ok(Self::find(&self.cluster).await?.pod.uid() == self.pod.uid())
    }

    /// Resident memory, in MiB: from this machine's processes where the node is this machine, otherwise as the kubelet
    /// tells it, which is up to ten seconds old.
    pub async fn memory(&self) -> Result<f64> {
        match self.process {
            Some(process) => memory_of(process).context("the controller has ended"),
            None => self.memory_of_kubelet().await,
        }
    }

    /// Processor time so far, in seconds; none where the node is another machine.
    pub fn processor(&self) -> Option<f64> {
        processor_of(self.process?)
    }

    /// What it has counted so far.
    pub async fn counters(&self) -> Result<Counters> {
        let ports =
            self.pod.spec.iter().flat_map(|spec| &spec.containers).flat_map(|one| one.ports.iter().flatten());
        let port = ports
            .clone()
            .find(|port| port.name.as_deref() == Some("http"))
            .context("it has no port `http`")?;
        let path = format!(
            "/api/v1/namespaces/{NAMESPACE}/pods/{}:{}/proxy/metrics",
            self.pod.name_any(),
            port.container_port
        );
        let text = self.cluster.client().request_text(http::Request::get(path).body(Vec::new())?).await?;
        let counter = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            let name = name.strip_prefix("ergon_")?;
            name.contains("_total").then_some((name.replace("_total", ""), value.parse().ok()?))
        };
        Ok(text.lines().filter(|line| !line.starts_with('#')).filter_map(counter).collect())
    }

    async fn memory_of_kubelet(&self) -> Result<f64> {
        let spec = self.pod.spec.as_ref();
        let node = spec.and_then(|spec| spec.node_name.as_deref()).context("the controller has no node")?;
        let request =
            http::Request::get(format!("/api/v1/nodes/{node}/proxy/stats/summary")).body(Vec::new())?;
        let summary: Value = self.cluster.client().request(request).await?;
        let stats = summary["pods"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|stats| stats["podRef"]["uid"].as_str() == self.pod.metadata.uid.as_deref());
        let bytes = stats.and_then(|stats| stats["containers"][0]["memory"]["rssBytes"].as_f64());
        Ok(bytes.context("the kubelet tells nothing of the controller's memory")? / f64::from(1 << 20))
    }
}

/// How often `name` was counted since `before`, by the values of these labels.
pub fn counted(before: &Counters, after: &Counters, name: &str, labels: &[&str]) -> BTreeMap<String, f64> {
    let mut sums = BTreeMap::new();
    for (counter, value) in after.iter().filter(|(counter, _)| counter.starts_with(name)) {
        let more = value - before.get(counter).unwrap_or(&0.0);
        let value_of = |label: &&str| {
            let value = counter.split_once(&format!("{label}=\""))?.1;
            value.split('"').next()
        };
        let values: Vec<&str> = labels.iter().filter_map(value_of).collect();
        if more > 0.0 {
            *sums.entry(values.join(" ")).or_insert(0.0) += more;
        }
    }
    sums
}

/// Processor time so far of the API server, in seconds; none where it runs on another machine, or more than one here.
pub fn api_server() -> Option<f64> {
    let ours = std::fs::read_link("/proc/self/ns/net").ok()?;
    let mut all =
        processes(|command| command.split('\0').take(2).any(|part| part.ends_with("kube-apiserver")));
    all.retain(|process| std::fs::read_link(format!("/proc/{process}/ns/net")).is_ok_and(|net| net == ours));
    if let [one] = all[..] { processor_of(one) } else { None }
}

/// The process of the controller whose cgroup is named after its pod.
fn process(uid: &str) -> Option<u32> {
    let with_underscores = uid.replace('-', "_");
    processes(|command| command.starts_with("/ergon-controller")).into_iter().find(|process| {
        let cgroup = std::fs::read_to_string(format!("/proc/{process}/cgroup")).unwrap_or_default();
        cgroup.contains(uid) || cgroup.contains(&with_underscores)
    })
}

/// The processes of this machine with such a command line, whose arguments each end with a zero byte.
fn processes(wanted: impl Fn(&str) -> bool) -> Vec<u32> {
    let is_wanted = |process: &u32| {
        let command = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        wanted(&String::from_utf8_lossy(&command))
    };
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_wanted).collect()
}

fn processor_of(process: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name in parentheses may have spaces. After it come the state (field 3) and so on; 14 and 15 are the times.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field - 3)?.parse::<f64>().ok();
    Some((ticks(14)? + ticks(15)?) / TICKS_A_SECOND)
}

fn memory_of(process: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(kibibytes.trim().trim_end_matches(" kB").parse::<f64>().ok()? / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_since() {
        let counters = |pods: f64, events: f64| {
            Counters::from([
                ("api_writes{verb=\"create\",kind=\"Pod\",result=\"ok\"}".to_owned(), pods),
                ("api_writes{verb=\"create\",kind=\"Pod\",result=\"error\"}".to_owned(), 1.0),
                ("api_writes{verb=\"create\",kind=\"Event\",result=\"ok\"}".to_owned(), events),
                ("reconciles{kind=\"Pod\"}".to_owned(), pods),
            ])
        };
        let counted = counted(&counters(1.0, 2.0), &counters(4.0, 2.0), "api_writes", &["verb", "kind"]);
        assert_eq!(counted, BTreeMap::from([("create Pod".to_owned(), 3.0)]));
    }
}
