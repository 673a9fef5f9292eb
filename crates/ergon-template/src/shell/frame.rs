//! What the lexer is in, and how a value may stand there.

use super::command::Command;
use super::{Lexer, Refusal, refusal};

/// How a value may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A bare word, or a part of one.
    Word,
    /// Inside `"…"`, or in a here-document.
    Double,
    /// Inside `'…'`.
    Single,
    /// Inside `((…))`.
    Arithmetic,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Commands {
        nested: bool,
        after_word: bool,
        command: Command,
    },
    Case {
        phase: Phase,
        command: Command,
    },
    /// `name=(…)`.
    Array {
        command: Command,
    },
    Double,
    Single,
    /// `${…}`.
    Brace,
    Backtick,
    Arithmetic {
        depth: usize,
    },
    Comment,
    Here(Here),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Subject,
    Pattern,
    Body,
}

/// A here-document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Here {
    pub quoted: bool,
    /// `<<-`: tabs at the start of a line do not count.
    strip: bool,
    delimiter: String,
    /// The line so far, while it may still be the delimiter.
    line: Option<String>,
    /// The line continues the one before it: shells differ in whether it may be the delimiter.
    continued: bool,
    /// What an interpreter reads as its program.
    pub code: bool,
    /// The here-document that begins where this one ends.
    pub next: Option<Box<Here>>,
}

impl Here {
    /// Reads what stands after `<<`, and how many characters that has.
    pub fn read(rest: &[(usize, char)], last: bool) -> Option<(Self, usize)> {
        let mut chars = rest.iter().map(|(_, c)| *c).peekable();
        let mut length = 0;
        let strip = chars.next_if_eq(&'-').is_some();
        length += usize::from(strip);
        while chars.next_if(|c| matches!(c, ' ' | '\t')).is_some() {
            length += 1;
        }
        let quote = chars.next_if(|c| matches!(c, '\'' | '"'));
        let mut delimiter = String::new();
        while let Some(c) = chars.next_if(|c| c.is_ascii_alphanumeric() || "_-.".contains(*c)) {
            delimiter.push(c);
        }
        length += delimiter.len();
        if let Some(quote) = quote {
            chars.next_if_eq(&quote)?;
            length += 2;
        }
        // The delimiter is whole only if what follows is here, and no part of the word.
        let whole = match chars.peek() {
            Some(c) => " \t\n;|&)<>".contains(*c),
            None => last,
        };
        let here = Self {
            quoted: quote.is_some(),
            strip,
            delimiter,
            line: Some(String::new()),
            continued: false,
            code: false,
            next: None,
        };
        (whole && !here.delimiter.is_empty()).then_some((here, length))
    }

    /// Whether the here-document ends with this character; an error where shells differ in that.
    pub fn line_char(&mut self, c: char) -> Result<bool, ()> {
        if c == '\n' {
            let ends = self.line.as_deref() == Some(self.delimiter.as_str());
            let continued = std::mem::take(&mut self.continued);
            self.line = Some(String::new());
            return if ends && continued { Err(()) } else { Ok(ends) };
        }
        if let Some(line) = &mut self.line
            && !(c == '\t' && self.strip && line.is_empty())
        {
            line.push(c);
            if !self.delimiter.starts_with(line.as_str()) {
                self.line = None;
            }
        }
        Ok(false)
    }

    /// A backslash and what stands after it.
    pub fn escaped(&mut self, c: char) {
        if c == '\n' {
            // What is before the backslash may make the delimiter together with what follows.
            self.continued = true;
            self.line = Some(String::new());
        } else {
            self.line = None;
        }
    }
}

impl Frame {
    pub fn command(&self) -> Option<&Command> {
        match self {
            Self::Commands { command, .. } | Self::Case { command, .. } | Self::Array { command } => {
                Some(command)
            }
            _ => None,
        }
    }

    pub fn not_a_delimiter(&mut self) {
        if let Self::Here(here) = self {
            here.line = None;
        }
    }

    pub fn join(self, other: Self) -> Option<Self> {
        match (self, other) {
            (
                Self::Commands { nested, after_word, command },
                Self::Commands { nested: nested2, after_word: after2, command: command2 },
            ) if (nested, after_word) == (nested2, after2) => {
                Some(Self::Commands { nested, after_word, command: command.join(&command2) })
            }
            (Self::Case { phase, command }, Self::Case { phase: phase2, command: command2 })
                if phase == phase2 =>
            {
                Some(Self::Case { phase, command: command.join(&command2) })
            }
            (Self::Array { command }, Self::Array { command: command2 }) => {
                Some(Self::Array { command: command.join(&command2) })
            }
            (one, two) => (one == two).then_some(one),
        }
    }
}

impl Lexer {
    /// How a value may stand here. `number` is one that is known to be a number, `constrained` one that can only be
    /// what the author of the task allows.
    pub fn place(&mut self, number: bool, constrained: bool) -> Result<Place, Refusal> {
        let refuse = |found: &str, instead: &str| Err(refusal(0, found, instead));
        let safe = number || constrained;
        for command in self.frames.iter().filter_map(Frame::command) {
            if command.evaluates() && !safe {
                return refuse(
                    "a value in what a command reads as code",
                    "the code in single quotes and the value as an argument after it: `sh -c 'echo \"$1\"' sh {{…}}`",
                );
            }
        }
        let place = match self.frames.last_mut() {
            Some(Frame::Comment) => {
                return refuse("a value in a comment", "the comment without it, or `{{! … }}`");
            }
            Some(Frame::Backtick) => return refuse("a value in backticks", "`$(…)`"),
            Some(Frame::Brace) => {
                return refuse("a value in `${…}`", "a variable that it was assigned to before");
            }
            Some(Frame::Here(here)) if here.code && !safe => {
                return refuse(
                    "a value in a here-document that is a program",
                    "the value as an argument of the program",
                );
            }
            Some(Frame::Here(here)) if here.quoted => {
                return refuse(
                    "a value in a here-document with a quoted delimiter",
                    "the delimiter without its quotes",
                );
            }
            Some(Frame::Here(_) | Frame::Double) => Place::Double,
            Some(Frame::Single) => Place::Single,
            Some(Frame::Arithmetic { .. }) if number => return Ok(Place::Arithmetic),
            Some(Frame::Arithmetic { .. }) => {
                return refuse(
                    "a value in arithmetic that may not be a number",
                    "a parameter of `type: number`",
                );
            }
            _ => Place::Word,
        };
        if let Some(top) = self.frames.last_mut() {
            top.not_a_delimiter();
        }
        self.tail.clear();
        if self.frames.last().is_some_and(|top| matches!(top, Frame::Here(_))) {
            return Ok(place);
        }
        let array = matches!(self.frames.last(), Some(Frame::Array { .. }));
        let pattern = self.frames.iter().rev().find(|f| f.command().is_some());
        let names_command =
            matches!(pattern, Some(Frame::Commands { .. } | Frame::Case { phase: Phase::Body, .. }));
        let command = self.command();
        if !safe {
            if command.in_subscript(array) {
                return refuse(
                    "a value in a subscript, which is arithmetic",
                    "a parameter of `type: number`",
                );
            }
            if names_command && command.names_command() {
                return refuse(
                    "a value as the name of a command",
                    "the command's name, or a parameter with an `enum`",
                );
            }
            if command.reads_names() {
                return refuse("a value where this command wants a variable's name", "`name={{…}}`");
            }
            if command.value_is_arithmetic() {
                return refuse(
                    "a value that this command may read as arithmetic",
                    "a parameter of `type: number`, or `=`",
                );
            }
        }
        command.value(safe);
        Ok(place)
    }
}
