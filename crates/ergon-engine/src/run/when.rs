//! Conditions of pipeline tasks.

use ergon_api::{WhenExpression, WhenOperator};

use crate::expr::{Scope, expand, expand_items};

/// The expressions with their references replaced, as they are shown in the status.
pub fn expand_all(expressions: &[WhenExpression], scope: &Scope) -> Vec<WhenExpression> {
    expressions
        .iter()
        .map(|expression| WhenExpression {
            input: expand(&expression.input, scope),
            values: expression.values.iter().flat_map(|value| expand_items(value, scope)).collect(),
            ..expression.clone()
        })
        .collect()
}

/// Whether all of the expressions hold; their references are replaced already.
pub fn hold(expressions: &[WhenExpression]) -> bool {
    expressions.iter().all(|expression| {
        let contained = expression.values.contains(&expression.input);
        match expression.operator {
            Some(WhenOperator::NotIn) => !contained,
            _ => contained,
        }
    })
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
        assert!(hold(&[]));
        assert!(hold(&[expression("a", "in", &["b", "a"])]));
        assert!(!hold(&[expression("a", "in", &["b", "a"]), expression("a", "notin", &["a"])]));
        assert!(hold(&[expression("", "notin", &["a"])]));
        let mut scope = Scope::default();
        scope.set(&["params", "l"], vec!["x".to_owned(), "y".to_owned()]);
        let expanded = expand_all(&[expression("x", "in", &["$(params.l[*])", "z"])], &scope);
        assert_eq!(expanded[0].values, ["x", "y", "z"]);
    }
}
