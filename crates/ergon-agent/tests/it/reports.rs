//! Reports to a TLS server that answers as the test says.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ergon_agent::Reporter;
use ergon_engine::coordinate::Event;
use ergon_wire::{PodReport, ReportAnswer, ReportTarget, StopReason};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

const PATIENCE: Duration = Duration::from_secs(30);

/// What the server does with one request; without one it takes the report.
enum Answer {
    Take,
    Stop,
    Status(u16),
    Text(&'static str),
    /// Takes the report of a pod that waits, and lets it begin.
    Begin,
    /// Takes the report, once it is told to.
    When(Arc<Notify>),
}

/// What the server saw of a request.
#[derive(Debug, Clone, PartialEq)]
struct Post {
    connection: usize,
    token: String,
    sequence: u64,
}

struct Controller {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    requests: mpsc::UnboundedReceiver<Post>,
    /// A client broke the handshake off.
    distrusted: Arc<Notify>,
    serving: JoinHandle<()>,
}

/// An authority and a server certificate of it.
fn certificates() -> (String, ServerConfig) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &authority).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )
        .unwrap();
    (authority.pem(), config)
}

impl Controller {
    fn serve(listener: TcpListener, config: ServerConfig, answers: Vec<Answer>) -> Self {
        let answers = Arc::new(Mutex::new(VecDeque::from(answers)));
        let (seen, requests) = mpsc::unbounded_channel();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let script = answers.clone();
        let distrusted = Arc::new(Notify::new());
        let broken_off = distrusted.clone();
        let serving = tokio::spawn(async move {
            for connection in 0.. {
                let (tcp, _) = listener.accept().await.unwrap();
                let (acceptor, script, seen) = (acceptor.clone(), script.clone(), seen.clone());
                let broken_off = broken_off.clone();
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(tcp).await else {
                        broken_off.notify_one();
                        return;
                    };
                    let service =
                        service_fn(move |request| answer(request, connection, script.clone(), seen.clone()));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { answers, requests, distrusted, serving }
    }

    async fn next(&mut self) -> Post {
        tokio::time::timeout(PATIENCE, self.requests.recv()).await.unwrap().unwrap()
    }
}

async fn answer(
    request: Request<Incoming>,
    connection: usize,
    script: Arc<Mutex<VecDeque<Answer>>>,
    seen: mpsc::UnboundedSender<Post>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    assert_eq!((request.method().as_str(), request.uri().path()), ("POST", "/v1/report"));
    let token = request.headers()["authorization"].to_str().unwrap().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let report: PodReport = serde_json::from_slice(&body).unwrap();
    let answer = script.lock().unwrap().pop_front().unwrap_or(Answer::Take);
    seen.send(Post { connection, token, sequence: report.sequence }).unwrap();
    let taken = |stop: bool| {
        serde_json::to_vec(&ReportAnswer { sequence: report.sequence, stop, ..Default::default() }).unwrap()
    };
    let (status, body) = match answer {
        Answer::Take => (200, taken(false)),
        Answer::Stop => (200, taken(true)),
        Answer::Begin => (200, br#"{"sequence":1,"begin":{"first":"x"}}"#.to_vec()),
        Answer::Status(status) => (status, b"try again".to_vec()),
        Answer::Text(text) => (200, text.as_bytes().to_vec()),
        Answer::When(told) => {
            told.notified().await;
            (200, taken(false))
        }
    };
    Ok(Response::builder().status(status).body(Full::from(body)).unwrap())
}

/// The agent's side.
struct Agent {
    directory: TempDir,
    reports: watch::Sender<PodReport>,
    events: mpsc::UnboundedReceiver<Event>,
    reporting: JoinHandle<()>,
}

impl Agent {
    fn new(port: u16, ca: String, again: Option<Duration>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let token = directory.path().join("token");
        std::fs::write(&token, "first\n").unwrap();
        let target = ReportTarget { url: format!("https://localhost:{port}/v1/report"), ca };
        let (reports, newest) = watch::channel(PodReport::default());
        let (told, events) = mpsc::unbounded_channel();
        let reporting = tokio::spawn(Reporter::new(&target, &token).unwrap().run(newest, told, again));
        Self { directory, reports, events, reporting }
    }

    fn token(&self) -> PathBuf {
        self.directory.path().join("token")
    }

    fn report(&self, sequence: u64, done: bool) {
        self.reports.send_replace(PodReport { sequence, done, ..PodReport::default() });
    }

    async fn finish(self) {
        tokio::time::timeout(PATIENCE, self.reporting).await.unwrap().unwrap();
    }
}

async fn both(answers: Vec<Answer>) -> (Controller, Agent) {
    both_listening(answers, None).await
}

/// `again`: after how long the agent listens again.
async fn both_listening(answers: Vec<Answer>, again: Option<Duration>) -> (Controller, Agent) {
    let (ca, config) = certificates();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (Controller::serve(listener, config, answers), Agent::new(port, ca, again))
}

fn request(connection: usize, token: &str, sequence: u64) -> Post {
    Post { connection, token: format!("Bearer {token}"), sequence }
}

#[tokio::test]
async fn reports_go_over_one_connection_with_the_token_of_the_moment() {
    let (mut controller, agent) = both(vec![]).await;
    agent.report(1, false);
    assert_eq!(controller.next().await, request(0, "first", 1));
    std::fs::write(agent.token(), "second\n").unwrap();
    agent.report(2, true);
    assert_eq!(controller.next().await, request(0, "second", 2));
    agent.finish().await;
    assert!(controller.answers.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_report_that_was_not_taken_comes_again() {
    let answers = vec![Answer::Status(500), Answer::Status(403), Answer::Text("<html>"), Answer::Take];
    let (mut controller, agent) = both(answers).await;
    agent.report(1, true);
    for _ in 0..4 {
        assert_eq!(controller.next().await, request(0, "first", 1), "an error is no reason to connect anew");
    }
    agent.finish().await;
}

#[tokio::test]
async fn a_slow_controller_gets_the_newest_state_alone() {
    let told = Arc::new(Notify::new());
    let (mut controller, agent) = both(vec![Answer::When(told.clone())]).await;
    agent.report(1, false);
    assert_eq!(controller.next().await.sequence, 1);
    for sequence in 2..=9 {
        agent.report(sequence, false);
    }
    told.notify_one();
    assert_eq!(controller.next().await.sequence, 9);
    agent.report(10, true);
    assert_eq!(controller.next().await.sequence, 10);
    agent.finish().await;
}

#[tokio::test]
async fn a_controller_that_comes_later_gets_the_last_report() {
    let (ca, config) = certificates();
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let agent = Agent::new(port, ca, None);
    agent.report(1, false);
    agent.report(2, true);
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let mut controller = Controller::serve(listener, config, vec![]);
    assert_eq!(controller.next().await.sequence, 2);
    agent.finish().await;
}

#[tokio::test]
async fn a_controller_that_restarts_is_found_again() {
    let (ca, config) = certificates();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // One connection, closed after its first answer.
    let acceptor = TlsAcceptor::from(Arc::new(config.clone()));
    let (seen, mut requests) = mpsc::unbounded_channel();
    let first = tokio::spawn(async move {
        let stream = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
        let service = service_fn(move |request| answer(request, 0, Arc::default(), seen.clone()));
        let server = hyper::server::conn::http1::Builder::new();
        let mut connection = std::pin::pin!(server.serve_connection(TokioIo::new(stream), service));
        tokio::select! {
            ended = connection.as_mut() => ended.unwrap(),
            _ = requests.recv() => {
                connection.as_mut().graceful_shutdown();
                connection.await.unwrap();
            }
        }
        listener
    });
    let agent = Agent::new(port, ca, None);
    agent.report(1, false);
    let listener = tokio::time::timeout(PATIENCE, first).await.unwrap().unwrap();
    let mut controller = Controller::serve(listener, config, vec![]);
    agent.report(2, true);
    assert_eq!(controller.next().await.sequence, 2);
    agent.finish().await;
}

#[tokio::test]
async fn an_answer_can_stop_the_pod() {
    let (mut controller, mut agent) = both(vec![Answer::Stop]).await;
    agent.report(1, false);
    assert_eq!(controller.next().await.sequence, 1);
    let event = tokio::time::timeout(PATIENCE, agent.events.recv()).await.unwrap();
    assert!(matches!(event, Some(Event::Stop { reason: StopReason::Cancelled, .. })));
    agent.report(2, true);
    agent.finish().await;
}

#[tokio::test]
async fn a_server_of_another_authority_hears_nothing() {
    let (_, config) = certificates();
    let (other_ca, other_config) = certificates();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut impostor = Controller::serve(listener, config, vec![]);
    let agent = Agent::new(port, other_ca, None);
    agent.report(1, true);
    tokio::time::timeout(PATIENCE, impostor.distrusted.notified()).await.unwrap();
    // Until the right one takes its place.
    impostor.serving.abort();
    assert!((&mut impostor.serving).await.unwrap_err().is_cancelled());
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let mut controller = Controller::serve(listener, other_config, vec![]);
    assert_eq!(controller.next().await.sequence, 1);
    agent.finish().await;
    assert!(impostor.requests.try_recv().is_err());
}

#[test]
fn targets_that_cannot_work_are_told_at_once() {
    let (ca, _) = certificates();
    for (url, ca, expected) in [
        (
            "http://x/y",
            ca.as_str(),
            "the report URL `http://x/y` cannot be used: write `https://host:port/path`",
        ),
        ("/v1", &ca, "the report URL `/v1` cannot be used: write `https://host:port/path`"),
        (
            "https://x/y",
            "",
            "the certificate authority of the report target cannot be read: it has no PEM certificate",
        ),
    ] {
        let target = ReportTarget { url: url.to_owned(), ca: ca.to_owned() };
        let error = Reporter::new(&target, "token".as_ref()).err().unwrap();
        assert_eq!(error.to_string(), expected);
    }
}

#[tokio::test]
async fn an_agent_that_waits_lets_the_answer_be_kept_back_and_begins() {
    let told = Arc::new(Notify::new());
    let answers = vec![Answer::When(told.clone()), Answer::Begin];
    let (mut controller, mut agent) = both_listening(answers, Some(Duration::from_mins(10))).await;
    let waits = PodReport { sequence: 1, waits_for: Some(vec!["a".into()]), ..PodReport::default() };
    agent.reports.send_replace(waits.clone());
    assert_eq!(controller.next().await, request(0, "first", 1));
    // An answer that took its time is asked for again at once; one that did not would be a storm of requests.
    tokio::time::sleep(Duration::from_millis(250)).await;
    told.notify_one();
    assert_eq!(controller.next().await, request(0, "first", 1));
    let event = tokio::time::timeout(PATIENCE, agent.events.recv()).await.unwrap();
    assert!(matches!(event, Some(Event::Begin { ref with, .. }) if with["first"] == "x"), "{event:?}");
    agent.report(2, true);
    assert_eq!(controller.next().await, request(0, "first", 2));
    agent.finish().await;
}

#[tokio::test]
async fn what_happens_meanwhile_is_told_although_an_answer_is_kept_back() {
    let never = Arc::new(Notify::new());
    let (mut controller, agent) =
        both_listening(vec![Answer::When(never)], Some(Duration::from_mins(10))).await;
    agent.reports.send_replace(PodReport {
        sequence: 1,
        waits_for: Some(Vec::new()),
        ..PodReport::default()
    });
    assert_eq!(controller.next().await, request(0, "first", 1));
    agent.report(2, true);
    assert_eq!(controller.next().await, request(1, "first", 2));
    agent.finish().await;
}
