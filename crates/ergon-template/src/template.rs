//! A template: what its names may stand for, and why it is refused.

use std::collections::{BTreeMap, BTreeSet};

use crate::compile::{Code, Compiler};
use crate::expr::Expr;
use crate::language::{Language, interpreter};
use crate::parse::{Part, parse};

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    Number,
    Boolean,
    /// A list of texts, for `{{#each}}`.
    List,
    /// Texts by their names, for `{{#each}}` and `{{#with}}`.
    Object,
    /// A text or a list: which of them is known only when the template is rendered.
    Any,
}

/// A name that a template may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name {
    pub kind: Kind,
    /// The author of the task says what it can be: an `enum`, or a `pattern`.
    pub constrained: bool,
    /// Its value is a text that is known only when the script starts: no block or helper can look at it.
    pub late: bool,
}

impl Name {
    pub fn of(kind: Kind) -> Self {
        Self { kind, constrained: false, late: false }
    }
}

/// Why a template is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {found}; write {instead}")]
pub struct Error {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    pub found: String,
    pub instead: String,
}

impl Error {
    pub(crate) fn at(source: &str, at: usize, found: String, instead: &str) -> Self {
        let (line, column) = position(source, at);
        Self { line, column, found, instead: instead.to_owned() }
    }
}

pub(crate) fn position(source: &str, at: usize) -> (usize, usize) {
    let before = source.get(..at).unwrap_or(source);
    let line = before.matches('\n').count() + 1;
    (line, before.rsplit('\n').next().unwrap_or_default().chars().count() + 1)
}

/// A name that a template uses, and where it does so first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    pub name: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

/// A compiled template.
#[derive(Clone, Debug)]
pub struct Template {
    pub(crate) interpreter: String,
    pub(crate) language: Language,
    pub(crate) prefix: String,
    pub(crate) code: Vec<Code>,
}

/// The longest template, in bytes.
const MAX_TEMPLATE: usize = 256 * 1024;

impl Template {
    /// Compiles a script. `taken` are the environment variables that the step has already.
    ///
    /// # Errors
    /// Its first mistake.
    pub fn script(
        source: &str,
        names: &BTreeMap<String, Name>,
        taken: &BTreeSet<String>,
    ) -> Result<Self, Error> {
        let parts = read(source)?;
        let language = Language::of(source);
        let mut prefix = "ERGON_V".to_owned();
        while source.contains(&prefix) || taken.iter().any(|name| name.starts_with(&prefix)) {
            prefix.push('_');
        }
        let code = Compiler::new(source, language, names).compile(&parts)?;
        Ok(Self { interpreter: interpreter(source).to_owned(), language, prefix, code })
    }

    /// All names that a template uses, each once, but for those that are its own: `this`, `@index`, `as |item|`.
    ///
    /// # Errors
    /// A tag that is none.
    pub fn names(source: &str) -> Result<Vec<Used>, Error> {
        let mut found = Found { source, names: Vec::new() };
        found.parts(&read(source)?, &mut Vec::new());
        Ok(found.names)
    }
}

fn read(source: &str) -> Result<Vec<Part>, Error> {
    if source.len() > MAX_TEMPLATE {
        return Err(Error::at(source, 0, format!("more than {MAX_TEMPLATE} bytes"), "a shorter script"));
    }
    parse(source)
}

struct Found<'a> {
    source: &'a str,
    names: Vec<Used>,
}

impl Found<'_> {
    fn parts<'p>(&mut self, parts: &'p [Part], own: &mut Vec<&'p str>) {
        for part in parts {
            match part {
                Part::Text { .. } => {}
                Part::Value { at, expr, .. } => self.expr(*at, expr, own),
                Part::If { at, test, then, otherwise } => {
                    self.expr(*at, test, own);
                    self.parts(then, own);
                    self.parts(otherwise, own);
                }
                Part::Each { at, list: value, item, body, otherwise }
                | Part::With { at, value, item, body, otherwise } => {
                    self.expr(*at, value, own);
                    own.extend(item.as_deref());
                    self.parts(body, own);
                    own.truncate(own.len() - usize::from(item.is_some()));
                    self.parts(otherwise, own);
                }
            }
        }
    }

    fn expr(&mut self, at: usize, expr: &Expr, own: &[&str]) {
        match expr {
            Expr::Name(name, _) => {
                let first = name.split(['.', '[']).next().unwrap_or_default();
                let is_own = first == "this" || first.starts_with('@') || own.contains(&first);
                if !is_own && self.names.iter().all(|used| used.name != *name) {
                    let (line, column) = position(self.source, at);
                    self.names.push(Used { name: name.clone(), line, column });
                }
            }
            Expr::Call(_, args) => args.iter().for_each(|arg| self.expr(at, arg, own)),
            Expr::Text(_) | Expr::Number(_) | Expr::Boolean(_) => {}
        }
    }
}
