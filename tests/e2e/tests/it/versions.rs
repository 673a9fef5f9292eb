//! Objects in Tekton's older versions are taken, run, and given back in whichever version is asked for.

use anyhow::Result;
use e2e::{Space, in_space};
use ergon_api::PipelineRun;
use serde_json::{Value, json};

const RUN: &str = "
apiVersion: tekton.dev/v1beta1
kind: PipelineRun
metadata: {name: older}
spec:
  serviceAccountName: default
  timeout: 1h
  pipelineSpec:
    results: [{name: word, value: $(tasks.say.results.word)}]
    tasks:
    - name: say
      taskSpec:
        results: [{name: word}]
        steps:
        - name: say
          image: localhost/busybox:1
          script: printf hello > $(results.word.path)
          resources: {requests: {cpu: 10m}}
          tty: true
";

#[tokio::test]
async fn an_older_run_is_carried_out_and_read_in_both_versions() -> Result<()> {
    in_space("older", async |space| {
        let run: PipelineRun = space.run(RUN).await?;
        assert_eq!(run.api_version, "tekton.dev/v1");
        let newer = read(space, "pipelineruns.v1.tekton.dev").await?;
        assert_eq!(newer["spec"]["taskRunTemplate"]["serviceAccountName"], "default");
        assert_eq!(newer["spec"]["timeouts"]["pipeline"], "1h");
        let older = read(space, "pipelineruns.v1beta1.tekton.dev").await?;
        assert_eq!(older["spec"]["serviceAccountName"], "default");
        let step = &older["spec"]["pipelineSpec"]["tasks"][0]["taskSpec"]["steps"][0];
        assert_eq!((&step["resources"], &step["tty"]), (&json!({"requests": {"cpu": "10m"}}), &json!(true)));
        assert_eq!(older["status"]["pipelineResults"], newer["status"]["results"]);
        assert_eq!(older["status"]["pipelineResults"], json!([{"name": "word", "value": "hello"}]));
        assert_eq!(older["metadata"]["annotations"].get("ergon.dev/v1beta1"), None);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_an_older_version_cannot_have_is_refused() -> Result<()> {
    in_space("older-refused", async |space| {
        let task = |extra: &str| {
            format!(
                "{{apiVersion: tekton.dev/v1beta1, kind: Task, metadata: {{name: t}}, \
                 spec: {{steps: [{{image: localhost/busybox:1}}], {extra}}}}}"
            )
        };
        for (extra, words) in [
            ("resources: {inputs: []}", "must not set the field(s): spec.resources"),
            ("stepTemplate: {computeResources: {}}", "unknown field \"spec.stepTemplate.computeResources\""),
        ] {
            let create = ["--namespace", space.name(), "create", "-f", "-"];
            let said = space.cluster().kubectl(&create, &task(extra)).await?;
            assert_ne!(said.code, Some(0), "{extra}");
            assert!(said.stderr.contains(words), "{extra}: {}", said.stderr);
        }
        Ok(())
    })
    .await
}

async fn read(space: &Space, resource: &str) -> Result<Value> {
    Ok(serde_json::from_str(&space.kubectl(&["get", resource, "older", "-o", "json"]).await?)?)
}
