//! Input that is made to cost much: substitution, conditions and graphs stay within a time that only work about
//! linear in the input's size keeps to.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use ergon_api::{ParamValue, PipelineTask};
use ergon_engine::expr::{Scope, cel, expand, expand_items, expand_json, expand_value};
use ergon_engine::graph::{Graph, GraphError};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Without optimization, on a busy machine, each takes a tenth of it; what is quadratic takes minutes.
const MOST: Duration = Duration::from_secs(10);

fn within<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let done = work();
    let took = start.elapsed();
    println!("{what}: {took:?}");
    assert!(took < MOST, "{what}: {took:?}");
    done
}

fn scope() -> Scope {
    let mut scope = Scope::default();
    scope
        .set(&["params", "a"], "A")
        .set(&["params", "reference"], "$(params.a)")
        .set(&["params", "list"], vec!["1".to_owned(), "2".to_owned()])
        .set(&["params", "o"], BTreeMap::from([("k".to_owned(), "v".to_owned())]));
    scope
}

#[test]
fn a_mebibyte_of_beginnings_of_references() {
    for part in ["$(", "$(params.", "$(params['", "$(a[", "$(params.a", "$(params.a\n", "$()", "$$"] {
        for end in ["", ")", "'])"] {
            let text = part.repeat((1 << 20) / part.len()) + end;
            let what = format!("{part:?} often, then {end:?}");
            let expanded = within(&what, || expand(&text, &scope()));
            assert!(text.len() - expanded.len() < 16, "{what}");
            within(&what, || expand_items(&text, &scope()));
            within(&what, || expand_value(&ParamValue::String(text.clone()), &scope()));
            assert!(within(&what, || cel::holds(&text)).is_err());
        }
    }
}

#[test]
fn a_mebibyte_of_references() {
    let many = 90_000;
    let text = "$(params.a)".repeat(many);
    assert_eq!(within("known", || expand(&text, &scope())), "A".repeat(many));
    let text = "$(params.unknown)".repeat(many);
    assert_eq!(within("unknown", || expand(&text, &scope())), text);
    let text = "$(params.reference)".repeat(many);
    assert_eq!(within("again", || expand(&text, &scope())), "$(params.a)".repeat(many));
}

#[test]
fn ten_thousand_params() {
    let mut scope = Scope::default();
    let (mut text, mut expected) = (String::new(), String::new());
    for at in 0..10_000 {
        scope.set(&["params", &format!("p{at}")], format!("{at} "));
        write!(text, "$(params.p{at})").unwrap();
        write!(expected, "{at} ").unwrap();
    }
    assert_eq!(within("texts", || expand(&text, &scope)), expected);
    let mut list: Value = (0..10_000).map(|at| format!("$(params.p{at})")).collect();
    within("items", || expand_json(&mut list, &scope));
    assert_eq!(list[9_999], "9999 ");
}

/// Deeper than any manifest can be: its reader refuses more than 100 levels.
#[test]
fn objects_inside_each_other() {
    let mut value = json!("$(params.a)");
    for _ in 0..100 {
        value = json!({"k": [value, "$(params.list[*])"]});
    }
    within("deep", || expand_json(&mut value, &scope()));
    let text = value.to_string();
    assert!(text.contains("\"A\"") && !text.contains("$("));
}

/// A look-up must not copy the list.
#[test]
fn a_list_that_is_used_often() {
    let many = 20_000;
    let mut scope = Scope::default();
    scope.set(&["params", "list"], vec!["x".to_owned(); many]);
    let text: Vec<String> = (0..many).map(|at| format!("$(params.list[{at}])")).collect();
    let text = text.concat();
    assert_eq!(within("items", || expand(&text, &scope)), "x".repeat(many));
    let text = "$(params.list) $(params.list[20000]) ".repeat(many);
    assert_eq!(within("no texts", || expand(&text, &scope)), text);
}

fn task(name: &str, run_after: &[String], value: &str) -> PipelineTask {
    serde_json::from_value(json!({
        "name": name, "runAfter": run_after, "params": [{"name": "p", "value": value}]
    }))
    .unwrap()
}

#[test]
fn thousands_of_tasks() {
    let many = 3000;
    let before = |at: usize| format!("t{}", (at + many - 1) % many);
    let chain: Vec<_> = (0..many)
        .map(|at| {
            let after = if at == 0 { vec![] } else { vec![before(at)] };
            task(&format!("t{at}"), &after, "")
        })
        .collect();
    assert_eq!(within("a chain", || Graph::build(&chain)).unwrap().order().len(), many);
    let ring: Vec<_> = (0..many)
        .map(|at| task(&format!("t{at}"), &[], &format!("$(tasks.{}.results.r)", before(at))))
        .collect();
    let Err(GraphError::Cycle { path }) = within("a ring", || Graph::build(&ring)) else { panic!("a cycle") };
    assert_eq!(path.len(), many + 1);
    let layers: Vec<_> = (0..500)
        .map(|at| {
            let after: Vec<String> = (0..at % 50).map(|to| format!("t{}", at / 50 * 50 + to)).collect();
            task(&format!("t{at}"), &after, "")
        })
        .collect();
    assert_eq!(within("many edges", || Graph::build(&layers)).unwrap().order().len(), 500);
}

/// Pieces that references are made of, and what disturbs them.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("$("),
        Just(")"),
        Just("params"),
        Just("."),
        Just("a"),
        Just("list"),
        Just("reference"),
        Just("o"),
        Just("k"),
        Just("["),
        Just("]"),
        Just("*"),
        Just("0"),
        Just("'"),
        Just("\""),
        Just("\n"),
        Just("$"),
        Just("$(params.a)"),
        Just("$(params.list[*])"),
        Just("é"),
        Just(" "),
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    /// All forms agree on a text that brings no list with it, and none panics.
    #[test]
    fn pieces_of_references(text in pieces()) {
        let scope = scope();
        let expanded = expand(&text, &scope);
        let items = expand_items(&text, &scope);
        if items.len() == 1 {
            prop_assert_eq!(&items[0], &expanded);
        }
        let mut value = json!({"a": text});
        expand_json(&mut value, &scope);
        prop_assert_eq!(value, json!({"a": expanded}));
        if let ParamValue::String(found) = expand_value(&ParamValue::String(text.clone()), &scope) {
            prop_assert_eq!(found, expanded);
        }
        let _ = cel::holds(&text);
    }

    #[test]
    fn nothing_is_known_in_an_empty_scope(text in pieces()) {
        prop_assert_eq!(expand(&text, &Scope::default()), text);
    }

    /// An expression that holds, or does not, is also one that `check` admits.
    #[test]
    fn what_holds_is_admitted(text in "[a-b'()\\[\\]=!&|<>+ 01.,]{0,40}|true|'a' in \\['a'\\]|1 (<|==) [12]") {
        if cel::holds(&text).is_ok() {
            prop_assert!(cel::check(&text).is_ok());
        }
    }
}
