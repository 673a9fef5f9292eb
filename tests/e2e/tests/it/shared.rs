//! Tasks that share a pod: the same outcome as ever, and each can end on its own.

use anyhow::{Context as _, Result};
use e2e::{Ran, in_space};
use ergon_api::{Group, PipelineRun, TaskRun};
use ergon_client::{Ergon, LogEvent, LogOptions, RunKind, RunRef};
use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams};

const CHAIN: &str = r#"
apiVersion: ergon.dev/v1
kind: PipelineRun
metadata: {name: chain}
spec:
  pipelineSpec:
    results: [{name: all, value: $(tasks.third.results.word)}]
    tasks:
    - name: first
      taskSpec:
        results: [{name: word}]
        steps: [{name: work, image: localhost/busybox:1, script: printf one > $(results.word.path)}]
    - name: second
      params: [{name: word, value: $(tasks.first.results.word)}]
      taskSpec:
        params: [{name: word}]
        results: [{name: word}]
        steps:
        - name: look
          image: localhost/busybox:1
          script: test -z "$(ls $(workspaces.none.path) 2>/dev/null)" && test ! -e /workspace/left && touch /workspace/left
        - name: work
          image: localhost/busybox:1
          env: [{name: WORD, value: "<$(params.word)>"}]
          script: printf '%s two' "$WORD" > $(results.word.path)
    - name: skipped
      when: [{input: $(tasks.first.results.word), operator: notin, values: [one]}]
      taskSpec:
        steps: [{name: work, image: localhost/busybox:1, script: exit 1}]
    - name: third
      params: [{name: word, value: $(tasks.second.results.word)}]
      taskSpec:
        params: [{name: word}]
        results: [{name: word}]
        steps: [{name: work, image: localhost/busybox:1, script: "test ! -e /workspace/left; printf '%s three' '$(params.word)' | tee $(results.word.path)"}]
"#;

#[tokio::test]
async fn results_travel_in_one_pod() -> Result<()> {
    in_space("shared-pod", async |space| {
        let run: PipelineRun = space.run(&CHAIN.replace("$(workspaces.none.path)", "/none")).await?;
        assert_eq!(run.reason(), "Completed", "{}", run.message());
        let status = run.status.as_ref().context("no status")?;
        assert_eq!(status.results[0].value, "<one> two three".into());
        assert_eq!(status.skipped_tasks.len(), 1);
        let pods = space.api::<Pod>().list(&ListParams::default()).await?.items;
        let names: Vec<String> = pods.iter().map(ResourceExt::name_any).collect();
        assert_eq!(names, ["chain-first-pod"]);
        let children = space.children(&run).await?;
        let pods: Vec<_> = children
            .iter()
            .map(|child| child.status.as_ref().and_then(|status| status.pod_name.clone()))
            .collect();
        assert_eq!(pods, vec![Some("chain-first-pod".to_owned()); 3]);
        assert_eq!(space.log("chain-first-pod", "step-third-work").await?, "<one> two three");
        space.quiet().await
    })
    .await
}

/// The same in one container: nothing of a task is there for the next one, and each has its own lines in the log.
#[tokio::test]
async fn tasks_share_a_container() -> Result<()> {
    in_space("shared-container", async |space| {
        let text = CHAIN
            .replace("$(workspaces.none.path)", "/none")
            .replace("spec:\n  pipelineSpec", "spec:\n  fuse: container\n  pipelineSpec");
        let run: PipelineRun = space.run(&text).await?;
        assert_eq!(run.reason(), "Completed", "{}", run.message());
        let status = run.status.as_ref().context("no status")?;
        assert_eq!(status.results[0].value, "<one> two three".into());
        let pod = space.api::<Pod>().get("chain-first-pod").await?;
        let containers: Vec<_> =
            pod.spec.iter().flat_map(|spec| &spec.containers).map(|one| &one.name).collect();
        // A task beside the second one has a container of its own.
        assert_eq!(containers, ["ergon-agent", "step-first-work", "step-skipped-work"]);
        let ergon = Ergon::from_client(space.client(), space.name());
        let chain = RunRef {
            group: Group::Ergon,
            kind: RunKind::PipelineRun,
            namespace: space.name().to_owned(),
            name: "chain".to_owned(),
        };
        let mut logs = ergon.logs(&chain, LogOptions::default());
        let mut lines = Vec::new();
        while let Some(event) = logs.try_next().await? {
            if let LogEvent::Line(line) = event {
                lines.push((line.task, line.step, line.text));
            }
        }
        assert_eq!(lines, [("third".to_owned(), "work".to_owned(), "<one> two three".to_owned())]);
        let log = space.log("chain-first-pod", "step-first-work").await?;
        assert!(log.contains("ergon second look\n") && log.ends_with("<one> two three"), "{log}");
        space.quiet().await
    })
    .await
}

const TRIED: &str = r#"
apiVersion: ergon.dev/v1
kind: PipelineRun
metadata: {name: tried}
spec:
  fuse: pod
  pipelineSpec:
    results: [{name: word, value: $(tasks.last.results.word)}]
    tasks:
    - name: first
      taskSpec:
        steps: [{name: work, image: localhost/busybox:1, script: 'true'}]
    - name: again
      runAfter: [first]
      retries: 2
      taskSpec:
        results: [{name: word}]
        steps:
        - name: work
          image: localhost/busybox:1
          script: |
            test ! -e /workspace/left
            touch /workspace/left
            echo try $(context.task.retry-count)
            test $(context.task.retry-count) = 1
            printf second > $(results.word.path)
    - name: last
      params: [{name: word, value: $(tasks.again.results.word)}]
      taskSpec:
        params: [{name: word}]
        results: [{name: word}]
        steps: [{name: work, image: localhost/busybox:1, script: "printf '<%s>' $(params.word) > $(results.word.path)"}]
"#;

/// The tries of a task are in its pod, each with containers and folders of its own; or in one container.
#[tokio::test]
async fn a_task_is_tried_again() -> Result<()> {
    in_space("shared-tries", async |space| {
        let run: PipelineRun = space.run(TRIED).await?;
        let together = TRIED.replace("name: tried", "name: joined").replace("fuse: pod", "fuse: container");
        let joined: PipelineRun = space.run(&together).await?;
        for run in [&run, &joined] {
            assert_eq!(run.reason(), "Succeeded", "{}", run.message());
            let status = run.status.as_ref().context("no status")?;
            assert_eq!(status.results[0].value, "<second>".into());
        }
        let pods = space.api::<Pod>().list(&ListParams::default()).await?.items;
        let names: Vec<String> = pods.iter().map(ResourceExt::name_any).collect();
        assert_eq!(names, ["joined-first-pod", "tried-first-pod"]);
        let children: Vec<TaskRun> = space.children(&run).await?;
        let again = children.iter().find(|child| child.name() == "tried-again").context("no TaskRun")?;
        let status = again.status.as_ref().context("no status")?;
        let tried = &status.retries_status;
        assert_eq!((tried.len(), status.pod_name.as_deref()), (1, Some("tried-first-pod")));
        assert_eq!(tried[0].steps[0].container, "step-again-work");
        assert_eq!(status.steps[0].container, "step-again-work-retry1");
        assert_eq!(space.log("tried-first-pod", "step-again-work").await?, "try 0\n");
        assert_eq!(space.log("tried-first-pod", "step-again-work-retry1").await?, "try 1\n");
        let log = space.log("joined-first-pod", "step-first-work").await?;
        assert!(log.contains("ergon again work\ntry 0\n"), "{log}");
        assert!(log.contains("ergon again.retry1 work\ntry 1\n"), "{log}");
        space.quiet().await
    })
    .await
}

/// A task that takes too long is ended in the pod, and what waits for it does not start.
#[tokio::test]
async fn one_task_times_out() -> Result<()> {
    in_space("shared-timeout", async |space| {
        let run: PipelineRun = space
            .run(
                r"
apiVersion: ergon.dev/v1
kind: PipelineRun
metadata: {name: late}
spec:
  pipelineSpec:
    tasks:
    - name: first
      taskSpec:
        steps: [{name: work, image: localhost/busybox:1, script: 'true'}]
    - name: second
      runAfter: [first]
      timeout: 3s
      taskSpec:
        steps: [{name: work, image: localhost/busybox:1, script: sleep 300}]
    - name: third
      runAfter: [second]
      taskSpec:
        steps: [{name: work, image: localhost/busybox:1, script: echo reached}]
",
            )
            .await?;
        assert_eq!(run.reason(), "Failed", "{}", run.message());
        let reasons: Vec<(String, String)> = space
            .children(&run)
            .await?
            .iter()
            .map(|child| (child.name().to_owned(), child.reason().to_owned()))
            .collect();
        let expected = [("late-first", "Succeeded"), ("late-second", "TaskRunTimeout")];
        assert_eq!(reasons, expected.map(|(name, reason)| (name.to_owned(), reason.to_owned())));
        space.quiet().await?;
        assert!(!space.log("late-first-pod", "step-third-work").await?.contains("reached"));
        Ok(())
    })
    .await
}

const VICTIM: &str = r#"
apiVersion: ergon.dev/v1
kind: PipelineRun
metadata: {name: victim}
spec:
  workspaces:
  - name: work
    volumeClaimTemplate:
      spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 16Mi}}}
  pipelineSpec:
    workspaces: [{name: work}]
    results: [{name: word, value: $(tasks.second.results.word)}]
    tasks:
    - name: first
      workspaces: [{name: work}]
      taskSpec:
        workspaces: [{name: work}]
        steps: [{name: work, image: localhost/busybox:1, script: "printf left > $(workspaces.work.path)/file"}]
    - name: second
      runAfter: [first]
      workspaces: [{name: work}]
      taskSpec:
        workspaces: [{name: work}]
        results: [{name: word}]
        steps:
        - name: work
          image: localhost/busybox:1
          script: |
            cat $(workspaces.work.path)/file > $(results.word.path)
            case $(context.taskRun.name) in *-retry-1) exit 0;; esac
            echo begun
            sleep 300
"#;

/// The pod goes away in the middle: what was not finished runs again, and what it needs of the folder that is lost.
#[tokio::test]
async fn a_deleted_pod() -> Result<()> {
    in_space("shared-deleted", async |space| {
        let run: PipelineRun = space.start(VICTIM).await?;
        space.wrote("victim-first-pod", "step-second-work", "begun").await?;
        space.api::<Pod>().delete("victim-first-pod", &DeleteParams::default()).await?;
        let run = space.ended(&run).await?;
        assert_eq!(run.reason(), "Succeeded", "{}", run.message());
        assert!(run.message().ends_with("shared: `first`, `second`"), "{}", run.message());
        assert_eq!(run.status.as_ref().context("no status")?.results[0].value, "left".into());
        let children: Vec<TaskRun> = space.children(&run).await?;
        let mut ends: Vec<(&str, &str)> =
            children.iter().map(|child| (child.name(), child.reason())).collect();
        ends.sort_unstable();
        let expected = [
            ("victim-first", "Succeeded"),
            ("victim-first-retry-1", "Succeeded"),
            ("victim-second", "PodDeleted"),
            ("victim-second-retry-1", "Succeeded"),
        ];
        assert_eq!(ends, expected);
        let pods = space.api::<Pod>().list(&ListParams::default()).await?.items;
        let names: Vec<String> = pods.iter().map(ResourceExt::name_any).collect();
        assert_eq!(names, ["victim-first-retry-1-pod"]);
        space.quiet().await
    })
    .await
}

const AHEAD: &str = r#"
apiVersion: ergon.dev/v1
kind: PipelineRun
metadata: {name: ahead}
spec:
  fuse: never
  prestart: auto
  pipelineSpec:
    results: [{name: all, value: $(tasks.second.results.word)}]
    tasks:
    - name: first
      taskSpec:
        results: [{name: word}]
        steps:
        - name: work
          image: localhost/busybox:1
          # Until the test says so.
          script: |
            until test -e /tmp/go; do sleep 0.1; done
            printf one > $(results.word.path)
    - name: second
      params: [{name: word, value: $(tasks.first.results.word)}]
      taskSpec:
        params: [{name: word}]
        results: [{name: word}]
        steps:
        - name: work
          image: localhost/busybox:1
          env: [{name: WORD, value: "<$(params.word)>"}]
          script: printf '%s two' "$WORD" | tee $(results.word.path)
"#;

/// The second task's pod is there and waits while the first one runs, and begins with the first one's result.
#[tokio::test]
async fn a_pod_that_is_made_ahead_waits_for_its_task() -> Result<()> {
    in_space("made-ahead", async |space| {
        let run: PipelineRun = space.start(AHEAD).await?;
        let all_run = |pod: &Pod| {
            let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
            let mut states = statuses.map(|container| container.state.as_ref()).peekable();
            states.peek().is_some() && states.all(|state| state.is_some_and(|state| state.running.is_some()))
        };
        space.pod_when("ahead-second-pod-ahead", "running", all_run).await?;
        assert_eq!(space.children(&run).await?.len(), 1, "its task has not begun");
        space.kubectl(&["exec", "ahead-first-pod", "-c", "step-work", "--", "touch", "/tmp/go"]).await?;
        let run = space.ended(&run).await?;
        assert_eq!(run.reason(), "Succeeded", "{}", run.message());
        let status = run.status.as_ref().context("no status")?;
        assert_eq!(status.results[0].value, "<one> two".into());
        let second: TaskRun = space.ours(Group::Ergon).get("ahead-second").await?;
        let name = second.status.as_ref().and_then(|status| status.pod_name.as_deref());
        assert_eq!(name, Some("ahead-second-pod-ahead"));
        assert_eq!(space.log("ahead-second-pod-ahead", "step-second-work").await?, "<one> two");
        space.quiet().await
    })
    .await
}

/// Where the first task fails, the pod that waits goes.
#[tokio::test]
async fn a_pod_that_nothing_begins_in_goes() -> Result<()> {
    in_space("ahead-of-nothing", async |space| {
        let text = AHEAD.replace("printf one >", "exit 1; printf one >");
        let run: PipelineRun = space.start(&text).await?;
        space.pod_when("ahead-second-pod-ahead", "there", |_| true).await?;
        space.kubectl(&["exec", "ahead-first-pod", "-c", "step-work", "--", "touch", "/tmp/go"]).await?;
        let run = space.ended(&run).await?;
        assert_eq!(run.reason(), "Failed", "{}", run.message());
        space.gone::<Pod>("ahead-second-pod-ahead").await?;
        space.quiet().await
    })
    .await
}
