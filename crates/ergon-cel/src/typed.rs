//! Whether an expression can be true or false at all, as far as its types tell: before there is any value.

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SelectExpr, operators};

use super::names::{Place, place, written};

/// What a part of an expression gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// Whatever: only its value tells.
    Any,
    Bool,
    Int,
    Double,
    /// A whole number or another.
    Number,
    Text,
    Bytes,
    Null,
    Time,
    Duration,
    List(Box<Type>),
    Map(Box<Type>),
}

impl Type {
    /// A list of texts.
    pub fn texts() -> Self {
        Self::List(Box::new(Self::Text))
    }

    fn is_number(&self) -> bool {
        matches!(self, Self::Int | Self::Double | Self::Number | Self::Any)
    }

    fn is(&self, wanted: &Self) -> bool {
        *self == Self::Any || self == wanted
    }

    /// Whether a value of the one may equal one of the other.
    fn may_equal(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) | (_, Self::Any) => true,
            (Self::List(one), Self::List(other)) | (Self::Map(one), Self::Map(other)) => one.may_equal(other),
            _ => self == other || self.is_number() && other.is_number(),
        }
    }

    pub(super) fn with_article(&self) -> &'static str {
        match self {
            Self::Any => "anything",
            Self::Bool => "true or false",
            Self::Int | Self::Double | Self::Number => "a number",
            Self::Text => "a text",
            Self::Bytes => "bytes",
            Self::Null => "null",
            Self::Time => "a time",
            Self::Duration => "a duration",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

/// A mistake: where, what, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mistake {
    pub id: u64,
    pub message: String,
    pub help: Option<String>,
}

type Result<T = Type> = std::result::Result<T, Mistake>;

/// What names are: none for those that are not there.
pub(super) struct Checker<'a> {
    pub type_of: &'a dyn Fn(&str) -> Option<Type>,
    /// The variables of comprehensions, from the outside in.
    pub own: Vec<(String, Type)>,
}

/// Functions, each with what stands before its dot (none: anything may, or nothing does), and what it gives.
const FUNCTIONS: [(&str, Option<Takes>, Gives); 43] = [
    ("size", None, Gives::Int),
    ("contains", Some(Takes::Text), Gives::Bool),
    ("startsWith", Some(Takes::Text), Gives::Bool),
    ("endsWith", Some(Takes::Text), Gives::Bool),
    ("matches", Some(Takes::Text), Gives::Bool),
    ("lowerAscii", Some(Takes::Text), Gives::Text),
    ("upperAscii", Some(Takes::Text), Gives::Text),
    ("trim", Some(Takes::Text), Gives::Text),
    ("replace", Some(Takes::Text), Gives::Text),
    ("substring", Some(Takes::Text), Gives::Text),
    ("charAt", Some(Takes::Text), Gives::Text),
    ("indexOf", Some(Takes::Text), Gives::Int),
    ("lastIndexOf", Some(Takes::Text), Gives::Int),
    ("split", Some(Takes::Text), Gives::Texts),
    ("join", Some(Takes::List), Gives::Text),
    ("slice", Some(Takes::List), Gives::Same),
    ("distinct", Some(Takes::List), Gives::Same),
    ("sort", Some(Takes::List), Gives::Same),
    ("flatten", Some(Takes::List), Gives::Any),
    ("reverse", None, Gives::Same),
    ("string", None, Gives::Text),
    ("int", None, Gives::Int),
    ("uint", None, Gives::Int),
    ("double", None, Gives::Double),
    ("bool", None, Gives::Bool),
    ("bytes", None, Gives::Any),
    ("dyn", None, Gives::Any),
    ("type", None, Gives::Any),
    ("@duration", None, Gives::Duration),
    ("@timestamp", None, Gives::Time),
    ("getFullYear", Some(Takes::Time), Gives::Int),
    ("getMonth", Some(Takes::Time), Gives::Int),
    ("getDate", Some(Takes::Time), Gives::Int),
    ("getDayOfMonth", Some(Takes::Time), Gives::Int),
    ("getDayOfWeek", Some(Takes::Time), Gives::Int),
    ("getDayOfYear", Some(Takes::Time), Gives::Int),
    ("getHours", Some(Takes::Time), Gives::Int),
    ("getMinutes", Some(Takes::Time), Gives::Int),
    ("getSeconds", Some(Takes::Time), Gives::Int),
    ("getMilliseconds", Some(Takes::Time), Gives::Int),
    ("@not_strictly_false", None, Gives::Bool),
    ("@sortByAssociatedKeys", None, Gives::Same),
    ("sortBy", Some(Takes::List), Gives::Same),
];

#[derive(Clone, Copy)]
enum Takes {
    Text,
    List,
    Time,
}

#[derive(Clone, Copy)]
enum Gives {
    Any,
    Same,
    Bool,
    Int,
    Double,
    Text,
    Texts,
    Time,
    Duration,
}

impl Checker<'_> {
    /// What the expression gives.
    ///
    /// # Errors
    /// The first mistake in it.
    pub fn infer(&mut self, expr: &IdedExpr) -> Result {
        let own: Vec<String> = self.own.iter().map(|(name, _)| name.clone()).collect();
        match place(expr, &own) {
            Place::Name(parts, id) => {
                let name = written(&parts);
                return (self.type_of)(&name).ok_or_else(|| wrong(id, format!("there is no `{name}`"), None));
            }
            Place::Part(parts, id) => {
                let help = "`params.NAME`, `tasks.TASK.results.NAME`, `tasks.TASK.status`, `workspaces.NAME.bound` \
                            or `context.…`; one with a dash in it is `params[\"NAME\"]`";
                return Err(wrong(id, format!("`{}` is no whole name", written(&parts)), Some(help)));
            }
            Place::Other => {}
        }
        match &expr.expr {
            Expr::Unspecified | Expr::Struct(_) => Ok(Type::Any),
            Expr::Literal(literal) => Ok(match literal {
                LiteralValue::Boolean(_) => Type::Bool,
                LiteralValue::Bytes(_) => Type::Bytes,
                LiteralValue::Double(_) => Type::Double,
                LiteralValue::Int(_) | LiteralValue::UInt(_) => Type::Int,
                LiteralValue::Null => Type::Null,
                LiteralValue::String(_) => Type::Text,
            }),
            Expr::Ident(name) => self.ident(expr.id, name),
            Expr::Select(select) => self.select(expr.id, select),
            Expr::List(list) => {
                let mut item: Option<Type> = None;
                for element in &list.elements {
                    let found = self.infer(element)?;
                    item = Some(item.map_or(found.clone(), |known| joined(known, &found)));
                }
                Ok(Type::List(Box::new(item.unwrap_or(Type::Any))))
            }
            Expr::Map(map) => {
                let mut value: Option<Type> = None;
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        self.infer(&entry.key)?;
                        let found = self.infer(&entry.value)?;
                        value = Some(value.map_or(found.clone(), |known| joined(known, &found)));
                    }
                }
                Ok(Type::Map(Box::new(value.unwrap_or(Type::Any))))
            }
            Expr::Call(call) => self.call(expr.id, call),
            Expr::Comprehension(inner) => {
                let range = self.infer(&inner.iter_range)?;
                let item = match range {
                    Type::List(item) => *item,
                    Type::Map(_) => Type::Text,
                    Type::Any => Type::Any,
                    other => {
                        return Err(wrong(
                            inner.iter_range.id,
                            format!("a loop over {}", other.with_article()),
                            Some("a list"),
                        ));
                    }
                };
                let init = self.infer(&inner.accu_init)?;
                let before = self.own.len();
                self.own.push((inner.iter_var.clone(), item));
                self.own.extend(inner.iter_var2.iter().map(|name| (name.clone(), Type::Any)));
                let accumulator =
                    if matches!(init, Type::List(_)) { Type::List(Box::new(Type::Any)) } else { init };
                self.own.push((inner.accu_var.clone(), accumulator.clone()));
                self.infer(&inner.loop_cond)?;
                let step = self.infer(&inner.loop_step)?;
                if let Some(last) = self.own.last_mut() {
                    last.1 = joined(accumulator, &step);
                }
                let result = self.infer(&inner.result);
                self.own.truncate(before);
                result
            }
        }
    }

    fn ident(&self, id: u64, name: &str) -> Result {
        if let Some((_, type_)) = self.own.iter().rev().find(|(known, _)| known == name) {
            return Ok(type_.clone());
        }
        if super::bound::TYPES.contains(&name) || name == "google" {
            return Ok(Type::Any);
        }
        let help = "a text in quotes; names begin with `params.`, `tasks.`, `workspaces.` or `context.`";
        Err(wrong(id, format!("`{name}` is not known here"), Some(help)))
    }

    fn select(&mut self, id: u64, select: &SelectExpr) -> Result {
        if select.test {
            // Of a name it asks whether there is a value; of a value whether it has a key.
            let whole = IdedExpr { id, expr: Expr::Select(SelectExpr { test: false, ..select.clone() }) };
            return self.infer(&whole).map(|_| Type::Bool);
        }
        match self.infer(&select.operand)? {
            Type::Map(value) => Ok(*value),
            Type::Any => Ok(Type::Any),
            other => Err(wrong(
                id,
                format!("`.{}` of {}", select.field, other.with_article()),
                Some("an object, or a name alone"),
            )),
        }
    }

    fn call(&mut self, id: u64, call: &CallExpr) -> Result {
        let target = call.target.as_deref().map(|target| self.infer(target)).transpose()?;
        let args: Vec<Type> = call.args.iter().map(|arg| self.infer(arg)).collect::<Result<_>>()?;
        let pair = || (args.first().unwrap_or(&Type::Any), args.get(1).unwrap_or(&Type::Any));
        let sign = sign(&call.func_name);
        let both = |what: &str| {
            let (one, other) = pair();
            wrong(
                id,
                format!("`{sign}` with {} and {}", one.with_article(), other.with_article()),
                Some(what),
            )
        };
        match call.func_name.as_str() {
            operators::LOGICAL_AND | operators::LOGICAL_OR | operators::LOGICAL_NOT => {
                match args.iter().zip(&call.args).find(|(arg, _)| !arg.is(&Type::Bool)) {
                    Some((arg, at)) => Err(wrong(
                        at.id,
                        format!("`{sign}` with {}", arg.with_article()),
                        Some("a comparison, as in `params.x == 'a'`"),
                    )),
                    None => Ok(Type::Bool),
                }
            }
            operators::CONDITIONAL => match args.as_slice() {
                [test, ..] if !test.is(&Type::Bool) => Err(wrong(
                    id,
                    format!("`? :` asks {}", test.with_article()),
                    Some("true or false before the `?`"),
                )),
                [_, then, otherwise] => Ok(joined(then.clone(), otherwise)),
                _ => Ok(Type::Any),
            },
            operators::EQUALS | operators::NOT_EQUALS => {
                let (one, other) = pair();
                if one.may_equal(other) {
                    return Ok(Type::Bool);
                }
                let converts = if one.is_number() || other.is_number() {
                    "the same on both sides: a text in quotes, a number without, or `int(…)` of a text"
                } else {
                    "the same type on both sides"
                };
                Err(both(converts))
            }
            operators::LESS | operators::LESS_EQUALS | operators::GREATER | operators::GREATER_EQUALS => {
                let (one, other) = pair();
                let ordered = |type_: &Type| !matches!(type_, Type::List(_) | Type::Map(_) | Type::Null);
                if one.may_equal(other) && ordered(one) && ordered(other) {
                    return Ok(Type::Bool);
                }
                Err(both("numbers on both sides, with `int(…)` or `double(…)` of a text"))
            }
            operators::IN => match pair() {
                (one, Type::List(item)) if one.may_equal(item) => Ok(Type::Bool),
                (_, Type::Map(_) | Type::Any) => Ok(Type::Bool),
                (one, Type::List(item)) => Err(wrong(
                    id,
                    format!("`in` looks for {} in a list that never has one", one.with_article()),
                    Some(if item.is_number() {
                        "a number, or texts in the list"
                    } else {
                        "what the list has"
                    }),
                )),
                _ => Err(both("a list after `in`")),
            },
            operators::ADD => match pair() {
                (Type::Text, Type::Text) => Ok(Type::Text),
                (Type::Bytes, Type::Bytes) => Ok(Type::Bytes),
                (Type::List(one), Type::List(other)) => {
                    Ok(Type::List(Box::new(joined((**one).clone(), other))))
                }
                (Type::Any | Type::Time | Type::Duration, _)
                | (_, Type::Any | Type::Time | Type::Duration) => Ok(Type::Any),
                (one, other) if one.is_number() && other.is_number() => Ok(joined(one.clone(), other)),
                _ => Err(both("the same type on both sides, with `string(…)` of a number")),
            },
            operators::SUBSTRACT | operators::MULTIPLY | operators::DIVIDE | operators::MODULO => {
                match pair() {
                    (Type::Any | Type::Time | Type::Duration, _)
                    | (_, Type::Any | Type::Time | Type::Duration) => Ok(Type::Any),
                    (one, other) if one.is_number() && other.is_number() => Ok(joined(one.clone(), other)),
                    _ => Err(both("numbers on both sides; a name with a dash in it is `params[\"NAME\"]`")),
                }
            }
            operators::NEGATE => match pair().0 {
                one if one.is_number() => Ok(one.clone()),
                one => Err(wrong(id, format!("`-` of {}", one.with_article()), Some("a number"))),
            },
            operators::INDEX => match pair() {
                (Type::List(item), index) if index.is_number() => Ok((**item).clone()),
                (Type::Map(value), _) => Ok((**value).clone()),
                (Type::Any, _) => Ok(Type::Any),
                (Type::List(_), _) => Err(both("a number in the brackets")),
                _ => Err(both("a list or an object before the brackets")),
            },
            name if name.starts_with('_') => Ok(Type::Any),
            name => Self::function(id, name, target.as_ref(), &args),
        }
    }

    fn function(id: u64, name: &str, target: Option<&Type>, args: &[Type]) -> Result {
        let Some((_, takes, gives)) = FUNCTIONS.iter().find(|(known, ..)| *known == name) else {
            let known = FUNCTIONS.iter().map(|(known, ..)| *known).filter(|known| !known.starts_with('@'));
            let extra = ["duration", "timestamp", "has", "all", "exists", "exists_one", "map", "filter"];
            let mut all: Vec<&str> = known.chain(extra).collect();
            all.sort_unstable();
            let near = all.iter().min_by_key(|known| strsim::damerau_levenshtein(known, name));
            let near = near.filter(|near| strsim::damerau_levenshtein(near, name) <= 2 + name.len() / 4);
            let help = near.map_or_else(
                || format!("one of {}", all.join(", ")),
                |near| format!("`{near}`, if that is meant"),
            );
            return Err(Mistake { id, message: format!("`{name}` is no function"), help: Some(help) });
        };
        // A function may be written before its value as well.
        let subject = target.or_else(|| args.first()).unwrap_or(&Type::Any);
        let (fits, wanted) = match takes {
            None => (true, ""),
            Some(Takes::Text) => (subject.is(&Type::Text), "a text"),
            Some(Takes::List) => (matches!(subject, Type::List(_) | Type::Any), "a list"),
            Some(Takes::Time) => {
                (matches!(subject, Type::Time | Type::Duration | Type::Any), "a time or duration")
            }
        };
        if !fits {
            return Err(Mistake {
                id,
                message: format!("`{name}` of {}", subject.with_article()),
                help: Some(format!("it is for {wanted}")),
            });
        }
        if matches!(name, "contains" | "startsWith" | "endsWith" | "matches")
            && let Some(arg) = args.last().filter(|arg| !arg.is(&Type::Text))
        {
            return Err(Mistake {
                id,
                message: format!("`{name}` with {}", arg.with_article()),
                help: Some("a text in the brackets".to_owned()),
            });
        }
        Ok(match gives {
            Gives::Any => Type::Any,
            Gives::Same => subject.clone(),
            Gives::Bool => Type::Bool,
            Gives::Int => Type::Int,
            Gives::Double => Type::Double,
            Gives::Text => Type::Text,
            Gives::Texts => Type::texts(),
            Gives::Time => Type::Time,
            Gives::Duration => Type::Duration,
        })
    }
}

fn wrong(id: u64, message: String, help: Option<&str>) -> Mistake {
    Mistake { id, message, help: help.map(|help| format!("write {help}")) }
}

fn joined(one: Type, other: &Type) -> Type {
    if one == *other {
        one
    } else if one != Type::Any && *other != Type::Any && one.is_number() && other.is_number() {
        Type::Number
    } else {
        Type::Any
    }
}

/// An operator as it is written.
fn sign(name: &str) -> &str {
    match name {
        operators::IN => "in",
        operators::INDEX => "[ ]",
        name => name.trim_matches('_'),
    }
}
