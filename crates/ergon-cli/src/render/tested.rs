//! How tests ended.

use std::fmt::Write as _;
use std::time::Duration;

use ergon_local::test::{Coverage, Mismatch, Played, Suite};
use serde_json::{Value, json};
use similar::{ChangeTag, TextDiff};

use super::{Style, duration};

/// A case that was carried out.
#[derive(Debug)]
pub struct Tested<'a> {
    /// What it is a case of.
    pub suite: &'a Suite,
    /// Which one of it.
    pub case: usize,
    /// The name of both.
    pub name: String,
    /// How it ended.
    pub played: Played,
}

impl Tested<'_> {
    /// Whether all was as expected.
    pub fn passed(&self) -> bool {
        self.played.error.is_none() && self.played.mismatches.is_empty()
    }

    /// Where an expectation stands.
    fn place(&self, path: &str) -> String {
        let at = self.suite.source.value(&format!("spec.cases[{}].expect.{path}", self.case));
        format!("{}:{}:{}", self.suite.source.file(), at.line, at.column)
    }
}

/// One line for a case that passed; for one that failed, what was not as expected.
pub fn tested(test: &Tested<'_>, style: Style) -> String {
    let took = style.dim(&format!("({})", duration(test.played.duration)));
    if test.passed() {
        return format!("{} {} {took}\n", style.green("PASS"), test.name);
    }
    let mut text = format!("{} {} {took}\n", style.red("FAIL"), test.name);
    text.push_str(&indented(&mismatches(test, style), "     "));
    if !test.played.tail.is_empty() {
        text.push_str("     the last lines that were printed:\n");
        text.push_str(&indented(&test.played.tail.join("\n"), "       "));
    }
    text
}

/// What was not as expected, each with its place.
pub fn mismatches(test: &Tested<'_>, style: Style) -> String {
    let mut text = String::new();
    if let Some(error) = &test.played.error {
        let _ = writeln!(text, "{}: {error}", test.place(""));
    }
    for mismatch in &test.played.mismatches {
        let _ = writeln!(text, "{}: {}", test.place(&mismatch.path), mismatch.what);
        text.push_str(&indented(&difference(mismatch, style), "  "));
    }
    text
}

/// Two lines; or the lines that differ, where there are several.
fn difference(mismatch: &Mismatch, style: Style) -> String {
    let Mismatch { expected, found, .. } = mismatch;
    if !expected.trim_end().contains('\n') && !found.trim_end().contains('\n') {
        return format!("expected: {}\nfound:    {}\n", style.green(expected), style.red(found));
    }
    let diff = TextDiff::from_lines(expected.as_str(), found.as_str());
    let mut text = format!("{} {}\n", style.green("- expected"), style.red("+ found"));
    for (at, group) in diff.grouped_ops(3).iter().enumerate() {
        if at > 0 {
            text.push_str("...\n");
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let line = change.value().trim_end_matches('\n');
            let line = match change.tag() {
                ChangeTag::Delete => style.green(&format!("- {line}")),
                ChangeTag::Insert => style.red(&format!("+ {line}")),
                ChangeTag::Equal => format!("  {line}"),
            };
            text.push_str(&line);
            text.push('\n');
        }
    }
    if expected.ends_with('\n') != found.ends_with('\n') {
        let which = if expected.ends_with('\n') { "what was found" } else { "what is expected" };
        let _ = writeln!(text, "({which} has no line break at its end)");
    }
    text
}

fn indented(text: &str, by: &str) -> String {
    text.lines().flat_map(|line| [by, line, "\n"]).collect()
}

/// Which branches of `when` were taken. Empty without any `when`.
pub fn covered(coverage: &[Coverage], style: Style) -> String {
    if coverage.is_empty() {
        return String::new();
    }
    let taken: usize = coverage.iter().map(|one| usize::from(one.ran) + usize::from(one.skipped)).sum();
    let mut text = format!("\n`when`: {taken} of {} branches taken\n", coverage.len() * 2);
    for one in coverage.iter().filter(|one| !one.ran || !one.skipped) {
        let missing = match (one.ran, one.skipped) {
            (true, _) => "was never skipped by it",
            (false, true) => "never ran",
            (false, false) => "neither ran nor was skipped by it",
        };
        let place = if one.place.is_empty() { String::new() } else { format!("{}: ", one.place) };
        let _ = writeln!(
            text,
            "  {}",
            style.yellow(&format!("{place}`{}` of {} {missing}", one.task, one.pipeline))
        );
    }
    text
}

/// How many passed and failed.
pub fn totals(tests: &[Tested<'_>], took: Duration, style: Style) -> String {
    let passed = tests.iter().filter(|test| test.passed()).count();
    let bare = tests.iter().filter(|test| !test.played.with_containers).count();
    let failed = tests.len() - passed;
    let count = if tests.len() == 1 { "1 test".to_owned() } else { format!("{} tests", tests.len()) };
    let passed = if passed == 0 { "0 passed".to_owned() } else { style.green(&format!("{passed} passed")) };
    let failed = if failed == 0 { "0 failed".to_owned() } else { style.red(&format!("{failed} failed")) };
    format!("\n{count}: {passed}, {failed}; {bare} without containers; in {}\n", duration(took))
}

/// All of it for programs.
pub fn tested_json(tests: &[Tested<'_>], coverage: &[Coverage], took: Duration) -> Value {
    let cases: Vec<Value> = tests
        .iter()
        .map(|test| {
            let wrong: Vec<Value> = test
                .played
                .mismatches
                .iter()
                .map(|wrong| {
                    json!({"place": test.place(&wrong.path), "what": wrong.what, "expected": wrong.expected,
                        "found": wrong.found})
                })
                .collect();
            json!({
                "file": test.suite.source.file(),
                "test": test.suite.definition.metadata.name,
                "case": test.suite.definition.spec.cases[test.case].name,
                "passed": test.passed(),
                "withContainers": test.played.with_containers,
                "durationMs": millis(test.played.duration),
                "error": test.played.error,
                "mismatches": wrong,
                "log": test.played.tail,
            })
        })
        .collect();
    let branches: Vec<Value> = coverage
        .iter()
        .map(|one| {
            json!({"pipeline": one.pipeline, "task": one.task, "place": one.place, "ran": one.ran,
                "skipped": one.skipped})
        })
        .collect();
    let passed = tests.iter().filter(|test| test.passed()).count();
    json!({"passed": passed, "failed": tests.len() - passed, "durationMs": millis(took), "cases": cases,
        "when": branches})
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mismatch(expected: &str, found: &str) -> Mismatch {
        Mismatch {
            path: String::new(),
            what: String::new(),
            expected: expected.to_owned(),
            found: found.to_owned(),
        }
    }

    #[test]
    fn texts_of_many_lines_are_shown_by_their_difference() {
        assert_eq!(difference(&mismatch("a", "b"), Style::PLAIN), "expected: a\nfound:    b\n");
        assert_eq!(
            difference(&mismatch("a\nb\nc\n", "a\nx\nc"), Style::PLAIN),
            "- expected + found\n  a\n- b\n- c\n+ x\n+ c\n(what was found has no line break at its end)\n"
        );
    }

    #[test]
    fn branches_that_were_not_taken_are_named() {
        let one = |task: &str, ran, skipped| Coverage {
            pipeline: "p".to_owned(),
            task: task.to_owned(),
            place: "p.yaml:3:5".to_owned(),
            ran,
            skipped,
        };
        let text =
            covered(&[one("a", true, true), one("b", true, false), one("c", false, true)], Style::PLAIN);
        assert_eq!(
            text,
            "\n`when`: 4 of 6 branches taken\n  p.yaml:3:5: `b` of p was never skipped by it\n  p.yaml:3:5: `c` of p never ran\n"
        );
        assert_eq!(covered(&[], Style::PLAIN), "");
    }
}
