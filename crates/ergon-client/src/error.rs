//! What can go wrong, by what the caller may do about it.

use ergon_api::Group;
use kube::core::Status;
use thiserror::Error;

/// The result of everything here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something could not be done.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// No usable kubeconfig, and not inside a cluster.
    #[error("no cluster is configured: {message}")]
    NoConfig {
        /// What was looked for and not found.
        message: String,
    },
    /// The API server did not answer.
    #[error("cannot reach the cluster: {message}")]
    Unreachable {
        /// What the connection failed with.
        message: String,
        /// The failure itself.
        #[source]
        source: Option<Box<kube::Error>>,
    },
    /// The credentials are missing or not accepted.
    #[error("the cluster does not accept the credentials: {message}")]
    Unauthorized {
        /// The API server's words.
        message: String,
    },
    /// The credentials do not allow this.
    #[error("not allowed: {message}")]
    Forbidden {
        /// The API server's words.
        message: String,
    },
    /// There is no such object.
    #[error("{what} not found")]
    NotFound {
        /// The kind, name and place that were asked for.
        what: String,
    },
    /// Neither Ergon's nor Tekton's kinds exist in the cluster, or not the ones of the group that was asked for.
    #[error("the cluster does not serve {what}")]
    NotServed {
        /// The group or kind.
        what: String,
    },
    /// An object of this name exists.
    #[error("{what} already exists")]
    AlreadyExists {
        /// The kind and name.
        what: String,
    },
    /// The object was refused: by the API server's schema, by a webhook, or by a check made here.
    #[error("{message}")]
    Invalid {
        /// What is wrong and what to write instead.
        message: String,
    },
    /// Somebody else changed the object meanwhile.
    #[error("{what} was changed by somebody else meanwhile")]
    Conflict {
        /// The kind and name.
        what: String,
    },
    /// The object was deleted while it was being watched.
    #[error("{what} was deleted")]
    Deleted {
        /// The kind and name.
        what: String,
    },
    /// The API server failed, or said something that fits nothing above.
    #[error("the API server failed with {code}: {message}")]
    Server {
        /// The HTTP status code.
        code: u16,
        /// The API server's words.
        message: String,
    },
    /// An answer could not be understood.
    #[error("the API server's answer cannot be read")]
    Answer(#[source] Box<kube::Error>),
    /// An object could not be put into JSON or out of it.
    #[error("{what} cannot be read")]
    Decode {
        /// What it was to be.
        what: String,
        /// Where it failed.
        #[source]
        source: serde_json::Error,
    },
}

impl Error {
    /// An [`Error::Invalid`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid { message: message.into() }
    }

    pub(crate) fn not_found(what: impl Into<String>) -> Self {
        Self::NotFound { what: what.into() }
    }

    pub(crate) fn no_groups(group: Option<Group>) -> Self {
        let what = match group {
            Some(group) => format!("{group}"),
            None => "ergon.dev or tekton.dev".to_owned(),
        };
        Self::NotServed { what }
    }

    /// True for [`Error::NotFound`] and [`Error::NotServed`].
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. } | Self::NotServed { .. })
    }

    /// True when trying again may help: the connection or the server failed, not the request.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Conflict { .. } | Self::Answer(_) => true,
            Self::Server { code, .. } => *code == 429 || *code >= 500,
            _ => false,
        }
    }

    /// What `error` means for a request about `what`, such as ``PipelineRun `build-1` in namespace `ci` ``.
    pub(crate) fn of(error: kube::Error, what: &str) -> Self {
        use kube::Error as K;
        match error {
            K::Api(status) => Self::of_status(&status, what),
            K::InferConfig(error) => Self::NoConfig { message: chain(&error) },
            K::InferKubeconfig(error) => Self::NoConfig { message: chain(&error) },
            K::Auth(error) => Self::Unauthorized { message: chain(&error) },
            K::SerdeError(source) => Self::Decode { what: what.to_owned(), source },
            K::FromUtf8(_) | K::LinesCodecMaxLineLengthExceeded => Self::Answer(Box::new(error)),
            K::BuildRequest(error) => Self::invalid(chain(&error)),
            error => Self::Unreachable { message: root(&error), source: Some(Box::new(error)) },
        }
    }

    pub(crate) fn of_status(status: &Status, what: &str) -> Self {
        let message = status.message.trim().to_owned();
        // A webhook chooses its own code, so its words come first.
        if let Some((_, denied)) = message.split_once("denied the request: ") {
            return Self::invalid(denied);
        }
        match status.code {
            401 => Self::Unauthorized { message },
            403 => Self::Forbidden { message },
            // Only an object that is missing is named in the details; a missing kind is not.
            404 if status.details.as_ref().is_some_and(|details| !details.name.is_empty()) => {
                Self::not_found(what)
            }
            404 => Self::NotServed { what: what.to_owned() },
            409 if status.reason == "AlreadyExists" => Self::AlreadyExists { what: what.to_owned() },
            409 => Self::Conflict { what: what.to_owned() },
            400 | 413 | 415 | 422 => Self::Invalid { message },
            code => Self::Server { code, message },
        }
    }

    /// What a watch's error means.
    pub(crate) fn of_watch(error: kube::runtime::watcher::Error, what: &str) -> Self {
        use kube::runtime::watcher::Error as W;
        match error {
            W::InitialListFailed(error) | W::WatchStartFailed(error) | W::WatchFailed(error) => {
                Self::of(error, what)
            }
            W::WatchError(status) => Self::of_status(&status, what),
            W::NoResourceVersion => {
                Self::Server { code: 500, message: "a watch's answer has no resource version".to_owned() }
            }
        }
    }
}

/// The error and its sources in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        // Some libraries repeat the source in their own message.
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        source = inner.source();
    }
    text
}

/// The innermost source: for a connection that failed, the only one that says why.
fn root(error: &dyn std::error::Error) -> String {
    let mut last: &dyn std::error::Error = error;
    while let Some(inner) = last.source() {
        last = inner;
    }
    last.to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kind_of(code: u16, reason: &str, message: &str, name: &str) -> String {
        let status: Status = serde_json::from_value(json!({
            "code": code, "reason": reason, "message": message, "details": {"name": name},
        }))
        .unwrap();
        Error::of_status(&status, "Task `a`").to_string()
    }

    #[test]
    fn answers_are_sorted_by_what_can_be_done() {
        let table = [
            (404, "NotFound", "tasks \"a\" not found", "a", "Task `a` not found"),
            (404, "NotFound", "404 page not found", "", "the cluster does not serve Task `a`"),
            (409, "AlreadyExists", "exists", "a", "Task `a` already exists"),
            (409, "Conflict", "modified", "a", "Task `a` was changed by somebody else meanwhile"),
            (403, "Forbidden", "user cannot", "a", "not allowed: user cannot"),
            (422, "Invalid", "spec.steps: Required value", "a", "spec.steps: Required value"),
            (
                403,
                "Forbidden",
                "admission webhook \"validate.ergon.dev\" denied the request: spec.steps is empty",
                "a",
                "spec.steps is empty",
            ),
            (500, "InternalError", "boom", "a", "the API server failed with 500: boom"),
        ];
        for (code, reason, message, name, expected) in table {
            assert_eq!(kind_of(code, reason, message, name), expected, "{code} {message}");
        }
    }
}
