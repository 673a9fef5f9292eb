//! The connection to the API server: HTTP/2, with bounds that are written down, and as many requests at once as it takes.

mod pace;

use std::sync::Arc;
use std::time::Duration;

use hyper_rustls::{FixedServerNameResolver, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::{Body, ClientBuilder, ConfigExt as _};
use kube::config::{InferConfigError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use rustls::pki_types::{InvalidDnsNameError, ServerName};
use tower::ServiceBuilder;

use self::pace::{Pace, PaceLayer};
use crate::args::Args;
use crate::metrics::Metrics;

/// How much the API server may send of one answer before it is read: a page of a list comes in one go, and a watch that
/// nobody reads holds no more memory than this.
const STREAM_WINDOW: u32 = 1 << 20;
/// The same of all answers together.
const CONNECTION_WINDOW: u32 = 8 << 20;
/// A quiet connection is asked so often whether it still lives, and given up after so long: watches are quiet for minutes,
/// and a load balancer forgets without a word.
const PING: Duration = Duration::from_secs(15);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("the kubeconfig cannot be used")]
    Kubeconfig(#[from] KubeconfigError),
    #[error("no cluster is configured: name a kubeconfig with `--kubeconfig`")]
    NoCluster(#[from] InferConfigError),
    #[error("the cluster's credentials cannot be used")]
    Credentials(#[from] kube::Error),
    #[error("`tls-server-name: {name}` is no name that a certificate can have")]
    ServerName { name: String, source: InvalidDnsNameError },
}

/// A client for the cluster that the arguments name, or that this runs in.
pub async fn connect(args: &Args, metrics: &Metrics) -> Result<Client, ConnectError> {
    let options = KubeConfigOptions { context: args.context.clone(), ..Default::default() };
    let mut config = match (&args.kubeconfig, &args.context) {
        (Some(path), _) => Config::from_custom_kubeconfig(Kubeconfig::read_from(path)?, &options).await?,
        (None, Some(_)) => Config::from_kubeconfig(&options).await?,
        (None, None) => Config::infer().await?,
    };
    // The queue tries again itself, with a bound and in view of what else there is to do.
    config.default_retry = false;
    let pace = PaceLayer::new(Arc::new(Pace::new(metrics.requests_at_once.clone())));
    // Proxies, and credentials that end with their certificate, are known to kube's own stack alone.
    if config.proxy_url.is_some() || config.auth_info.exec.is_some() {
        return Ok(ClientBuilder::try_from(config)?.with_layer(&pace).build());
    }
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT));
    let mut tls =
        HttpsConnectorBuilder::new().with_tls_config(config.rustls_client_config()?).https_or_http();
    if let Some(name) = &config.tls_server_name {
        let fixed = ServerName::try_from(name.clone())
            .map_err(|source| ConnectError::ServerName { name: name.clone(), source })?;
        tls = tls.with_server_name_resolver(FixedServerNameResolver::new(fixed));
    }
    // By ALPN: whoever has HTTP/2 turned off in the API server gets HTTP/1.1.
    let connector = tls.enable_all_versions().wrap_connector(tcp);
    let http: HttpClient<_, Body> = HttpClient::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keep_alive_interval(PING)
        .http2_keep_alive_timeout(PING_TIMEOUT)
        .http2_keep_alive_while_idle(true)
        .build(connector);
    let service = ServiceBuilder::new()
        .layer(pace)
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(tower::BoxError::from)
        .service(http);
    Ok(ClientBuilder::new(service, config.default_namespace).build())
}
