//! Many runs at once.

use anyhow::Result;
use e2e::{Ran as _, in_space};
use ergon_api::TaskRun;
use futures::future::try_join_all;

/// As many as one machine's node runs side by side without a wait for room.
const MANY: usize = 20;

#[tokio::test]
async fn twenty_task_runs_at_once() -> Result<()> {
    in_space("many", async |space| {
        let manifest = |number: usize| {
            format!(
                "
apiVersion: ergon.dev/v1
kind: TaskRun
metadata: {{name: run-{number}}}
spec:
  taskSpec:
    results: [{{name: number}}]
    steps: [{{name: work, image: localhost/busybox:1, script: printf {number} > $(results.number.path)}}]
"
            )
        };
        let runs = try_join_all(
            (0..MANY).map(|number| async move { space.run::<TaskRun>(&manifest(number)).await }),
        )
        .await?;
        for (number, run) in runs.iter().enumerate() {
            assert_eq!(run.reason(), "Succeeded", "{}: {}", run.name(), run.message());
            let results: Vec<String> = run
                .status
                .iter()
                .flat_map(|status| &status.results)
                .map(|result| result.value.to_string())
                .collect();
            assert_eq!(results, [number.to_string()], "a run must have its own results");
            assert_eq!(space.pods(run).await?.len(), 1, "{}", run.name());
        }
        Ok(())
    })
    .await
}
