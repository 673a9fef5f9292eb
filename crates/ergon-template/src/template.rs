//! A template: compiled for the shell that its shebang names, then rendered with values.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::parse::{Part, parse};
use crate::shell::{Lexer, Place, Refusal};

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    Number,
    Boolean,
    /// A list of texts, for `{{#each}}`.
    List,
}

/// A name that a template may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name {
    pub kind: Kind,
    /// The author of the task says what it can be: an `enum`, or a `pattern`.
    pub constrained: bool,
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
        let before = source.get(..at).unwrap_or(source);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Self { line, column, found, instead: instead.to_owned() }
    }
}

/// Why a template cannot be rendered with these values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    #[error("`{0}` has no value")]
    Missing(String),
    #[error("the value of `{name}` is not a {expected}")]
    Kind { name: String, expected: &'static str },
    #[error("the value of `{0}` has a NUL byte, which no environment can hold")]
    Nul(String),
    #[error("the script is longer than {MAX_OUTPUT} bytes")]
    TooLong,
    #[error("the script's first line would name another interpreter than the template's")]
    Interpreter,
}

/// A script, and what must be in its environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendered {
    pub script: String,
    pub env: BTreeMap<String, String>,
    /// Values that are too long for the environment: what to write to `folder/<key>` before the script runs.
    pub files: BTreeMap<String, String>,
}

/// A compiled template.
#[derive(Clone, Debug)]
pub struct Template {
    interpreter: String,
    shell: bool,
    prefix: String,
    code: Vec<Code>,
}

#[derive(Clone, Debug)]
enum Code {
    Text(String),
    /// Nothing for the place: the value's text itself.
    Value(String, Name, Option<Place>),
    If(String, Vec<Code>, Vec<Code>),
    Each(String, String, Vec<Code>),
}

/// The longest template, in bytes.
const MAX_TEMPLATE: usize = 256 * 1024;
/// The longest script, in bytes.
const MAX_OUTPUT: usize = 1024 * 1024;
/// The longest value in the environment, in bytes: Linux has 128 KiB for a name and its value.
const MAX_VALUE: usize = 100 * 1024;
/// How much the values in the environment may be together, in bytes.
const MAX_VALUES: usize = 512 * 1024;
const SHELLS: [&str; 5] = ["sh", "bash", "dash", "ash", "zsh"];

impl Template {
    /// Compiles a script. `taken` are the environment variables that the step has already.
    pub fn script(
        source: &str,
        names: &BTreeMap<String, Name>,
        taken: &BTreeSet<String>,
    ) -> Result<Self, Error> {
        if source.len() > MAX_TEMPLATE {
            return Err(Error::at(source, 0, format!("more than {MAX_TEMPLATE} bytes"), "a shorter script"));
        }
        let parts = parse(source)?;
        let interpreter = interpreter(source).to_owned();
        let shell = SHELLS.contains(&interpreter.as_str());
        let mut prefix = "ERGON_V".to_owned();
        while source.contains(&prefix) || taken.iter().any(|name| name.starts_with(&prefix)) {
            prefix.push('_');
        }
        let mut compiler = Compiler { source, shell, lexer: Lexer::default() };
        let mut names = names.clone();
        let code = compiler.parts(&parts, &mut names, true)?;
        if shell {
            compiler.lexer.finish().map_err(|refusal| located(source, source.len(), refusal))?;
        }
        Ok(Self { interpreter, shell, prefix, code })
    }

    /// Puts values in. `folder` is where [`Rendered::files`] will be when the script runs.
    pub fn render(&self, values: &BTreeMap<String, Value>, folder: &str) -> Result<Rendered, RenderError> {
        let mut renderer = Renderer {
            prefix: &self.prefix,
            out: Rendered::default(),
            known: BTreeMap::new(),
            count: 0,
            size: 0,
        };
        renderer.code(&self.code, values, &BTreeMap::new())?;
        let mut out = renderer.out;
        if interpreter(&out.script) != self.interpreter {
            return Err(RenderError::Interpreter);
        }
        if self.shell && !out.files.is_empty() {
            let mut read = String::new();
            for name in out.files.keys() {
                // The `x` keeps the newlines at the end, which `$(…)` takes away.
                let line = [
                    name,
                    "=$(cat \"${",
                    name,
                    "_FILE}\" && printf x) || exit 1; ",
                    name,
                    "=${",
                    name,
                    "%x}; ",
                ];
                read.extend(line);
                out.env.insert(format!("{name}_FILE"), format!("{folder}/{name}"));
            }
            let first = if out.script.starts_with("#!") {
                out.script.find('\n').map_or(out.script.len(), |n| n + 1)
            } else {
                0
            };
            out.script.insert_str(first, &read);
        }
        Ok(out)
    }
}

/// The interpreter that a script's first line names, without its folder.
fn interpreter(script: &str) -> &str {
    let Some(line) = script.strip_prefix("#!").and_then(|rest| rest.lines().next()) else { return "sh" };
    let mut words = line.split_whitespace().map(|word| word.rsplit('/').next().unwrap_or_default());
    match words.next().unwrap_or_default() {
        "env" => words.find(|word| !word.starts_with('-') && !word.contains('=')).unwrap_or_default(),
        "busybox" => words.next().unwrap_or_default(),
        word => word,
    }
}

fn located(source: &str, start: usize, refusal: Refusal) -> Error {
    Error::at(source, start + refusal.at, refusal.found, &refusal.instead)
}

struct Compiler<'a> {
    source: &'a str,
    shell: bool,
    lexer: Lexer,
}

impl Compiler<'_> {
    fn parts(
        &mut self,
        parts: &[Part],
        names: &mut BTreeMap<String, Name>,
        end: bool,
    ) -> Result<Vec<Code>, Error> {
        let mut code = Vec::with_capacity(parts.len());
        for (n, part) in parts.iter().enumerate() {
            let last = end && n + 1 == parts.len();
            code.push(match part {
                Part::Text { at, text } => {
                    if self.shell {
                        self.lexer.feed(text, last).map_err(|refusal| located(self.source, *at, refusal))?;
                    }
                    Code::Text(text.clone())
                }
                Part::Value { at, name, raw } => self.value(*at, name, *raw, names)?,
                Part::If { at, name, then, otherwise } => {
                    self.name(*at, name, names)?;
                    let before = self.lexer.clone();
                    let then = self.parts(then, names, false)?;
                    let after = std::mem::replace(&mut self.lexer, before);
                    let otherwise = self.parts(otherwise, names, false)?;
                    self.join(*at, after)?;
                    Code::If(name.clone(), then, otherwise)
                }
                Part::Each { at, name, item, body } => {
                    let list = self.name(*at, name, names)?;
                    if list.kind != Kind::List {
                        return Err(self.error(
                            *at,
                            format!("`#each` over `{name}`, which is no list"),
                            "a list",
                        ));
                    }
                    let shadowed = names.insert(item.clone(), Name { kind: Kind::Text, ..list });
                    // Once to see where an item may leave the script, and again to see that the next one may follow.
                    let before = self.lexer.clone();
                    self.parts(body, names, false)?;
                    self.join(*at, before)?;
                    let before = self.lexer.clone();
                    let body = self.parts(body, names, false)?;
                    self.join(*at, before.clone())?;
                    if self.lexer != before {
                        return Err(self.error(
                            *at,
                            "a loop whose end is not like its beginning".to_owned(),
                            "whole words or commands in it",
                        ));
                    }
                    match shadowed {
                        Some(shadowed) => names.insert(item.clone(), shadowed),
                        None => names.remove(item),
                    };
                    Code::Each(name.clone(), item.clone(), body)
                }
            });
        }
        Ok(code)
    }

    fn value(
        &mut self,
        at: usize,
        name: &str,
        raw: bool,
        names: &BTreeMap<String, Name>,
    ) -> Result<Code, Error> {
        let known = self.name(at, name, names)?;
        let plain = matches!(known.kind, Kind::Number | Kind::Boolean);
        if known.kind == Kind::List {
            return Err(self.error(at, format!("`{name}` is a list"), "`{{#each …}}`"));
        }
        if raw && self.shell && !plain {
            return Err(self.error(
                at,
                format!("`{name}` as raw text in a shell script"),
                "it with two braces",
            ));
        }
        if !self.shell {
            return match (raw, plain || known.constrained) {
                (true, true) => Ok(Code::Value(name.to_owned(), known, None)),
                (true, false) => Err(self.error(
                    at,
                    format!("`{name}` as raw text"),
                    "an `enum` or a `pattern` for it, or read it from the environment",
                )),
                (false, _) => Err(self.error(
                    at,
                    format!("`{name}` in a script that is not a shell's"),
                    "three braces for a constrained parameter, or read it from the environment",
                )),
            };
        }
        let place = self
            .lexer
            .place(known.kind == Kind::Number, known.constrained || known.kind == Kind::Boolean)
            .map_err(|refusal| located(self.source, at, refusal))?;
        Ok(Code::Value(name.to_owned(), known, Some(place)))
    }

    fn join(&mut self, at: usize, other: Lexer) -> Result<(), Error> {
        let joined = self.lexer.clone().join(other);
        self.lexer = joined.ok_or_else(|| {
            let found =
                "a block whose branches end in different quotes, substitutions or here-documents".to_owned();
            self.error(at, found, "whole words or commands in it, on lines of their own in a here-document")
        })?;
        Ok(())
    }

    fn name(&self, at: usize, name: &str, names: &BTreeMap<String, Name>) -> Result<Name, Error> {
        names.get(name).copied().ok_or_else(|| {
            let nearest = names.keys().min_by_key(|known| strsim::damerau_levenshtein(known, name));
            let instead = nearest.map_or("a name that there is".to_owned(), |nearest| {
                format!("`{nearest}`, if that is meant")
            });
            self.error(at, format!("`{name}` is not known"), &instead)
        })
    }

    fn error(&self, at: usize, found: String, instead: &str) -> Error {
        Error::at(self.source, at, found, instead)
    }
}

struct Renderer<'a> {
    prefix: &'a str,
    out: Rendered,
    /// The variables of names outside loops.
    known: BTreeMap<String, String>,
    count: usize,
    size: usize,
}

impl Renderer<'_> {
    fn code(
        &mut self,
        code: &[Code],
        values: &BTreeMap<String, Value>,
        items: &BTreeMap<&str, &Value>,
    ) -> Result<(), RenderError> {
        for code in code {
            match code {
                Code::Text(text) => self.out.script += text,
                Code::Value(name, known, place) => self.value(name, *known, *place, values, items)?,
                Code::If(name, then, otherwise) => {
                    let value = items.get(name.as_str()).copied().or_else(|| values.get(name));
                    self.code(if value.is_some_and(truthy) { then } else { otherwise }, values, items)?;
                }
                Code::Each(name, item, body) => {
                    let list = values.get(name).ok_or_else(|| RenderError::Missing(name.clone()))?;
                    let list = list
                        .as_array()
                        .ok_or_else(|| RenderError::Kind { name: name.clone(), expected: "list" })?;
                    let mut items = items.clone();
                    for value in list {
                        items.insert(item, value);
                        self.code(body, values, &items)?;
                    }
                }
            }
            if self.out.script.len() > MAX_OUTPUT {
                return Err(RenderError::TooLong);
            }
        }
        Ok(())
    }

    fn value(
        &mut self,
        name: &str,
        known: Name,
        place: Option<Place>,
        values: &BTreeMap<String, Value>,
        items: &BTreeMap<&str, &Value>,
    ) -> Result<(), RenderError> {
        let item = items.get(name).copied();
        let value = item.or_else(|| values.get(name)).ok_or_else(|| RenderError::Missing(name.to_owned()))?;
        let wrong = |expected| RenderError::Kind { name: name.to_owned(), expected };
        let text = match (known.kind, value) {
            (Kind::Text, Value::String(text)) => text.clone(),
            (Kind::Number, Value::Number(number)) => number.to_string(),
            (Kind::Boolean, Value::Bool(value)) => value.to_string(),
            (Kind::Text, _) => return Err(wrong("text")),
            (Kind::Number, _) => return Err(wrong("number")),
            (Kind::Boolean, _) => return Err(wrong("boolean")),
            (Kind::List, _) => return Err(wrong("single value")),
        };
        if text.contains('\0') {
            return Err(RenderError::Nul(name.to_owned()));
        }
        let Some(place) = place else {
            self.out.script += &text;
            return Ok(());
        };
        let variable = match self.known.get(name).filter(|_| item.is_none()) {
            Some(variable) => variable.clone(),
            None => self.variable(name, text, item.is_none()),
        };
        let reference = match place {
            Place::Word => format!("\"${{{variable}}}\""),
            Place::Double => format!("${{{variable}}}"),
            Place::Single => format!("'\"${{{variable}}}\"'"),
            Place::Arithmetic => format!("(${{{variable}}})"),
        };
        self.out.script += &reference;
        Ok(())
    }

    fn variable(&mut self, name: &str, text: String, keep: bool) -> String {
        self.count += 1;
        let variable = format!("{}{}", self.prefix, self.count);
        self.size += text.len();
        let map = if text.len() > MAX_VALUE || self.size > MAX_VALUES {
            &mut self.out.files
        } else {
            &mut self.out.env
        };
        map.insert(variable.clone(), text);
        if keep {
            self.known.insert(name.to_owned(), variable.clone());
        }
        variable
    }
}

fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}
