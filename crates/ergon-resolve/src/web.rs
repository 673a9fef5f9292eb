//! HTTP for all resolvers: one client, bounded answers, the authorities that the shell trusts.

use std::error::Error as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Certificate, Client, Method, StatusCode};

/// What is fetched is a definition, not data: no more bytes are read.
pub(crate) const MOST_BYTES: usize = 1 << 20;
const CONNECT: Duration = Duration::from_secs(10);
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
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WebError {
    #[error("{0}")]
    Request(String),
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

    /// Reads a page of at most so many bytes.
    pub async fn get(&self, url: &str, headers: &[(&str, &str)], most: usize) -> Result<Page, WebError> {
        self.send(Method::GET, url, headers, Vec::new(), most).await
    }

    pub async fn post(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
        most: usize,
    ) -> Result<Page, WebError> {
        self.send(Method::POST, url, headers, body, most).await
    }

    async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
        most: usize,
    ) -> Result<Page, WebError> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: HeaderName =
                name.parse().map_err(|_| WebError::Request(format!("{name} is no header")))?;
            let mut value = HeaderValue::from_str(value).map_err(|_| {
                WebError::Request(format!("the value of header {name} has forbidden characters"))
            })?;
            value.set_sensitive(name == reqwest::header::AUTHORIZATION);
            map.insert(name, value);
        }
        let request = self.client()?.request(method, url).headers(map).body(body);
        let mut response = request.send().await.map_err(|error| WebError::Request(told(&error)))?;
        let (url, status) = (response.url().to_string(), response.status());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| WebError::Request(told(&error)))? {
            if body.len() + chunk.len() > most {
                return Err(WebError::TooLong(most));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Page { url, status, body })
    }
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
fn told(error: &reqwest::Error) -> String {
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
