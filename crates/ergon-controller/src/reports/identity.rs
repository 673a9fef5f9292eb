//! Which pod a token speaks for: asked of the API server, remembered for a minute.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Mutex;
use std::time::Duration;

use ergon_engine::pod::TOKEN_AUDIENCE;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::time::Instant;

use crate::sync::lock;

/// How long a verdict is remembered. A deleted pod's token may be taken for so long; its reports are dropped anyway.
const REMEMBERED_FOR: Duration = Duration::from_mins(1);
/// How many verdicts are remembered.
const REMEMBERED: usize = 20_000;

const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";

/// The pod that a token is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodIdentity {
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

/// Why a token is not taken.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("the token is not valid for the audience `{TOKEN_AUDIENCE}`: {0}")]
    Refused(String),
    #[error("the token of `{0}` is not bound to a pod: use a projected token of the pod itself")]
    NotBound(String),
    #[error("the API server could not be asked about the token")]
    Unknown(#[source] kube::Error),
}

/// The pod, or none where the token was refused; and when.
type Verdict = (Option<PodIdentity>, Instant);

/// Asks and remembers.
pub struct Identities {
    client: Client,
    /// Of this process alone, so that nobody can prepare two tokens with the same hash.
    hasher: [RandomState; 2],
    known: Mutex<HashMap<[u64; 2], Verdict>>,
}

impl Identities {
    pub fn new(client: Client) -> Self {
        Self { client, hasher: [RandomState::new(), RandomState::new()], known: Mutex::default() }
    }

    /// The pod that this token speaks for.
    pub async fn of(&self, token: &str) -> Result<PodIdentity, IdentityError> {
        let key = [self.hasher[0].hash_one(token), self.hasher[1].hash_one(token)];
        if let Some((verdict, at)) = lock(&self.known).get(&key)
            && at.elapsed() < REMEMBERED_FOR
        {
            return verdict
                .clone()
                .ok_or_else(|| IdentityError::Refused("it was refused a moment ago".to_owned()));
        }
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: token.to_owned(),
                audiences: Some(vec![TOKEN_AUDIENCE.to_owned()]),
            },
            ..Default::default()
        };
        let api: Api<TokenReview> = Api::all(self.client.clone());
        let review = api.create(&PostParams::default(), &review).await.map_err(IdentityError::Unknown)?;
        let verdict = verdict(review);
        let mut known = lock(&self.known);
        if known.len() >= REMEMBERED {
            known.retain(|_, (_, at)| at.elapsed() < REMEMBERED_FOR);
            if known.len() >= REMEMBERED {
                known.clear();
            }
        }
        known.insert(key, (verdict.as_ref().ok().cloned(), Instant::now()));
        verdict
    }
}

fn verdict(review: TokenReview) -> Result<PodIdentity, IdentityError> {
    let status = review.status.unwrap_or_default();
    let audiences = status.audiences.unwrap_or_default();
    // An API server that knows nothing of audiences answers without any: its verdict is about another audience.
    if status.authenticated != Some(true) || !audiences.iter().any(|audience| audience == TOKEN_AUDIENCE) {
        return Err(IdentityError::Refused(status.error.unwrap_or_else(|| "not authenticated".to_owned())));
    }
    let user = status.user.unwrap_or_default();
    let username = user.username.clone().unwrap_or_default();
    identity(&user).ok_or(IdentityError::NotBound(username))
}

fn identity(user: &UserInfo) -> Option<PodIdentity> {
    let (namespace, _) = user.username.as_deref()?.strip_prefix("system:serviceaccount:")?.split_once(':')?;
    let extra = |key: &str| user.extra.as_ref()?.get(key)?.first().cloned();
    Some(PodIdentity { namespace: namespace.to_owned(), name: extra(POD_NAME)?, uid: extra(POD_UID)? })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;

    /// An API server that answers every TokenReview with this status, and counts them.
    fn identities(status: Value) -> (Identities, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let service = tower::service_fn(move |request: Request<Body>| {
            counter.fetch_add(1, Ordering::SeqCst);
            let answer = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
                "metadata": {}, "spec": {}, "status": status});
            async move {
                assert_eq!(request.uri().path(), "/apis/authentication.k8s.io/v1/tokenreviews");
                let body = request.into_body().collect_bytes().await.expect("a body");
                let sent: Value = serde_json::from_slice(&body).expect("JSON");
                assert_eq!(sent["spec"]["audiences"], json!(["ergon"]));
                Ok::<_, std::convert::Infallible>(Response::new(Body::from(answer.to_string().into_bytes())))
            }
        });
        (Identities::new(Client::new(service, "default")), asked)
    }

    fn bound() -> Value {
        json!({"authenticated": true, "audiences": ["ergon"], "user": {
            "username": "system:serviceaccount:ns:default",
            "extra": {POD_NAME: ["run-pod"], POD_UID: ["u1"]},
        }})
    }

    #[tokio::test(start_paused = true)]
    async fn a_bound_token_names_its_pod_and_is_remembered_for_a_minute() {
        let (identities, asked) = identities(bound());
        let expected = PodIdentity { namespace: "ns".into(), name: "run-pod".into(), uid: "u1".into() };
        assert_eq!(identities.of("t").await.expect("taken"), expected);
        identities.of("t").await.expect("taken");
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        identities.of("other").await.expect("taken");
        tokio::time::advance(REMEMBERED_FOR).await;
        identities.of("t").await.expect("taken");
        assert_eq!(asked.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn other_tokens_are_refused() {
        let mut other_audience = bound();
        other_audience["audiences"] = json!(["https://kubernetes.default.svc"]);
        let mut no_audience = bound();
        no_audience["audiences"] = json!(null);
        let mut person = bound();
        person["user"]["username"] = json!("admin");
        let mut unbound = bound();
        unbound["user"]["extra"] = json!({});
        let refused = json!({"authenticated": false, "error": "token is expired"});
        for (status, expected) in [
            (other_audience, "not valid for the audience"),
            (no_audience, "not valid for the audience"),
            (person, "`admin` is not bound"),
            (unbound, "is not bound to a pod"),
            (refused, "token is expired"),
        ] {
            let (identities, asked) = identities(status);
            let error = identities.of("t").await.expect_err("refused").to_string();
            assert!(error.contains(expected), "{error}");
            identities.of("t").await.expect_err("still refused");
            assert_eq!(asked.load(Ordering::SeqCst), 1, "refusals are remembered too");
        }
    }
}
