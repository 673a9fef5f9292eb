//! Serving HTTP: with TLS for webhooks and reports, without for health and metrics.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;
use tracing::{debug, warn};

use crate::certificate::Served;

/// How long a client may take to shake hands, and to send a request's head.
const PATIENCE: Duration = Duration::from_secs(10);
/// Connections that are open at once; more wait.
const CONNECTIONS: usize = 4096;

/// Serves without TLS, until the process ends.
pub async fn plain(listener: TcpListener, router: Router) {
    accept(listener, move |stream| {
        let router = router.clone();
        async move { connection(stream, router).await }
    })
    .await;
}

/// Serves with TLS, until the process ends.
pub async fn tls(
    listener: TcpListener,
    router: Router,
    certificate: Arc<Served>,
) -> Result<(), rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    accept(listener, move |stream| {
        let (acceptor, router) = (acceptor.clone(), router.clone());
        async move {
            match tokio::time::timeout(PATIENCE, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => connection(stream, router).await,
                Ok(Err(error)) => debug!(%error, "a TLS handshake failed"),
                Err(_) => debug!("a TLS handshake took too long"),
            }
        }
    })
    .await;
    Ok(())
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

async fn connection<S>(stream: S, router: Router)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = router
        .map_request(|request: http::Request<hyper::body::Incoming>| request.map(axum::body::Body::new));
    let service = service.map_err(|never: Infallible| match never {});
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(Some(Duration::from_mins(1)));
    if let Err(error) =
        builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)).await
    {
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
