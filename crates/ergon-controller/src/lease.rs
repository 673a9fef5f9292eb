//! Leader election by a Lease: one replica decides at a time.
//!
//! The rules of Kubernetes' own leader election: a lease counts as expired only when it has not changed for its whole
//! duration by our own clock, so that clocks need not agree; every take-over names the version that it is based on.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::time::Instant;
use tracing::{debug, info, warn};

/// The name of the lease.
pub const LEASE: &str = "ergon-controller";

const DURATION: Duration = Duration::from_secs(15);
/// Without a renewal for so long the leader steps down, before another one may begin.
const DEADLINE: Duration = Duration::from_secs(10);
const PERIOD: Duration = Duration::from_secs(2);
/// How often a candidate looks whether the lease is free. No run goes on between a leader's end and the next look.
const LOOK: Duration = Duration::from_millis(500);

/// One candidate.
pub struct Candidate {
    api: Api<Lease>,
    identity: String,
    /// The lease as it was last seen, and when it last changed by our clock.
    seen: Option<(Lease, Instant)>,
}

impl Candidate {
    /// `identity` must differ between replicas: the pod's name.
    pub fn new(client: Client, namespace: &str, identity: String) -> Self {
        Self { api: Api::namespaced(client, namespace), identity, seen: None }
    }

    /// Waits until this candidate leads. The first try is made at once.
    pub async fn lead(&mut self) {
        loop {
            match tokio::time::timeout(DEADLINE, self.attempt()).await {
                Ok(Ok(true)) => {
                    info!(identity = self.identity, "leads");
                    return;
                }
                Ok(Ok(false)) => debug!("another replica leads"),
                Ok(Err(error)) => warn!(%error, "the lease cannot be taken"),
                Err(_) => warn!("the lease cannot be taken: no answer"),
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Renews until that fails for too long, or another replica leads.
    pub async fn keep(&mut self) {
        let mut renewed = Instant::now();
        loop {
            tokio::time::sleep(PERIOD).await;
            let left = DEADLINE.saturating_sub(renewed.elapsed());
            match tokio::time::timeout(left, self.attempt()).await {
                Ok(Ok(true)) => renewed = Instant::now(),
                Ok(Ok(false)) | Err(_) => return,
                Ok(Err(error)) => warn!(%error, "the lease cannot be renewed"),
            }
            if renewed.elapsed() >= DEADLINE {
                return;
            }
        }
    }

    /// Gives the lease up, so that another replica need not wait for it to expire.
    pub async fn release(&mut self) -> Result<(), kube::Error> {
        let Some((mut lease, _)) = self.seen.take() else { return Ok(()) };
        if lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()) != Some(&self.identity) {
            return Ok(());
        }
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        spec.renew_time = Some(MicroTime(Timestamp::now()));
        self.api.replace(LEASE, &PostParams::default(), &lease).await?;
        info!("gave the lease up");
        Ok(())
    }

    /// Takes or renews the lease. Whether it is ours then.
    async fn attempt(&mut self) -> Result<bool, kube::Error> {
        let Some(found) = self.api.get_opt(LEASE).await? else {
            let lease = Lease {
                metadata: ObjectMeta { name: Some(LEASE.to_owned()), ..Default::default() },
                spec: Some(self.spec(None)),
            };
            return self.write(self.api.create(&PostParams::default(), &lease).await);
        };
        let changed = self
            .seen
            .as_ref()
            .is_none_or(|(seen, _)| seen.metadata.resource_version != found.metadata.resource_version);
        if changed {
            self.seen = Some((found.clone(), Instant::now()));
        }
        let spec = found.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        let expired = self.seen.as_ref().is_some_and(|(_, at)| at.elapsed() >= DURATION);
        if !holder.is_empty() && holder != self.identity && !expired {
            return Ok(false);
        }
        let lease = Lease { metadata: found.metadata, spec: Some(self.spec(Some(&spec))) };
        self.write(self.api.replace(LEASE, &PostParams::default(), &lease).await)
    }

    fn write(&mut self, outcome: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
        match outcome {
            Ok(lease) => {
                self.seen = Some((lease, Instant::now()));
                Ok(true)
            }
            // Another replica was faster.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn spec(&self, old: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let ours = old.filter(|old| old.holder_identity.as_deref() == Some(&self.identity));
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: ours.and_then(|old| old.acquire_time.clone()).or_else(|| Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: match (old, ours) {
                (Some(old), None) => Some(old.lease_transitions.unwrap_or(0).saturating_add(1)),
                _ => old.and_then(|old| old.lease_transitions).or(Some(0)),
            },
            ..Default::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use http::{Method, Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;
    use crate::sync::lock;

    /// One lease, with versions that conflict as in the API server.
    fn server() -> (Client, Arc<Mutex<Option<Value>>>) {
        let lease: Arc<Mutex<Option<Value>>> = Arc::default();
        let stored = Arc::clone(&lease);
        let service = tower::service_fn(move |request: Request<Body>| {
            let stored = Arc::clone(&stored);
            async move {
                let method = request.method().clone();
                let body = request.into_body().collect_bytes().await.expect("a body");
                let sent: Option<Value> = serde_json::from_slice(&body).ok();
                let version =
                    |value: &Value| value["metadata"]["resourceVersion"].as_str().map(ToOwned::to_owned);
                let mut lease = lock(&stored);
                let failure = |code: u16, reason: &str| {
                    (
                        code,
                        json!({"kind": "Status", "apiVersion": "v1",
                    "status": "Failure", "code": code, "reason": reason, "message": reason, "metadata": {}}),
                    )
                };
                let (code, answer) = match (&method, &*lease, sent) {
                    (&Method::GET, Some(found), _) => (200, found.clone()),
                    (&Method::GET, None, _) => failure(404, "NotFound"),
                    (&Method::POST, Some(_), _) => failure(409, "AlreadyExists"),
                    (_, Some(found), Some(sent)) if version(found) != version(&sent) => {
                        failure(409, "Conflict")
                    }
                    (_, found, Some(mut sent)) => {
                        let next =
                            found.as_ref().and_then(version).and_then(|v| v.parse().ok()).unwrap_or(0_u64)
                                + 1;
                        sent["metadata"]["resourceVersion"] = json!(next.to_string());
                        *lease = Some(sent.clone());
                        (200, sent)
                    }
                    _ => failure(400, "BadRequest"),
                };
                let body = Body::from(answer.to_string().into_bytes());
                Ok::<_, std::convert::Infallible>(
                    Response::builder().status(code).body(body).expect("a response"),
                )
            }
        });
        (Client::new(service, "default"), lease)
    }

    fn candidate(client: &Client, identity: &str) -> Candidate {
        Candidate::new(client.clone(), "ns", identity.to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_leads_at_once_and_the_second_after_expiry() {
        let (client, stored) = server();
        let start = Instant::now();
        candidate(&client, "a").lead().await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        candidate(&client, "b").lead().await;
        assert!(start.elapsed() >= DURATION, "{:?}", start.elapsed());
        let lease = lock(&stored).clone().expect("a lease");
        assert_eq!(lease["spec"]["holderIdentity"], "b");
        assert_eq!(lease["spec"]["leaseTransitions"], 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_released_lease_is_free_and_an_own_one_is_taken_again() {
        let (client, _) = server();
        let mut first = candidate(&client, "a");
        first.lead().await;
        let start = Instant::now();
        candidate(&client, "a").lead().await;
        let mut second = candidate(&client, "b");
        assert!(!second.attempt().await.expect("an answer"));
        // `first` has an older version by now, as a crashed process would: its release must not hurt.
        assert!(first.release().await.is_err());
        let mut again = candidate(&client, "a");
        again.lead().await;
        again.release().await.expect("released");
        assert!(second.attempt().await.expect("an answer"));
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_candidate_that_waits_leads_soon_after_a_release() {
        let (client, _) = server();
        let mut first = candidate(&client, "a");
        first.lead().await;
        let waiting = candidate(&client, "b");
        let second = tokio::spawn(async move {
            let mut waiting = waiting;
            waiting.lead().await;
        });
        tokio::time::sleep(Duration::from_secs(3)).await;
        first.release().await.expect("released");
        let start = Instant::now();
        second.await.expect("it leads");
        assert!(start.elapsed() <= LOOK, "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_steps_down_when_another_leads() {
        let (client, stored) = server();
        let mut first = candidate(&client, "a");
        first.lead().await;
        if let Some(lease) = &mut *lock(&stored) {
            lease["spec"]["holderIdentity"] = json!("b");
            lease["metadata"]["resourceVersion"] = json!("77");
        }
        let start = Instant::now();
        first.keep().await;
        assert_eq!(start.elapsed(), PERIOD);
    }
}
