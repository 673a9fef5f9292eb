//! Types of parameters and results, as far as they say more than text, list or map: what a value may be, and what is
//! wrong with one that is not.
//!
//! Values travel as texts whatever their type: a number is its digits, a boolean `true` or `false`. Here a value is read
//! as its declaration has it, and checked against it. The same check is made wherever a value is known: in admission, on
//! a command line, when a run starts, and on a result when its task ends.

mod json_schema;
mod pattern;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use serde_json::{Number, Value};

use crate::{ParamSpec, ParamType, ParamValue, TaskResult};

pub(crate) use json_schema::problems as schema_problems;
pub(crate) use pattern::{is_plain, problem as pattern_problem};

/// What a declaration says of its values.
#[derive(Debug, Clone, Copy, Default)]
pub struct Declared<'a> {
    /// What the value is.
    pub type_: ParamType,
    /// The only values, where there are any.
    pub enum_: &'a [String],
    /// What the whole text has to match.
    pub pattern: Option<&'a str>,
    /// The least number.
    pub minimum: Option<&'a Number>,
    /// The greatest number.
    pub maximum: Option<&'a Number>,
    /// A JSON Schema.
    pub schema: Option<&'a Value>,
}

/// A value that is not what its declaration says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// Such as ``the text `abc` ``.
    pub found: String,
    /// Such as `a number`.
    pub expected: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "found {}, expected {}", self.found, self.expected)
    }
}

impl ParamSpec {
    /// What the parameter's values may be.
    pub fn declared(&self) -> Declared<'_> {
        Declared {
            type_: self.effective_type(),
            enum_: &self.enum_,
            pattern: self.pattern.as_deref(),
            minimum: self.minimum.as_ref(),
            maximum: self.maximum.as_ref(),
            schema: self.schema.as_ref(),
        }
    }
}

impl TaskResult {
    /// What the result's value may be.
    pub fn declared(&self) -> Declared<'_> {
        Declared {
            type_: self.effective_type(),
            enum_: &self.enum_,
            pattern: self.pattern.as_deref(),
            minimum: self.minimum.as_ref(),
            maximum: self.maximum.as_ref(),
            schema: self.schema.as_ref(),
        }
    }
}

impl Declared<'_> {
    /// Whether only what Tekton knows too is declared.
    pub fn is_plain(&self) -> bool {
        !matches!(self.type_, ParamType::Number | ParamType::Boolean | ParamType::Secret)
            && self.pattern.is_none()
            && self.minimum.is_none()
            && self.maximum.is_none()
            && self.schema.is_none()
    }

    /// The value as its declaration reads it: a list or map that was written with numbers in it has their texts, and a
    /// text that is to be JSON takes a list or map as that.
    pub fn read<'v>(&self, value: &'v ParamValue) -> Cow<'v, ParamValue> {
        let read = match (self.type_, value) {
            (ParamType::Array, ParamValue::String(text)) if text.starts_with('[') => as_list(text),
            (ParamType::Object, ParamValue::String(text)) if text.starts_with('{') => as_map(text),
            (ParamType::String, ParamValue::Array(_) | ParamValue::Object(_)) if self.is_json() => {
                Some(ParamValue::String(value.to_string()))
            }
            _ => None,
        };
        read.map_or(Cow::Borrowed(value), Cow::Owned)
    }

    /// A result's text without what a command prints after it, where its declaration leaves no doubt that it is none of
    /// the value.
    pub fn trimmed<'t>(&self, text: &'t str) -> &'t str {
        match self.type_ {
            ParamType::Number | ParamType::Boolean => text.trim(),
            ParamType::String if !self.is_plain() || !self.enum_.is_empty() => {
                text.trim_end_matches(['\n', '\r'])
            }
            _ => text,
        }
    }

    /// Whether the value, as [`Self::read`] gives it, is what is declared. Keys of objects are for others to check.
    ///
    /// # Errors
    /// What it is instead.
    pub fn check(&self, value: &ParamValue) -> Result<(), Mismatch> {
        let wrong = |expected: String| Mismatch { found: shown(value), expected };
        if value.type_() != self.type_.carried() {
            return Err(wrong(an(self.type_)));
        }
        if let ParamValue::String(text) = value {
            self.check_text(text).map_err(wrong)?;
        }
        let Some(schema) = self.schema else { return Ok(()) };
        let json = self.json(value).map_err(wrong)?;
        json_schema::check(schema, &json).map_err(|(place, found, expected)| Mismatch {
            found: format!("{found}{}", at(&place)),
            expected,
        })
    }

    fn check_text(&self, text: &str) -> Result<(), String> {
        let number = match self.type_ {
            ParamType::Number => Some(number(text).ok_or_else(|| an(ParamType::Number))?),
            ParamType::Boolean if !matches!(text, "true" | "false") => return Err(an(ParamType::Boolean)),
            _ => None,
        };
        if !self.enum_.is_empty() && !self.enum_.iter().any(|allowed| self.is_same(allowed, text)) {
            return Err(format!("one of {}", self.enum_.join(", ")));
        }
        if let Some(pattern) = self.pattern {
            // One that is none is told where it is declared.
            let regex = pattern::compile(pattern)
                .map_err(|problem| format!("what `{pattern}` matches, but {problem}"))?;
            if !regex.is_match(text) {
                return Err(format!("a text that `{pattern}` matches as a whole"));
            }
        }
        let Some(number) = number else { return Ok(()) };
        match (self.minimum, self.maximum) {
            (Some(least), _) if compare(&number, least).is_lt() => Err(format!("{least} or more")),
            (_, Some(most)) if compare(&number, most).is_gt() => Err(format!("{most} or less")),
            _ => Ok(()),
        }
    }

    /// Whether a value is one that is listed: of numbers, `1.0` is `1`.
    fn is_same(&self, allowed: &str, text: &str) -> bool {
        let numbers = || number(allowed).zip(number(text)).is_some_and(|(a, b)| compare(&a, &b).is_eq());
        allowed == text || self.type_ == ParamType::Number && numbers()
    }

    /// Whether a text is read as JSON, because its schema is that of something else.
    fn is_json(&self) -> bool {
        self.type_ == ParamType::String
            && match self.schema.and_then(|schema| schema.get("type")) {
                Some(Value::String(type_)) => type_ != "string",
                Some(Value::Array(types)) => !types.iter().any(|type_| type_ == "string"),
                _ => false,
            }
    }

    /// The value that a schema is about.
    fn json(&self, value: &ParamValue) -> Result<Value, String> {
        Ok(match value {
            ParamValue::String(text) if self.is_json() => {
                serde_json::from_str(text).map_err(|error| format!("JSON ({error})"))?
            }
            ParamValue::String(text) => match self.type_ {
                ParamType::Number => number(text).map_or(Value::Null, Value::Number),
                ParamType::Boolean => Value::Bool(text == "true"),
                _ => Value::String(text.clone()),
            },
            other => serde_json::to_value(other).unwrap_or_default(),
        })
    }
}

impl ParamType {
    /// The type that values of this type travel as.
    #[must_use]
    pub fn carried(self) -> Self {
        match self {
            Self::Number | Self::Boolean => Self::String,
            other => other,
        }
    }

    /// Whether a value of this type may be given to a parameter of another, as far as types alone can say: a text may
    /// turn out to be a number.
    pub fn may_be(self, wanted: Self) -> bool {
        self == wanted
            || self.carried() == wanted.carried() && (self == Self::String || wanted == Self::String)
    }
}

/// What a text is as a number: as JSON has it, or YAML's `+1`, `.5` and `1.` not.
pub fn number(text: &str) -> Option<Number> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    if !plain || text.len() > 64 {
        return None;
    }
    serde_json::from_str(text).ok()
}

fn compare(one: &Number, other: &Number) -> Ordering {
    if let (Some(one), Some(other)) = (one.as_i64(), other.as_i64()) {
        return one.cmp(&other);
    }
    let float = |number: &Number| number.as_f64().unwrap_or_default();
    float(one).total_cmp(&float(other))
}

/// A list whose items are all single values, as their texts.
fn as_list(text: &str) -> Option<ParamValue> {
    let Value::Array(items) = serde_json::from_str(text).ok()? else { return None };
    items.into_iter().map(as_text).collect::<Option<_>>().map(ParamValue::Array)
}

fn as_map(text: &str) -> Option<ParamValue> {
    let Value::Object(map) = serde_json::from_str(text).ok()? else { return None };
    map.into_iter()
        .map(|(key, value)| Some((key, as_text(value)?)))
        .collect::<Option<_>>()
        .map(ParamValue::Object)
}

fn as_text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null => Some(String::new()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

/// The texts of a list of numbers, as a matrix may have them; none where it is no such list.
pub(crate) fn list_of_numbers(text: &str) -> Option<Vec<String>> {
    match text.starts_with('[').then(|| as_list(text))? {
        Some(ParamValue::Array(items)) => Some(items),
        _ => None,
    }
}

/// A type with its article.
pub(crate) fn an(type_: ParamType) -> String {
    match type_ {
        ParamType::Array | ParamType::Object => format!("an {type_}"),
        ParamType::Boolean => "true or false".to_owned(),
        ParamType::Secret => "a reference to a Secret".to_owned(),
        ParamType::String | ParamType::Number => format!("a {type_}"),
    }
}

/// A value for a message: short, and never what a secret is.
fn shown(value: &ParamValue) -> String {
    const MOST: usize = 60;
    match value {
        ParamValue::String(text) if text.is_empty() => "an empty text".to_owned(),
        ParamValue::String(text) => {
            let short: String = text.chars().take(MOST).collect();
            let more = if short.len() < text.len() { "…" } else { "" };
            format!("the text `{}{more}`", short.escape_debug())
        }
        ParamValue::Array(items) => format!("a list of {}", items.len()),
        ParamValue::Object(_) => "a map".to_owned(),
        ParamValue::Secret(_) => "a reference to a Secret".to_owned(),
    }
}

fn at(place: &str) -> String {
    if place.is_empty() { String::new() } else { format!(" at `{place}`") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What a value given in YAML comes to under a declaration: what it is read as, or the mistake.
    fn given(spec: Value, value: Value) -> String {
        let spec: ParamSpec = serde_json::from_value(spec).unwrap();
        let value = ParamValue::from_json(value);
        let read = spec.declared().read(&value).into_owned();
        match spec.declared().check(&read) {
            Ok(()) => serde_json::to_string(&read).unwrap(),
            Err(mismatch) => mismatch.to_string(),
        }
    }

    #[test]
    fn values_are_what_is_declared() {
        let number = json!({"type": "number", "minimum": 1, "maximum": 2.5});
        let boolean = json!({"type": "boolean"});
        let array = json!({"type": "array"});
        let object = json!({"type": "object"});
        let version = json!({"pattern": "v[0-9]+(\\.[0-9]+)*"});
        let secret = json!({"type": "secret"});
        let listed = json!({"type": "number", "enum": [1, 2.5]});
        let structure = json!({"schema": {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}});
        let reference = json!({"secretKeyRef": {"name": "n", "key": "k"}});
        for (spec, value, wanted) in [
            (&number, json!(2), "\"2\""),
            (&number, json!("2.5"), "\"2.5\""),
            (&number, json!("2,5"), "found the text `2,5`, expected a number"),
            (&number, json!(""), "found an empty text, expected a number"),
            (&number, json!("0x1"), "found the text `0x1`, expected a number"),
            (&number, json!("01"), "found the text `01`, expected a number"),
            (&number, json!(" 1"), "found the text ` 1`, expected a number"),
            (&number, json!("inf"), "found the text `inf`, expected a number"),
            (&number, json!(0), "found the text `0`, expected 1 or more"),
            (&number, json!("1e1"), "found the text `1e1`, expected 2.5 or less"),
            (&number, json!([1]), "found the text `[1]`, expected a number"),
            (&boolean, json!(true), "\"true\""),
            (&boolean, json!("yes"), "found the text `yes`, expected true or false"),
            (&array, json!([1, true, "a", null]), r#"["1","true","a",""]"#),
            (&array, json!([[1]]), "found the text `[[1]]`, expected an array"),
            (&object, json!({"a": 1}), r#"{"a":"1"}"#),
            (&object, json!(["a"]), "found a list of 1, expected an object"),
            (&version, json!("v1.2"), "\"v1.2\""),
            (
                &version,
                json!("av1"),
                "found the text `av1`, expected a text that `v[0-9]+(\\.[0-9]+)*` matches as a whole",
            ),
            (
                &version,
                json!("v1\n"),
                "found the text `v1\\n`, expected a text that `v[0-9]+(\\.[0-9]+)*` matches as a whole",
            ),
            (&listed, json!("1.0"), "\"1.0\""),
            (&listed, json!(2), "found the text `2`, expected one of 1, 2.5"),
            (&structure, json!({"a": 1}), r#""{\"a\":1}""#),
            (&structure, json!("{\"a\": \"x\"}"), "found the text \"x\" at `a`, expected an integer"),
            (&structure, json!({"a": "x"}), "found the text \"x\" at `a`, expected an integer"),
            (&structure, json!("{}"), "found an object without `a`, expected that key"),
            (
                &structure,
                json!("nothing"),
                "found the text `nothing`, expected JSON (expected ident at line 1 column 2)",
            ),
            (&secret, reference.clone(), r#"{"secretKeyRef":{"key":"k","name":"n"}}"#),
            // A text is never taken for a reference: it may have come from anywhere.
            (
                &secret,
                json!(reference.to_string()),
                "found the text `{\"secretKeyRef\":{\"key\":\"k\",\"name\":\"n\"}}`, expected a reference to a Secret",
            ),
            (&number, reference, "found a reference to a Secret, expected a number"),
        ] {
            let wanted = wanted.replace(
                r#"`{"secretKeyRef":{"key":"k","name":"n"}}`"#,
                r#"`{\"secretKeyRef\":{\"key\":\"k\",\"name\":\"n\"}}`"#,
            );
            assert_eq!(given(spec.clone(), value.clone()), wanted, "{spec} {value}");
        }
    }

    #[test]
    fn what_may_be_handed_on() {
        use ParamType::{Array, Boolean, Number, Object, Secret, String};
        for (from, to, wanted) in [
            (Number, String, true),
            (Boolean, String, true),
            (Number, Number, true),
            (String, Number, true),
            (String, Boolean, true),
            (Number, Boolean, false),
            (Boolean, Number, false),
            (Array, String, false),
            (Object, Array, false),
            (Secret, String, false),
            (String, Secret, false),
            (Secret, Secret, true),
        ] {
            assert_eq!(from.may_be(to), wanted, "{from} to {to}");
        }
    }
}
