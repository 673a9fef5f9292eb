//! Sidecars: when they are ready, and how they end.

use std::time::Duration;

use k8s_openapi::api::core::v1::Probe;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::container::Container;

/// How long a sidecar may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);

/// Waits until a sidecar answers its startup probe. Without one it is ready once it runs.
///
/// # Errors
/// A sentence: the probe failed too often, or is one that cannot be made on this machine.
pub(super) async fn until_ready(probe: Option<&Probe>) -> Result<(), String> {
    let Some(probe) = probe else { return Ok(()) };
    let seconds = |value: Option<i32>, default: u64| {
        Duration::from_secs(
            value.and_then(|value| u64::try_from(value).ok()).filter(|value| *value > 0).unwrap_or(default),
        )
    };
    if let Some(delay) = probe.initial_delay_seconds.and_then(|delay| u64::try_from(delay).ok()) {
        tokio::time::sleep(Duration::from_secs(delay)).await;
    }
    let limit = seconds(probe.timeout_seconds, 1);
    let most = probe.failure_threshold.unwrap_or(3).max(1);
    let mut last = String::new();
    for _ in 0..most {
        match tokio::time::timeout(limit, once(probe)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(Refusal::NotServed(what))) => return Err(what),
            Ok(Err(Refusal::NotYet(why))) => last = why,
            Err(_) => "no answer in time".clone_into(&mut last),
        }
        tokio::time::sleep(seconds(probe.period_seconds, 10)).await;
    }
    Err(format!("did not become ready: {last}"))
}

/// Ends a sidecar: kindly first.
pub(super) async fn end(container: &Container) {
    if let Err(error) = container.kill(Signal::SIGTERM) {
        tracing::debug!(%error, "a sidecar cannot be told to end");
    }
    // Who does not end in time is ended when the container is deleted.
    let _ = tokio::time::timeout(GRACE, container.wait()).await;
}

enum Refusal {
    NotYet(String),
    NotServed(String),
}

async fn once(probe: &Probe) -> Result<(), Refusal> {
    let not_yet = |error: std::io::Error| Refusal::NotYet(error.to_string());
    if let Some(tcp) = &probe.tcp_socket {
        let port = port(&tcp.port)?;
        return TcpStream::connect(("127.0.0.1", port)).await.map(|_| ()).map_err(not_yet);
    }
    if let Some(http) = &probe.http_get {
        let port = port(&http.port)?;
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.map_err(not_yet)?;
        let path = http.path.as_deref().unwrap_or("/");
        let request = format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n");
        stream.write_all(request.as_bytes()).await.map_err(not_yet)?;
        let mut head = [0; 16];
        let read = stream.read(&mut head).await.map_err(not_yet)?;
        let line = String::from_utf8_lossy(&head[..read]).into_owned();
        let good = line.split(' ').nth(1).and_then(|code| code.parse::<u16>().ok());
        return match good {
            Some(200..=399) => Ok(()),
            _ => Err(Refusal::NotYet(format!("answered `{}`", line.trim()))),
        };
    }
    Err(Refusal::NotServed(
        "probes that run a command are not served on this machine: use tcpSocket or httpGet".to_owned(),
    ))
}

fn port(port: &IntOrString) -> Result<u16, Refusal> {
    match port {
        IntOrString::Int(number) => u16::try_from(*number).ok(),
        IntOrString::String(text) => text.parse().ok(),
    }
    .ok_or_else(|| Refusal::NotServed("the probe's port is no number".to_owned()))
}
