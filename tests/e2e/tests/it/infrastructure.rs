//! Pods, processes and controllers that go away in the middle: nothing of that is ever taken for success.

use anyhow::{Context as _, Result};
use e2e::{Ran as _, Space, in_space, in_space_alone, is_over};
use ergon_api::{PipelineRun, TaskRun};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, EvictParams, ListParams};
use kube::{Api, ResourceExt};

/// The namespace that Ergon is installed in.
const SYSTEM: &str = "ergon-system";

#[tokio::test]
async fn a_deleted_pod() -> Result<()> {
    in_space("deleted", async |space| {
        let run = sleeping(space).await?;
        space.api::<Pod>().delete("victim-pod", &DeleteParams::default()).await?;
        let run = space.ended(&run).await?;
        assert_eq!(run.reason(), "PodDeleted", "{}", run.message());
        assert!(run.message().contains("victim-pod"), "{}", run.message());
        no_step_succeeded(&run)
    })
    .await
}

#[tokio::test]
async fn an_evicted_pod() -> Result<()> {
    in_space("evicted", async |space| {
        let run = sleeping(space).await?;
        space.api::<Pod>().evict("victim-pod", &EvictParams::default()).await?;
        let run = space.ended(&run).await?;
        assert!(["PodDeleted", "PodInterrupted", "PodEvicted"].contains(&run.reason()), "{}", run.reason());
        no_step_succeeded(&run)
    })
    .await
}

/// The shim is the first process of the step's container, which no process in there can kill: from outside it can.
#[tokio::test]
async fn a_killed_shim() -> Result<()> {
    killed("shim", "/ergon-shim", "VICTIM=").await
}

/// Without its agent a pod cannot go on, and says so.
#[tokio::test]
async fn a_killed_agent() -> Result<()> {
    killed("agent", "/ergon-agent", "ERGON_PLAN_0=").await
}

async fn killed(what: &str, program: &str, variable: &str) -> Result<()> {
    in_space(&format!("killed-{what}"), async |space| {
        let run = sleeping(space).await?;
        // Found by its environment, which names this test's namespace, from a pod that sees the node's processes.
        let killer: Vec<serde_json::Value> = space
            .apply(&format!(
                r#"
apiVersion: v1
kind: Pod
metadata: {{name: killer}}
spec:
  hostPID: true
  restartPolicy: Never
  containers:
  - name: killer
    image: localhost/busybox:1
    securityContext: {{privileged: true}}
    command: [sh, -c]
    args:
    - |
      for process in /proc/[0-9]*; do
        cat $process/cmdline 2>/dev/null | tr '\0' ' ' | grep -q '{program}' || continue
        cat $process/environ 2>/dev/null | tr '\0' '\n' | grep '^{variable}' | grep -q '{namespace}' || continue
        echo killed && kill -9 "${{process#/proc/}}"
      done
"#,
                namespace = space.name()
            ))
            .await?;
        assert_eq!(killer.len(), 1);
        space.pod_when("killer", "done", is_over).await?;
        assert_eq!(space.log("killer", "killer").await?, "killed\n");
        let run = space.ended(&run).await?;
        assert!(
            ["PodInterrupted", "StepFailed"].contains(&run.reason()),
            "{}: {}",
            run.reason(),
            run.message()
        );
        no_step_succeeded(&run)?;
        space.quiet().await
    })
    .await
}

/// The controller restarts while a run is under way: the run goes on where it is, and no task runs twice.
#[tokio::test]
async fn a_restarted_controller() -> Result<()> {
    in_space_alone("restart", async |space| {
        let run: PipelineRun = space
            .start(
                r"
apiVersion: ergon.dev/v1
kind: PipelineRun
metadata: {name: patient}
spec:
  pipelineSpec:
    results: [{name: word, value: $(tasks.second.results.word)}]
    tasks:
    - name: first
      taskSpec:
        results: [{name: word}]
        steps: [{name: work, image: localhost/busybox:1, script: echo begun; sleep 3; printf kept > $(results.word.path)}]
    - name: second
      params: [{name: word, value: $(tasks.first.results.word)}]
      taskSpec:
        params: [{name: word}]
        results: [{name: word}]
        steps: [{name: work, image: localhost/busybox:1, script: printf $(params.word) > $(results.word.path)}]
",
            )
            .await?;
        space.wrote("patient-first-pod", "step-first-work", "begun").await?;
        let pods: Api<Pod> = Api::namespaced(space.client(), SYSTEM);
        let of_controller = ListParams::default().labels("app.kubernetes.io/component=controller");
        let old = pods.list(&of_controller).await?.items;
        assert!(!old.is_empty(), "no controller runs in {SYSTEM}");
        for pod in &old {
            pods.delete(&pod.name_any(), &DeleteParams::default().grace_period(0)).await?;
        }
        let run = space.ended(&run).await?;
        assert_eq!(run.reason(), "Succeeded", "{}", run.message());
        assert_eq!(run.status.as_ref().context("no status")?.results[0].value, "kept".into());
        let made = space.api::<Pod>().list(&ListParams::default()).await?.items;
        let made: Vec<String> = made.iter().map(ResourceExt::name_any).collect();
        assert_eq!(made, ["patient-first-pod"], "no task ran more than once");
        for child in space.children(&run).await? {
            assert_eq!(child.status.iter().flat_map(|status| &status.retries_status).count(), 0);
        }
        // For the tests that follow.
        let deployments: Api<Deployment> = Api::namespaced(space.client(), SYSTEM);
        let available = |deployment: Option<&Deployment>| {
            deployment.and_then(|deployment| deployment.status.as_ref()?.available_replicas).unwrap_or(0) > 0
        };
        let limit = std::time::Duration::from_mins(1);
        e2e::until(deployments, "ergon-controller", "available", limit, available).await.map(drop)
    })
    .await
}

/// A run whose only step sleeps, once it does.
async fn sleeping(space: &Space) -> Result<TaskRun> {
    let run: TaskRun = space
        .start(&format!(
            "
apiVersion: ergon.dev/v1
kind: TaskRun
metadata: {{name: victim}}
spec:
  taskSpec:
    steps:
    - name: sleep
      image: localhost/busybox:1
      env: [{{name: VICTIM, value: {namespace}}}]
      script: echo '# {namespace}'; sleep 300
",
            namespace = space.name()
        ))
        .await?;
    space.wrote("victim-pod", "step-sleep", space.name()).await?;
    Ok(run)
}

fn no_step_succeeded(run: &TaskRun) -> Result<()> {
    let status = run.status.as_ref().context("no status")?;
    for step in &status.steps {
        let code = step.terminated.as_ref().map(|ended| ended.exit_code);
        anyhow::ensure!(code != Some(0), "step `{}` is said to have succeeded", step.name);
    }
    Ok(())
}
