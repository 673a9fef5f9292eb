//! What a place in a shell script is: a word, a quote, a here-document, a comment. The lexer reads the text between a
//! template's tags and says how a value may stand at each of them. Where shells read a text differently, or where it
//! is not known how they do, it refuses: a wrong guess would let a value become code.

mod command;
mod frame;

use command::{Command, Tri};
pub(crate) use frame::Place;
use frame::{Frame, Here, Phase};

/// Why a text or a place is refused, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Bytes from the start of the text that was read; nothing for the place of a tag.
    pub at: usize,
    pub found: String,
    pub instead: String,
}

fn refuse<T>(at: usize, found: &str, instead: &str) -> Result<T, Refusal> {
    Err(Refusal { at, found: found.to_owned(), instead: instead.to_owned() })
}

/// The state between two pieces of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lexer {
    frames: Vec<Frame>,
    pending: Vec<Here>,
    /// How many frames there were at `<<`: the here-document begins at the end of that line, and shells differ in what
    /// that is when something else has begun before it.
    pending_depth: usize,
    /// An interpreter is named on this line: its here-document is code.
    interpreter: bool,
    /// The piece's last characters that could be half of a token.
    tail: Vec<char>,
}

/// How deep quotes, substitutions and `case` may be in each other.
const MAX_DEPTH: usize = 64;

impl Default for Lexer {
    fn default() -> Self {
        Self {
            frames: vec![Frame::Commands { nested: false, after_word: false, command: Command::default() }],
            pending: Vec::new(),
            pending_depth: 0,
            interpreter: false,
            tail: Vec::new(),
        }
    }
}

impl Lexer {
    /// Reads `text`; `last` when no tag follows it.
    pub fn feed(&mut self, text: &str, last: bool) -> Result<(), Refusal> {
        let chars: Vec<(usize, char)> = text.char_indices().collect();
        let Some(&(_, first)) = chars.first() else { return Ok(()) };
        if self.tail.iter().any(|tail| "<>(;=)&$".contains(*tail)) && "<(;)&".contains(first) {
            return refuse(0, "a token that a tag cuts in two", "the whole token on one side of the tag");
        }
        let mut next = 0;
        while let Some(&(at, _)) = chars.get(next) {
            if self.frames.len() > MAX_DEPTH {
                return refuse(at, "quotes and substitutions too deep in each other", "a simpler script");
            }
            next += self.step(&chars[next..], last)?;
        }
        self.tail = chars.last().map(|(_, c)| *c).into_iter().collect();
        Ok(())
    }

    /// Whether the script may end here.
    pub fn finish(mut self) -> Result<(), Refusal> {
        if matches!(self.frames.last(), Some(Frame::Comment)) {
            self.frames.pop();
        }
        if self.frames.len() > 1 || !self.pending.is_empty() {
            return refuse(0, "a quote, substitution, `case` or here-document that does not end", "its end");
        }
        Ok(())
    }

    /// The state after a block of which either branch may have been taken.
    pub fn join(self, other: Self) -> Option<Self> {
        if (self.pending_depth, &self.pending) != (other.pending_depth, &other.pending)
            || self.frames.len() != other.frames.len()
        {
            return None;
        }
        let frames: Option<Vec<Frame>> =
            self.frames.into_iter().zip(other.frames).map(|(one, two)| one.join(two)).collect();
        let mut tail = self.tail;
        tail.extend(other.tail);
        tail.sort_unstable();
        tail.dedup();
        Some(Self {
            frames: frames?,
            pending: self.pending,
            pending_depth: self.pending_depth,
            interpreter: self.interpreter || other.interpreter,
            tail,
        })
    }

    /// One token or character, and how many characters it has.
    fn step(&mut self, rest: &[(usize, char)], last: bool) -> Result<usize, Refusal> {
        let (at, c) = rest[0];
        let peek = |n: usize| rest.get(n).map(|(_, c)| *c);
        if c == '\n'
            && !self.pending.is_empty()
            && self.frames.len() != self.pending_depth
            && !matches!(self.frames.last(), Some(Frame::Comment))
        {
            let instead = "it on its line to the end, or the here-document on another line";
            return refuse(at, "a quote or substitution that goes on where a here-document begins", instead);
        }
        let mut top = self.frames.pop().unwrap_or(Frame::Comment);
        let in_double = matches!(top, Frame::Double)
            || (matches!(top, Frame::Brace)
                && self.frames.iter().any(|f| matches!(f, Frame::Double | Frame::Here(_))));
        match &mut top {
            Frame::Comment if c == '\n' => return Ok(0),
            Frame::Single if c == '\'' => return Ok(1),
            Frame::Backtick if c == '`' => return Ok(1),
            Frame::Double if c == '"' => return Ok(1),
            Frame::Brace if c == '}' => return Ok(1),
            Frame::Comment => {
                self.frames.push(top);
                return Ok(1);
            }
            Frame::Single => {
                self.frames.push(top);
                self.word_text(c);
                return Ok(1);
            }
            Frame::Here(here) if here.quoted => {
                let ended = here.line_char(c).map_err(|()| joined(at))?;
                self.after_here(top, ended);
                return Ok(1);
            }
            _ => {}
        }
        if c == '\\' {
            self.frames.push(top);
            let Some(escaped) = peek(1) else {
                return if last {
                    Ok(1)
                } else {
                    refuse(at, "a backslash before a tag", "the tag without it")
                };
            };
            if let Some(Frame::Here(here)) = self.frames.last_mut() {
                here.escaped(escaped);
            } else if escaped != '\n' {
                self.word_text(escaped);
            }
            return Ok(2);
        }
        if let Frame::Backtick = top {
            self.frames.push(top);
            return Ok(1);
        }
        if c == '`' {
            top.not_a_delimiter();
            self.frames.push(top);
            self.word_text(c);
            self.frames.push(Frame::Backtick);
            return Ok(1);
        }
        if c == '$' {
            if peek(1).is_none() && !last {
                return refuse(at, "a `$` before a tag", "`\\$` for a dollar sign, or the tag alone");
            }
            top.not_a_delimiter();
            let quoting = matches!(top, Frame::Double | Frame::Here(_)) || in_double;
            self.frames.push(top);
            self.word_text(c);
            return match (peek(1), peek(2)) {
                (Some('('), Some('(')) => {
                    self.frames.push(Frame::Arithmetic { depth: 0 });
                    Ok(3)
                }
                (Some('('), None) if !last => refuse(at, "a `$(` right before a tag", "a space between them"),
                (Some('('), _) => {
                    self.frames.push(Frame::Commands {
                        nested: true,
                        after_word: false,
                        command: Command::default(),
                    });
                    Ok(2)
                }
                (Some('{'), _) => {
                    self.frames.push(Frame::Brace);
                    Ok(2)
                }
                (Some('\''), _) if !quoting => {
                    self.frames.push(Frame::Single);
                    self.ansi(&rest[2..], at)
                }
                (Some('"'), _) if !quoting => refuse(at, "a translated string `$\"…\"`", "`\"…\"`"),
                (Some('$' | '#'), _) => Ok(2),
                _ => Ok(1),
            };
        }
        match &mut top {
            Frame::Double => {
                self.frames.push(top);
                self.word_text(c);
                Ok(1)
            }
            Frame::Here(here) => {
                let ended = here.line_char(c).map_err(|()| joined(at))?;
                self.after_here(top, ended);
                Ok(1)
            }
            Frame::Brace => {
                self.frames.push(top);
                match c {
                    '\'' if in_double => {
                        return refuse(at, "a single quote in `\"${…}\"`", "the text without the quote");
                    }
                    '\'' => self.frames.push(Frame::Single),
                    '"' if in_double => {
                        return refuse(at, "a quote in `\"${…}\"`", "the text in a variable of its own");
                    }
                    '"' => self.frames.push(Frame::Double),
                    '{' => return refuse(at, "a brace in `${…}`", "`\\{`"),
                    _ => {}
                }
                Ok(1)
            }
            Frame::Arithmetic { depth } => {
                match c {
                    '(' => *depth += 1,
                    ')' if *depth > 0 => *depth -= 1,
                    ')' if peek(1) == Some(')') => return Ok(2),
                    ')' | '"' | '\'' | '#' | ';' | '\n' => {
                        return refuse(
                            at,
                            "what is not arithmetic in `((…))`",
                            "`( (` with a space, if commands are meant",
                        );
                    }
                    _ => {}
                }
                self.frames.push(top);
                Ok(1)
            }
            _ => {
                self.frames.push(top);
                self.command_char(rest, last)
            }
        }
    }

    /// Goes on in a here-document, or in the one that begins where it ended.
    fn after_here(&mut self, top: Frame, ended: bool) {
        match top {
            Frame::Here(here) if ended => self.frames.extend(here.next.map(|next| Frame::Here(*next))),
            top => self.frames.push(top),
        }
    }

    /// `$'…'`: shells without it end it at the first quote, others at the first that has no backslash.
    fn ansi(&mut self, rest: &[(usize, char)], at: usize) -> Result<usize, Refusal> {
        self.frames.pop();
        let mut escaped = false;
        for (n, (_, c)) in rest.iter().enumerate() {
            match c {
                '\'' if escaped => {
                    return refuse(at, "an escaped quote in `$'…'`", "a string that all shells read alike");
                }
                '\'' => {
                    // What it stands for is not worked out: a word with it is no word that is looked for.
                    self.word_text('\u{fffd}');
                    return Ok(2 + n + 1);
                }
                '\\' => escaped = !escaped,
                _ => escaped = false,
            }
        }
        refuse(at, "a `$'…'` with a tag in it, or without an end", "`\"…\"` around the tag")
    }

    /// Adds to the word that the innermost command is at.
    fn word_text(&mut self, c: char) {
        for frame in self.frames.iter_mut().rev() {
            match frame {
                Frame::Here(_) => return,
                Frame::Commands { command, .. } | Frame::Case { command, .. } | Frame::Array { command } => {
                    return command.push(c);
                }
                _ => {}
            }
        }
    }

    fn command(&mut self) -> &mut Command {
        let at = self.frames.iter().rposition(|f| f.command().is_some()).unwrap_or(0);
        match &mut self.frames[at] {
            Frame::Commands { command, .. } | Frame::Case { command, .. } | Frame::Array { command } => {
                command
            }
            _ => unreachable!("the first frame has a command"),
        }
    }

    fn in_nested(&self) -> bool {
        self.frames.iter().any(|f| matches!(f, Frame::Commands { nested: true, .. } | Frame::Case { .. }))
    }

    /// A character outside all quotes.
    fn command_char(&mut self, rest: &[(usize, char)], last: bool) -> Result<usize, Refusal> {
        let (at, c) = rest[0];
        let peek = |n: usize| rest.get(n).map(|(_, c)| *c);
        let open = self.command().open;
        match c {
            '\'' | '"' => {
                self.command().quote();
                self.frames.push(if c == '"' { Frame::Double } else { Frame::Single });
                Ok(1)
            }
            '#' if open == Tri::No => {
                self.frames.push(Frame::Comment);
                Ok(1)
            }
            '#' if open == Tri::Maybe => {
                refuse(at, "a `#` that may begin a comment or not", "a space, or the text in the block")
            }
            ' ' | '\t' => {
                self.end_word(at)?;
                Ok(1)
            }
            '<' if peek(1) == Some('<') && peek(2) == Some('<') => {
                self.end_word(at)?;
                Ok(3)
            }
            '<' if peek(1) == Some('<') => {
                self.end_word(at)?;
                let (here, length) = Here::read(&rest[2..], last).ok_or_else(|| {
                    refusal(
                        at,
                        "a here-document without a plain delimiter",
                        "`<<EOF`, followed by a new line",
                    )
                })?;
                self.pending.push(here);
                self.pending_depth = self.frames.len();
                Ok(2 + length)
            }
            '<' | '>' => {
                self.end_word(at)?;
                if peek(1) == Some('(') {
                    self.command().push(c);
                    self.frames.push(Frame::Commands {
                        nested: true,
                        after_word: false,
                        command: Command::default(),
                    });
                    return Ok(2);
                }
                self.command().redirect();
                // `>&`, `<&`, `>|` and `<>` are one token.
                Ok(if peek(1).is_some_and(|c| "&|>".contains(c)) { 2 } else { 1 })
            }
            ';' | '&' | '|' | '\n' => {
                self.end_word(at)?;
                self.separator(rest)
            }
            '(' => self.open_paren(rest),
            ')' => self.close_paren(at),
            _ => {
                self.command().push(c);
                Ok(1)
            }
        }
    }

    fn separator(&mut self, rest: &[(usize, char)]) -> Result<usize, Refusal> {
        let (at, c) = rest[0];
        let peek = |n: usize| rest.get(n).map(|(_, c)| *c);
        if let Some(Frame::Array { command }) = self.frames.last_mut() {
            if c == '\n' {
                command.reset_word();
                return Ok(1);
            }
            return refuse(at, "a command in a list of words", "words alone");
        }
        if let Some(Frame::Case { phase, command }) = self.frames.last_mut() {
            if *phase == Phase::Pattern && matches!(c, '|' | '\n') {
                command.reset_word();
                if c == '|' {
                    return Ok(1);
                }
            } else if *phase == Phase::Body && c == ';' && matches!(peek(1), Some(';' | '&' | '|')) {
                *phase = Phase::Pattern;
                *command = Command::default();
                return Ok(if peek(1) == Some(';') && peek(2) == Some('&') { 3 } else { 2 });
            }
        }
        if c == '&' && peek(1) == Some('>') {
            self.command().redirect();
            return Ok(2);
        }
        *self.command() = Command::default();
        if c == '\n' {
            let mut chain = None;
            self.pending_depth = 0;
            for mut here in std::mem::take(&mut self.pending).into_iter().rev() {
                here.code = self.interpreter;
                here.next = chain.map(Box::new);
                chain = Some(here);
            }
            self.interpreter = false;
            self.frames.extend(chain.map(Frame::Here));
        }
        Ok(1)
    }

    fn open_paren(&mut self, rest: &[(usize, char)]) -> Result<usize, Refusal> {
        let (at, _) = rest[0];
        let next = rest.get(1).map(|(_, c)| *c);
        if let Some(Frame::Case { phase: Phase::Pattern, command }) = self.frames.last_mut() {
            if command.open == Tri::No {
                return Ok(1);
            }
            return refuse(at, "a parenthesis in a pattern", "patterns with `|`");
        }
        let command = self.command();
        if command.open == Tri::Yes && command.text().is_some_and(|text| text.ends_with('=')) {
            self.frames.push(Frame::Array { command: Command::words() });
            return Ok(1);
        }
        if command.is_test() || (command.open != Tri::No && next != Some(')')) {
            return refuse(at, "a parenthesis in a word or a condition", "the pattern in a variable");
        }
        if command.open == Tri::No && next == Some('(') {
            self.frames.push(Frame::Arithmetic { depth: 0 });
            return Ok(2);
        }
        let after_word = command.open != Tri::No;
        self.frames.push(Frame::Commands { nested: true, after_word, command: Command::default() });
        Ok(1)
    }

    fn close_paren(&mut self, at: usize) -> Result<usize, Refusal> {
        self.end_word(at)?;
        if !self.pending.is_empty() {
            return refuse(
                at,
                "a here-document whose line ends in `)`",
                "the parenthesis on the line after its end",
            );
        }
        match self.frames.last_mut() {
            Some(Frame::Case { phase, command }) if *phase == Phase::Pattern => {
                *phase = Phase::Body;
                *command = Command::default();
            }
            Some(Frame::Array { .. }) => {
                self.frames.pop();
            }
            Some(Frame::Commands { nested: true, after_word, .. }) => {
                let after_word = *after_word;
                self.frames.pop();
                if after_word {
                    *self.command() = Command::default();
                }
            }
            _ => return refuse(at, "a `)` that closes nothing", "the `(` or the `case` that it belongs to"),
        }
        Ok(1)
    }

    /// A word is over: keywords open and close `case`.
    fn end_word(&mut self, at: usize) -> Result<(), Refusal> {
        let nested = self.in_nested();
        let command = self.command();
        let Some(word) = command.end_word() else { return Ok(()) };
        self.interpreter |= word.interpreter;
        if word.arithmetic {
            return refuse(
                at,
                "a value that this command may read as arithmetic",
                "a parameter of type number, or `=`",
            );
        }
        match (self.frames.last_mut(), word.text.as_str()) {
            (Some(Frame::Case { phase: phase @ Phase::Subject, command }), "in") => {
                *phase = Phase::Pattern;
                *command = Command::words();
            }
            (Some(Frame::Case { phase: Phase::Pattern, .. }), "esac") => self.end_case(),
            (Some(Frame::Case { phase: Phase::Body, .. }), "esac") if word.start == Tri::Yes => {
                self.end_case();
            }
            (_, "case") if word.start == Tri::Yes && !word.quoted => {
                self.frames.push(Frame::Case { phase: Phase::Subject, command: Command::words() });
            }
            (Some(Frame::Case { phase: Phase::Body, .. }), "esac" | "case") if !word.quoted => {
                return refuse(
                    at,
                    "a `case` or `esac` in the middle of a command",
                    "it on a line of its own, or in quotes",
                );
            }
            (_, "case") if !word.quoted && (nested || word.start == Tri::Maybe) => {
                return refuse(
                    at,
                    "a `case` in the middle of a command",
                    "it on a line of its own, or in quotes",
                );
            }
            _ => {}
        }
        Ok(())
    }

    fn end_case(&mut self) {
        self.frames.pop();
        self.command().after_compound();
    }
}

fn refusal(at: usize, found: &str, instead: &str) -> Refusal {
    Refusal { at, found: found.to_owned(), instead: instead.to_owned() }
}

fn joined(at: usize) -> Refusal {
    refusal(at, "a here-document's end after a continued line", "the line before it without its backslash")
}
