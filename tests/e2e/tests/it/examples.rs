//! Every example ends as its `expect.yaml` says, on this machine and in the cluster, and in both alike.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, ensure};
use e2e::{Cluster, Ran, Space, documents, in_space, in_space_alone, root, run_program};
use ergon_api::{Group, ParamValue, PipelineRun, TaskRun};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use regex::Regex;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// All folders of examples.
const EXAMPLES: [&str; 8] =
    ["ci", "failure", "fan-out", "finally", "hello", "language", "params-results", "types"];

/// One entry of an `expect.yaml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    /// What to run.
    file: String,
    /// What to apply first.
    #[serde(default)]
    with: Vec<String>,
    /// `Succeeded`, `Completed` or `Failed`.
    status: String,
    /// The condition's reason, where it is not the status itself.
    reason: Option<String>,
    #[serde(default)]
    tasks: BTreeMap<String, String>,
    #[serde(default)]
    results: BTreeMap<String, Value>,
    #[serde(default)]
    log: Vec<String>,
}

/// How a run ended: what can be seen on this machine and in a cluster alike.
#[derive(Debug, Default)]
struct Outcome {
    succeeded: bool,
    /// The condition's reason; only a cluster has it.
    reason: Option<String>,
    /// `Succeeded`, `Failed` or `Skipped` by pipeline task.
    tasks: BTreeMap<String, String>,
    results: BTreeMap<String, ParamValue>,
    log: String,
}

#[tokio::test]
async fn hello() -> Result<()> {
    example("hello").await
}

#[tokio::test]
async fn params_results() -> Result<()> {
    example("params-results").await
}

#[tokio::test]
async fn ci() -> Result<()> {
    example("ci").await
}

#[tokio::test]
async fn fan_out() -> Result<()> {
    example("fan-out").await
}

#[tokio::test]
async fn finally() -> Result<()> {
    example("finally").await
}

#[tokio::test]
async fn failure() -> Result<()> {
    example("failure").await
}

#[tokio::test]
async fn language() -> Result<()> {
    example("language").await
}

#[tokio::test]
async fn types() -> Result<()> {
    example("types").await
}

/// A new folder of examples must get its test here.
#[test]
fn every_example_is_tested() -> Result<()> {
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(root().join("examples"))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            folders.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    folders.sort();
    assert_eq!(folders, EXAMPLES);
    Ok(())
}

/// Reports are sooner than what the kubelet tells, and nothing else: without them every example ends in the same way.
#[tokio::test]
async fn without_reports() -> Result<()> {
    in_space_alone("silent", async |space| Box::pin(with_argument(space, "--no-reports", &EXAMPLES)).await)
        .await
}

/// How a run ends does not depend on which of its tasks share pods or containers: [`check`] has them as they are written.
#[tokio::test]
async fn whether_tasks_share_pods_or_not() -> Result<()> {
    for fuse in ["never", "container"] {
        in_space(&format!("fuse-{fuse}"), async |space| {
            let mut wrong = Vec::new();
            for folder in EXAMPLES {
                let folder = root().join("examples").join(folder);
                for expected in &expectations(&folder)? {
                    let outcome = Box::pin(in_cluster(space, &folder, expected, Some(fuse))).await?;
                    let file = folder.join(&expected.file);
                    wrong.extend(
                        differences(expected, &outcome)
                            .map(|what| format!("{} with fuse: {fuse}: {what}", file.display())),
                    );
                }
            }
            ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// On clusters that cannot mount an image an init container brings the shim.
#[tokio::test]
async fn without_image_volumes() -> Result<()> {
    in_space_alone("copied", async |space| {
        Box::pin(with_argument(space, "--image-volumes=off", &["hello"])).await?;
        let pods = space.api::<Pod>().list(&ListParams::default()).await?.items;
        let inits = pods
            .iter()
            .flat_map(|pod| pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten()));
        ensure!(
            !pods.is_empty() && inits.count() == pods.len(),
            "not one init container in each of {} pods",
            pods.len()
        );
        Ok(())
    })
    .await
}

/// Carries out examples with one more argument of the controller, and takes it away again.
async fn with_argument(space: &Space, argument: &str, examples: &[&str]) -> Result<()> {
    let cluster = space.cluster();
    let add = json!([{"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": argument}]);
    let args = change_controller(cluster, &add).await?;
    let mut wrong = Vec::new();
    for folder in examples {
        if let Err(error) = Box::pin(check(space, folder)).await {
            wrong.push(format!("{folder}: {error:#}"));
        }
    }
    let last = format!("/spec/template/spec/containers/0/args/{}", args - 1);
    change_controller(cluster, &json!([{"op": "remove", "path": last}])).await?;
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// Patches the controller's Deployment and waits until that is what runs; gives the number of arguments it then has.
async fn change_controller(cluster: &Cluster, patch: &Value) -> Result<usize> {
    let patch = patch.to_string();
    let deployment = ["--namespace", "ergon-system", "deployment/ergon-controller"];
    let change = [&["patch", "--type=json", "-o", "json", "-p", &patch][..], &deployment].concat();
    let changed: Value = serde_json::from_str(&cluster.kubectl(&change, "").await?.ok()?)?;
    let wait = [&["rollout", "status", "--timeout=120s"][..], &deployment].concat();
    cluster.kubectl(&wait, "").await?.ok()?;
    let args = changed["spec"]["template"]["spec"]["containers"][0]["args"].as_array();
    Ok(args.context("the controller has no arguments")?.len())
}

async fn example(name: &str) -> Result<()> {
    in_space(name, async |space| Box::pin(check(space, name)).await).await
}

/// Carries out all that an example's `expect.yaml` names, here and in the cluster, and compares.
async fn check(space: &Space, name: &str) -> Result<()> {
    let folder = root().join("examples").join(name);
    let mut wrong = Vec::new();
    for expected in &expectations(&folder)? {
        let (here, there) = tokio::join!(
            on_this_machine(space.cluster(), &folder, expected),
            in_cluster(space, &folder, expected, None)
        );
        let mut outcomes = Vec::new();
        for (place, outcome) in [("on this machine", here), ("in the cluster", there)] {
            match outcome {
                Ok(outcome) => {
                    wrong.extend(
                        differences(expected, &outcome)
                            .map(|what| format!("{} {place}: {what}", expected.file)),
                    );
                    outcomes.push(outcome);
                }
                Err(error) => wrong.push(format!("{} {place}: {error:#}", expected.file)),
            }
        }
        if let [here, there] = &outcomes[..] {
            let alike = (here.succeeded, &here.tasks, &here.results)
                == (there.succeeded, &there.tasks, &there.results);
            if !alike {
                wrong.push(format!("{}: not the same in both: {here:?}\n{there:?}", expected.file));
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// What an example's `expect.yaml` says.
fn expectations(folder: &Path) -> Result<Vec<Expected>> {
    let text = std::fs::read_to_string(folder.join("expect.yaml"))?;
    serde_saphyr::from_str(&text).context("expect.yaml")
}

/// What is not as expected.
fn differences(expected: &Expected, outcome: &Outcome) -> impl Iterator<Item = String> {
    let mut wrong = Vec::new();
    if outcome.succeeded != (expected.status != "Failed") {
        wrong.push(format!("succeeded: {}, not {}", outcome.succeeded, expected.status));
    }
    let reason = expected.reason.as_ref().unwrap_or(&expected.status);
    if outcome.reason.as_ref().is_some_and(|found| found != reason) {
        wrong.push(format!("reason {:?}, not {reason}", outcome.reason));
    }
    if !expected.tasks.is_empty() && outcome.tasks != expected.tasks {
        wrong.push(format!("tasks {:?}, not {:?}", outcome.tasks, expected.tasks));
    }
    let names: Vec<&String> = outcome.results.keys().collect();
    if names != expected.results.keys().collect::<Vec<_>>() {
        wrong.push(format!("results {names:?}, not {:?}", expected.results.keys()));
    }
    for (name, value) in &outcome.results {
        if expected.results.get(name).is_some_and(|expected| !matches(expected, value)) {
            wrong.push(format!("result {name} is {value}, not {}", expected.results[name]));
        }
    }
    for text in expected.log.iter().filter(|text| !outcome.log.contains(*text)) {
        wrong.push(format!("no step printed `{text}`; they printed:\n{}", outcome.log));
    }
    wrong.into_iter()
}

fn matches(expected: &Value, found: &ParamValue) -> bool {
    match expected["match"].as_str() {
        Some(pattern) => {
            let text = found.as_str().unwrap_or_default();
            Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text))
        }
        None => ParamValue::from_json(expected.clone()) == *found,
    }
}

/// Runs an example with `ergon run`, and reads the events that it prints.
async fn on_this_machine(cluster: &Cluster, folder: &Path, expected: &Expected) -> Result<Outcome> {
    let files = files(folder, expected).map(|file| file.display().to_string()).collect::<Vec<_>>();
    let mut arguments = vec!["run", "--output", "json"];
    arguments.extend(files.iter().map(String::as_str));
    let home = local_images(cluster).await?;
    let said = cluster.ergon(&arguments, &[("ERGON_HOME", home.as_os_str())]).await?;
    let mut outcome = Outcome::default();
    let mut ended = false;
    for line in said.stdout.lines() {
        let event: Value = serde_json::from_str(line).with_context(|| format!("no event: {line}"))?;
        let word = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
        match event["event"].as_str() {
            Some("line") => {
                outcome.log.push_str(&word("text"));
                outcome.log.push('\n');
            }
            Some("taskEnded") => {
                let status = if word("status") == "succeeded" { "Succeeded" } else { "Failed" };
                note(&mut outcome.tasks, pipeline_task(&word("task")), status);
            }
            Some("skipped") => note(&mut outcome.tasks, word("task"), "Skipped"),
            Some("runEnded") => {
                ended = true;
                outcome.succeeded = word("status") == "succeeded";
                outcome.results = serde_json::from_value(event["results"].clone())?;
            }
            _ => {}
        }
    }
    anyhow::ensure!(ended, "exit code {:?} and no end of the run: {}{}", said.code, said.stdout, said.stderr);
    let code = i32::from(!outcome.succeeded);
    anyhow::ensure!(said.code == Some(code), "exit code {:?}, not {code}: {}", said.code, said.stderr);
    // A run of one Task has no pipeline tasks.
    if documents(&std::fs::read_to_string(folder.join(&expected.file))?)?
        .iter()
        .any(|it| it["kind"] == "TaskRun")
    {
        outcome.tasks.clear();
    }
    Ok(outcome)
}

/// The folder in which `ergon run` keeps images, with the two that the examples use.
pub(super) async fn local_images(cluster: &Cluster) -> Result<&'static Path> {
    static HOME: OnceCell<PathBuf> = OnceCell::const_new();
    let home = HOME.get_or_try_init(async || {
        let home = root().join("target/e2e-home");
        let folder = run_program(&root().join("tests/cluster/build"), &["images"], &[], "").await?.ok()?;
        for image in ["busybox", "debian"] {
            let archive = format!("{}/{image}.tar", folder.trim());
            cluster
                .ergon(&["images", "import", &archive], &[("ERGON_HOME", home.as_os_str())])
                .await?
                .ok()?;
        }
        anyhow::Ok(home)
    });
    Ok(home.await?)
}

/// The pipeline task that a task is of: a leg of a matrix is called `<task>[<index>]`.
fn pipeline_task(task: &str) -> String {
    task.split_once('[').map_or(task, |(name, _)| name).to_owned()
}

/// Notes how a task, or one leg of it, ended: a task with a failed leg has failed.
fn note(tasks: &mut BTreeMap<String, String>, task: String, status: &str) {
    let noted = tasks.entry(task).or_insert_with(|| status.to_owned());
    if status == "Failed" {
        status.clone_into(noted);
    }
}

/// Creates an example in the cluster, and reads the status of its run. `fuse`: how tasks of its PipelineRuns share pods.
async fn in_cluster(
    space: &Space,
    folder: &Path,
    expected: &Expected,
    fuse: Option<&str>,
) -> Result<Outcome> {
    // Several runs of one example need the same Tasks: those are applied, not created.
    for file in files(folder, expected).filter(|file| !file.ends_with(&expected.file)) {
        space.kubectl(&["apply", "-f", &file.display().to_string()]).await?;
    }
    let text = std::fs::read_to_string(folder.join(&expected.file))?;
    let mut last = None;
    for mut object in documents(&text)? {
        if let Some(fuse) = fuse.filter(|_| object["kind"] == "PipelineRun") {
            object["spec"]["fuse"] = json!(fuse);
        }
        let created = space.create(&object).await;
        last = Some(created.map_err(|error| anyhow!("{}: {error}", expected.file))?);
    }
    let last = last.context("the file is empty")?;
    if last["kind"] == "TaskRun" {
        let run: TaskRun = space.ended(&serde_json::from_value(last)?).await?;
        let results = run.status.iter().flat_map(|status| &status.results);
        return Ok(Outcome {
            succeeded: run.is_successful(),
            reason: Some(run.reason().to_owned()),
            results: results.map(|result| (result.name.clone(), result.value.clone())).collect(),
            log: space.step_logs(&run).await?,
            ..Outcome::default()
        });
    }
    let run: PipelineRun = space.ended(&serde_json::from_value(last)?).await?;
    let status = run.status.clone().unwrap_or_default();
    let mut outcome = Outcome {
        succeeded: run.is_successful(),
        reason: Some(run.reason().to_owned()),
        results: status.results.into_iter().map(|result| (result.name, result.value)).collect(),
        ..Outcome::default()
    };
    for child in space.children(&run).await? {
        let label = Group::Ergon.label("pipelineTask");
        let task = child.metadata.labels.as_ref().and_then(|labels| labels.get(&label)).cloned();
        let status = if child.is_successful() { "Succeeded" } else { "Failed" };
        note(&mut outcome.tasks, task.context("a child has no pipelineTask label")?, status);
        outcome.log.push_str(&space.step_logs(&child).await?);
    }
    for skipped in status.skipped_tasks {
        note(&mut outcome.tasks, skipped.name, "Skipped");
    }
    Ok(outcome)
}

/// What an example consists of: the run last.
fn files<'a>(folder: &'a Path, expected: &'a Expected) -> impl Iterator<Item = PathBuf> + 'a {
    expected.with.iter().chain([&expected.file]).map(|file| folder.join(file))
}
