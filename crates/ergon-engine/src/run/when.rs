//! Conditions of pipeline tasks.

use ergon_api::{WhenExpression, WhenOperator};

use crate::expr::cel::{self, CelError};
use crate::expr::{Scope, cel_values, expand, expand_items, expand_values};

/// The expressions with their references replaced, as they are shown in the status.
pub fn expand_all(expressions: &[WhenExpression], scope: &Scope) -> Vec<WhenExpression> {
    expressions
        .iter()
        .map(|expression| WhenExpression {
            input: expand(&expression.input, scope),
            values: expression.values.iter().flat_map(|value| expand_items(value, scope)).collect(),
            cel: match &expression.cel_values {
                Some(_) => expression.cel.clone(),
                None => expression.cel.as_ref().map(|text| expand(text, scope)),
            },
            cel_values: expand_values(expression.cel_values.as_ref(), scope),
            ..expression.clone()
        })
        .collect()
}

/// Whether all of the expressions hold; their references are replaced already.
///
/// # Errors
/// The first CEL expression that cannot be evaluated, whatever the others say.
pub fn hold(expressions: &[WhenExpression]) -> Result<bool, CelError> {
    let mut all = true;
    for expression in expressions {
        if let Some(text) = expression.cel.as_ref().filter(|text| !text.is_empty()) {
            all &= match &expression.cel_values {
                Some(values) => cel::Expression::read(text)?.holds(&cel_values(values))?,
                None => cel::holds(text)?,
            };
            continue;
        }
        let contained = expression.values.contains(&expression.input);
        all &= match expression.operator {
            Some(WhenOperator::NotIn) => !contained,
            _ => contained,
        };
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_and_notin() {
        let expression = |input: &str, operator: &str, values: &[&str]| -> WhenExpression {
            serde_json::from_value(
                serde_json::json!({"input": input, "operator": operator, "values": values}),
            )
            .unwrap()
        };
        let hold = |expressions: &[WhenExpression]| super::hold(expressions).unwrap();
        assert!(hold(&[]));
        assert!(hold(&[expression("a", "in", &["b", "a"])]));
        assert!(!hold(&[expression("a", "in", &["b", "a"]), expression("a", "notin", &["a"])]));
        assert!(hold(&[expression("", "notin", &["a"])]));
        let cel = |text: &str| WhenExpression { cel: Some(text.to_owned()), ..Default::default() };
        assert!(!hold(&[cel("'a' == 'a'"), cel("false")]));
        assert!(super::hold(&[cel("false"), cel("nonsense(")]).is_err());
        let mut scope = Scope::default();
        scope.set(&["params", "l"], vec!["x".to_owned(), "y".to_owned()]);
        let expanded = expand_all(&[expression("x", "in", &["$(params.l[*])", "z"])], &scope);
        assert_eq!(expanded[0].values, ["x", "y", "z"]);
    }
}
