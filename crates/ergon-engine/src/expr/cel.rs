//! Conditions in the Common Expression Language, with a bound on what they may cost.
//!
//! There are no variables: references are replaced by their values before the text comes here, as in Tekton. The `cel`
//! crate parses and evaluates; nothing outside this module sees it. Since it has no limit of its own, what an
//! expression can cost at most is computed from its parsed form first, and too much is refused.

mod times;

use std::sync::Arc;

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SelectExpr, operators,
};
use cel::{Context, Program, Value};

/// The longest text, values that were put in included, in bytes.
const LONGEST: usize = 256 << 10;
/// The most bytes outside of texts in quotes.
const MOST_CODE: usize = 8 << 10;
/// How deep operators and calls may stand in each other: parser and evaluation call themselves for each. A bracket
/// counts as [`BRACKET`] operators.
const DEEPEST: usize = 72;
const BRACKET: usize = 3;
/// What goes deeper than this gets a stack of its own, so that nobody's stack can run out.
const DEEP: usize = 12;
/// Enough for [`DEEPEST`], several times over, without optimization too; only what is used is ever allocated.
const STACK_BYTES: usize = 32 << 20;
/// The largest value on the way, in bytes and items.
const LARGEST: u64 = 4 << 20;
/// The most work, in about nanoseconds.
const MOST_WORK: u64 = 50_000_000;
/// Compiling one regular expression.
const REGEX_WORK: u64 = 100_000;

/// What is wrong with an expression. The user's to mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CelError {
    #[error("the CEL expression is no valid expression: {0}")]
    Syntax(String),
    #[error(
        "undeclared reference to `{0}`: there are no variables in CEL here; write a reference in quotes, such as `'$(params.name)'`"
    )]
    Undeclared(String),
    #[error("{0}")]
    Evaluation(String),
    #[error("The CEL expression {0} is not evaluated to a boolean")]
    NotBool(String),
    #[error("the CEL expression is too large: {0}")]
    TooLarge(String),
}

/// Whether an expression without references holds.
///
/// # Errors
/// Text that is no expression, a value that is no bool, a failure on the way, or too much work.
pub fn holds(text: &str) -> Result<bool, CelError> {
    with_stack(text, || match compile(text)?.execute(&context()) {
        Ok(Value::Bool(holds)) => Ok(holds),
        Ok(_) => Err(CelError::NotBool(shortened(text))),
        Err(error) => Err(CelError::Evaluation(shortened(&error.to_string()))),
    })
}

/// Whether a text is an expression at all. References in it that stand in quotes do no harm.
///
/// # Errors
/// As [`holds`], but for what only evaluation shows.
pub fn check(text: &str) -> Result<(), CelError> {
    with_stack(text, || compile(text).map(drop))
}

/// Does the work for a text where there is stack enough for it, or refuses the text.
fn with_stack<T: Send>(text: &str, work: impl FnOnce() -> Result<T, CelError> + Send) -> Result<T, CelError> {
    if text.len() > LONGEST {
        return Err(CelError::TooLarge(format!("it has {} bytes, and may have {LONGEST}", text.len())));
    }
    let shape = Shape::of(text);
    for (found, most, what) in [
        (shape.code, MOST_CODE, "bytes outside of texts in quotes"),
        (shape.depth, DEEPEST, "operators and brackets inside each other"),
    ] {
        if found > most {
            return Err(CelError::TooLarge(format!("it has {found} {what}, and may have {most}")));
        }
    }
    if shape.depth <= DEEP {
        return work();
    }
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work);
        let failed =
            |error: &dyn std::fmt::Display| CelError::Evaluation(format!("no thread for it: {error}"));
        thread.map_err(|error| failed(&error))?.join().unwrap_or_else(|_| Err(failed(&"it panicked")))
    })
}

fn compile(text: &str) -> Result<Program, CelError> {
    let program =
        times::ENV.compile(text).map_err(|error| CelError::Syntax(shortened(&error.to_string())))?;
    bound(program.expression(), &mut Vec::new())?;
    Ok(program)
}

fn context() -> Context<'static, 'static> {
    Context::with_env(Arc::clone(&times::ENV))
}

/// What the parser will meet, seen from outside.
#[derive(Debug, Default)]
struct Shape {
    /// Bytes outside of texts in quotes. Where quotes are not closed, this is more rather than less.
    code: usize,
    /// How deep the parsed expression can be.
    depth: usize,
}

/// What was read of one bracket's inside: operators in the part that is being read, and in the deepest part.
#[derive(Debug, Default, Clone, Copy)]
struct Level {
    now: usize,
    deepest: usize,
}

impl Level {
    fn add(&mut self, depth: usize) {
        self.now += depth;
        self.deepest = self.deepest.max(self.now);
    }
}

impl Shape {
    fn of(text: &str) -> Self {
        let bytes = text.as_bytes();
        let mut shape = Self::default();
        let mut at = 0;
        let mut outer: Vec<Level> = Vec::new();
        let mut level = Level::default();
        while at < bytes.len() {
            shape.code += 1;
            let mut next = at + 1;
            match bytes[at] {
                // Where it does not end the parser will say so, unless what follows is too much for it.
                b'\'' | b'"' => next = end_of_quoted(bytes, at).unwrap_or(next),
                b'(' | b'[' | b'{' => outer.push(std::mem::take(&mut level)),
                b')' | b']' | b'}' => {
                    let inner = std::mem::replace(&mut level, outer.pop().unwrap_or_default());
                    level.add(inner.deepest + BRACKET);
                }
                // Their operands stand side by side.
                b',' | b'&' | b'|' => level.now = 0,
                byte if b"+-*/%!?.<=>".contains(&byte) => {
                    level.add(1);
                    if bytes.get(next) == Some(&b'=') {
                        next += 1;
                    }
                }
                b'i' if bytes[at..].starts_with(b"in") && !is_word(bytes, at) => level.add(1),
                _ => {}
            }
            at = next;
        }
        while let Some(next) = outer.pop() {
            let inner = std::mem::replace(&mut level, next);
            level.add(inner.deepest + BRACKET);
        }
        shape.depth = level.deepest;
        shape
    }
}

fn is_word(bytes: &[u8], at: usize) -> bool {
    at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_')
}

/// Where a text in quotes that begins at `start` has ended.
fn end_of_quoted(bytes: &[u8], start: usize) -> Option<usize> {
    let quote = bytes[start];
    let raw = start > 0 && matches!(bytes[start - 1], b'r' | b'R');
    let fence: &[u8] = if bytes[start..].starts_with(&[quote; 3]) { &[quote; 3] } else { &[quote] };
    let mut end = start + fence.len();
    while end < bytes.len() {
        if bytes[end..].starts_with(fence) {
            return Some(end + fence.len());
        }
        end += if bytes[end] == b'\\' && !raw { 2 } else { 1 };
    }
    None
}

/// At most what a part of an expression comes to.
#[derive(Debug, Clone, Copy, Default)]
struct Bound {
    /// The value, in bytes and items.
    size: u64,
    /// Its items, and the largest of them.
    items: u64,
    largest: u64,
    /// The work to get it.
    work: u64,
}

impl Bound {
    fn value(size: u64) -> Self {
        Self { size, items: size, largest: size, work: 1 }
    }

    fn of(items: &[Self]) -> Self {
        let mut all = Self { work: 1, ..Self::default() };
        for item in items {
            all.size = all.size.saturating_add(item.size + 1);
            all.items += 1;
            all.largest = all.largest.max(item.size);
            all.work = all.work.saturating_add(item.work);
        }
        all
    }

    fn checked(self) -> Result<Self, CelError> {
        if self.size > LARGEST || self.work > MOST_WORK {
            return Err(CelError::TooLarge(
                "evaluating it could take too long; use fewer comprehensions inside each other, or smaller lists"
                    .to_owned(),
            ));
        }
        Ok(self)
    }
}

/// Names that stand for types.
const TYPES: [&str; 10] =
    ["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"];

/// What `expr` costs at most. `names`: the variables of the comprehensions around it.
fn bound(expr: &IdedExpr, names: &mut Vec<(String, Bound)>) -> Result<Bound, CelError> {
    let found = match &expr.expr {
        Expr::Literal(LiteralValue::String(text)) => Bound::value(text.inner().len() as u64 + 1),
        Expr::Literal(LiteralValue::Bytes(bytes)) => Bound::value(bytes.inner().len() as u64 + 1),
        Expr::Unspecified | Expr::Literal(_) => Bound::value(1),
        Expr::Ident(name) => match names.iter().rev().find(|(known, _)| known == name) {
            Some((_, bound)) => Bound { work: bound.size + 1, ..*bound },
            None if TYPES.contains(&name.as_str()) => Bound::value(1),
            None => return Err(CelError::Undeclared(name.clone())),
        },
        Expr::Select(select) if is_type_of_time(select, names) => Bound::value(1),
        Expr::Select(select) => bound(&select.operand, names)?,
        Expr::List(list) => {
            let items: Result<Vec<_>, _> = list.elements.iter().map(|item| bound(item, names)).collect();
            Bound::of(&items?)
        }
        Expr::Map(map) => entries(map.entries.iter().map(|entry| &entry.expr), names)?,
        Expr::Struct(fields) => entries(fields.entries.iter().map(|entry| &entry.expr), names)?,
        Expr::Call(call) => self::call(call, names)?,
        Expr::Comprehension(comprehension) => self::comprehension(comprehension, names)?,
    };
    found.checked()
}

/// Whether this is `google.protobuf.Timestamp` or `google.protobuf.Duration`.
fn is_type_of_time(select: &SelectExpr, names: &[(String, Bound)]) -> bool {
    let Expr::Select(package) = &select.operand.expr else { return false };
    let Expr::Ident(root) = &package.operand.expr else { return false };
    let spelled = !select.test && !package.test && root == "google" && package.field == "protobuf";
    spelled
        && matches!(&*select.field, "Duration" | "Timestamp")
        && names.iter().all(|(name, _)| name != root)
}

fn entries<'a>(
    entries: impl Iterator<Item = &'a EntryExpr>,
    names: &mut Vec<(String, Bound)>,
) -> Result<Bound, CelError> {
    let mut items = Vec::new();
    for entry in entries {
        match entry {
            EntryExpr::StructField(field) => items.push(bound(&field.value, names)?),
            EntryExpr::MapEntry(entry) => {
                items.push(bound(&entry.key, names)?);
                items.push(bound(&entry.value, names)?);
            }
        }
    }
    Ok(Bound::of(&items))
}

fn call(call: &CallExpr, names: &mut Vec<(String, Bound)>) -> Result<Bound, CelError> {
    let args: Result<Vec<Bound>, CelError> =
        call.target.as_deref().into_iter().chain(&call.args).map(|arg| bound(arg, names)).collect();
    let args = args?;
    let mut work = args.iter().fold(10u64, |sum, arg| sum.saturating_add(arg.work).saturating_add(arg.size));
    let largest = args.iter().map(|arg| arg.largest).max().unwrap_or(0);
    let size = match call.func_name.as_str() {
        operators::ADD => {
            let (size, items) =
                args.iter().fold((0u64, 0u64), |sum, arg| (sum.0 + arg.size, sum.1 + arg.items));
            return Ok(Bound { size, items, largest, work });
        }
        operators::CONDITIONAL => {
            let items = args.iter().skip(1).map(|arg| arg.items).max().unwrap_or(0);
            let size = args.iter().skip(1).map(|arg| arg.size).max().unwrap_or(0);
            return Ok(Bound { size, items, largest, work });
        }
        "matches" => {
            let product = args.iter().fold(1u64, |product, arg| product.saturating_mul(arg.size.max(1)));
            work = work.saturating_add(REGEX_WORK).saturating_add(product);
            1
        }
        operators::LOGICAL_AND
        | operators::LOGICAL_OR
        | operators::LOGICAL_NOT
        | operators::EQUALS
        | operators::NOT_EQUALS
        | operators::GREATER
        | operators::GREATER_EQUALS
        | operators::LESS
        | operators::LESS_EQUALS
        | operators::IN
        | operators::NOT_STRICTLY_FALSE
        | "size"
        | "contains"
        | "startsWith"
        | "endsWith" => 1,
        // The longest text of a number has 326 characters.
        _ => args.iter().fold(330u64, |sum, arg| sum.saturating_add(arg.size)),
    };
    Ok(Bound { work, ..Bound::value(size) })
}

fn comprehension(
    comprehension: &ComprehensionExpr,
    names: &mut Vec<(String, Bound)>,
) -> Result<Bound, CelError> {
    let range = bound(&comprehension.iter_range, names)?;
    let init = bound(&comprehension.accu_init, names)?;
    let item = Bound::value(range.largest);
    let before = names.len();
    names.push((comprehension.iter_var.clone(), item));
    names.extend(comprehension.iter_var2.iter().map(|name| (name.clone(), item)));
    // The accumulator is only ever added to: what one round adds is what the step gives with an empty one.
    names.push((comprehension.accu_var.clone(), Bound::default()));
    let step = bound(&comprehension.loop_step, names)?;
    let condition = bound(&comprehension.loop_cond, names)?;
    let rounds = range.items;
    let total = Bound {
        size: init.size.saturating_add(rounds.saturating_mul(step.size)),
        items: init.items.saturating_add(rounds.saturating_mul(step.items)),
        largest: init.largest.max(step.largest),
        work: 1,
    };
    if let Some(accumulator) = names.last_mut() {
        accumulator.1 = total;
    }
    let result = bound(&comprehension.result, names)?;
    names.truncate(before);
    let round = step.work.saturating_add(condition.work).saturating_add(total.size);
    let work = rounds
        .saturating_mul(round)
        .saturating_add(range.work)
        .saturating_add(init.work)
        .saturating_add(result.work);
    Ok(Bound { work, ..result })
}

/// Messages repeat values; these may be long.
fn shortened(text: &str) -> String {
    const MOST: usize = 500;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn expressions_hold_or_do_not() {
        for (text, expected) in [
            ("'a' == 'a'", true),
            ("'$(params.unknown)' == 'a'", false),
            ("'main' in ['main', 'release'] && !('x' == 'y')", true),
            ("'v1.2.3'.matches('^v[0-9]+')", true),
            ("'release/1'.startsWith(\"release/\") || false", true),
            ("size('abc') > 2 ? true : false", true),
            ("['a', 'b'].exists(x, x == 'b') && ['a'].all(x, x.size() == 1)", true),
            ("['a', 'b'].map(x, x + x).filter(x, x == 'bb').size() == 1", true),
            ("int('3') + 4 == 7 && double('0.5') < 1.0", true),
            ("{'a': 1}['a'] == 1 && has({'a': 1}.a)", true),
            ("r'a\\d' == 'a\\\\d'", true),
            ("'it''s' == ''", false),
        ] {
            match holds(text) {
                Ok(found) => assert_eq!(found, expected, "{text}"),
                Err(error) => assert!(text.contains("''"), "{text}: {error}"),
            }
        }
    }

    #[test]
    fn mistakes_are_told() {
        let error = |text: &str| holds(text).unwrap_err();
        assert!(matches!(error(""), CelError::Syntax(_)));
        assert!(matches!(error("'a' =="), CelError::Syntax(_)));
        assert!(matches!(error("$(params.a) == 'a'"), CelError::Syntax(_)));
        assert_eq!(error("true || params.foo == 'a'"), CelError::Undeclared("params".to_owned()));
        assert_eq!(
            error("'a' + 'b'").to_string(),
            "The CEL expression 'a' + 'b' is not evaluated to a boolean"
        );
        assert!(matches!(error("1 / 0 == 1"), CelError::Evaluation(_)));
        assert!(matches!(error("'a' < 1"), CelError::Evaluation(_)));
        assert!(matches!(error("nofunction('a')"), CelError::Evaluation(_)));
    }

    /// On the stack of a thread of the controller, without optimization: neither time nor stack nor memory run out.
    #[test]
    fn hostile_expressions_are_refused_or_quick() {
        let doubled = format!("['aaaaaaaaaa']{} == []", ".map(x, x+x+x+x+x+x+x+x)".repeat(60));
        let nested = format!("{}true{}", "[1,2,3,4,5,6,7,8,9].all(x, ".repeat(12), ")".repeat(12));
        let ones = format!("[{}1]", "1,".repeat(1000));
        let wide = format!("{ones}.all(x, {ones}.all(y, true))");
        let texts = [
            doubled,
            nested,
            wide,
            format!("{ones}.all(x, 'a'.matches('(a|b|c){{1000}}{{20}}'))"),
            "1+".repeat(2000) + "1 == 1",
            "!".repeat(4000) + "true",
            "-".repeat(4000) + "1 == 1",
            "(".repeat(4000),
            "[".repeat(4000),
            "(".repeat(2000) + "true" + &")".repeat(2000),
            "1+".repeat(70) + "1 == 1",
            "!".repeat(72) + "true",
            "true ? true : ".repeat(72) + "true",
            "true || ".repeat(75) + "true",
            "1 in ".repeat(72) + "1",
            "'a'".to_owned() + &".size()".repeat(18),
            format!("duration('{}') == duration('0')", "1h".repeat(100_000)),
            format!("duration('{}s') == duration('0')", "9".repeat(200_000)),
            format!("timestamp('{}') == timestamp(0)", "2".repeat(200_000)),
            "timestamp(".repeat(20) + "0" + &")".repeat(20) + " == timestamp(0)",
            format!("{ones}.all(x, timestamp(x).getHours('Europe/Berlin') == 1)"),
            "[".repeat(24) + &"]".repeat(24) + " == []",
            "(".repeat(24) + "true" + &")".repeat(24),
            "{1:".repeat(24) + "1" + &"}".repeat(24) + " == {}",
            "'a'".to_owned() + &"[0]".repeat(24),
            "'a'".to_owned() + &"[0]".repeat(2000),
            "a(".repeat(24) + &")".repeat(24) + &"()".repeat(1000),
            "true ? ".repeat(500) + "true" + &" : false".repeat(300),
            "true && ".repeat(500) + "true",
            "{1:".repeat(1300),
            "'a'".to_owned() + &".size()".repeat(580),
            "'a'".to_owned() + &"[0]".repeat(1300),
            "$(".repeat(1 << 19),
            format!("'{}' == ''", "x".repeat(1 << 20)),
            format!("'{}' == ''", "x".repeat(200_000)),
            "'".repeat(4000),
            "\"\\".repeat(2000),
        ];
        for text in texts {
            let start = std::time::Instant::now();
            let shown: String = text.chars().take(60).collect();
            let _ = holds(&text);
            assert!(start.elapsed().as_secs() < 5, "{shown}: {:?}", start.elapsed());
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "[a-c'\"\\[\\](){}?:.,+!&|=<>0-9 \\\\$xr]{0,60}") {
            let _ = holds(&text);
        }

        #[test]
        fn a_value_in_quotes_is_compared_as_it_is(value in "[a-z0-9./-]{0,40}") {
            prop_assert_eq!(holds(&format!("'{value}' == \"{value}\"")), Ok(true));
        }
    }
}
