//! Three braces: a value that becomes a part of the script as it is.

use ergon_api::{Group, StepActionSpec, TaskSpec};

use super::code;
use crate::report::Report;
use crate::rule::RAW_EXPRESSION;
use crate::spec::At;

pub(crate) fn task(report: &mut Report<'_>, at: &At<'_, TaskSpec>) {
    code::each(at, |path, code| check(report, at.group, path, code.script));
}

pub(crate) fn action(report: &mut Report<'_>, at: &At<'_, StepActionSpec>) {
    check(report, at.group, &at.path, at.spec.script.as_deref());
}

fn check(report: &mut Report<'_>, group: Group, path: &str, script: Option<&str>) {
    let Some(script) = script.filter(|_| group == Group::Ergon) else { return };
    let path = format!("{path}.script");
    let mut read = 0;
    while let Some(start) = script[read..].find("{{{").map(|at| read + at) {
        let Some(end) = script[start..].find("}}}").map(|at| start + at + 3) else { return };
        read = end;
        if script[..start].ends_with('\\') {
            continue;
        }
        let written = &script[start..end];
        let message = format!("`{written}` becomes a part of the script as it is");
        report
            .in_text(&RAW_EXPRESSION, &path, script, &(start..end), message)
            .help("write it with two braces where the script can take a value".to_owned());
    }
}
