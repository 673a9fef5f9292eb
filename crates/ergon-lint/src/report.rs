//! Where rules put what they find.

use std::ops::Range;

use ergon_api::{Diagnostic, Document, Position};

use crate::scalar::{self, Scalar};
use crate::{Finding, Options, Rule, Source};

/// Collects the findings of one file.
pub(crate) struct Report<'a> {
    pub source: &'a Source,
    pub options: &'a Options,
    /// The object that is looked at.
    pub document: Option<&'a Document>,
    found: Vec<Finding>,
}

/// So much of one file is enough: whoever wrote it has to mend that first.
const ENOUGH: usize = 1000;

impl<'a> Report<'a> {
    pub fn new(source: &'a Source, options: &'a Options) -> Self {
        Self { source, options, document: None, found: Vec::new() }
    }

    pub fn finish(self) -> Vec<Finding> {
        self.found
    }

    /// How many findings are of what is refused.
    pub fn refused(&self) -> usize {
        self.found.iter().filter(|finding| finding.rule.is_refused).count()
    }

    /// Whether a rule is looked at.
    pub fn wants(&self, rule: &Rule) -> bool {
        self.options.level(rule).is_some()
    }

    /// A finding about a field's name, or an item of a list.
    pub fn at_key(&mut self, rule: &'static Rule, path: &str, message: impl Into<String>) -> Handle<'_> {
        let start = self.map(|map| map.key(path));
        let start = self.offset(start);
        let end = start + self.length(start);
        self.push(rule, path, start..end, message.into())
    }

    /// A finding about a field's value.
    pub fn at_value(&mut self, rule: &'static Rule, path: &str, message: impl Into<String>) -> Handle<'_> {
        let start = self.map(|map| map.value(path));
        let start = self.offset(start);
        let end = start + self.length(start);
        self.push(rule, path, start..end, message.into())
    }

    /// A finding about a part of a text.
    pub fn in_text(
        &mut self,
        rule: &'static Rule,
        path: &str,
        value: &str,
        part: &Range<usize>,
        message: impl Into<String>,
    ) -> Handle<'_> {
        match self.scalar(path, value).and_then(|scalar| scalar.place(part)) {
            Some(range) => self.push(rule, path, range, message.into()),
            None => self.at_value(rule, path, message),
        }
    }

    /// A finding about a field's value, where it says `word`.
    pub fn at_word(
        &mut self,
        rule: &'static Rule,
        path: &str,
        word: &str,
        message: impl Into<String>,
    ) -> Handle<'_> {
        const NEAR: usize = 16 * 1024;
        let start = self.map(|map| map.value(path));
        let start = self.offset(start);
        let text = &self.source.text[start..];
        let near =
            text.char_indices().map(|(at, _)| at).take_while(|at| *at < NEAR).last().unwrap_or_default();
        let is_there = self.contains(path);
        match text[..near].find(word).filter(|_| is_there) {
            Some(at) => self.push(rule, path, start + at..start + at + word.len(), message.into()),
            None => self.at_value(rule, path, message),
        }
    }

    /// A finding that the reader or the validation has made.
    pub fn diagnostic(&mut self, rule: &'static Rule, found: &Diagnostic) -> Handle<'_> {
        let start = self.offset(Position { line: found.line, column: found.column });
        let text = &self.source.text;
        // What is said of a line of a text is put there.
        if let Some((line, column, rest)) = inner_place(&found.message)
            && let Some(at) = scalar::inside(text, start, line, column)
        {
            return self
                .push(rule, &found.path, at..at + tag(&text[at..]), rest.to_owned())
                .help(found.help.clone());
        }
        let end = start + self.length(start);
        self.push(rule, &found.path, start..end, found.message.clone()).help(found.help.clone())
    }

    /// The text at a field, as it is written.
    pub fn scalar(&self, path: &str, value: &str) -> Option<Scalar> {
        if !self.contains(path) {
            return None;
        }
        let start = self.offset(self.map(|map| map.value(path)));
        Scalar::at(&self.source.text, start, value)
    }

    /// The first byte of a field's name.
    pub fn key(&self, path: &str) -> Option<usize> {
        self.contains(path).then(|| self.offset(self.map(|map| map.key(path))))
    }

    pub fn contains(&self, path: &str) -> bool {
        self.document.is_some_and(|document| document.source.contains(path))
    }

    fn map(&self, ask: impl Fn(&ergon_api::SourceMap) -> Position) -> Position {
        self.document.map_or(Position { line: 1, column: 1 }, |document| ask(&document.source))
    }

    pub fn offset(&self, at: Position) -> usize {
        self.source.lines.offset(&self.source.text, at)
    }

    /// How long what begins at a byte is, as far as it is marked: a quoted text, or a word.
    fn length(&self, start: usize) -> usize {
        let rest = &self.source.text[start..];
        let line = rest.lines().next().unwrap_or_default();
        match line.chars().next() {
            Some(quote @ ('"' | '\'')) => line[1..].find(quote).map_or(line.len(), |at| at + 2),
            Some('$' | '{') => line.trim_end().len(),
            _ => word(line),
        }
    }

    fn push(&mut self, rule: &'static Rule, path: &str, range: Range<usize>, message: String) -> Handle<'_> {
        let Some(level) = self.options.level(rule).filter(|_| self.found.len() < ENOUGH) else {
            return Handle(None);
        };
        let place = |at| self.source.lines.position(&self.source.text, at);
        let finding = Finding {
            rule,
            level,
            file: self.source.name.clone(),
            start: place(range.start),
            end: place(range.end),
            path: self
                .document
                .map_or_else(|| path.to_owned(), |document| document.source.diagnose(path, "", None).path),
            message,
            help: None,
            fix: None,
        };
        self.found.push(finding);
        Handle(self.found.last_mut())
    }
}

/// A finding that was just made; nothing where its rule is off.
pub(crate) struct Handle<'f>(Option<&'f mut Finding>);

impl Handle<'_> {
    /// Says what to write instead.
    pub fn help(self, help: impl Into<Option<String>>) -> Self {
        self.0.map_or(Self(None), |finding| {
            finding.help = help.into();
            Self(Some(finding))
        })
    }

    /// Says how it is mended.
    pub fn fix(self, fix: impl Into<Option<crate::Fix>>) -> Self {
        self.0.map_or(Self(None), |finding| {
            finding.fix = fix.into();
            Self(Some(finding))
        })
    }
}

/// How long the word is that a text begins with.
fn word(text: &str) -> usize {
    text.find(|c: char| c.is_whitespace() || ":,]}".contains(c)).unwrap_or(text.len())
}

/// How long what is marked in a script is: a tag, or a word.
fn tag(text: &str) -> usize {
    let line = text.lines().next().unwrap_or_default();
    let braces = line.len() - line.trim_start_matches('{').len();
    if braces >= 2 {
        let close = "}".repeat(braces);
        return line.find(&close).map_or(line.len(), |at| at + braces);
    }
    line.find(char::is_whitespace).unwrap_or(line.len())
}

/// The place in a text that a message of the validation begins with: `line 2, column 3: …`.
fn inner_place(message: &str) -> Option<(usize, usize, &str)> {
    let (place, rest) = message.split_once(": ")?;
    let place = place.strip_prefix("line ")?;
    let (line, column) = place.split_once(", column ").unwrap_or((place, "1"));
    Some((line.parse().ok()?, column.parse().ok()?, rest))
}
