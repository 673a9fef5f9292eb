//! Versions of ResolutionRequest: the parameters were a map of texts once, and are a list now.

use serde_json::{Map, Value, json};

use super::ConvertError;
use crate::resolution::ResolutionRequest;

/// The object with the parameters of the wanted version.
pub(super) fn convert(object: &mut Value, api_version: &str) -> Result<(), ConvertError> {
    let Some(params) = object.pointer_mut("/spec/params") else { return Ok(()) };
    *params = match params.take() {
        Value::Object(texts) if api_version == ResolutionRequest::API_VERSION => {
            texts.into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect()
        }
        Value::Array(list) if api_version == ResolutionRequest::OLDER_API_VERSION => {
            Value::Object(texts(&list)?)
        }
        as_it_is => as_it_is,
    };
    Ok(())
}

fn texts(list: &[Value]) -> Result<Map<String, Value>, ConvertError> {
    let name = |param: &Value| param["name"].as_str().unwrap_or_default().to_owned();
    let others: Vec<String> = list.iter().filter(|param| !param["value"].is_string()).map(name).collect();
    if others.is_empty() {
        Ok(list.iter().map(|param| (name(param), param["value"].clone())).collect())
    } else {
        Err(ConvertError::NotText(others.join(", ")))
    }
}
