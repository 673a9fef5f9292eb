//! How a command ends when it does not end well: a message, what to do about it, and an exit code.

use std::process::ExitCode;

use ergon_api::Diagnostic;
use ergon_client::Error;

/// The exit codes. They are part of the command's interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// Done; a run that was waited for succeeded.
    Ok = 0,
    /// A run that was waited for failed or was cancelled.
    RunFailed = 1,
    /// The command line is wrong. clap uses the same.
    Usage = 2,
    /// The cluster cannot be reached, or refuses to serve.
    Unreachable = 3,
    /// What was given is wrong: a file, a name, a value.
    Invalid = 4,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

/// The result of a command.
pub type Result<T = (), E = Failure> = std::result::Result<T, E>;

/// Why a command failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub code: Code,
    /// What went wrong: a fragment in lower case. Empty when everything has been said already.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure without a hint.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None }
    }

    /// Something that was given is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::Invalid, message)
    }

    /// The command line is wrong in a way that clap cannot see.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Code::Usage, message)
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The exit code with nothing to say: the run's own output has said it.
    pub fn silent(code: Code) -> Self {
        Self::new(code, String::new())
    }

    /// The problems of a file whose text is `text`, each with its place.
    pub fn diagnostics(problems: &[Diagnostic], text: &str) -> Self {
        let shown: Vec<String> = problems.iter().map(|problem| problem.render(text)).collect();
        let shown = shown.join("\n");
        // `render` begins with the word that we begin with as well.
        let message = shown.strip_prefix("error: ").unwrap_or(&shown).trim_end().to_owned();
        Self::invalid(message)
    }

    /// True when whoever read our output has gone: nobody is left to tell.
    pub fn is_silent(&self) -> bool {
        self.message.is_empty()
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (code, hint) = match &error {
            Error::NoConfig { .. } => (
                Code::Unreachable,
                Some(
                    "name a kubeconfig with `--kubeconfig` or KUBECONFIG, or run without a cluster: `ergon run FILE`",
                ),
            ),
            Error::Unreachable { .. } => (
                Code::Unreachable,
                Some("`kubectl cluster-info` says whether the cluster is up; `--context` names another one"),
            ),
            Error::Unauthorized { .. } => {
                (Code::Unreachable, Some("log in again, or pick another `--context`"))
            }
            Error::Forbidden { .. } => (
                Code::Unreachable,
                Some(
                    "ask for the role `ergon-edit` in this namespace, or name another one with `--namespace`",
                ),
            ),
            Error::NotServed { .. } => {
                (Code::Unreachable, Some("install Ergon with `ergon install`, or pick another `--context`"))
            }
            Error::NotFound { .. } => {
                (Code::Invalid, Some("`ergon list` shows what there is; `-n` names another namespace"))
            }
            Error::AlreadyExists { .. } => (
                Code::Invalid,
                Some("give it another name, or let the cluster choose one with `generateName`"),
            ),
            Error::Conflict { .. } => (Code::Invalid, Some("try it again")),
            Error::Deleted { .. } => (Code::RunFailed, None),
            Error::Server { .. } | Error::Answer(_) => (Code::Unreachable, Some("try it again in a moment")),
            _ => (Code::Invalid, None),
        };
        Self { code, message: error.to_string(), hint: hint.map(str::to_owned) }
    }
}

/// Writing failed: the reader of our output has gone, as `head` does. That is no failure of ours.
impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::silent(Code::Ok);
        }
        Self::invalid(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_exit_codes_and_hints() {
        let table = [
            (Error::Unreachable { message: "refused".to_owned(), source: None }, Code::Unreachable, true),
            (Error::NotFound { what: "Task `a`".to_owned() }, Code::Invalid, true),
            (Error::NotServed { what: "ergon.dev".to_owned() }, Code::Unreachable, true),
            (Error::Deleted { what: "run".to_owned() }, Code::RunFailed, false),
            (Error::invalid("no"), Code::Invalid, false),
        ];
        for (error, code, hint) in table {
            let text = error.to_string();
            let failure = Failure::from(error);
            assert_eq!((failure.code, failure.hint.is_some()), (code, hint), "{text}");
        }
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        let failure = Failure::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert_eq!(failure.code, Code::Ok);
        assert!(failure.is_silent());
    }
}
