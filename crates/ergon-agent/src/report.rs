//! Reports to the controller: over one connection that is kept, always the newest state, until it is taken.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ergon_engine::coordinate::Event;
use ergon_wire::{PodReport, ReportAnswer, ReportTarget, StopReason};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use crate::carry_out::ended;
use crate::now;

/// The pause after a first failure; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long the controller may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// How long a packet may stay without an acknowledgement, in milliseconds: a controller that was moved to another
/// node is gone without a word, and the kernel would wait for it for minutes.
const PACKET_LIMIT_MS: u32 = 3000;
/// Bytes of an answer: one that tells a pod to begin has the results of the tasks before.
const ANSWER_SIZE: usize = 4 << 20;
/// For how long a pod that waits to begin lets the controller keep the answer, in seconds: less than it may take.
const WAITS: &str = "wait=8";
/// An answer that takes less was not kept back.
const AT_ONCE: Duration = Duration::from_millis(200);

/// RFC 7240.
const PREFER: &str = "prefer";

/// A report target that can never work.
#[derive(Debug, thiserror::Error)]
pub enum ReporterError {
    #[error("the report URL `{url}` cannot be used: write `https://host:port/path`")]
    Url { url: String },
    #[error("the host `{host}` of the report URL is no name that a certificate can have")]
    Host { host: String, source: InvalidDnsNameError },
    #[error("the certificate authority of the report target cannot be read: {message}")]
    Authority { message: String },
}

/// Why one try to deliver a report failed. All of these may pass.
#[derive(Debug, thiserror::Error)]
enum DeliveryError {
    #[error("the token `{path}` cannot be read: {source}", path = path.display())]
    Token { path: PathBuf, source: io::Error },
    #[error("no connection within {CONNECT_LIMIT:?}")]
    NoConnection,
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    #[error("no answer within {ANSWER_LIMIT:?}")]
    NoAnswer,
    #[error("the connection failed: {0}")]
    Http(#[from] hyper::Error),
    #[error("the request cannot be made: {0}")]
    Request(#[from] hyper::http::Error),
    #[error("the answer cannot be read: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    #[error("the answer was {status}: {text}")]
    Status { status: StatusCode, text: String },
    #[error("the answer is not the controller's: {0}")]
    Answer(#[source] serde_json::Error),
    #[error("the report cannot be written: {0}")]
    Report(#[source] serde_json::Error),
}

/// Where reports go, and how.
pub struct Reporter {
    address: (String, u16),
    server_name: ServerName<'static>,
    /// Path and query.
    path: String,
    host: String,
    token_file: PathBuf,
    tls: TlsConnector,
}

type Connection = SendRequest<Full<Bytes>>;

impl Reporter {
    /// Reads the target. The token is read anew for each report, because the kubelet renews it.
    pub fn new(target: &ReportTarget, token_file: &Path) -> Result<Self, ReporterError> {
        let bad_url = || ReporterError::Url { url: target.url.clone() };
        let url: Uri = target.url.parse().map_err(|_| bad_url())?;
        let host = url.host().filter(|_| url.scheme_str() == Some("https")).ok_or_else(bad_url)?;
        let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let server_name = ServerName::try_from(name.clone())
            .map_err(|source| ReporterError::Host { host: host.to_owned(), source })?;
        Ok(Self {
            address: (name, url.port_u16().unwrap_or(443)),
            server_name,
            path: url.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            host: url.authority().map(ToString::to_string).unwrap_or_default(),
            token_file: token_file.to_owned(),
            tls: TlsConnector::from(Arc::new(trust(&target.ca)?)),
        })
    }

    /// Delivers each state that comes, but only the newest where several came meanwhile. Returns once the last report
    /// was taken, or all were and there will be no more. An answer that asks for it stops the pod.
    /// With `again`, the newest state is sent again after so long, to hear what the controller wants meanwhile.
    pub async fn run(
        self,
        mut reports: watch::Receiver<PodReport>,
        events: mpsc::UnboundedSender<Event>,
        again: Option<Duration>,
    ) {
        // While the steps start there is time for the handshakes: the first report then takes one round trip.
        let mut connection = self
            .connect()
            .await
            .inspect_err(|error| tracing::info!(%error, "the controller is not there yet"))
            .ok();
        let mut asked = None;
        loop {
            let was_held = asked.is_some_and(|asked: Instant| asked.elapsed() >= AT_ONCE);
            let waits = reports.borrow().waits_for.is_some();
            let changed = match again {
                // The answer comes once there is something to say, unless it is one that nobody keeps back.
                Some(_) if waits && (was_held || asked.is_none()) => Ok(Ok(())),
                Some(again) => timeout(again, reports.changed()).await,
                None => Ok(reports.changed().await),
            };
            asked = Some(Instant::now());
            if matches!(changed, Ok(Err(_))) {
                return;
            }
            let mut pause = FIRST_PAUSE;
            loop {
                let report = reports.borrow_and_update().clone();
                let delivered = tokio::select! {
                    delivered = self.deliver(&mut connection, &report) => delivered,
                    // While the answer is kept back, there may be news: that the pod is to end.
                    Ok(()) = reports.changed(), if report.waits_for.is_some() => {
                        reports.mark_changed();
                        break;
                    }
                };
                let error = match delivered {
                    Ok(answer) => {
                        tracing::debug!(sequence = report.sequence, ended = ended(&report), "reported");
                        if answer.stop {
                            let _ = events.send(Event::Stop { reason: StopReason::Cancelled, at: now() });
                        }
                        // First, so that what waits for a task that is ended does not start.
                        if answer.halt {
                            let _ = events.send(Event::Halt { at: now() });
                        }
                        for task in answer.stop_tasks {
                            let _ = events.send(Event::StopTask { task, at: now() });
                        }
                        for (task, before) in answer.stop_tries {
                            let _ = events.send(Event::StopTries { task, before, at: now() });
                        }
                        if let Some(with) = answer.begin {
                            let _ = events.send(Event::Begin { with, at: now() });
                            // What it comes to is the next report.
                            let begun = |report: &PodReport| report.waits_for.is_none();
                            if reports.wait_for(begun).await.is_err() {
                                return;
                            }
                            reports.mark_changed();
                        }
                        if report.done {
                            return;
                        }
                        break;
                    }
                    Err(error) => error,
                };
                tracing::warn!(%error, sequence = report.sequence, retry_in = ?pause, "the report was not taken");
                let ended_meanwhile = async {
                    if report.done || reports.wait_for(|report| report.done).await.is_err() {
                        std::future::pending::<()>().await;
                    }
                };
                tokio::select! {
                    () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
                    // The last report has little time: it starts over.
                    () = ended_meanwhile => pause = FIRST_PAUSE,
                }
            }
        }
    }

    /// One report, over the connection that is there or a new one.
    async fn deliver(
        &self,
        connection: &mut Option<Connection>,
        report: &PodReport,
    ) -> Result<ReportAnswer, DeliveryError> {
        let body = Bytes::from(serde_json::to_vec(report).map_err(DeliveryError::Report)?);
        if let Some(mut kept) = connection.take().filter(|kept| !kept.is_closed()) {
            match self.post(&mut kept, body.clone(), report.waits_for.is_some()).await {
                // The server may close a quiet connection just when we use it: that is no failure yet.
                Err(DeliveryError::Http(error)) => tracing::debug!(%error, "the connection was closed"),
                outcome => return Self::keep(connection, kept, outcome),
            }
        }
        let mut new = self.connect().await?;
        let outcome = self.post(&mut new, body, report.waits_for.is_some()).await;
        Self::keep(connection, new, outcome)
    }

    /// Keeps a connection whose answer was read to its end.
    fn keep(
        connection: &mut Option<Connection>,
        used: Connection,
        outcome: Result<ReportAnswer, DeliveryError>,
    ) -> Result<ReportAnswer, DeliveryError> {
        if matches!(outcome, Ok(_) | Err(DeliveryError::Status { .. } | DeliveryError::Answer(_))) {
            *connection = Some(used);
        }
        outcome
    }

    async fn connect(&self) -> Result<Connection, DeliveryError> {
        let (host, port) = &self.address;
        let connected = timeout(CONNECT_LIMIT, async {
            let tcp = TcpStream::connect((host.as_str(), *port)).await?;
            tcp.set_nodelay(true)?;
            nix::sys::socket::setsockopt(&tcp, nix::sys::socket::sockopt::TcpUserTimeout, &PACKET_LIMIT_MS)?;
            self.tls.connect(self.server_name.clone(), tcp).await
        });
        let stream =
            connected.await.map_err(|_| DeliveryError::NoConnection)?.map_err(DeliveryError::Connect)?;
        let (sender, driver) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            if let Err(error) = driver.await {
                tracing::debug!(%error, "the connection to the controller ended");
            }
        });
        Ok(sender)
    }

    /// `waits`: the answer may be kept back until there is something to say.
    async fn post(
        &self,
        connection: &mut Connection,
        body: Bytes,
        waits: bool,
    ) -> Result<ReportAnswer, DeliveryError> {
        let token = std::fs::read_to_string(&self.token_file)
            .map_err(|source| DeliveryError::Token { path: self.token_file.clone(), source })?;
        let mut request = Request::post(&self.path)
            .header(HOST, &self.host)
            .header(AUTHORIZATION, format!("Bearer {}", token.trim()))
            .header(CONTENT_TYPE, "application/json");
        if waits {
            request = request.header(PREFER, WAITS);
        }
        let request = request.body(Full::new(body))?;
        let answered = timeout(ANSWER_LIMIT, async {
            connection.ready().await?;
            let answer = connection.send_request(request).await?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER_SIZE).collect().await;
            Ok::<_, DeliveryError>((status, body.map_err(DeliveryError::Body)?.to_bytes()))
        });
        let (status, body) = answered.await.map_err(|_| DeliveryError::NoAnswer)??;
        if !status.is_success() {
            let text = String::from_utf8_lossy(&body).chars().take(200).collect();
            return Err(DeliveryError::Status { status, text });
        }
        serde_json::from_slice(&body).map_err(DeliveryError::Answer)
    }
}

/// Trusts what this authority signed, and nothing else.
fn trust(ca: &str) -> Result<ClientConfig, ReporterError> {
    let unusable = |message: String| ReporterError::Authority { message };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(unusable("it has no PEM certificate".to_owned()));
    }
    // By name: a program that also has another provider compiled in has no default one.
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
