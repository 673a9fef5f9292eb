//! Everything about one object, for people.

use std::fmt::Write as _;

use ergon_api::{
    ChildCount, Param, ParamSpec, ParamValue, Pipeline, PipelineRun, PipelineTask, StepState, Task, TaskRun,
    WorkspaceBinding, reasons,
};
use ergon_client::{Phase, Run};
use jiff::Timestamp;

use super::{Style, Table, age, took};

/// The last lines of a step that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    /// The task as people call it.
    pub task: String,
    /// The step.
    pub step: String,
    /// Why the step failed, such as `exit code 1`.
    pub why: String,
    /// The lines.
    pub lines: Vec<String>,
}

/// The longest value that is shown whole, in characters.
const LONG: usize = 200;

/// How many failed runs are shown of a task that has more than are listed.
const FAILED_LEGS: usize = 5;

/// A run with its tasks. `children` are the TaskRuns of a PipelineRun, in the order of their start.
pub fn describe_run(run: &Run, children: &[TaskRun], tails: &[Tail], now: Timestamp, style: Style) -> String {
    let mut page = Page::new(style);
    page.field("Name", run.name());
    page.field("Namespace", run.namespace());
    page.field("Kind", &format!("{} ({})", run.kind(), run.group()));
    if let Some(name) = run.runs() {
        page.field(if matches!(run, Run::Pipeline(_)) { "Pipeline" } else { "Task" }, name);
    }
    page.field("Status", &status(run, style));
    if let Some(message) = run.condition().map(ergon_api::Condition::message).filter(|text| !text.is_empty())
    {
        page.field("Message", message);
    }
    if let Some(wish) = wish(run) {
        page.field("Asked for", &wish);
    }
    page.field("Created", &ago(run.created_at(), now));
    page.field("Started", &ago(run.started_at(), now));
    page.field("Ended", &ago(run.ended_at(), now));
    page.field("Duration", &took(run.started_at(), run.ended_at(), now));
    match run {
        Run::Pipeline(run) => {
            page.params(&run.spec.params);
            page.workspaces(&run.spec.workspaces);
        }
        Run::Task(run) => {
            page.params(&run.spec.params);
            page.workspaces(&run.spec.workspaces);
        }
    }
    page.results(&run.results());
    match run {
        Run::Pipeline(run) => page.tasks(run, children, now),
        Run::Task(run) => page.steps(run, now),
    }
    page.failures(run, tails);
    page.text
}

/// A Pipeline.
pub fn describe_pipeline(pipeline: &Pipeline, now: Timestamp, style: Style) -> String {
    let mut page = Page::new(style);
    page.field("Name", pipeline.name());
    page.field("Namespace", pipeline.namespace());
    page.field("Kind", &format!("Pipeline ({})", pipeline.group()));
    page.field("Description", pipeline.spec.description.as_deref().unwrap_or_default().trim_end());
    page.field("Created", &ago(pipeline.metadata.creation_timestamp.as_ref().map(|time| time.0), now));
    page.declared(&pipeline.spec.params);
    let mut workspaces = Table::new(&[]).indented(2);
    for workspace in &pipeline.spec.workspaces {
        let optional = if workspace.is_optional() { "optional" } else { "" };
        let description = workspace.description.clone().unwrap_or_default();
        workspaces.row(vec![workspace.name.clone(), optional.to_owned(), description]);
    }
    page.section("Workspaces", &workspaces);
    let mut results = Table::new(&[]).indented(2);
    for result in &pipeline.spec.results {
        results.row(vec![result.name.clone(), result.description.clone().unwrap_or_default()]);
    }
    page.section("Results", &results);
    let mut tasks = Table::new(&[]).indented(2);
    for (task, part) in pipeline
        .spec
        .tasks
        .iter()
        .map(|task| (task, ""))
        .chain(pipeline.spec.finally.iter().map(|task| (task, "finally")))
    {
        let after = if task.run_after.is_empty() {
            String::new()
        } else {
            format!("after {}", task.run_after.join(", "))
        };
        tasks.row(vec![task.name.clone(), what_runs(task), after, part.to_owned()]);
    }
    page.section("Tasks", &tasks);
    page.text
}

/// A Task.
pub fn describe_task(task: &Task, now: Timestamp, style: Style) -> String {
    let mut page = Page::new(style);
    page.field("Name", task.name());
    page.field("Namespace", task.namespace());
    page.field("Kind", &format!("Task ({})", task.group()));
    page.field("Description", task.spec.description.as_deref().unwrap_or_default().trim_end());
    page.field("Created", &ago(task.metadata.creation_timestamp.as_ref().map(|time| time.0), now));
    page.declared(&task.spec.params);
    let mut workspaces = Table::new(&[]).indented(2);
    for workspace in &task.spec.workspaces {
        let optional = if workspace.is_optional() { "optional" } else { "" };
        let description = workspace.description.clone().unwrap_or_default();
        workspaces.row(vec![
            workspace.name.clone(),
            workspace.effective_mount_path(),
            optional.to_owned(),
            description,
        ]);
    }
    page.section("Workspaces", &workspaces);
    let mut results = Table::new(&[]).indented(2);
    for result in &task.spec.results {
        results.row(vec![result.name.clone(), result.description.clone().unwrap_or_default()]);
    }
    page.section("Results", &results);
    let mut steps = Table::new(&[]).indented(2);
    for (at, step) in task.spec.steps.iter().enumerate() {
        let name = if step.name.is_empty() { format!("unnamed-{at}") } else { step.name.clone() };
        steps.row(vec![name, step.image.clone().unwrap_or_default()]);
    }
    page.section("Steps", &steps);
    page.text
}

struct Page {
    text: String,
    style: Style,
}

impl Page {
    fn new(style: Style) -> Self {
        Self { text: String::new(), style }
    }

    /// A line with a name and a value; none without a value.
    fn field(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            let name = format!("{name}:");
            let value = value.replace('\n', &format!("\n{}", " ".repeat(13)));
            let _ = writeln!(self.text, "{}{value}", self.style.bold(&format!("{name:<13}")));
        }
    }

    fn section(&mut self, title: &str, table: &Table) {
        if !table.is_empty() {
            let _ = write!(self.text, "\n{}\n{}", self.style.bold(title), table.render(self.style));
        }
    }

    fn params(&mut self, params: &[Param]) {
        let mut table = Table::new(&[]).indented(2);
        for param in params {
            table.row(vec![param.name.clone(), short(&param.value)]);
        }
        self.section("Params", &table);
    }

    fn declared(&mut self, params: &[ParamSpec]) {
        let mut table = Table::new(&[]).indented(2);
        for param in params {
            let default = param.default.as_ref().map_or_else(
                || "required".to_owned(),
                |value| {
                    if value.texts().all(str::is_empty) {
                        "default \"\"".to_owned()
                    } else {
                        format!("default {}", short(value))
                    }
                },
            );
            let type_ = format!("{:?}", param.effective_type()).to_lowercase();
            table.row(vec![
                param.name.clone(),
                type_,
                default,
                param.description.clone().unwrap_or_default(),
            ]);
        }
        self.section("Params", &table);
    }

    fn workspaces(&mut self, workspaces: &[WorkspaceBinding]) {
        let mut table = Table::new(&[]).indented(2);
        for workspace in workspaces {
            let folder =
                workspace.sub_path.as_ref().map_or_else(String::new, |path| format!("folder {path}"));
            table.row(vec![workspace.name.clone(), place(workspace), folder]);
        }
        self.section("Workspaces", &table);
    }

    fn results(&mut self, results: &[(&str, &ParamValue)]) {
        let mut table = Table::new(&[]).indented(2);
        for (name, value) in results {
            table.row(vec![(*name).to_owned(), short(value)]);
        }
        self.section("Results", &table);
    }

    /// The tasks of a PipelineRun: those that run or ran, those that were skipped, those to come.
    fn tasks(&mut self, run: &PipelineRun, children: &[TaskRun], now: Timestamp) {
        let status = run.status.as_ref();
        let spec =
            status.and_then(|status| status.pipeline_spec.as_deref()).or(run.spec.pipeline_spec.as_ref());
        let mut table = Table::new(&[]).indented(2);
        let counts = |task: &str| {
            let mut counts = status.into_iter().flat_map(|status| &status.child_counts);
            counts.find(|count| count.pipeline_task_name == task)
        };
        for (task, finally) in spec.iter().flat_map(|spec| {
            spec.tasks.iter().map(|task| (task, false)).chain(spec.finally.iter().map(|task| (task, true)))
        }) {
            let mut any = false;
            let own = children.iter().filter(|child| is_of(child, &task.name));
            if let Some(count) = counts(&task.name) {
                table.row(self.counted(count, finally));
                for child in own.filter(|child| child.is_failed()).take(FAILED_LEGS) {
                    table.row(self.child(child, finally, now));
                }
                continue;
            }
            for child in own {
                table.row(self.child(child, finally, now));
                any = true;
            }
            let skipped = status.into_iter().flat_map(|status| &status.skipped_tasks);
            for skipped in skipped.filter(|skipped| skipped.name == task.name) {
                table.row(self.other(&task.name, "Skipped", finally, &skipped.reason));
                any = true;
            }
            // Custom tasks and nested pipelines have no TaskRun; all that is known here is that they were started.
            let others = status.into_iter().flat_map(|status| &status.child_references).filter(|child| {
                child.pipeline_task_name.as_deref() == Some(&task.name)
                    && child.kind.as_deref() != Some(TaskRun::KIND)
            });
            for other in others {
                let kind = other.kind.as_deref().unwrap_or_default();
                table.row(self.other(&task.name, "Started", finally, &format!("{kind} {}", other.name)));
                any = true;
            }
            if !any {
                table.row(self.other(
                    &task.name,
                    if run.is_done() { "Not run" } else { "Pending" },
                    finally,
                    "",
                ));
            }
        }
        // Of a pipeline that is not known yet.
        let is_known =
            |child: &&TaskRun| spec.is_some_and(|spec| spec.all_tasks().any(|task| is_of(child, &task.name)));
        for child in children.iter().filter(|child| !is_known(child)) {
            table.row(self.child(child, false, now));
        }
        self.section("Tasks", &table);
    }

    fn child(&self, child: &TaskRun, finally: bool, now: Timestamp) -> Vec<String> {
        let status = child.status.as_ref();
        let start = status.and_then(|status| status.start_time.as_ref()).map(|time| time.0);
        let end = status.and_then(|status| status.completion_time.as_ref()).map(|time| time.0);
        let phase = Phase::of(child.condition(), start.is_some());
        let tries = status.map_or(0, |status| status.retries_status.len());
        let mut notes = Vec::new();
        if finally {
            notes.push("finally".to_owned());
        }
        if tries > 0 {
            notes.push(format!("try {}", tries + 1));
        }
        if let Some(condition) = child.condition()
            && matches!(phase, Phase::Failed | Phase::Cancelled | Phase::Pending)
        {
            notes.push(condition.reason().to_owned());
        }
        vec![
            self.style.in_phase(phase, mark(phase)),
            child.task_label(),
            self.style.phase(phase),
            took(start, end, now),
            status.and_then(|status| status.pod_name.clone()).unwrap_or_default(),
            notes.join(", "),
        ]
    }

    /// A task with more runs than are shown.
    fn counted(&self, count: &ChildCount, finally: bool) -> Vec<String> {
        let ChildCount { total, running, succeeded, failed, cancelled, .. } = *count;
        let phase = match () {
            () if running > 0 || succeeded + failed + cancelled < total => Phase::Running,
            () if failed > 0 => Phase::Failed,
            () if cancelled > 0 => Phase::Cancelled,
            () => Phase::Succeeded,
        };
        let parts =
            [(succeeded, "succeeded"), (failed, "failed"), (cancelled, "cancelled"), (running, "running")];
        let parts = parts.iter().filter(|(number, _)| *number > 0);
        let parts: Vec<String> = parts.map(|(number, what)| format!("{number} {what}")).collect();
        let mut note = format!("of {total}: {}", parts.join(", "));
        if finally {
            note.push_str(", finally");
        }
        let task = count.pipeline_task_name.clone();
        vec![
            self.style.in_phase(phase, mark(phase)),
            task,
            self.style.phase(phase),
            String::new(),
            String::new(),
            note,
        ]
    }

    fn other(&self, task: &str, word: &str, finally: bool, note: &str) -> Vec<String> {
        let note = match (finally, note) {
            (true, "") => "finally".to_owned(),
            (true, note) => format!("finally, {note}"),
            (false, note) => note.to_owned(),
        };
        vec![self.style.dim("-"), task.to_owned(), self.style.dim(word), String::new(), String::new(), note]
    }

    fn steps(&mut self, run: &TaskRun, now: Timestamp) {
        let Some(status) = &run.status else { return };
        self.field("Pod", status.pod_name.as_deref().unwrap_or_default());
        if !status.retries_status.is_empty() {
            self.field("Tries", &(status.retries_status.len() + 1).to_string());
        }
        let mut table = Table::new(&[]).indented(2);
        for step in &status.steps {
            let (phase, word, start, end) = step_state(step);
            table.row(vec![
                self.style.in_phase(phase, mark(phase)),
                step.name.clone(),
                self.style.in_phase(phase, &word),
                took(start, end, now),
            ]);
        }
        self.section("Steps", &table);
    }

    fn failures(&mut self, run: &Run, tails: &[Tail]) {
        for tail in tails {
            let title = format!("Failed: step `{}` of task `{}`, {}", tail.step, tail.task, tail.why);
            let _ = writeln!(self.text, "\n{}", self.style.bold(&title));
            for line in &tail.lines {
                let _ = writeln!(self.text, "  {line}");
            }
            let task = if matches!(run, Run::Pipeline(_)) {
                format!(" --task {}", quoted(&tail.task))
            } else {
                String::new()
            };
            let _ = writeln!(
                self.text,
                "  {}",
                self.style.dim(&format!(
                    "more: ergon logs {}/{} -n {}{task} --step {}",
                    run.kind().singular(),
                    run.name(),
                    run.namespace(),
                    tail.step
                ))
            );
        }
    }
}

/// A step's phase, a word for it, its start and its end.
fn step_state(step: &StepState) -> (Phase, String, Option<Timestamp>, Option<Timestamp>) {
    if let Some(terminated) = &step.terminated {
        let start = terminated.started_at.as_ref().map(|time| time.0);
        let end = terminated.finished_at.as_ref().map(|time| time.0);
        let reason = step.termination_reason.as_deref().or(terminated.reason.as_deref()).unwrap_or_default();
        if terminated.exit_code == 0 {
            let word = if reason.is_empty() { "Completed" } else { reason };
            return (Phase::Succeeded, word.to_owned(), start, end);
        }
        let with_code = || format!("{reason} (exit code {})", terminated.exit_code);
        return match reason {
            // The task went on as it was told to: worth a look, and no failure.
            reasons::step::CONTINUED => (Phase::Cancelled, with_code(), start, end),
            // It has no exit code of its own.
            reasons::step::SKIPPED => (Phase::Pending, reason.to_owned(), None, None),
            _ => (Phase::Failed, with_code(), start, end),
        };
    }
    if let Some(running) = &step.running {
        return (Phase::Running, "Running".to_owned(), running.started_at.as_ref().map(|time| time.0), None);
    }
    let reason = step.waiting.as_ref().and_then(|waiting| waiting.reason.clone());
    (Phase::Pending, reason.unwrap_or_else(|| "Pending".to_owned()), None, None)
}

/// A name as a shell takes it: brackets mean something to some.
fn quoted(name: &str) -> String {
    if name.contains('[') { format!("'{name}'") } else { name.to_owned() }
}

/// One sign for a phase, readable without colour.
fn mark(phase: Phase) -> &'static str {
    match phase {
        Phase::Pending => "-",
        Phase::Running => ">",
        Phase::Succeeded => "✓",
        Phase::Failed => "✗",
        Phase::Cancelled => "!",
    }
}

fn status(run: &Run, style: Style) -> String {
    let phase = style.phase(run.phase());
    match run.condition().map(ergon_api::Condition::reason) {
        Some(reason) if !reason.is_empty() && reason != run.phase().word() => format!("{phase} ({reason})"),
        _ => phase,
    }
}

/// What a user has asked of a run that goes on, such as `Cancelled`.
fn wish(run: &Run) -> Option<String> {
    let value = match run {
        _ if run.is_done() => return None,
        Run::Pipeline(run) => serde_json::to_value(run.spec.status?),
        Run::Task(run) => serde_json::to_value(run.spec.status?),
    };
    value.ok()?.as_str().map(str::to_owned)
}

fn ago(time: Option<Timestamp>, now: Timestamp) -> String {
    time.map_or_else(String::new, |time| format!("{time:.0} ({} ago)", age(now, Some(time))))
}

fn is_of(child: &TaskRun, task: &str) -> bool {
    let key = child.group().label("pipelineTask");
    child.metadata.labels.as_ref().and_then(|labels| labels.get(&key)).is_some_and(|name| name == task)
}

fn what_runs(task: &PipelineTask) -> String {
    let reference =
        task.task_ref.as_ref().map(|reference| (reference.name.as_ref(), reference.resolver.as_ref()));
    let pipeline =
        task.pipeline_ref.as_ref().map(|reference| (reference.name.as_ref(), reference.resolver.as_ref()));
    match reference.or(pipeline) {
        Some((Some(name), _)) => name.clone(),
        Some((None, Some(resolver))) => format!("(from {resolver})"),
        _ => "(inline)".to_owned(),
    }
}

fn place(workspace: &WorkspaceBinding) -> String {
    if let Some(claim) = &workspace.persistent_volume_claim {
        return format!("claim {}", claim.claim_name);
    }
    if let Some(map) = &workspace.config_map {
        return format!("ConfigMap {}", map.name);
    }
    if let Some(secret) = &workspace.secret {
        return format!("Secret {}", secret.secret_name.as_deref().unwrap_or_default());
    }
    workspace.kinds().first().copied().unwrap_or_default().to_owned()
}

/// A value in one line, cut when it is long.
fn short(value: &ParamValue) -> String {
    let text = value.to_string();
    let mut lines = text.lines();
    let first: String = lines.next().unwrap_or_default().chars().take(LONG).collect();
    if first.len() < text.trim_end().len() { format!("{first}…") } else { first }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde::de::DeserializeOwned;

    use super::*;

    fn read<T: DeserializeOwned>(yaml: &str) -> T {
        serde_saphyr::from_str(yaml).unwrap()
    }

    fn now() -> Timestamp {
        "2026-01-01T10:05:00Z".parse().unwrap()
    }

    const RUN: &str = r#"
apiVersion: ergon.dev/v1
kind: PipelineRun
metadata: {name: build-1, namespace: ci, uid: u, creationTimestamp: "2026-01-01T10:00:00Z"}
spec:
  pipelineRef: {name: build}
  params:
  - {name: revision, value: main}
  - {name: files, value: [a.rs, b.rs]}
  workspaces:
  - {name: source, persistentVolumeClaim: {claimName: code}, subPath: src}
status:
  startTime: "2026-01-01T10:00:01Z"
  completionTime: "2026-01-01T10:01:31Z"
  conditions:
  - {type: Succeeded, status: "False", reason: Failed, message: "Tasks Completed: 2 (Failed: 1, Cancelled 0), Skipped: 1"}
  results:
  - {name: digest, value: "sha256:1"}
  skippedTasks:
  - {name: deploy, reason: PipelineRun was stopping}
  pipelineSpec:
    tasks:
    - {name: build, taskRef: {name: build}}
    - {name: test, taskRef: {name: test}}
    - {name: deploy, taskRef: {name: deploy}}
    finally:
    - {name: notify, taskRef: {name: notify}}
"#;

    fn child(task: &str, status: &str) -> TaskRun {
        read(&format!(
            r"
apiVersion: ergon.dev/v1
kind: TaskRun
metadata:
  name: build-1-{task}
  namespace: ci
  labels: {{ergon.dev/pipelineTask: {task}, ergon.dev/pipelineRun: build-1}}
spec: {{}}
status: {status}
"
        ))
    }

    #[test]
    fn a_pipeline_run_is_shown_with_its_tasks_and_its_failure() {
        let run: PipelineRun = read(RUN);
        let children = [
            child(
                "build",
                r#"{podName: build-1-build-pod, startTime: "2026-01-01T10:00:02Z", completionTime: "2026-01-01T10:00:40Z",
                    conditions: [{type: Succeeded, status: "True", reason: Succeeded}]}"#,
            ),
            child(
                "test",
                r#"{podName: build-1-test-pod, startTime: "2026-01-01T10:00:41Z", completionTime: "2026-01-01T10:01:30Z",
                    retriesStatus: [{podName: x}], conditions: [{type: Succeeded, status: "False", reason: Failed}]}"#,
            ),
        ];
        let tails = [Tail {
            task: "test".to_owned(),
            step: "unit".to_owned(),
            why: "exit code 1".to_owned(),
            lines: vec!["one failed".to_owned(), "of two".to_owned()],
        }];
        expect![[r#"
            Name:        build-1
            Namespace:   ci
            Kind:        PipelineRun (ergon.dev)
            Pipeline:    build
            Status:      Failed
            Message:     Tasks Completed: 2 (Failed: 1, Cancelled 0), Skipped: 1
            Created:     2026-01-01T10:00:00Z (5m ago)
            Started:     2026-01-01T10:00:01Z (4m59s ago)
            Ended:       2026-01-01T10:01:31Z (3m29s ago)
            Duration:    1m30s

            Params
              revision  main
              files     ["a.rs","b.rs"]

            Workspaces
              source  claim code  folder src

            Results
              digest  sha256:1

            Tasks
              ✓  build   Succeeded  38s  build-1-build-pod
              ✗  test    Failed     49s  build-1-test-pod   try 2, Failed
              -  deploy  Skipped                            PipelineRun was stopping
              -  notify  Not run                            finally

            Failed: step `unit` of task `test`, exit code 1
              one failed
              of two
              more: ergon logs pipelinerun/build-1 -n ci --task test --step unit
        "#]]
        .assert_eq(&describe_run(&run.into(), &children, &tails, now(), Style::PLAIN));
    }

    #[test]
    fn of_a_large_matrix_the_failed_runs_are_shown() {
        let run: PipelineRun = read(
            r#"
apiVersion: ergon.dev/v1
kind: PipelineRun
metadata: {name: build-1, namespace: ci}
status:
  conditions: [{type: Succeeded, status: "False", reason: Failed}]
  pipelineSpec: {tasks: [{name: one, taskRef: {name: one}}, {name: each, taskRef: {name: each}}]}
  childCounts: [{pipelineTaskName: each, kind: TaskRun, total: 2000, succeeded: 1990, failed: 9, cancelled: 1}]
"#,
        );
        let failed = r#"{conditions: [{type: Succeeded, status: "False", reason: StepFailed}]}"#;
        let succeeded = r#"{conditions: [{type: Succeeded, status: "True", reason: Succeeded}]}"#;
        let children: Vec<TaskRun> = (0..2000)
            .map(|leg| child("each", if leg % 200 == 7 { failed } else { succeeded }))
            .chain([child("one", succeeded)])
            .collect();
        let text = describe_run(&run.into(), &children, &[], now(), Style::PLAIN);
        let tasks: Vec<&str> = text.lines().skip_while(|line| *line != "Tasks").skip(1).collect();
        assert_eq!(tasks.len(), 2 + FAILED_LEGS, "{text}");
        assert!(tasks[0].contains("one") && tasks[0].contains("Succeeded"), "{text}");
        assert!(tasks[1].contains("of 2000: 1990 succeeded, 9 failed, 1 cancelled"), "{text}");
        assert!(tasks[2..].iter().all(|line| line.contains("StepFailed")), "{text}");
    }

    #[test]
    fn a_task_run_is_shown_with_its_steps() {
        let run: TaskRun = read(
            r#"
apiVersion: tekton.dev/v1
kind: TaskRun
metadata: {name: lint, namespace: ci, creationTimestamp: "2026-01-01T10:04:00Z"}
spec: {taskRef: {name: lint}, status: TaskRunCancelled}
status:
  podName: lint-pod
  startTime: "2026-01-01T10:04:01Z"
  conditions: [{type: Succeeded, status: Unknown, reason: Running, message: Not all Steps have finished}]
  steps:
  - {name: fetch, container: step-fetch, terminated: {exitCode: 0, reason: Completed, startedAt: "2026-01-01T10:04:02Z", finishedAt: "2026-01-01T10:04:05Z"}}
  - {name: check, container: step-check, running: {startedAt: "2026-01-01T10:04:05Z"}}
  - {name: report, container: step-report, waiting: {reason: PodInitializing}}
"#,
        );
        expect![[r"
            Name:        lint
            Namespace:   ci
            Kind:        TaskRun (tekton.dev)
            Task:        lint
            Status:      Running
            Message:     Not all Steps have finished
            Asked for:   TaskRunCancelled
            Created:     2026-01-01T10:04:00Z (1m ago)
            Started:     2026-01-01T10:04:01Z (59s ago)
            Duration:    59s
            Pod:         lint-pod

            Steps
              ✓  fetch   Completed        3s
              >  check   Running          55s
              -  report  PodInitializing
        "]]
        .assert_eq(&describe_run(&run.into(), &[], &[], now(), Style::PLAIN));
    }

    #[test]
    fn what_was_forgiven_or_skipped_is_not_shown_as_failed() {
        let table = [
            (
                r"{terminationReason: Continued, terminated: {exitCode: 3, reason: Error}}",
                "!  Continued (exit code 3)",
            ),
            (r"{terminationReason: Skipped, terminated: {exitCode: 1, reason: Error}}", "-  Skipped"),
            (
                r"{terminationReason: Error, terminated: {exitCode: 3, reason: Error}}",
                "✗  Error (exit code 3)",
            ),
            (r"{terminated: {exitCode: 0, reason: Completed}}", "✓  Completed"),
        ];
        for (yaml, expected) in table {
            let (phase, word, ..) = step_state(&read(yaml));
            assert_eq!(format!("{}  {word}", mark(phase)), expected, "{yaml}");
        }
    }

    #[test]
    fn a_leg_of_a_matrix_is_quoted_for_the_shell() {
        assert_eq!((quoted("test"), quoted("test[0]")), ("test".to_owned(), "'test[0]'".to_owned()));
    }

    #[test]
    fn a_pipeline_is_shown_with_what_it_wants() {
        let pipeline: Pipeline = read(
            r"
apiVersion: ergon.dev/v1
kind: Pipeline
metadata: {name: build, namespace: ci}
spec:
  description: Builds and tests.
  params:
  - {name: revision, description: What to build.}
  - {name: files, type: array, default: [a]}
  workspaces: [{name: source, optional: true}]
  tasks:
  - {name: build, taskRef: {name: compile}}
  - {name: test, runAfter: [build], taskSpec: {steps: [{image: a}]}}
  finally:
  - {name: notify, taskRef: {resolver: git}}
",
        );
        expect![[r#"
            Name:        build
            Namespace:   ci
            Kind:        Pipeline (ergon.dev)
            Description: Builds and tests.

            Params
              revision  string  required       What to build.
              files     array   default ["a"]

            Workspaces
              source  optional

            Tasks
              build   compile
              test    (inline)    after build
              notify  (from git)               finally
        "#]]
        .assert_eq(&describe_pipeline(&pipeline, now(), Style::PLAIN));
    }

    #[test]
    fn long_values_are_cut() {
        assert_eq!(short(&ParamValue::from("one\ntwo")), "one…");
        assert_eq!(short(&ParamValue::from("one\n")), "one");
        assert_eq!(short(&ParamValue::from("x".repeat(300))).chars().count(), LONG + 1);
    }
}
