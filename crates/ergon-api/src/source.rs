//! Where things stand in a file, and how to say that something is wrong there.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;

use crate::convert::{self, Root};

/// A place in a file. Both numbers start at 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The character in the line.
    pub column: usize,
}

/// The places of all fields of one document.
///
/// Paths are written as in messages: `spec.steps[0].image`, and the empty path for the document itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceMap {
    file: String,
    places: BTreeMap<String, Place>,
    /// For a document in an older version: its kind. It is asked about by the paths of today.
    older: Option<Root>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    key: Position,
    value: Position,
}

impl SourceMap {
    /// A map that knows only the file.
    pub fn new(file: &str) -> Self {
        Self { file: file.to_owned(), places: BTreeMap::new(), older: None }
    }

    /// The file that the document was read from, as it was named by the caller.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Where the field's name stands; of a list's item, where the item starts. When the path is not in the
    /// file, the nearest field that contains it.
    pub fn key(&self, path: &str) -> Position {
        self.nearest(path).key
    }

    /// Where the field's value starts. When the path is not in the file, the nearest field that contains it.
    pub fn value(&self, path: &str) -> Position {
        let mut place = self.nearest(path);
        if !self.contains(path) {
            place.value = place.key;
        }
        place.value
    }

    /// True when the path itself is in the file.
    pub fn contains(&self, path: &str) -> bool {
        self.places.contains_key(self.written(path).as_ref())
    }

    /// The field that stands at a place of the file: the last one that begins there or before.
    pub fn field_at(&self, at: Position) -> Option<&str> {
        let begun = self.places.iter().filter(|(_, place)| place.key <= at);
        begun.max_by_key(|(path, place)| (place.key, path.len())).map(|(path, _)| path.as_str())
    }

    /// Where the last value in a field begins.
    pub fn last_in(&self, path: &str) -> Option<Position> {
        let path = self.written(path);
        let inside =
            self.places.range(path.to_string()..).take_while(|(other, _)| other.starts_with(path.as_ref()));
        inside.map(|(_, place)| place.value).max()
    }

    /// A diagnostic about a field.
    pub fn diagnose(&self, path: &str, message: impl Into<String>, help: Option<String>) -> Diagnostic {
        let Position { line, column } = self.key(path);
        Diagnostic {
            file: self.file.clone(),
            line,
            column,
            path: self.written(path).into_owned(),
            message: message.into(),
            help,
        }
    }

    /// A diagnostic about a field's value.
    pub fn diagnose_value(&self, path: &str, message: impl Into<String>, help: Option<String>) -> Diagnostic {
        let Position { line, column } = self.value(path);
        Diagnostic { line, column, ..self.diagnose(path, message, help) }
    }

    /// From now on, paths are those of the `v1` form of the document, which is a `v1beta1` one.
    pub(crate) fn is_older(&mut self, root: Root) {
        self.older = Some(root);
    }

    fn written<'a>(&self, path: &'a str) -> Cow<'a, str> {
        match self.older {
            Some(root) => Cow::Owned(convert::as_written(root, path)),
            None => Cow::Borrowed(path),
        }
    }

    pub(crate) fn insert(&mut self, path: String, key: Position, value: Position) {
        self.places.insert(path, Place { key, value });
    }

    /// The part below `prefix`, with the prefix taken off: for the items of a list of objects.
    pub(crate) fn below(&self, prefix: &str) -> Self {
        let places = self
            .places
            .range(prefix.to_owned()..)
            .take_while(|(path, _)| path.starts_with(prefix))
            .filter_map(|(path, place)| {
                let rest = &path[prefix.len()..];
                match rest.as_bytes().first() {
                    None => Some((String::new(), *place)),
                    Some(b'.') => Some((rest[1..].to_owned(), *place)),
                    _ => None,
                }
            })
            .collect();
        Self { file: self.file.clone(), places, older: self.older }
    }

    fn nearest(&self, path: &str) -> Place {
        let written = self.written(path);
        let mut path = written.as_ref();
        loop {
            if let Some(place) = self.places.get(path) {
                return *place;
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = &path[..end],
                None if path.is_empty() => {
                    let start = Position { line: 1, column: 1 };
                    return Place { key: start, value: start };
                }
                None => path = "",
            }
        }
    }
}

/// Joins a path and a field's name.
pub(crate) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// The path of the field that contains this one.
pub(crate) fn parent(path: &str) -> &str {
    path.rfind(['.', '[']).map_or("", |end| &path[..end])
}

/// Something wrong in a file, with its place and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file, as it was named by the caller.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
    /// The field, such as `spec.steps[0].imgae`; empty when the file could not be read that far.
    pub path: String,
    /// What is wrong, as a fragment in lower case.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl Diagnostic {
    /// Several lines for people: the message, the place, the line of the source with a mark below, and the help.
    /// `text` is what the file holds.
    pub fn render(&self, text: &str) -> String {
        let mut out = format!("error: {}\n", self.message);
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        let _ = writeln!(out, "{margin}--> {}:{}:{}", self.file, self.line, self.column);
        if let Some(line) = text.lines().nth(self.line.saturating_sub(1)) {
            // A tab is one character wide here, so that the mark stands where the column says.
            let line = line.replace('\t', " ");
            let start = self.column.saturating_sub(1);
            let word =
                line.chars().skip(start).take_while(|c| !c.is_whitespace() && !":,]}".contains(*c)).count();
            let _ = writeln!(out, "{margin} |\n{number} | {}", line.trim_end());
            let _ = writeln!(out, "{margin} | {}{}", " ".repeat(start), "^".repeat(word.max(1)));
        }
        if !self.path.is_empty() {
            let _ = writeln!(out, "{margin} = in `{}`", self.path);
        }
        if let Some(help) = &self.help {
            let _ = writeln!(out, "{margin} = help: {help}");
        }
        out
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file, self.line, self.column)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        if let Some(help) = &self.help {
            write!(f, " ({help})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostic {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_path_is_where_its_parent_is() {
        let at = |line, column| Position { line, column };
        let mut map = SourceMap::new("f");
        map.insert(String::new(), at(1, 1), at(1, 1));
        map.insert("spec".to_owned(), at(2, 1), at(3, 3));
        map.insert("spec.steps[0]".to_owned(), at(4, 5), at(4, 5));
        assert_eq!(map.key("spec.steps[0].image"), at(4, 5));
        assert_eq!(map.value("spec"), at(3, 3));
        assert_eq!(map.value("spec.params"), at(2, 1));
        assert_eq!(map.key("status"), at(1, 1));
        assert_eq!(map.below("spec").key("steps[0]"), at(4, 5));
    }
}
