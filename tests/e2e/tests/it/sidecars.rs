//! A service beside the steps: there before the first one, gone after the last one.

use anyhow::{Context as _, Result};
use e2e::{Ran as _, in_space, is_over};
use ergon_api::TaskRun;

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

fn phase(pod: &k8s_openapi::api::core::v1::Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}
