//! A step's turn has come: whether it runs, and with which values in the place of its references.

use ergon_template::is_too_long;
use ergon_wire::{
    CelValue, Condition, Exit, ExitRecord, RunCommand, Script, ScriptValue, StepPlan, TaskPlan,
};

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
    match &mut step.script {
        Some(script) if script.values.is_empty() => script.text = values.put_artifacts(&script.text),
        Some(script) => put_later(script, &values).map_err(|message| Exit::NotStarted { message })?,
        None => {}
    }
    let values = values.named(&step.references);
    Ok(RunCommand { step, results: task.results.clone(), values, company: None })
}

/// Puts in what a script's tags stand for, now that it is known.
///
/// # Errors
/// A value that is not there, or that no script can have.
fn put_later(script: &mut Script, values: &Values<'_>) -> Result<(), String> {
    for value in script.values.values_mut() {
        let ScriptValue::Later(reference) = value else { continue };
        let mut found = values.named(std::slice::from_ref(reference));
        let text = found.remove(reference).map(|value| value.to_string());
        let text = text.ok_or_else(|| format!("its script names `{reference}`, which has no value"))?;
        if text.contains('\0') {
            return Err(format!("its script names `{reference}`, whose value has a NUL byte"));
        }
        *value = if is_too_long(&text) { ScriptValue::File(text) } else { ScriptValue::Text(text) };
    }
    Ok(())
}

fn holds(condition: &Condition, values: &Values<'_>) -> Result<bool, String> {
    let contains = |input: &str, list: &[String]| {
        let input = values.put(input);
        list.iter().flat_map(|text| values.put_items(text)).any(|value| value == input)
    };
    match condition {
        Condition::In { input, values } => Ok(contains(input, values)),
        Condition::NotIn { input, values } => Ok(!contains(input, values)),
        Condition::Cel { expression, values: None } => {
            cel::holds(&values.put(expression)).map_err(|error| error.to_string())
        }
        Condition::Cel { expression, values: Some(named) } => {
            let value = |value: &CelValue| match value {
                CelValue::Known(known) => Some(known.clone()),
                CelValue::Later(reference) => {
                    let found = values.named(std::slice::from_ref(reference)).remove(reference)?;
                    serde_json::to_value(found).ok()
                }
            };
            let known =
                named.iter().filter_map(|(name, named)| Some((name.clone(), value(named)?))).collect();
            let holds = cel::Expression::read(expression).and_then(|expression| expression.holds(&known));
            holds.map_err(|error| error.to_string())
        }
    }
}
