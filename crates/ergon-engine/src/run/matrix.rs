//! Fanning a pipeline task out: one task run for each combination of values.

use std::collections::BTreeMap;

use ergon_api::{IncludeParams, Matrix, Param, ParamValue};
use serde_json::Value;

use crate::expr::cel::{self, CelError};
use crate::expr::{Scope, cel_value, expand_value, expand_values};

/// The matrix with its references replaced: a whole array (`$(params.list[*])`) stays one.
pub fn expand(matrix: &Matrix, scope: &Scope) -> Matrix {
    Matrix {
        params: expand_params(&matrix.params, scope),
        include: matrix
            .include
            .iter()
            .map(|include| IncludeParams { params: expand_params(&include.params, scope), ..include.clone() })
            .collect(),
        filter: matrix.filter.clone(),
        filter_values: expand_values(matrix.filter_values.as_ref(), scope),
    }
}

/// The expression that combinations have to fulfil, and the values that it has without them.
struct Filter {
    expression: cel::Expression,
    values: BTreeMap<String, Value>,
}

impl Filter {
    /// None where there is none, or where its values are not known yet.
    fn of(matrix: &Matrix) -> Result<Option<Self>, CelError> {
        let Some(text) = &matrix.filter else { return Ok(None) };
        let values = matrix.filter_values.iter().flatten();
        if values.clone().any(|(_, value)| value.value.is_none()) {
            return Ok(None);
        }
        let expression = cel::Expression::read(text)?;
        let values = values.filter_map(|(name, value)| Some((name.clone(), cel_value(value)?))).collect();
        Ok(Some(Self { expression, values }))
    }

    fn keeps(&self, leg: &[Param]) -> Result<bool, CelError> {
        let mut values = self.values.clone();
        for param in leg {
            let dotted = param.name.contains('.');
            let name =
                if dotted { format!("matrix[\"{}\"]", param.name) } else { format!("matrix.{}", param.name) };
            values.insert(name, Value::String(param.value.as_str().unwrap_or_default().to_owned()));
        }
        self.expression.holds(&values)
    }
}

/// Parameters with the references in their values replaced.
pub fn expand_params(params: &[Param], scope: &Scope) -> Vec<Param> {
    params
        .iter()
        .map(|param| Param { name: param.name.clone(), value: expand_value(&param.value, scope) })
        .collect()
}

/// The most legs of one task, however its lists came about: more would not fit into one run's status.
const MOST: usize = 10_000;

/// How many legs there are, counted without making them; none where they are too many to count.
fn count(matrix: &Matrix) -> Option<usize> {
    let crossed = matrix.params.iter().try_fold(1usize, |product, param| {
        let values = match &param.value {
            ParamValue::Array(values) => values.len(),
            ParamValue::String(_) => 1,
            ParamValue::Object(_) | ParamValue::Secret(_) => 0,
        };
        product.checked_mul(values)
    })?;
    let crossed = if matrix.params.is_empty() { 0 } else { crossed };
    crossed.checked_add(matrix.include.len())
}

/// Whether there is no combination to run.
pub fn is_empty(matrix: &Matrix) -> bool {
    matrix.params.iter().any(|param| matches!(&param.value, ParamValue::Array(values) if values.is_empty()))
        || count(matrix) == Some(0)
        || matrix.filter.is_some() && check("", matrix).is_ok() && legs(matrix).is_empty()
}

/// Whether the lists are lists, now that their references are replaced, and the legs not too many.
///
/// # Errors
/// What is wrong, in Tekton's words where it has any.
pub fn check(task: &str, matrix: &Matrix) -> Result<(), String> {
    for param in &matrix.params {
        if !matches!(param.value, ParamValue::Array(_)) {
            return Err(format!(
                "parameters of type array only are allowed, but param \"{}\" has type \"{}\" in pipelineTask \"{task}\"",
                param.name,
                param.value.type_()
            ));
        }
    }
    match count(matrix) {
        Some(count) if count <= MOST => {
            let told =
                |error: CelError| format!("the filter of the matrix of pipelineTask \"{task}\": {error}");
            match Filter::of(matrix).map_err(told)? {
                Some(filter) => {
                    all(matrix).iter().try_for_each(|leg| filter.keeps(leg).map(drop).map_err(told))
                }
                None => Ok(()),
            }
        }
        _ => Err(format!("the matrix of pipelineTask \"{task}\" has more than {MOST} combinations")),
    }
}

/// How many [`legs`] there are.
pub fn len(matrix: &Matrix) -> usize {
    // Which of the included ones are legs of their own shows when they are made.
    let is_plain = matrix.include.is_empty() && matrix.filter.is_none();
    let crossed = if is_plain { count(matrix) } else { None };
    crossed.unwrap_or_else(|| legs(matrix).len())
}

/// The parameters of each leg, sorted by name. The legs are in Tekton's order, which their results keep: the first
/// parameter changes fastest.
///
/// `include` adds to the combinations that have the same values, and makes legs of its own where none has, as Tekton
/// does. Those that the filter does not keep are left out.
pub fn legs(matrix: &Matrix) -> Vec<Vec<Param>> {
    let mut legs = all(matrix);
    if let Ok(Some(filter)) = Filter::of(matrix) {
        // What it cannot be asked of is told before.
        legs.retain(|leg| filter.keeps(leg).unwrap_or(true));
    }
    legs
}

/// The legs before any filter.
fn all(matrix: &Matrix) -> Vec<Vec<Param>> {
    let mut legs: Vec<Vec<Param>> = Vec::new();
    if !matrix.params.is_empty() {
        legs.push(Vec::new());
    }
    for param in &matrix.params {
        let values = match &param.value {
            ParamValue::Array(values) => values.clone(),
            ParamValue::String(text) => vec![text.clone()],
            ParamValue::Object(_) | ParamValue::Secret(_) => Vec::new(),
        };
        legs = values
            .iter()
            .flat_map(|value| {
                legs.iter().map(|leg| {
                    let mut leg = leg.clone();
                    leg.push(Param { name: param.name.clone(), value: ParamValue::String(value.clone()) });
                    leg
                })
            })
            .collect();
    }
    let combined = legs.len();
    for include in &matrix.include {
        let crossed = |param: &Param| matrix.params.iter().any(|known| known.name == param.name);
        let (keys, extra): (Vec<&Param>, Vec<&Param>) =
            include.params.iter().partition(|param| crossed(param));
        let mut matched = false;
        for leg in &mut legs[..combined] {
            if keys.iter().all(|key| leg.iter().any(|param| param == *key)) {
                matched = true;
                for param in &extra {
                    match leg.iter_mut().find(|known| known.name == param.name) {
                        Some(known) => known.value = param.value.clone(),
                        None => leg.push((*param).clone()),
                    }
                }
            }
        }
        if !matched {
            legs.push(include.params.clone());
        }
    }
    for leg in &mut legs {
        leg.sort_by(|one, other| one.name.cmp(&other.name));
    }
    legs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(matrix: serde_json::Value) -> Vec<String> {
        let matrix: Matrix = serde_json::from_value(matrix).unwrap();
        legs(&matrix)
            .iter()
            .map(|leg| {
                let params: Vec<String> =
                    leg.iter().map(|param| format!("{}={}", param.name, param.value)).collect();
                params.join(",")
            })
            .collect()
    }

    #[test]
    fn combinations_and_includes() {
        let params = serde_json::json!([{"name": "os", "value": ["linux", "mac"]}, {"name": "go", "value": ["1", "2"]}]);
        assert_eq!(
            shown(serde_json::json!({"params": params})),
            ["go=1,os=linux", "go=1,os=mac", "go=2,os=linux", "go=2,os=mac"]
        );
        let include = serde_json::json!([
            {"params": [{"name": "os", "value": "mac"}, {"name": "flag", "value": "x"}]},
            {"params": [{"name": "os", "value": "bsd"}]}
        ]);
        assert_eq!(
            shown(serde_json::json!({"params": params, "include": include})),
            ["go=1,os=linux", "flag=x,go=1,os=mac", "go=2,os=linux", "flag=x,go=2,os=mac", "os=bsd"]
        );
        assert_eq!(
            shown(
                serde_json::json!({"include": [{"params": [{"name": "a", "value": "1"}]}, {"params": [{"name": "a", "value": "2"}]}]})
            ),
            ["a=1", "a=2"]
        );
        assert!(shown(serde_json::json!({"params": [{"name": "a", "value": []}]})).is_empty());
        assert_eq!(
            shown(
                serde_json::json!({"params": params, "include": include, "filter": "matrix.os == 'mac' || has(matrix.go) && matrix.go == '1'"})
            ),
            ["go=1,os=linux", "flag=x,go=1,os=mac", "flag=x,go=2,os=mac"]
        );
    }
}
