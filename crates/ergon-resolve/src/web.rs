//! HTTP for all resolvers: one client, bounded answers, the authorities that the shell trusts.

use std::error::Error as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Certificate, Client, Method, RequestBuilder, StatusCode};

use crate::retry::Backoff;

/// What is fetched is a definition, not data: no more bytes are read.
pub(crate) const MOST_BYTES: usize = 1 << 20;
/// How long a connection may take, from the name to the end of the TLS handshake: on a busy machine, seconds.
const CONNECT: Duration = Duration::from_secs(15);
const MOST_REDIRECTS: usize = 10;

/// A client, and the authorities that it was made with.
#[derive(Default)]
pub(crate) struct Web {
    client: Mutex<Option<(String, Client)>>,
}

/// An answer.
pub(crate) struct Page {
    /// The address, after redirects.
    pub url: String,
    pub status: StatusCode,
    pub body: Vec<u8>,
    /// How long the server asks to be left alone.
    leave: Duration,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WebError {
    #[error("{why}")]
    Request {
        why: String,
        /// Whether it may be otherwise the next time.
        may_pass: bool,
    },
    #[error("response body exceeds maximum allowed size of {0} bytes")]
    TooLong(usize),
    #[error("no HTTP client: {0}")]
    Client(String),
}

impl Web {
    /// Trusts these authorities, as PEM, besides the system's from now on.
    pub fn trust(&self, authorities: &str) {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if client.as_ref().is_some_and(|(known, _)| known == authorities) {
            return;
        }
        match build(authorities) {
            Ok(built) => *client = Some((authorities.to_owned(), built)),
            Err(error) => tracing::warn!(%error, "the authorities to trust cannot be used"),
        }
    }

    fn client(&self) -> Result<Client, WebError> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, client)) = client.as_ref() {
            return Ok(client.clone());
        }
        let built = build("").map_err(WebError::Client)?;
        *client = Some((String::new(), built.clone()));
        Ok(built)
    }

    /// The same, for one request to a resolver.
    pub fn caller(&self, backoff: Backoff) -> Caller<'_> {
        Caller { web: self, backoff }
    }
}

/// Asks servers, and asks again where that may help: everything that is sent only reads.
pub(crate) struct Caller<'a> {
    web: &'a Web,
    pub backoff: Backoff,
}

impl Caller<'_> {
    /// Reads a page of at most so many bytes.
    pub async fn get(&self, url: &str, headers: &[(&str, &str)], most: usize) -> Result<Page, WebError> {
        self.send(Method::GET, url, headers, &[], most).await
    }

    pub async fn post(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        most: usize,
    ) -> Result<Page, WebError> {
        self.send(Method::POST, url, headers, body, most).await
    }

    async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        most: usize,
    ) -> Result<Page, WebError> {
        let headers = map(headers)?;
        let mut pauses = self.backoff.pauses();
        loop {
            let request = self.web.client()?.request(method.clone(), url);
            let outcome = send(request.headers(headers.clone()).body(body.to_vec()), most).await;
            let (why, leave) = match &outcome {
                Ok(page) if is_passing(page.status) => (page.status.to_string(), page.leave),
                Err(WebError::Request { why, may_pass: true }) => (why.clone(), Duration::ZERO),
                _ => return outcome,
            };
            tracing::debug!(%method, why, "a server failed");
            if !pauses.wait(leave).await {
                return outcome;
            }
        }
    }
}

/// Whether a server that answers this may answer otherwise a moment later.
pub(crate) fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 500 | 502..=504)
}

fn map(headers: &[(&str, &str)]) -> Result<HeaderMap, WebError> {
    let wrong = |why: String| WebError::Request { why, may_pass: false };
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name: HeaderName = name.parse().map_err(|_| wrong(format!("{name} is no header")))?;
        let mut value = HeaderValue::from_str(value)
            .map_err(|_| wrong(format!("the value of header {name} has forbidden characters")))?;
        value.set_sensitive(true);
        map.insert(name, value);
    }
    Ok(map)
}

async fn send(request: RequestBuilder, most: usize) -> Result<Page, WebError> {
    let failed = |error: reqwest::Error| WebError::Request { why: told(&error), may_pass: may_pass(&error) };
    let mut response = request.send().await.map_err(failed)?;
    let (url, status) = (response.url().to_string(), response.status());
    let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let leave = Duration::from_secs(seconds.unwrap_or_default());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > most {
            return Err(WebError::TooLong(most));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Page { url, status, body, leave })
}

/// Whether the same request may succeed a moment later: not where it is wrong itself, or the server is not to be
/// trusted.
pub(crate) fn may_pass(error: &reqwest::Error) -> bool {
    !(error.is_builder() || error.is_redirect() || told(error).contains("invalid peer certificate"))
}

fn build(authorities: &str) -> Result<Client, String> {
    let extra = if authorities.trim().is_empty() {
        Vec::new()
    } else {
        Certificate::from_pem_bundle(authorities.as_bytes()).map_err(|error| told(&error))?
    };
    let base = || {
        Client::builder()
            .user_agent(concat!("ergon/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .redirect(Policy::custom(follow))
    };
    match base().tls_certs_merge(extra.clone()).build() {
        Ok(client) => Ok(client),
        // A machine without any certificates of authorities, such as a container from scratch: those given, or none.
        Err(_) => base().tls_certs_only(extra).build().map_err(|error| told(&error)),
    }
}

/// Follows a few redirects, and none from an encrypted page to one in the clear. Credentials are never handed on to
/// another host: the client itself sees to that.
fn follow(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let encrypted = attempt.previous().last().is_some_and(|from| from.scheme() == "https");
    if attempt.previous().len() > MOST_REDIRECTS {
        attempt.error("too many redirects")
    } else if encrypted && attempt.url().scheme() != "https" {
        attempt.error("redirected from https to http")
    } else {
        attempt.follow()
    }
}

/// An error with all its sources, and without the address, which the caller names.
pub(crate) fn told(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        source = inner.source();
    }
    text
}
