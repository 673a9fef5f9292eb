//! The cases in `tests/vectors/values`: what parameters' values and spans of time are read as.

use std::path::Path;

use ergon_api::{Duration, ParamValue};
use serde_json::{Value, json};

fn cases(file: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/values").join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    let cases: Vec<Value> = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
    assert!(cases.len() >= 50, "{file}: only {} cases", cases.len());
    cases
}

#[test]
fn params() {
    let mut problems = Vec::new();
    for case in cases("params.yaml") {
        let text = case["json"].as_str().unwrap();
        let value: ParamValue = serde_json::from_str(text).unwrap();
        if json!(value) != case["is"] {
            problems.push(format!("{text}: expected {}, found {}", case["is"], json!(value)));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn durations() {
    let mut problems = Vec::new();
    for case in cases("durations.yaml") {
        let text = case["text"].as_str().unwrap();
        let found = match text.parse::<Duration>() {
            Ok(found) => json!([found.as_nanos(), found.to_string()]),
            Err(_) => json!([null, null]),
        };
        if found != json!([case["nanos"], case["prints"]]) {
            problems.push(format!("{case}: found {found}"));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
