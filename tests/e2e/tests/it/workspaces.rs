//! Folders that tasks share, from every kind of volume.

use anyhow::{Context as _, Result};
use e2e::{Ran as _, in_space};
use ergon_api::{Group, PipelineRun, TaskRun};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::Api;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, ListParams};

#[tokio::test]
async fn volumes_of_one_pod() -> Result<()> {
    in_space("volumes", async |space| {
        let run: TaskRun = space
            .run(
                r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: blue}
---
apiVersion: v1
kind: Secret
metadata: {name: password}
stringData: {word: sesame}
---
apiVersion: ergon.dev/v1
kind: TaskRun
metadata: {name: volumes}
spec:
  workspaces:
  - {name: scratch, emptyDir: {}}
  - {name: settings, configMap: {name: settings}}
  - {name: password, secret: {secretName: password}}
  - {name: isolated, emptyDir: {}}
  - {name: fixed, emptyDir: {}}
  taskSpec:
    workspaces:
    - {name: scratch}
    - {name: settings, mountPath: /etc/settings}
    - {name: password}
    - {name: isolated}
    - {name: fixed, readOnly: true}
    - {name: absent, optional: true}
    results: [{name: sum}]
    steps:
    - name: write
      image: localhost/busybox:1
      workspaces: [{name: isolated, mountPath: /private}]
      script: |
        cat $(workspaces.settings.path)/colour $(workspaces.password.path)/word > $(workspaces.scratch.path)/both
        touch /private/mine
    - name: read
      image: localhost/busybox:1
      script: |
        test ! -e $(workspaces.isolated.path) || { echo the isolated one is here; exit 1; }
        if touch $(workspaces.fixed.path)/file; then echo the read-only one was written to; exit 1; fi
        echo "bound: $(workspaces.absent.bound) path: '$(workspaces.absent.path)' $(workspaces.scratch.bound)"
        cat $(workspaces.scratch.path)/both > $(results.sum.path)
"#,
            )
            .await?;
        assert_eq!(run.reason(), "Succeeded", "{}\n{}", run.message(), space.step_logs(&run).await?);
        let log = space.step_logs(&run).await?;
        assert!(log.contains("bound: false path: '' true"), "{log}");
        assert!(log.contains("Read-only file system"), "{log}");
        let status = run.status.context("no status")?;
        assert_eq!(status.results[0].value, "bluesesame".into());
        Ok(())
    })
    .await
}

/// A claim made for the run carries files from task to task, with sub-paths, and goes with the run.
#[tokio::test]
async fn a_claim_for_one_run() -> Result<()> {
    in_space("claim", async |space| {
        let run: PipelineRun = space
            .run(
                r"
apiVersion: ergon.dev/v1
kind: PipelineRun
metadata: {name: shared}
spec:
  fuse: never
  workspaces:
  - name: shared
    volumeClaimTemplate:
      spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
  pipelineSpec:
    workspaces: [{name: shared}]
    results: [{name: seen, value: $(tasks.read.results.seen)}]
    tasks:
    - name: write
      workspaces: [{name: out, workspace: shared, subPath: inner}]
      taskSpec:
        workspaces: [{name: out}]
        steps: [{name: write, image: localhost/busybox:1, script: echo carried > $(workspaces.out.path)/file}]
    - name: read
      runAfter: [write]
      workspaces: [{name: shared}]
      taskSpec:
        workspaces: [{name: shared}]
        results: [{name: seen}]
        steps: [{name: read, image: localhost/busybox:1, script: cat $(workspaces.shared.path)/inner/file | tee $(results.seen.path)}]
",
            )
            .await?;
        assert_eq!(run.reason(), "Succeeded", "{}", run.message());
        assert_eq!(run.status.as_ref().context("no status")?.results[0].value, "carried\n".into());
        let claims: Api<PersistentVolumeClaim> = space.api();
        let made = claims.list(&ListParams::default()).await?.items;
        let [claim] = &made[..] else { anyhow::bail!("there are {} claims", made.len()) };
        let runs: Api<PipelineRun> = space.ours(Group::Ergon);
        runs.delete(run.name(), &DeleteParams::background()).await?;
        space.gone::<PersistentVolumeClaim>(&claim.name_any()).await
    })
    .await
}

/// A claim that exists is used as it is, by several tasks at once, and stays.
#[tokio::test]
async fn a_claim_that_exists() -> Result<()> {
    in_space("existing-claim", async |space| {
        let run: PipelineRun = space
            .run(
                r#"
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: cache}
spec: {accessModes: [ReadWriteMany], resources: {requests: {storage: 1Mi}}}
---
apiVersion: ergon.dev/v1
kind: PipelineRun
metadata: {name: cached}
spec:
  workspaces: [{name: cache, persistentVolumeClaim: {claimName: cache}, subPath: $(context.pipelineRun.name)}]
  pipelineSpec:
    workspaces: [{name: cache}]
    tasks:
    - name: one
      workspaces: [{name: cache}]
      taskSpec:
        workspaces: [{name: cache}]
        steps: [{name: write, image: localhost/busybox:1, script: echo 1 > $(workspaces.cache.path)/one}]
    - name: two
      workspaces: [{name: cache}]
      taskSpec:
        workspaces: [{name: cache}]
        steps: [{name: write, image: localhost/busybox:1, script: echo 2 > $(workspaces.cache.path)/two}]
    finally:
    - name: count
      workspaces: [{name: cache}]
      taskSpec:
        workspaces: [{name: cache}]
        steps: [{name: count, image: localhost/busybox:1, script: 'test "$(cat $(workspaces.cache.path)/* | tr -d "\n")" = 12'}]
"#,
            )
            .await?;
        assert_eq!(run.reason(), "Succeeded", "{}", run.message());
        let claims: Api<PersistentVolumeClaim> = space.api();
        let claim = claims.get("cache").await?;
        assert!(claim.owner_references().is_empty(), "the user's own claim must outlive the run");
        Ok(())
    })
    .await
}
