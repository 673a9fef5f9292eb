//! Steps have no more rights than they ask for.

use anyhow::Result;
use e2e::{Ran as _, in_group, in_restricted_space};
use ergon_api::{Group, TaskRun};

const LOOKING_AROUND: &str = "
apiVersion: ergon.dev/v1
kind: TaskRun
metadata: {name: look}
spec:
  taskSpec:
    steps:
    - name: look
      image: localhost/busybox:1
      script: |
        id -u
        test ! -e /var/run/secrets/kubernetes.io || echo has a token
        test ! -e /ergon/token || echo has the agent\\'s token
        env | grep -q ERGON_PLAN && echo has the plan
        grep CapEff /proc/self/status
        touch /workspace/mine /ergon/home/mine && echo can write
";

#[tokio::test]
async fn the_restricted_standard_holds_by_default() -> Result<()> {
    in_restricted_space("restricted", async |space| {
        let run: TaskRun = space.run(LOOKING_AROUND).await?;
        assert_eq!(run.reason(), "Succeeded", "{}", run.message());
        assert_eq!(space.step_logs(&run).await?, "65532\nCapEff:\t0000000000000000\ncan write\n");
        Ok(())
    })
    .await
}

/// Under `tekton.dev` a pod is as open as Tekton's: where that is not allowed, the run fails and says why.
#[tokio::test]
async fn a_pod_that_is_not_admitted_fails_its_run() -> Result<()> {
    in_restricted_space("refused-pod", async |space| {
        let run: TaskRun = space.run(&in_group(LOOKING_AROUND, Group::Tekton)).await?;
        assert!(["PodCreationFailed", "PodAdmissionFailed"].contains(&run.reason()), "{}", run.reason());
        assert!(run.message().contains("violates PodSecurity"), "{}", run.message());
        space.no_pods().await
    })
    .await
}
