//! The graph of a Pipeline's tasks.

use ergon_api::variables::variables;
use ergon_api::{PipelineSpec, WhenExpression, WhenOperator};
use ergon_engine::graph::{Graph, GraphError};

use crate::report::Report;
use crate::rule::{CYCLE, UNREACHABLE};
use crate::spec::{At, read_pipeline};

/// Tasks that wait for each other.
pub(crate) fn cycle(report: &mut Report<'_>, at: &At<'_, PipelineSpec>) {
    let spec = read_pipeline(at.group, at.spec);
    // Names that there are twice, or not at all, are found by the validation.
    let Err(GraphError::Cycle { path }) = Graph::build(&spec.tasks) else { return };
    let Some(first) = path.first() else { return };
    let index = spec.tasks.iter().position(|task| task.name == *first).unwrap_or_default();
    report
        .at_value(
            &CYCLE,
            &format!("{}.tasks[{index}].name", at.path),
            format!("tasks wait for each other: {}", path.join(" -> ")),
        )
        .help("remove one of their `runAfter`, or the use of a result".to_owned());
}

/// Tasks whose condition can never hold.
pub(crate) fn unreachable(report: &mut Report<'_>, at: &At<'_, PipelineSpec>) {
    for (list, tasks) in [("tasks", &at.spec.tasks), ("finally", &at.spec.finally)] {
        for (index, task) in tasks.iter().enumerate() {
            for (place, condition) in task.when.iter().enumerate() {
                if never_holds(condition) {
                    report
                        .at_key(
                            &UNREACHABLE,
                            &format!("{}.{list}[{index}].when[{place}]", at.path),
                            format!("`{}` never runs: this condition never holds", task.name),
                        )
                        .help("let `input` name a parameter or a result, or remove the task".to_owned());
                }
            }
        }
    }
}

fn never_holds(condition: &WhenExpression) -> bool {
    let is_open = |text: &str| text.contains("{{") || !variables(text).is_empty();
    if let Some(cel) = &condition.cel {
        return cel.trim() == "false";
    }
    if is_open(&condition.input) || condition.values.iter().any(|value| is_open(value)) {
        return false;
    }
    let is_in = condition.values.contains(&condition.input);
    match condition.operator {
        Some(WhenOperator::In) => !is_in,
        Some(WhenOperator::NotIn) => is_in,
        None => false,
    }
}
