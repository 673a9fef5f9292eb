//! A file that is looked at.

use ergon_api::manifest::{survey, text_of};
use ergon_api::{Diagnostic, Document, Object};

use crate::Lines;

/// A file: its text, the objects in it, and what is wrong with it.
#[derive(Debug, Clone)]
pub struct Source {
    /// The file's name. Files with the same text before the last `/` are in one folder.
    pub name: String,
    /// What it holds, without a byte order mark.
    pub text: String,
    /// Where its lines begin.
    pub lines: Lines,
    /// The objects that could be read.
    pub documents: Vec<Document>,
    /// Why others could not.
    pub problems: Vec<Diagnostic>,
    /// Whether it is YAML.
    pub is_yaml: bool,
}

impl Source {
    /// Reads a file's bytes.
    pub fn read(name: &str, bytes: &[u8]) -> Self {
        match text_of(bytes, name) {
            Ok(text) => Self::of(name, text),
            Err(problem) => {
                // What it would be, for whoever is shown the line.
                let text = String::from_utf8_lossy(bytes).into_owned();
                let lines = Lines::of(&text);
                Self { text, lines, problems: vec![problem], is_yaml: false, ..Self::of(name, "") }
            }
        }
    }

    /// Reads a file's text.
    pub fn of(name: &str, text: &str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let (documents, problems, is_yaml) = match survey(text, name) {
            Ok((documents, problems)) => (documents, problems, true),
            Err(problem) => (Vec::new(), vec![problem], false),
        };
        Self {
            name: name.to_owned(),
            text: text.to_owned(),
            lines: Lines::of(text),
            documents,
            problems,
            is_yaml,
        }
    }

    /// The folder, as a part of the name.
    pub fn folder(&self) -> &str {
        self.name.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    /// Whether there is nothing of ours in it.
    pub fn is_foreign(&self) -> bool {
        self.problems.is_empty()
            && self.documents.iter().all(|document| matches!(document.object, Object::Other(_)))
    }
}

impl Source {
    /// A file that was not read, and why.
    pub fn unread(name: &str, message: String, help: Option<String>) -> Self {
        let problem =
            Diagnostic { file: name.to_owned(), line: 1, column: 1, path: String::new(), message, help };
        Self { problems: vec![problem], is_yaml: false, ..Self::of(name, "") }
    }
}
