//! How a text is written in a file: where each part of it stands, and how another text is written in its place.

use std::ops::Range;

/// How a scalar is written in YAML.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    /// `|` and `>`.
    Block,
    Plain,
    Single,
    Double,
}

/// A text in a file.
#[derive(Debug, Clone)]
pub(crate) struct Scalar {
    style: Style,
    /// The first byte after the quote, or of the plain text.
    start: usize,
    /// Parts of the text that stand together in the file: where in the text, where in the file, how long.
    runs: Vec<(usize, usize, usize)>,
}

impl Scalar {
    /// The scalar that begins at this byte of the file, and whose text is `value`.
    pub fn at(text: &str, start: usize, value: &str) -> Option<Self> {
        if let Some(header) = header(text, start) {
            return Self::block(text, header, value, text[header..].starts_with('>'));
        }
        match text.get(start..)?.chars().next()? {
            '\'' => Self::quoted(text, start + 1, value, Style::Single),
            '"' => Self::quoted(text, start + 1, value, Style::Double),
            _ if text[start..].starts_with(value) && !value.is_empty() => {
                Some(Self { style: Style::Plain, start, runs: vec![(0, start, value.len())] })
            }
            _ => None,
        }
    }

    /// The part of the file that a part of the text is; none where it is not in one piece.
    pub fn place(&self, part: &Range<usize>) -> Option<Range<usize>> {
        let (from, at, _) =
            *self.runs.iter().find(|(from, _, length)| *from <= part.start && part.end <= from + length)?;
        Some(at + part.start - from..at + part.end - from)
    }

    /// How `new` is written at this byte of the file, in the scalar; none where it cannot be.
    pub fn write(&self, at: usize, new: &str) -> Option<String> {
        match self.style {
            Style::Block if new.contains('\n') => None,
            Style::Plain if at == self.start && new.starts_with(|c: char| !c.is_ascii_alphanumeric()) => None,
            Style::Plain if new.contains(": ") || new.contains(" #") || new.contains('\n') => None,
            Style::Plain if new.contains([',', '[', ']', '{', '}']) => None,
            Style::Block | Style::Plain => Some(new.to_owned()),
            Style::Single => Some(new.replace('\'', "''")),
            Style::Double => Some(new.replace('\\', "\\\\").replace('"', "\\\"")),
        }
    }

    fn block(text: &str, start: usize, value: &str, folded: bool) -> Option<Self> {
        let header = start + text[start..].find('\n')? + 1;
        let mut at = header;
        let lines = text[header..].split_inclusive('\n').map(|line| {
            let begin = at;
            at += line.len();
            (begin, line.trim_end_matches(['\n', '\r']))
        });
        // The first line that is not blank shows the indentation: what is before the text in it.
        let first = value.split('\n').find(|line| !line.trim().is_empty())?;
        let mut indent = None;
        let (mut runs, mut read) = (Vec::new(), 0);
        for (begin, line) in lines {
            let rest = &value[read..];
            if rest.is_empty() {
                break;
            }
            if line.trim().is_empty() {
                let spaces = line.get(indent.unwrap_or(line.len())..).unwrap_or_default();
                read += if rest.starts_with(spaces) { spaces.len() } else { 0 };
                // Folding drops one line's end of several.
                read += usize::from(value[read..].starts_with('\n'));
                continue;
            }
            let own = line.len() - line.trim_start_matches(' ').len();
            let indent = match indent {
                Some(indent) => indent,
                None if folded => *indent.insert(own),
                None => *indent.insert(line.len().checked_sub(first.len())?),
            };
            let content = line.get(indent..)?;
            if !rest.starts_with(content) {
                return None;
            }
            runs.push((read, begin + indent, content.len()));
            read += content.len();
            read += usize::from(value[read..].starts_with(['\n', ' ']));
        }
        Some(Self { style: Style::Block, start, runs })
    }

    fn quoted(text: &str, start: usize, value: &str, style: Style) -> Option<Self> {
        let (mut runs, mut read, mut at) = (Vec::new(), 0, start);
        let (mut from, mut begin) = (0, start);
        let bytes = text.as_bytes();
        let end = loop {
            let byte = *bytes.get(at)?;
            // How many bytes of the file stand for how many of the text, where they are not the same.
            let escape = match (style, byte) {
                (Style::Single, b'\'') if bytes.get(at + 1) == Some(&b'\'') => Some((2, 1)),
                (Style::Single, b'\'') | (Style::Double, b'"') => break at,
                (Style::Double, b'\\') => match bytes.get(at + 1)? {
                    b'"' | b'\\' | b'/' | b'n' | b't' | b'r' | b'0' | b'a' | b'b' | b'e' | b'f' | b'v'
                    | b' ' => Some((2, 1)),
                    _ => return None,
                },
                (_, b'\n') => return None,
                _ => None,
            };
            if let Some((written, meant)) = escape {
                runs.push((from, begin, at - begin));
                at += written;
                read += meant;
                (from, begin) = (read, at);
            } else {
                at += 1;
                read += 1;
            }
        };
        runs.push((from, begin, end - begin));
        runs.retain(|(_, _, length)| *length > 0);
        let same = |(from, at, length): &(usize, usize, usize)| {
            value.get(*from..from + length).is_some_and(|part| text.get(*at..at + length) == Some(part))
        };
        (read == value.len() && runs.iter().all(same)).then_some(Self { style, start, runs })
    }
}

/// The `|` or `>` of the text whose first line begins at this byte; itself where that is there.
fn header(text: &str, start: usize) -> Option<usize> {
    let (before, rest) = (text.get(..start)?, text.get(start..)?);
    let is_head = |head: &str| {
        let head = head.split(" #").next().unwrap_or_default().trim_end();
        let head = head.strip_prefix(['|', '>']);
        head.is_some_and(|rest| {
            rest.len() <= 2 && rest.chars().all(|c| c == '+' || c == '-' || c.is_ascii_digit())
        })
    };
    if is_head(rest.lines().next().unwrap_or_default()) {
        return Some(start);
    }
    // Nothing but space is between them.
    let last = before.rsplit('\n').next()?;
    let above = before.trim_end();
    if !last.trim().is_empty() || above.len() + last.len() >= before.len() {
        return None;
    }
    let line = above.rfind('\n').map_or(0, |at| at + 1);
    let found = above[line..].match_indices(['|', '>']).find(|(at, _)| {
        let is_value = above[line..line + at].ends_with([' ', '\t']) || *at == 0;
        is_value && is_head(&above[line + at..])
    });
    found.map(|(at, _)| line + at)
}

/// The place in a file of a line and column of a text that is written with `|` or on one line.
pub(crate) fn inside(text: &str, start: usize, line: usize, column: usize) -> Option<usize> {
    let start = header(text, start).unwrap_or(start);
    let rest = text.get(start..)?;
    if !rest.starts_with('|') {
        let quote = usize::from(rest.starts_with(['"', '\'']));
        let at = rest.char_indices().nth(column.checked_sub(1)? + quote).map(|(at, _)| at)?;
        return (line == 1 && !rest[..at].contains('\n')).then_some(start + at);
    }
    let mut lines = rest.split_inclusive('\n');
    let mut at = start + lines.next()?.len();
    let mut indent = None;
    for (number, content) in lines.enumerate() {
        let content_is_blank = content.trim().is_empty();
        if indent.is_none() && !content_is_blank {
            indent = Some(content.len() - content.trim_start_matches(' ').len());
        }
        if number + 1 == line {
            let inner = content.get(indent?..)?;
            let before = inner.char_indices().nth(column.checked_sub(1)?).map_or(inner.len(), |(at, _)| at);
            return Some(at + indent? + before);
        }
        at += content.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where `part` of the text is in the file.
    fn find(text: &str, value: &str, part: &str) -> Option<String> {
        let start = text.find(": ").unwrap() + 2;
        let at = value.find(part).unwrap();
        let place = Scalar::at(text, start, value)?.place(&(at..at + part.len()))?;
        let start = place.start;
        Some(format!("{start}:{}", &text[place]))
    }

    #[test]
    fn parts_of_texts_are_found_in_files() {
        for (text, value, part, wanted) in [
            ("a: x $(y)\n", "x $(y)", "$(y)", Some("5:$(y)")),
            ("a: 'it''s $(y)'\n", "it's $(y)", "$(y)", Some("10:$(y)")),
            ("a: \"q \\\" $(y)\"\n", "q \" $(y)", "$(y)", Some("9:$(y)")),
            ("a: \"\\u0041 $(y)\"\n", "A $(y)", "$(y)", None),
            ("a: |\n  one\n\n    $(y)\n  z\nb: 1\n", "one\n\n  $(y)\nz\n", "$(y)", Some("16:$(y)")),
            ("a: |2\n    one\n   $(y)\n", "  one\n $(y)\n", "$(y)", Some("17:$(y)")),
            ("a: |\r\n  one\r\n  $(y)\r\n", "one\n$(y)\n", "$(y)", Some("15:$(y)")),
            ("a: >-\n  one\n  $(y)\n\n  z\n", "one $(y)\nz", "$(y)", Some("14:$(y)")),
            ("a: >-\n  one\n  two\n\n  z $(y)\n", "one two\nz $(y)", "$(y)", Some("23:$(y)")),
            ("a: |-\n  $(y)", "$(y)", "$(y)", Some("8:$(y)")),
            ("a: x\n  $(y)\n", "x $(y)", "$(y)", None),
            ("a: | # why\n\n  $(y)\n", "\n$(y)\n", "$(y)", Some("14:$(y)")),
        ] {
            assert_eq!(find(text, value, part).as_deref(), wanted, "{text:?}");
        }
    }

    #[test]
    fn a_text_may_be_known_by_its_first_line() {
        for (text, wanted) in [
            ("a: |\n  b\n", Some("|\n  b\n")),
            ("a: >-  # why\n\n    b\n", Some(">-  # why\n\n    b\n")),
            ("- |\n b", Some("|\n b")),
            ("a: 'x |'\nb: c", None),
            ("a: b | c\n  b", None),
        ] {
            let start = text.rfind('b').unwrap();
            assert_eq!(header(text, start).map(|at| &text[at..]), wanted, "{text:?}");
        }
    }

    #[test]
    fn texts_are_written_as_their_scalars_are() {
        let of = |text: &str, value: &str| Scalar::at(text, 0, value).unwrap();
        assert_eq!(of("'a b'", "a b").write(3, "it's").as_deref(), Some("it''s"));
        assert_eq!(of("\"a b\"", "a b").write(3, "\"x\"").as_deref(), Some("\\\"x\\\""));
        assert_eq!(of("a b", "a b").write(0, "\"x\""), None);
        assert_eq!(of("a b", "a b").write(2, "\"x\"").as_deref(), Some("\"x\""));
    }

    #[test]
    fn lines_of_texts_are_lines_of_files() {
        let text = "s: |\n    one\n\n      two\n";
        assert_eq!(inside(text, 3, 3, 3).map(|at| &text[at..]), Some("two\n"));
        assert_eq!(inside(text, 3, 9, 1), None);
        assert_eq!(inside("s: 'abc'", 3, 1, 2), Some(5));
        assert_eq!(inside("s: 'abc'", 3, 2, 2), None);
    }
}
