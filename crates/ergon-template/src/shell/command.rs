//! What is known of the command that the lexer is at: which of its words may be read as code, as names or as
//! arithmetic by the shell that runs it.

/// Known, or not since it differs between a block's branches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tri {
    No,
    Yes,
    Maybe,
}

impl Tri {
    fn join(self, other: Self) -> Self {
        if self == other { self } else { Self::Maybe }
    }
}

/// A command as far as it has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Command {
    /// The next word is the name of a command.
    start: Tri,
    /// Inside a word.
    pub open: Tri,
    /// The word's text without its quotes; nothing when it differs between branches.
    text: Option<String>,
    quoted: bool,
    redirected: bool,
    evaluates: bool,
    interpreter: bool,
    code_follows: bool,
    declares: bool,
    options: bool,
    names: bool,
    test: bool,
    arithmetic: bool,
    has_value: bool,
    /// After `printf`: the next word is its format, or `-v` and a name.
    format: Tri,
    /// The word has a value; the word before had one.
    value_here: bool,
    value_before: bool,
}

/// A word that was read to its end.
pub(crate) struct Word {
    pub text: String,
    pub start: Tri,
    pub quoted: bool,
    pub interpreter: bool,
    /// It makes arithmetic of a value: of one that the command has, or of what is assigned later.
    pub arithmetic: bool,
}

/// Words after which a command may still begin.
const KEYWORDS: [&str; 16] = [
    "if",
    "then",
    "else",
    "elif",
    "do",
    "while",
    "until",
    "!",
    "{",
    "time",
    "exec",
    "command",
    "env",
    "builtin",
    "noglob",
    "nocorrect",
];
const EVALUATES: [&str; 8] = ["eval", "trap", "alias", "ssh", "source", ".", "fc", "coproc"];
const INTERPRETERS: [&str; 14] = [
    "sh", "bash", "dash", "ash", "zsh", "ksh", "su", "python", "python3", "perl", "ruby", "node", "busybox",
    "sudo",
];
const DECLARES: [&str; 5] = ["export", "readonly", "local", "declare", "typeset"];
/// Those that take names, or numbers that zsh works out.
const NAMES: [&str; 14] = [
    "unset",
    "read",
    "let",
    "getopts",
    "mapfile",
    "readarray",
    "wait",
    "vared",
    "zparseopts",
    "return",
    "exit",
    "shift",
    "break",
    "continue",
];
/// Variables whose values a shell works out as arithmetic or runs.
const SPECIAL: [&str; 27] = [
    "SECONDS",
    "RANDOM",
    "OPTIND",
    "HISTSIZE",
    "SAVEHIST",
    "COLUMNS",
    "LINES",
    "UID",
    "EUID",
    "GID",
    "EGID",
    "LINENO",
    "SHLVL",
    "TMOUT",
    "MAILCHECK",
    "KEYTIMEOUT",
    "LISTMAX",
    "PS0",
    "PS1",
    "PS2",
    "PS3",
    "PS4",
    "PROMPT",
    "PROMPT4",
    "PROMPT_COMMAND",
    "BASH_ENV",
    "ENV",
];
const ARITHMETIC: [&str; 8] = ["-eq", "-ne", "-lt", "-le", "-gt", "-ge", "-v", "-R"];

impl Default for Command {
    fn default() -> Self {
        Self {
            start: Tri::Yes,
            open: Tri::No,
            text: Some(String::new()),
            quoted: false,
            redirected: false,
            evaluates: false,
            interpreter: false,
            code_follows: false,
            declares: false,
            options: false,
            names: false,
            test: false,
            arithmetic: false,
            has_value: false,
            format: Tri::No,
            value_here: false,
            value_before: false,
        }
    }
}

impl Command {
    /// Words none of which is a command.
    pub fn words() -> Self {
        Self { start: Tri::No, ..Self::default() }
    }

    pub fn after_compound(&mut self) {
        *self = Self::words();
    }

    pub fn push(&mut self, c: char) {
        self.open = Tri::Yes;
        if let Some(text) = &mut self.text {
            text.push(c);
        }
    }

    pub fn quote(&mut self) {
        self.open = Tri::Yes;
        self.quoted = true;
    }

    pub fn redirect(&mut self) {
        self.redirected = true;
    }

    pub fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    pub fn is_test(&self) -> bool {
        self.test
    }

    pub fn reset_word(&mut self) {
        self.open = Tri::No;
        self.text = Some(String::new());
        self.quoted = false;
    }

    /// A value stands in the word.
    pub fn value(&mut self, safe: bool) {
        self.open = Tri::Yes;
        self.has_value |= !safe;
        self.value_here |= !safe;
        // Not what the word would be without the value.
        self.push('\u{fffd}');
    }

    pub fn evaluates(&self) -> bool {
        self.evaluates || self.code_follows
    }

    pub fn names_command(&self) -> bool {
        let assigned = self.text.as_deref().is_some_and(is_assignment);
        self.start != Tri::No && !self.redirected && !assigned
    }

    pub fn reads_names(&self) -> bool {
        self.names
            || self.format == Tri::Yes
            || (self.declares && (self.options || !self.text.as_deref().is_some_and(is_assignment)))
    }

    pub fn value_is_arithmetic(&self) -> bool {
        // Two values side by side in a test: the first may be an operator.
        (self.test && (self.arithmetic || self.value_before))
            || self.text.as_deref().is_some_and(sets_special)
    }

    /// `name[`, `$name[` or, in a list, `[`.
    pub fn in_subscript(&self, array: bool) -> bool {
        let Some(text) = self.text.as_deref() else { return true };
        let Some((before, after)) = text.rsplit_once('[') else { return false };
        if after.contains(']') {
            return false;
        }
        let name = before.chars().last().is_some_and(|c| c.is_alphanumeric() || "_$}])\u{fffd}".contains(c));
        name || (array && before.is_empty())
    }

    pub fn end_word(&mut self) -> Option<Word> {
        if self.open == Tri::No {
            return None;
        }
        let start = self.start;
        let known = self.text.take();
        let quoted = self.quoted;
        self.value_before = std::mem::take(&mut self.value_here);
        self.reset_word();
        if std::mem::take(&mut self.redirected) {
            return Some(Word { text: String::new(), start, quoted, interpreter: false, arithmetic: false });
        }
        self.code_follows = false;
        let Some(text) = known else {
            self.start = start.join(Tri::No);
            return Some(Word { text: String::new(), start, quoted, interpreter: false, arithmetic: false });
        };
        let name = text.rsplit('/').next().unwrap_or_default();
        self.evaluates |= EVALUATES.contains(&name);
        self.interpreter |= INTERPRETERS.contains(&name);
        self.declares |= DECLARES.contains(&text.as_str());
        self.names |= NAMES.contains(&text.as_str());
        if text.starts_with(['-', '+']) {
            self.options = true;
            self.code_follows =
                self.interpreter && !text.starts_with("--") && text.contains(['c', 'e', 'E', 'p', 'r']);
        }
        if text == "printf" {
            self.format = Tri::Yes;
        } else if self.format == Tri::Yes && text.starts_with("-v") {
            self.names = true;
        } else if !text.starts_with('-') {
            self.format = Tri::No;
        }
        self.test |= matches!(text.as_str(), "[" | "[[" | "test");
        let arithmetic = self.test && ARITHMETIC.contains(&text.as_str());
        self.arithmetic |= arithmetic;
        if !(text.starts_with('-') || KEYWORDS.contains(&text.as_str()) || is_assignment(&text))
            && start != Tri::No
        {
            self.start = Tri::No;
        }
        let refuse = (arithmetic && self.has_value)
            || (self.declares && text.starts_with('-') && text.contains(['i', 'n', 'E', 'F']))
            || matches!(text.as_str(), "integer" | "float") && start == Tri::Yes;
        Some(Word { text, start, quoted, interpreter: self.interpreter, arithmetic: refuse })
    }

    /// Either of two commands: what may be true of one counts.
    pub fn join(self, other: &Self) -> Self {
        Self {
            start: self.start.join(other.start),
            open: self.open.join(other.open),
            text: if self.text == other.text { self.text } else { None },
            quoted: self.quoted || other.quoted,
            redirected: self.redirected && other.redirected,
            evaluates: self.evaluates || other.evaluates,
            interpreter: self.interpreter || other.interpreter,
            code_follows: self.code_follows || other.code_follows,
            declares: self.declares || other.declares,
            options: self.options || other.options,
            names: self.names || other.names,
            test: self.test || other.test,
            arithmetic: self.arithmetic || other.arithmetic,
            has_value: self.has_value || other.has_value,
            format: if self.format == other.format { self.format } else { Tri::Yes },
            value_here: self.value_here || other.value_here,
            value_before: self.value_before || other.value_before,
        }
    }
}

/// `name=…`
fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        let name = name.strip_suffix('+').unwrap_or(name);
        !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

fn sets_special(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| SPECIAL.contains(&name.trim_end_matches('+')))
}
