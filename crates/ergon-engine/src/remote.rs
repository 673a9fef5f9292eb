//! Definitions that a resolver fetches: what is asked for, and what is made of the answer.

mod ask;
mod read;
mod request;

pub use ask::{Next, answer_of, attend, object_for};
pub use read::{may_be_shown, read};
pub use request::{Request, is_url};

use std::sync::Arc;

use ergon_api::{Object, RefSource};

/// What is known of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// A resolver is at it. The shell observes anew when it is done.
    Waiting,
    Found(Arc<Found>),
    Failed(Failure),
}

/// A definition that was fetched: read, with its defaults filled in, and valid.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    pub object: Object,
    /// Where it came from, for the run's provenance.
    pub source: Option<RefSource>,
}

/// Why there is no definition, in words for the user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The resolver did not get it.
    #[error("error requesting remote resource: {0}")]
    NotFetched(String),
    /// It was fetched, and cannot be read.
    #[error("invalid runtime object: {0}")]
    Unreadable(String),
    /// It was read, and is not valid.
    #[error("validation of the fetched object failed: {0}")]
    Invalid(String),
    /// It is something else than what the reference is to.
    #[error("resource is not a {0}")]
    OtherKind(&'static str),
}

impl Failure {
    /// True where the object itself is to be mended, and not the reference to it.
    pub fn is_of_object(&self) -> bool {
        matches!(self, Self::Invalid(_))
    }
}
