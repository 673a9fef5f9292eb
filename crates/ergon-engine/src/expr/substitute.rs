//! Putting values in the place of references.

use std::collections::BTreeMap;

use ergon_api::variables::{Part, variables};
use ergon_api::{Known, ParamType, ParamValue, ScriptValue, types};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{Scope, is_mark};

/// Replaces the references in a text by their values; those that are unknown, or no text, stay as they are.
pub fn expand(text: &str, scope: &Scope) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut plain = 0;
    for variable in variables(text) {
        expanded.push_str(&text[plain..variable.place.start]);
        plain = variable.place.end;
        match scope.look_up(&variable).as_deref() {
            Some(ParamValue::String(value)) => expanded.push_str(value),
            // A secret is not for texts.
            Some(ParamValue::Secret(_)) => expanded.push_str(&text[variable.place]),
            // A whole array or object inside a text is its JSON, as Tekton has it for an `[*]` in a string.
            Some(value) if variable.part == Part::All => {
                expanded.push_str(&serde_json::to_string(value).unwrap_or_default());
            }
            _ => expanded.push_str(&text[variable.place]),
        }
    }
    expanded.push_str(&text[plain..]);
    expanded
}

/// Replaces the references in one item of a list: an array that stands alone becomes as many items as it has.
pub fn expand_items(text: &str, scope: &Scope) -> Vec<String> {
    match lone(text, scope) {
        Some(ParamValue::Array(items)) => items,
        _ => vec![expand(text, scope)],
    }
}

/// Replaces the references in a parameter's value: a reference that stands alone brings its value's type with it.
pub fn expand_value(value: &ParamValue, scope: &Scope) -> ParamValue {
    match value {
        ParamValue::String(text) => {
            lone(text, scope).unwrap_or_else(|| ParamValue::String(expand(text, scope)))
        }
        ParamValue::Array(items) => {
            ParamValue::Array(items.iter().flat_map(|item| expand_items(item, scope)).collect())
        }
        ParamValue::Object(object) => {
            ParamValue::Object(object.iter().map(|(key, text)| (key.clone(), expand(text, scope))).collect())
        }
        ParamValue::Secret(_) => value.clone(),
    }
}

/// Replaces the references in every text of a JSON value; keys are left alone.
pub fn expand_json(value: &mut Value, scope: &Scope) {
    match value {
        Value::String(text) if text.contains("$(") => *text = expand(text, scope),
        Value::Array(items) => {
            let splices = |item: &Value| item.as_str().is_some_and(|text| text.contains("$("));
            if items.iter().any(splices) {
                *items = std::mem::take(items)
                    .into_iter()
                    .flat_map(|item| match item {
                        Value::String(text) => {
                            expand_items(&text, scope).into_iter().map(Value::String).collect()
                        }
                        other => vec![other],
                    })
                    .collect();
            }
            for item in items {
                if !item.is_string() {
                    expand_json(item, scope);
                }
            }
        }
        Value::Object(fields) => {
            // A script with tags is never written to, nor an expression with names: what they stand for is beside it.
            let is_template = fields.contains_key(SCRIPT_VALUES);
            let is_bound = fields.contains_key(CEL_VALUES);
            for (name, field) in fields {
                match field {
                    Value::String(_) if name == "script" && is_template => {}
                    Value::String(_) if name == "cel" && is_bound => {}
                    Value::Object(values) if name == SCRIPT_VALUES || name == CEL_VALUES => {
                        for value in values.values_mut() {
                            expand_script_value(value, scope);
                        }
                    }
                    Value::Array(params) if name == "params" && params.iter().all(Value::is_object) => {
                        for param in params.iter_mut() {
                            expand_param(param, scope);
                        }
                    }
                    Value::Array(variables) if name == "env" => {
                        for variable in variables.iter_mut() {
                            expand_variable(variable, scope);
                        }
                    }
                    field => expand_json(field, scope),
                }
            }
        }
        _ => {}
    }
}

/// The field of a step with what its script's tags stand for.
const SCRIPT_VALUES: &str = "scriptValues";
/// The field of a condition with what the names in its expression stand for.
const CEL_VALUES: &str = "celValues";

/// Puts values in the place of the references beside an expression.
pub fn expand_values(
    values: Option<&BTreeMap<String, ScriptValue>>,
    scope: &Scope,
) -> Option<BTreeMap<String, ScriptValue>> {
    let expanded = |value: &ScriptValue| {
        let found = variables(value.reference.as_deref().unwrap_or_default());
        let known = found.first().and_then(|variable| scope.look_up(variable));
        match known {
            Some(known) => {
                ScriptValue { reference: None, value: Some(Known(known.into_owned())), ..value.clone() }
            }
            None => value.clone(),
        }
    };
    Some(values?.iter().map(|(name, value)| (name.clone(), expanded(value))).collect())
}

/// The values of an expression's names as it sees them, those that are known.
pub fn cel_values(values: &BTreeMap<String, ScriptValue>) -> BTreeMap<String, Value> {
    values.iter().filter_map(|(name, value)| Some((name.clone(), cel_value(value)?))).collect()
}

/// A value as an expression sees it: a number is one, if its declaration says so.
pub fn cel_value(value: &ScriptValue) -> Option<Value> {
    Some(match (&value.value.as_ref()?.0, value.type_) {
        // Any number will do for what is thrown away.
        (ParamValue::String(text), Some(ParamType::Number)) if is_mark(text) => 1.into(),
        (ParamValue::String(text), Some(ParamType::Number)) => {
            types::number(text).map_or_else(|| text.as_str().into(), Value::Number)
        }
        (ParamValue::String(text), Some(ParamType::Boolean)) if text == "true" || text == "false" => {
            Value::Bool(text == "true")
        }
        (ParamValue::Secret(_), _) => return None,
        (known, _) => serde_json::to_value(known).ok()?,
    })
}

/// Puts a value in the place of a reference, or the other reference that it stands for. A value is not looked at again.
fn expand_script_value(value: &mut Value, scope: &Scope) {
    let found = variables(value["reference"].as_str().unwrap_or_default());
    let [variable] = found.as_slice() else { return };
    let Some(fields) = value.as_object_mut() else { return };
    if let Some(other) = scope.aliased(variable) {
        fields.insert("reference".to_owned(), other.into());
    } else if let Some(known) = scope.look_up(variable) {
        fields.remove("reference");
        fields.insert("value".to_owned(), serde_json::to_value(known.as_ref()).unwrap_or_default());
    }
}

/// A reference that stands alone as a parameter's value brings its value's type with it; elsewhere a text stays one.
fn expand_param(param: &mut Value, scope: &Scope) {
    let whole = param["value"].as_str().and_then(|text| lone(text, scope));
    for (name, field) in param.as_object_mut().into_iter().flatten() {
        match &whole {
            Some(value @ (ParamValue::Array(_) | ParamValue::Object(_) | ParamValue::Secret(_)))
                if name == "value" =>
            {
                *field = serde_json::to_value(value).unwrap_or_default();
            }
            _ => expand_json(field, scope),
        }
    }
}

/// A secret that is the whole value of a variable: the kubelet looks it up.
fn expand_variable(variable: &mut Value, scope: &Scope) {
    let whole = variable["value"].as_str().and_then(|text| lone(text, scope));
    expand_json(variable, scope);
    if let (Some(ParamValue::Secret(reference)), Some(fields)) = (whole, variable.as_object_mut()) {
        fields.remove("value");
        fields.insert("valueFrom".to_owned(), serde_json::json!({ "secretKeyRef": reference }));
    }
}

/// Replaces the references in every text of an object of ours or of Kubernetes.
///
/// # Errors
/// The decoder's, where a value does not fit its field once it is put in.
pub fn expand_object<T: Serialize + DeserializeOwned>(
    object: &T,
    scope: &Scope,
) -> Result<T, serde_json::Error> {
    let mut value = serde_json::to_value(object)?;
    expand_json(&mut value, scope);
    serde_json::from_value(value)
}

/// The value of a text that is nothing but one known reference to an array or an object, or to a text.
fn lone(text: &str, scope: &Scope) -> Option<ParamValue> {
    match variables(text).as_slice() {
        [variable] if variable.is_alone => scope.get(variable),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scope() -> Scope {
        let mut scope = Scope::default();
        scope
            .set(&["params", "a"], ParamValue::String("A".into()))
            .set(&["params", "x.y"], ParamValue::String("dotted".into()))
            .set(&["params", "evil"], ParamValue::String("$(params.a)".into()))
            .set(&["params", "list"], ParamValue::Array(vec!["1".into(), "2 3".into()]))
            .set(&["params", "object"], ParamValue::Object(BTreeMap::from([("key".into(), "value".into())])));
        scope
    }

    #[test]
    fn texts() {
        for (text, expected) in [
            ("", ""),
            ("plain $HOME ${X} $$ $(date)", "plain $HOME ${X} $$ $(date)"),
            ("<$(params.a)>", "<A>"),
            ("$(params['a'])$(params[\"a\"])", "AA"),
            ("$(params[\"x.y\"])", "dotted"),
            ("$(params.unknown)", "$(params.unknown)"),
            ("$(params.list[1])", "2 3"),
            ("$(params.list[2])", "$(params.list[2])"),
            ("$(params.object.key)", "value"),
            ("$(params.object.nokey)", "$(params.object.nokey)"),
            ("$(params.evil)", "$(params.a)"),
            ("all: $(params.list[*])", r#"all: ["1","2 3"]"#),
            ("$(params.list)", "$(params.list)"),
            ("$$(params.a)", "$A"),
        ] {
            assert_eq!(expand(text, &scope()), expected, "{text}");
        }
    }

    #[test]
    fn items_and_values_keep_their_types() {
        assert_eq!(expand_items("$(params.list[*])", &scope()), ["1", "2 3"]);
        assert_eq!(expand_items("$(params.list)", &scope()), ["1", "2 3"]);
        assert_eq!(expand_items("-$(params.a)", &scope()), ["-A"]);
        let value = |text: &str| expand_value(&ParamValue::String(text.into()), &scope());
        assert_eq!(value("$(params.list[*])"), ParamValue::Array(vec!["1".into(), "2 3".into()]));
        assert!(matches!(value("$(params.object[*])"), ParamValue::Object(_)));
        assert_eq!(value("$(params.list[0])"), ParamValue::String("1".into()));
        let list = ParamValue::Array(vec!["0".into(), "$(params.list[*])".into()]);
        assert_eq!(
            expand_value(&list, &scope()),
            ParamValue::Array(vec!["0".into(), "1".into(), "2 3".into()])
        );
    }

    #[test]
    fn json_is_walked_and_lists_are_spliced() {
        let mut value = serde_json::json!({
            "args": ["x", "$(params.list[*])", "$(params.a)"], "env": [{"name": "N", "value": "$(params.a)"}], "n": 1
        });
        expand_json(&mut value, &scope());
        assert_eq!(
            value,
            serde_json::json!({"args": ["x", "1", "2 3", "A"], "env": [{"name": "N", "value": "A"}], "n": 1})
        );
    }

    #[test]
    fn whole_parameters_keep_their_types_and_are_not_scanned_again() {
        let mut scope = scope();
        scope.set(&["params", "evil"], ParamValue::Array(vec!["$(params.a)".into()]));
        let mut value = serde_json::json!({
            "params": [
                {"name": "l", "value": "$(params.list[*])"}, {"name": "o", "value": "$(params.object[*])"},
                {"name": "e", "value": "$(params.evil[*])"}, {"name": "t", "value": "<$(params.a)>"},
                {"name": "d", "default": "$(params.a)"}
            ],
            "env": [{"name": "l", "value": "$(params.list[*])"}]
        });
        expand_json(&mut value, &scope);
        assert_eq!(
            value,
            serde_json::json!({
                "params": [
                    {"name": "l", "value": ["1", "2 3"]}, {"name": "o", "value": {"key": "value"}},
                    {"name": "e", "value": ["$(params.a)"]}, {"name": "t", "value": "<A>"},
                    {"name": "d", "default": "A"}
                ],
                "env": [{"name": "l", "value": "[\"1\",\"2 3\"]"}]
            })
        );
    }

    #[test]
    fn values_of_scripts_are_put_beside_them_and_not_scanned_again() {
        let mut scope = scope();
        scope.alias(&["params", "other"], "steps.s.results.r");
        let value = |name: &str| serde_json::json!({"reference": format!("$(params.{name})")});
        let mut step = serde_json::json!({
            "script": "echo {{params.evil}} $(params.a)",
            "scriptValues": {
                "e": value("evil"), "l": value("list"), "i": value("list[1]"), "k": value("object.key"),
                "o": value("other"), "u": value("unknown"),
            }
        });
        expand_json(&mut step, &scope);
        let once = step.clone();
        expand_json(&mut step, &scope);
        assert_eq!(step, once);
        assert_eq!(
            step,
            serde_json::json!({
                "script": "echo {{params.evil}} $(params.a)",
                "scriptValues": {
                    "e": {"value": "$(params.a)"}, "l": {"value": ["1", "2 3"]}, "i": {"value": "2 3"},
                    "k": {"value": "value"}, "o": {"reference": "$(steps.s.results.r)"}, "u": value("unknown"),
                }
            })
        );
    }

    proptest! {
        #[test]
        fn any_text_without_references_stays(text in "\\PC*") {
            prop_assume!(variables(&text).is_empty());
            prop_assert_eq!(expand(&text, &scope()), text);
        }

        #[test]
        fn any_value_arrives_as_it_is(value in "\\PC*", before in "[a-z ]*", after in "[a-z ]*") {
            let mut scope = Scope::default();
            scope.set(&["params", "v"], ParamValue::String(value.clone()));
            let text = format!("{before}$(params.v){after}");
            prop_assert_eq!(expand(&text, &scope), format!("{before}{value}{after}"));
        }
    }
}
