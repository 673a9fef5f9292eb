//! Where lines begin: from bytes to places and back.

use ergon_api::Position;

/// The lines of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lines {
    /// The first byte of each.
    starts: Vec<usize>,
}

impl Lines {
    /// The lines of this text.
    pub fn of(text: &str) -> Self {
        let after = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { starts: std::iter::once(0).chain(after).collect() }
    }

    /// How many lines there are; a text that ends with its line's end has an empty one after it.
    pub fn count(&self) -> usize {
        self.starts.len()
    }

    /// A line by its number, from 1, without its end. Empty where there is none.
    pub fn line<'t>(&self, text: &'t str, number: usize) -> &'t str {
        let Some(start) = number.checked_sub(1).and_then(|at| self.starts.get(at)) else { return "" };
        let end = self.starts.get(number).map_or(text.len(), |next| next - 1);
        let line = text.get(*start..end).unwrap_or_default();
        line.strip_suffix('\r').unwrap_or(line)
    }

    /// The first byte of a line.
    pub fn start(&self, number: usize) -> usize {
        let at = number.saturating_sub(1).min(self.starts.len() - 1);
        self.starts[at]
    }

    /// The byte at a place; the end of the line where it has fewer characters.
    pub fn offset(&self, text: &str, at: Position) -> usize {
        let line = self.line(text, at.line);
        let inside = line.char_indices().nth(at.column.saturating_sub(1)).map_or(line.len(), |(at, _)| at);
        (self.start(at.line) + inside).min(text.len())
    }

    /// The place of a byte.
    pub fn position(&self, text: &str, offset: usize) -> Position {
        let line = self.starts.partition_point(|start| *start <= offset);
        let before = text.get(self.start(line)..offset).unwrap_or_default();
        Position { line, column: before.chars().count() + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_places() {
        let text = "a\r\né: b\n";
        let lines = Lines::of(text);
        assert_eq!(
            (lines.count(), lines.line(text, 1), lines.line(text, 2), lines.line(text, 3)),
            (3, "a", "é: b", "")
        );
        let at = Position { line: 2, column: 4 };
        assert_eq!(&text[lines.offset(text, at)..], "b\n");
        assert_eq!(lines.position(text, lines.offset(text, at)), at);
        assert_eq!(lines.offset(text, Position { line: 2, column: 99 }), text.len() - 1);
        assert_eq!(lines.offset(text, Position { line: 99, column: 1 }), text.len());
    }
}
