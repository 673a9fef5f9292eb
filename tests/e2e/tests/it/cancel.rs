//! A cancelled run ends soon, nothing of it goes on, and its logs stay.

use anyhow::{Context as _, Result};
use e2e::{Ran, Space, in_space};
use ergon_api::{PipelineRun, TaskRun};
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams};
use serde_json::json;

/// Two tasks of which the second follows the first, and a last one.
const PIPELINE_RUN: &str = r"
apiVersion: ergon.dev/v1
kind: PipelineRun
metadata: {name: work}
spec:
  fuse: FUSE
  pipelineSpec:
    tasks:
    - name: first
      taskSpec:
        steps: [{name: work, image: localhost/busybox:1, script: 'echo begun; sleep SECONDS'}]
    - name: second
      runAfter: [first]
      taskSpec:
        steps: [{name: work, image: localhost/busybox:1, script: 'true'}]
    finally:
    - name: last
      params: [{name: first, value: $(tasks.first.status)}]
      taskSpec:
        params: [{name: first}]
        steps: [{name: work, image: localhost/busybox:1, script: 'echo first: $(params.first)'}]
";

/// Whether the tasks share a pod, and the container of the first one's step.
struct Pods {
    fuse: &'static str,
    first_step: &'static str,
    /// The last task's pod and container.
    last: (&'static str, &'static str),
}

const OWN: Pods = Pods { fuse: "never", first_step: "step-work", last: ("work-last-pod", "step-work") };
const SHARED: Pods =
    Pods { fuse: "auto", first_step: "step-first-work", last: ("work-first-pod", "step-last-work") };

#[tokio::test]
async fn a_task_run() -> Result<()> {
    in_space("cancel-task", async |space| {
        let run: TaskRun = space
            .start(
                r"
apiVersion: ergon.dev/v1
kind: TaskRun
metadata: {name: work}
spec:
  retries: 3
  taskSpec:
    steps:
    - {name: work, image: localhost/busybox:1, script: echo begun; sleep 300}
    - {name: never, image: localhost/busybox:1, script: echo not reached}
",
            )
            .await?;
        space.wrote("work-pod", "step-work", "begun").await?;
        set_status(space, &run, "TaskRunCancelled").await?;
        let run = space.ended(&run).await?;
        assert_eq!(run.reason(), "TaskRunCancelled", "{}", run.message());
        let status = run.status.as_ref().context("no status")?;
        assert!(status.steps.iter().all(|step| step.terminated.is_some()), "{:?}", status.steps);
        assert!(status.retries_status.is_empty(), "a cancelled run is not tried again");
        space.quiet().await?;
        assert!(space.log("work-pod", "step-work").await?.starts_with("begun\n"));
        assert!(!space.log("work-pod", "step-never").await?.contains("not reached"));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_pipeline_run_at_once() -> Result<()> {
    at_once("cancel-now", &OWN).await
}

#[tokio::test]
async fn a_pipeline_run_at_once_whose_tasks_share_a_pod() -> Result<()> {
    at_once("cancel-shared-now", &SHARED).await
}

async fn at_once(name: &str, pods: &Pods) -> Result<()> {
    in_space(name, async |space| {
        let run = cancelled(space, pods, 300, "Cancelled").await?;
        assert_eq!(run.reason(), "Cancelled", "{}", run.message());
        assert_eq!(reasons(space, &run).await?, [("work-first".to_owned(), "TaskRunCancelled".to_owned())]);
        assert!(space.log("work-first-pod", pods.first_step).await?.starts_with("begun\n"));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_pipeline_run_with_its_final_tasks() -> Result<()> {
    with_final_tasks("cancel-finally", &OWN).await
}

#[tokio::test]
async fn a_pipeline_run_with_its_final_tasks_whose_others_share_a_pod() -> Result<()> {
    with_final_tasks("cancel-shared-finally", &SHARED).await
}

async fn with_final_tasks(name: &str, pods: &Pods) -> Result<()> {
    in_space(name, async |space| {
        let run = cancelled(space, pods, 300, "CancelledRunFinally").await?;
        assert_eq!(run.reason(), "Cancelled", "{}", run.message());
        let expected = [("work-first", "TaskRunCancelled"), ("work-last", "Succeeded")];
        assert_eq!(reasons(space, &run).await?, expected.map(|(name, reason)| (name.into(), reason.into())));
        assert_eq!(space.log(pods.last.0, pods.last.1).await?, "first: Failed\n");
        assert_eq!(skipped(&run), [("second", "PipelineRun was gracefully cancelled")]);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_pipeline_run_once_its_tasks_have_ended() -> Result<()> {
    in_space("stop-finally", async |space| {
        let run = cancelled(space, &OWN, 5, "StoppedRunFinally").await?;
        assert_eq!(run.reason(), "Cancelled", "{}", run.message());
        let expected = [("work-first", "Succeeded"), ("work-last", "Succeeded")];
        assert_eq!(reasons(space, &run).await?, expected.map(|(name, reason)| (name.into(), reason.into())));
        assert_eq!(space.log("work-last-pod", "step-work").await?, "first: Succeeded\n");
        assert_eq!(skipped(&run), [("second", "PipelineRun was gracefully stopped")]);
        Ok(())
    })
    .await
}

/// The run, cancelled in this way while its first task runs, once it has ended and nothing of it runs.
async fn cancelled(space: &Space, pods: &Pods, seconds: u32, how: &str) -> Result<PipelineRun> {
    let run: PipelineRun = space
        .start(&PIPELINE_RUN.replace("SECONDS", &seconds.to_string()).replace("FUSE", pods.fuse))
        .await?;
    space
        .run_when(&run, "running", |run| run.status.iter().any(|status| !status.child_references.is_empty()))
        .await?;
    space.wrote("work-first-pod", pods.first_step, "begun").await?;
    set_status(space, &run, how).await?;
    let run = space.ended(&run).await?;
    space.quiet().await?;
    Ok(run)
}

async fn set_status<K: Ran>(space: &Space, run: &K, status: &str) -> Result<()> {
    let patch = Patch::Merge(json!({"spec": {"status": status}}));
    space.ours::<K>(run.group_of()).patch(&run.name_any(), &PatchParams::default(), &patch).await?;
    Ok(())
}

async fn reasons(space: &Space, run: &PipelineRun) -> Result<Vec<(String, String)>> {
    let children = space.children(run).await?;
    Ok(children.iter().map(|child| (child.name().to_owned(), child.reason().to_owned())).collect())
}

fn skipped(run: &PipelineRun) -> Vec<(&str, &str)> {
    run.status
        .iter()
        .flat_map(|status| &status.skipped_tasks)
        .map(|task| (&*task.name, &*task.reason))
        .collect()
}
