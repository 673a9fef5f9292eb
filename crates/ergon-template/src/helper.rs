//! The helpers: what can be made of values in a tag.

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::template::Kind;

/// What a tag may do with values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Helper {
    /// `default value other`: the other where the value is empty.
    Default,
    /// `json value`: as JSON.
    Json,
    /// `join list between`: the items, with a comma or another text between them.
    Join,
    Lower,
    /// `replace text from to`: every `from`.
    Replace,
    /// `basename path`: what stands after the last `/`.
    Basename,
    Eq,
    Ne,
    And,
    Or,
    Not,
    /// `quote text`: as one word of a shell.
    Quote,
    /// `indent text spaces`: each line but an empty one.
    Indent,
    /// `sha256 text`: in hexadecimal digits.
    Sha256,
}

const ALL: [(&str, Helper, usize, usize); 14] = [
    ("default", Helper::Default, 2, 2),
    ("json", Helper::Json, 1, 1),
    ("join", Helper::Join, 1, 2),
    ("lower", Helper::Lower, 1, 1),
    ("replace", Helper::Replace, 3, 3),
    ("basename", Helper::Basename, 1, 1),
    ("eq", Helper::Eq, 2, 2),
    ("ne", Helper::Ne, 2, 2),
    ("and", Helper::And, 2, 8),
    ("or", Helper::Or, 2, 8),
    ("not", Helper::Not, 1, 1),
    ("quote", Helper::Quote, 1, 1),
    ("indent", Helper::Indent, 2, 2),
    ("sha256", Helper::Sha256, 1, 1),
];

/// The most spaces that `indent` puts before a line.
const MAX_INDENT: usize = 80;

impl Helper {
    pub fn named(name: &str) -> Option<Self> {
        ALL.iter().find(|known| known.0 == name).map(|known| known.1)
    }

    pub fn name(self) -> &'static str {
        ALL.iter().find(|known| known.1 == self).map_or("", |known| known.0)
    }

    pub fn check_count(self, count: usize) -> Result<(), (String, &'static str)> {
        let fits =
            ALL.iter().any(|(_, helper, least, most)| *helper == self && (*least..=*most).contains(&count));
        let found =
            || format!("`{}` with {count} argument{}", self.name(), if count == 1 { "" } else { "s" });
        let instead = match self {
            Self::Default => "`default value other`",
            Self::Join => "`join list` or `join list \", \"`",
            Self::Replace => "`replace text from to`",
            Self::Indent => "`indent text 4`",
            Self::Eq | Self::Ne => "it with two",
            Self::And | Self::Or => "it with two or more, at most eight",
            _ => "it with one",
        };
        if fits { Ok(()) } else { Err((found(), instead)) }
    }

    /// The kind of what it gives, if it takes these.
    pub fn kind(self, args: &[Kind]) -> Result<Kind, (String, &'static str)> {
        let single = |kind: &Kind| !matches!(kind, Kind::List | Kind::Object);
        let refused = |found: &str, instead| Err((format!("`{}` of {found}", self.name()), instead));
        Ok(match self {
            Self::Eq | Self::Ne | Self::And | Self::Or | Self::Not => Kind::Boolean,
            Self::Join if !matches!(args.first(), Some(Kind::List | Kind::Any)) => {
                return refused("what is no list", "a list");
            }
            Self::Json | Self::Join => Kind::Text,
            Self::Default if !args.iter().all(single) => return refused("a list or an object", "a text"),
            Self::Default => match args {
                [one, other] if one == other => *one,
                _ => Kind::Text,
            },
            Self::Indent if args.get(1) != Some(&Kind::Number) => {
                return refused("what is no number of spaces", "`indent text 4`");
            }
            _ if !args.iter().all(single) => {
                return refused("a list or an object", "`join` or `json` around the list");
            }
            _ => Kind::Text,
        })
    }

    /// What it gives; nothing where that is longer than `most` bytes.
    pub fn call(self, args: &[Value], most: usize) -> Option<Value> {
        let text = |at: usize| args.get(at).map(as_text).unwrap_or_default();
        if self == Self::Replace {
            let count = if text(1).is_empty() { 0 } else { text(0).matches(&text(1)).count() };
            if count.saturating_mul(text(2).len()) > most {
                return None;
            }
        }
        let value = self.value(args, text);
        value.as_str().is_none_or(|text| text.len() <= most).then_some(value)
    }

    fn value(self, args: &[Value], text: impl Fn(usize) -> String) -> Value {
        let all = |test: fn(&Value) -> bool| args.iter().all(test);
        match self {
            Self::Default => {
                args.iter().find(|arg| !is_empty(arg)).or(args.last()).cloned().unwrap_or_default()
            }
            Self::Json => args.first().map(Value::to_string).unwrap_or_default().into(),
            Self::Join => {
                let between = if args.len() > 1 { text(1) } else { ",".to_owned() };
                let items = args.first().and_then(Value::as_array);
                items.into_iter().flatten().map(as_text).collect::<Vec<_>>().join(&between).into()
            }
            Self::Lower => text(0).to_lowercase().into(),
            Self::Replace if text(1).is_empty() => text(0).into(),
            Self::Replace => text(0).replace(&text(1), &text(2)).into(),
            Self::Basename => {
                let path = text(0);
                let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
                name.into()
            }
            Self::Eq => same(args).into(),
            Self::Ne => (!same(args)).into(),
            Self::And => all(truthy).into(),
            Self::Or => args.iter().any(truthy).into(),
            Self::Not => (!all(truthy)).into(),
            Self::Quote => format!("'{}'", text(0).replace('\'', "'\\''")).into(),
            Self::Indent => {
                let spaces = args.get(1).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
                let spaces = " ".repeat(spaces.unwrap_or_default().min(MAX_INDENT));
                let line = |line: &str| {
                    if line.is_empty() { String::new() } else { format!("{spaces}{line}") }
                };
                text(0).split('\n').map(line).collect::<Vec<_>>().join("\n").into()
            }
            Self::Sha256 => {
                let hex = Sha256::digest(text(0)).iter().fold(String::new(), |hex, byte| {
                    let digit = |n: u8| char::from_digit(u32::from(n), 16).unwrap_or_default();
                    hex + &String::from_iter([digit(byte >> 4), digit(byte & 15)])
                });
                hex.into()
            }
        }
    }
}

/// Two values are the same if their texts are: a number and what is written like it, too.
fn same(args: &[Value]) -> bool {
    matches!(args, [one, other] if as_text(one) == as_text(other))
}

fn is_empty(value: &Value) -> bool {
    matches!(value, Value::Null) || value.as_str() == Some("")
}

/// The text of a single value; JSON of a list or object.
pub(crate) fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        value => value.to_string(),
    }
}

pub(crate) fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        // A parameter is a text, and this is how it says no.
        Value::String(text) => !text.is_empty() && text != "false",
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}
