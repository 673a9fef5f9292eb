//! From a template's text to its parts: text, values, and the blocks `#if`, `#unless` and `#each`.

use crate::template::Error;

/// A part of a template, with the byte that it begins at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Text {
        at: usize,
        text: String,
    },
    Value {
        at: usize,
        name: String,
        raw: bool,
    },
    /// `unless` is an `if` with its branches exchanged.
    If {
        at: usize,
        name: String,
        then: Vec<Part>,
        otherwise: Vec<Part>,
    },
    Each {
        at: usize,
        name: String,
        item: String,
        body: Vec<Part>,
    },
}

/// How deep blocks may be in each other.
const MAX_DEPTH: usize = 16;

struct Open {
    at: usize,
    word: String,
    name: String,
    item: String,
    first: Option<Vec<Part>>,
    parts: Vec<Part>,
}

/// Reads a whole template.
pub(crate) fn parse(source: &str) -> Result<Vec<Part>, Error> {
    let error = |at: usize, found: String, instead: &str| Error::at(source, at, found, instead);
    let mut stack: Vec<Open> = Vec::new();
    let mut parts = Vec::new();
    let mut at = 0;
    while let Some(open) = source[at..].find("{{").map(|n| n + at) {
        if source[..open].ends_with('\\') {
            return Err(error(open, "a backslash before a tag".to_owned(), "the tag without it"));
        }
        let raw = source[open..].starts_with("{{{");
        let (start, end) = if raw { (open + 3, "}}}") } else { (open + 2, "}}") };
        let Some(close) = source[start..].find(end).map(|n| n + start) else {
            return Err(error(open, "a tag without an end".to_owned(), end));
        };
        let tag = source[start..close].trim();
        let mut text = &source[at..open];
        let text_at = at;
        at = close + end.len();
        if tag.starts_with(['#', '/', '!']) || tag == "else" {
            // A tag that has its line to itself takes the line with it.
            let line = source[..open].rfind('\n').map_or(0, |n| n + 1);
            let rest = source[at..].trim_start_matches([' ', '\t']);
            if source[line..open].trim_matches([' ', '\t']).is_empty() && rest.starts_with('\n') {
                text = source.get(text_at..line).unwrap_or_default();
                at = source.len() - rest.len() + 1;
            }
        }
        push_text(&mut parts, text_at, text);
        let words: Vec<&str> = tag.split_whitespace().collect();
        match words.as_slice() {
            [first, ..] if first.starts_with('!') => {}
            [word @ ("#if" | "#unless"), name] if !raw => {
                push_block(&mut stack, &mut parts, source, open, word, name, "this")?;
            }
            ["#each", name] if !raw => {
                push_block(&mut stack, &mut parts, source, open, "#each", name, "this")?;
            }
            ["#each", name, "as", item]
                if !raw && item.len() > 2 && item.starts_with('|') && item.ends_with('|') =>
            {
                push_block(&mut stack, &mut parts, source, open, "#each", name, item.trim_matches('|'))?;
            }
            ["else"] if !raw => match stack.last_mut() {
                Some(block) if block.first.is_none() && block.word != "#each" => {
                    block.first = Some(std::mem::take(&mut parts));
                }
                _ => return Err(error(open, "`{{else}}` without its `{{#if}}`".to_owned(), "it inside one")),
            },
            [word] if !raw && word.starts_with('/') => {
                let Some(block) = stack.pop().filter(|block| block.word[1..] == word[1..]) else {
                    return Err(error(
                        open,
                        format!("`{{{{{word}}}}}` closes no block"),
                        "the block that is open",
                    ));
                };
                let body = std::mem::replace(&mut parts, block.parts);
                parts.push(match block.word.as_str() {
                    "#each" => Part::Each { at: block.at, name: block.name, item: block.item, body },
                    word => {
                        let (mut then, mut otherwise) = match block.first {
                            Some(first) => (first, body),
                            None => (body, Vec::new()),
                        };
                        if word == "#unless" {
                            std::mem::swap(&mut then, &mut otherwise);
                        }
                        Part::If { at: block.at, name: block.name, then, otherwise }
                    }
                });
            }
            [name] if is_name(name) => parts.push(Part::Value { at: open, name: (*name).to_owned(), raw }),
            _ => {
                return Err(error(
                    open,
                    format!("`{tag}`"),
                    "a name, `#if`, `#unless`, `#each`, `else` or a block's end",
                ));
            }
        }
    }
    push_text(&mut parts, at, &source[at..]);
    match stack.last() {
        Some(block) => Err(error(block.at, format!("`{}` without an end", block.word), "its end")),
        None => Ok(parts),
    }
}

fn push_text(parts: &mut Vec<Part>, at: usize, text: &str) {
    if !text.is_empty() {
        parts.push(Part::Text { at, text: text.to_owned() });
    }
}

fn push_block(
    stack: &mut Vec<Open>,
    parts: &mut Vec<Part>,
    source: &str,
    at: usize,
    word: &str,
    name: &str,
    item: &str,
) -> Result<(), Error> {
    if stack.len() == MAX_DEPTH {
        return Err(Error::at(source, at, format!("more than {MAX_DEPTH} blocks in each other"), "fewer"));
    }
    if !is_name(name) || !is_name(item) {
        return Err(Error::at(source, at, format!("`{name}`"), "a name"));
    }
    let (word, name, item) = (word.to_owned(), name.to_owned(), item.to_owned());
    stack.push(Open { at, word, name, item, first: None, parts: std::mem::take(parts) });
    Ok(())
}

fn is_name(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c)) && word != "else"
}
