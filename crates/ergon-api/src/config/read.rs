//! Reading one ConfigMap key by key, with everything that is wrong about it.

use std::collections::BTreeMap;
use std::fmt;

use crate::suggest::nearest;
use crate::{Duration, yaml};

/// Something wrong with a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The ConfigMap.
    pub map: &'static str,
    /// The key in its data.
    pub key: String,
    /// What is wrong, with the key and what stands there.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
    pub severity: Severity,
}

/// What a [`Problem`] means for the ConfigMap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// None of it is taken over.
    Error,
    /// The key has no effect; the others have.
    Warning,
}

impl Problem {
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.map, self.message)?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

/// A value out of a fixed list of words.
pub(super) trait Choice: Copy + PartialEq + 'static {
    const ALL: &'static [Self];

    fn word(self) -> &'static str;
}

/// One ConfigMap's data, while it is read.
pub(super) struct Reader<'a> {
    map: &'static str,
    data: &'a BTreeMap<String, String>,
    known: Vec<&'static str>,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub fn new(map: &'static str, data: &'a BTreeMap<String, String>) -> Self {
        Self { map, data, known: Vec::new(), problems: Vec::new() }
    }

    /// What stands at a key, which is known from now on.
    pub fn get(&mut self, key: &'static str) -> Option<&'a str> {
        self.known.push(key);
        self.data.get(key).map(String::as_str)
    }

    pub fn error(&mut self, key: &str, message: impl Into<String>, help: Option<String>) {
        self.add(key, message.into(), help, Severity::Error);
    }

    pub fn warn(&mut self, key: &str, message: impl Into<String>, help: Option<String>) {
        self.add(key, message.into(), help, Severity::Warning);
    }

    fn add(&mut self, key: &str, message: String, help: Option<String>, severity: Severity) {
        self.problems.push(Problem { map: self.map, key: key.to_owned(), message, help, severity });
    }

    /// A switch, in the spellings that Go's `ParseBool` takes.
    pub fn flag(&mut self, key: &'static str, target: &mut bool) {
        let Some(text) = self.get(key) else { return };
        match text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => *target = true,
            "0" | "f" | "F" | "false" | "FALSE" | "False" => *target = false,
            _ => self.error(key, format!("`{key}` is `{text}`, which is neither true nor false"), None),
        }
    }

    /// One of several words; case does not matter.
    pub fn choice<T: Choice>(&mut self, key: &'static str, target: &mut T) {
        let Some(text) = self.get(key) else { return };
        let word = text.to_lowercase();
        if let Some(found) = T::ALL.iter().find(|choice| choice.word() == word) {
            *target = *found;
        } else {
            let help = nearest(&word, T::ALL.iter().map(|choice| choice.word()));
            self.error(
                key,
                format!("`{key}` is `{text}`, which is none of {}", words::<T>()),
                help.map(|near| format!("did you mean `{near}`?")),
            );
        }
    }

    /// A whole number of `unit` below `end`.
    pub fn number(&mut self, key: &'static str, end: u32, unit: &str) -> Option<u32> {
        let text = self.get(key)?;
        let number = text.parse::<u32>().ok().filter(|number| *number < end);
        if number.is_none() {
            let message = format!("`{key}` is `{text}`: a number from 0 to {} is needed ({unit})", end - 1);
            self.error(key, message, None);
        }
        number
    }

    /// A span of time that is not negative.
    pub fn duration(&mut self, key: &'static str, target: &mut Duration) {
        let Some(text) = self.get(key) else { return };
        match text.parse::<Duration>() {
            Ok(duration) if duration.is_negative() => {
                self.error(key, format!("`{key}` is `{text}`, and a duration cannot be negative"), None);
            }
            Ok(duration) => *target = duration,
            Err(error) => self.error(key, format!("`{key}`: {error}"), None),
        }
    }

    /// A text; the empty one stands for none.
    pub fn text(&mut self, key: &'static str) -> Option<String> {
        self.get(key).filter(|text| !text.is_empty()).map(str::to_owned)
    }

    /// YAML in the text. Fields that the type does not have are warned of.
    pub fn yaml<T: serde::de::DeserializeOwned>(&mut self, key: &'static str) -> Option<T> {
        let text = self.get(key)?;
        let mut documents = match yaml::read(text, key) {
            Ok(documents) => documents,
            Err(error) => {
                self.error(key, format!("`{key}` is no YAML: {error}"), None);
                return None;
            }
        };
        let (value, _) = documents.pop()?;
        let mut track = serde_path_to_error::Track::new();
        let mut unknown = Vec::new();
        let deserializer = serde_path_to_error::Deserializer::new(&value, &mut track);
        let read =
            serde_ignored::deserialize(deserializer, |path| unknown.push(path.to_string().replace("?.", "")));
        for path in unknown {
            self.warn(key, format!("`{key}`: there is no field `{path}`"), None);
        }
        match read {
            Ok(read) => Some(read),
            Err(error) => {
                self.error(key, format!("`{key}`: {}: {error}", track.path()), None);
                None
            }
        }
    }

    /// A key that is known and does nothing here, unless it has its default.
    pub fn without_effect(&mut self, key: &'static str, default: &str, why: &str) {
        if let Some(text) = self.get(key).filter(|text| *text != default) {
            let shown = text.lines().next().unwrap_or_default();
            self.warn(key, format!("`{key}` is `{shown}`, which has no effect: {why}"), None);
        }
    }

    /// All that is wrong, with the keys that nobody knows. Keys such as `_example` are for people.
    pub fn finish(mut self) -> Vec<Problem> {
        for key in self.data.keys() {
            if !key.starts_with('_') && !self.known.contains(&key.as_str()) {
                let help = nearest(key, self.known.iter().copied());
                let help = help.map(|near| format!("did you mean `{near}`?"));
                self.warn(key, format!("there is no setting `{key}`"), help);
            }
        }
        self.problems
    }
}

fn words<T: Choice>() -> String {
    T::ALL.iter().map(|choice| choice.word()).collect::<Vec<_>>().join(", ")
}
