//! Reading images from registries: who we are to them, and how.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use oci_client::client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use serde::Deserialize;

use crate::Data;

/// A client for the registry of this image.
pub(crate) fn client(image: &Reference, authorities: &str) -> Result<Client, String> {
    let extra = if authorities.trim().is_empty() {
        Vec::new()
    } else {
        split(authorities)
            .map(|pem| Certificate { encoding: CertificateEncoding::Pem, data: pem.into_bytes() })
            .collect()
    };
    let local = is_local(image.resolve_registry());
    // `Client::new` panics where the machine has no certificate authorities.
    Client::try_from(ClientConfig {
        protocol: if local { ClientProtocol::Http } else { ClientProtocol::Https },
        extra_root_certificates: extra,
        connect_timeout: Some(Duration::from_secs(5)),
        read_timeout: Some(Duration::from_secs(20)),
        ..Default::default()
    })
    .map_err(|error| format!("no client for registries: {error}"))
}

/// One PEM for each certificate: a decoder of single ones reads only the first of many.
fn split(authorities: &str) -> impl Iterator<Item = String> {
    const END: &str = "-----END CERTIFICATE-----";
    authorities.split_inclusive(END).filter(|pem| pem.contains(END)).map(|pem| format!("{}\n", pem.trim()))
}

/// Registries on this machine speak plain HTTP, as every container runtime takes them to.
fn is_local(registry: &str) -> bool {
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
    host == "localhost" || host == "[::1]" || host.starts_with("127.")
}

#[derive(Debug, Default, Deserialize)]
struct Logins {
    #[serde(default)]
    auths: BTreeMap<String, Login>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Login {
    auth: String,
    username: String,
    password: String,
}

/// What the first Secret that knows the registry says. Secrets that cannot be read know none.
pub(crate) fn login(image: &Reference, secrets: &[Data<Vec<u8>>]) -> RegistryAuth {
    for secret in secrets {
        let auths = if let Some(json) = secret.get(".dockerconfigjson") {
            serde_json::from_slice::<Logins>(json).unwrap_or_default().auths
        } else if let Some(json) = secret.get(".dockercfg") {
            serde_json::from_slice(json).unwrap_or_default()
        } else {
            continue;
        };
        // The longest name that fits is the most exact one.
        let fitting = auths.into_iter().filter(|(name, _)| fits(name, image));
        if let Some((name, password)) =
            fitting.max_by_key(|(name, _)| name.len()).and_then(|(_, login)| login.pair())
        {
            return RegistryAuth::Basic(name, password);
        }
    }
    RegistryAuth::Anonymous
}

impl Login {
    fn pair(self) -> Option<(String, String)> {
        if !self.username.is_empty() {
            return Some((self.username, self.password));
        }
        let pair = String::from_utf8(BASE64_STANDARD.decode(self.auth.trim()).ok()?).ok()?;
        let (name, password) = pair.split_once(':')?;
        Some((name.to_owned(), password.to_owned()))
    }
}

/// Whether a name in a Docker configuration is this image's registry, or a path in it.
fn fits(name: &str, image: &Reference) -> bool {
    let name = name.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let name = name.strip_suffix("/v1").or(name.strip_suffix("/v2")).unwrap_or(name);
    let (host, path) = name.split_once('/').unwrap_or((name, ""));
    let hosts = [image.registry(), image.resolve_registry()];
    let is_hub = |host: &str| matches!(host, "docker.io" | "index.docker.io" | "registry-1.docker.io");
    let same = hosts.contains(&host) || is_hub(host) && hosts.iter().any(|host| is_hub(host));
    let repository = image.repository();
    same && (path.is_empty()
        || repository.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_exact_login_is_taken() {
        let json = r#"{"auths": {
            "https://index.docker.io/v1/": {"username": "hub", "password": "p"},
            "ghcr.io": {"auth": "YTpi"},
            "ghcr.io/team": {"username": "team", "password": "p"}}}"#;
        let secrets = [
            Data::from([("other".to_owned(), Vec::new())]),
            Data::from([(".dockerconfigjson".to_owned(), json.as_bytes().to_vec())]),
        ];
        for (image, expected) in [
            ("busybox", Some("hub")),
            ("ghcr.io/x/y:1", Some("a")),
            ("ghcr.io/team/y:1", Some("team")),
            ("ghcr.io/teamster/y:1", Some("a")),
            ("quay.io/x", None),
        ] {
            let name = match login(&image.parse().unwrap(), &secrets) {
                RegistryAuth::Basic(name, _) => Some(name),
                _ => None,
            };
            assert_eq!(name.as_deref(), expected, "{image}");
        }
    }

    #[test]
    fn every_certificate_is_one() {
        let one = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
        assert_eq!(split(&format!("{one}\n# x\n{one}")).count(), 2);
        assert_eq!(split("nothing").count(), 0);
    }
}
