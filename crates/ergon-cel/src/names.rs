//! The names in an expression, such as `params.version` and `tasks.build.results["image-tag"]`: found in its parsed form,
//! and replaced there by their values, which are never read as a part of the expression.

use std::collections::BTreeMap;

use cel::common::ast::{
    CallExpr, EntryExpr, Expr, IdedEntryExpr, IdedExpr, ListExpr, LiteralValue, MapEntryExpr, MapExpr,
    SelectExpr, operators,
};
use cel::common::types::CelString;
use serde_json::Value;

/// A name in an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    /// As a reference has it between `$(` and `)`: `params.version`, `params["a.b"]`.
    pub name: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

/// The words that names begin with, and how many parts their names have.
const ROOTS: [&str; 6] = ["params", "tasks", "steps", "workspaces", "context", "matrix"];

/// What stands at one place of an expression.
pub(super) enum Place {
    /// No name.
    Other,
    /// A whole name, with the id of its first part.
    Name(Vec<String>, u64),
    /// The beginning of a name, and not one that there can be.
    Part(Vec<String>, u64),
}

/// What this part of an expression is. `own`: the variables of comprehensions around it.
pub(super) fn place(expr: &IdedExpr, own: &[String]) -> Place {
    let Some((parts, id)) = chain(expr, own) else { return Place::Other };
    match length(&parts) {
        Some(length) if length == parts.len() => Place::Name(parts, id),
        Some(length) if length < parts.len() => Place::Other,
        _ => Place::Part(parts, id),
    }
}

/// The parts of a name, from its root on.
fn chain(expr: &IdedExpr, own: &[String]) -> Option<(Vec<String>, u64)> {
    match &expr.expr {
        Expr::Ident(name) if ROOTS.contains(&name.as_str()) && !own.contains(name) => {
            Some((vec![name.clone()], expr.id))
        }
        Expr::Select(select) if !select.test => {
            let (mut parts, id) = chain(&select.operand, own)?;
            parts.push(select.field.clone());
            Some((parts, id))
        }
        Expr::Call(call) if call.func_name == operators::INDEX && call.target.is_none() => {
            let [operand, index] = call.args.as_slice() else { return None };
            let Expr::Literal(LiteralValue::String(key)) = &index.expr else { return None };
            let (mut parts, id) = chain(operand, own)?;
            parts.push(key.inner().to_owned());
            Some((parts, id))
        }
        _ => None,
    }
}

/// How many parts the name has that begins so; none where that is not said yet.
fn length(parts: &[String]) -> Option<usize> {
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    match parts.as_slice() {
        ["params" | "matrix", _, ..] | ["tasks", "status"] => Some(2),
        ["tasks", _, "status" | "reason", ..] | ["context" | "workspaces", _, _, ..] => Some(3),
        ["tasks" | "steps", _, "results", _, ..] => Some(4),
        _ => None,
    }
}

/// The parts as a reference has them.
pub(super) fn written(parts: &[String]) -> String {
    let mut name = String::new();
    for part in parts {
        let is_word = !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        match (is_word, name.is_empty()) {
            (true, true) => name.push_str(part),
            (true, false) => {
                name.push('.');
                name.push_str(part);
            }
            (false, _) => {
                name.push_str("[\"");
                name.push_str(part);
                name.push_str("\"]");
            }
        }
    }
    name
}

/// A name's value.
pub(super) fn literal(value: &Value) -> Expr {
    let ided = |expr| IdedExpr { id: 0, expr };
    match value {
        Value::Null => Expr::Literal(LiteralValue::Null),
        Value::Bool(value) => Expr::Literal(LiteralValue::Boolean((*value).into())),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => Expr::Literal(LiteralValue::Int(whole.into())),
            None => Expr::Literal(LiteralValue::Double(number.as_f64().unwrap_or_default().into())),
        },
        Value::String(text) => Expr::Literal(LiteralValue::String(CelString::from(text.clone()))),
        Value::Array(items) => {
            Expr::List(ListExpr::new(items.iter().map(|item| ided(literal(item))).collect()))
        }
        Value::Object(map) => {
            let entry = |(key, value): (&String, &Value)| IdedEntryExpr {
                id: 0,
                expr: EntryExpr::MapEntry(MapEntryExpr {
                    key: ided(literal(&Value::String(key.clone()))),
                    value: ided(literal(value)),
                    optional: false,
                }),
            };
            Expr::Map(MapExpr { entries: map.iter().map(entry).collect() })
        }
    }
}

/// Puts values in the place of names, and gives the names that have none. In the place of such a one is what fails when it
/// is evaluated: it need not be, as in `has(matrix.x) && matrix.x == 'a'`.
pub(super) fn put(expr: &mut IdedExpr, values: &BTreeMap<String, Value>) -> Vec<String> {
    let mut missing = Vec::new();
    put_in(expr, values, &mut Vec::new(), &mut missing);
    missing
}

fn put_in(
    expr: &mut IdedExpr,
    values: &BTreeMap<String, Value>,
    own: &mut Vec<String>,
    missing: &mut Vec<String>,
) {
    if let Place::Name(parts, _) = place(expr, own) {
        let name = written(&parts);
        expr.expr = values.get(&name).map_or_else(|| nothing(&name), literal);
        if !values.contains_key(&name) {
            missing.push(name);
        }
        return;
    }
    // `has(params.x)` asks whether there is a value at all.
    if let Expr::Select(select) = &expr.expr
        && select.test
    {
        let whole = Expr::Select(SelectExpr { test: false, ..select.clone() });
        if let Place::Name(parts, _) = place(&IdedExpr { id: expr.id, expr: whole }, own) {
            expr.expr = literal(&Value::Bool(values.contains_key(&written(&parts))));
            return;
        }
    }
    each(expr, own, &mut |inner, own| put_in(inner, values, own, missing));
}

/// A look for a name where there is none.
fn nothing(name: &str) -> Expr {
    let ided = |expr| IdedExpr { id: 0, expr };
    Expr::Call(CallExpr {
        func_name: operators::INDEX.to_owned(),
        target: None,
        args: vec![ided(Expr::Map(MapExpr::default())), ided(literal(&Value::String(name.to_owned())))],
    })
}

/// Calls `visit` with each name in an expression, and the id of where it begins.
pub(super) fn find(expr: &IdedExpr, visit: &mut impl FnMut(String, u64)) {
    find_in(&mut expr.clone(), &mut Vec::new(), visit);
}

fn find_in(expr: &mut IdedExpr, own: &mut Vec<String>, visit: &mut impl FnMut(String, u64)) {
    if let Expr::Select(select) = &mut expr.expr
        && select.test
    {
        // A presence test may be of the last part of a name.
        let whole = Expr::Select(SelectExpr { test: false, ..select.clone() });
        return find_in(&mut IdedExpr { id: expr.id, expr: whole }, own, visit);
    }
    match place(expr, own) {
        Place::Name(parts, id) => visit(written(&parts), id),
        Place::Part(..) | Place::Other => each(expr, own, &mut |inner, own| find_in(inner, own, visit)),
    }
}

/// Calls `visit` with each part of an expression that is directly below it, and the variables that it sees.
fn each(expr: &mut IdedExpr, own: &mut Vec<String>, visit: &mut impl FnMut(&mut IdedExpr, &mut Vec<String>)) {
    match &mut expr.expr {
        Expr::Unspecified | Expr::Literal(_) | Expr::Ident(_) => {}
        Expr::Select(select) => visit(&mut select.operand, own),
        Expr::List(list) => list.elements.iter_mut().for_each(|item| visit(item, own)),
        Expr::Map(map) => entries(&mut map.entries, own, visit),
        Expr::Struct(fields) => entries(&mut fields.entries, own, visit),
        Expr::Call(call) => {
            if let Some(target) = &mut call.target {
                visit(target, own);
            }
            call.args.iter_mut().for_each(|arg| visit(arg, own));
        }
        Expr::Comprehension(inner) => {
            visit(&mut inner.iter_range, own);
            visit(&mut inner.accu_init, own);
            let before = own.len();
            own.push(inner.iter_var.clone());
            own.extend(inner.iter_var2.clone());
            own.push(inner.accu_var.clone());
            visit(&mut inner.loop_cond, own);
            visit(&mut inner.loop_step, own);
            visit(&mut inner.result, own);
            own.truncate(before);
        }
    }
}

fn entries(
    entries: &mut [IdedEntryExpr],
    own: &mut Vec<String>,
    visit: &mut impl FnMut(&mut IdedExpr, &mut Vec<String>),
) {
    for entry in entries {
        match &mut entry.expr {
            EntryExpr::StructField(field) => visit(&mut field.value, own),
            EntryExpr::MapEntry(entry) => {
                visit(&mut entry.key, own);
                visit(&mut entry.value, own);
            }
        }
    }
}
