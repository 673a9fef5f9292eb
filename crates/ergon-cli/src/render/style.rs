//! Colours and weights, or none.

use ergon_client::Phase;
use unicode_width::UnicodeWidthChar;

/// Whether to use escape sequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    coloured: bool,
}

/// Colours that can be told apart on dark and light ground, for tasks.
const PALETTE: [u8; 6] = [36, 35, 34, 33, 32, 96];

impl Style {
    /// With escape sequences, or without.
    pub const fn new(coloured: bool) -> Self {
        Self { coloured }
    }

    /// No escape sequences.
    pub const PLAIN: Self = Self::new(false);

    fn paint(self, code: u8, text: &str) -> String {
        if self.coloured && !text.is_empty() {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }

    pub fn bold(self, text: &str) -> String {
        self.paint(1, text)
    }

    pub fn dim(self, text: &str) -> String {
        self.paint(2, text)
    }

    pub fn red(self, text: &str) -> String {
        self.paint(31, text)
    }

    pub fn green(self, text: &str) -> String {
        self.paint(32, text)
    }

    pub fn yellow(self, text: &str) -> String {
        self.paint(33, text)
    }

    pub fn blue(self, text: &str) -> String {
        self.paint(34, text)
    }

    /// The colour of the n-th task.
    pub fn nth(self, n: usize, text: &str) -> String {
        self.paint(PALETTE[n % PALETTE.len()], text)
    }

    /// A phase in its colour.
    pub fn phase(self, phase: Phase) -> String {
        self.in_phase(phase, phase.word())
    }

    /// A text in the colour of a phase.
    pub fn in_phase(self, phase: Phase, text: &str) -> String {
        match phase {
            Phase::Pending => self.dim(text),
            Phase::Running => self.blue(text),
            Phase::Succeeded => self.green(text),
            Phase::Failed => self.red(text),
            Phase::Cancelled => self.yellow(text),
        }
    }
}

/// How many columns a text takes, escape sequences aside.
pub fn width(text: &str) -> usize {
    pieces(text).map(|(_, columns)| columns).sum()
}

/// A text without what is beyond so many columns; what is cut off is told by a sign.
pub fn clip(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let (mut clipped, mut used) = (String::new(), 0);
    let mut full = false;
    for (piece, takes) in pieces(text) {
        // Colours end where they would have ended.
        full |= used + takes + 1 > columns && takes > 0;
        if takes == 0 {
            clipped.push_str(piece);
        } else if !full {
            clipped.push_str(piece);
            used += takes;
        } else if used < columns {
            clipped.push('…');
            used = columns;
        }
    }
    clipped
}

/// The characters of a text, and its escape sequences as one each, with the columns that they take.
fn pieces(text: &str) -> impl Iterator<Item = (&str, usize)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let (end, columns) = if first == '\u{1b}' {
            (rest.find('m').map_or(rest.len(), |end| end + 1), 0)
        } else {
            (first.len_utf8(), first.width().unwrap_or(0))
        };
        let (piece, after) = rest.split_at(end);
        rest = after;
        Some((piece, columns))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_take_no_room() {
        let style = Style::new(true);
        assert_eq!(style.red("abc"), "\u{1b}[31mabc\u{1b}[0m");
        assert_eq!(width(&style.red("abc")), 3);
        assert_eq!(Style::PLAIN.red("abc"), "abc");
    }

    #[test]
    fn what_is_too_long_is_cut_and_colours_end() {
        for (text, columns, wanted) in [
            ("abc", 3, "abc"),
            ("abcd", 3, "ab…"),
            ("世界世界", 5, "世界…"),
            ("世界世界", 4, "世…"),
            ("\u{1b}[31mabcd\u{1b}[0m", 3, "\u{1b}[31mab…\u{1b}[0m"),
            ("abc", 0, ""),
        ] {
            let clipped = clip(text, columns);
            assert_eq!(clipped, wanted);
            assert!(width(&clipped) <= columns);
        }
    }
}
