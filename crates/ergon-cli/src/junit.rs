//! Reports in JUnit's form, which is what CI systems read.

use std::path::Path;
use std::time::Duration;

use ergon_local::event::Status;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use crate::failure::{Failure, Result};
use crate::render::{Failures, Outcome, Style, Summary, Tested, mismatches};

/// Writes how tests ended.
///
/// # Errors
/// A file that cannot be written.
pub fn write_tests(path: &Path, tests: &[Tested<'_>], took: Duration) -> Result {
    let mut report = Report::new("ergon test");
    report.set_time(took);
    let mut suites: Vec<TestSuite> = Vec::new();
    let mut sorted: Vec<&Tested<'_>> = tests.iter().collect();
    sorted.sort_by_key(|test| (test.suite.source.file(), &test.suite.definition.metadata.name, test.case));
    for test in sorted {
        let name = format!("{} ({})", test.suite.definition.metadata.name, test.suite.source.file());
        let mut status = TestCaseStatus::success();
        if !test.passed() {
            let kind =
                if test.played.error.is_some() { NonSuccessKind::Error } else { NonSuccessKind::Failure };
            status = TestCaseStatus::non_success(kind);
            let first = test.played.mismatches.first();
            let message = first.map(|mismatch| format!("{} is not as expected", mismatch.what));
            status.set_message(test.played.error.clone().or(message).unwrap_or_default());
            status.set_description(mismatches(test, Style::PLAIN));
        }
        let mut case = TestCase::new(test.suite.definition.spec.cases[test.case].name.clone(), status);
        case.set_time(test.played.duration);
        case.set_classname(test.suite.definition.metadata.name.clone());
        if !test.played.tail.is_empty() {
            case.set_system_out(test.played.tail.join("\n"));
        }
        if let Some(suite) = suites.last_mut().filter(|suite| suite.name.as_str() == name) {
            suite.add_test_case(case);
        } else {
            let mut suite = TestSuite::new(name);
            suite.add_test_case(case);
            suites.push(suite);
        }
    }
    report.add_test_suites(suites);
    write(path, &report)
}

/// Writes how the tasks of a run ended: each is a test.
///
/// # Errors
/// A file that cannot be written.
pub fn write_run(path: &Path, name: &str, summary: &Summary, failures: &Failures) -> Result {
    let mut report = Report::new("ergon run");
    report.set_time(summary.took());
    let mut suite = TestSuite::new(name);
    for row in summary.rows() {
        let mut took = Duration::ZERO;
        let status = match &row.outcome {
            Some(Outcome::Ended { status: Status::Succeeded, duration_ms, .. }) => {
                took = Duration::from_millis(*duration_ms);
                TestCaseStatus::success()
            }
            Some(Outcome::Ended { reason, message, duration_ms, .. }) => {
                took = Duration::from_millis(*duration_ms);
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                status.set_type(reason.clone());
                status.set_message(message.clone());
                status.set_description(failures.tail(&row.task).join("\n"));
                status
            }
            Some(Outcome::Reused) => {
                let mut status = TestCaseStatus::skipped();
                status.set_message("carried out by an earlier run");
                status
            }
            Some(Outcome::Skipped { reason }) => {
                let mut status = TestCaseStatus::skipped();
                status.set_message(reason.clone());
                status
            }
            None => {
                let mut status = TestCaseStatus::skipped();
                status.set_message("not run");
                status
            }
        };
        // The one task of a run without a name has the run's.
        let task = if row.task.is_empty() { name } else { &row.task };
        let mut case = TestCase::new(task, status);
        case.set_time(took);
        case.set_classname(name);
        suite.add_test_case(case);
    }
    report.add_test_suite(suite);
    write(path, &report)
}

fn write(path: &Path, report: &Report) -> Result {
    let failed = |error: String| Failure::invalid(format!("cannot write `{}`: {error}", path.display()));
    let text = report.to_string().map_err(|error| failed(error.to_string()))?;
    std::fs::write(path, text).map_err(|error| failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use ergon_local::event::{Event, Stream};

    use super::*;

    #[test]
    fn each_task_of_a_run_is_a_test() {
        let ended = |task: &str, status, reason: &str, message: &str| Event::TaskEnded {
            task: task.to_owned(),
            status,
            reason: reason.to_owned(),
            message: message.to_owned(),
            duration_ms: 1500,
            results: std::collections::BTreeMap::new(),
        };
        let names = ["build", "test", "push", "tell"].map(str::to_owned).to_vec();
        let (task, step) = ("test".to_owned(), "unit".to_owned());
        let events = [
            Event::RunStarted { run: "r".to_owned(), tasks: names },
            ended("build", Status::Succeeded, "Succeeded", ""),
            Event::Line {
                task: task.clone(),
                step: step.clone(),
                stream: Stream::Stdout,
                text: "1 < 2".to_owned(),
            },
            Event::StepEnded { task, step, exit_code: 1, duration_ms: 5, reason: None },
            ended("test", Status::Failed, "StepFailed", "it failed"),
            Event::Skipped { task: "push".to_owned(), reason: "stopping".to_owned() },
        ];
        let (mut summary, mut failures) = (Summary::default(), Failures::default());
        for event in &events {
            summary.note(event);
            failures.note(event);
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        write_run(file.path(), "r", &summary, &failures).unwrap();
        let text = std::fs::read_to_string(file.path()).unwrap();
        for wanted in [
            "<testsuite name=\"r\" tests=\"4\" skipped=\"2\" errors=\"0\" failures=\"1\">",
            "<testcase name=\"build\" classname=\"r\" time=\"1.500\"/>",
            "<failure message=\"it failed\" type=\"StepFailed\">1 &lt; 2</failure>",
            "<skipped message=\"not run\"/>",
        ] {
            assert!(text.contains(wanted), "{wanted}\nis not in\n{text}");
        }
        assert!(write_run(Path::new("/nowhere/at/all"), "r", &summary, &failures).is_err());
    }
}
