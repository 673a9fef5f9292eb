//! Two replicas of the controller: they share the runs, and when one is gone the other takes over what it had.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::{Ran as _, Space, in_space_alone, until};
use ergon_api::{PipelineRun, TaskRun};
use futures::future::try_join_all;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;

/// The namespace that Ergon is installed in.
const SYSTEM: &str = "ergon-system";
/// As many that all of them with one replica is as good as impossible: 2 of 4,096.
const RUNS: usize = 12;
/// The runs of a replica that is gone go on within this.
const TAKEN_OVER: Duration = Duration::from_secs(15);
/// How long replicas may take to start, and to agree.
const SETTLED: Duration = Duration::from_mins(1);

#[tokio::test]
async fn a_lost_replicas_runs_go_on_elsewhere() -> Result<()> {
    in_space_alone("replicas", async |space| {
        let outcome = lose_one_of_two(space).await;
        // For the tests that follow.
        scale(space, 1).await?;
        outcome
    })
    .await
}

async fn lose_one_of_two(space: &Space) -> Result<()> {
    scale(space, 2).await?;
    let replicas = members(space).await?;
    let before = done_by(space, &replicas).await?;
    let runs: Vec<PipelineRun> =
        try_join_all((0..RUNS).map(|number| async move { space.start(&manifest(number)).await })).await?;
    // The first tasks run, and end on their own while there is one replica less.
    try_join_all((0..RUNS).map(|number| async move {
        space.wrote(&format!("r{number}-first-pod"), "step-work", "begun").await
    }))
    .await?;
    for (replica, now) in done_by(space, &replicas).await? {
        ensure!(now > before[&replica], "{replica} worked on none of {RUNS} runs");
    }
    let lost = replicas.first().context("no replica")?;
    let pods: Api<Pod> = Api::namespaced(space.client(), SYSTEM);
    pods.delete(lost, &DeleteParams::default().grace_period(0)).await?;
    let gone = Timestamp::now();
    for run in &runs {
        let run = space.ended(run).await?;
        ensure!(run.reason() == "Succeeded", "{}: {}", run.name(), run.message());
        let children = space.children(&run).await?;
        let times: BTreeMap<&str, &TaskRun> = children.iter().map(|child| (child.name(), child)).collect();
        ensure!(times.len() == 2, "{}: {:?}", run.name(), times.keys());
        let made = |task: &str| times.get(format!("{}-{task}", run.name()).as_str()).copied();
        let first = made("first").and_then(|first| first.status.as_ref()?.completion_time.clone());
        let second = made("second").and_then(|second| second.metadata.creation_timestamp.clone());
        let (first, second) = first.zip(second).context("a task has no times")?;
        let waited = second.0.duration_since(gone.max(first.0));
        // A timestamp of the API server has whole seconds.
        ensure!(
            waited.as_secs() < i64::try_from(TAKEN_OVER.as_secs())?,
            "{}: its second task came {waited:#} after the replica was gone and the first had ended",
            run.name()
        );
    }
    Ok(())
}

fn manifest(number: usize) -> String {
    format!(
        "
apiVersion: ergon.dev/v1
kind: PipelineRun
metadata: {{name: r{number}}}
spec:
  fuse: never
  pipelineSpec:
    tasks:
    - name: first
      taskSpec: {{steps: [{{name: work, image: localhost/busybox:1, script: echo begun; sleep 4}}]}}
    - name: second
      runAfter: [first]
      taskSpec: {{steps: [{{name: work, image: localhost/busybox:1, script: 'true'}}]}}
"
    )
}

/// Sets the number of replicas and waits until so many serve.
async fn scale(space: &Space, replicas: i32) -> Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(space.client(), SYSTEM);
    let name = "ergon-controller";
    let patch = json!({"spec": {"replicas": replicas}});
    deployments.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
    let are_there = |deployment: Option<&Deployment>| {
        let status = deployment.and_then(|deployment| deployment.status.as_ref());
        status.is_some_and(|status| {
            (status.replicas, status.available_replicas) == (Some(replicas), Some(replicas))
        })
    };
    until(deployments, name, "scaled", SETTLED, are_there).await.map(drop)
}

/// The names of the controller's pods, once each of them goes by all of them.
async fn members(space: &Space) -> Result<Vec<String>> {
    let pods: Api<Pod> = Api::namespaced(space.client(), SYSTEM);
    let of_controller = ListParams::default().labels("app.kubernetes.io/component=controller");
    let names: Vec<String> =
        pods.list(&of_controller).await?.items.iter().map(ResourceExt::name_any).collect();
    ensure!(names.len() == 2, "not two replicas: {names:?}");
    for name in &names {
        let leases: Api<Lease> = Api::namespaced(space.client(), SYSTEM);
        let knows_all = |lease: Option<&Lease>| {
            let members = lease.and_then(|lease| lease.annotations().get("ergon.dev/members"));
            let members: BTreeSet<&str> =
                members.into_iter().flat_map(|members| members.split(',')).collect();
            names.iter().all(|name| members.contains(name.as_str()))
        };
        until(leases, name, "sharing with the other", SETTLED, knows_all).await?;
    }
    Ok(names)
}

/// How many reconciles each replica has done.
async fn done_by(space: &Space, replicas: &[String]) -> Result<BTreeMap<String, f64>> {
    let pods: Api<Pod> = Api::namespaced(space.client(), SYSTEM);
    let mut done = BTreeMap::new();
    for name in replicas {
        let pod = pods.get(name).await?;
        let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
        let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
        let port = ports.find(|port| port.name.as_deref() == Some("http")).context("no port `http`")?;
        let path = format!("/api/v1/namespaces/{SYSTEM}/pods/{name}:{}/proxy/metrics", port.container_port);
        let text = space.client().request_text(http::Request::get(path).body(Vec::new())?).await?;
        let counts = text.lines().filter(|line| line.starts_with("ergon_reconciles_total{"));
        let counts = counts.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
        done.insert(name.clone(), counts.sum());
    }
    Ok(done)
}
