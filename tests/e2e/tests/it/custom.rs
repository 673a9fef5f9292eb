//! Custom tasks: the pipeline makes a CustomRun and waits, somebody else's controller carries it out. Here the test is it.

use anyhow::{Context as _, Result};
use e2e::{Ran as _, Space, in_group, in_space};
use ergon_api::{CustomRun, Group, ParamValue, PipelineRun};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

const RUN: &str = "
apiVersion: ergon.dev/v1
kind: PipelineRun
metadata: {name: release}
spec:
  params: [{name: version, value: '1.2'}]
  pipelineSpec:
    params: [{name: version}]
    tasks:
    - name: approve
      taskRef: {apiVersion: example.dev/v1, kind: Approval, name: managers}
      params: [{name: what, value: release $(params.version)}]
    - name: publish
      params: [{name: by, value: $(tasks.approve.results.by)}]
      taskSpec:
        params: [{name: by}]
        steps: [{name: say, image: localhost/busybox:1, script: test '$(params.by)' = ann}]
    results: [{name: by, value: $(tasks.approve.results.by)}]
";

#[tokio::test]
async fn the_pipeline_goes_on_with_the_results_of_a_custom_task() -> Result<()> {
    goes_on(Group::Ergon).await
}

#[tokio::test]
async fn so_it_does_under_tekton() -> Result<()> {
    goes_on(Group::Tekton).await
}

async fn goes_on(group: Group) -> Result<()> {
    in_space("custom", async |space| {
        let run: PipelineRun = space.start(&in_group(RUN, group)).await?;
        let custom = made(space, group).await?;
        assert_eq!(custom.api_version, group.beta_api_version());
        let reference = custom.spec.custom_ref.as_ref().context("no reference")?;
        assert_eq!(
            (reference.kind.as_deref(), reference.name.as_deref()),
            (Some("Approval"), Some("managers"))
        );
        let [what] = &custom.spec.params[..] else { anyhow::bail!("{:?}", custom.spec.params) };
        assert_eq!((&*what.name, &what.value), ("what", &ParamValue::from("release 1.2")));
        let labels = custom.metadata.labels.as_ref().context("no labels")?;
        assert_eq!(labels[&group.label("pipelineRun")], "release");
        assert_eq!(labels[&group.label("pipelineTask")], "approve");
        let owner = custom.metadata.owner_references.iter().flatten().next().context("no owner")?;
        assert_eq!((&*owner.kind, &*owner.uid), ("PipelineRun", run.uid()));

        answer(space, group, "True", "Approved", &json!([{"name": "by", "value": "ann"}])).await?;
        let run = space.ended(&run).await?;
        assert_eq!(run.reason(), "Succeeded", "{}", run.message());
        let status = run.status.as_ref().context("no status")?;
        let [by] = &status.results[..] else { anyhow::bail!("{:?}", status.results) };
        assert_eq!((&*by.name, &by.value), ("by", &ParamValue::from("ann")));
        let children: Vec<(&str, &str)> = status
            .child_references
            .iter()
            .map(|child| (child.kind.as_deref().unwrap_or_default(), &*child.name))
            .collect();
        assert_eq!(children, [("CustomRun", "release-approve"), ("TaskRun", "release-publish")]);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_refusal_fails_the_pipeline() -> Result<()> {
    in_space("custom-refused", async |space| {
        let run: PipelineRun = space.start(RUN).await?;
        made(space, Group::Ergon).await?;
        answer(space, Group::Ergon, "False", "Refused", &json!([])).await?;
        let run = space.ended(&run).await?;
        assert_eq!(run.reason(), "Failed", "{}", run.message());
        assert!(run.message().contains("Failed: 1"), "{}", run.message());
        space.no_pods().await
    })
    .await
}

#[tokio::test]
async fn a_cancelled_pipeline_asks_for_the_end_of_its_custom_task() -> Result<()> {
    in_space("custom-cancelled", async |space| {
        let run: PipelineRun = space.start(RUN).await?;
        let custom = made(space, Group::Ergon).await?;
        let cancel = json!({"spec": {"status": "Cancelled"}});
        space
            .ours::<PipelineRun>(Group::Ergon)
            .patch("release", &PatchParams::default(), &Patch::Merge(&cancel))
            .await?;
        space.run_when(&custom, "asked to end", CustomRun::is_cancelled).await?;
        answer(space, Group::Ergon, "False", "CustomRunCancelled", &json!([])).await?;
        let run = space.ended(&run).await?;
        assert_eq!(run.reason(), "Cancelled", "{}", run.message());
        space.no_pods().await
    })
    .await
}

/// The CustomRun, once it is there.
async fn made(space: &Space, group: Group) -> Result<CustomRun> {
    space.run_when(&CustomRun::new(group, "release-approve"), "made", |_| true).await
}

/// What the custom task's own controller says.
async fn answer(space: &Space, group: Group, status: &str, reason: &str, results: &Value) -> Result<()> {
    let condition =
        json!({"type": "Succeeded", "status": status, "reason": reason, "message": "said the test"});
    let status = json!({"status": {"conditions": [condition], "results": results}});
    space
        .ours::<CustomRun>(group)
        .patch_status("release-approve", &PatchParams::default(), &Patch::Merge(&status))
        .await?;
    Ok(())
}
