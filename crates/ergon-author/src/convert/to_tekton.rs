//! From tags to references.

use ergon_api::{Group, language};
use ergon_engine::expr::cel;
use ergon_template::{Piece, pieces};

use super::fields::{Field, field};
use super::{Edits, Object};
use crate::scalars::Scalar;

pub(super) fn scalar(object: &Object, at: usize, scalar: &Scalar, edits: &mut Edits<'_>) {
    let path = object.path(scalar);
    match field(object, path) {
        Field::ApiVersion => edits.rewrite(at, scalar, |version| match version.split_once('/') {
            Some((group, version)) if group == Group::Ergon.name() => {
                format!("{}/{version}", Group::Tekton.name())
            }
            _ => version.to_owned(),
        }),
        Field::Script if scalar.value.contains("{{") => match with_references(&scalar.value, |_| false) {
            Ok(_) => {
                if language_of_values(&scalar.value) {
                    let message = "values become code in this script: whoever sets them says what it runs; hand them \
                                   over in `env` instead";
                    edits.differs(scalar, 0, message.to_owned());
                }
                edits.rewrite(at, scalar, |text| {
                    with_references(text, |_| false).unwrap_or_else(|_| text.to_owned())
                });
            }
            Err(why) => {
                // What is told is about other fields, which have neither.
                let why = why.split(" in a field").next().unwrap_or_default();
                edits.lost(scalar, format!("Tekton's scripts have names alone, and this one has {why}"));
            }
        },
        Field::Text if scalar.value.contains("{{") => {
            let is_list = |name: &str| object.has_list(path, name);
            match with_references(&scalar.value, is_list) {
                Ok(_) => edits.rewrite(at, scalar, |text| {
                    with_references(text, is_list).unwrap_or_else(|_| text.to_owned())
                }),
                Err(why) => edits.lost(scalar, why),
            }
        }
        Field::Condition => {
            let names = cel::used(&scalar.value).unwrap_or_default();
            let Some(first) = names.first().map(|used| used.name.as_str()) else { return };
            let is_left = |text: &str| cel::used(text).is_ok_and(|left| !left.is_empty());
            let lists = names.iter().any(|used| object.has_list(path, &used.name));
            if lists || is_left(&condition_with_references(&scalar.value)) {
                return edits.lost(
                    scalar,
                    format!("Tekton's conditions have texts alone, and this one has `{first}`"),
                );
            }
            let message = format!(
                "the value of `{first}` becomes a part of this expression: whoever sets it says what it asks"
            );
            edits.differs(scalar, 0, message);
            edits.rewrite(at, scalar, condition_with_references);
        }
        Field::Script | Field::Text | Field::Verbatim => {}
    }
    if let Some(what) = addition(path, &scalar.value) {
        edits.lost(scalar, format!("{what} is Ergon's alone"));
    }
}

/// An expression with references in quotes in the place of its names.
fn condition_with_references(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = ' ';
    while let Some(c) = rest.chars().next() {
        if c == '"' || c == '\'' {
            let end = end_of_quoted(rest, c);
            out += &rest[..end];
            rest = &rest[end..];
            before = c;
            continue;
        }
        let begins = !(before.is_alphanumeric() || before == '_' || before == '.');
        if let Some((name, length)) = name_at(rest).filter(|_| begins) {
            out += &format!("'$({name})'");
            rest = &rest[length..];
            before = '\'';
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
            before = c;
        }
    }
    out
}

/// Where a text in quotes has ended that is at the beginning.
fn end_of_quoted(text: &str, quote: char) -> usize {
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The name that a text begins with, as a reference has it, and how long it is there.
fn name_at(text: &str) -> Option<(String, usize)> {
    let root =
        ["params", "tasks", "steps", "workspaces", "context"].into_iter().find(|it| text.starts_with(it))?;
    let mut parts = vec![root.to_owned()];
    let mut at = root.len();
    loop {
        let parts_so_far: Vec<&str> = parts.iter().map(String::as_str).collect();
        let is_whole = matches!(
            parts_so_far.as_slice(),
            ["params", _]
                | ["tasks", "status"]
                | ["tasks", _, "status" | "reason"]
                | ["workspaces" | "context", _, _]
                | ["tasks" | "steps", _, "results", _]
        );
        if is_whole {
            let plain =
                |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
            let mut name = parts[0].clone();
            for part in &parts[1..] {
                name += &if plain(part) { format!(".{part}") } else { format!("[\"{part}\"]") };
            }
            return Some((name, at));
        }
        let rest = &text[at..];
        if let Some(word) = rest.strip_prefix('.') {
            let end = word.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(word.len());
            parts.push(word.get(..end).filter(|word| !word.is_empty())?.to_owned());
            at += 1 + end;
        } else {
            let inner = rest.strip_prefix('[')?;
            let quote = inner.chars().next().filter(|c| matches!(c, '"' | '\''))?;
            let (key, _) = inner[1..].split_once(quote)?;
            parts.push(key.to_owned());
            at += key.len() + 4;
            text.get(..at).filter(|name| name.ends_with(']'))?;
        }
    }
}

/// A text with references in the place of its tags. A tag that is a whole list alone takes all of it.
fn with_references(text: &str, is_list: impl Fn(&str) -> bool) -> Result<String, String> {
    let pieces = pieces(text).map_err(|error| error.found)?;
    let alone = matches!(pieces.as_slice(), [Piece::Name(_)]);
    let mut out = String::with_capacity(text.len());
    for piece in pieces {
        match piece {
            Piece::Text(text) => out += &text,
            Piece::Name(used) => {
                let reference =
                    language::reference(&used.name).ok_or_else(|| format!("`{}` is no name", used.name))?;
                if alone && is_list(&used.name) {
                    out += &format!("{}[*])", reference.trim_end_matches(')'));
                } else {
                    out += &reference;
                }
            }
        }
    }
    Ok(out)
}

/// Whether there is a value in the script that somebody else sets: paths and the run's own names are none.
fn language_of_values(script: &str) -> bool {
    pieces(script).unwrap_or_default().iter().any(|piece| match piece {
        Piece::Name(used) => {
            let names: Vec<&str> = used.name.split('.').collect();
            matches!(names.as_slice(), ["params" | "tasks", ..] | ["steps", _, "results", ..])
        }
        Piece::Text(_) => false,
    })
}

impl Object {
    /// Whether a name is that of a list, where this path is.
    fn has_list(&self, path: &str, name: &str) -> bool {
        let Some(name) = name.strip_prefix("params.") else { return false };
        let full = if self.root.is_empty() { path.to_owned() } else { format!("{}.{path}", self.root) };
        self.lists.iter().any(|(around, list)| list == name && full.starts_with(around.as_str()))
    }
}

/// What this field is, where Tekton has none like it.
fn addition(path: &str, value: &str) -> Option<String> {
    let (around, name) = path.rsplit_once('.').unwrap_or(("", path));
    let of_param = around.ends_with(']') && around.contains("params[") || around.contains("results[");
    match name {
        "fuse" => Some("`fuse`".to_owned()),
        "filter" if around.ends_with("matrix") => Some("`matrix.filter`".to_owned()),
        "type" if of_param && !["string", "array", "object"].contains(&value) => {
            Some(format!("the type `{value}`"))
        }
        "pattern" | "minimum" | "maximum" if of_param => Some(format!("`{name}`")),
        _ if path.contains("].schema.") && of_param => Some("`schema`".to_owned()),
        _ => None,
    }
}
