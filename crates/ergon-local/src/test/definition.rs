//! What a file with tests says.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use ergon_api::{Duration, ParamValue};
use schemars::JsonSchema;
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::Matcher;

/// Tests of one Task or Pipeline: `apiVersion: ergon.dev/v1`, `kind: Test`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Definition {
    /// `ergon.dev/v1`.
    pub api_version: String,
    /// `Test`.
    pub kind: String,
    pub metadata: Metadata,
    pub spec: Spec,
}

#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
pub struct Metadata {
    /// What the report calls these tests.
    pub name: String,
}

/// What is tested, and how. Parameters, workspaces and mocks here hold for each case that does not say otherwise.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// Files with manifests, relative to this file. Without it: all in the folder above `tests`.
    pub files: Option<Vec<String>>,
    /// The name of the Task, Pipeline or run; needed where the files have several.
    pub run: Option<String>,
    #[serde(default)]
    pub params: BTreeMap<String, ParamValue>,
    #[serde(default)]
    pub workspaces: BTreeMap<String, Workspace>,
    #[serde(default)]
    pub mocks: BTreeMap<String, Mock>,
    pub cases: Vec<Case>,
}

/// One run, and how it must end.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Case {
    /// What must be so, as a sentence.
    pub name: String,
    #[serde(default)]
    pub params: BTreeMap<String, ParamValue>,
    #[serde(default)]
    pub workspaces: BTreeMap<String, Workspace>,
    #[serde(default)]
    pub mocks: BTreeMap<String, Mock>,
    /// How long it may take, in real time. Without it: ten minutes.
    pub timeout: Option<Duration>,
    #[serde(default)]
    pub expect: Expect,
}

/// What is in a workspace before the run. Each case has a copy of its own.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
pub struct Workspace {
    /// A folder whose files are copied, relative to this file.
    pub from: Option<String>,
    /// Texts of files, by their paths in the workspace.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
}

/// A task that is not carried out, or one with steps that are not.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Mock {
    /// Results of the task.
    #[serde(default)]
    pub results: BTreeMap<String, ParamValue>,
    /// The exit code; the task fails unless it is 0.
    #[serde(default)]
    pub exit_code: i32,
    /// What is printed.
    #[serde(default)]
    pub log: String,
    /// How long it takes. Where no task of the run needs a container, this time passes at once.
    pub takes: Option<Duration>,
    /// One item for each try: the last one holds for all that follow. In the place of the fields above.
    #[serde(default)]
    pub tries: Vec<Said>,
    /// Only these steps are not carried out; all others run in their containers.
    #[serde(default)]
    pub steps: BTreeMap<String, Said>,
}

/// What a mocked task or step comes to.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Said {
    /// Results: of a step, those of its own; of a try, those of the task.
    pub results: BTreeMap<String, ParamValue>,
    /// Results of the task that a step leaves.
    pub task_results: BTreeMap<String, ParamValue>,
    /// The exit code.
    pub exit_code: i32,
    /// What is printed.
    pub log: String,
    /// How long it takes.
    pub takes: Option<Duration>,
}

/// How a run must end. What is not named does not matter.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Expect {
    /// How the run ended.
    pub status: Ended,
    /// The reason of the run's condition, such as `Completed` or `PipelineRunTimeout`.
    pub reason: Option<Matcher>,
    /// The message of the run's condition.
    pub message: Option<Matcher>,
    /// Results of the run.
    pub results: BTreeMap<String, Matcher>,
    /// Tasks of the pipeline: how each ended, or more of it.
    pub tasks: BTreeMap<String, Short<Outcome, ExpectedTask>>,
    /// Files, by workspace and path.
    pub workspaces: BTreeMap<String, BTreeMap<String, Matcher>>,
    /// Lines that some step printed: a text that it has in it, or more.
    pub log: Vec<Short<String, ExpectedLine>>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Ended {
    #[default]
    Succeeded,
    Failed,
    Cancelled,
}

/// What became of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Outcome {
    Succeeded,
    Failed,
    Cancelled,
    Skipped,
}

/// What a task must have been given, and come to.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ExpectedTask {
    /// How it ended.
    pub status: Option<Outcome>,
    /// Why, such as `TaskRunTimeout`; of a skipped task, why it was.
    pub reason: Option<Matcher>,
    /// Its results.
    pub results: BTreeMap<String, Matcher>,
    /// The parameters that it was given.
    pub params: BTreeMap<String, Matcher>,
    /// How often it was tried.
    pub tries: Option<usize>,
    /// How many legs its matrix had.
    pub legs: Option<usize>,
}

/// A line of the log. The fields that are given must hold for one and the same line.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ExpectedLine {
    /// Printed by this task.
    pub task: Option<String>,
    /// Printed by this step.
    pub step: Option<String>,
    /// The whole line.
    pub equals: Option<String>,
    /// A text in the line.
    pub contains: Option<String>,
    /// A regular expression that fits a part of the line.
    pub matches: Option<String>,
    /// No line may be so.
    pub absent: bool,
}

/// A value that may be written short, as one word, or with all its fields.
#[derive(Debug, Clone, PartialEq)]
pub enum Short<S, L> {
    Word(S),
    Whole(L),
}

impl<S, L: JsonSchema> JsonSchema for Short<S, L> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        L::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        L::json_schema(generator)
    }
}

impl<'de, S: Deserialize<'de>, L: Deserialize<'de>> Deserialize<'de> for Short<S, L> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<S, L>(PhantomData<(S, L)>);
        impl<'de, S: Deserialize<'de>, L: Deserialize<'de>> Visitor<'de> for Either<S, L> {
            type Value = Short<S, L>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or fields")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                S::deserialize(StrDeserializer::new(text)).map(Short::Word)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                L::deserialize(MapAccessDeserializer::new(map)).map(Short::Whole)
            }
        }
        deserializer.deserialize_any(Either(PhantomData))
    }
}
