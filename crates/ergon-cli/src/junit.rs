//! Reports in JUnit's form, which is what CI systems read.

use std::path::Path;
use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use crate::failure::{Failure, Result};
use crate::render::{Style, Tested, mismatches};

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

fn write(path: &Path, report: &Report) -> Result {
    let failed = |error: String| Failure::invalid(format!("cannot write `{}`: {error}", path.display()));
    let text = report.to_string().map_err(|error| failed(error.to_string()))?;
    std::fs::write(path, text).map_err(|error| failed(error.to_string()))
}
