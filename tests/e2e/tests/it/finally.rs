//! What happens around a failure: the tasks after it, the final tasks, and tasks whose failure does not matter.

use anyhow::{Context as _, Result};
use e2e::{Ran as _, in_space};
use ergon_api::PipelineRun;

#[tokio::test]
async fn final_tasks_run_after_a_failure() -> Result<()> {
    in_space("finally", async |space| {
        let run: PipelineRun = space
            .run(
                r"
apiVersion: ergon.dev/v1
kind: PipelineRun
metadata: {name: work}
spec:
  pipelineSpec:
    tasks:
    - name: ignored
      onError: continue
      taskSpec:
        steps: [{name: work, image: localhost/busybox:1, script: exit 1}]
    - name: bad
      runAfter: [ignored]
      taskSpec:
        steps: [{name: work, image: localhost/busybox:1, script: exit 4}]
    - name: after
      runAfter: [bad]
      taskSpec:
        steps: [{name: work, image: localhost/busybox:1, script: 'true'}]
    finally:
    - name: report
      params:
      - {name: all, value: $(tasks.status)}
      - {name: bad, value: $(tasks.bad.status)}
      - {name: reason, value: $(tasks.bad.reason)}
      - {name: after, value: $(tasks.after.status)}
      taskSpec:
        params: [{name: all}, {name: bad}, {name: reason}, {name: after}]
        steps:
        - {name: work, image: localhost/busybox:1, script: echo $(params.all) $(params.bad) $(params.reason) $(params.after)}
    - name: unneeded
      when: [{input: $(tasks.status), operator: in, values: [Succeeded]}]
      taskSpec:
        steps: [{name: work, image: localhost/busybox:1, script: 'true'}]
",
            )
            .await?;
        assert_eq!(run.reason(), "Failed", "{}", run.message());
        // The ignored failure and the bad one, the report, the task after the bad one, and the unneeded one.
        let counts = "Tasks Completed: 3 (Failed: 2 (Ignored: 1), Cancelled 0), Skipped: 2";
        assert!(run.message().starts_with(counts), "{}", run.message());
        assert!(run.message().contains("exited with code 4"), "{}", run.message());
        assert_eq!(space.log("work-report-pod", "step-work").await?, "Failed Failed StepFailed None\n");
        let status = run.status.as_ref().context("no status")?;
        let mut skipped: Vec<(&str, &str)> =
            status.skipped_tasks.iter().map(|task| (&*task.name, &*task.reason)).collect();
        skipped.sort_unstable();
        assert_eq!(
            skipped,
            [("after", "PipelineRun was stopping"), ("unneeded", "When Expressions evaluated to false")]
        );
        Ok(())
    })
    .await
}
