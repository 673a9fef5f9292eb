//! Pipelines in pipelines: a child run each, with its parameters, workspaces and results.

use anyhow::{Context as _, Result};
use e2e::{Ran as _, Space, in_group, in_space};
use ergon_api::{Group, ParamValue, PipelineRun, TaskRun};

const RUN: &str = "
apiVersion: ergon.dev/v1
kind: Pipeline
metadata: {name: build}
spec:
  params: [{name: what}]
  workspaces: [{name: files}]
  tasks:
  - name: make
    params: [{name: what, value: $(params.what)}]
    workspaces: [{name: files, workspace: files}]
    taskSpec:
      params: [{name: what}]
      workspaces: [{name: files}]
      results: [{name: made}]
      steps:
      - name: make
        image: localhost/busybox:1
        script: |
          cat $(workspaces.files.path)/prefix > $(results.made.path)
          printf %s '$(params.what)' >> $(results.made.path)
  results: [{name: made, value: $(tasks.make.results.made)}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: files}
data: {prefix: 'made '}
---
apiVersion: ergon.dev/v1
kind: PipelineRun
metadata: {name: outer}
spec:
  workspaces: [{name: files, configMap: {name: files}}]
  pipelineSpec:
    workspaces: [{name: files}]
    tasks:
    - name: named
      pipelineRef: {name: build}
      params: [{name: what, value: app}]
      workspaces: [{name: files, workspace: files}]
    - name: inline
      runAfter: [named]
      params: [{name: by, value: outer}]
      pipelineSpec:
        params: [{name: by}]
        tasks:
        - name: check
          params: [{name: by, value: $(params.by)}]
          taskSpec:
            params: [{name: by}]
            steps: [{name: check, image: localhost/busybox:1, script: test '$(params.by)' = outer}]
    results: [{name: made, value: $(tasks.named.results.made)}]
";

#[tokio::test]
async fn a_child_pipeline_gets_and_gives_values() -> Result<()> {
    gets_and_gives(Group::Ergon).await
}

#[tokio::test]
async fn a_child_pipeline_of_tekton_does_so_too() -> Result<()> {
    gets_and_gives(Group::Tekton).await
}

async fn gets_and_gives(group: Group) -> Result<()> {
    in_space("nested", async |space| {
        let run: PipelineRun = space.run(&in_group(RUN, group)).await?;
        assert_eq!(run.reason(), "Succeeded", "{}", run.message());
        let status = run.status.as_ref().context("no status")?;
        let [made] = &status.results[..] else { anyhow::bail!("{:?}", status.results) };
        assert_eq!(made.value, ParamValue::from("made app"));
        let children: Vec<(&str, &str)> = status
            .child_references
            .iter()
            .map(|child| (child.kind.as_deref().unwrap_or_default(), &*child.name))
            .collect();
        assert_eq!(children, [("PipelineRun", "outer-named"), ("PipelineRun", "outer-inline")]);
        let named = child(space, group, "outer-named").await?;
        assert_eq!(named.reason(), "Succeeded", "{}", named.message());
        let owner = named.metadata.owner_references.iter().flatten().next().context("no owner")?;
        assert_eq!(owner.uid, run.uid());
        let tasks = space.children(&named).await?;
        assert_eq!(tasks.iter().map(TaskRun::name).collect::<Vec<_>>(), ["outer-named-make"]);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_failed_child_pipeline_fails_its_parent() -> Result<()> {
    in_space("nested-failed", async |space| {
        let run: PipelineRun = space
            .run(
                "
apiVersion: ergon.dev/v1
kind: PipelineRun
metadata: {name: outer}
spec:
  pipelineSpec:
    tasks:
    - name: inner
      pipelineSpec:
        tasks:
        - {name: fail, taskSpec: {steps: [{name: fail, image: localhost/busybox:1, script: exit 3}]}}
    - name: after
      runAfter: [inner]
      taskSpec: {steps: [{name: a, image: localhost/busybox:1, script: 'true'}]}
",
            )
            .await?;
        assert_eq!(run.reason(), "Failed", "{}", run.message());
        let inner = child(space, Group::Ergon, "outer-inner").await?;
        assert_eq!(inner.reason(), "Failed", "{}", inner.message());
        assert!(space.children(&run).await?.is_empty(), "what follows was not run");
        Ok(())
    })
    .await
}

async fn child(space: &Space, group: Group, name: &str) -> Result<PipelineRun> {
    Ok(space.ours::<PipelineRun>(group).get(name).await?)
}
