//! The client library as another program uses it.

use anyhow::{Context as _, Result};
use e2e::{documents, in_space};
use ergon_client::{Cancel, Ergon, LogEvent, LogOptions, Phase, RunKind, Start, Submitted};
use futures::TryStreamExt as _;

const TASK: &str = r"
apiVersion: ergon.dev/v1
kind: Task
metadata: {name: counter}
spec:
  params: [{name: upto, default: '3'}]
  results: [{name: last}]
  steps:
  - {name: count, image: localhost/busybox:1, script: seq $(params.upto)}
  - {name: report, image: localhost/busybox:1, script: printf $(params.upto) > $(results.last.path)}
";

#[tokio::test]
async fn submit_start_and_follow() -> Result<()> {
    in_space("embed", async |space| {
        let ergon = Ergon::from_client(space.client(), space.name());
        let task = documents(TASK)?.pop().context("no task")?;
        for _ in 0..2 {
            // Submitted twice: what exists is brought to what the manifest says.
            assert!(matches!(ergon.submit(task.clone(), false).await?, Submitted::Applied(_)));
        }
        let mut start = Start::new(RunKind::TaskRun, "counter");
        start.params.push(("upto".to_owned(), "5".to_owned()));
        let run = ergon.start(start, false).await?;
        let mut logs = ergon.logs(&run.reference(), LogOptions { follow: true, ..LogOptions::default() });
        let mut lines = Vec::new();
        let mut last = None;
        while let Some(event) = logs.try_next().await? {
            match event {
                LogEvent::Line(line) => lines.push(format!("{}: {}", line.step, line.text)),
                LogEvent::Ended(run) => last = Some(run),
                LogEvent::Note(_) => {}
            }
        }
        assert_eq!(lines, ["count: 1", "count: 2", "count: 3", "count: 4", "count: 5"]);
        let last = last.context("the logs ended without the run")?;
        assert_eq!(last.phase(), Phase::Succeeded);
        assert_eq!(last.results(), [("last", &"5".into())]);

        let unknown =
            Start { params: vec![("nope".into(), "1".into())], ..Start::new(RunKind::TaskRun, "counter") };
        let error = ergon.start(unknown, false).await.err().context("an undeclared parameter was taken")?;
        assert!(error.to_string().contains("nope"), "{error}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn cancel() -> Result<()> {
    in_space("embed-cancel", async |space| {
        let ergon = Ergon::from_client(space.client(), space.name());
        let run = r"
apiVersion: ergon.dev/v1
kind: TaskRun
metadata: {generateName: sleeper-}
spec:
  taskSpec:
    steps: [{name: sleep, image: localhost/busybox:1, script: sleep 300}]
";
        let run = documents(run)?.pop().context("no run")?;
        let Submitted::Run(run) = ergon.submit(run, false).await? else {
            anyhow::bail!("no run was created")
        };
        ergon.cancel(&run.reference(), Cancel::Now).await?;
        assert_eq!(ergon.wait(&run.reference()).await?.phase(), Phase::Cancelled);
        space.quiet().await
    })
    .await
}
