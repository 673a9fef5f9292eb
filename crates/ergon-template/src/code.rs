//! Scripts in Python, Node, Ruby and Perl: whether a value may stand where a tag is, and how it is written there.
//!
//! A text is written by the hexadecimal digits of its bytes, so it could not be code anywhere. That the place is one for
//! an expression is checked for the author's sake: inside a text or a comment the tag would mean nothing.

use serde_json::Value;

use crate::helper::as_text;
use crate::language::Language;
use crate::shell::Refusal;

/// What the scanner is in.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Mode {
    /// With the brackets that are open, if it is inside of a text.
    Code(Option<usize>),
    /// Up to the end of the line.
    Comment,
    /// Up to a line that begins like this.
    Pages(&'static str),
    /// `/* … */`.
    Block,
    Text(Text),
    /// The text of a here-document begins with the next line.
    Here(Vec<String>, String),
    /// What follows the program.
    Data,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Text {
    end: String,
    /// What opens another level of the same brackets, and how many are open.
    open: Option<char>,
    depth: usize,
    /// A backslash means something.
    escapes: bool,
    /// `${…}` in it is code.
    holes: bool,
    /// `[…]` in it hides its end.
    class: Option<bool>,
    /// Parts that follow it, as in `s/…/…/`.
    more: usize,
}

/// The state between two pieces of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scanner {
    language: Language,
    modes: Vec<Mode>,
    pending: Vec<String>,
    /// The last character that is no space, and the word that it ends.
    last: Option<char>,
    word: String,
    /// The last character.
    touching: Option<char>,
    /// A value stands right before.
    after_value: bool,
}

const KEYWORDS: [&str; 34] = [
    "return",
    "typeof",
    "case",
    "in",
    "of",
    "delete",
    "void",
    "throw",
    "new",
    "and",
    "or",
    "not",
    "if",
    "unless",
    "while",
    "until",
    "when",
    "split",
    "grep",
    "map",
    "push",
    "join",
    "x",
    "do",
    "else",
    "elsif",
    "then",
    "puts",
    "print",
    "yield",
    "await",
    "instanceof",
    "lt",
    "gt",
];

fn refuse<T>(found: &str, instead: &str) -> Result<T, Refusal> {
    Err(Refusal { at: 0, found: found.to_owned(), instead: instead.to_owned() })
}

impl Scanner {
    pub fn new(language: Language) -> Self {
        Self {
            language,
            modes: vec![Mode::Code(None)],
            pending: Vec::new(),
            last: None,
            word: String::new(),
            touching: None,
            after_value: false,
        }
    }

    /// Reads what stands between two tags.
    pub fn feed(&mut self, text: &str) -> Result<(), Refusal> {
        let chars: Vec<char> = text.chars().collect();
        let Some(first) = chars.first() else { return Ok(()) };
        if std::mem::take(&mut self.after_value) && (is_word(*first) || "'\"`".contains(*first)) {
            return refuse("a value that something is joined to", "a space, or an operator between them");
        }
        let mut at = 0;
        while at < chars.len() {
            at += self.step(&chars[at..]).max(1);
        }
        self.touching = chars.last().copied();
        Ok(())
    }

    /// Whether a value may stand here.
    pub fn place(&mut self) -> Result<(), Refusal> {
        let first = "the value on a line before, in a variable, and the variable here";
        match self.modes.last() {
            Some(Mode::Code(_)) => {}
            Some(Mode::Comment | Mode::Block | Mode::Pages(_) | Mode::Data) => {
                return refuse("a value in a comment", "the comment without it, or `{{! … }}`");
            }
            Some(Mode::Text(text)) if text.holes => {
                return refuse(
                    "a value inside a text",
                    "`${ {{…}} }`, or the text's parts and the value with a `+`",
                );
            }
            Some(Mode::Text(_)) => {
                let instead = match self.language {
                    Language::Perl => "the text's parts and the value with a `.` between them",
                    _ => "the text's parts and the value with a `+` between them",
                };
                return refuse("a value inside a text", instead);
            }
            Some(Mode::Here(..)) | None => return refuse("a value inside a here-document", first),
        }
        if self.after_value
            || self.touching.is_some_and(|c| is_word(c) || "'\"`$@&\\".contains(c))
            || (self.touching == Some('%') && self.language == Language::Perl)
        {
            return refuse(
                "a value that is joined to what stands before it",
                "a space, or an operator between them",
            );
        }
        self.after_value = true;
        self.touching = None;
        self.last = Some(')');
        self.word.clear();
        Ok(())
    }

    /// The state after a block of which either branch may have been taken.
    pub fn join(mut self, other: &Self) -> Option<Self> {
        if self.modes != other.modes || self.pending != other.pending {
            return None;
        }
        self.after_value |= other.after_value;
        if self.touching != other.touching {
            // What is known of neither is taken for what is refused least.
            self.touching = None;
        }
        Some(self)
    }

    /// Reads one token, and says how many characters it has.
    fn step(&mut self, rest: &[char]) -> usize {
        let c = rest[0];
        match self.modes.last_mut() {
            Some(Mode::Comment) => {
                if c == '\n' {
                    self.modes.pop();
                    return self.step(rest);
                }
                1
            }
            Some(Mode::Block) => {
                if rest.starts_with(&['*', '/']) {
                    self.modes.pop();
                    return 2;
                }
                1
            }
            Some(Mode::Pages(end)) => {
                let line: String = rest.iter().take_while(|c| **c != '\n').collect();
                if line.starts_with(*end) {
                    self.modes.pop();
                }
                line.chars().count() + 1
            }
            Some(Mode::Data) => rest.len(),
            Some(Mode::Here(ends, line)) => {
                if c != '\n' {
                    line.push(c);
                    return 1;
                }
                if ends.first().is_some_and(|end| line.trim() == end) {
                    ends.remove(0);
                }
                line.clear();
                if ends.is_empty() {
                    self.modes.pop();
                }
                1
            }
            Some(Mode::Text(_)) => self.text(rest),
            Some(Mode::Code(_)) | None => self.code(rest),
        }
    }

    fn text(&mut self, rest: &[char]) -> usize {
        let c = rest[0];
        let Some(Mode::Text(text)) = self.modes.last_mut() else { return 1 };
        if c == '\\' && text.escapes {
            return 2;
        }
        if text.holes && rest.starts_with(&['$', '{']) {
            self.modes.push(Mode::Code(Some(0)));
            self.last = Some('{');
            return 2;
        }
        match (text.class, c) {
            (Some(false), '[') => text.class = Some(true),
            (Some(true), ']') => text.class = Some(false),
            (Some(true), _) => return 1,
            _ => {}
        }
        if text.open == Some(c) {
            text.depth += 1;
            return 1;
        }
        let end: Vec<char> = text.end.chars().collect();
        if !rest.starts_with(&end) {
            return 1;
        }
        if text.depth > 0 {
            text.depth -= 1;
            return 1;
        }
        if text.more > 0 {
            text.more -= 1;
            if let Some(open) = text.open {
                // The next part has brackets of its own.
                let skip = rest[1..].iter().position(|c| *c == open);
                return 1 + skip.map_or(0, |skip| skip + 1);
            }
            return 1;
        }
        self.modes.pop();
        self.last = Some('"');
        self.word.clear();
        end.len()
    }

    fn code(&mut self, rest: &[char]) -> usize {
        let c = rest[0];
        let language = self.language;
        let next = rest.get(1).copied();
        let starts_line = matches!(self.touching_before(), None | Some('\n'));
        let scripted = matches!(language, Language::Ruby | Language::Perl);
        if starts_line && scripted {
            let line: String = rest.iter().take_while(|c| **c != '\n').collect();
            if line.trim_end() == "__END__" || line.trim_end() == "__DATA__" {
                self.modes.push(Mode::Data);
                return 1;
            }
            if language == Language::Ruby && line.starts_with("=begin") {
                self.modes.push(Mode::Pages("=end"));
                return 1;
            }
            if language == Language::Perl && c == '=' && next.is_some_and(|c| c.is_ascii_lowercase()) {
                self.modes.push(Mode::Pages("=cut"));
                return 1;
            }
        }
        let length = match c {
            '#' if language != Language::Node
                && !(language == Language::Perl && self.touching == Some('$')) =>
            {
                self.modes.push(Mode::Comment);
                1
            }
            '/' if language == Language::Node && next == Some('/') => {
                self.modes.push(Mode::Comment);
                2
            }
            '/' if language == Language::Node && next == Some('*') => {
                self.modes.push(Mode::Block);
                2
            }
            '\'' | '"' | '`' if !(c == '`' && language == Language::Python) => self.quote(rest),
            '/' if language != Language::Python && !self.after_operand() => {
                self.open("/", None, true);
                if let Some(Mode::Text(text)) = self.modes.last_mut() {
                    text.class = Some(false);
                }
                1
            }
            '<' if scripted && next == Some('<') => self.here(rest),
            '%' if language == Language::Ruby && !self.after_operand() => self.percent(rest),
            '\n' => {
                if !self.pending.is_empty() {
                    let ends = std::mem::take(&mut self.pending);
                    self.modes.push(Mode::Here(ends, String::new()));
                }
                1
            }
            '{' | '}' => self.brace(c),
            c if is_word(c) => self.name(rest),
            _ => 1,
        };
        self.touching = rest.get(length - 1).copied();
        if !c.is_whitespace() && !is_word(c) {
            self.word.clear();
            self.last = Some(c);
        }
        length
    }

    fn touching_before(&self) -> Option<char> {
        self.touching
    }

    /// Whether what stands before is a value, so that `/` divides.
    fn after_operand(&self) -> bool {
        match self.last {
            Some(c) if is_word(c) => !KEYWORDS.contains(&self.word.as_str()),
            Some(c) => ")]}\"'`".contains(c),
            None => false,
        }
    }

    fn open(&mut self, end: &str, open: Option<char>, escapes: bool) {
        self.modes.push(Mode::Text(Text {
            end: end.to_owned(),
            open,
            depth: 0,
            escapes,
            holes: false,
            class: None,
            more: 0,
        }));
    }

    fn quote(&mut self, rest: &[char]) -> usize {
        let c = rest[0];
        let thrice = [c, c, c];
        if self.language == Language::Python && rest.starts_with(&thrice) {
            self.open(&String::from_iter(thrice), None, true);
            return 3;
        }
        self.open(&c.to_string(), None, true);
        if let Some(Mode::Text(text)) = self.modes.last_mut() {
            text.holes = c == '`' && self.language == Language::Node;
        }
        1
    }

    fn brace(&mut self, c: char) -> usize {
        let Some(Mode::Code(Some(depth))) = self.modes.last_mut() else { return 1 };
        match c {
            '{' => *depth += 1,
            _ if *depth > 0 => *depth -= 1,
            _ => {
                self.modes.pop();
            }
        }
        1
    }

    /// `<<~EOF`, `<<"EOF"`; anything else that begins so is an operator.
    fn here(&mut self, rest: &[char]) -> usize {
        let mut at = 2;
        at += usize::from(matches!(rest.get(at), Some('~' | '-')));
        let quote = rest.get(at).copied().filter(|c| matches!(c, '\'' | '"'));
        at += usize::from(quote.is_some());
        let name: String = rest[at..].iter().take_while(|c| is_word(**c)).collect();
        let fits = name.starts_with(|c: char| c.is_ascii_uppercase() || c == '_' || quote.is_some());
        let length = at + name.chars().count();
        if !fits || name.is_empty() || (quote.is_some() && rest.get(length) != quote.as_ref()) {
            return 2;
        }
        self.pending.push(name);
        length + usize::from(quote.is_some())
    }

    /// Ruby's `%q(…)`, `%w[…]`, `%(…)`.
    fn percent(&mut self, rest: &[char]) -> usize {
        let at = 1 + usize::from(rest.get(1).is_some_and(|c| "qQwWiIrxs".contains(*c)));
        match rest.get(at) {
            Some(c) if !is_word(*c) && !c.is_whitespace() && *c != '=' => {
                let (open, end) = brackets(*c);
                self.open(&end.to_string(), open, true);
                at + 1
            }
            _ => 1,
        }
    }

    /// A word; in Perl it may be a quoting operator.
    fn name(&mut self, rest: &[char]) -> usize {
        let word: String = rest.iter().take_while(|c| is_word(**c)).collect();
        let length = word.chars().count();
        let before = self.last.filter(|_| self.touching.is_some_and(|c| !c.is_whitespace()));
        self.last = word.chars().last();
        let quoting = self.language == Language::Perl
            && !before.is_some_and(|c| "$@%&>{".contains(c) || is_word(c))
            && ["q", "qq", "qw", "qr", "qx", "m", "s", "tr", "y"].contains(&word.as_str());
        self.word.clone_from(&word);
        if !quoting {
            return length;
        }
        let spaces = rest[length..].iter().take_while(|c| c.is_whitespace()).count();
        let Some(delimiter) = rest.get(length + spaces).copied() else { return length };
        let arrow = rest[length + spaces..].starts_with(&['=', '>']);
        if is_word(delimiter)
            || ",;)".contains(delimiter)
            || arrow
            || (delimiter == '=')
            || (spaces > 0 && delimiter == '#')
        {
            return length;
        }
        let (open, end) = brackets(delimiter);
        self.open(&end.to_string(), open, true);
        if let Some(Mode::Text(text)) = self.modes.last_mut() {
            text.more = usize::from(matches!(word.as_str(), "s" | "tr" | "y"));
        }
        length + spaces + 1
    }
}

fn brackets(c: char) -> (Option<char>, char) {
    match c {
        '(' => (Some('('), ')'),
        '[' => (Some('['), ']'),
        '{' => (Some('{'), '}'),
        '<' => (Some('<'), '>'),
        c => (None, c),
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// A value as an expression of the language.
pub(crate) fn literal(language: Language, value: &Value) -> String {
    let each = |items: &mut dyn Iterator<Item = String>| items.collect::<Vec<_>>().join(", ");
    let yes = |yes: &str, no: &str, value: bool| if value { yes.to_owned() } else { no.to_owned() };
    match value {
        Value::Bool(value) => match language {
            Language::Python => yes("True", "False", *value),
            Language::Perl => yes("1", "0", *value),
            _ => yes("true", "false", *value),
        },
        Value::Number(number) => format!("({number})"),
        Value::Array(items) => {
            format!("[{}]", each(&mut items.iter().map(|item| literal(language, item))))
        }
        Value::Object(map) => {
            let pair = |(key, value): (&String, &Value)| {
                let (key, value) = (literal(language, &key.as_str().into()), literal(language, value));
                match language {
                    Language::Python => format!("{key}: {value}"),
                    Language::Node => format!("[{key}]: {value}"),
                    Language::Ruby => format!("[{key}, {value}]"),
                    _ => format!("{key}, {value}"),
                }
            };
            let pairs = each(&mut map.iter().map(pair));
            match language {
                Language::Python => format!("{{{pairs}}}"),
                Language::Node => format!("({{{pairs}}})"),
                Language::Ruby => format!("Hash[[{pairs}]]"),
                _ => format!("+{{{pairs}}}"),
            }
        }
        value => {
            let digit = |n: u8| char::from_digit(u32::from(n), 16).unwrap_or_default();
            let hex: String =
                as_text(value).bytes().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect();
            match language {
                Language::Python => format!("bytes.fromhex(\"{hex}\").decode()"),
                Language::Node => format!("Buffer.from(\"{hex}\", \"hex\").toString()"),
                Language::Ruby => format!("Array(\"{hex}\").pack(\"H*\").force_encoding(\"UTF-8\")"),
                _ => format!("pack(\"H*\", \"{hex}\")"),
            }
        }
    }
}

/// An expression that reads a value which comes when the script starts.
pub(crate) fn reading(language: Language, name: &str) -> String {
    match language {
        Language::Python => format!(
            "(lambda o: open(o.environ[\"{name}_FILE\"], \"rb\").read().decode() if \"{name}_FILE\" in o.environ \
             else o.environb[b\"{name}\"].decode())(__import__(\"os\"))"
        ),
        Language::Node => format!(
            "(process.env.{name}_FILE ? require(\"fs\").readFileSync(process.env.{name}_FILE, \"utf8\") \
             : process.env.{name})"
        ),
        Language::Ruby => format!(
            "(ENV[\"{name}_FILE\"] ? File.binread(ENV[\"{name}_FILE\"]) : ENV[\"{name}\"].dup).force_encoding(\"UTF-8\")"
        ),
        _ => format!(
            "(exists $ENV{{{name}_FILE}} ? do {{ local (@ARGV, $/) = $ENV{{{name}_FILE}}; <> }} : $ENV{{{name}}})"
        ),
    }
}
