//! A step's turn has come: whether it runs, and with which values in the place of its references.

use ergon_wire::{Condition, Exit, ExitRecord, RunCommand, StepPlan, TaskPlan};

use super::values::Values;
use crate::expr::cel;

/// What the step is told to run.
///
/// # Errors
/// How a step ends that does not run: a condition did not hold, or could not be evaluated.
pub(super) fn take(
    task: &TaskPlan,
    at: usize,
    before: &[(Option<&ExitRecord>, &StepPlan)],
) -> Result<RunCommand, Exit> {
    let mut step = task.steps[at].clone();
    let values = Values::of(before);
    for (at, condition) in step.when.iter().enumerate() {
        let holds = holds(condition, &values).map_err(|message| Exit::NotStarted {
            message: format!("its condition `when[{at}]` cannot be evaluated: {message}"),
        })?;
        if !holds {
            return Err(Exit::WhenFalse);
        }
    }
    if let Some(script) = &mut step.script {
        script.text = values.put_artifacts(&script.text);
    }
    let values = values.named(&step.references);
    Ok(RunCommand { step, results: task.results.clone(), values, company: None })
}

fn holds(condition: &Condition, values: &Values<'_>) -> Result<bool, String> {
    let contains = |input: &str, list: &[String]| {
        let input = values.put(input);
        list.iter().flat_map(|text| values.put_items(text)).any(|value| value == input)
    };
    match condition {
        Condition::In { input, values } => Ok(contains(input, values)),
        Condition::NotIn { input, values } => Ok(!contains(input, values)),
        Condition::Cel { expression } => {
            cel::holds(&values.put(expression)).map_err(|error| error.to_string())
        }
    }
}
