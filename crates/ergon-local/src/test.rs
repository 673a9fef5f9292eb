//! Tests of Tasks and Pipelines: what a file with tests says, carrying its cases out, and what was not as expected.

mod check;
mod coverage;
mod definition;
mod find;
mod load;
mod matcher;
mod names;
mod play;

use ergon_api::{Diagnostic, Document, SourceMap};

pub use check::Mismatch;
pub use coverage::{Branch, Coverage};
pub use definition::{
    Case, Definition, Expect, ExpectedLine, ExpectedTask, Mock, Said, Short, Spec, Workspace,
};
pub use find::find;
pub use load::load;
pub use matcher::Matcher;
pub use play::{Played, play};

/// The kind of a file with tests.
pub const KIND: &str = "Test";

/// The tests of one document, with the manifests that they are about.
#[derive(Debug, Clone)]
pub struct Suite {
    /// What it says.
    pub definition: Definition,
    /// Where its fields stand.
    pub source: SourceMap,
    /// The folder of its file.
    pub folder: std::path::PathBuf,
    /// All manifests that a run may refer to.
    pub documents: Vec<Document>,
    /// Which of them is run.
    pub target: usize,
}

/// Why tests cannot be carried out: they are wrong themselves.
#[derive(Debug, thiserror::Error)]
pub enum TestError {
    #[error("{0}")]
    Unreadable(String),
    /// With the text of the file that the problems are in.
    #[error("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Wrong { problems: Vec<Diagnostic>, text: String },
}
