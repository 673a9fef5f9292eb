//! What was found, where, and how it is mended.

use std::fmt;
use std::ops::Range;

use ergon_api::Position;

use crate::Rule;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Worth knowing.
    Info,
    /// It works, and should not be done.
    Warning,
    /// It is refused, or cannot work.
    Error,
}

impl Level {
    /// All levels, the least first.
    pub const ALL: [Self; 3] = [Self::Info, Self::Warning, Self::Error];

    /// The level's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something that a rule has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule.
    pub rule: &'static Rule,
    /// How bad it is here.
    pub level: Level,
    /// The file, as it was named by the caller.
    pub file: String,
    /// Where it begins.
    pub start: Position,
    /// The first place behind it; never before `start`.
    pub end: Position,
    /// The field, such as `spec.steps[0].image`; empty where none is known.
    pub path: String,
    /// What is wrong, as a fragment in lower case.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
    /// The edits that mend it, where that is mechanical.
    pub fix: Option<Fix>,
}

/// Edits of one file that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fix {
    /// What they do, as an order.
    pub title: String,
    /// The edits, none of which overlaps another.
    pub edits: Vec<Edit>,
    /// Whether it is surely what was meant, and is done without asking.
    pub is_sure: bool,
}

/// A part of a file's text, in bytes, and what is written in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    pub range: Range<usize>,
    pub text: String,
}
