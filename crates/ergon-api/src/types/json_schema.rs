//! The part of JSON Schema that a parameter or result can be described with.
//!
//! It is a part on purpose: what it has takes time in proportion to schema and value, needs no other document, and means
//! the same in every draft. Whatever else is written is refused where the schema is declared, so that no part of a schema
//! is silently without effect.

use serde_json::{Map, Number, Value};

use super::{compare, pattern};

/// How deep a schema may be.
const DEEPEST: usize = 32;
/// The largest schema, as JSON, in bytes.
const LARGEST: usize = 32 << 10;

const TYPES: [&str; 7] = ["string", "number", "integer", "boolean", "array", "object", "null"];
/// They say something to people and to editors, and nothing about values.
const NOTES: [&str; 7] = ["$schema", "$comment", "title", "description", "default", "examples", "format"];
const KEYWORDS: [&str; 24] = [
    "type",
    "enum",
    "const",
    "properties",
    "required",
    "additionalProperties",
    "minProperties",
    "maxProperties",
    "items",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minLength",
    "maxLength",
    "pattern",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
];

/// What is wrong with a schema: each with its place below it, and help.
pub(crate) fn problems(schema: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    if schema.to_string().len() > LARGEST {
        found.push((String::new(), format!("a schema has at most {LARGEST} bytes")));
        return found;
    }
    look(schema, "", 0, &mut found);
    found
}

fn look(schema: &Value, path: &str, depth: usize, found: &mut Vec<(String, String)>) {
    let map = match schema {
        Value::Bool(_) => return,
        Value::Object(map) => map,
        _ => return found.push((path.to_owned(), "a schema is a map, or true or false".to_owned())),
    };
    if depth > DEEPEST {
        return found.push((path.to_owned(), format!("schemas are more than {DEEPEST} deep in each other")));
    }
    for (key, value) in map {
        let here = format!("{path}.{key}");
        let problem = match key.as_str() {
            note if NOTES.contains(&note) => None,
            "$ref" | "$defs" | "definitions" => Some("is not taken: write out what it stands for".to_owned()),
            known if !KEYWORDS.contains(&known) => {
                let near = crate::suggest::nearest(known, KEYWORDS.into_iter().chain(NOTES));
                let help = near.map_or_else(
                    || format!("there are {}", KEYWORDS.join(", ")),
                    |near| format!("did you mean `{near}`?"),
                );
                Some(format!("is no keyword of schemas here ({help})"))
            }
            "type" => {
                let words: Vec<&Value> =
                    value.as_array().map_or_else(|| vec![value], |list| list.iter().collect());
                let all = words.iter().all(|word| word.as_str().is_some_and(|word| TYPES.contains(&word)));
                (!all || words.is_empty())
                    .then(|| format!("is one of {}, or a list of these", TYPES.join(", ")))
            }
            "enum" => (!value.is_array()).then(|| "is a list of values".to_owned()),
            "pattern" => match value.as_str() {
                Some(text) => {
                    pattern::problem(text).map(|problem| format!("is no regular expression: {problem}"))
                }
                None => Some("is a text".to_owned()),
            },
            "required" => {
                let texts = value.as_array().is_some_and(|list| list.iter().all(Value::is_string));
                (!texts).then(|| "is a list of keys".to_owned())
            }
            "uniqueItems" => (!value.is_boolean()).then(|| "is true or false".to_owned()),
            "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" => {
                (!value.is_number()).then(|| "is a number".to_owned())
            }
            "multipleOf" => {
                let positive = value.as_f64().is_some_and(|number| number > 0.0);
                (!positive).then(|| "is a number greater than 0".to_owned())
            }
            key if key.starts_with("min") || key.starts_with("max") => {
                (!value.is_u64()).then(|| "is a whole number, 0 or more".to_owned())
            }
            _ => None,
        };
        if let Some(problem) = problem {
            found.push((here, problem));
            continue;
        }
        match (key.as_str(), value) {
            ("properties", Value::Object(map)) => {
                map.iter().for_each(|(key, inner)| look(inner, &format!("{here}.{key}"), depth + 1, found));
            }
            ("properties", _) => found.push((here, "is a map from key to schema".to_owned())),
            ("allOf" | "anyOf" | "oneOf", Value::Array(list)) if !list.is_empty() => {
                let each = list.iter().enumerate();
                each.for_each(|(at, inner)| look(inner, &format!("{here}[{at}]"), depth + 1, found));
            }
            ("allOf" | "anyOf" | "oneOf", _) => found.push((here, "is a list of schemas".to_owned())),
            ("items" | "additionalProperties" | "not", inner) => look(inner, &here, depth + 1, found),
            _ => {}
        }
    }
}

/// The place in the value, what is there, and what should be.
type Wrong = (String, String, String);

/// Whether a value is what the schema says.
///
/// # Errors
/// The first thing that is not.
pub(super) fn check(schema: &Value, value: &Value) -> Result<(), Wrong> {
    inside(schema, value, "")
}

fn inside(schema: &Value, value: &Value, place: &str) -> Result<(), Wrong> {
    let wrong = |expected: String| Err((place.to_owned(), shown(value), expected));
    let map = match schema {
        Value::Bool(true) => return Ok(()),
        Value::Object(map) => map,
        _ => return wrong("nothing".to_owned()),
    };
    if let Some(types) = map.get("type") {
        let words: Vec<&str> = match types {
            Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
            one => one.as_str().into_iter().collect(),
        };
        if !words.iter().any(|word| is_of(value, word)) {
            return wrong(words.iter().map(|word| an(word)).collect::<Vec<_>>().join(" or "));
        }
    }
    if let Some(Value::Array(list)) = map.get("enum")
        && !list.iter().any(|allowed| is_same(allowed, value))
    {
        return wrong(format!("one of {}", list.iter().map(Value::to_string).collect::<Vec<_>>().join(", ")));
    }
    if let Some(only) = map.get("const").filter(|only| !is_same(only, value)) {
        return wrong(only.to_string());
    }
    match value {
        Value::String(text) => of_text(map, text).or_else(wrong)?,
        Value::Number(number) => of_number(map, number).or_else(wrong)?,
        Value::Array(items) => of_list(map, items, place)?,
        Value::Object(fields) => of_object(map, fields, place)?,
        Value::Null | Value::Bool(_) => {}
    }
    for inner in list_at(map, "allOf") {
        inside(inner, value, place)?;
    }
    if map.contains_key("anyOf") {
        let mut first = None;
        let any = list_at(map, "anyOf").any(|inner| match inside(inner, value, place) {
            Ok(()) => true,
            Err(why) => {
                first.get_or_insert(why);
                false
            }
        });
        if let (false, Some(why)) = (any, first) {
            return Err(why);
        }
    }
    if map.contains_key("oneOf") {
        let fits = list_at(map, "oneOf").filter(|inner| inside(inner, value, place).is_ok()).count();
        if fits != 1 {
            return wrong(format!("what exactly one of the schemas of `oneOf` allows, and {fits} do"));
        }
    }
    match map.get("not") {
        Some(inner) if inside(inner, value, place).is_ok() => {
            wrong("what its `not` does not allow".to_owned())
        }
        _ => Ok(()),
    }
}

fn list_at<'a>(map: &'a Map<String, Value>, key: &str) -> impl Iterator<Item = &'a Value> {
    map.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn of_text(map: &Map<String, Value>, text: &str) -> Result<(), String> {
    let length = text.chars().count() as u64;
    within(map, length, ("minLength", "maxLength"), "characters")?;
    if let Some(pattern) = map.get("pattern").and_then(Value::as_str) {
        let regex = pattern::compile_part(pattern)
            .map_err(|problem| format!("what `{pattern}` matches, but {problem}"))?;
        if !regex.is_match(text) {
            return Err(format!("a text that `{pattern}` matches"));
        }
    }
    Ok(())
}

fn of_number(map: &Map<String, Value>, number: &Number) -> Result<(), String> {
    let limit = |key: &str| match map.get(key) {
        Some(Value::Number(limit)) => Some(limit),
        _ => None,
    };
    if let Some(least) = limit("minimum").filter(|least| compare(number, least).is_lt()) {
        return Err(format!("{least} or more"));
    }
    if let Some(most) = limit("maximum").filter(|most| compare(number, most).is_gt()) {
        return Err(format!("{most} or less"));
    }
    if let Some(below) = limit("exclusiveMinimum").filter(|below| compare(number, below).is_le()) {
        return Err(format!("more than {below}"));
    }
    if let Some(above) = limit("exclusiveMaximum").filter(|above| compare(number, above).is_ge()) {
        return Err(format!("less than {above}"));
    }
    if let Some(of) = limit("multipleOf") {
        let is_multiple = match (number.as_i64(), of.as_i64()) {
            (Some(number), Some(of)) if of != 0 => number % of == 0,
            _ => {
                let times = number.as_f64().unwrap_or_default() / of.as_f64().unwrap_or(1.0);
                (times - times.round()).abs() < 1e-9
            }
        };
        if !is_multiple {
            return Err(format!("a multiple of {of}"));
        }
    }
    Ok(())
}

fn of_list(map: &Map<String, Value>, items: &[Value], place: &str) -> Result<(), Wrong> {
    let wrong = |expected: String| (place.to_owned(), format!("a list of {}", items.len()), expected);
    within(map, items.len() as u64, ("minItems", "maxItems"), "items").map_err(wrong)?;
    if map.get("uniqueItems") == Some(&Value::Bool(true)) {
        let mut seen = std::collections::BTreeSet::new();
        if let Some(twice) = items.iter().find(|item| !seen.insert(item.to_string())) {
            return Err((place.to_owned(), format!("{} twice", shown(twice)), "each item once".to_owned()));
        }
    }
    let Some(inner) = map.get("items") else { return Ok(()) };
    items.iter().enumerate().try_for_each(|(at, item)| inside(inner, item, &format!("{place}[{at}]")))
}

fn of_object(map: &Map<String, Value>, fields: &Map<String, Value>, place: &str) -> Result<(), Wrong> {
    let wrong =
        |expected: String| (place.to_owned(), format!("an object of {} keys", fields.len()), expected);
    within(map, fields.len() as u64, ("minProperties", "maxProperties"), "keys").map_err(wrong)?;
    let mut needed = list_at(map, "required").filter_map(Value::as_str);
    if let Some(missing) = needed.find(|key| !fields.contains_key(*key)) {
        return Err((place.to_owned(), format!("an object without `{missing}`"), "that key".to_owned()));
    }
    let known = map.get("properties").and_then(Value::as_object);
    for (key, value) in fields {
        let here = if place.is_empty() { key.clone() } else { format!("{place}.{key}") };
        let other = || map.get("additionalProperties");
        match known.and_then(|known| known.get(key)).or_else(other) {
            Some(Value::Bool(false)) => {
                let keys: Vec<&str> = known.into_iter().flat_map(Map::keys).map(String::as_str).collect();
                return Err((here, shown(value), format!("no such key (there are {})", keys.join(", "))));
            }
            Some(inner) => inside(inner, value, &here)?,
            None => {}
        }
    }
    Ok(())
}

/// Whether a count is within two limits.
fn within(map: &Map<String, Value>, count: u64, keys: (&str, &str), what: &str) -> Result<(), String> {
    let limit = |key: &str| map.get(key).and_then(Value::as_u64);
    if let Some(least) = limit(keys.0).filter(|least| count < *least) {
        return Err(format!("{least} {what} or more"));
    }
    match limit(keys.1).filter(|most| count > *most) {
        Some(most) => Err(format!("{most} {what} or less")),
        None => Ok(()),
    }
}

fn is_of(value: &Value, type_: &str) -> bool {
    match value {
        Value::Null => type_ == "null",
        Value::Bool(_) => type_ == "boolean",
        Value::Number(number) => {
            type_ == "number"
                || type_ == "integer" && number.as_f64().is_some_and(|number| number.fract() == 0.0)
        }
        Value::String(_) => type_ == "string",
        Value::Array(_) => type_ == "array",
        Value::Object(_) => type_ == "object",
    }
}

fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => compare(one, other).is_eq(),
        _ => one == other,
    }
}

fn an(type_: &str) -> String {
    match type_ {
        "null" => "null".to_owned(),
        "integer" | "array" | "object" => format!("an {type_}"),
        _ => format!("a {type_}"),
    }
}

fn shown(value: &Value) -> String {
    const MOST: usize = 60;
    let text = value.to_string();
    let short: String = text.chars().take(MOST).collect();
    let more = if short.len() < text.len() { "…" } else { "" };
    match value {
        Value::String(_) => format!("the text {short}{more}"),
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(_) => "an object".to_owned(),
        _ => format!("{short}{more}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_fit_or_it_is_told_where_not() {
        let report = json!({
            "type": "object", "required": ["tests"], "additionalProperties": false,
            "properties": {
                "tests": {"type": "array", "minItems": 1, "uniqueItems": true, "items": {"$comment": "one", "type": "string", "minLength": 2}},
                "ratio": {"type": ["number", "null"], "exclusiveMinimum": 0, "maximum": 1},
                "seed": {"type": "integer", "multipleOf": 3},
                "kind": {"oneOf": [{"const": "a"}, {"enum": ["b", "c"]}, {"pattern": "^b"}]},
                "other": {"not": {"type": "string"}},
                "either": {"anyOf": [{"type": "integer"}, {"type": "boolean"}]}
            }
        });
        assert_eq!(problems(&report), []);
        for (value, wanted) in [
            (
                json!({"tests": ["ab", "cd"], "ratio": 0.5, "seed": 6, "kind": "a", "other": 1, "either": true}),
                "",
            ),
            (json!({"tests": ["ab"], "ratio": null}), ""),
            (json!({"tests": []}), "tests: a list of 0, not 1 items or more"),
            (json!({"tests": ["ab", "ab"]}), "tests: the text \"ab\" twice, not each item once"),
            (json!({"tests": ["ab", "c"]}), "tests[1]: the text \"c\", not 2 characters or more"),
            (json!({"tests": ["ab"], "ratio": 0}), "ratio: 0, not more than 0"),
            (json!({"tests": ["ab"], "ratio": "x"}), "ratio: the text \"x\", not a number or null"),
            (json!({"tests": ["ab"], "seed": 4}), "seed: 4, not a multiple of 3"),
            (json!({"tests": ["ab"], "seed": 3.5}), "seed: 3.5, not an integer"),
            (
                json!({"tests": ["ab"], "kind": "b"}),
                "kind: the text \"b\", not what exactly one of the schemas of `oneOf` allows, and 2 do",
            ),
            (
                json!({"tests": ["ab"], "other": "x"}),
                "other: the text \"x\", not what its `not` does not allow",
            ),
            (json!({"tests": ["ab"], "either": "x"}), "either: the text \"x\", not an integer"),
            (
                json!({"tests": ["ab"], "more": 1}),
                "more: 1, not no such key (there are either, kind, other, ratio, seed, tests)",
            ),
            (json!({}), ": an object without `tests`, not that key"),
            (json!([]), ": a list of 0, not an object"),
        ] {
            let told = check(&report, &value)
                .err()
                .map(|(place, found, expected)| format!("{place}: {found}, not {expected}"));
            assert_eq!(told.unwrap_or_default(), wanted, "{value}");
        }
    }

    #[test]
    fn what_a_schema_cannot_have_is_told() {
        for (schema, wanted) in [
            (json!({"$ref": "#/x"}), ".$ref: is not taken: write out what it stands for"),
            (json!({"typ": "string"}), ".typ: is no keyword of schemas here (did you mean `type`?)"),
            (
                json!({"type": "text"}),
                ".type: is one of string, number, integer, boolean, array, object, null, or a list of these",
            ),
            (
                json!({"properties": {"a": {"pattern": "("}}}),
                ".properties.a.pattern: is no regular expression: at column 1: unclosed group",
            ),
            (json!({"items": [1]}), ".items: a schema is a map, or true or false"),
            (json!({"minItems": -1}), ".minItems: is a whole number, 0 or more"),
            (json!({"anyOf": []}), ".anyOf: is a list of schemas"),
        ] {
            let told: Vec<String> =
                problems(&schema).iter().map(|(path, message)| format!("{path}: {message}")).collect();
            assert_eq!(told, [wanted], "{schema}");
        }
        let mut deep = json!({});
        for _ in 0..100 {
            deep = json!({"not": deep});
        }
        assert_eq!(problems(&deep).len(), 1);
    }
}
