//! A YAML text's scalars: what each one's value is, of which field, and where it stands in the text.

use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle, Span, StrInput, options};

/// A value that is no list and no map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scalar {
    /// Which document of the file it is in.
    pub document: usize,
    /// Its field, as in messages: `spec.steps[0].script`.
    pub path: String,
    pub value: String,
    pub style: ScalarStyle,
    /// It is inside of `[…]` or `{…}`.
    pub in_flow: bool,
    /// Its bytes in the text, with quotes; a block's begin below its header.
    pub place: Range<usize>,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

/// All scalars that are values, in the order of the text; none where it is no YAML. What an alias repeats is there once,
/// where it is written.
pub(crate) fn scalars(text: &str) -> Option<Vec<Scalar>> {
    let options = options! { block_scalar_eof_without_line_feed: true, emit_comments: false };
    let bom = text.len() - text.trim_start_matches('\u{feff}').len();
    let body = &text[bom..];
    let mut offsets: Vec<usize> = body.char_indices().map(|(at, _)| at + bom).collect();
    offsets.push(text.len());
    let parser = Parser::new_from_str_with_options(body, options);
    let mut reader = Reader { parser, text, offsets, document: 0, found: Vec::new() };
    let mut documents = 0;
    loop {
        match reader.next()? {
            (Event::StreamEnd, _) => return Some(reader.found),
            (Event::DocumentStart(..), _) => {
                reader.document = documents;
                documents += 1;
                let (event, span) = reader.next()?;
                reader.node(&event, span, "", false, 0)?;
            }
            _ => {}
        }
    }
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    text: &'a str,
    /// Where each character begins.
    offsets: Vec<usize>,
    document: usize,
    found: Vec<Scalar>,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Option<(Event<'a>, Span)> {
        self.parser.next_event()?.ok()
    }

    fn node(&mut self, event: &Event<'a>, span: Span, path: &str, in_flow: bool, depth: usize) -> Option<()> {
        // As deep as manifests are read: see `ergon_api`'s reader.
        if depth > 100 {
            return None;
        }
        let flow = |span: Span, opening: char| -> Option<bool> {
            Some(in_flow || self.text[*self.offsets.get(span.start.index())?..].starts_with(opening))
        };
        match event {
            Event::Scalar(value, style, ..) => {
                let (start, end) =
                    (*self.offsets.get(span.start.index())?, *self.offsets.get(span.end.index())?);
                self.found.push(Scalar {
                    document: self.document,
                    path: path.to_owned(),
                    value: value.to_string(),
                    style: *style,
                    in_flow,
                    place: start..end,
                    line: span.start.line(),
                    column: span.start.col() + 1,
                });
            }
            Event::SequenceStart(..) => {
                let in_flow = flow(span, '[')?;
                for at in 0.. {
                    let (event, span) = self.next()?;
                    if matches!(event, Event::SequenceEnd) {
                        break;
                    }
                    self.node(&event, span, &format!("{path}[{at}]"), in_flow, depth + 1)?;
                }
            }
            Event::MappingStart(..) => {
                let in_flow = flow(span, '{')?;
                loop {
                    let (event, _) = self.next()?;
                    let key = match event {
                        Event::MappingEnd => break,
                        Event::Scalar(key, ..) => key.to_string(),
                        _ => return None,
                    };
                    let path = if path.is_empty() { key } else { format!("{path}.{key}") };
                    let (event, span) = self.next()?;
                    self.node(&event, span, &path, in_flow, depth + 1)?;
                }
            }
            Event::Alias(_) => {}
            _ => return None,
        }
        Some(())
    }
}

/// A text as a scalar of this style, where that can hold it; otherwise in quotes.
pub(crate) fn written(value: &str, style: ScalarStyle, in_flow: bool) -> String {
    let single = || format!("'{}'", value.replace('\'', "''"));
    let double = || serde_json::Value::from(value).to_string();
    let is_one_line = !value.contains(['\n', '\r', '\t']);
    match style {
        ScalarStyle::Plain if is_plain(value, in_flow) => value.to_owned(),
        ScalarStyle::Plain | ScalarStyle::SingleQuoted if is_one_line => single(),
        _ => double(),
    }
}

/// Whether a text without quotes means itself.
fn is_plain(value: &str, in_flow: bool) -> bool {
    let text = if in_flow { format!("[{value}]") } else { format!("- {value}\n") };
    let read = scalars(&text).unwrap_or_default();
    matches!(read.as_slice(), [one] if one.value == value && one.style == ScalarStyle::Plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scalar_is_found_where_it_stands() {
        let text = "é: 'it''s'\nlist:\n  - a # one\n  - {b: c, d: \"e\\n\"}\nscript: |\n  one\n   two\n\nnext: >-\n  x\n---\nz: [1]\n";
        let found = scalars(text).unwrap();
        let shown: Vec<(usize, &str, &str, &str)> = found
            .iter()
            .map(|one| (one.document, one.path.as_str(), one.value.as_str(), &text[one.place.clone()]))
            .collect();
        assert_eq!(
            shown,
            [
                (0, "é", "it's", "'it''s'"),
                (0, "list[0]", "a", "a"),
                (0, "list[1].b", "c", "c"),
                (0, "list[1].d", "e\n", "\"e\\n\""),
                (0, "script", "one\n two\n", "one\n   two\n\n"),
                (0, "next", "x", "x\n"),
                (1, "z[0]", "1", "1"),
            ]
        );
        assert!(found[2].in_flow && !found[1].in_flow);
    }

    #[test]
    fn a_text_is_quoted_where_it_must_be() {
        use ScalarStyle::{DoubleQuoted, Plain, SingleQuoted};
        for (value, style, in_flow, wanted) in [
            ("a {{x}}", Plain, false, "a {{x}}"),
            ("a {{x}}", Plain, true, "'a {{x}}'"),
            ("{{x}}", Plain, false, "'{{x}}'"),
            ("it's {{x}}", SingleQuoted, false, "'it''s {{x}}'"),
            ("a\\{{b", DoubleQuoted, false, "\"a\\\\{{b\""),
            ("a: b", Plain, false, "'a: b'"),
            ("a\nb", Plain, false, "\"a\\nb\""),
        ] {
            let text = written(value, style, in_flow);
            assert_eq!(text, wanted);
            let file = if in_flow { format!("[{text}]") } else { format!("- {text}\n") };
            assert_eq!(scalars(&file).unwrap()[0].value, value);
        }
    }
}
