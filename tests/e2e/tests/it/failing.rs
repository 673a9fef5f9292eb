//! Runs that cannot succeed for a reason that shows only in the cluster: each file in `data/failing` says which, as
//! `# expect: <reason>: <part of the message>`. All of them at the same time, in one namespace, and nothing goes on.

use anyhow::{Context as _, Result, bail};
use e2e::{Ran, Space, documents, expectation, in_space};
use ergon_api::{Group, PipelineRun, TaskRun};
use futures::future::join_all;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt as _};
use serde_json::Value;

use crate::refused::files;

#[tokio::test]
async fn runs_fail_in_words() -> Result<()> {
    in_space("failing", async |space| {
        let mut texts = Vec::new();
        for file in files("failing")? {
            let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            texts.push((name, std::fs::read_to_string(&file)?));
        }
        let failures = join_all(texts.iter().map(async |(name, text)| {
            let result = check(space, text).await;
            result.err().map(|error| format!("{name}: {error:#}"))
        }))
        .await;
        let wrong: Vec<String> = failures.into_iter().flatten().collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        for run in space.ours::<TaskRun>(Group::Ergon).list(&ListParams::default()).await? {
            assert!(run.is_done(), "{} goes on", run.name());
        }
        space.quiet().await
    })
    .await
}

async fn check(space: &Space, text: &str) -> Result<()> {
    let expected = expectation(text, "expect").context("no `# expect: ` line")?;
    let (reason, message) = expected.split_once(": ").context("`# expect: ` is not `<reason>: <message>`")?;
    let object: Value = documents(text)?.pop().context("is empty")?;
    match object["kind"].as_str() {
        Some("TaskRun") => {
            let run: TaskRun = space.run(text).await?;
            if let Some(log) = expectation(text, "log") {
                let written = space.step_logs(&run).await?;
                anyhow::ensure!(written.contains(log), "the log has no `{log}`: {written}");
            }
            said(&run, reason, message)
        }
        Some("PipelineRun") => said(&space.run::<PipelineRun>(text).await?, reason, message),
        kind => bail!("{kind:?} is no run"),
    }
}

fn said<K: Ran>(run: &K, reason: &str, message: &str) -> Result<()> {
    anyhow::ensure!(
        run.reason() == reason && run.message().contains(message),
        "not `{reason}: {message}`, but `{}: {}`",
        run.reason(),
        run.message()
    );
    Ok(())
}

/// A pod that no node has room for waits, says so, and goes away with its run.
#[tokio::test]
async fn a_run_without_room_waits() -> Result<()> {
    in_space("no-room", async |space| {
        let run: TaskRun = space
            .start(
                r"
apiVersion: ergon.dev/v1
kind: TaskRun
metadata: {name: huge}
spec:
  taskSpec:
    steps:
    - {name: work, image: localhost/busybox:1, script: 'true', computeResources: {requests: {cpu: '1000'}}}
",
            )
            .await?;
        let waits = |run: &TaskRun| run.reason() == "ExceededNodeResources";
        let run = space.run_when(&run, "waiting for room", waits).await?;
        assert!(run.message().contains("Insufficient cpu"), "{}", run.message());
        let runs: Api<TaskRun> = space.ours(Group::Ergon);
        runs.delete(&run.name_any(), &DeleteParams::background()).await?;
        space.gone::<k8s_openapi::api::core::v1::Pod>("huge-pod").await
    })
    .await
}
