//! Parameters: their declaration ([`ParamSpec`]) and their values ([`Param`], [`ParamValue`]).

use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Number, Value};

use crate::{lenient, opaque};

/// What a parameter or result holds.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum ParamType {
    /// A text.
    #[default]
    String,
    /// A list of texts.
    Array,
    /// A map from text to text, whose keys are declared in `properties`.
    Object,
    /// A number. `ergon.dev` only, as those below.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A reference to one key of a Secret, and never its value.
    Secret,
}

impl fmt::Display for ParamType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::String => "string",
            Self::Array => "array",
            Self::Object => "object",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Secret => "secret",
        })
    }
}

/// Declares a parameter.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ParamSpec {
    /// The name by which the parameter is set and used, as in `$(params.<name>)`.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "lenient::or_default")]
    pub name: String,
    /// What the parameter holds: `string`, `array` or `object`, and under `ergon.dev` also `number`, `boolean` or
    /// `secret`. When absent it follows from `properties`, `minimum`, `maximum` or `default`, and is `string` otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(rename = "type")]
    pub type_: Option<ParamType>,
    /// What the parameter is for, for people and user interfaces.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub description: Option<String>,
    /// The keys of an `object` parameter. A value must set every key that the default does not.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "lenient::or_default")]
    pub properties: BTreeMap<String, PropertySpec>,
    /// The value when a run sets none: a text, a list of texts, or a map from text to text. Without it the parameter is
    /// required.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<ParamValue>,
    /// The only values that a `string` or `number` parameter may take.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::scalars")]
    #[schemars(schema_with = "opaque::scalars")]
    #[serde(rename = "enum")]
    pub enum_: Vec<String>,
    /// A regular expression that the whole text of a `string` parameter has to match.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub pattern: Option<String>,
    /// The least value of a `number` parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "opaque::number")]
    pub minimum: Option<Number>,
    /// The greatest value of a `number` parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "opaque::number")]
    pub maximum: Option<Number>,
    /// What the value has to be like, as JSON Schema. A `string` parameter whose schema is that of something else is JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "opaque::any")]
    pub schema: Option<Value>,
}

impl ParamSpec {
    /// The declared type, or the one that other fields imply.
    pub fn effective_type(&self) -> ParamType {
        match (self.type_, &self.default) {
            (Some(type_), _) => type_,
            (None, _) if !self.properties.is_empty() => ParamType::Object,
            (None, _) if self.minimum.is_some() || self.maximum.is_some() => ParamType::Number,
            (None, Some(default)) => default.type_(),
            (None, None) => ParamType::String,
        }
    }
}

/// Declares one key of an object.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PropertySpec {
    /// What the key holds: only `string`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(rename = "type")]
    pub type_: Option<ParamType>,
}

/// Sets a parameter.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Param {
    /// The name of the declared parameter.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "lenient::or_default")]
    pub name: String,
    /// Its value: a text, a list of texts, a map from text to text, or `secretKeyRef: {name: …, key: …}` for a `secret`
    /// parameter. Anything else is kept as its JSON text.
    pub value: ParamValue,
}

impl Param {
    /// A parameter with a text.
    pub fn string(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: ParamValue::String(value.into()) }
    }
}

/// The value of a parameter or result.
///
/// Decoding follows Tekton: a list of texts and a map from text to text are what they look like, `null` is the empty
/// text, inside of them too, and everything else is the text of its JSON (`5` is `"5"`, `[1, 2]` is `"[1,2]"`). A type
/// that does not fit the declaration is found later, where the declaration is known. Ours beside it: a map with nothing
/// but a `secretKeyRef` of name and key is a reference to a Secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ParamValue {
    /// A text.
    String(String),
    /// A list of texts.
    Array(Vec<String>),
    /// A map from text to text.
    Object(BTreeMap<String, String>),
    /// A reference to a Secret, written as `secretKeyRef: {name: …, key: …}`. No text is ever read as one, so that no
    /// value from elsewhere can choose a Secret.
    Secret(SecretRef),
}

/// Where the value of a `secret` parameter is: one key of a Secret in the run's namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretRef {
    /// The Secret's name.
    pub name: String,
    /// The key in it.
    pub key: String,
}

impl SecretRef {
    fn of(map: &serde_json::Map<String, Value>) -> Option<Self> {
        let reference = map.get(SECRET_KEY_REF).filter(|_| map.len() == 1)?;
        Self::deserialize(reference).ok()
    }

    fn to_json(&self) -> Value {
        serde_json::json!({ SECRET_KEY_REF: self })
    }
}

/// The field that makes a value a reference to a Secret.
const SECRET_KEY_REF: &str = "secretKeyRef";

impl ParamValue {
    /// What this value is.
    pub fn type_(&self) -> ParamType {
        match self {
            Self::String(_) => ParamType::String,
            Self::Array(_) => ParamType::Array,
            Self::Object(_) => ParamType::Object,
            Self::Secret(_) => ParamType::Secret,
        }
    }

    /// The text, when it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            Self::Array(_) | Self::Object(_) | Self::Secret(_) => None,
        }
    }

    /// The list, when it is one.
    pub fn as_array(&self) -> Option<&[String]> {
        match self {
            Self::Array(items) => Some(items),
            Self::String(_) | Self::Object(_) | Self::Secret(_) => None,
        }
    }

    /// The map, when it is one.
    pub fn as_object(&self) -> Option<&BTreeMap<String, String>> {
        match self {
            Self::Object(map) => Some(map),
            Self::String(_) | Self::Array(_) | Self::Secret(_) => None,
        }
    }

    /// The reference, when it is one.
    pub fn as_secret(&self) -> Option<&SecretRef> {
        match self {
            Self::Secret(reference) => Some(reference),
            Self::String(_) | Self::Array(_) | Self::Object(_) => None,
        }
    }

    /// Every text inside, in order: the one text, the items, or the map's values; of a reference to a Secret none.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let (one, items, map) = match self {
            Self::String(text) => (Some(text.as_str()), None, None),
            Self::Array(items) => (None, Some(items), None),
            Self::Object(map) => (None, None, Some(map)),
            Self::Secret(_) => (None, None, None),
        };
        one.into_iter()
            .chain(items.into_iter().flatten().map(String::as_str))
            .chain(map.into_iter().flat_map(BTreeMap::values).map(String::as_str))
    }

    /// The value that this JSON stands for; see the type's own text for the rule.
    pub fn from_json(value: Value) -> Self {
        match value {
            Value::Null => Self::default(),
            Value::String(text) => Self::String(text),
            Value::Array(items) if items.iter().all(is_text) => {
                Self::Array(items.into_iter().map(into_text).collect())
            }
            Value::Object(map) if map.values().all(is_text) => {
                Self::Object(map.into_iter().map(|(key, value)| (key, into_text(value))).collect())
            }
            Value::Object(map) if SecretRef::of(&map).is_some() => {
                Self::Secret(SecretRef::of(&map).unwrap_or_default())
            }
            other => Self::String(other.to_string()),
        }
    }

    /// The value as Tekton has it, which knows no references to Secrets: there it is the text of its JSON.
    #[must_use]
    pub fn as_in_tekton(self) -> Self {
        match self {
            Self::Secret(reference) => Self::String(reference.to_json().to_string()),
            other => other,
        }
    }
}

/// `null` inside a list or map is the empty text, as it is alone.
fn is_text(value: &Value) -> bool {
    value.is_string() || value.is_null()
}

fn into_text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        _ => String::new(),
    }
}

impl Default for ParamValue {
    fn default() -> Self {
        Self::String(String::new())
    }
}

impl From<&str> for ParamValue {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for ParamValue {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<Vec<String>> for ParamValue {
    fn from(items: Vec<String>) -> Self {
        Self::Array(items)
    }
}

impl From<BTreeMap<String, String>> for ParamValue {
    fn from(map: BTreeMap<String, String>) -> Self {
        Self::Object(map)
    }
}

/// The text itself, or the JSON of a list, map or reference.
impl fmt::Display for ParamValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::String(text) => f.write_str(text),
            Self::Array(items) => write!(f, "{}", serde_json::json!(items)),
            Self::Object(map) => write!(f, "{}", serde_json::json!(map)),
            Self::Secret(reference) => write!(f, "{}", reference.to_json()),
        }
    }
}

impl Serialize for ParamValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::String(text) => serializer.serialize_str(text),
            Self::Array(items) => items.serialize(serializer),
            Self::Object(map) => map.serialize(serializer),
            Self::Secret(reference) => reference.to_json().serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for ParamValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::from_json(Value::deserialize(deserializer)?))
    }
}

impl JsonSchema for ParamValue {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ParamValue".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        // Text, list or map: a structural schema cannot say so, hence anything.
        opaque::any(generator)
    }
}
