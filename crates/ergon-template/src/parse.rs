//! From a template's text to its parts: text, values, and the blocks `#if`, `#unless`, `#each` and `#with`.

use crate::expr::{Expr, Tokens};
use crate::template::Error;

/// A part of a template, with the byte that it begins at.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Part {
    Text {
        at: usize,
        text: String,
    },
    Value {
        at: usize,
        expr: Expr,
        raw: bool,
    },
    /// `unless` is an `if` with its branches exchanged.
    If {
        at: usize,
        test: Expr,
        then: Vec<Part>,
        otherwise: Vec<Part>,
    },
    Each {
        at: usize,
        list: Expr,
        item: Option<String>,
        body: Vec<Part>,
        otherwise: Vec<Part>,
    },
    With {
        at: usize,
        value: Expr,
        item: Option<String>,
        body: Vec<Part>,
        otherwise: Vec<Part>,
    },
}

/// How deep blocks may be in each other.
const MAX_DEPTH: usize = 16;

struct Open {
    at: usize,
    word: String,
    expr: Expr,
    item: Option<String>,
    first: Option<Vec<Part>>,
    parts: Vec<Part>,
    /// It was opened by `{{else if}}`: what closes the one around it closes it too.
    chained: bool,
}

/// Reads a whole template.
pub(crate) fn parse(source: &str) -> Result<Vec<Part>, Error> {
    let mut reader = Reader { source, stack: Vec::new(), parts: Vec::new() };
    let mut at = 0;
    let mut search = 0;
    while let Some(open) = source[search..].find("{{").map(|n| n + search) {
        let before = &source[at..open];
        if (before.len() - before.trim_end_matches('\\').len()) % 2 == 1 {
            // `\{{` is the text `{{`.
            reader.text(at, &source[at..open - 1]);
            at = open;
            search = open + 2;
            continue;
        }
        let raw = source[open..].starts_with("{{{");
        let (start, end) = if raw { (open + 3, "}}}") } else { (open + 2, "}}") };
        let end = if source[start..].starts_with("!--") { "--}}" } else { end };
        let Some(close) = end_of_tag(source, start, end) else {
            return Err(reader.error(
                open,
                "a tag without an end".to_owned(),
                &format!("`{end}`, or `\\{{{{` if this is no tag but the text `{{{{`"),
            ));
        };
        let tag = &source[start..close];
        let mut text = &source[at..open];
        let text_at = at;
        at = close + end.len();
        let trimmed = tag.trim();
        if trimmed.starts_with(['#', '/', '!']) || trimmed.split_whitespace().next() == Some("else") {
            // A tag that has its line to itself takes the line with it.
            let line = source[..open].rfind('\n').map_or(0, |n| n + 1);
            let rest = source[at..].trim_start_matches([' ', '\t']);
            if source[line..open].trim_matches([' ', '\t']).is_empty() && rest.starts_with('\n') {
                text = source.get(text_at..line).unwrap_or_default();
                at = source.len() - rest.len() + 1;
            }
        }
        reader.text(text_at, text);
        search = at;
        reader.tag(open, trimmed, raw)?;
    }
    reader.text(at, &source[at..]);
    match reader.stack.last() {
        Some(block) => Err(reader.error(block.at, format!("`#{}` without an end", block.word), "its end")),
        None => Ok(reader.parts),
    }
}

/// Where a tag ends: not inside a text in quotes.
fn end_of_tag(source: &str, start: usize, end: &str) -> Option<usize> {
    if end == "--}}" || source[start..].trim_start().starts_with('!') {
        return source[start..].find(end).map(|n| n + start);
    }
    let mut quote = None;
    for (n, c) in source[start..].char_indices() {
        match quote {
            None if source[start + n..].starts_with(end) => return Some(start + n),
            None if c == '\n' => return None,
            None if c == '"' || c == '\'' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ => {}
        }
    }
    // A quote that does not end is told by what reads the tag.
    source[start..].find(end).map(|n| n + start)
}

struct Reader<'a> {
    source: &'a str,
    stack: Vec<Open>,
    parts: Vec<Part>,
}

impl Reader<'_> {
    fn text(&mut self, at: usize, text: &str) {
        if !text.is_empty() {
            self.parts.push(Part::Text { at, text: text.to_owned() });
        }
    }

    fn error(&self, at: usize, found: String, instead: &str) -> Error {
        Error::at(self.source, at, found, instead)
    }

    fn tag(&mut self, at: usize, tag: &str, raw: bool) -> Result<(), Error> {
        if tag.starts_with('!') {
            return Ok(());
        }
        let unknown = |found: &str| {
            Error::at(
                self.source,
                at,
                format!("`{found}`"),
                "a name, a helper, `#if`, `#unless`, `#each`, `#with`, `else` or a block's end; \
                 or `\\{{` if this is no tag but the text `{{`",
            )
        };
        let refused = |(found, instead): (String, &str)| Error::at(self.source, at, found, instead);
        if raw && tag.starts_with(['#', '/']) {
            return Err(unknown(tag));
        }
        let word = tag.split_whitespace().next().unwrap_or_default();
        let rest = tag[word.len()..].trim();
        match word {
            "#if" | "#unless" | "#each" | "#with" => {
                let (expr, item) = if matches!(word, "#each" | "#with") { alias(rest) } else { (rest, None) };
                let expr = Tokens::read(expr).map_err(refused)?;
                self.open(at, &word[1..], expr, item, false)
            }
            "else" if !raw => self.otherwise(at, rest),
            _ if word.starts_with('/') && rest.is_empty() => self.close(at, &word[1..]),
            _ if tag.is_empty() || tag.starts_with(['#', '/', '>', '&', '~', '*', '^', '{', '=']) => {
                Err(unknown(tag))
            }
            _ => {
                let expr = Tokens::read(tag).map_err(refused)?;
                self.parts.push(Part::Value { at, expr, raw });
                Ok(())
            }
        }
    }

    fn open(
        &mut self,
        at: usize,
        word: &str,
        expr: Expr,
        item: Option<String>,
        chained: bool,
    ) -> Result<(), Error> {
        if self.stack.len() == MAX_DEPTH {
            return Err(self.error(at, format!("more than {MAX_DEPTH} blocks in each other"), "fewer"));
        }
        let parts = std::mem::take(&mut self.parts);
        self.stack.push(Open { at, word: word.to_owned(), expr, item, first: None, parts, chained });
        Ok(())
    }

    /// `{{else}}` and `{{else if …}}`.
    fn otherwise(&mut self, at: usize, rest: &str) -> Result<(), Error> {
        match self.stack.last_mut() {
            Some(block) if block.first.is_none() => block.first = Some(std::mem::take(&mut self.parts)),
            _ => return Err(self.error(at, "`{{else}}` without its block".to_owned(), "it inside one")),
        }
        match rest.strip_prefix("if ") {
            _ if rest.is_empty() => Ok(()),
            Some(test) => {
                let expr = Tokens::read(test).map_err(|(found, instead)| self.error(at, found, instead))?;
                self.open(at, "if", expr, None, true)
            }
            None => Err(self.error(at, format!("`else {rest}`"), "`{{else}}` or `{{else if …}}`")),
        }
    }

    fn close(&mut self, at: usize, word: &str) -> Result<(), Error> {
        loop {
            let Some(block) = self.stack.pop().filter(|block| block.word == word || block.chained) else {
                return Err(self.error(
                    at,
                    format!("`{{{{/{word}}}}}` closes no block"),
                    "the block that is open",
                ));
            };
            let chained = block.chained;
            let last = std::mem::replace(&mut self.parts, block.parts);
            let (body, otherwise) = match block.first {
                Some(first) => (first, last),
                None => (last, Vec::new()),
            };
            let Open { at, word: opened, expr, item, .. } = Open { first: None, parts: Vec::new(), ..block };
            self.parts.push(match opened.as_str() {
                "each" => Part::Each { at, list: expr, item, body, otherwise },
                "with" => Part::With { at, value: expr, item, body, otherwise },
                "unless" => Part::If { at, test: expr, then: otherwise, otherwise: body },
                _ => Part::If { at, test: expr, then: body, otherwise },
            });
            if !chained {
                return Ok(());
            }
        }
    }
}

/// `EXPR as |name|`.
fn alias(text: &str) -> (&str, Option<String>) {
    let Some((expr, rest)) = text.rsplit_once(" as ") else { return (text, None) };
    match rest.trim().strip_prefix('|').and_then(|rest| rest.strip_suffix('|')) {
        Some(name) if is_plain(name.trim()) => (expr.trim(), Some(name.trim().to_owned())),
        _ => (text, None),
    }
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}
