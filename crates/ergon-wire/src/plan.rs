//! The pod plan: what the agent of one pod carries out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Credentials, Millis};

/// The version of [`PodPlan`] that this build writes and reads. The agent refuses any other.
pub const PLAN_VERSION: u32 = 4;

/// Everything the agent needs; the engine makes it together with the pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodPlan {
    /// [`PLAN_VERSION`].
    pub version: u32,
    /// The tasks of this pod: one, or those of a pipeline run that share it.
    pub tasks: Vec<TaskPlan>,
    /// Where the agent reports to. Without it the termination messages are the only source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<ReportTarget>,
    /// The pipeline run whose tasks share the pod, as the engine has written it down for itself. A task of it starts once
    /// the run says so; without it, all start at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<Box<serde_json::Value>>,
}

/// Where and how the agent reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportTarget {
    /// Such as `https://ergon-controller.ergon-system.svc:9443/v1/report`.
    pub url: String,
    /// The certificate authority that signed the endpoint's certificate, as PEM.
    pub ca: String,
}

/// One task: steps that run in order, each once the one before has ended.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskPlan {
    /// The `TaskRun`'s name; where a pod is shared, the pipeline task's.
    pub name: String,
    /// Which try of a task this is that shares a pod, counted from 0: each has its own steps.
    #[serde(default, skip_serializing_if = "is_first")]
    pub retry: usize,
    pub steps: Vec<StepPlan>,
    /// What runs beside the steps: started before the first of them, ended after the last. They leave no results.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sidecars: Vec<StepPlan>,
    /// Names of the results that the task declares.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub results: Vec<String>,
}

impl TaskPlan {
    /// All that has a shim: the steps, then the sidecars. The places in this list are what the agent counts by.
    pub fn parts(&self) -> impl Iterator<Item = &StepPlan> {
        self.steps.iter().chain(&self.sidecars)
    }

    /// The name that this try of the task has among all in the pod: see [`try_name`].
    pub fn try_name(&self) -> String {
        try_name(&self.name, self.retry)
    }

    /// The step or sidecar at this place of [`Self::parts`].
    pub fn part(&self, at: usize) -> Option<&StepPlan> {
        self.steps.get(at).or_else(|| self.sidecars.get(at.checked_sub(self.steps.len())?))
    }
}

/// What a try of a task is called in a pod that tasks share: `build`, then `build.retry1`, …. A task's own name has no
/// dot.
pub fn try_name(task: &str, retry: usize) -> String {
    if retry == 0 { task.to_owned() } else { format!("{task}.retry{retry}") }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
fn is_first(retry: &usize) -> bool {
    *retry == 0
}

/// One step. Its container runs the shim, which waits until it is told to run this.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepPlan {
    /// The container's name, such as `step-build`: also the name of its directory under the agent's `/ergon/run`.
    pub container: String,
    /// The step's name in its task, where the container's name is not `step-` and this: in a pod that tasks share.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The container of an earlier step that this one runs in, once that step has ended: it has none of its own, and the
    /// name above stands for the step alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs_in: Option<String>,
    /// Folders of its task that another task in the same container had before, and which are emptied when this one begins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub empty_first: Vec<String>,
    /// The program and its arguments; with a script, its arguments alone.
    /// `$(NAME)` is replaced from the container's environment, as Kubernetes does it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub argv: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<Script>,
    /// Variables that win over the container's own: their values were not known when the pod was made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<(String, String)>,
    /// Where the command runs; made if it is missing. Without it: the container's own working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    #[serde(default)]
    pub on_error: OnError,
    /// How long the step may run, in milliseconds. None: as long as the task may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<Millis>,
    /// Directory with the task's results, one file each; such as `/tekton/results`.
    pub results_dir: String,
    /// The step's metadata directory, such as `/tekton/steps/step-build`: the shim writes `exitCode` there.
    pub step_dir: String,
    /// A sidecar: it leaves no results, no exit code for others, and no termination message but its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_sidecar: bool,
    /// Names of the results that the step itself declares: files below `results` of its metadata directory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub step_results: Vec<String>,
    /// Directory with the task's own `provenance.json`, such as `/tekton/artifacts`. A step's is below `artifacts` of
    /// its metadata directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifacts_dir: Option<String>,
    /// What stands between `$(` and `)` in `argv` and in the container's environment for what earlier steps left, such
    /// as `steps.build.results.digest`. Whoever says `Run` sends their values along.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<String>,
    /// The step runs if all of these hold once the step's turn has come.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<Condition>,
    /// A file that also gets what the command prints; the directories above it are made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout_path: Option<String>,
    /// A file that also gets what the command prints as errors; it may be the same one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr_path: Option<String>,
    /// Variables of the container whose values are masked in what the command prints, and refused in its results.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub masked: Vec<String>,
    /// Where the step waits for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breakpoints: Option<Breakpoints>,
    /// What the command finds in its home.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
    /// Run the command without any network.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hermetic: bool,
    /// Bytes that the step's termination message may have: [`crate::message_limit`].
    pub message_limit: usize,
    /// Bytes that all results of the task may have together.
    pub result_limit: usize,
    /// How long the command may take to end after SIGTERM before SIGKILL follows, in milliseconds.
    pub grace_ms: Millis,
}

impl StepPlan {
    /// The name by which other steps of its task refer to it.
    pub fn own_name(&self) -> &str {
        if self.name.is_empty() {
            self.container.strip_prefix("step-").unwrap_or(&self.container)
        } else {
            &self.name
        }
    }

    /// The name of the container that the step really runs in.
    pub fn place(&self) -> &str {
        self.runs_in.as_deref().unwrap_or(&self.container)
    }
}

/// The text that an interpreter reads from a file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Script {
    /// As the user wrote it, with its shebang (`#!/bin/sh` and `set -e` added where there was none).
    pub text: String,
    /// Where it is put if the step's user may write there, such as `/tekton/scripts/script-0`: a script can see it in
    /// `$0`. Otherwise it is in the step's own directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What the script reads from its environment, by variable: it is set as it is, whatever is in it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, ScriptValue>,
}

/// A value that a script reads from its environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ScriptValue {
    Text(String),
    /// Too long for the environment: it is put into a file beside the script, and `<variable>_FILE` says where.
    File(String),
    /// What an earlier step left, as in [`StepPlan::references`]. Whoever says `Run` puts the value here.
    Later(String),
}

/// What has to hold for a step to run. It may refer to what earlier steps left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Condition {
    /// The input is one of the values.
    In { input: String, values: Vec<String> },
    /// The input is none of the values.
    NotIn { input: String, values: Vec<String> },
    /// An expression in the Common Expression Language. `values`: what its names stand for, where it has some.
    Cel {
        expression: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        values: Option<BTreeMap<String, CelValue>>,
    },
}

/// What a name in an expression stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CelValue {
    Known(serde_json::Value),
    /// What an earlier step left, as in [`StepPlan::references`].
    Later(String),
}

/// Where a step waits until a person has had a look and tells it to go on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Breakpoints {
    /// Before its command is started.
    pub before: bool,
    /// When its command has failed.
    pub on_failure: bool,
    /// A directory of the step's own, such as `/tekton/debug`: the programs that let it go on are put into `scripts`.
    pub directory: String,
}

/// What a failed step does to its task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnError {
    /// The task fails and the steps after it are skipped.
    #[default]
    StopAndFail,
    /// The exit code is recorded and the task goes on.
    Continue,
}
