//! Any text with references: nothing panics, and what was put in is not looked at again.
#![no_main]

use ergon_api::ParamValue;
use ergon_engine::expr::{Scope, expand, expand_items, expand_value};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut scope = Scope::default();
    scope.set(&["params", "a"], text).set(&["params", "list"], vec![text.to_owned(), String::new()]);
    let whole = expand("$(params.a)", &scope);
    assert_eq!(whole, text);
    let _ = expand(text, &scope);
    let _ = expand_items(text, &scope);
    let _ = expand_value(&ParamValue::from(text), &scope);
    assert_eq!(expand(text, &Scope::default()), text);
});
