//! What a value must be.

use std::fmt;

use ergon_api::ParamValue;
use regex::Regex;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

/// A condition on a value: the value itself, or a map with one of `equals`, `contains`, `matches` and `absent`.
#[derive(Debug, Clone)]
pub enum Matcher {
    /// This very value.
    Equals(ParamValue),
    /// A text that has this in it; or a list with this item.
    Contains(String),
    /// A text that the regular expression fits, anywhere in it.
    Matches(Regex),
    /// No value at all.
    Absent,
}

impl Matcher {
    /// Whether the value is so; `None` is no value.
    pub fn holds(&self, found: Option<&ParamValue>) -> bool {
        match (self, found) {
            (Self::Absent, found) => found.is_none(),
            (_, None) => false,
            (Self::Equals(wanted), Some(found)) => wanted == found,
            (Self::Contains(part), Some(ParamValue::Array(items))) => items.contains(part),
            (Self::Contains(part), Some(found)) => found.to_string().contains(part.as_str()),
            (Self::Matches(pattern), Some(found)) => pattern.is_match(&found.to_string()),
        }
    }

    /// [`Self::holds`] for a text.
    pub fn holds_for(&self, found: Option<&str>) -> bool {
        self.holds(found.map(ParamValue::from).as_ref())
    }

    fn read(value: Value) -> Result<Self, String> {
        let Some((key, inner)) =
            value.as_object().filter(|map| map.len() == 1).and_then(|map| map.iter().next())
        else {
            return Ok(Self::Equals(ParamValue::from_json(value)));
        };
        let text = || match inner {
            Value::String(text) => Ok(text.clone()),
            Value::Number(_) | Value::Bool(_) => Ok(inner.to_string()),
            _ => Err(format!("`{key}` needs a text")),
        };
        match key.as_str() {
            "equals" => Ok(Self::Equals(ParamValue::from_json(inner.clone()))),
            "contains" => Ok(Self::Contains(text()?)),
            "matches" => Ok(Self::Matches(pattern(&text()?)?)),
            "absent" if *inner == Value::Bool(true) => Ok(Self::Absent),
            "absent" => Err("write `absent: true`, or what the value must be".to_owned()),
            _ => Ok(Self::Equals(ParamValue::from_json(value))),
        }
    }
}

/// A regular expression, or in one line why it is none.
pub(super) fn pattern(text: &str) -> Result<Regex, String> {
    Regex::new(text).map_err(|error| {
        let message = error.to_string();
        let why = message.lines().last().unwrap_or_default().trim_start_matches("error: ");
        format!("`{text}` is no regular expression: {why}")
    })
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Equals(value) => value.fmt(f),
            Self::Contains(part) => write!(f, "something with `{part}`"),
            Self::Matches(pattern) => write!(f, "something like /{pattern}/"),
            Self::Absent => f.write_str("nothing"),
        }
    }
}

impl<'de> Deserialize<'de> for Matcher {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::read(Value::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl JsonSchema for Matcher {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Matcher".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"x-kubernetes-preserve-unknown-fields": true})
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_matched_as_they_are_written() {
        let texts = |items: &[&str]| ParamValue::Array(items.iter().map(|item| (*item).to_owned()).collect());
        let table = [
            (json!("a"), Some("a".into()), true),
            (json!("a"), Some("ab".into()), false),
            (json!(3), Some("3".into()), true),
            (json!("a"), None, false),
            (json!(["a", "b"]), Some(texts(&["a", "b"])), true),
            (json!(["a", "b"]), Some(texts(&["b", "a"])), false),
            (json!({"k": "v"}), Some(ParamValue::from_json(json!({"k": "v"}))), true),
            (json!({"contains": "b"}), Some("abc".into()), true),
            (json!({"contains": "b"}), Some(texts(&["a", "b"])), true),
            (json!({"contains": "b"}), Some(texts(&["ab"])), false),
            (json!({"matches": "^[0-9]+$"}), Some("42".into()), true),
            (json!({"matches": "^[0-9]+$"}), Some("x42".into()), false),
            (json!({"absent": true}), None, true),
            (json!({"absent": true}), Some("".into()), false),
            (json!({"equals": {"absent": "x"}}), Some(ParamValue::from_json(json!({"absent": "x"}))), true),
        ];
        for (written, found, wanted) in table {
            let matcher: Matcher = serde_json::from_value(written.clone()).unwrap();
            assert_eq!(matcher.holds(found.as_ref()), wanted, "{written} of {found:?}");
        }
    }

    #[test]
    fn conditions_that_are_none_are_refused() {
        for (written, wanted) in [
            (json!({"matches": "("}), "`(` is no regular expression: unclosed group"),
            (json!({"contains": []}), "`contains` needs a text"),
            (json!({"absent": false}), "write `absent: true`, or what the value must be"),
        ] {
            assert_eq!(serde_json::from_value::<Matcher>(written).unwrap_err().to_string(), wanted);
        }
    }
}
