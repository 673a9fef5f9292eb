//! From a template's parts to code: each name is known, and each value may stand where it does.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::code::Scanner;
use crate::expr::Expr;
use crate::helper::Helper;
use crate::language::Language;
use crate::parse::Part;
use crate::shell::{Lexer, Place, Refusal};
use crate::template::{Error, Kind, Name};

/// What is done when the template is rendered.
#[derive(Clone, Debug)]
pub(crate) enum Code {
    Text(String),
    Value(Term, Name, Put),
    If(Term, Vec<Code>, Vec<Code>),
    /// The body for each item; the other where there is none.
    Each(Term, Vec<Code>, Vec<Code>),
    With(Term, Vec<Code>, Vec<Code>),
}

/// How a value gets into the script.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Put {
    /// A reference to the environment.
    Shell(Place),
    /// An expression of the language.
    Literal(Language),
    /// Its text.
    Raw,
}

/// An expression whose names are known. Blocks are counted from the outermost.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Term {
    Global(String),
    This(usize, Option<String>),
    Index(usize),
    First(usize),
    Last(usize),
    Key(usize),
    Literal(Value),
    Call(Helper, Vec<Term>),
}

/// A block that gives names: `#each` or `#with`.
struct Block {
    this: Name,
    item: Option<String>,
    /// It is an `#each`, over an object or not.
    each: Option<bool>,
}

pub(crate) struct Compiler<'a> {
    source: &'a str,
    language: Language,
    names: &'a BTreeMap<String, Name>,
    lexer: Lexer,
    scanner: Scanner,
    blocks: Vec<Block>,
}

/// Where the script stands, in its language.
type State = (Lexer, Scanner);

impl<'a> Compiler<'a> {
    pub fn new(source: &'a str, language: Language, names: &'a BTreeMap<String, Name>) -> Self {
        let scanner = Scanner::new(language);
        Self { source, language, names, lexer: Lexer::default(), scanner, blocks: Vec::new() }
    }

    pub fn compile(mut self, parts: &[Part]) -> Result<Vec<Code>, Error> {
        let code = self.parts(parts, true)?;
        if self.language == Language::Shell {
            let source = self.source;
            self.lexer.finish().map_err(|refusal| located(source, source.len(), refusal))?;
        }
        Ok(code)
    }

    fn parts(&mut self, parts: &[Part], end: bool) -> Result<Vec<Code>, Error> {
        let mut code = Vec::with_capacity(parts.len());
        for (n, part) in parts.iter().enumerate() {
            let last = end && n + 1 == parts.len();
            code.push(match part {
                Part::Text { at, text } => {
                    let fed = match self.language {
                        Language::Shell => self.lexer.feed(text, last),
                        Language::Other => Ok(()),
                        _ => self.scanner.feed(text),
                    };
                    fed.map_err(|refusal| located(self.source, *at, refusal))?;
                    Code::Text(text.clone())
                }
                Part::Value { at, expr, raw } => self.value(*at, expr, *raw)?,
                Part::If { at, test, then, otherwise } => {
                    let (test, name) = self.term(*at, test)?;
                    self.known_now(*at, name)?;
                    let before = self.state();
                    let then = self.parts(then, false)?;
                    let otherwise = self.otherwise(*at, before, otherwise)?;
                    Code::If(test, then, otherwise)
                }
                Part::With { at, value, item, body, otherwise } => {
                    let (term, this) = self.term(*at, value)?;
                    self.known_now(*at, this)?;
                    self.blocks.push(Block { this, item: item.clone(), each: None });
                    let before = self.state();
                    let body = self.parts(body, false)?;
                    self.blocks.pop();
                    let otherwise = self.otherwise(*at, before, otherwise)?;
                    Code::With(term, body, otherwise)
                }
                Part::Each { at, list, item, body, otherwise } => {
                    self.each(*at, list, item.clone(), body, otherwise)?
                }
            });
        }
        Ok(code)
    }

    /// The other branch of a block, which begins where the first one did.
    fn otherwise(&mut self, at: usize, before: State, parts: &[Part]) -> Result<Vec<Code>, Error> {
        let after = self.state();
        (self.lexer, self.scanner) = before;
        let code = self.parts(parts, false)?;
        self.join(at, after)?;
        Ok(code)
    }

    fn each(
        &mut self,
        at: usize,
        list: &Expr,
        item: Option<String>,
        body: &[Part],
        otherwise: &[Part],
    ) -> Result<Code, Error> {
        let (term, known) = self.term(at, list)?;
        self.known_now(at, known)?;
        let object = match known.kind {
            Kind::List | Kind::Any => false,
            Kind::Object => true,
            _ => return Err(self.error(at, format!("`#each` over `{list}`, which is no list"), "a list")),
        };
        let this = Name { kind: Kind::Text, ..known };
        self.blocks.push(Block { this, item, each: Some(object) });
        // Once to see where an item may leave the script, and again to see that the next one may follow.
        let start = self.state();
        self.parts(body, false)?;
        self.join(at, start.clone())?;
        let before = self.state();
        let body = self.parts(body, false)?;
        self.join(at, before.clone())?;
        if self.state() != before {
            return Err(self.error(
                at,
                "a loop whose end is not like its beginning".to_owned(),
                "whole words or commands in it",
            ));
        }
        self.blocks.pop();
        let otherwise = self.otherwise(at, start, otherwise)?;
        Ok(Code::Each(term, body, otherwise))
    }

    fn value(&mut self, at: usize, expr: &Expr, raw: bool) -> Result<Code, Error> {
        let (term, known) = self.term(at, expr)?;
        let plain = matches!(known.kind, Kind::Number | Kind::Boolean) || matches!(term, Term::Literal(_));
        let is_code = !matches!(self.language, Language::Shell | Language::Other);
        if is_code && !raw {
            self.scanner.place().map_err(|refusal| located(self.source, at, refusal))?;
            return Ok(Code::Value(term, known, Put::Literal(self.language)));
        }
        match known.kind {
            Kind::List => {
                return Err(self.error(at, format!("`{expr}` is a list"), "`{{#each …}}`, `join` or `json`"));
            }
            Kind::Object => {
                return Err(self.error(at, format!("`{expr}` is an object"), "one of its keys, or `json`"));
            }
            _ => {}
        }
        if known.late && raw {
            let found = format!("`{expr}` as raw text, which is known only when the script starts");
            return Err(self.error(at, found, "it with two braces, or read it from the environment"));
        }
        if self.language != Language::Shell {
            let put = match (raw, plain || known.constrained) {
                (true, true) => Put::Raw,
                (true, false) => {
                    let instead = "an `enum` or a `pattern` for it, or read it from the environment";
                    return Err(self.error(at, format!("`{expr}` as raw text"), instead));
                }
                (false, _) => {
                    let found = format!("`{expr}` in a script that is not a shell's");
                    let instead = "three braces for a constrained parameter, or read it from the environment";
                    return Err(self.error(at, found, instead));
                }
            };
            return Ok(Code::Value(term, known, put));
        }
        if raw && !plain {
            let found = format!("`{expr}` as raw text in a shell script");
            return Err(self.error(at, found, "it with two braces"));
        }
        let place = self
            .lexer
            .place(
                known.kind == Kind::Number,
                known.constrained || matches!(known.kind, Kind::Boolean | Kind::Number),
            )
            .map_err(|refusal| located(self.source, at, refusal))?;
        Ok(Code::Value(term, known, Put::Shell(place)))
    }

    fn state(&self) -> State {
        (self.lexer.clone(), self.scanner.clone())
    }

    fn join(&mut self, at: usize, (lexer, scanner): State) -> Result<(), Error> {
        let joined = self.lexer.clone().join(lexer).zip(self.scanner.clone().join(&scanner));
        (self.lexer, self.scanner) = joined.ok_or_else(|| {
            let found =
                "a block whose branches end in different quotes, substitutions or here-documents".to_owned();
            self.error(at, found, "whole words or commands in it, on lines of their own in a here-document")
        })?;
        Ok(())
    }

    /// An expression with its names looked up, and what it gives.
    fn term(&self, at: usize, expr: &Expr) -> Result<(Term, Name), Error> {
        let literal =
            |value: Value, kind| Ok((Term::Literal(value), Name { kind, constrained: true, late: false }));
        match expr {
            Expr::Text(text) => literal(text.clone().into(), Kind::Text),
            Expr::Number(number) => literal((*number).into(), Kind::Number),
            Expr::Boolean(value) => literal((*value).into(), Kind::Boolean),
            Expr::Name(name, up) => self.name(at, name, *up),
            Expr::Call(helper, args) => {
                let mut terms = Vec::with_capacity(args.len());
                let mut kinds = Vec::with_capacity(args.len());
                let mut constrained = true;
                for arg in args {
                    let (term, name) = self.term(at, arg)?;
                    self.known_now(at, name)?;
                    terms.push(term);
                    kinds.push(name.kind);
                    constrained &= name.constrained;
                }
                let kind = helper.kind(&kinds).map_err(|(found, instead)| self.error(at, found, instead))?;
                Ok((Term::Call(*helper, terms), Name { kind, constrained, late: false }))
            }
        }
    }

    fn name(&self, at: usize, name: &str, up: usize) -> Result<(Term, Name), Error> {
        let (first, key) = match name.split_once('.') {
            Some((first, key)) => (first, Some(key)),
            None => (name, None),
        };
        let outer = |found: &str| self.error(at, format!("`{name}` outside of {found}"), "it inside of one");
        let own = |block: usize| -> Result<(Term, Name), Error> {
            let this = self.blocks[block].this;
            match key {
                None => Ok((Term::This(block, None), this)),
                Some(key) if this.kind == Kind::Object && !key.contains('.') => {
                    let key = key.trim_start_matches('[').trim_end_matches(']');
                    Ok((Term::This(block, Some(key.to_owned())), Name { kind: Kind::Text, ..this }))
                }
                Some(_) => Err(self.error(at, format!("a key of `{first}`, which is no object"), "it alone")),
            }
        };
        if first == "this" || first.starts_with('@') {
            let block = self.blocks.len().checked_sub(up + 1);
            let Some(block) = block else { return Err(outer("`#each` and `#with`")) };
            if first == "this" {
                return own(block);
            }
            let number = Name { kind: Kind::Number, constrained: true, late: false };
            let boolean = Name { kind: Kind::Boolean, ..number };
            return match (name, self.blocks[block].each) {
                ("@index", Some(_)) => Ok((Term::Index(block), number)),
                ("@first", Some(_)) => Ok((Term::First(block), boolean)),
                ("@last", Some(_)) => Ok((Term::Last(block), boolean)),
                ("@key", Some(true)) => Ok((Term::Key(block), self.blocks[block].this)),
                ("@key", _) => Err(outer("`#each` over an object")),
                ("@index" | "@first" | "@last", None) => Err(outer("`#each`")),
                _ => Err(self.error(at, format!("`{name}`"), "`@index`, `@first`, `@last` or `@key`")),
            };
        }
        if let Some(block) = self.blocks.iter().rposition(|block| block.item.as_deref() == Some(first)) {
            return own(block);
        }
        if let Some(known) = self.names.get(name) {
            return Ok((Term::Global(name.to_owned()), *known));
        }
        let nearest = self.names.keys().min_by_key(|known| strsim::damerau_levenshtein(known, name));
        let instead = nearest
            .map_or("a name that there is".to_owned(), |nearest| format!("`{nearest}`, if that is meant"));
        Err(self.error(at, format!("`{name}` is not known"), &instead))
    }

    fn known_now(&self, at: usize, name: Name) -> Result<(), Error> {
        if !name.late {
            return Ok(());
        }
        let found = "a block or helper that looks at a value that is known only when the script starts";
        Err(self.error(at, found.to_owned(), "the script's own test, such as `if [ -n \"{{…}}\" ]; then`"))
    }

    fn error(&self, at: usize, found: String, instead: &str) -> Error {
        Error::at(self.source, at, found, instead)
    }
}

fn located(source: &str, start: usize, refusal: Refusal) -> Error {
    Error::at(source, start + refusal.at, refusal.found, &refusal.instead)
}
