//! The value of a secret is in no log, status, spec, event or pod, whoever hands it to whom.

use anyhow::{Context as _, Result};
use e2e::{Ran as _, in_space};
use ergon_api::PipelineRun;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::ListParams;

const VALUE: &str = "correct horse & 'battery' staple";

/// A pipeline's secret goes to a task of its own, and from there into a variable, a tag and a StepAction.
fn run(fuse: &str) -> String {
    format!(
        r#"
apiVersion: v1
kind: Secret
metadata: {{name: registry}}
stringData: {{password: "{VALUE}"}}
---
apiVersion: ergon.dev/v1beta1
kind: StepAction
metadata: {{name: show}}
spec:
  image: localhost/busybox:1
  params: [{{name: password, type: secret}}]
  script: |
    printf '%s' {{{{params.password}}}} | wc -c
    printf 'action: %s\n' {{{{params.password}}}}
---
apiVersion: ergon.dev/v1
kind: PipelineRun
metadata: {{name: secrets}}
spec:
  fuse: {fuse}
  params: [{{name: password, value: {{secretKeyRef: {{name: registry, key: password}}}}}}]
  pipelineSpec:
    params: [{{name: password, type: secret}}]
    tasks:
    - name: first
      taskSpec:
        results: [{{name: length, type: number}}]
        steps:
        - name: tag
          image: localhost/busybox:1
          script: |
            printf 'tag: %s\n' {{{{params.password}}}}
            printf 'base64: %s\n' "$(printf 'x%s' {{{{params.password}}}} | base64 -w0)"
            printf '%s' {{{{params.password}}}} | wc -c > {{{{results.length.path}}}}
    - name: second
      params:
      - {{name: token, value: "{{{{params.password}}}}"}}
      - {{name: length, value: "{{{{tasks.first.results.length}}}}"}}
      taskSpec:
        params: [{{name: token, type: secret}}, {{name: length, type: number, minimum: 32, maximum: 32}}]
        steps:
        - name: variable
          image: localhost/busybox:1
          env: [{{name: TOKEN, value: "{{{{params.token}}}}"}}]
          command: [sh, -c, 'echo "variable: $TOKEN"; test ${{#TOKEN}} = 32']
        - name: action
          ref: {{name: show}}
          params: [{{name: password, value: "{{{{params.token}}}}"}}]
"#
    )
}

#[tokio::test]
async fn in_pods_of_their_own() -> Result<()> {
    nowhere("secrets-own", "never").await
}

#[tokio::test]
async fn in_a_pod_that_tasks_share() -> Result<()> {
    nowhere("secrets-shared", "pod").await
}

async fn nowhere(name: &str, fuse: &str) -> Result<()> {
    in_space(name, async |space| {
        let ended: PipelineRun = space.run(&run(fuse)).await?;
        assert_eq!(ended.reason(), "Succeeded", "{}", ended.message());
        let mut logs = String::new();
        let runs = space.children(&ended).await?;
        for task in &runs {
            logs += &space.step_logs(task).await?;
        }
        for line in ["tag: ***", "variable: ***", "action: ***", "32"] {
            assert!(logs.lines().any(|found| found == line), "no `{line}` in {logs}");
        }
        let base64 = logs.lines().find(|line| line.starts_with("base64: ")).context("no base64")?;
        assert!(base64.contains("***") && base64.len() < 20, "{base64}");
        let all = ListParams::default();
        let stored = [
            serde_json::to_string(&ended)?,
            serde_json::to_string(&runs)?,
            serde_json::to_string(&space.api::<Pod>().list(&all).await?.items)?,
            serde_json::to_string(&space.api::<Event>().list(&all).await?.items)?,
            logs,
        ];
        for text in &stored {
            assert!(!text.contains("battery"), "{text}");
        }
        Ok(())
    })
    .await
}
