//! Looking after requests: how far they are is written into them, and those for our resolvers are answered.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ergon_api::{Condition, ConditionStatus, Group, ResolutionRequest, ResolutionRequestStatus, SUCCEEDED};
use ergon_engine::remote::{self, Request};
use ergon_resolve::{Fetched, ResolveError};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::Requests;
use crate::cache::Name;
use crate::queue::After;
use crate::shell::{Shell, instant};
use crate::sync::lock;

/// One look at a request may take so long; then it is given up and tried again.
const LONGEST: Duration = Duration::from_mins(1);
/// How often an answer is written anew because the request has changed meanwhile.
const TRIES: usize = 5;

/// A request that a resolver of ours is at: until this is dropped, even by a panic.
struct Answering<'a> {
    requests: &'a Requests,
    request: &'a ResolutionRequest,
}

impl Drop for Answering<'_> {
    fn drop(&mut self) {
        let uid = self.request.metadata.uid.as_deref().unwrap_or_default();
        lock(&self.requests.answering).remove(uid);
    }
}

impl Shell {
    /// Looks after requests until the queue is closed.
    pub async fn attend(self: Arc<Self>) {
        let requests = Arc::clone(&self.resolutions.requests);
        while let Some(name) = requests.queue.next().await {
            let look = tokio::time::timeout(LONGEST, self.attend_one(&name)).await;
            let (after, open) = look.unwrap_or((After::Retry, None));
            requests.queue.done(&name, after);
            if let Some(request) = open {
                let shell = Arc::clone(&self);
                tokio::spawn(async move {
                    let requests = &shell.resolutions.requests;
                    let _answering = Answering { requests, request: &request };
                    // Never closed.
                    let _slot = requests.slots.acquire().await;
                    // Where many ask at once, some have given up by now.
                    if requests.is_open(&request) {
                        shell.answer(&request).await;
                    }
                });
            }
        }
    }

    /// One look at a request. What a resolver of ours is to answer is given back.
    pub(super) async fn attend_one(&self, name: &Name) -> (After, Option<Arc<ResolutionRequest>>) {
        let requests = &self.resolutions.requests;
        // Tekton looks after them itself, and its resolvers are there.
        let Some(request) = requests.seen.get(name).filter(|request| {
            let uid = || request.metadata.uid.clone();
            !self.is_beside_tekton() && self.shares.is_mine(uid)
        }) else {
            return (After::Rest, None);
        };
        let (config, now) = (self.settings.now(), Timestamp::now());
        let next = remote::attend(&request, self.resolutions.know(request.resolver()), &config, now);
        if let Some(conditions) = next.conditions {
            let status = json!({"conditions": conditions, "observedGeneration": request.metadata.generation});
            match self.write(&request, &status).await {
                Ok(()) => {}
                // Changed meanwhile, which the watch tells; or gone.
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
                    return (After::Rest, None);
                }
                Err(error) => {
                    warn!(%name, %error, "the status of a ResolutionRequest cannot be written");
                    return (After::Retry, None);
                }
            }
        }
        let uid = request.metadata.uid.clone().unwrap_or_default();
        let is_open = next.resolve && lock(&requests.answering).insert(uid);
        let after = next.wake_at.map_or(After::Rest, |at| After::WakeAt(instant(at, now, Instant::now())));
        (after, is_open.then_some(request))
    }

    /// Has a resolver of ours answer a request.
    pub(super) async fn answer(&self, request: &ResolutionRequest) {
        let name = Name::of(request);
        let asked = Request {
            resolver: request.resolver().to_owned(),
            url: request.spec.url.clone(),
            params: request.spec.params.clone(),
        };
        let outcome = self.resolutions.resolve(&name.namespace, Group::Tekton, &asked).await;
        let outcome = outcome.and_then(|fetched| match remote::may_be_shown(&fetched.data) {
            Ok(()) => Ok(fetched),
            Err(why) => Err(ResolveError::Failed(format!("resolved resource validation error: {why}"))),
        });
        let written = match &outcome {
            Ok(fetched) => self.finish(request, found(fetched)).await,
            Err(error) => {
                info!(%name, %error, "has no answer");
                let message = error.told(&asked.resolver, &name.to_string());
                self.finish(request, failed(message)).await
            }
        };
        let told = match written {
            // More than the API server stores, say.
            Err(error) if outcome.is_ok() => {
                let asked = name.to_string();
                let message = format!("error updating resource request {asked:?} with data: {error}");
                self.finish(request, failed(message)).await
            }
            written => written,
        };
        if let Err(error) = told {
            warn!(%name, %error, "the answer to a ResolutionRequest cannot be written; it times out");
        }
    }

    /// Writes how a request ends, unless it has ended or is gone.
    async fn finish(
        &self,
        request: &ResolutionRequest,
        end: ResolutionRequestStatus,
    ) -> Result<(), kube::Error> {
        let name = Name::of(request);
        let api: Api<ResolutionRequest> = Api::namespaced(self.client.clone(), &name.namespace);
        let mut tries = 0;
        loop {
            let found = api.get_opt(&name.name).await?;
            let Some(latest) =
                found.filter(|found| found.metadata.uid == request.metadata.uid && !found.is_done())
            else {
                debug!(%name, "is not waited for any more");
                return Ok(());
            };
            let mut status = end.clone();
            status.conditions = latest.status.clone().unwrap_or_default().conditions;
            for condition in end.conditions.iter().cloned() {
                status.set_condition(condition, Time(Timestamp::now()));
            }
            match self.write(&latest, &json!(status)).await {
                Err(kube::Error::Api(status)) if status.code == 409 && tries < TRIES => tries += 1,
                other => return other,
            }
        }
    }

    /// Writes into the status of a request as it is known.
    async fn write(&self, request: &ResolutionRequest, status: &Value) -> Result<(), kube::Error> {
        let name = Name::of(request);
        let api: Api<ResolutionRequest> = Api::namespaced(self.client.clone(), &name.namespace);
        let version = &request.metadata.resource_version;
        let patch = json!({"metadata": {"resourceVersion": version}, "status": status});
        let mut written =
            api.patch_status(&name.name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        let requests = &self.resolutions.requests;
        requests.hear(&mut written);
        requests.seen.written(written);
        Ok(())
    }
}

fn found(fetched: &Fetched) -> ResolutionRequestStatus {
    ResolutionRequestStatus {
        conditions: vec![Condition {
            type_: SUCCEEDED.to_owned(),
            status: ConditionStatus::True,
            ..Condition::default()
        }],
        annotations: fetched.annotations.clone(),
        data: STANDARD.encode(&fetched.data),
        ref_source: Some(fetched.source.clone()),
        source: Some(fetched.source.clone()),
        ..ResolutionRequestStatus::default()
    }
}

fn failed(message: String) -> ResolutionRequestStatus {
    let condition = Condition::succeeded(ConditionStatus::False, "ResolutionFailed", message);
    ResolutionRequestStatus { conditions: vec![condition], ..ResolutionRequestStatus::default() }
}
