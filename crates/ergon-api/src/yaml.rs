//! YAML and JSON to values, with the place of every field.
//!
//! Scalars mean what they mean to `kubectl` (`010` is 8, `1_000` is 1000), so that a file cannot mean one thing here
//! and another to the API server. Where a word is a trap (`yes` is a boolean to kubectl), it is refused.

use std::collections::BTreeMap;

use granit_parser::{Event, Marker, Parser, ScalarStyle, Span, StrInput, Tag, options};
use serde_json::{Map, Number, Value};

use crate::source::{Diagnostic, Position, SourceMap, join};

/// Files above this size are refused unread: 3 MiB.
const MAX_FILE_BYTES: usize = 3 << 20;
/// How much all aliases together may repeat, counted in bytes of text and values.
const MAX_ALIAS_WEIGHT: usize = 3 << 20;
/// How deep lists and maps may nest.
const MAX_DEPTH: usize = 100;

/// Reads all documents of a file. Empty documents are left out.
pub(crate) fn read(text: &str, file: &str) -> Result<Vec<(Value, SourceMap)>, Diagnostic> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.len() > MAX_FILE_BYTES {
        return Err(at_start(
            file,
            format!("the file has {} bytes, the limit is {MAX_FILE_BYTES}", text.len()),
        ));
    }
    let mut reader = Reader {
        // As libyaml, and so kubectl, has it. Comments are events where another crate of the build asks for them.
        parser: Parser::new_from_str_with_options(
            text,
            options! { block_scalar_eof_without_line_feed: true, emit_comments: false },
        ),
        anchors: BTreeMap::new(),
        alias_weight: 0,
        map: SourceMap::new(file),
        text,
    };
    match reader.documents() {
        Ok(documents) => Ok(documents),
        // Some JSON is not YAML, such as escapes of surrogate pairs. It has no places then, but it is read.
        Err(error) if text.trim_start().starts_with('{') => match serde_json::from_str(text) {
            Ok(value) => Ok(vec![(value, SourceMap::new(file))]),
            Err(_) => Err(error),
        },
        Err(error) => Err(error),
    }
}

fn at_start(file: &str, message: String) -> Diagnostic {
    Diagnostic { file: file.to_owned(), line: 1, column: 1, path: String::new(), message, help: None }
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    anchors: BTreeMap<usize, (Value, usize)>,
    alias_weight: usize,
    map: SourceMap,
    text: &'a str,
}

impl<'a> Reader<'a> {
    fn documents(&mut self) -> Result<Vec<(Value, SourceMap)>, Diagnostic> {
        let mut documents = Vec::new();
        loop {
            let (event, _) = self.next("")?;
            match event {
                Event::StreamEnd => return Ok(documents),
                Event::DocumentStart(..) => {
                    self.anchors.clear();
                    self.map = SourceMap::new(self.map.file());
                    let (event, span) = self.next("")?;
                    self.map.insert(String::new(), position(span.start), position(span.start));
                    let (value, _) = self.node(event, span, "", 0)?;
                    if !value.is_null() {
                        documents.push((value, self.map.clone()));
                    }
                }
                _ => {}
            }
        }
    }

    fn next(&mut self, path: &str) -> Result<(Event<'a>, Span), Diagnostic> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => {
                let line = self.text.lines().nth(error.marker().line().saturating_sub(1)).unwrap_or_default();
                let help = if line.trim_start_matches(' ').starts_with('\t') {
                    Some("indent with spaces; YAML does not allow tabs there".to_owned())
                } else if line.contains("{{") {
                    Some("a value that starts with `{{` must be in quotes".to_owned())
                } else {
                    None
                };
                let info = error.info();
                let info = if info.is_empty() { "unexpected character" } else { info.as_str() };
                Err(self.error(*error.marker(), path, format!("not valid YAML: {info}"), help))
            }
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn error(&self, at: Marker, path: &str, message: String, help: Option<String>) -> Diagnostic {
        let Position { line, column } = position(at);
        Diagnostic { file: self.map.file().to_owned(), line, column, path: path.to_owned(), message, help }
    }

    /// Builds the node that starts with `event`. Returns it with its weight, which bounds what aliases may repeat.
    fn node(
        &mut self,
        event: Event<'a>,
        span: Span,
        path: &str,
        depth: usize,
    ) -> Result<(Value, usize), Diagnostic> {
        if depth > MAX_DEPTH {
            return Err(self.error(span.start, path, format!("nested deeper than {MAX_DEPTH} levels"), None));
        }
        let (value, weight, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar(&text, style, tag.as_deref())
                    .map_err(|Trap { message, help }| self.error(span.start, path, message, help))?;
                (value, text.len() + 16, anchor)
            }
            Event::SequenceStart(_, anchor, _) => {
                let mut items = Vec::new();
                let mut weight = 16;
                loop {
                    let (event, span) = self.next(path)?;
                    if matches!(event, Event::SequenceEnd) {
                        break;
                    }
                    let path = format!("{path}[{}]", items.len());
                    self.map.insert(path.clone(), position(span.start), position(span.start));
                    let (item, item_weight) = self.node(event, span, &path, depth + 1)?;
                    weight += item_weight;
                    items.push(item);
                }
                (Value::Array(items), weight, anchor)
            }
            Event::MappingStart(_, anchor, _) => {
                let (map, weight) = self.mapping(path, depth)?;
                (Value::Object(map), weight, anchor)
            }
            Event::Alias(id) => {
                let Some((value, weight)) = self.anchors.get(&id).cloned() else {
                    let message = "the alias stands inside the value that it repeats".to_owned();
                    return Err(self.error(span.start, path, message, None));
                };
                self.alias_weight += weight;
                if self.alias_weight > MAX_ALIAS_WEIGHT {
                    let message = format!("aliases repeat more than {MAX_ALIAS_WEIGHT} bytes");
                    let help = Some("write the values out, or repeat less".to_owned());
                    return Err(self.error(span.start, path, message, help));
                }
                return Ok((value, weight));
            }
            _ => {
                return Err(self.error(
                    span.start,
                    path,
                    "not valid YAML: a value is missing".to_owned(),
                    None,
                ));
            }
        };
        if anchor > 0 {
            self.anchors.insert(anchor, (value.clone(), weight));
        }
        Ok((value, weight))
    }

    fn mapping(&mut self, path: &str, depth: usize) -> Result<(Map<String, Value>, usize), Diagnostic> {
        let mut map = Map::new();
        let mut merged = Vec::new();
        let mut weight = 16;
        loop {
            let (event, key_span) = self.next(path)?;
            let key = match event {
                Event::MappingEnd => break,
                Event::Scalar(text, style, anchor, tag) => {
                    if anchor > 0 {
                        self.anchors.insert(anchor, (Value::String(text.to_string()), text.len() + 16));
                    }
                    if style == ScalarStyle::Plain && text == "<<" {
                        let (event, span) = self.next(path)?;
                        let (value, value_weight) = self.node(event, span, path, depth + 1)?;
                        weight += value_weight;
                        merged.push((value, span));
                        continue;
                    }
                    let key = scalar(&text, style, tag.as_deref())
                        .map_err(|Trap { message, help }| self.error(key_span.start, path, message, help))?;
                    match key {
                        Value::String(key) => key,
                        // Numbers and booleans as keys are their text, as in kubectl.
                        other => other.to_string(),
                    }
                }
                _ => {
                    let message = "a field's name must be a text".to_owned();
                    let help = Some("a value that starts with `{` or `{{` must be in quotes".to_owned());
                    return Err(self.error(key_span.start, path, message, help));
                }
            };
            let path = join(path, &key);
            if map.contains_key(&key) {
                let first = self.map.key(&path);
                let message = format!("duplicate field `{key}`; it is already on line {}", first.line);
                return Err(self.error(key_span.start, &path, message, None));
            }
            let (event, span) = self.next(&path)?;
            self.map.insert(path.clone(), position(key_span.start), position(span.start));
            let (value, value_weight) = self.node(event, span, &path, depth + 1)?;
            weight += value_weight + key.len() + 16;
            map.insert(key, value);
        }
        for (value, span) in merged {
            let sources = match value {
                Value::Array(items) => items,
                other => vec![other],
            };
            for source in sources {
                let Value::Object(source) = source else {
                    let message = "`<<` merges maps, and this is none".to_owned();
                    return Err(self.error(span.start, path, message, None));
                };
                for (key, value) in source {
                    map.entry(key).or_insert(value);
                }
            }
        }
        Ok((map, weight))
    }
}

fn position(marker: Marker) -> Position {
    Position { line: marker.line().max(1), column: marker.col() + 1 }
}

/// A scalar that is refused, and what to write instead.
struct Trap {
    message: String,
    help: Option<String>,
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, Trap> {
    let tag = match tag {
        None => None,
        Some(tag) if tag.is_yaml_core_schema() => Some(tag.suffix()),
        Some(tag) => {
            return Err(Trap { message: format!("unknown tag `{tag}`"), help: Some("remove it".to_owned()) });
        }
    };
    match tag {
        None if style == ScalarStyle::Plain => plain(text),
        None | Some("str") => Ok(Value::String(text.to_owned())),
        Some(tag @ ("int" | "float" | "bool" | "null")) => {
            let value = plain(text)?;
            let fits = match tag {
                "int" => value.is_i64() || value.is_u64(),
                "float" => value.is_number(),
                "bool" => value.is_boolean(),
                _ => value.is_null(),
            };
            if fits {
                Ok(value)
            } else {
                Err(Trap { message: format!("`{text}` is not of type {tag}"), help: None })
            }
        }
        Some(tag) => Err(Trap {
            message: format!("tag `!!{tag}` is not supported"),
            help: Some("remove it".to_owned()),
        }),
    }
}

/// A scalar without quotes, as kubectl's YAML resolves it.
fn plain(text: &str) -> Result<Value, Trap> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "true" | "True" | "TRUE" => return Ok(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Value::Bool(false)),
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => return Err(boolean_word(text, true)),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => return Err(boolean_word(text, false)),
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf"
        | "-.Inf" | "-.INF" => {
            return Err(Trap {
                message: format!("`{text}` is a number that JSON cannot hold"),
                help: Some(format!("write \"{text}\" if you mean the text")),
            });
        }
        _ => {}
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) {
        return Ok(Value::String(text.to_owned()));
    }
    Ok(integer(text).or_else(|| float(text)).unwrap_or_else(|| Value::String(text.to_owned())))
}

fn boolean_word(text: &str, value: bool) -> Trap {
    Trap {
        message: format!("`{text}` without quotes is the boolean {value} to kubectl"),
        help: Some(format!("write \"{text}\" if you mean the text, {value} if you mean the boolean")),
    }
}

/// Go's `ParseInt(text, 0, 64)` without underscores: a leading `0`, `0o`, `0x` or `0b` gives the base.
fn integer(text: &str) -> Option<Value> {
    if text.starts_with('.') {
        return None;
    }
    let text = text.replace('_', "");
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(&text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (digits, base) = if let Some(digits) = lower.strip_prefix("0x") {
        (digits, 16)
    } else if let Some(digits) = lower.strip_prefix("0b") {
        (digits, 2)
    } else if let Some(digits) = lower.strip_prefix("0o") {
        (digits, 8)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (&lower[1..], 8)
    } else {
        (lower.as_str(), 10)
    };
    if !digits.starts_with(|c: char| c.is_ascii_hexdigit()) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, base).ok()?;
    if negative {
        let value = i64::try_from(-i128::from(magnitude)).ok()?;
        Some(Value::Number(value.into()))
    } else {
        Some(Value::Number(magnitude.into()))
    }
}

fn float(text: &str) -> Option<Value> {
    let text = text.replace('_', "");
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(&text);
    // Rust reads words such as `infinity` as numbers; YAML does not.
    if !unsigned.chars().all(|c| c.is_ascii_digit() || ".eE+-".contains(c)) {
        return None;
    }
    let value: f64 = text.parse().ok()?;
    // Go prints 1.0 as 1, and parameters keep the text of a number.
    #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
    if value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0 {
        return Some(Value::Number((value as i64).into()));
    }
    Number::from_f64(value).map(Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn one(text: &str) -> Value {
        let mut documents = read(text, "f.yaml").unwrap();
        assert_eq!(documents.len(), 1, "{text}");
        documents.remove(0).0
    }

    fn fails(text: &str) -> String {
        read(text, "f.yaml").unwrap_err().to_string()
    }

    #[test]
    fn scalars_mean_what_they_mean_to_kubectl() {
        for (text, value) in [
            ("010", json!(8)),
            ("0o10", json!(8)),
            ("08", json!(8)),
            ("0x1F", json!(31)),
            ("1_000", json!(1000)),
            ("-7", json!(-7)),
            ("1.20", json!(1.2)),
            ("1.0", json!(1)),
            ("1e3", json!(1000)),
            ("18446744073709551615", json!(18_446_744_073_709_551_615_u64)),
            ("1.2.3", json!("1.2.3")),
            ("2024-01-01", json!("2024-01-01")),
            ("-", json!([null])),
            ("1h", json!("1h")),
            ("0xZZ", json!("0xZZ")),
            ("infinity", json!("infinity")),
            ("'010'", json!("010")),
            ("\"yes\"", json!("yes")),
            ("!!str 5", json!("5")),
            ("True", json!(true)),
            ("|\n  a\n  b\n", json!("a\nb\n")),
        ] {
            assert_eq!(one(text), value, "{text}");
        }
    }

    #[test]
    fn says_where_and_what() {
        for (text, wanted) in [
            ("a: yes\n", "f.yaml:1:4: a: `yes` without quotes is the boolean true to kubectl"),
            ("a: 1\nb:\n  c: 2\n  c: 3\n", "f.yaml:4:3: b.c: duplicate field `c`; it is already on line 3"),
            ("image: {{params.x}}\n", "a value that starts with `{` or `{{` must be in quotes"),
            ("a:\n\tb: 1\n", "indent with spaces"),
            ("a: &x [*x]\n", "the alias stands inside the value that it repeats"),
            ("a: *nowhere\n", "not valid YAML"),
            ("a: [1, 2\n", "not valid YAML"),
            ("a: !secret x\n", "unknown tag `!secret`"),
            ("a: .inf\n", "JSON cannot hold"),
        ] {
            let error = fails(text);
            assert!(error.contains(wanted), "{text:?}: {error}");
        }
    }

    #[test]
    fn aliases_are_bounded() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..10 {
            let previous = format!("*a{}", level - 1);
            bomb = format!("{bomb}a{level}: &a{level} [{}]\n", [previous.as_str(); 10].join(", "));
        }
        assert!(fails(&bomb).contains("aliases repeat more than"));
        assert_eq!(
            one("base: &b {c: 1, d: 2}\nz: {<<: *b, d: 3}\n"),
            json!({"base": {"c": 1, "d": 2}, "z": {"c": 1, "d": 3}})
        );
    }

    #[test]
    fn nesting_and_size_are_bounded() {
        assert_eq!(
            fails(&format!("{}x", "- ".repeat(MAX_DEPTH + 2))).split(": ").nth(2),
            Some("nested deeper than 100 levels")
        );
        // The parser itself stops earlier or later; it must not overflow the stack.
        assert!(fails(&"[".repeat(100_000)).contains("f.yaml:1:"));
        assert!(fails(&"x".repeat(MAX_FILE_BYTES + 1)).contains("the limit is"));
    }

    #[test]
    fn several_documents_json_and_empty_ones() {
        let documents =
            read("---\n# nothing\n---\na: 1\n---\n{\"b\":\t[1, \"\u{1f600}\"]}\n...\n", "f").unwrap();
        assert_eq!(documents.len(), 2);
        assert_eq!(documents[0].1.key("a"), Position { line: 4, column: 1 });
        assert_eq!(documents[1].0["b"][0], json!(1));
        // JSON writes what is outside of the basic plane as two escapes, which YAML does not allow.
        assert_eq!(one("{\"b\": \"\\ud83d\\ude00\"}"), json!({"b": "\u{1f600}"}));
        assert!(read("# only a comment\n", "f").unwrap().is_empty());
        assert!(read("", "f").unwrap().is_empty());
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "[\\[\\]{}:,&*!|>'\"%@`#\\-?a-c0-9 \n\t\u{e9}]{0,60}") {
            let _ = read(&text, "f");
        }

        #[test]
        fn reads_all_json(value in json_value()) {
            let text = serde_json::to_string_pretty(&value).unwrap();
            proptest::prop_assert_eq!(one(&text), value);
        }
    }

    fn json_value() -> impl proptest::strategy::Strategy<Value = Value> {
        use proptest::prelude::*;
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[ -~\u{e9}\n\t]{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 20, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::btree_map("[a-z]{1,8}", inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }
}
