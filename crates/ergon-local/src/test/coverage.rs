//! Which branches of `when` tests have taken.

use std::collections::BTreeMap;

use ergon_api::{Document, Object, reasons};

use super::Suite;
use super::load::task_of;
use crate::run::Outcome;

/// What a `when` came to in one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// The pipeline task, after the names of the tasks that it is a part of.
    pub task: String,
    pub ran: bool,
    pub skipped: bool,
}

/// The `when` of one task, over all tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    /// The Pipeline, or the run that has it inside.
    pub pipeline: String,
    pub task: String,
    /// Where it stands, as `file:line:column`; empty where it is in no file.
    pub place: String,
    /// A test had it hold.
    pub ran: bool,
    /// A test had it not hold.
    pub skipped: bool,
}

impl Coverage {
    /// Adds up what the cases of suites took. Each item is a suite with a branch of one of its cases.
    pub fn of<'a>(taken: impl Iterator<Item = (&'a Suite, &'a Branch)>) -> Vec<Self> {
        let mut all: BTreeMap<(String, String, String), (bool, bool)> = BTreeMap::new();
        for (suite, branch) in taken {
            let (pipeline, place) = stands(suite, &branch.task);
            let both = all.entry((place, pipeline, branch.task.clone())).or_default();
            both.0 |= branch.ran;
            both.1 |= branch.skipped;
        }
        all.into_iter()
            .map(|((place, pipeline, task), (ran, skipped))| Self { pipeline, task, place, ran, skipped })
            .collect()
    }
}

/// The branches that a run has taken.
pub(super) fn branches(outcome: &Outcome) -> Vec<Branch> {
    let mut branches = Vec::new();
    for (prefix, spec) in &outcome.pipelines {
        for task in spec.all_tasks().filter(|task| !task.when.is_empty()) {
            let name = format!("{prefix}{}", task.name);
            let is_it = |known: &str| task_of(known) == name || known.starts_with(&format!("{name}/"));
            let ran = outcome.tasks.iter().any(|(known, _)| is_it(known));
            let mut skipped = outcome.skipped.iter().filter(|(known, _)| *known == name);
            let skipped = skipped.any(|(_, task)| task.reason == reasons::skip::WHEN);
            branches.push(Branch { task: name, ran, skipped });
        }
    }
    branches
}

/// The pipeline that a task of a suite is in, and where its `when` stands.
fn stands(suite: &Suite, task: &str) -> (String, String) {
    let target = &suite.documents[suite.target];
    let (document, prefix) = match &target.object {
        Object::PipelineRun(run) if run.spec.pipeline_spec.is_none() => {
            let name = run.spec.pipeline_ref.as_ref().and_then(|reference| reference.name.as_deref());
            let is_it = |document: &&Document| matches!(&document.object, Object::Pipeline(pipeline) if Some(pipeline.name()) == name);
            (suite.documents.iter().find(is_it).unwrap_or(target), "spec")
        }
        Object::PipelineRun(_) => (target, "spec.pipelineSpec"),
        _ => (target, "spec"),
    };
    let name = Some(document.object.name()).filter(|name| !name.is_empty());
    let name = name.unwrap_or(&suite.definition.metadata.name).to_owned();
    let spec = super::names::pipeline(&suite.documents, &target.object);
    let path = spec.and_then(|spec| {
        let of = |tasks: &[ergon_api::PipelineTask], field: &str| {
            let at = tasks.iter().position(|known| known.name == task)?;
            Some(format!("{prefix}.{field}[{at}].when"))
        };
        of(&spec.tasks, "tasks").or_else(|| of(&spec.finally, "finally"))
    });
    let place = path.map(|path| {
        let at = document.source.key(&path);
        format!("{}:{}:{}", document.source.file(), at.line, at.column)
    });
    (name, place.unwrap_or_default())
}
