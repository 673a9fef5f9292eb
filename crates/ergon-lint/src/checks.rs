//! What the reader and the webhook's validation find, as findings.

use ergon_api::{Diagnostic, Document};

use crate::report::Report;
use crate::rule::{INVALID, SCHEMA, SYNTAX};
use crate::{Edit, Fix};

/// Why objects could not be read.
pub(crate) fn problems(report: &mut Report<'_>) {
    let rule = if report.source.is_yaml { &SCHEMA } else { &SYNTAX };
    for problem in &report.source.problems {
        let fix = rename(report, problem);
        report.diagnostic(rule, problem).fix(fix);
    }
}

/// What the webhook refuses.
pub(crate) fn document(report: &mut Report<'_>, document: &Document) {
    for problem in document.check_with(&report.options.config) {
        report.diagnostic(&INVALID, &problem);
    }
}

/// A field that is surely a slip of the finger gets the name that was meant, if whoever reads it says so.
fn rename(report: &Report<'_>, problem: &Diagnostic) -> Option<Fix> {
    let meant = problem.help.as_deref()?.strip_prefix("did you mean `")?.strip_suffix("`?")?;
    let wrong = problem.message.strip_prefix("unknown field `")?.strip_suffix('`')?;
    let start = report.offset(ergon_api::Position { line: problem.line, column: problem.column });
    let range = start..start + wrong.len();
    let is_there = report.source.text.get(range.clone()) == Some(wrong);
    is_there.then(|| Fix {
        title: format!("Rename to `{meant}`"),
        edits: vec![Edit { range, text: meant.to_owned() }],
        is_sure: false,
    })
}
