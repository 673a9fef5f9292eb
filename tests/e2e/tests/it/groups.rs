//! Both API groups serve the same kinds, each with its own labels; what tools read has Tekton's shape in both.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use e2e::{Ran as _, in_group, in_space};
use ergon_api::{Group, ParamValue, PipelineRun, TaskRun};

const TASK_RUN: &str = "
apiVersion: ergon.dev/v1
kind: TaskRun
metadata: {name: hello, labels: {team: blue}}
spec:
  params: [{name: who, value: world}]
  taskSpec:
    params: [{name: who}]
    results: [{name: greeting}]
    steps:
    - name: greet
      image: localhost/busybox:1
      script: printf 'hello %s' '$(params.who)' | tee $(results.greeting.path)
    - image: localhost/busybox:1
      command: [cat, $(results.greeting.path)]
";

const PIPELINE_RUN: &str = "
apiVersion: ergon.dev/v1
kind: Pipeline
metadata: {name: greetings}
spec:
  tasks:
  - name: greet
    taskSpec:
      results: [{name: greeting}]
      steps: [{name: say, image: localhost/busybox:1, script: printf hello > $(results.greeting.path)}]
  - name: repeat
    params: [{name: text, value: $(tasks.greet.results.greeting)}]
    taskSpec:
      params: [{name: text}]
      steps: [{name: say, image: localhost/busybox:1, script: 'test \"$(params.text)\" = hello'}]
  results: [{name: greeting, value: $(tasks.greet.results.greeting)}]
---
apiVersion: ergon.dev/v1
kind: PipelineRun
metadata: {name: hello}
spec: {pipelineRef: {name: greetings}}
";

#[tokio::test]
async fn a_task_run_of_ergon() -> Result<()> {
    task_run(Group::Ergon).await
}

#[tokio::test]
async fn a_task_run_of_tekton() -> Result<()> {
    task_run(Group::Tekton).await
}

#[tokio::test]
async fn a_pipeline_run_of_ergon() -> Result<()> {
    pipeline_run(Group::Ergon).await
}

#[tokio::test]
async fn a_pipeline_run_of_tekton() -> Result<()> {
    pipeline_run(Group::Tekton).await
}

async fn task_run(group: Group) -> Result<()> {
    in_space("task-run", async |space| {
        let run: TaskRun = space.run(&in_group(TASK_RUN, group)).await?;
        assert_eq!(run.reason(), "Succeeded", "{}", run.message());
        assert_eq!(run.message(), "All Steps have completed executing");
        let status = run.status.as_ref().context("no status")?;
        assert_eq!(status.pod_name.as_deref(), Some("hello-pod"));
        assert!(status.start_time <= status.completion_time && status.start_time.is_some());
        assert!(status.task_spec.is_some(), "the Task that was run is kept");
        let steps: Vec<_> = status
            .steps
            .iter()
            .map(|step| {
                let ended = step.terminated.clone().unwrap_or_default();
                (step.name.clone(), step.container.clone(), ended.exit_code, ended.reason.unwrap_or_default())
            })
            .collect();
        let completed = |name: &str| (name.to_owned(), format!("step-{name}"), 0, "Completed".to_owned());
        assert_eq!(steps, [completed("greet"), completed("unnamed-1")]);
        let results: Vec<_> = status.results.iter().map(|result| (&*result.name, &result.value)).collect();
        assert_eq!(results, [("greeting", &ParamValue::from("hello world"))]);

        let pods = space.pods(&run).await?;
        let [pod] = &pods[..] else { anyhow::bail!("there are {} pods", pods.len()) };
        let labels = pod.metadata.labels.clone().unwrap_or_default();
        let wanted: BTreeMap<String, String> = [
            (group.label("taskRun"), "hello"),
            (group.label("taskRunUID"), run.uid()),
            ("app.kubernetes.io/managed-by".to_owned(), group.managed_by()),
            ("team".to_owned(), "blue"),
        ]
        .map(|(key, value)| (key, value.to_owned()))
        .into();
        assert!(wanted.iter().all(|(key, value)| labels.get(key) == Some(value)), "{labels:?}");
        let owners = pod.metadata.owner_references.clone().unwrap_or_default();
        assert!(
            owners.iter().any(|owner| owner.uid == run.uid() && owner.controller == Some(true)),
            "{owners:?}"
        );
        let containers: Vec<&str> =
            pod.spec.iter().flat_map(|spec| &spec.containers).map(|container| &*container.name).collect();
        for step in ["step-greet", "step-unnamed-1"] {
            assert!(containers.contains(&step), "{containers:?}");
        }
        assert_eq!(space.log("hello-pod", "step-greet").await?, "hello world");
        assert_eq!(space.log("hello-pod", "step-unnamed-1").await?, "hello world");

        let table = space.kubectl(&["get", &format!("taskruns.{group}")]).await?;
        columns(&table, "hello")
    })
    .await
}

async fn pipeline_run(group: Group) -> Result<()> {
    in_space("pipeline-run", async |space| {
        let run: PipelineRun = space.run(&in_group(PIPELINE_RUN, group)).await?;
        assert_eq!(run.reason(), "Succeeded", "{}", run.message());
        assert_eq!(run.message(), "Tasks Completed: 2 (Failed: 0, Cancelled 0), Skipped: 0");
        let status = run.status.as_ref().context("no status")?;
        let results: Vec<_> = status.results.iter().map(|result| (&*result.name, &result.value)).collect();
        assert_eq!(results, [("greeting", &ParamValue::from("hello"))]);
        let references: Vec<_> = status
            .child_references
            .iter()
            .map(|child| (&*child.name, child.kind.as_deref(), child.pipeline_task_name.as_deref()))
            .collect();
        assert_eq!(
            references,
            [
                ("hello-greet", Some("TaskRun"), Some("greet")),
                ("hello-repeat", Some("TaskRun"), Some("repeat")),
            ]
        );
        let children = space.children(&run).await?;
        let names: Vec<&str> = children.iter().map(TaskRun::name).collect();
        assert_eq!(names, ["hello-greet", "hello-repeat"]);
        let labels = children[0].metadata.labels.clone().unwrap_or_default();
        for (name, value) in [
            ("pipeline", "greetings"),
            ("pipelineRun", "hello"),
            ("pipelineTask", "greet"),
            ("memberOf", "tasks"),
        ] {
            assert_eq!(labels.get(&group.label(name)).map(String::as_str), Some(value), "{name}");
        }
        let table = space.kubectl(&["get", &format!("pipelineruns.{group}")]).await?;
        columns(&table, "hello")
    })
    .await
}

/// The columns that Tekton's users know, and the row of a run that succeeded.
fn columns(table: &str, name: &str) -> Result<()> {
    let words = |line: Option<&str>| -> Vec<String> {
        line.unwrap_or_default().split_whitespace().map(str::to_owned).collect()
    };
    let mut lines = table.lines();
    assert_eq!(
        words(lines.next()),
        ["NAME", "SUCCEEDED", "REASON", "STARTTIME", "COMPLETIONTIME"],
        "{table}"
    );
    let row = words(lines.next());
    anyhow::ensure!(row.len() == 5 && row[..3] == [name, "True", "Succeeded"], "{table}");
    Ok(())
}
