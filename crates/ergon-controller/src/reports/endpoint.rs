//! `POST /v1/report`: where agents say what became of their steps.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use ergon_api::TaskRun;
use ergon_engine::fuse;
use ergon_engine::pod::POD_LABEL;
use ergon_wire::{PodReport, ReportAnswer};
use http::{HeaderMap, HeaderValue, StatusCode, Version, header};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt};
use tracing::{debug, warn};

use super::forward::{FORWARDED, Forward};
use super::identity::{Identities, IdentityError, PodIdentity};
use super::{REPORT_LIMIT, Taken};
use crate::cache::Name;
use crate::shell::{Key, RunKind, Shell};

/// RFC 7240: with `wait=SECONDS`, the answer to a pod that waits to begin is kept back until there is something to say.
pub(super) const PREFER: &str = "prefer";
/// For how long at most.
const LONGEST_HELD: Duration = Duration::from_secs(10);

/// What the endpoint needs.
pub struct Endpoint {
    pub shell: Arc<Shell>,
    pub identities: Identities,
    pub forward: Forward,
}

/// The route.
pub fn router(endpoint: Endpoint) -> Router {
    Router::new()
        .route("/v1/report", post(report))
        .layer(DefaultBodyLimit::max(REPORT_LIMIT))
        .with_state(Arc::new(endpoint))
}

/// Why a report is not taken, in words for the agent's log.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("no `Authorization: Bearer …` header: send the token of the audience `ergon`")]
    NoToken,
    #[error(transparent)]
    Token(IdentityError),
    #[error("pod `{0}` is not one that runs a TaskRun of ours")]
    NotOurs(String),
    #[error("the body is no report: {0}")]
    Body(serde_json::Error),
    #[error("{0}; try again later")]
    Later(String),
    /// The other replica is there.
    #[error("another replica works on this run")]
    Elsewhere(SocketAddr),
}

impl Refused {
    fn code(&self) -> StatusCode {
        match self {
            Self::NoToken | Self::Token(IdentityError::Refused(_)) => StatusCode::UNAUTHORIZED,
            Self::Token(IdentityError::NotBound(_)) | Self::NotOurs(_) => StatusCode::FORBIDDEN,
            Self::Token(IdentityError::Unknown(_)) | Self::Later(_) | Self::Elsewhere(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Body(_) => StatusCode::BAD_REQUEST,
        }
    }

    fn label(&self) -> &'static str {
        match self {
            Self::NoToken | Self::Token(IdentityError::Refused(_)) => "unauthorized",
            Self::Token(IdentityError::NotBound(_)) | Self::NotOurs(_) => "forbidden",
            Self::Token(IdentityError::Unknown(_)) | Self::Later(_) => "unavailable",
            Self::Elsewhere(_) => "elsewhere",
            Self::Body(_) => "invalid",
        }
    }
}

async fn report(
    State(endpoint): State<Arc<Endpoint>>,
    version: Version,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match take(&endpoint, &headers, &body).await {
        Ok((answer, label)) => {
            endpoint.shell.metrics.reported(label);
            axum::Json(answer).into_response()
        }
        Err(refused) => {
            endpoint.shell.metrics.reported(refused.label());
            if let Refused::Elsewhere(there) = refused
                && let Some(answer) = hand_on(&endpoint, there, &headers, body).await
            {
                return answer;
            }
            if let Refused::Token(IdentityError::Unknown(error)) = &refused {
                warn!(%error, "a token could not be reviewed");
            }
            debug!(%refused, "a report was refused");
            let mut response = (refused.code(), format!("{refused}\n")).into_response();
            if response.status() == StatusCode::SERVICE_UNAVAILABLE {
                try_elsewhere(version, response.headers_mut());
            }
            response
        }
    }
}

/// Hands a report on to the replica that works on its run. None where that does not answer.
async fn hand_on(endpoint: &Endpoint, to: SocketAddr, headers: &HeaderMap, body: Bytes) -> Option<Response> {
    let token = headers.get(header::AUTHORIZATION)?;
    let platform = endpoint.shell.platform();
    let authority = &platform.report.as_ref()?.ca;
    let waits = headers.contains_key(PREFER);
    let answered = endpoint.forward.send(to, authority, token, body, waits).await;
    let (code, answer) =
        answered.inspect_err(|error| debug!(%error, %to, "a report could not be handed on")).ok()?;
    // It may have stopped working on the run meanwhile: the agent comes again.
    let is_taken = code != StatusCode::SERVICE_UNAVAILABLE;
    is_taken.then(|| (code, [(header::CONTENT_TYPE, "application/json")], answer).into_response())
}

/// Asks the agent to come again, over a new connection: it may reach the replica that works on its run.
fn try_elsewhere(version: Version, headers: &mut HeaderMap) {
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    // HTTP/2 has no such header.
    if version <= Version::HTTP_11 {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}

async fn take(
    endpoint: &Endpoint,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(ReportAnswer, &'static str), Refused> {
    let shell = &endpoint.shell;
    if !shell.shares.works() {
        return Err(Refused::Later("this replica does not work on runs".to_owned()));
    }
    let token = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
        .filter(|token| !token.is_empty())
        .ok_or(Refused::NoToken)?;
    let identity = endpoint.identities.of(token).await.map_err(Refused::Token)?;
    let key = owner(shell, &identity).await?;
    // Its memory of the run goes with the run: nobody else would read the report.
    if !shell.works_on(&key) {
        let there = shell.elsewhere(&key).filter(|_| !headers.contains_key(FORWARDED));
        let nobody = || Refused::Later("another replica works on this run".to_owned());
        return Err(there.map_or_else(nobody, Refused::Elsewhere));
    }
    let report: PodReport = serde_json::from_slice(body).map_err(Refused::Body)?;
    let sequence = report.sequence;
    let waits_for = report.waits_for.clone();
    // A run that is over has nothing more to learn, and an agent that still runs steps should end them.
    let runs = shell.runs(key.group);
    let is_over = match key.kind {
        RunKind::TaskRun => runs.task_runs.get(&key.name).is_some_and(|run| run.is_done()),
        RunKind::PipelineRun => runs.pipeline_runs.get(&key.name).is_some_and(|run| run.is_done()),
    };
    if is_over {
        return Ok((ReportAnswer { sequence, stop: !report.done, ..Default::default() }, "late"));
    }
    let label = match shell.reports.keep(&identity.uid, report, body.len()) {
        Taken::New => {
            shell.wake(&key, &identity.name);
            "new"
        }
        Taken::Old => "old",
        Taken::Full => return Err(Refused::Later("there is no room for more reports".to_owned())),
    };
    let sequence = shell.reports.get(&identity.uid).map_or(sequence, |known| known.sequence);
    if key.kind == RunKind::TaskRun {
        return Ok((ReportAnswer { sequence, ..Default::default() }, label));
    }
    let orders = || {
        let Some(run) = runs.pipeline_runs.get(&key.name) else { return ReportAnswer::default() };
        let children = runs.task_runs.owned_by(run.uid());
        let children: Vec<&TaskRun> = children.iter().map(AsRef::as_ref).collect();
        fuse::orders(key.group, &run, &children, &identity.name, waits_for.as_deref())
    };
    let mut answer = orders();
    if waits_for.is_some()
        && let Some(patience) = patience(headers)
    {
        // The turn of its task may come right now: what is told from here on is not missed.
        let told = shell.reports.listen(&identity.uid);
        answer = orders();
        if answer == ReportAnswer::default() {
            let _ = tokio::time::timeout(patience, told.told()).await;
            answer = orders();
        }
    }
    Ok((ReportAnswer { sequence, ..answer }, label))
}

/// For how long an answer may be kept back, as the request says.
fn patience(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(PREFER)?.to_str().ok()?.strip_prefix("wait=")?.parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_HELD))
}

/// The TaskRun that the pod runs, or the PipelineRun whose tasks share it.
async fn owner(shell: &Shell, identity: &PodIdentity) -> Result<Key, Refused> {
    let refused = || Refused::NotOurs(format!("{}/{}", identity.namespace, identity.name));
    let name = Name::new(identity.namespace.clone(), identity.name.clone());
    let is_it = |pod: &Pod| pod.metadata.uid.as_deref() == Some(&identity.uid);
    if let Some(pod) = shell.pods.get(&name).filter(|pod| is_it(pod)) {
        return run_of(&pod).ok_or_else(refused);
    }
    // The agent may be faster than the watch.
    let api: Api<Pod> = Api::namespaced(shell.client.clone(), &identity.namespace);
    let found = api.get_opt(&identity.name).await;
    let found = found.map_err(|error| Refused::Later(format!("the pod could not be looked up: {error}")))?;
    let pod = found.filter(is_it).ok_or_else(refused)?;
    let key = run_of(&pod).ok_or_else(refused)?;
    shell.take_pod(pod);
    Ok(key)
}

fn run_of(pod: &Pod) -> Option<Key> {
    if !pod.labels().contains_key(POD_LABEL) {
        return None;
    }
    Key::owner_of(pod)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::body::Body;
    use ergon_wire::ReportTarget;
    use http::{Request, Response as HttpResponse};
    use kube::Client;
    use serde_json::{Value, json};
    use tower::ServiceExt;

    use super::*;
    use crate::certificate::{Material, Served};
    use crate::events::Events;
    use crate::fake::Fake;
    use crate::members::Member;
    use crate::metrics::Metrics;
    use crate::serve::{self, Connections};

    fn pod(uid: &str, label: bool) -> Value {
        let mut labels = json!({});
        if label {
            labels[POD_LABEL] = json!("true");
        }
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {
            "namespace": "ns", "name": "run-pod", "uid": uid, "resourceVersion": "5", "labels": labels,
            "ownerReferences": [{"apiVersion": "ergon.dev/v1", "kind": "TaskRun", "name": "run", "uid": "r",
                "controller": true}]}})
    }

    /// An endpoint whose API server takes the token `good` for pod `run-pod` of UID `u`, and has this pod.
    fn endpoint(live: &Value, works: bool) -> (Router, Arc<Shell>) {
        let live = live.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let live = live.clone();
            async move {
                let path = request.uri().path().to_owned();
                let body = request.into_body().collect_bytes().await.expect("a body");
                let answer = if path.ends_with("/tokenreviews") {
                    let sent: Value = serde_json::from_slice(&body).expect("JSON");
                    let good = sent["spec"]["token"] == "good";
                    json!({"metadata": {}, "spec": {}, "status": {"authenticated": good, "audiences": ["ergon"],
                        "user": {"username": "system:serviceaccount:ns:default", "extra": {
                            "authentication.kubernetes.io/pod-name": ["run-pod"],
                            "authentication.kubernetes.io/pod-uid": ["u"]}}}})
                } else {
                    assert_eq!(path, "/api/v1/namespaces/ns/pods/run-pod");
                    live
                };
                let body = kube::client::Body::from(answer.to_string().into_bytes());
                Ok::<_, Infallible>(HttpResponse::new(body))
            }
        });
        let client = Client::new(service, "default");
        let metrics = Arc::new(Metrics::default());
        let events = Events::start(&client, "test", &metrics);
        let shell =
            Arc::new(Shell::new(client.clone(), ergon_engine::pod::Platform::default(), events, metrics));
        if !works {
            shell.shares.stay_away();
        }
        let forward = Forward::new("localhost".to_owned());
        let identities = Identities::new(client);
        (router(Endpoint { shell: Arc::clone(&shell), identities, forward }), shell)
    }

    async fn post_report(router: &Router, token: Option<&str>, body: impl Into<Body>) -> (u16, String) {
        let mut request = Request::post("/v1/report");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let response =
            router.clone().oneshot(request.body(body.into()).expect("a request")).await.expect("an answer");
        let code = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("a body");
        (code, String::from_utf8(body.to_vec()).expect("text"))
    }

    fn body(sequence: u64) -> String {
        json!({"sequence": sequence, "steps": [], "done": false}).to_string()
    }

    #[tokio::test]
    async fn a_report_is_kept_and_wakes_its_run() {
        let (router, shell) = endpoint(&pod("u", true), true);
        let (code, answer) = post_report(&router, Some("good"), body(3)).await;
        assert_eq!((code, answer.as_str()), (200, r#"{"sequence":3,"stop":false}"#));
        assert_eq!(shell.reports.get("u").map(|report| report.sequence), Some(3));
        let expected = Key::task_run(ergon_api::Group::Ergon, Name::new("ns", "run"));
        assert_eq!(shell.queue.try_next(), Some(expected));
        let (_, answer) = post_report(&router, Some("good"), body(2)).await;
        assert_eq!(answer, r#"{"sequence":3,"stop":false}"#);
        assert_eq!(shell.queue.depth(), 0, "an old report wakes nothing");
    }

    #[tokio::test]
    async fn a_pod_that_the_watch_has_yet_to_tell_wakes_its_run_whatever_its_report_is() {
        let (router, shell) = endpoint(&pod("u", true), true);
        assert_eq!(post_report(&router, Some("good"), "{").await.0, 400);
        // The watch finds that the pod is known, and tells nobody.
        let told: Pod = serde_json::from_value(pod("u", true)).expect("a pod");
        assert!(!shell.pods.observe(told));
        assert_eq!(shell.queue.depth(), 1);
    }

    #[tokio::test]
    async fn an_agent_is_sent_to_a_replica_that_works() {
        let (router, _) = endpoint(&pod("u", true), false);
        let request = Request::post("/v1/report").body(Body::from(body(1))).expect("a request");
        let response = router.oneshot(request).await.expect("an answer");
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        assert_eq!(response.headers()[header::CONNECTION], "close");
    }

    #[tokio::test]
    async fn a_report_is_handed_on_to_the_replica_that_works_on_its_run() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let names = ["localhost".to_owned()];
        let material = Material::make(&names, jiff::Timestamp::now()).expect("a certificate");
        let acceptor = serve::acceptor(Arc::new(Served::new(&material).expect("usable"))).expect("TLS");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let ((there, other), (here, this)) =
            (endpoint(&pod("u", true), true), endpoint(&pod("u", true), true));
        let server = tokio::spawn(serve::tls(listener, there, acceptor, Connections::default()));
        let target = ReportTarget { url: "https://localhost/v1/report".to_owned(), ca: material.authority };
        this.set_platform(|platform| platform.report = Some(target));

        let fake = Fake::default();
        let member = |name: &str, at| Member::new(fake.client(), "ns", name.to_owned(), at);
        let (mut one, mut two) = (member("one", Some(address)), member("two", None));
        // Each hears of the other.
        for _ in 0..2 {
            one.join(&other.shares).await;
            two.join(&this.shares).await;
        }
        let uid =
            (0..1000).map(|at| format!("uid-{at}")).find(|uid| other.shares.is_mine(|| Some(uid.clone())));
        for shell in [&this, &other] {
            let run =
                serde_json::from_value(json!({"apiVersion": "ergon.dev/v1", "kind": "TaskRun", "spec": {},
                "metadata": {"namespace": "ns", "name": "run", "uid": uid, "resourceVersion": "1"}}));
            shell.runs(ergon_api::Group::Ergon).task_runs.observe(run.expect("a run"));
        }
        let (code, answer) = post_report(&here, Some("good"), body(3)).await;
        assert_eq!((code, answer.as_str()), (200, r#"{"sequence":3,"stop":false}"#));
        assert_eq!(other.reports.get("u").map(|report| report.sequence), Some(3));
        assert!(this.reports.is_empty());

        let request = Request::post("/v1/report").header("authorization", "Bearer good");
        let request = request.header(FORWARDED, "true").body(Body::from(body(4))).expect("a request");
        let again = here.clone().oneshot(request).await.expect("an answer");
        assert_eq!(again.status(), StatusCode::SERVICE_UNAVAILABLE, "once");
        // The other one has stopped working, and then it is gone: the agent comes again.
        other.shares.stay_away();
        assert_eq!(post_report(&here, Some("good"), body(5)).await.0, 503);
        server.abort();
        assert_eq!(post_report(&here, Some("good"), body(5)).await.0, 503);
    }

    #[tokio::test]
    async fn an_agent_whose_run_is_over_is_told_to_stop() {
        let (router, shell) = endpoint(&pod("u", true), true);
        let run = serde_json::from_value(json!({"apiVersion": "ergon.dev/v1", "kind": "TaskRun",
            "metadata": {"namespace": "ns", "name": "run", "uid": "r"}, "spec": {},
            "status": {"conditions": [{"type": "Succeeded", "status": "False"}]}}))
        .expect("a run");
        shell.runs(ergon_api::Group::Ergon).task_runs.observe(run);
        let (code, answer) = post_report(&router, Some("good"), body(1)).await;
        assert_eq!((code, answer.as_str()), (200, r#"{"sequence":1,"stop":true}"#));
        assert!(shell.reports.is_empty());
    }

    #[tokio::test]
    async fn others_are_refused() {
        for (live, works, token, sent, code, says) in [
            (pod("u", true), true, None, body(1), 401, "no `Authorization"),
            (pod("u", true), true, Some("bad"), body(1), 401, "not valid for the audience"),
            (pod("other", true), true, Some("good"), body(1), 403, "`ns/run-pod` is not one"),
            (pod("u", false), true, Some("good"), body(1), 403, "`ns/run-pod` is not one"),
            (pod("u", true), false, Some("good"), body(1), 503, "does not work"),
            (pod("u", true), true, Some("good"), "{".to_owned(), 400, "no report"),
            (pod("u", true), true, Some("good"), " ".repeat(REPORT_LIMIT + 1), 413, ""),
        ] {
            let (router, shell) = endpoint(&live, works);
            let (answered, text) = post_report(&router, token, sent).await;
            assert_eq!(answered, code, "{text}");
            assert!(text.contains(says), "{text}");
            assert!(shell.reports.is_empty());
        }
    }
}
