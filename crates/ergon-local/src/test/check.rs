//! From how a run ended to what was not as expected.

use std::path::{Path, PathBuf};

use ergon_api::ParamValue;
use regex::Regex;

use super::definition::{Ended, Outcome as Wanted};
use super::load::{is_below, task_of};
use super::{Expect, ExpectedLine, ExpectedTask, Matcher, Short};
use crate::event::{Event, Status};
use crate::run::Outcome;

/// One thing that was not as expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The expectation's field, below `expect`.
    pub path: String,
    /// What it is about, such as ``result `tag` ``.
    pub what: String,
    pub expected: String,
    pub found: String,
}

/// A line that a step printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub task: String,
    pub step: String,
    pub text: String,
}

impl Line {
    pub fn of(event: Event) -> Option<Self> {
        match event {
            Event::Line { task, step, text, .. } => Some(Self { task, step, text }),
            _ => None,
        }
    }
}

/// Compares. `folder` gives where a workspace is.
pub(super) fn check(
    expect: &Expect,
    outcome: &Outcome,
    lines: &[Line],
    folder: &dyn Fn(&str) -> PathBuf,
) -> Vec<Mismatch> {
    let mut found = Check { outcome, mismatches: Vec::new() };
    found.run(expect);
    for (name, task) in &expect.tasks {
        match task {
            Short::Word(status) => {
                let task = ExpectedTask { status: Some(*status), ..ExpectedTask::default() };
                found.task(name, &task, true);
            }
            Short::Whole(task) => found.task(name, task, false),
        }
    }
    for (workspace, files) in &expect.workspaces {
        for (path, matcher) in files {
            found.file(workspace, path, matcher, &folder(workspace));
        }
    }
    for (at, line) in expect.log.iter().enumerate() {
        let line = match line {
            Short::Word(text) => ExpectedLine { contains: Some(text.clone()), ..ExpectedLine::default() },
            Short::Whole(line) => line.clone(),
        };
        found.line(at, &line, lines);
    }
    found.mismatches
}

struct Check<'a> {
    outcome: &'a Outcome,
    mismatches: Vec<Mismatch>,
}

impl Check<'_> {
    fn wrong(
        &mut self,
        path: impl Into<String>,
        what: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) {
        let (expected, found) = (expected.into(), found.into());
        self.mismatches.push(Mismatch { path: path.into(), what: what.into(), expected, found });
    }

    fn value(&mut self, path: String, what: String, matcher: &Matcher, found: Option<&ParamValue>) {
        if !matcher.holds(found) {
            let found = found.map_or_else(|| "nothing".to_owned(), ToString::to_string);
            self.wrong(path, what, matcher.to_string(), found);
        }
    }

    fn run(&mut self, expect: &Expect) {
        let wanted = match expect.status {
            Ended::Succeeded => Status::Succeeded,
            Ended::Failed => Status::Failed,
            Ended::Cancelled => Status::Cancelled,
        };
        let condition = self.outcome.condition();
        let (reason, message) =
            condition.map(|condition| (condition.reason(), condition.message())).unwrap_or_default();
        if wanted != self.outcome.status {
            let found = format!("{} ({reason}: {message})", word(self.outcome.status));
            self.wrong("status", "status of the run", word(wanted), found);
        }
        if let Some(matcher) = expect.reason.as_ref().filter(|matcher| !matcher.holds_for(Some(reason))) {
            self.wrong("reason", "reason of the run", matcher.to_string(), reason);
        }
        if let Some(matcher) = expect.message.as_ref().filter(|matcher| !matcher.holds_for(Some(message))) {
            self.wrong("message", "message of the run", matcher.to_string(), message);
        }
        for (name, matcher) in &expect.results {
            let found = self.result(name);
            self.value(format!("results.{name}"), format!("result `{name}`"), matcher, found.as_ref());
        }
    }

    fn result(&self, name: &str) -> Option<ParamValue> {
        let status = |run: &ergon_api::PipelineRun| {
            let results = run.status.iter().flat_map(|status| &status.results);
            results.filter(|result| result.name == name).map(|result| result.value.clone()).next()
        };
        match &self.outcome.pipeline_run {
            Some(run) => status(run),
            None => result_of(&self.outcome.tasks.first()?.1.run, name).cloned(),
        }
    }

    fn task(&mut self, name: &str, expect: &ExpectedTask, short: bool) {
        let path = format!("tasks.{name}");
        let outcome = self.outcome;
        let legs: Vec<_> =
            outcome.tasks.iter().filter(|(known, _)| known == name || task_of(known) == name).collect();
        let skipped = outcome.skipped.iter().find(|(known, _)| known == name).map(|(_, task)| task);
        let inner = || outcome.pipelines.iter().any(|(prefix, _)| *prefix == format!("{name}/"));
        if let Some(wanted) = expect.status {
            let found = legs.iter().map(|(_, task)| task.status).collect::<Vec<_>>();
            let of = |status: Status| found.contains(&Some(status));
            let status = match skipped {
                Some(_) => Some(Wanted::Skipped),
                None if found.is_empty() && !inner() => None,
                None if of(Status::Failed) => Some(Wanted::Failed),
                None if of(Status::Cancelled) => Some(Wanted::Cancelled),
                None => Some(Wanted::Succeeded),
            };
            if status != Some(wanted) {
                let why = match skipped {
                    Some(task) => format!(" ({})", task.reason),
                    None => legs
                        .iter()
                        .filter_map(|(_, task)| task.run.condition())
                        .find(|condition| {
                            !condition.message().is_empty() && status != Some(Wanted::Succeeded)
                        })
                        .map_or_else(String::new, |condition| format!(" ({})", condition.message())),
                };
                let found = status.map_or("not run".to_owned(), |status| format!("{status:?}{why}"));
                let path = if short { path.clone() } else { format!("{path}.status") };
                self.wrong(path, format!("task `{name}`"), format!("{wanted:?}"), found);
            }
        }
        if let Some(matcher) = &expect.reason {
            let found = skipped.map(|task| task.reason.as_str()).or_else(|| {
                legs.first().and_then(|(_, task)| task.run.condition()).map(ergon_api::Condition::reason)
            });
            if !matcher.holds_for(found) {
                let found = found.unwrap_or("nothing");
                self.wrong(
                    format!("{path}.reason"),
                    format!("reason of task `{name}`"),
                    matcher.to_string(),
                    found,
                );
            }
        }
        let first = legs.first().map(|(_, task)| &task.run);
        for (result, matcher) in &expect.results {
            let found = first.and_then(|run| result_of(run, result));
            let what = format!("result `{result}` of task `{name}`");
            self.value(format!("{path}.results.{result}"), what, matcher, found);
        }
        for (param, matcher) in &expect.params {
            let found = first.and_then(|run| run.spec.params.iter().find(|known| known.name == *param));
            let what = format!("parameter `{param}` of task `{name}`");
            self.value(format!("{path}.params.{param}"), what, matcher, found.map(|param| &param.value));
        }
        if let Some(wanted) = expect.tries {
            let found = first
                .map_or(0, |run| run.status.as_ref().map_or(0, |status| status.retries_status.len()) + 1);
            if found != wanted {
                self.wrong(
                    format!("{path}.tries"),
                    format!("tries of task `{name}`"),
                    wanted.to_string(),
                    found.to_string(),
                );
            }
        }
        if let Some(wanted) = expect.legs.filter(|wanted| *wanted != legs.len()) {
            self.wrong(
                format!("{path}.legs"),
                format!("legs of task `{name}`"),
                wanted.to_string(),
                legs.len().to_string(),
            );
        }
    }

    fn file(&mut self, workspace: &str, path: &str, matcher: &Matcher, folder: &Path) {
        let found = is_below(path).then(|| std::fs::read(folder.join(path)).ok()).flatten();
        let found = found.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        if !matcher.holds_for(found.as_deref()) {
            let what = format!("file `{path}` in workspace `{workspace}`");
            let found = found.unwrap_or_else(|| "no such file".to_owned());
            self.wrong(format!("workspaces.{workspace}.{path}"), what, matcher.to_string(), found);
        }
    }

    fn line(&mut self, at: usize, expect: &ExpectedLine, lines: &[Line]) {
        let pattern = expect.matches.as_ref().and_then(|text| Regex::new(text).ok());
        let of = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
        let from = |line: &&Line| {
            let leg = expect.task.as_ref().is_some_and(|task| task == task_of(&line.task));
            (leg || of(&expect.task, &line.task)) && of(&expect.step, &line.step)
        };
        let fits = |line: &&Line| {
            of(&expect.equals, &line.text)
                && expect.contains.as_ref().is_none_or(|part| line.text.contains(part.as_str()))
                && pattern.as_ref().is_none_or(|pattern| pattern.is_match(&line.text))
        };
        let mut wanted = Vec::new();
        wanted.extend(expect.equals.clone());
        wanted.extend(expect.contains.as_ref().map(|part| format!("something with `{part}`")));
        wanted.extend(expect.matches.as_ref().map(|pattern| format!("something like /{pattern}/")));
        let wanted = if wanted.is_empty() { "any line".to_owned() } else { wanted.join(" and ") };
        let first = lines.iter().filter(from).find(fits);
        let what = match (&expect.task, &expect.step) {
            (Some(task), Some(step)) => format!("log of step `{step}` of task `{task}`"),
            (Some(task), None) => format!("log of task `{task}`"),
            (None, Some(step)) => format!("log of step `{step}`"),
            (None, None) => "log".to_owned(),
        };
        match first {
            Some(line) if expect.absent => {
                self.wrong(format!("log[{at}]"), what, format!("no line with {wanted}"), line.text.clone());
            }
            None if !expect.absent => {
                let count = lines.iter().filter(from).count();
                let found = match count {
                    0 => "no lines at all".to_owned(),
                    1 => "one line, and not that".to_owned(),
                    count => format!("{count} lines, none of them that"),
                };
                self.wrong(format!("log[{at}]"), what, wanted, found);
            }
            _ => {}
        }
    }
}

fn result_of<'a>(run: &'a ergon_api::TaskRun, name: &str) -> Option<&'a ParamValue> {
    let results = run.status.iter().flat_map(|status| &status.results);
    results.into_iter().find(|result| result.name == name).map(|result| &result.value)
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Succeeded => "Succeeded",
        Status::Failed => "Failed",
        Status::Cancelled => "Cancelled",
    }
}
