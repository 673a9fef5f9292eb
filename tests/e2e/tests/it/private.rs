//! Images of a private registry: with the pull secrets of the run or of its service account, and not without.

use anyhow::Result;
use e2e::{Ran as _, in_space};
use ergon_api::TaskRun;

/// Asks for a password: see `tests/cluster/README.md`.
const IMAGE: &str = "localhost:5000/private/busybox:1";

const LOGINS: &str = r#"
apiVersion: v1
kind: Secret
metadata: {name: logins}
type: kubernetes.io/dockerconfigjson
stringData:
  .dockerconfigjson: '{"auths": {"localhost:5000": {"username": "robot", "password": "token"}}}'
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: puller}
imagePullSecrets: [{name: logins}]
---
"#;

/// A run that is not content with an image that the node has from an earlier one.
fn run(name: &str, spec: &str) -> String {
    format!(
        "{LOGINS}
apiVersion: ergon.dev/v1
kind: TaskRun
metadata: {{name: {name}}}
spec:
  {spec}
  taskSpec:
    steps:
    - {{name: a, image: '{IMAGE}', imagePullPolicy: Always, script: echo pulled}}
"
    )
}

#[tokio::test]
async fn the_run_s_pull_secrets_open_it() -> Result<()> {
    opens("private-run", "podTemplate: {imagePullSecrets: [{name: logins}]}").await
}

#[tokio::test]
async fn the_account_s_pull_secrets_open_it() -> Result<()> {
    opens("private-account", "serviceAccountName: puller").await
}

async fn opens(name: &str, spec: &str) -> Result<()> {
    in_space(name, async |space| {
        // A kubelet that has not read a new Secret yet pulls without it, and says that it was refused.
        let mut ended: TaskRun = space.run(&run("private-0", spec)).await?;
        for name in ["private-1", "private-2"] {
            if ended.reason() == "TaskRunImagePullFailed" {
                ended = space.run(&run(name, spec)).await?;
            }
        }
        assert_eq!(ended.reason(), "Succeeded", "{}", ended.message());
        assert_eq!(space.step_logs(&ended).await?, "pulled\n");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn without_them_the_run_fails() -> Result<()> {
    in_space("private-none", async |space| {
        let run: TaskRun = space.run(&run("private", "serviceAccountName: default")).await?;
        assert_eq!(run.reason(), "TaskRunImagePullFailed", "{}", run.message());
        assert!(run.message().contains(IMAGE), "{}", run.message());
        Ok(())
    })
    .await
}
