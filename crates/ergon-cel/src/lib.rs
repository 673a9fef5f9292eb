//! Conditions in the Common Expression Language, with a bound on what they may cost.
//!
//! There are two kinds of them. Tekton's ([`holds`]) have no variables: references are replaced by their values before
//! the text comes here. Ergon's ([`Expression`]) have names such as `params.version`, whose values are put into the
//! parsed form, so that no value can be a part of the expression; and they are typed before there is any value.
//!
//! The `cel` crate parses and evaluates; nothing outside this crate sees it. Since it has no limit of its own, what an
//! expression can cost at most is computed from its parsed form first, and too much is refused.

mod bound;
mod names;
mod shape;
mod times;
mod typed;

use std::collections::BTreeMap;
use std::sync::Arc;

use cel::common::ast::IdedExpr;
use cel::{Context, Env, Program, Value};

use crate::bound::bound;
use crate::shape::Shape;
pub use names::Used;
pub use typed::Type;

/// The longest text, values that were put in included, in bytes.
const LONGEST: usize = 256 << 10;
/// The most bytes outside of texts in quotes.
const MOST_CODE: usize = 8 << 10;
/// How deep operators and calls may stand in each other: parser and evaluation call themselves for each.
const DEEPEST: usize = 72;
/// What goes deeper than this gets a stack of its own, so that nobody's stack can run out.
const DEEP: usize = 12;
/// Enough for [`DEEPEST`], several times over, without optimization too; only what is used is ever allocated.
const STACK_BYTES: usize = 32 << 20;

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
    /// Of an expression with names.
    #[error("line {line}, column {column}: {message}{}", help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default())]
    Mistake { line: usize, column: usize, message: String, help: Option<String> },
    #[error("`{0}` has no value: nothing declares or sets it")]
    NoValue(String),
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

/// An expression with names, ready to be evaluated.
#[derive(Debug, Clone)]
pub struct Expression {
    text: String,
    parsed: IdedExpr,
}

impl Expression {
    /// Reads an expression. What its names stand for is not looked at.
    ///
    /// # Errors
    /// Text that is no expression, or a function that there is not.
    pub fn read(text: &str) -> Result<Self, CelError> {
        check_types(text, &|_| Some(Type::Any))?;
        let parsed = with_stack(text, || parse_named(text).map(|program| program.expression().clone()))?;
        Ok(Self { text: text.to_owned(), parsed })
    }

    /// Whether it holds with these values, by the names of [`used`].
    ///
    /// # Errors
    /// A value that is missing or of a type that something in the expression does not take, or too much work.
    pub fn holds(&self, values: &BTreeMap<String, serde_json::Value>) -> Result<bool, CelError> {
        with_stack(&self.text, || {
            let mut parsed = self.parsed.clone();
            let missing = names::put(&mut parsed, values);
            bound(&parsed, &mut Vec::new())?;
            match Value::resolve(&parsed, &Context::with_env(Arc::clone(&times::EXTENDED))) {
                Ok(Value::Bool(holds)) => Ok(holds),
                Ok(_) => Err(CelError::NotBool(shortened(&self.text))),
                Err(error) => Err(match missing.into_iter().next() {
                    Some(name) => CelError::NoValue(name),
                    None => CelError::Evaluation(shortened(&error.to_string())),
                }),
            }
        })
    }
}

/// The names in an expression, each once, in their order.
///
/// # Errors
/// Text that is no expression.
pub fn used(text: &str) -> Result<Vec<Used>, CelError> {
    with_stack(text, || {
        let program = parse_named(text)?;
        let mut found = Vec::new();
        names::find(program.expression(), &mut |name, id| {
            if found.iter().all(|used: &Used| used.name != name) {
                let (line, column) = position(&program, id);
                found.push(Used { name, line, column });
            }
        });
        Ok(found)
    })
}

/// Whether an expression can be true or false, as far as the types of its names tell.
///
/// # Errors
/// Its first mistake, with its place.
pub fn check_types(text: &str, type_of: &dyn Fn(&str) -> Option<Type>) -> Result<(), CelError> {
    // The types come from here, and the work may need another thread.
    let mut types = BTreeMap::new();
    for name in used(text)? {
        types.insert(name.name.clone(), type_of(&name.name));
    }
    with_stack(text, || {
        let program = parse_named(text)?;
        let type_of = |name: &str| types.get(name).cloned().flatten();
        let mut checker = typed::Checker { type_of: &type_of, own: Vec::new() };
        let told = |typed::Mistake { id, message, help }| {
            let (line, column) = position(&program, id);
            CelError::Mistake { line, column, message, help }
        };
        match checker.infer(program.expression()).map_err(told)? {
            Type::Bool | Type::Any => Ok(()),
            other => Err(CelError::Mistake {
                line: 1,
                column: 1,
                message: format!("a condition is true or false, and this is {}", other.with_article()),
                help: Some("write a comparison, as in `params.x == 'a'`".to_owned()),
            }),
        }
    })
}

fn parse(text: &str, env: &Env) -> Result<Program, CelError> {
    env.compile(text).map_err(|error| CelError::Syntax(shortened(&error.to_string())))
}

/// [`parse`] of an expression with names; what is wrong is told with its place.
fn parse_named(text: &str) -> Result<Program, CelError> {
    times::EXTENDED.compile(text).map_err(|error| {
        let told = error.to_string();
        let first = told.lines().next().unwrap_or_default();
        let place = first.strip_prefix("ERROR: <input>:").and_then(|rest| {
            let (line, rest) = rest.split_once(':')?;
            let (column, message) = rest.split_once(": ")?;
            Some((line.parse().ok()?, column.parse().ok()?, message))
        });
        let Some((line, column, message)) = place else { return CelError::Syntax(shortened(&told)) };
        // What the grammar would take here is a list of all its signs.
        let message = message.trim_start_matches("Syntax error: ");
        let message = message.split(" expecting").next().unwrap_or(message);
        let message = if message.contains("<EOF>") { "the expression ends too soon" } else { message };
        CelError::Mistake { line, column, message: shortened(message), help: None }
    })
}

/// Line and column of a part, in characters from 1.
fn position(program: &Program, id: u64) -> (usize, usize) {
    let info = program.source_info();
    let at = info.offset_for(id).map_or(0, |(start, _)| start as usize);
    let before: String = info.source.chars().take(at).collect();
    let line = before.matches('\n').count() + 1;
    (line, before.rsplit('\n').next().unwrap_or_default().chars().count() + 1)
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
    let program = parse(text, &times::ENV)?;
    bound(program.expression(), &mut Vec::new())?;
    Ok(program)
}

fn context() -> Context<'static, 'static> {
    Context::with_env(Arc::clone(&times::ENV))
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

    fn type_of(name: &str) -> Option<Type> {
        Some(match name {
            "params.version" | "params[\"a.b\"]" | "params.image-tag" | "tasks.build.results.digest" => {
                Type::Text
            }
            "params.jobs" => Type::Number,
            "params.push" | "workspaces.cache.bound" => Type::Bool,
            "params.list" => Type::texts(),
            "params.object" => Type::Map(Box::new(Type::Text)),
            "tasks.other.results.any" => Type::Any,
            _ => return None,
        })
    }

    #[test]
    fn types_are_found_out_before_there_are_values() {
        for text in [
            "params.version == 'v1'",
            "params['a.b'].startsWith('x') || params[\"image-tag\"] in params.list",
            "params.jobs > 3 && params.jobs < 3.5 && params.push",
            "!workspaces.cache.bound",
            "params.list.exists(item, item == params.version)",
            "params.list.map(item, item.size()).all(n, n > 2)",
            "params.list.filter(item, item.matches('^a')).size() == 0",
            "params.object.key == 'x' && has(params.object.other)",
            "has(tasks.build.results.digest)",
            "tasks.other.results.any == 3 || tasks.other.results.any.size() > 2",
            "int(params.version) > 3",
            "params.list[0] == 'a' && params.list.size() > 1",
            "params.version.lowerAscii().split('.').join('-') == 'v1-2'",
            "params.list.sort().distinct().slice(0, 1) == ['a']",
            "timestamp('2026-01-01T00:00:00Z').getFullYear() == 2026 && duration('1h') > duration('1m')",
            "params.push ? params.jobs == 1 : true",
            "{'a': 1}['a'] == 1 && {'a': 1}.a == 1",
            "'x' + params.version == 'xv1' && params.jobs + 1 > 2",
        ] {
            assert_eq!(check_types(text, &type_of), Ok(()), "{text}");
        }
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        let mut wrong = Vec::new();
        for (text, wanted) in [
            ("params.verison == 'v1'", "line 1, column 1: there is no `params.verison`"),
            (
                "true &&\n  params.jobs == '3'",
                "line 2, column 15: `==` with a number and a text (write the same on both sides: a text in quotes, a number without, or `int(…)` of a text)",
            ),
            (
                "params.version > 3",
                "line 1, column 16: `>` with a text and a number (write numbers on both sides, with `int(…)` or `double(…)` of a text)",
            ),
            (
                "params.version && params.push",
                "line 1, column 7: `&&` with a text (write a comparison, as in `params.x == 'a'`)",
            ),
            ("params.image-tag == 'x'", "line 1, column 1: there is no `params.image`"),
            (
                "params.jobs - tag == 1",
                "line 1, column 15: `tag` is not known here (write a text in quotes; names begin with `params.`, `tasks.`, `workspaces.` or `context.`)",
            ),
            (
                "params.version",
                "line 1, column 1: a condition is true or false, and this is a text (write a comparison, as in `params.x == 'a'`)",
            ),
            ("params.jobs.startsWith('a')", "line 1, column 23: `startsWith` of a number (it is for a text)"),
            (
                "params.version.startWith('a')",
                "line 1, column 25: `startWith` is no function (`startsWith`, if that is meant)",
            ),
            (
                "params.version in 'v1'",
                "line 1, column 16: `in` with a text and a text (write a list after `in`)",
            ),
            (
                "params.jobs in params.list",
                "line 1, column 13: `in` looks for a number in a list that never has one (write what the list has)",
            ),
            (
                "params == 1",
                "line 1, column 1: `params` is no whole name (write `params.NAME`, `tasks.TASK.results.NAME`, `tasks.TASK.status`, `workspaces.NAME.bound` or `context.…`; one with a dash in it is `params[\"NAME\"]`)",
            ),
            (
                "params.version.key == 'a'",
                "line 1, column 15: `.key` of a text (write an object, or a name alone)",
            ),
            (
                "params.list.all(item, item > 3)",
                "line 1, column 28: `>` with a text and a number (write numbers on both sides, with `int(…)` or `double(…)` of a text)",
            ),
            ("params.jobs.all(item, true)", "line 1, column 7: a loop over a number (write a list)"),
            (
                "lists.range(3).size() == 3",
                "line 1, column 1: `lists` is not known here (write a text in quotes; names begin with `params.`, `tasks.`, `workspaces.` or `context.`)",
            ),
        ] {
            let told = check_types(text, &type_of).map_err(|error| error.to_string());
            if told != Err(wanted.to_owned()) {
                wrong.push(format!("{text}\n  found    {told:?}\n  expected {wanted:?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        let told = |text: &str| check_types(text, &type_of).unwrap_err().to_string();
        assert_eq!(told("params.version =="), "line 1, column 18: the expression ends too soon");
        assert_eq!(told("params.version ~ 'a'"), "line 1, column 16: token recognition error at: '~'");
    }

    #[test]
    fn names_are_found() {
        let text = "params.list.all(params, params == matrix.os) && tasks['a b'].results.r.size() > 1 && tasks.t.status == 'x' && has(params.x)";
        let names: Vec<String> = used(text).unwrap().into_iter().map(|used| used.name).collect();
        assert_eq!(
            names,
            ["params.list", "matrix.os", "tasks[\"a b\"].results.r", "tasks.t.status", "params.x"]
        );
    }

    fn given(text: &str) -> Result<bool, CelError> {
        let values = serde_json::json!({
            "params.version": "' || true || '", "params.jobs": 3, "params.ratio": 0.5, "params.push": true,
            "params.list": ["a", "b"], "params.object": {"key": "x"}, "params.big": "x".repeat(100_000),
        });
        Expression::read(text)?.holds(&serde_json::from_value(values).unwrap())
    }

    #[test]
    fn values_are_never_a_part_of_the_expression() {
        for (text, wanted) in [
            ("params.version == 'v1'", false),
            ("params.version == \"' || true || '\"", true),
            ("params.jobs == 3 && params.jobs > 2.5 && params.ratio < 1", true),
            ("params.push && 'b' in params.list && params.list[1] == 'b'", true),
            ("params.object.key == 'x' && !has(params.object.other)", true),
            ("has(params.jobs) && !has(params.none)", true),
            ("has(params.none) && params.none == 'a' || params.push", true),
            ("params.list.exists(item, item.upperAscii() == 'A')", true),
            ("params.list.join('-').replace('a', 'c') == 'c-b'", true),
        ] {
            assert_eq!(given(text), Ok(wanted), "{text}");
        }
        assert_eq!(given("params.none == 'a'"), Err(CelError::NoValue("params.none".to_owned())));
        assert!(matches!(given("params.jobs == 1 && params.list"), Ok(false) | Err(_)));
        assert!(matches!(given("params.big.replace('x', params.big) == ''"), Err(CelError::TooLarge(_))));
        assert!(matches!(given("lists.range(1000000000).size() == 1"), Err(CelError::Mistake { .. })));
    }

    proptest! {
        #[test]
        fn no_typed_expression_panics(text in "(params\\.(version|jobs|list|x)|[a-c'\"\\[\\](){}?:.,+!&|=<>0-9 \\-]){0,30}") {
            let _ = check_types(&text, &type_of);
            let _ = given(&text);
        }

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
