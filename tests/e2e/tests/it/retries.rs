//! More than one try, and less time than a task would like.

use anyhow::{Context as _, Result};
use e2e::{Ran as _, in_space};
use ergon_api::TaskRun;

#[tokio::test]
async fn a_second_try_may_succeed() -> Result<()> {
    in_space("retry", async |space| {
        let run: TaskRun = space.run(&tries("flaky", "test $(context.task.retry-count) -eq 1")).await?;
        assert_eq!(run.reason(), "Succeeded", "{}", run.message());
        let status = run.status.as_ref().context("no status")?;
        assert_eq!(status.pod_name.as_deref(), Some("flaky-pod-retry1"));
        let [first] = &status.retries_status[..] else { anyhow::bail!("{:?}", status.retries_status) };
        assert_eq!(first.pod_name.as_deref(), Some("flaky-pod"));
        assert_eq!(first.condition().map(ergon_api::Condition::reason), Some("StepFailed"));
        assert_eq!(pods(space, &run).await?, ["flaky-pod", "flaky-pod-retry1"]);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_last_try_decides() -> Result<()> {
    in_space("retries", async |space| {
        let run: TaskRun =
            space.run(&tries("hopeless", "echo try $(context.task.retry-count); exit 1")).await?;
        assert_eq!(run.reason(), "StepFailed", "{}", run.message());
        assert_eq!(run.status.as_ref().context("no status")?.retries_status.len(), 2);
        assert_eq!(pods(space, &run).await?, ["hopeless-pod", "hopeless-pod-retry1", "hopeless-pod-retry2"]);
        // Every try keeps its log.
        assert_eq!(space.log("hopeless-pod", "step-try").await?, "try 0\n");
        assert_eq!(space.log("hopeless-pod-retry2", "step-try").await?, "try 2\n");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_task_that_takes_too_long_is_ended() -> Result<()> {
    in_space("timeout", async |space| {
        let run: TaskRun = space
            .run(
                r"
apiVersion: ergon.dev/v1
kind: TaskRun
metadata: {name: slow}
spec:
  timeout: 4s
  taskSpec:
    steps: [{name: slow, image: localhost/busybox:1, script: echo begun; sleep 300}]
",
            )
            .await?;
        assert_eq!(run.reason(), "TaskRunTimeout", "{}", run.message());
        assert_eq!(run.message(), "TaskRun \"slow\" failed to finish within \"4s\"");
        let step = &run.status.as_ref().context("no status")?.steps[0];
        assert_eq!(step.termination_reason.as_deref(), Some("TaskRunTimeout"));
        space.quiet().await?;
        assert!(space.log("slow-pod", "step-slow").await?.starts_with("begun\n"), "the log outlives the run");
        Ok(())
    })
    .await
}

async fn pods(space: &e2e::Space, run: &TaskRun) -> Result<Vec<String>> {
    Ok(space.pods(run).await?.iter().map(kube::ResourceExt::name_any).collect())
}

fn tries(name: &str, script: &str) -> String {
    format!(
        "
apiVersion: ergon.dev/v1
kind: TaskRun
metadata: {{name: {name}}}
spec:
  retries: 2
  taskSpec:
    steps: [{{name: try, image: localhost/busybox:1, script: '{script}'}}]
"
    )
}
