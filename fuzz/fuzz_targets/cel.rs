//! Any text as a condition: an answer or an error, without a panic, and soon.
#![no_main]

use std::collections::BTreeMap;

use ergon_engine::expr::cel::{self, CelError, Expression, Type};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

fuzz_target!(|text: &str| {
    if cel::holds(text).is_ok() {
        assert!(cel::check(text).is_ok());
    }
    let _ = cel::used(text);
    let type_of = |name: &str| match name {
        "params.text" => Some(Type::Text),
        "params.number" => Some(Type::Number),
        "params.list" => Some(Type::texts()),
        _ => None,
    };
    let is_typed = cel::check_types(text, &type_of).is_ok();
    let Ok(expression) = Expression::read(text) else { return assert!(!is_typed) };
    let values = BTreeMap::from([
        ("params.text".to_owned(), json!("' || true || '")),
        ("params.number".to_owned(), json!(3)),
        ("params.list".to_owned(), json!(["a", ""])),
    ]);
    let answer = expression.holds(&values);
    // What has a type has a value, and is true or false.
    assert!(!is_typed || !matches!(answer, Err(CelError::NoValue(_) | CelError::Undeclared(_))));
});
