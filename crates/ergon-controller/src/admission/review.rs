//! An AdmissionReview, as far as it is read, and its answer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ergon_api::Group;
use serde::Deserialize;
use serde_json::{Value, json};

/// What is asked.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Request {
    pub uid: String,
    /// What the object is here.
    pub kind: Kind,
    /// What the user sent, which may be an older version.
    #[serde(rename = "requestKind")]
    pub sent: Kind,
    pub operation: String,
    pub object: Value,
    pub old_object: Value,
    /// Bytes of the review: no object in it has more.
    #[serde(skip)]
    pub size: usize,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Kind {
    pub group: String,
    pub version: String,
    #[serde(rename = "kind")]
    pub name: String,
}

/// Why a body is no review.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReviewError {
    #[error("the body is no AdmissionReview: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the AdmissionReview has no request")]
    Empty,
}

impl Request {
    pub fn read(body: &[u8]) -> Result<Self, ReviewError> {
        #[derive(Deserialize)]
        struct Review {
            request: Option<Request>,
        }
        let request = serde_json::from_slice::<Review>(body)?.request.ok_or(ReviewError::Empty)?;
        Ok(Self { size: body.len(), ..request })
    }

    /// The group, where it is one of ours.
    pub fn group(&self) -> Option<Group> {
        Group::ALL.into_iter().find(|group| group.name() == self.kind.group)
    }

    /// An object that is going away only loses its finalizers: nothing about it is to be said.
    pub fn is_going_away(&self) -> bool {
        self.object["metadata"]["deletionTimestamp"].is_string()
    }
}

/// What is answered.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answer {
    Allowed,
    /// Allowed, and the user reads this.
    Warned(Vec<String>),
    /// Allowed with these changes (a JSON patch).
    Patched(Value),
    /// Refused, with what the user reads.
    Refused(String),
}

impl Answer {
    pub fn is_allowed(&self) -> bool {
        !matches!(self, Self::Refused(_))
    }

    /// The answer as an AdmissionReview.
    pub fn review(&self, request: &Request) -> Value {
        let mut response = json!({"uid": request.uid, "allowed": self.is_allowed()});
        match self {
            Self::Allowed => {}
            Self::Warned(warnings) => response["warnings"] = json!(warnings),
            Self::Patched(patch) => {
                response["patchType"] = json!("JSONPatch");
                response["patch"] = json!(STANDARD.encode(patch.to_string()));
            }
            Self::Refused(message) => {
                response["status"] =
                    json!({"status": "Failure", "code": 422, "reason": "Invalid", "message": message});
            }
        }
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
    }
}
