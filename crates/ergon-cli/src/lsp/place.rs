//! Places in the protocol: lines and columns count from 0, and columns count UTF-16 units.

use std::ops::Range;
use std::str::FromStr;

use ergon_api::Position;
use ergon_lint::Source;
use lsp_types::Uri;

use crate::uri::reference;

/// A place of ours, as the protocol has it.
pub fn to_lsp(source: &Source, at: Position) -> lsp_types::Position {
    let line = source.lines.line(&source.text, at.line);
    let units: usize = line.chars().take(at.column.saturating_sub(1)).map(char::len_utf16).sum();
    lsp_types::Position { line: number(at.line.saturating_sub(1)), character: number(units) }
}

/// A place of the protocol, as we have it; the end of the line where it has fewer characters.
pub fn from_lsp(source: &Source, at: lsp_types::Position) -> Position {
    let line = at.line as usize + 1;
    let mut left = at.character as usize;
    let text = source.lines.line(&source.text, line);
    let before = text.chars().take_while(|c| {
        let is_before = left > 0;
        left = left.saturating_sub(c.len_utf16());
        is_before
    });
    Position { line, column: before.count() + 1 }
}

/// The part of a file between two places.
pub fn range(source: &Source, start: Position, end: Position) -> lsp_types::Range {
    lsp_types::Range { start: to_lsp(source, start), end: to_lsp(source, end) }
}

/// The part of a file that these bytes are.
pub fn range_of(source: &Source, bytes: &Range<usize>) -> lsp_types::Range {
    let at = |offset| source.lines.position(&source.text, offset);
    range(source, at(bytes.start), at(bytes.end))
}

fn number(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// The name of a file by its address: the path, where it is one.
pub fn name_of(uri: &Uri) -> String {
    let text = uri.as_str();
    let Some(path) = text.strip_prefix("file://") else { return text.to_owned() };
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match (*first, hex) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            (byte, _) => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The address of a file by its name.
pub fn uri_of(name: &str) -> Option<Uri> {
    if !name.starts_with('/') {
        return Uri::from_str(name).ok();
    }
    Uri::from_str(&reference(name)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_utf_16_units() {
        let source = Source::of("f", "a: \"\u{1f600}é\" # x\n");
        let ours = Position { line: 1, column: 6 };
        let theirs = lsp_types::Position { line: 0, character: 6 };
        assert_eq!(to_lsp(&source, ours), theirs);
        assert_eq!(from_lsp(&source, theirs), ours);
        assert_eq!(
            from_lsp(&source, lsp_types::Position { line: 9, character: 9 }),
            Position { line: 10, column: 1 }
        );
    }

    #[test]
    fn files_have_addresses() {
        let uri = uri_of("/a b/ü.yaml").unwrap();
        assert_eq!(uri.as_str(), "file:///a%20b/%C3%BC.yaml");
        assert_eq!(name_of(&uri), "/a b/ü.yaml");
        assert_eq!(name_of(&Uri::from_str("untitled:one").unwrap()), "untitled:one");
    }
}
