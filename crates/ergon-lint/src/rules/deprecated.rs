//! What has another name today.

use ergon_api::{Document, Group, TaskSpec};

use crate::report::Report;
use crate::rule::DEPRECATED;
use crate::spec::{At, uses_of_task};
use crate::{Edit, Fix};

/// Older versions that are still served.
pub(crate) fn version(report: &mut Report<'_>, document: &Document) {
    if !report.contains("apiVersion") {
        return;
    }
    let start = report.offset(document.source.value("apiVersion"));
    let written = report.source.text[start..].lines().next().unwrap_or_default();
    let quote = usize::from(written.starts_with(['"', '\'']));
    let word = &written[quote..];
    let word = &word[..word.find(|c: char| c.is_whitespace() || "\"',}".contains(c)).unwrap_or(word.len())];
    let Some((group, version)) = word.split_once('/') else { return };
    let Some(known) = ergon_api::crd::kinds().iter().find(|kind| kind.kind == document.object.kind()) else {
        return;
    };
    if Group::of(word) != Some(Group::Tekton)
        || version == known.version
        || !known.older_versions.contains(&version)
    {
        return;
    }
    let range = start + quote..start + quote + word.len();
    let now = format!("{group}/{}", known.version);
    let message = format!("`{word}` is an older version of {}", known.kind);
    report
        .at_value(&DEPRECATED, "apiVersion", message)
        .help(format!("write `{now}`; some fields have other names there: docs/tekton.md"))
        .fix(Fix {
            title: format!("Write `{now}`"),
            edits: vec![Edit { range, text: now.clone() }],
            is_sure: true,
        });
}

/// Older spellings in a Task.
pub(crate) fn task(report: &mut Report<'_>, at: &At<'_, TaskSpec>) {
    for (index, step) in at.spec.steps.iter().enumerate() {
        for place in 0..step.workspaces.len() {
            let path = format!("{}.steps[{index}].workspaces[{place}].mountpath", at.path);
            if let Some(start) = report.key(&path) {
                let range = start..start + "mountpath".len();
                report
                    .at_key(&DEPRECATED, &path, "`mountpath` is an older spelling")
                    .help("write `mountPath`".to_owned())
                    .fix(Fix {
                        title: "Write `mountPath`".to_owned(),
                        edits: vec![Edit { range, text: "mountPath".to_owned() }],
                        is_sure: true,
                    });
            }
        }
    }
    if !report.source.text.contains("inputs.params.") {
        return;
    }
    for (path, variable) in uses_of_task(at.group, at.spec) {
        if let ["inputs", "params", ..] = variable.names().as_slice() {
            let now = variable.text.replacen("inputs.", "", 1);
            report
                .at_word(
                    &DEPRECATED,
                    &format!("{}.{path}", at.path),
                    &variable.text,
                    format!("`$({})` is an older spelling", variable.text),
                )
                .help(format!("write `$({now})`"));
        }
    }
}
