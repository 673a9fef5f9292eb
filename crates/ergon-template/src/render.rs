//! From a compiled template and values to a script, and to what must be in its environment.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use crate::code::{literal, reading};
use crate::compile::{Code, Put, Term};
use crate::helper::{as_text, truthy};
use crate::language::{Language, interpreter};
use crate::shell::Place;
use crate::template::{Kind, Name, Template};

/// What a name stands for.
#[derive(Clone, Debug, PartialEq)]
pub enum Given {
    Known(Value),
    /// A text that is known when the script starts; this says where it comes from.
    Later(String),
    /// A text that the script finds in this variable, and that nobody else sees.
    Variable(String),
}

impl<T: Into<Value>> From<T> for Given {
    fn from(value: T) -> Self {
        Self::Known(value.into())
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
    #[error("the script, or a value in it, is longer than {MAX_OUTPUT} bytes")]
    TooLong,
    #[error("the script has more than {MAX_COUNT} values")]
    TooMany,
    #[error("the script's first line would name another interpreter than the template's")]
    Interpreter,
}

/// A script, and what must be in its environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendered {
    pub script: String,
    pub env: BTreeMap<String, String>,
    /// Values that are too long for the environment. Each is to be in a file, and the variable `<key>_FILE` has that
    /// file's path.
    pub files: BTreeMap<String, String>,
    /// Values that come later, by what [`Given::Later`] says of them: to be in the environment, or in files where they
    /// are [too long](is_too_long).
    pub later: BTreeMap<String, String>,
}

/// The longest script, and the longest value of a helper, in bytes.
const MAX_OUTPUT: usize = 1024 * 1024;
/// The longest value in the environment, in bytes: Linux has 128 KiB for a name and its value.
const MAX_VALUE: usize = 100 * 1024;
/// How much the values in the environment may be together, in bytes.
const MAX_VALUES: usize = 512 * 1024;
/// What a variable costs besides its value, in bytes.
const VARIABLE: usize = 32;
const MAX_COUNT: usize = 10_000;

/// Whether a value must not be in the environment.
pub fn is_too_long(value: &str) -> bool {
    value.len() > MAX_VALUE
}

impl Template {
    /// Puts values in.
    ///
    /// # Errors
    /// A value that is missing, that is no value of its kind, or that no script can have.
    pub fn render(&self, values: &BTreeMap<String, Given>) -> Result<Rendered, RenderError> {
        let mut renderer = Renderer {
            prefix: &self.prefix,
            values,
            out: Rendered::default(),
            known: BTreeMap::new(),
            count: 0,
            size: 0,
            rounds: Vec::new(),
        };
        renderer.code(&self.code)?;
        let mut out = renderer.out;
        if interpreter(&out.script) != self.interpreter {
            return Err(RenderError::Interpreter);
        }
        if self.language == Language::Shell {
            out.read_files();
        }
        Ok(out)
    }
}

impl Rendered {
    /// Has a shell script read the values that come in files. It is on the line of the first command, so that the
    /// script's lines keep their numbers.
    fn read_files(&mut self) {
        let mut read = String::new();
        // The `x` keeps the newlines at the end, which `$(…)` takes away.
        for name in self.files.keys() {
            let _ = write!(
                read,
                "{name}=$(cat \"${{{name}_FILE}}\" && printf x) || exit 1; {name}=${{{name}%x}}; "
            );
        }
        for name in self.later.keys() {
            let _ = write!(
                read,
                "[ -z \"${{{name}_FILE+x}}\" ] || \
                 {{ {name}=$(cat \"${{{name}_FILE}}\" && printf x) || exit 1; {name}=${{{name}%x}}; }}; "
            );
        }
        let first = if self.script.starts_with("#!") {
            self.script.find('\n').map_or(self.script.len(), |n| n + 1)
        } else {
            0
        };
        self.script.insert_str(first, &read);
    }
}

/// One round of a block.
#[derive(Clone)]
struct Round {
    this: Value,
    key: String,
    index: usize,
    last: bool,
}

struct Renderer<'a> {
    prefix: &'a str,
    values: &'a BTreeMap<String, Given>,
    out: Rendered,
    /// The variables of values that are the same everywhere, by what was written.
    known: BTreeMap<String, String>,
    count: usize,
    size: usize,
    rounds: Vec<Round>,
}

impl Renderer<'_> {
    fn code(&mut self, code: &[Code]) -> Result<(), RenderError> {
        for code in code {
            match code {
                Code::Text(text) => self.out.script += text,
                Code::Value(term, known, put) => self.value(term, *known, *put)?,
                Code::If(test, then, otherwise) => {
                    let holds = truthy(&self.term(test)?);
                    self.code(if holds { then } else { otherwise })?;
                }
                Code::With(value, body, otherwise) => {
                    let this = self.term(value)?;
                    if truthy(&this) {
                        self.round(Round { this, key: String::new(), index: 0, last: true }, body)?;
                    } else {
                        self.code(otherwise)?;
                    }
                }
                Code::Each(list, body, otherwise) => {
                    let items: Vec<(String, Value)> = match self.term(list)? {
                        Value::Array(items) => items.into_iter().map(|item| (String::new(), item)).collect(),
                        Value::Object(map) => map.into_iter().collect(),
                        _ => return Err(RenderError::Kind { name: shown(list), expected: "list" }),
                    };
                    if items.is_empty() {
                        self.code(otherwise)?;
                    }
                    let last = items.len().saturating_sub(1);
                    for (index, (key, this)) in items.into_iter().enumerate() {
                        self.round(Round { this, key, index, last: index == last }, body)?;
                    }
                }
            }
            if self.out.script.len() > MAX_OUTPUT {
                return Err(RenderError::TooLong);
            }
        }
        Ok(())
    }

    fn round(&mut self, round: Round, body: &[Code]) -> Result<(), RenderError> {
        self.rounds.push(round);
        let done = self.code(body);
        self.rounds.pop();
        done
    }

    fn term(&self, term: &Term) -> Result<Value, RenderError> {
        let missing = || RenderError::Missing(shown(term));
        let round = |block: &usize| self.rounds.get(*block).ok_or_else(missing);
        Ok(match term {
            Term::Literal(value) => value.clone(),
            Term::Global(name) => match self.values.get(name) {
                Some(Given::Known(value)) => value.clone(),
                _ => return Err(missing()),
            },
            Term::This(block, None) => round(block)?.this.clone(),
            Term::This(block, Some(key)) => round(block)?.this.get(key).cloned().ok_or_else(missing)?,
            Term::Index(block) => round(block)?.index.into(),
            Term::First(block) => (round(block)?.index == 0).into(),
            Term::Last(block) => round(block)?.last.into(),
            Term::Key(block) => round(block)?.key.clone().into(),
            Term::Call(helper, args) => {
                let args: Result<Vec<Value>, _> = args.iter().map(|arg| self.term(arg)).collect();
                helper.call(&args?, MAX_OUTPUT).ok_or(RenderError::TooLong)?
            }
        })
    }

    fn value(&mut self, term: &Term, known: Name, put: Put) -> Result<(), RenderError> {
        let name = || shown(term);
        if let Term::Global(global) = term
            && let Some(Given::Variable(variable)) = self.values.get(global)
        {
            match put {
                Put::Literal(language) => self.out.script += &reading(language, variable),
                Put::Shell(place) => self.reference(place, variable),
                Put::Raw => return Err(RenderError::Missing(name())),
            }
            return Ok(());
        }
        if let Term::Global(global) = term
            && let Some(Given::Later(from)) = self.values.get(global)
        {
            if matches!(put, Put::Raw) {
                return Err(RenderError::Missing(name()));
            }
            let variable = if let Some(variable) = self.known.get(global) {
                variable.clone()
            } else {
                let variable = self.next()?;
                self.out.later.insert(variable.clone(), from.clone());
                self.known.insert(global.clone(), variable.clone());
                variable
            };
            match put {
                Put::Literal(language) => self.out.script += &reading(language, &variable),
                Put::Shell(place) => self.reference(place, &variable),
                Put::Raw => {}
            }
            return Ok(());
        }
        let value = self.term(term)?;
        if let Put::Literal(language) = put {
            self.out.script += &literal(language, &value);
            return Ok(());
        }
        let wrong = |expected| RenderError::Kind { name: name(), expected };
        let text = match (known.kind, &value) {
            (Kind::Text | Kind::Any, Value::String(_))
            | (Kind::Number, Value::Number(_))
            | (Kind::Boolean, Value::Bool(_)) => as_text(&value),
            (Kind::Text | Kind::Any, _) => return Err(wrong("text")),
            (Kind::Number, _) => return Err(wrong("number")),
            (Kind::Boolean, _) => return Err(wrong("boolean")),
            (Kind::List | Kind::Object, _) => return Err(wrong("single value")),
        };
        if text.contains('\0') {
            return Err(RenderError::Nul(name()));
        }
        match put {
            Put::Raw | Put::Literal(_) => self.out.script += &text,
            Put::Shell(place) => {
                let key = is_everywhere(term).then(name);
                let known = key.as_ref().and_then(|key| self.known.get(key)).cloned();
                let variable = match known {
                    Some(variable) => variable,
                    None => self.variable(text, key)?,
                };
                self.reference(place, &variable);
            }
        }
        Ok(())
    }

    fn reference(&mut self, place: Place, variable: &str) {
        let written = match place {
            Place::Word => format!("\"${{{variable}}}\""),
            Place::Double => format!("${{{variable}}}"),
            Place::Single => format!("'\"${{{variable}}}\"'"),
            Place::Arithmetic => format!("(${{{variable}}})"),
        };
        self.out.script += &written;
    }

    fn next(&mut self) -> Result<String, RenderError> {
        self.count += 1;
        if self.count > MAX_COUNT {
            return Err(RenderError::TooMany);
        }
        Ok(format!("{}{}", self.prefix, self.count))
    }

    fn variable(&mut self, text: String, key: Option<String>) -> Result<String, RenderError> {
        let variable = self.next()?;
        self.size += text.len() + VARIABLE;
        let by_file = is_too_long(&text) || self.size > MAX_VALUES;
        let map = if by_file { &mut self.out.files } else { &mut self.out.env };
        map.insert(variable.clone(), text);
        if let Some(key) = key {
            self.known.insert(key, variable.clone());
        }
        Ok(variable)
    }
}

/// Whether a term gives the same in each round of a loop.
fn is_everywhere(term: &Term) -> bool {
    match term {
        Term::Global(_) | Term::Literal(_) => true,
        Term::Call(_, args) => args.iter().all(is_everywhere),
        _ => false,
    }
}

/// What was written, more or less.
fn shown(term: &Term) -> String {
    match term {
        Term::Global(name) => name.clone(),
        Term::Literal(value) => value.to_string(),
        Term::This(_, None) => "this".to_owned(),
        Term::This(_, Some(key)) => format!("this.{key}"),
        Term::Index(_) => "@index".to_owned(),
        Term::First(_) => "@first".to_owned(),
        Term::Last(_) => "@last".to_owned(),
        Term::Key(_) => "@key".to_owned(),
        Term::Call(helper, args) => {
            let args: Vec<String> = args
                .iter()
                .map(
                    |arg| {
                        if matches!(arg, Term::Call(..)) { format!("({})", shown(arg)) } else { shown(arg) }
                    },
                )
                .collect();
            format!("{} {}", helper.name(), args.join(" "))
        }
    }
}
