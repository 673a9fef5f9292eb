//! Pipelines of which a task may hang.

use ergon_api::{Document, Object, PipelineSpec};

use crate::report::Report;
use crate::rule::MISSING_TIMEOUT;

pub(crate) fn document(report: &mut Report<'_>, document: &Document) {
    match &document.object {
        Object::Pipeline(pipeline) => check(report, "spec", &pipeline.spec),
        Object::PipelineRun(run) if run.spec.timeouts.is_none() => {
            if let Some(spec) = &run.spec.pipeline_spec {
                check(report, "spec.pipelineSpec", spec);
            }
        }
        _ => {}
    }
}

/// One finding for a Pipeline, however many tasks it has.
fn check(report: &mut Report<'_>, path: &str, spec: &PipelineSpec) {
    const SHOWN: usize = 5;
    let without: Vec<&str> =
        spec.all_tasks().filter(|task| task.timeout.is_none()).map(|task| task.name.as_str()).collect();
    if without.is_empty() {
        return;
    }
    let all = spec.all_tasks().count();
    let more = if without.len() > SHOWN { ", …" } else { "" };
    let names: Vec<String> = without.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    let default = report.options.config.defaults.timeout;
    let how_long = if default.is_zero() { "for ever".to_owned() } else { format!("for {default}") };
    report
        .at_key(
            &MISSING_TIMEOUT,
            &format!("{path}.tasks"),
            format!(
                "{} of {all} tasks have no timeout: {}{more}; one that hangs holds the run {how_long}",
                without.len(),
                names.join(", ")
            ),
        )
        .help("write `timeout: 10m` at the task, or `timeouts` in the run".to_owned());
}
