//! Limit ranges: pods are what the namespace asks for, and a run that asks for less is told.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use e2e::{Ran as _, Space, in_group, in_space};
use ergon_api::{Group, TaskRun};
use k8s_openapi::api::core::v1::Pod;

const RANGE: &str = "
apiVersion: v1
kind: LimitRange
metadata: {name: range}
spec:
  limits:
  - type: Container
    min: {cpu: 20m, memory: 24Mi}
    defaultRequest: {cpu: 80m, memory: 64Mi}
    default: {cpu: 900m, memory: 256Mi}
";

fn run(steps: &str) -> String {
    format!(
        "
apiVersion: ergon.dev/v1
kind: TaskRun
metadata: {{name: limited}}
spec:
  taskSpec:
    steps: [{steps}]
"
    )
}

const SILENT: &str = "{name: a, image: localhost/busybox:1, script: 'true'}, {name: b, image: localhost/busybox:1, script: 'true'}";

#[tokio::test]
async fn steps_that_ask_for_nothing_share_the_default() -> Result<()> {
    share(Group::Ergon).await
}

#[tokio::test]
async fn steps_of_tekton_share_it_too() -> Result<()> {
    share(Group::Tekton).await
}

async fn share(group: Group) -> Result<()> {
    in_space("limits", async |space| {
        space.apply(RANGE).await?;
        let run: TaskRun = space.run(&in_group(&run(SILENT), group)).await?;
        assert_eq!(run.reason(), "Succeeded", "{}", run.message());
        let requests = requests(space, &run).await?;
        assert_eq!(requests["step-a"], "cpu=40m memory=32Mi");
        assert_eq!(requests["step-b"], "cpu=40m memory=32Mi");
        assert_eq!(requests["ergon-agent"], "cpu=20m memory=24Mi");
        Ok(())
    })
    .await
}

/// Only the largest request of steps that run one after another is kept: the others have no less than the least.
#[tokio::test]
async fn what_is_left_of_a_step_s_request_is_the_least() -> Result<()> {
    in_space("limits-peak", async |space| {
        space.apply(RANGE).await?;
        let steps = "\
            {name: a, image: localhost/busybox:1, script: 'true', computeResources: {requests: {cpu: 70m}}}, \
            {name: b, image: localhost/busybox:1, script: 'true', computeResources: {requests: {cpu: 30m}}}";
        let run: TaskRun = space.run(&run(steps)).await?;
        assert_eq!(run.reason(), "Succeeded", "{}", run.message());
        let requests = requests(space, &run).await?;
        assert!(requests["step-a"].starts_with("cpu=70m "), "{requests:?}");
        assert!(requests["step-b"].starts_with("cpu=20m "), "{requests:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_step_that_asks_for_less_than_the_least_fails_with_the_reason() -> Result<()> {
    in_space("limits-less", async |space| {
        space.apply(RANGE).await?;
        let steps =
            "{name: a, image: localhost/busybox:1, script: 'true', computeResources: {requests: {cpu: 5m}}}";
        let run: TaskRun = space.run(&run(steps)).await?;
        assert!(["PodCreationFailed", "PodAdmissionFailed"].contains(&run.reason()), "{}", run.reason());
        assert!(run.message().contains("minimum cpu usage per Container is 20m"), "{}", run.message());
        space.no_pods().await
    })
    .await
}

/// The containers' requests, as the API server took them.
async fn requests(space: &Space, run: &TaskRun) -> Result<BTreeMap<String, String>> {
    let pods: Vec<Pod> = space.pods(run).await?;
    let spec = pods.first().context("no pod")?.spec.as_ref().context("no spec")?;
    let told = spec.containers.iter().map(|container| {
        let requests = container.resources.as_ref().and_then(|resources| resources.requests.clone());
        let told: Vec<String> =
            requests.into_iter().flatten().map(|(name, quantity)| format!("{name}={}", quantity.0)).collect();
        (container.name.clone(), told.join(" "))
    });
    Ok(told.collect())
}
