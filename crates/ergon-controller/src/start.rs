//! Starting the controller, and ending it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use ergon_api::Group;
use ergon_engine::pod::Platform;
use ergon_wire::ReportTarget;
use futures::future::join_all;
use tokio::sync::watch as channel;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{info, warn};

use crate::args::{Args, Switch};
use crate::certificate::{self, CertificateError, Material, Served};
use crate::client::{self, ConnectError};
use crate::events::Events;
use crate::health::{self, Health};
use crate::install;
use crate::members::Member;
use crate::metrics::Metrics;
use crate::platform::Version;
use crate::reports::endpoint::{self, Endpoint};
use crate::reports::forward::Forward;
use crate::reports::identity::Identities;
use crate::serve::Connections;
use crate::shell::Shell;
use crate::signals::{Signals, Told};
use crate::{admission, beside, convert, memory, serve, settings, surroundings, trust, watch};

/// How often the certificate's age is looked at.
const LOOK_AT_CERTIFICATE: Duration = Duration::from_hours(1);
/// How long work that has begun may take when the controller ends, before the other replicas may take it over.
const DRAIN: Duration = Duration::from_secs(2);
/// How long leaving the other replicas may take.
const LEAVE: Duration = Duration::from_secs(2);
/// How long webhooks and reports are served after SIGTERM: until everybody knows that this replica is gone.
const LINGER: Duration = Duration::from_secs(5);
/// How long open connections may take to end.
const CLOSE: Duration = Duration::from_secs(1);
// Giving up work and leaving happens while it lingers.
const _: () = assert!(DRAIN.as_secs() + LEAVE.as_secs() < LINGER.as_secs());
const _: () = assert!(LINGER.as_secs() + CLOSE.as_secs() < install::GRACE_SECS);

/// Why the controller does not start, or ends.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the API server cannot be reached")]
    ApiServer(#[source] kube::Error),
    #[error("no certificate for webhooks and reports")]
    Certificate(#[from] CertificateError),
    #[error("the webhooks cannot be registered")]
    Register(#[source] kube::Error),
    #[error("cannot listen on port {port}")]
    Listen { port: u16, source: std::io::Error },
    #[error("signals cannot be caught")]
    Signals(#[source] std::io::Error),
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
    #[error("is no member of the replicas any more: others may work on its runs now")]
    NoMember,
}

/// Runs the controller until it is told to end (SIGTERM or SIGINT).
pub async fn run(args: Args) -> Result<(), StartError> {
    let mut signals = Signals::catch().map_err(StartError::Signals)?;
    let metrics = Arc::new(Metrics::default());
    let client = client::connect(&args, &metrics).await?;
    let info = client.apiserver_version().await.map_err(StartError::ApiServer)?;
    let version = Version::of(&info).unwrap_or(Version { major: 1, minor: 0 });
    let serves_tls = !(args.no_reports && args.no_webhooks);
    let material = if serves_tls {
        Some(certificate::ensure(&client, &args.namespace, &names(&args)).await?)
    } else {
        None
    };
    let platform = platform(&args, version, material.as_ref());
    info!(
        %version, image = platform.image, image_volumes = platform.image_volumes,
        reports = platform.report.as_ref().map(|report| report.url.as_str()), "starts"
    );

    tokio::spawn(memory::give_back());
    let events = Events::start(&client, &args.identity, &metrics);
    let shell = Arc::new(Shell::new(client.clone(), platform, events, metrics));
    let ready = Arc::new(AtomicBool::new(false));
    shell.shares.stay_away();
    let health = Health { shell: Arc::clone(&shell), ready: Arc::clone(&ready) };
    let listener = listen(args.http_port).await?;
    tokio::spawn(serve::plain(listener, health::router(health), Connections::default()));
    let connections = Connections::default();
    if let Some(material) = material {
        serve_tls(&args, &shell, material, connections.clone()).await?;
    }

    let config = version.watcher_config();
    let (namespace, events) = (&args.tekton_namespace, &shell.events);
    shell.resolutions.settings_in(namespace);
    settings::keep(&client, namespace, config.clone(), &shell.settings, events).read().await;
    if args.groups.contains(&Group::Tekton) {
        beside::keep(&shell, args.beside_tekton).await.map_err(StartError::ApiServer)?;
    }
    watch::pods(&shell, config.clone());
    surroundings::keep(&shell, &config);
    let mut served = Vec::new();
    for group in args.groups.iter().copied().collect::<BTreeSet<_>>() {
        if watch::runs(&shell, group, config.clone()).await.map_err(StartError::ApiServer)? {
            served.push(group);
        }
    }
    // The webhooks are served by now.
    ready.store(true, Ordering::Relaxed);

    let mut member = (!args.alone).then(|| {
        let address = args.address.filter(|_| serves_tls).map(|ip| SocketAddr::new(ip, args.tls_port));
        Member::new(client.clone(), &args.namespace, args.identity.clone(), address)
    });
    let join = async {
        shell.pods.synced().await;
        for group in &served {
            shell.runs(*group).task_runs.synced().await;
            shell.runs(*group).pipeline_runs.synced().await;
        }
        match &mut member {
            Some(member) => member.join(&shell.shares).await,
            None => shell.shares.work_alone(),
        }
    };
    tokio::select! {
        () = join => {}
        told = signals.next() => {
            linger(told, Instant::now(), &ready, &connections, &mut signals).await;
            return Ok(());
        }
    }
    // Before the first run is looked at: it is known then whether there are resolvers besides ours.
    let requests = if args.groups.contains(&Group::Tekton) {
        watch::requests(&shell, version.watcher_config()).await
    } else {
        JoinSet::new()
    };
    shell.enqueue_all();
    let mut workers: Vec<_> = (0..args.workers).map(|_| tokio::spawn(Arc::clone(&shell).work())).collect();
    info!(workers = args.workers, groups = ?served, "works");

    let lost = async {
        match &mut member {
            Some(member) => member.keep(&shell.shares, || shell.enqueue_all()).await,
            None => std::future::pending().await,
        }
    };
    let told = tokio::select! {
        // Everything that is going on is given up by ending at once: another replica may have begun.
        () = lost => return Err(StartError::NoMember),
        told = signals.next() => told,
    };
    let since = Instant::now();
    info!("ends: other replicas work on its runs");
    ready.store(false, Ordering::Relaxed);
    shell.shares.stay_away();
    shell.queue.close();
    drop(requests);
    if timeout(DRAIN, join_all(&mut workers)).await.is_err() {
        warn!("work that had begun did not end in {} s and is given up", DRAIN.as_secs());
        workers.iter().for_each(tokio::task::JoinHandle::abort);
    }
    if let Some(member) = &mut member {
        match timeout(LEAVE, member.leave()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "the Lease could not be given up; it expires"),
            Err(_) => warn!("the Lease could not be given up: no answer; it expires"),
        }
    }
    linger(told, since, &ready, &connections, &mut signals).await;
    Ok(())
}

/// Goes on serving for a moment when the cluster ends this replica: the API server and the agents find out later than
/// it does, and a webhook that does not answer refuses every write. A second signal ends it at once.
async fn linger(
    told: Told,
    since: Instant,
    ready: &AtomicBool,
    connections: &Connections,
    signals: &mut Signals,
) {
    ready.store(false, Ordering::Relaxed);
    if told == Told::ByPerson {
        return;
    }
    let last = async {
        sleep_until(since + LINGER).await;
        connections.close(CLOSE).await;
    };
    tokio::select! {
        () = last => {}
        _ = signals.next() => {}
    }
}

/// The name of the Service, as pods see it.
fn service_name(args: &Args) -> String {
    format!("{}.{}.svc", install::NAME, args.namespace)
}

/// The names that the certificate must be for.
fn names(args: &Args) -> Vec<String> {
    let service = service_name(args);
    let mut names = vec![service.clone(), format!("{service}.cluster.local"), "localhost".to_owned()];
    for url in [&args.report_url, &args.webhook_url].into_iter().flatten() {
        if let Ok(uri) = url.parse::<http::Uri>()
            && let Some(host) = uri.host()
        {
            names.push(host.trim_matches(['[', ']']).to_owned());
        }
    }
    names
}

fn platform(args: &Args, version: Version, material: Option<&Material>) -> Platform {
    let service = format!("https://{}:{}/v1/report", service_name(args), install::TLS_PORT);
    let target = |material: &Material| ReportTarget {
        url: args.report_url.clone().unwrap_or(service),
        ca: material.authority.clone(),
    };
    Platform {
        image: args.image.clone(),
        image_volumes: match args.image_volumes {
            Switch::On => true,
            Switch::Off => false,
            Switch::Auto => version >= Version::IMAGE_VOLUMES,
        },
        report: material.filter(|_| !args.no_reports).map(target),
    }
}

/// Serves webhooks and reports, and keeps their certificate.
async fn serve_tls(
    args: &Args,
    shell: &Arc<Shell>,
    material: Material,
    connections: Connections,
) -> Result<(), StartError> {
    let mut router = Router::new();
    if !args.no_reports {
        router = router.merge(endpoint::router(Endpoint {
            shell: Arc::clone(shell),
            identities: Identities::new(shell.client.clone()),
            forward: Forward::new(service_name(args)),
        }));
    }
    if !args.no_webhooks {
        router = router.merge(admission::router(Arc::clone(&shell.metrics), Arc::clone(&shell.settings)));
        router = router.merge(convert::router(Arc::clone(&shell.metrics)));
    }
    let served = Arc::new(Served::new(&material)?);
    let listener = listen(args.tls_port).await?;
    let acceptor = serve::acceptor(Arc::clone(&served))?;
    tokio::spawn(serve::tls(listener, router, acceptor, connections));
    let (authority, trusted) = channel::channel(Arc::from(material.authority.as_str()));
    if !args.no_webhooks {
        match &args.webhook_url {
            Some(url) => {
                let (groups, own, settings) = (&args.groups, &args.namespace, &args.tekton_namespace);
                trust::register(
                    &shell.client,
                    groups,
                    own,
                    Some(settings.as_str()),
                    url,
                    &material.authority,
                )
                .await
                .map_err(StartError::Register)?;
            }
            None => trust::keep(&shell.client, &args.groups, &trusted),
        }
    }
    tokio::spawn(keep_certificate(args.clone(), Arc::clone(shell), served, material, authority));
    Ok(())
}

async fn keep_certificate(
    args: Args,
    shell: Arc<Shell>,
    served: Arc<Served>,
    mut known: Material,
    authority: channel::Sender<Arc<str>>,
) {
    let names = names(&args);
    loop {
        tokio::time::sleep(LOOK_AT_CERTIFICATE).await;
        match certificate::ensure(&shell.client, &args.namespace, &names).await {
            Ok(material) if material == known => {}
            Ok(material) => {
                if let Err(error) = served.replace(&material) {
                    warn!(%error, "the new certificate cannot be served");
                    continue;
                }
                if material.authority != known.authority {
                    authority.send_replace(Arc::from(material.authority.as_str()));
                    shell.set_platform(|platform| {
                        if let Some(report) = &mut platform.report {
                            report.ca.clone_from(&material.authority);
                        }
                    });
                }
                info!("serves a new certificate");
                known = material;
            }
            Err(error) => warn!(%error, "the certificate cannot be looked after"),
        }
    }
}

async fn listen(port: u16) -> Result<tokio::net::TcpListener, StartError> {
    serve::listen(port).await.map_err(|source| StartError::Listen { port, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_serves_on_for_the_cluster_and_not_for_a_person() {
        let mut signals = Signals::catch().expect("signals");
        for (told, expected) in [(Told::ByCluster, LINGER), (Told::ByPerson, Duration::ZERO)] {
            let (ready, start) = (AtomicBool::new(true), Instant::now());
            linger(told, start, &ready, &Connections::default(), &mut signals).await;
            assert_eq!(start.elapsed(), expected);
            assert!(!ready.load(Ordering::Relaxed), "nothing new is to be sent here");
        }
    }
}
