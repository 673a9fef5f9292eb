//! Reading from registries: who we are to them, and how they are spoken to.
//!
//! For the bundles resolver, and for whoever else of the shells reads images.

mod logins;

use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use oci_client::client::{
    Certificate, CertificateEncoding, ClientConfig, ClientProtocol, current_platform_resolver,
};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};

use crate::Backoff;
use crate::web::{is_passing, may_pass, told};

pub use logins::{Login, logins};

const CONNECT: Duration = Duration::from_secs(15);
/// How long a registry may be silent.
const SILENT: Duration = Duration::from_secs(20);

/// What is read of an image.
pub type Reading<'a, T> = Pin<Box<dyn Future<Output = Result<T, OciDistributionError>> + Send + 'a>>;

/// Reads of an image: with each login, and then with none, until the registry agrees. What may pass is tried again.
///
/// `authorities` are certificates in PEM that are trusted besides the machine's own.
///
/// # Errors
/// What the registry says to the first login, which is the one that was meant. Words for the user.
pub async fn read<T>(
    image: &Reference,
    logins: &[Login],
    authorities: &str,
    backoff: &Backoff,
    read: impl for<'a> Fn(&'a Client, &'a RegistryAuth) -> Reading<'a, T>,
) -> Result<T, String> {
    let auths: Vec<RegistryAuth> = logins
        .iter()
        .map(|login| RegistryAuth::Basic(login.user.clone(), login.password.clone()))
        .chain([RegistryAuth::Anonymous])
        .collect();
    let mut refusal = None;
    let protocols = protocols(image.resolve_registry());
    'protocols: for (at, protocol) in protocols.iter().enumerate() {
        let is_last = at + 1 == protocols.len();
        for auth in &auths {
            // A client keeps the first login that it is given.
            let client = client(protocol.clone(), authorities)
                .map_err(|error| format!("no client for registries: {error}"))?;
            let mut pauses = backoff.pauses();
            let error = loop {
                let error = match read(&client, auth).await {
                    Ok(found) => return Ok(found),
                    Err(error) => error,
                };
                if is_unreachable(&error) && !is_last {
                    tracing::debug!(%image, error = explained(&error), "is tried without encryption");
                    continue 'protocols;
                }
                if !may_be_otherwise(&error) || !pauses.wait(Duration::ZERO).await {
                    break error;
                }
            };
            let is_refusal = is_refusal(&error);
            refusal.get_or_insert_with(|| explained(&error));
            if !is_refusal {
                break 'protocols;
            }
        }
        break;
    }
    let why = refusal.unwrap_or_default();
    Err(format!("`{}` says: {why}", image.resolve_registry()))
}

fn client(protocol: ClientProtocol, authorities: &str) -> Result<Client, OciDistributionError> {
    // `Client::new` panics where the machine has no certificate authorities.
    Client::try_from(ClientConfig {
        protocol,
        extra_root_certificates: certificates(authorities),
        platform_resolver: Some(Box::new(|entries| {
            // An image for other machines alone has the same entrypoint there.
            current_platform_resolver(entries).or_else(|| entries.first().map(|entry| entry.digest.clone()))
        })),
        connect_timeout: Some(CONNECT),
        read_timeout: Some(SILENT),
        ..Default::default()
    })
}

/// The certificates of a PEM text, each by itself: a decoder of single ones reads only the first of many.
fn certificates(authorities: &str) -> Vec<Certificate> {
    const END: &str = "-----END CERTIFICATE-----";
    authorities
        .split_inclusive(END)
        .filter(|part| part.ends_with(END))
        .map(|part| Certificate {
            encoding: CertificateEncoding::Pem,
            data: format!("{}\n", part.trim()).into_bytes(),
        })
        .collect()
}

/// How a registry is spoken to: on this machine in the clear, as every container runtime does; in a private network,
/// such as a cluster's own, in the clear where it does not know encryption, as Tekton does.
fn protocols(registry: &str) -> Vec<ClientProtocol> {
    let host = match registry.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => registry,
    };
    let address: Option<IpAddr> = host.trim_start_matches('[').trim_end_matches(']').parse().ok();
    let is_local = host == "localhost" || address.is_some_and(|address| address.is_loopback());
    let domain = host.rsplit_once('.').map_or("", |(_, domain)| domain);
    let is_private = matches!(address, Some(IpAddr::V4(address)) if address.is_private())
        || matches!(domain, "local" | "localhost");
    match (is_local, is_private) {
        (true, _) => vec![ClientProtocol::Http],
        (false, true) => vec![ClientProtocol::Https, ClientProtocol::Http],
        (false, false) => vec![ClientProtocol::Https],
    }
}

/// Whether no connection came about, so that nothing was asked.
fn is_unreachable(error: &OciDistributionError) -> bool {
    matches!(error, OciDistributionError::RequestError(error) if error.is_connect())
}

fn may_be_otherwise(error: &OciDistributionError) -> bool {
    match error {
        OciDistributionError::RequestError(error) => {
            error.status().map_or_else(|| may_pass(error), is_passing)
        }
        OciDistributionError::ServerError { code, .. } => {
            reqwest::StatusCode::from_u16(*code).is_ok_and(is_passing)
        }
        OciDistributionError::RegistryError { envelope, .. } => {
            envelope.errors.iter().any(|error| error.code == OciErrorCode::Toomanyrequests)
        }
        _ => false,
    }
}

/// Whether it may be different for somebody else. Registries do not tell what is private from what is not there.
fn is_refusal(error: &OciDistributionError) -> bool {
    match error {
        OciDistributionError::RequestError(error) => {
            error.status().is_some_and(|status| status.is_client_error())
        }
        OciDistributionError::ServerError { code, .. } => (400..500).contains(code),
        OciDistributionError::AuthenticationFailure(_)
        | OciDistributionError::UnauthorizedError { .. }
        | OciDistributionError::ImageManifestNotFoundError(_)
        | OciDistributionError::RegistryError { .. }
        | OciDistributionError::RegistryTokenDecodeError(_) => true,
        _ => false,
    }
}

fn explained(error: &OciDistributionError) -> String {
    match error {
        OciDistributionError::RequestError(error) => told(error),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_registries_nearby_are_spoken_to_in_the_clear() {
        for (image, expected) in [
            ("busybox", &[false][..]),
            ("ghcr.io/x/y:1", &[false]),
            ("localhost/busybox:1", &[true]),
            (
                "localhost:5000/a/b@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
                &[true],
            ),
            ("127.0.0.1:5000/a", &[true]),
            ("127x.example.com/a", &[false]),
            ("10.96.0.7:5000/a", &[false, true]),
            ("192.168.1.2/a", &[false, true]),
            ("8.8.8.8:5000/a", &[false]),
            ("registry.local:5000/a", &[false, true]),
        ] {
            let image: Reference = image.parse().expect("a reference");
            let clear: Vec<bool> = protocols(image.resolve_registry())
                .iter()
                .map(|protocol| matches!(protocol, ClientProtocol::Http))
                .collect();
            assert_eq!(clear, expected, "{image}");
        }
        assert!(matches!(protocols("[::1]:5000")[..], [ClientProtocol::Http]));
    }

    #[test]
    fn every_certificate_is_one() {
        let one = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
        assert_eq!(certificates(&format!("{one}\n# x\n{one}")).len(), 2);
        assert_eq!(certificates("nothing").len(), 0);
    }
}
