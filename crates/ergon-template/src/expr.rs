//! What stands in a tag: a name, a text, a number, or a helper with what it is given.

use std::fmt;

use crate::helper::Helper;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expr {
    /// `params.version`, `this.key`, `@index`; how many `../` stood before it.
    Name(String, usize),
    Text(String),
    Number(i64),
    Boolean(bool),
    Call(Helper, Vec<Expr>),
}

/// How deep helpers may be in each other.
const MAX_DEPTH: usize = 8;
/// A reason and what to write instead.
type Refused = (String, &'static str);

/// Reads a tag's text.
pub(crate) struct Tokens<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    /// The whole text as one expression: `name`, `"text"`, or `helper argument…`.
    pub fn read(text: &'a str) -> Result<Expr, Refused> {
        let mut tokens = Self { text, rest: text };
        let expr = tokens.call(false, 0)?;
        if tokens.rest.trim().is_empty() { Ok(expr) } else { Err(tokens.stray()) }
    }

    fn stray(&self) -> Refused {
        (
            format!("`{}`", self.text),
            "a name, or a helper and what it is given; or `\\{{` if this is no tag but the text `{{`",
        )
    }

    fn call(&mut self, inside: bool, depth: usize) -> Result<Expr, Refused> {
        if depth > MAX_DEPTH {
            return Err(("helpers too deep in each other".to_owned(), "fewer"));
        }
        let first = self.one(depth)?;
        let mut args = Vec::new();
        loop {
            self.rest = self.rest.trim_start();
            if self.rest.is_empty() || (inside && self.rest.starts_with(')')) {
                break;
            }
            args.push(self.one(depth)?);
        }
        match (&first, args.is_empty()) {
            (_, true) => Ok(first),
            (Expr::Name(name, 0), false) => match Helper::named(name) {
                Some(helper) => {
                    helper.check_count(args.len())?;
                    Ok(Expr::Call(helper, args))
                }
                None => Err((
                    format!("`{name}`, which is no helper"),
                    "one of `default`, `json`, `join`, `lower`, `replace`, `basename`, `eq`, `ne`, `and`, `or`, \
                     `not`, `quote`, `indent` and `sha256`; or `\\{{` if this is no tag but the text `{{`",
                )),
            },
            _ => Err(self.stray()),
        }
    }

    fn one(&mut self, depth: usize) -> Result<Expr, Refused> {
        self.rest = self.rest.trim_start();
        let mut chars = self.rest.char_indices();
        match chars.next() {
            Some((_, '(')) => {
                self.rest = &self.rest[1..];
                let expr = self.call(true, depth + 1)?;
                self.rest = self.rest.trim_start();
                self.rest = self.rest.strip_prefix(')').ok_or(("a `(` without its `)`".to_owned(), "`)`"))?;
                Ok(expr)
            }
            Some((_, quote @ ('"' | '\''))) => {
                let inner = &self.rest[1..];
                let end = inner.find(quote).ok_or(("a text without its second quote".to_owned(), "it"))?;
                self.rest = &inner[end + 1..];
                Ok(Expr::Text(inner[..end].to_owned()))
            }
            _ => self.word(),
        }
    }

    fn word(&mut self) -> Result<Expr, Refused> {
        let mut rest = self.rest;
        let mut up = 0;
        while let Some(outer) = rest.strip_prefix("../") {
            rest = outer;
            up += 1;
        }
        // A name in brackets may hold anything but a bracket.
        let mut in_brackets = false;
        let end = rest
            .find(|c: char| {
                match c {
                    '[' => in_brackets = true,
                    ']' => in_brackets = false,
                    _ if in_brackets => {}
                    c => return !(c.is_ascii_alphanumeric() || "_-.@".contains(c)),
                }
                false
            })
            .unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let fits = !word.is_empty()
            && !in_brackets
            && !word.starts_with('.')
            && !word.ends_with('.')
            && !word.contains("..")
            && word.rfind('@').is_none_or(|at| at == 0)
            && !after.starts_with(|c: char| !c.is_whitespace() && c != ')');
        if !fits {
            return Err(self.stray());
        }
        self.rest = after;
        Ok(match (word, word.parse::<i64>()) {
            ("true", _) if up == 0 => Expr::Boolean(true),
            ("false", _) if up == 0 => Expr::Boolean(false),
            (_, Ok(number)) if up == 0 => Expr::Number(number),
            _ => Expr::Name(word.to_owned(), up),
        })
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name, up) => write!(f, "{}{name}", "../".repeat(*up)),
            Self::Text(text) => write!(f, "\"{text}\""),
            Self::Number(number) => write!(f, "{number}"),
            Self::Boolean(value) => write!(f, "{value}"),
            Self::Call(helper, args) => {
                f.write_str(helper.name())?;
                for arg in args {
                    match arg {
                        Self::Call(..) => write!(f, " ({arg})")?,
                        _ => write!(f, " {arg}")?,
                    }
                }
                Ok(())
            }
        }
    }
}
