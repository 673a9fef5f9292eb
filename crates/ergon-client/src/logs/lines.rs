//! From the bytes of a log to lines with times, and what to skip when a log is opened again.

use futures::{AsyncBufRead, AsyncBufReadExt};
use jiff::Timestamp;

/// The longest piece of a line that is held at once, in bytes.
const PIECE: usize = 64 * 1024;

/// Reads lines of bounded length.
#[derive(Debug)]
pub struct Lines<R> {
    reader: R,
    buffer: Vec<u8>,
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    pub fn new(reader: R) -> Self {
        Self { reader, buffer: Vec::new() }
    }

    /// The next line without its end, or the next piece of a long one; `None` at the end. Can be cancelled and called
    /// again without loss.
    pub async fn next(&mut self) -> std::io::Result<Option<String>> {
        loop {
            let bytes = self.reader.fill_buf().await?;
            if bytes.is_empty() {
                return Ok((!self.buffer.is_empty()).then(|| self.take()));
            }
            let room = PIECE - self.buffer.len();
            let bytes = &bytes[..bytes.len().min(room)];
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let used = end.map_or(bytes.len(), |at| at + 1);
            self.buffer.extend_from_slice(&bytes[..end.unwrap_or(bytes.len())]);
            self.reader.consume_unpin(used);
            if end.is_some() || self.buffer.len() == PIECE {
                return Ok(Some(self.take()));
            }
        }
    }

    fn take(&mut self) -> String {
        let text = String::from_utf8_lossy(&self.buffer).into_owned();
        self.buffer.clear();
        text
    }
}

/// Splits the time off that the kubelet puts before each line. The rest of a long line has none.
pub fn split_time(line: &str) -> (Option<Timestamp>, &str) {
    match line.split_once(' ') {
        Some((time, text)) => match time.parse() {
            Ok(time) => (Some(time), text),
            Err(_) => (None, line),
        },
        None => match line.parse() {
            Ok(time) => (Some(time), ""),
            Err(_) => (None, line),
        },
    }
}

/// How far a log was read. A log can be opened again only from a whole second, so what was read of that second comes
/// once more and must be skipped.
#[derive(Debug, Clone, Default)]
pub struct Position {
    /// The time of the last line that was handed on.
    last: Option<Timestamp>,
    /// How many lines of that time were handed on.
    at_last: usize,
    /// How many lines of that time came since the log was opened again.
    again: usize,
    /// The line before was new.
    new: bool,
}

impl Position {
    /// From when to open the log, a whole second; `None` for its beginning. The request would round to the nearest
    /// second and leave lines out.
    pub fn since(&self) -> Option<Timestamp> {
        self.last.map(|last| Timestamp::from_second(last.as_second()).unwrap_or(last))
    }

    /// Says that the log was opened again from [`Position::since`].
    pub fn reopened(&mut self) {
        self.again = 0;
        self.new = true;
    }

    /// True when the line is new.
    pub fn advance(&mut self, time: Option<Timestamp>) -> bool {
        // The rest of a long line belongs to the line before it.
        let Some(time) = time else { return self.new };
        self.new = match self.last {
            Some(last) if time < last => false,
            Some(last) if time == last => {
                self.again += 1;
                let new = self.again > self.at_last;
                self.at_last = self.at_last.max(self.again);
                new
            }
            _ => {
                self.last = Some(time);
                self.at_last = 1;
                self.again = 1;
                true
            }
        };
        self.new
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use futures::io::{BufReader, Cursor};

    use super::*;

    fn read(bytes: &[u8], capacity: usize) -> Vec<String> {
        let mut lines = Lines::new(BufReader::with_capacity(capacity, Cursor::new(bytes)));
        let mut all = Vec::new();
        while let Some(line) = block_on(lines.next()).unwrap() {
            all.push(line);
        }
        all
    }

    #[test]
    fn lines_are_whole_however_the_bytes_come() {
        for capacity in [1, 3, 100] {
            assert_eq!(read(b"one\n\ntwo\nend", capacity), ["one", "", "two", "end"]);
            assert_eq!(read(b"a\xffb\n", capacity), ["a\u{fffd}b"]);
        }
    }

    #[test]
    fn a_long_line_comes_in_pieces() {
        let mut bytes = vec![b'x'; PIECE + 5];
        bytes.push(b'\n');
        let lengths: Vec<usize> = read(&bytes, 8192).iter().map(String::len).collect();
        assert_eq!(lengths, [PIECE, 5]);
    }

    #[test]
    fn the_time_comes_off() {
        let (time, text) = split_time("2026-01-02T03:04:05.000000006Z hello  world");
        assert_eq!(time.unwrap().to_string(), "2026-01-02T03:04:05.000000006Z");
        assert_eq!(text, "hello  world");
        assert_eq!(split_time("2026-01-02T03:04:05Z").1, "");
        assert_eq!(split_time("no time"), (None, "no time"));
    }

    /// Reads logs one after another as if each were opened where the one before broke off.
    fn kept(parts: &[&[(u32, &str)]]) -> String {
        let mut position = Position::default();
        let mut kept = String::new();
        for part in parts {
            position.reopened();
            for (nanosecond, text) in *part {
                if position.advance(Some(Timestamp::new(1, i32::try_from(*nanosecond).unwrap()).unwrap())) {
                    kept.push_str(text);
                }
            }
        }
        kept
    }

    #[test]
    fn opening_again_repeats_nothing_and_loses_nothing() {
        assert_eq!(kept(&[&[(1, "a"), (2, "b")], &[(1, "a"), (2, "b"), (3, "c")]]), "abc");
        assert_eq!(
            kept(&[&[(1, "a"), (2, "b"), (2, "c")], &[(2, "b"), (2, "c"), (2, "d"), (2, "e")]]),
            "abcde"
        );
        assert_eq!(kept(&[&[(1, "a")], &[(1, "a")], &[(1, "a"), (2, "b")]]), "ab");
        assert_eq!(kept(&[&[(5, "a"), (5, "b")]]), "ab");
    }
}
