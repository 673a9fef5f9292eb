//! Colours and weights, or none.

use ergon_client::Phase;

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

/// How many columns a text takes, escape sequences aside. Wide characters count as one.
pub fn width(text: &str) -> usize {
    let mut width = 0;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            for character in characters.by_ref() {
                if character == 'm' {
                    break;
                }
            }
        } else {
            width += 1;
        }
    }
    width
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
}
