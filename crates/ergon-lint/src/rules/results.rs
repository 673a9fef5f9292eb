//! Results that a Task declares and no step writes.

use ergon_api::TaskSpec;

use crate::report::Report;
use crate::rule::UNWRITTEN_RESULT;
use crate::spec::{At, uses_of_task};

pub(crate) fn unwritten(report: &mut Report<'_>, at: &At<'_, TaskSpec>) {
    if at.spec.results.is_empty() || !report.wants(&UNWRITTEN_RESULT) {
        return;
    }
    let uses = uses_of_task(at.group, at.spec);
    let texts = serde_json::to_string(&(&at.spec.steps, &at.spec.sidecars, &at.spec.step_template));
    let texts = texts.unwrap_or_default();
    for (index, result) in at.spec.results.iter().enumerate() {
        let is_named = uses.iter().any(|(_, variable)| {
            matches!(variable.names().as_slice(), ["results", name, "path"] if *name == result.name)
        });
        let is_written = result.value.is_some()
            || is_named
            // By the file's own name, or made up by the script.
            || texts.contains(&format!("results/{}", result.name))
            || ["results/$", "results/\\\"", "results/*"].iter().any(|made_up| texts.contains(made_up));
        if !is_written {
            let tag = match at.group {
                ergon_api::Group::Ergon => format!("{{{{results.{}.path}}}}", result.name),
                ergon_api::Group::Tekton => format!("$(results.{}.path)", result.name),
            };
            report
                .at_value(
                    &UNWRITTEN_RESULT,
                    &format!("{}.results[{index}].name", at.path),
                    format!("no step writes the result `{}`", result.name),
                )
                .help(format!("write it to `{tag}` in a step, or remove it"));
        }
    }
}
