//! Why a container cannot be had.

use std::io;
use std::path::{Path, PathBuf};

/// What went wrong with a container, seen from the program that wanted it.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    #[error("`{id}` cannot name a container; use letters, digits, `.`, `_` and `-`, at most 200")]
    Id { id: String },
    #[error("container `{id}` exists already")]
    Exists { id: String },
    #[error("cannot {deed} {path}")]
    Io {
        deed: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot start container `{id}`: {reason}")]
    Start { id: String, reason: String },
    #[error("cannot start container `{id}`: {program}: {reason}")]
    Program { id: String, program: String, reason: String },
    #[error("container `{id}` was lost: its helper process ended before it")]
    Lost { id: String },
}

impl ContainerError {
    pub(super) fn io(deed: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { deed, path, source }
    }
}

/// What went wrong inside; it travels to the program as text.
#[derive(Debug)]
pub(super) struct Failure {
    /// Set when the program itself could not be started, all else being ready.
    pub program: Option<String>,
    pub reason: String,
}

impl Failure {
    pub fn new(reason: impl Into<String>) -> Self {
        Self { program: None, reason: reason.into() }
    }
}

/// Says what was being done when an error came.
pub(super) trait Doing<T> {
    fn doing(self, deed: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: std::fmt::Display> Doing<T> for Result<T, E> {
    fn doing(self, deed: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(format!("cannot {}: {error}", deed())))
    }
}
