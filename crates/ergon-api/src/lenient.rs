//! Decoding as Go clients expect it: `null` and an absent field are the same, and so are an absent and an empty text.

use serde::{Deserialize, Deserializer};

/// `null` becomes the default value.
pub(crate) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// `null` and `""` become `None`, so that a `Some` is never empty.
pub(crate) fn text<'de, D>(deserializer: D) -> Result<Option<String>, D::Error>
where
    D: Deserializer<'de>,
{
    Ok(Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty()))
}

/// A list of texts, in which numbers, true and false stand for their texts. `null` is the empty list.
pub(crate) fn scalars<'de, D>(deserializer: D) -> Result<Vec<String>, D::Error>
where
    D: Deserializer<'de>,
{
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a string, a number, true or false")]
    enum Scalar {
        Text(String),
        Number(serde_json::Number),
        Boolean(bool),
    }
    let items = Option::<Vec<Scalar>>::deserialize(deserializer)?.unwrap_or_default();
    let text = |item| match item {
        Scalar::Text(text) => text,
        Scalar::Number(number) => number.to_string(),
        Scalar::Boolean(value) => value.to_string(),
    };
    Ok(items.into_iter().map(text).collect())
}
