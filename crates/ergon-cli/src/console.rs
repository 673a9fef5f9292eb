//! Where output goes: data to stdout, talk to stderr, colours only where somebody can see them.

use std::io::{IsTerminal, Write};

use jiff::Timestamp;

use crate::failure::Result;
use crate::render::Style;

/// The two streams and what they can show.
#[derive(Debug, Clone, Copy)]
pub struct Console {
    /// How to write to stdout.
    pub out: Style,
    /// How to write to stderr.
    pub err: Style,
    /// Both are terminals: progress may be drawn.
    pub live: bool,
}

#[expect(clippy::unused_self, reason = "where it writes is the console's business, not the callers'")]
impl Console {
    /// The streams of this process.
    pub fn of_process() -> Self {
        let allowed = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let (out, err) = (std::io::stdout().is_terminal(), std::io::stderr().is_terminal());
        Self { out: Style::new(allowed && out), err: Style::new(allowed && err), live: out && err }
    }

    /// Writes data, as it is.
    pub fn print(self, text: &str) -> Result {
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        stdout.flush()?;
        Ok(())
    }

    /// Writes one line of data.
    pub fn line(self, text: &str) -> Result {
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        stdout.write_all(b"\n")?;
        stdout.flush()?;
        Ok(())
    }

    /// Writes a sentence for people. Nothing depends on it, so trouble with stderr is ignored.
    pub fn say(self, text: &str) {
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }

    /// Writes what to do next.
    pub fn hint(self, text: &str) {
        self.say(&format!("{} {text}", self.err.bold("hint:")));
    }

    /// The time, for ages.
    pub fn now(self) -> Timestamp {
        Timestamp::now()
    }
}
