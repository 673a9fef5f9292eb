//! What a pod depends on in its namespace, and its run does not say: service accounts and limit ranges.
//!
//! They are watched, so that no run asks for them. Where a watch may not be, each run asks for what it needs.

use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::api::core::v1::{LimitRange, ServiceAccount};
use kube::api::ListParams;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tracing::{debug, info, warn};

use crate::cache::{Cache, Name};
use crate::shell::{Error, Shell};
use crate::trim::Trim;
use crate::watch::{LOOK_AGAIN, take};

/// What the watches have seen.
#[derive(Debug, Default)]
pub struct Surroundings {
    pub accounts: Cache<ServiceAccount>,
    pub limit_ranges: Cache<LimitRange>,
}

impl Surroundings {
    /// A service account. One that is not known is asked for: it may have been made a moment ago.
    pub async fn account(
        &self,
        client: &Client,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<ServiceAccount>>, Error> {
        if self.accounts.is_synced()
            && let Some(account) = self.accounts.get(&Name::new(namespace, name))
        {
            return Ok(Some(account));
        }
        let api: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
        let found = api.get_opt(name).await;
        Ok(found.map_err(|error| Error::api("read", "ServiceAccount", name, error))?.map(Arc::new))
    }

    /// The limit ranges of a namespace.
    pub async fn limit_ranges(&self, client: &Client, namespace: &str) -> Result<Vec<LimitRange>, Error> {
        if self.limit_ranges.is_synced() {
            let known = self.limit_ranges.in_namespace(namespace);
            return Ok(known.iter().map(|range| range.as_ref().clone()).collect());
        }
        let api: Api<LimitRange> = Api::namespaced(client.clone(), namespace);
        let listed = api.list(&ListParams::default()).await;
        Ok(listed.map_err(|error| Error::api("list", "LimitRange", "", error))?.items)
    }
}

/// Starts the watches. They end when the process does.
pub fn keep(shell: &Arc<Shell>, config: &watcher::Config) {
    let (accounts, limits) = (Arc::clone(shell), Arc::clone(shell));
    let (one, other) = (config.clone(), config.clone());
    tokio::spawn(async move { watch(&accounts.client, one, &accounts.surroundings.accounts).await });
    tokio::spawn(async move { watch(&limits.client, other, &limits.surroundings.limit_ranges).await });
}

/// Keeps a cache up to date. Where that is forbidden, it is doubted, and tried again now and then.
async fn watch<K>(client: &Client, config: watcher::Config, cache: &Cache<K>)
where
    K: Resource<DynamicType = ()> + Trim + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
{
    let kind = K::kind(&());
    let mut is_told = false;
    loop {
        let mut events = watcher(Api::<K>::all(client.clone()), config.clone()).default_backoff().boxed();
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    take(cache, event.modify(Trim::trim), |_| {}, |_| {});
                    if is_told && cache.is_synced() {
                        is_told = false;
                        info!(%kind, "may be watched now");
                    }
                }
                Err(error) if is_forbidden(&error) => {
                    cache.doubt();
                    if !is_told {
                        is_told = true;
                        warn!(%kind, %error, "may not be watched: each run asks for what it needs. \
                            Give the controller's ClusterRole `list` and `watch` of it (`ergon install` does)");
                    }
                    break;
                }
                Err(error) => debug!(%kind, %error, "a watch failed; it is resumed"),
            }
        }
        // Begun anew with a list, and not resumed: what happened meanwhile is not known.
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn is_forbidden(error: &watcher::Error) -> bool {
    let code = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => status.code,
        _ => return false,
    };
    matches!(code, 401 | 403)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicBool, Ordering};

    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::json;
    use tokio::time::Instant;

    use super::*;

    /// A server with one limit range, which may be watched from some time on.
    fn server(is_allowed: &Arc<AtomicBool>) -> Client {
        let is_allowed = Arc::clone(is_allowed);
        let service = tower::service_fn(move |request: Request<Body>| {
            let is_allowed = is_allowed.load(Ordering::Relaxed);
            async move {
                let is_watch = request.uri().query().is_some_and(|query| query.contains("watch=true"));
                let is_all = request.uri().path() == "/api/v1/limitranges";
                let (code, answer) = match (is_all, is_allowed) {
                    (true, false) => (
                        403,
                        json!({"kind": "Status", "apiVersion": "v1", "metadata": {},
                        "status": "Failure", "code": 403, "reason": "Forbidden", "message": "forbidden"}),
                    ),
                    (true, true) if is_watch => std::future::pending().await,
                    _ => (
                        200,
                        json!({"kind": "LimitRangeList", "apiVersion": "v1",
                        "metadata": {"resourceVersion": "7"},
                        "items": [{"metadata": {"namespace": "ns", "name": "l", "uid": "u",
                            "resourceVersion": "5", "labels": {"a": "b"}}, "spec": {"limits": []}}]}),
                    ),
                };
                let body = Body::from(answer.to_string().into_bytes());
                Ok::<_, Infallible>(Response::builder().status(code).body(body).expect("a response"))
            }
        });
        Client::new(service, "default")
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_not_be_watched_is_asked_for_until_it_may() {
        let is_allowed = Arc::new(AtomicBool::new(false));
        let client = server(&is_allowed);
        let known = Arc::new(Surroundings::default());
        let (watching, start) = (Arc::clone(&known), Instant::now());
        let task = tokio::spawn({
            let client = client.clone();
            async move { watch(&client, watcher::Config::default(), &watching.limit_ranges).await }
        });
        let asked = known.limit_ranges(&client, "ns").await.expect("an answer");
        assert_eq!(asked[0].metadata.name.as_deref(), Some("l"));
        assert!(!known.limit_ranges.is_synced());
        is_allowed.store(true, Ordering::Relaxed);
        known.limit_ranges.synced().await;
        assert!(start.elapsed() <= 2 * LOOK_AGAIN, "{:?}", start.elapsed());
        let watched = known.limit_ranges(&client, "ns").await.expect("an answer");
        assert_eq!((watched.len(), &watched[0].metadata.labels), (1, &None));
        task.abort();
    }
}
