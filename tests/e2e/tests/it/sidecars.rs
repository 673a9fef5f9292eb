//! A service beside the steps: there before the first one, gone after the last one.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use e2e::{Ran as _, in_group, in_space, is_over};
use ergon_api::{Group, TaskRun};

#[tokio::test]
async fn a_sidecar_is_ready_first_and_ends_with_the_pod() -> Result<()> {
    in_space("sidecar", async |space| {
        let run: TaskRun = space
            .run(
                r"
apiVersion: ergon.dev/v1
kind: TaskRun
metadata: {name: served}
spec:
  taskSpec:
    sidecars:
    - name: web
      image: localhost/busybox:1
      # It is slow to start on purpose: a step that does not wait for it fails.
      script: |
        mkdir -p /workspace/www
        echo served > /workspace/www/index.html
        sleep 2
        exec httpd -f -p 8080 -h /workspace/www
      readinessProbe:
        periodSeconds: 1
        failureThreshold: 30
        tcpSocket: {port: 8080}
    results: [{name: page}]
    steps:
    - name: fetch
      image: localhost/busybox:1
      script: wget -q -O $(results.page.path) http://127.0.0.1:8080/index.html
    - name: fetch-again
      image: localhost/busybox:1
      script: wget -q -O - http://localhost:8080/index.html
",
            )
            .await?;
        assert_eq!(run.reason(), "Succeeded", "{}", run.message());
        let status = run.status.as_ref().context("no status")?;
        assert_eq!(status.results[0].value, "served\n".into());
        let sidecars: Vec<(&str, &str)> =
            status.sidecars.iter().map(|sidecar| (&*sidecar.name, &*sidecar.container)).collect();
        assert_eq!(sidecars, [("web", "sidecar-web")]);
        let pod = space.pod_when("served-pod", "over", is_over).await?;
        assert_eq!(phase(&pod), "Succeeded", "a sidecar that is ended is no failure");
        space.quiet().await
    })
    .await
}

/// Sidecars that only the agent starts and ends: one that would run forever, and one that ends at once.
const PLAIN: &str = r"
apiVersion: ergon.dev/v1
kind: TaskRun
metadata: {name: plain}
spec:
  taskSpec:
    sidecars:
    - name: forever
      image: localhost/busybox:1
      script: |
        trap 'echo told to end; exit 3' TERM
        echo up
        sleep 1000 & wait
    - name: early
      image: localhost/busybox:1
      command: [sh, -c, exit 7]
    steps:
    - name: a
      image: localhost/busybox:1
      # Long enough for the other one to end by itself.
      command: [sh, -c]
      args: [sleep 1]
";

#[tokio::test]
async fn plain_sidecars_of_ergon() -> Result<()> {
    plain_sidecars(Group::Ergon).await
}

#[tokio::test]
async fn plain_sidecars_of_tekton() -> Result<()> {
    plain_sidecars(Group::Tekton).await
}

async fn plain_sidecars(group: Group) -> Result<()> {
    in_space("plain-sidecars", async |space| {
        let run: TaskRun = space.run(&in_group(PLAIN, group)).await?;
        assert_eq!(run.reason(), "Succeeded", "{}", run.message());
        let pod = space.pod_when("plain-pod", "over", is_over).await?;
        let status = pod.status.as_ref().context("no status")?;
        let codes: BTreeMap<&str, i32> = status
            .container_statuses
            .iter()
            .flatten()
            .filter(|container| container.name != "ergon-agent")
            .filter_map(|container| {
                let end = container.state.as_ref()?.terminated.as_ref()?;
                Some((container.name.as_str(), end.exit_code))
            })
            .collect();
        assert_eq!(codes, [("sidecar-early", 7), ("sidecar-forever", 0), ("step-a", 0)].into());
        // Who counts a Tekton pod's containers finds what its task has.
        let count = status.container_statuses.iter().flatten().count();
        assert_eq!(count, if group == Group::Tekton { 3 } else { 4 });
        assert_eq!(space.log("plain-pod", "sidecar-forever").await?.trim(), "up\ntold to end");
        let ended = space
            .run_when(&run, "told how its sidecars ended", |run: &TaskRun| {
                let sidecars = run.status.iter().flat_map(|status| &status.sidecars);
                sidecars.filter(|sidecar| sidecar.terminated.is_some()).count() == 2
            })
            .await?;
        let status = ended.status.as_ref().context("no status")?;
        let ends: Vec<(&str, i32)> = status
            .sidecars
            .iter()
            .map(|sidecar| (&*sidecar.name, sidecar.terminated.as_ref().map_or(-1, |end| end.exit_code)))
            .collect();
        assert_eq!(ends, [("forever", 0), ("early", 7)]);
        space.quiet().await
    })
    .await
}

fn phase(pod: &k8s_openapi::api::core::v1::Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}
