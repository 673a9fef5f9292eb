//! Serving HTTP: with TLS for webhooks and reports, without for health and metrics.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;
use tracing::{debug, warn};

use crate::certificate::Served;
use crate::sync::lock;

/// How long a client may take to shake hands, and to send a request's head.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a connection may be kept with no request on it. The API server gives up its own after 90 s: who closed first
/// would now and then do so just as it sends, and what it asked about would fail. Agents are silent while a step runs.
const IDLE: Duration = Duration::from_mins(5);
/// Connections that are open at once; more wait.
const CONNECTIONS: usize = 4096;

/// The connections of one server, to end them in good order. Copies share them.
#[derive(Clone)]
pub struct Connections {
    /// Each open connection listens to the sender that was here when it was accepted.
    ending: Arc<Mutex<watch::Sender<()>>>,
}

impl Default for Connections {
    fn default() -> Self {
        Self { ending: Arc::new(Mutex::new(watch::Sender::new(()))) }
    }
}

impl Connections {
    /// Tells the clients of all open connections to send nothing more over them, answers what was sent, and waits
    /// until they are closed, at most for `within`. New ones are still served.
    pub async fn close(&self, within: Duration) {
        let open = std::mem::replace(&mut *lock(&self.ending), watch::Sender::new(()));
        open.send_replace(());
        if tokio::time::timeout(within, open.closed()).await.is_err() {
            debug!("some connections are still open");
        }
    }

    /// For one more connection, which holds it until its end.
    fn add(&self) -> watch::Receiver<()> {
        lock(&self.ending).subscribe()
    }
}

/// Serves without TLS, until the process ends.
pub async fn plain(listener: TcpListener, router: Router, connections: Connections) {
    accept(listener, move |stream| {
        let (router, ending) = (router.clone(), connections.add());
        async move { connection(stream, router, ending).await }
    })
    .await;
}

/// What is needed to serve with TLS.
pub fn acceptor(certificate: Arc<Served>) -> Result<TlsAcceptor, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Serves with TLS, until the process ends.
pub async fn tls(listener: TcpListener, router: Router, acceptor: TlsAcceptor, connections: Connections) {
    accept(listener, move |stream| {
        let (acceptor, router) = (acceptor.clone(), router.clone());
        let ending = connections.add();
        async move {
            match tokio::time::timeout(PATIENCE, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => connection(stream, router, ending).await,
                Ok(Err(error)) => debug!(%error, "a TLS handshake failed"),
                Err(_) => debug!("a TLS handshake took too long"),
            }
        }
    })
    .await;
}

async fn accept<F>(listener: TcpListener, serve: impl Fn(tokio::net::TcpStream) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                // An answer is one small write: never wait to fill a packet.
                let _ = stream.set_nodelay(true);
                let connection = serve(stream);
                tokio::spawn(async move {
                    connection.await;
                    drop(permit);
                });
            }
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection<S>(stream: S, router: Router, mut ending: watch::Receiver<()>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = router
        .map_request(|request: http::Request<hyper::body::Incoming>| request.map(axum::body::Body::new));
    let service = service.map_err(|never: Infallible| match never {});
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(IDLE);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(Some(Duration::from_mins(1)));
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let mut connection = std::pin::pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        _ = ending.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        debug!(error, "a connection failed");
    }
}

/// Listens on all addresses of this machine.
pub async fn listen(port: u16) -> std::io::Result<TcpListener> {
    match TcpListener::bind(SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, port))).await {
        Ok(listener) => Ok(listener),
        // Without IPv6 on this machine.
        Err(_) => TcpListener::bind(SocketAddr::from((std::net::Ipv4Addr::UNSPECIFIED, port))).await,
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    async fn ask(stream: &mut TcpStream) -> String {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
        let mut answer = Vec::new();
        while !answer.ends_with(b"here") {
            assert_ne!(stream.read_buf(&mut answer).await.expect("read"), 0, "closed before the answer");
        }
        String::from_utf8(answer).expect("text")
    }

    #[tokio::test]
    async fn open_connections_end_in_good_order_and_new_ones_are_served() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let connections = Connections::default();
        let router = Router::new().route("/", get(|| async { "here" }));
        let server = tokio::spawn(plain(listener, router, connections.clone()));
        let mut open = TcpStream::connect(address).await.expect("connected");
        assert!(ask(&mut open).await.starts_with("HTTP/1.1 200"));
        assert!(ask(&mut open).await.starts_with("HTTP/1.1 200"), "it is kept alive");
        connections.close(Duration::from_mins(1)).await;
        assert_eq!(open.read(&mut [0; 8]).await.expect("read"), 0, "closed");
        let mut new = TcpStream::connect(address).await.expect("connected");
        assert!(ask(&mut new).await.starts_with("HTTP/1.1 200"));
        server.abort();
    }
}
