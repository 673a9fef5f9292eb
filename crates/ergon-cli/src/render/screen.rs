//! The last lines of a terminal, which are drawn anew all the time, below lines that stay.

use std::fmt::Write as _;
use std::io::Write as _;

use super::style::width;

/// What is used where a terminal does not say how large it is.
const USUAL: (usize, usize) = (80, 24);

/// What is drawn on stderr.
#[derive(Debug, Default)]
pub struct Screen {
    /// The width of each line that is drawn.
    drawn: Vec<usize>,
}

impl Screen {
    /// Columns and rows of the terminal.
    pub fn size() -> (usize, usize) {
        let size = rustix::termios::tcgetwinsize(std::io::stderr()).ok();
        let size = size.filter(|size| size.ws_col > 0 && size.ws_row > 0);
        size.map_or(USUAL, |size| (usize::from(size.ws_col), usize::from(size.ws_row)))
    }

    /// Takes away what is drawn.
    pub fn clear(&mut self) {
        self.replace(&[], Self::size().0);
    }

    /// Draws lines, none of which may be wider than the terminal, in the place of those before.
    pub fn draw(&mut self, lines: &[String], columns: usize) {
        self.replace(lines, columns);
    }

    fn replace(&mut self, lines: &[String], columns: usize) {
        let text = frame(&self.drawn, lines, columns);
        self.drawn = lines.iter().map(|line| width(line)).collect();
        if !text.is_empty() {
            let mut stderr = std::io::stderr().lock();
            // Nothing depends on it.
            let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
        }
    }
}

/// From the lines that are there to the new ones, in one piece so that nothing flickers.
fn frame(drawn: &[usize], lines: &[String], columns: usize) -> String {
    let mut text = String::new();
    // A terminal that has become narrower has wrapped them.
    let rows: usize = drawn.iter().map(|width| width.div_ceil(columns.max(1)).max(1)).sum();
    if rows > 0 {
        let _ = write!(text, "\u{1b}[{rows}A\r\u{1b}[J");
    }
    for line in lines {
        text.push_str(line);
        text.push_str("\r\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_drawn_is_taken_away_wholly() {
        let lines = ["one".to_owned(), "two".to_owned()];
        assert_eq!(frame(&[], &lines, 10), "one\r\ntwo\r\n");
        assert_eq!(frame(&[3, 3], &lines[..1], 10), "\u{1b}[2A\r\u{1b}[Jone\r\n");
        // Twenty columns on a terminal that has ten now are two rows, eleven as well.
        assert_eq!(frame(&[20, 11, 0], &[], 10), "\u{1b}[5A\r\u{1b}[J");
        assert_eq!(frame(&[], &[], 10), "");
    }
}
