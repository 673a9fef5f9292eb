//! What stands around a place, also where the file cannot be read because somebody is writing in it.

use std::borrow::Cow;
use std::ops::Range;

use ergon_api::{Document, Position};

use crate::Source;

/// The file, readable at the line of the place: while it is not, that line counts as empty.
pub(crate) fn readable(source: &Source, at: Position) -> Cow<'_, Source> {
    if !source.documents.is_empty() {
        return Cow::Borrowed(source);
    }
    let line = source.lines.line(&source.text, at.line);
    let start = source.lines.start(at.line);
    let mut text = source.text.clone();
    text.replace_range(start..start + line.len(), &" ".repeat(line.len()));
    Cow::Owned(Source::of(&source.name, &text))
}

/// The object that a place is in: the last one that begins before it.
pub(crate) fn document_at(source: &Source, at: Position) -> Option<&Document> {
    let begun = source.documents.iter().filter(|document| document.source.key("") <= at);
    begun.max_by_key(|document| document.source.key(""))
}

/// A name in a tag or in `$(…)` at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference {
    /// The name as far as it is written before the place.
    pub before: String,
    /// All of it.
    pub whole: String,
    /// The bytes of all of it in the file.
    pub range: Range<usize>,
    pub is_tag: bool,
}

/// The reference at a place: the one that is open there, or whose name it is in.
pub(crate) fn reference_at(source: &Source, at: Position) -> Option<Reference> {
    let line = source.lines.line(&source.text, at.line);
    let column = line.char_indices().nth(at.column.saturating_sub(1)).map_or(line.len(), |(at, _)| at);
    let before = &line[..column];
    let tag = before.rfind("{{").filter(|open| !before[*open..].contains("}}"));
    let dollar = before.rfind("$(").filter(|open| !before[*open..].contains(')'));
    let (open, is_tag) = match (tag, dollar) {
        (Some(tag), Some(dollar)) => (tag.max(dollar), tag > dollar),
        (Some(tag), None) => (tag, true),
        (None, Some(dollar)) => (dollar, false),
        (None, None) => return None,
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || "_-.[]\"'@".contains(c);
    let start = after_last(before, |c| !is_name(c)).max((open + 2).min(column));
    let end = column + line[column..].find(|c: char| !is_name(c)).unwrap_or(line.len() - column);
    let first = source.lines.start(at.line);
    Some(Reference {
        before: line[start..column].to_owned(),
        whole: line[start..end].to_owned(),
        range: first + start..first + end,
        is_tag,
    })
}

/// The byte behind the last such character; the first byte where there is none.
fn after_last(text: &str, is_it: impl Fn(char) -> bool) -> usize {
    text.char_indices().rev().find(|(_, c)| is_it(*c)).map_or(0, |(at, c)| at + c.len_utf8())
}

/// The word at a place, and its bytes.
pub(crate) fn word_at(source: &Source, at: Position) -> (String, Range<usize>) {
    let line = source.lines.line(&source.text, at.line);
    let column = line.char_indices().nth(at.column.saturating_sub(1)).map_or(line.len(), |(at, _)| at);
    let is_word = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    let start = after_last(&line[..column], |c| !is_word(c));
    let end = column + line[column..].find(|c: char| !is_word(c)).unwrap_or(line.len() - column);
    let first = source.lines.start(at.line);
    (line[start..end].to_owned(), first + start..first + end)
}

/// Where a line is in the structure of the file, by its indentation alone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Outline {
    /// The fields around, such as `spec`, `steps[]`.
    pub path: Vec<String>,
    /// The field of the line itself, where it has one.
    pub key: Option<String>,
    /// The place is behind the field's colon.
    pub is_value: bool,
    /// The kind and API version of the object.
    pub kind: Option<String>,
    pub api_version: Option<String>,
}

/// Reads the structure around a place; none inside of a text with several lines.
pub(crate) fn outline_at(source: &Source, at: Position) -> Option<Outline> {
    let line_of = |number: usize| source.lines.line(&source.text, number);
    let mut outline = Outline::default();
    let line = line_of(at.line);
    let (mut indent, field) = split(line);
    let cursor = at.column.saturating_sub(1);
    if line.trim().is_empty() {
        indent.own = cursor;
        indent.dash = None;
    }
    let (key, value) = key_of(field);
    outline.is_value = key.is_some() && cursor > indent.own + key.map_or(0, str::len);
    outline.key = key.map(str::to_owned).or_else(|| Some(field.to_owned()).filter(|field| !field.is_empty()));
    // An empty value that begins here is no text; one above is.
    let _ = value;
    let mut path = Vec::new();
    let mut level = indent;
    let mut number = at.line;
    loop {
        if level.own == 0 {
            break;
        }
        // A dash on the line itself makes it the first field of an item.
        let wanted = level.dash.unwrap_or(level.own);
        let is_item = level.dash.is_some();
        let above = loop {
            number = number.checked_sub(1).filter(|number| *number > 0)?;
            let line = line_of(number);
            if line.starts_with("---") {
                return None;
            }
            let text = line.trim_start();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let (indent, field) = split(line);
            // The dash of the item that the place is in.
            if !is_item && indent.own == level.own && indent.dash.is_some() {
                break (Level { own: indent.own, dash: indent.dash }, None);
            }
            let is_outer = if is_item { indent.own <= wanted } else { indent.own < wanted };
            let is_same_list = is_item && indent.dash.is_some() && indent.own > wanted;
            if is_outer && !is_same_list {
                break (indent, Some(field));
            }
        };
        match above {
            (indent, None) => level = Level { own: indent.own, dash: indent.dash },
            (indent, Some(field)) => {
                let (key, value) = key_of(field);
                let key = key?;
                if value.starts_with(['|', '>']) {
                    return None;
                }
                path.push(if is_item { format!("{key}[]") } else { key.to_owned() });
                level = indent;
            }
        }
    }
    path.reverse();
    outline.path = path;
    for (name, found) in [("kind:", &mut outline.kind), ("apiVersion:", &mut outline.api_version)] {
        let is_end = |number: &usize| !line_of(*number).starts_with("---");
        let up = (1..=at.line).rev().take_while(is_end);
        let down = (at.line + 1..=source.lines.count()).take_while(is_end);
        *found = up.chain(down).find_map(|number| {
            let value = line_of(number).strip_prefix(name)?.trim().trim_matches(['"', '\'']);
            (!value.is_empty()).then(|| value.to_owned())
        });
    }
    Some(outline)
}

/// Where a line's text begins, and the dash before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Level {
    own: usize,
    dash: Option<usize>,
}

fn split(line: &str) -> (Level, &str) {
    let text = line.trim_start_matches(' ');
    let start = line.len() - text.len();
    match text.strip_prefix('-') {
        Some(rest) if rest.is_empty() || rest.starts_with(' ') => {
            let field = rest.trim_start_matches(' ');
            let own = start + 1 + (rest.len() - field.len()).max(1);
            (Level { own, dash: Some(start) }, field)
        }
        _ => (Level { own: start, dash: None }, text),
    }
}

/// The name before a line's colon, and what is behind it.
fn key_of(field: &str) -> (Option<&str>, &str) {
    let end = field.find(':').filter(|end| {
        let rest = &field[end + 1..];
        rest.is_empty() || rest.starts_with([' ', '\t'])
    });
    match end {
        Some(end) => (Some(field[..end].trim().trim_matches(['"', '\''])), field[end + 1..].trim()),
        None => (None, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The place of `@`, which is taken out.
    fn cursor(text: &str) -> (Source, Position) {
        let at = text.find('@').unwrap();
        let text = text.replacen('@', "", 1);
        let source = Source::of("f", &text);
        let position = source.lines.position(&text, at);
        (source, position)
    }

    #[test]
    fn references_are_read_around_the_place() {
        for (text, wanted) in [
            ("a: {{par@ams.x}} b", Some(("par", "params.x", true))),
            ("a: {{#each params.f@", Some(("params.f", "params.f", true))),
            ("a: $(tasks.@)", Some(("tasks.", "tasks.", false))),
            ("a: {{x}} @b", None),
            ("a: $(date) {{@", Some(("", "", true))),
            ("a: {{lower (basename par@ams.x)}}", Some(("par", "params.x", true))),
        ] {
            let (source, at) = cursor(text);
            let found = reference_at(&source, at);
            let found = found.as_ref().map(|it| (it.before.as_str(), it.whole.as_str(), it.is_tag));
            assert_eq!(found, wanted, "{text}");
        }
    }

    #[test]
    fn the_structure_is_read_from_the_indentation() {
        let head = "apiVersion: ergon.dev/v1\nkind: Task\nspec:\n  steps:\n";
        for (text, wanted) in [
            ("  - name: a\n    im@", Some(("spec.steps[]", "im", false))),
            ("  - name: a\n    @", Some(("spec.steps[]", "", false))),
            ("    - na@", Some(("spec.steps[]", "na", false))),
            ("  - name: a\n    ref:\n      @name: b", Some(("spec.steps[].ref", "name", false))),
            ("  - name: a\n    ref:\n      name: b@", Some(("spec.steps[].ref", "name", true))),
            ("  - name: a\n    script: |\n      x@", None),
            ("  - name: a\n  - env:\n    - name: b\n      va@", Some(("spec.steps[].env[]", "va", false))),
            ("  - name: a\n  # comment: x\n\n  par@", Some(("spec", "par", false))),
            ("st@", Some(("", "st", false))),
        ] {
            let (source, at) = cursor(&format!("{head}{text}"));
            let found = outline_at(&source, at);
            let found = found.map(|it| (it.path.join("."), it.key.unwrap_or_default(), it.is_value));
            let wanted = wanted.map(|(path, key, is_value)| (path.to_owned(), key.to_owned(), is_value));
            assert_eq!(found, wanted, "{text}");
        }
    }
}
