//! The difference between two JSON values as a merge patch (RFC 7386).

use serde_json::{Map, Value};

/// The patch that makes `old` into `new`; none where they are the same.
///
/// Fields of `old` that `new` lacks become null, which removes them. Lists are replaced as a whole.
pub(crate) fn merge_diff(old: &Value, new: &Value) -> Option<Value> {
    if old == new {
        return None;
    }
    let (Value::Object(old), Value::Object(new)) = (old, new) else {
        return Some(new.clone());
    };
    let removed = old.keys().filter(|key| !new.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    let changed = new.iter().filter_map(|(key, value)| {
        let patch = match old.get(key) {
            Some(old) => merge_diff(old, value)?,
            None => value.clone(),
        };
        Some((key.clone(), patch))
    });
    Some(Value::Object(removed.chain(changed).collect::<Map<_, _>>()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences() {
        let cases = [
            (json!({"a": 1}), json!({"a": 1}), None),
            (json!({"a": 1}), json!({"a": 2, "b": {"c": 3}}), Some(json!({"a": 2, "b": {"c": 3}}))),
            (json!({"a": {"x": 1, "y": 2}}), json!({"a": {"x": 1}}), Some(json!({"a": {"y": null}}))),
            (json!({"a": [1, 2]}), json!({"a": [1]}), Some(json!({"a": [1]}))),
            (json!({"a": "text"}), json!({"a": {"b": 1}}), Some(json!({"a": {"b": 1}}))),
            (json!({"a": {"b": 1}}), json!({}), Some(json!({"a": null}))),
        ];
        for (old, new, expected) in cases {
            let patch = merge_diff(&old, &new);
            assert_eq!(patch, expected, "{old} -> {new}");
            let mut patched = old.clone();
            json_patch::merge(&mut patched, &patch.unwrap_or_else(|| json!({})));
            assert_eq!(patched, new);
        }
    }
}
