//! Handing a report on to the replica that works on its run: agents reach any of them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use axum::body::Bytes;
use http::{HeaderValue, StatusCode, header};
use reqwest::{Certificate, Client};

use super::endpoint::PREFER;
use crate::sync::lock;

/// The header of a report that was handed on, so that it is handed on once.
pub const FORWARDED: &str = "x-ergon-forwarded";
/// How long the other replica may take. An agent waits longer.
const PATIENCE: Duration = Duration::from_secs(3);
/// What that one may wait for, of an agent that waits: less.
const WAITS: &str = "wait=2";
/// How many replicas are remembered.
const REMEMBERED: usize = 64;

/// Hands reports on, over connections that are kept.
pub struct Forward {
    /// A name that every replica's certificate is for.
    host: String,
    /// By address and authority.
    clients: Mutex<HashMap<(SocketAddr, String), Client>>,
}

impl Forward {
    pub fn new(host: String) -> Self {
        Self { host, clients: Mutex::default() }
    }

    /// Sends a report, with the token that it came with, to the replica there, whose certificate must be of this authority.
    /// Gives its answer. `waits`: that may be kept back for a moment, until there is something to say.
    pub async fn send(
        &self,
        to: SocketAddr,
        authority: &str,
        token: &HeaderValue,
        report: Bytes,
        waits: bool,
    ) -> Result<(StatusCode, Bytes), reqwest::Error> {
        let url = format!("https://{}:{}/v1/report", self.host, to.port());
        let request = self.client(to, authority)?.post(url).body(report);
        let mut request = request.header(header::AUTHORIZATION, token).header(FORWARDED, "true");
        if waits {
            request = request.header(PREFER, WAITS);
        }
        let response = request.send().await?;
        Ok((response.status(), response.bytes().await?))
    }

    fn client(&self, to: SocketAddr, authority: &str) -> Result<Client, reqwest::Error> {
        let key = (to, authority.to_owned());
        if let Some(client) = lock(&self.clients).get(&key) {
            return Ok(client.clone());
        }
        let trusted = Certificate::from_pem_bundle(authority.as_bytes())?;
        let client = Client::builder()
            .timeout(PATIENCE)
            .no_proxy()
            .resolve(&self.host, to)
            .tls_certs_only(trusted)
            .build()?;
        let mut clients = lock(&self.clients);
        if clients.len() >= REMEMBERED {
            clients.clear();
        }
        clients.insert(key, client.clone());
        Ok(client)
    }
}
