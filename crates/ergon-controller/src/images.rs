//! What process an image starts, read from its registry: for steps that name no command.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use ergon_engine::ImageConfig;
use k8s_openapi::api::core::v1::Secret;
use oci_client::client::{
    Certificate, CertificateEncoding, ClientConfig, ClientProtocol, current_platform_resolver,
};
use oci_client::config::ConfigFile;
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use tokio::time::Instant;

use crate::pull_secrets::{self, Login};
use crate::sync::lock;

/// How many images are remembered.
const REMEMBERED: usize = 1000;
/// How long a tag is taken to mean the same image, and a failure to still be one.
const TAG_FOR: Duration = Duration::from_mins(1);
const FAILURE_FOR: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(20);

/// Images asked for lately.
#[derive(Default)]
pub struct Images {
    /// By reference, and by who asked: another run's login is not ours to use.
    known: Mutex<HashMap<(String, Vec<Login>), Known>>,
}

struct Known {
    config: Result<ImageConfig, String>,
    /// None: for good, as its name has a digest.
    until: Option<Instant>,
}

impl Images {
    /// The entrypoint of an image, or why it cannot be had: words for the user. The logins are tried in their order, and
    /// then none; `authorities` are certificates in PEM that are trusted besides the machine's own.
    pub async fn config(
        &self,
        image: &str,
        secrets: &[Secret],
        authorities: &str,
    ) -> Result<ImageConfig, String> {
        let explained = |why: String| {
            format!("the image's own entrypoint cannot be read ({why}): give the step a `command`")
        };
        let reference: Reference =
            image.parse().map_err(|error| explained(format!("`{image}` is no image reference: {error}")))?;
        let logins = pull_secrets::logins(secrets, reference.registry(), reference.repository());
        let key = (image.to_owned(), logins);
        if let Some(known) = lock(&self.known).get(&key)
            && known.until.is_none_or(|until| Instant::now() < until)
        {
            return known.config.clone();
        }
        let config = match tokio::time::timeout(LONGEST, read(&reference, &key.1, authorities)).await {
            Ok(config) => config,
            Err(_) => Err(format!("its registry did not answer within {} s", LONGEST.as_secs())),
        };
        let config = config.map_err(explained);
        let until = match &config {
            Ok(_) if reference.digest().is_some() => None,
            Ok(_) => Some(Instant::now() + TAG_FOR),
            Err(_) => Some(Instant::now() + FAILURE_FOR),
        };
        let mut known = lock(&self.known);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(key, Known { config: config.clone(), until });
        config
    }
}

async fn read(reference: &Reference, logins: &[Login], authorities: &str) -> Result<ImageConfig, String> {
    let auths = logins
        .iter()
        .map(|login| RegistryAuth::Basic(login.user.clone(), login.password.clone()))
        .chain([RegistryAuth::Anonymous]);
    let mut refusals = Vec::new();
    for auth in auths {
        // A client keeps the first login that it is given.
        let client =
            client(reference, authorities).map_err(|error| format!("no client for registries: {error}"))?;
        match client.pull_manifest_and_config(reference, &auth).await {
            Ok((_, _, config)) => return parse(&config),
            Err(error) => refusals.push(error.to_string()),
        }
    }
    // The first login is the one that was meant.
    Err(format!("`{}` says: {}", reference.resolve_registry(), refusals.swap_remove(0)))
}

fn parse(config: &str) -> Result<ImageConfig, String> {
    let config: ConfigFile =
        serde_json::from_str(config).map_err(|error| format!("its configuration is not valid: {error}"))?;
    let config = config.config.unwrap_or_default();
    Ok(ImageConfig { entrypoint: config.entrypoint.unwrap_or_default(), cmd: config.cmd.unwrap_or_default() })
}

fn client(reference: &Reference, authorities: &str) -> Result<Client, OciDistributionError> {
    let protocol =
        if is_local(reference.resolve_registry()) { ClientProtocol::Http } else { ClientProtocol::Https };
    // `Client::new` panics where the machine has no certificate authorities.
    Client::try_from(ClientConfig {
        protocol,
        extra_root_certificates: certificates(authorities),
        platform_resolver: Some(Box::new(|entries| {
            // An image for other machines alone has the same entrypoint there.
            current_platform_resolver(entries).or_else(|| entries.first().map(|entry| entry.digest.clone()))
        })),
        connect_timeout: Some(Duration::from_secs(5)),
        read_timeout: Some(Duration::from_secs(10)),
        ..Default::default()
    })
}

/// The certificates of a PEM text, each by itself.
fn certificates(authorities: &str) -> Vec<Certificate> {
    const END: &str = "-----END CERTIFICATE-----";
    authorities
        .split_inclusive(END)
        .filter(|part| part.ends_with(END))
        .map(|part| Certificate { encoding: CertificateEncoding::Pem, data: part.as_bytes().to_vec() })
        .collect()
}

/// Registries on this machine speak plain HTTP, as every container runtime takes them to.
fn is_local(registry: &str) -> bool {
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
    host == "localhost" || host == "[::1]" || host.starts_with("127.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_on_this_machine() {
        for (image, local) in [
            ("busybox", false),
            ("ghcr.io/x/y:1", false),
            ("localhost/busybox:1", true),
            (
                "localhost:5000/a/b@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
                true,
            ),
            ("127.0.0.1:5000/a", true),
            ("127x.example.com/a", false),
        ] {
            let reference: Reference = image.parse().expect("a reference");
            assert_eq!(is_local(reference.resolve_registry()), local, "{image}");
        }
    }

    #[tokio::test]
    async fn a_reference_that_cannot_be_read_is_explained() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let images = Images::default();
        let error = images.config("a b", &[], "").await.expect_err("not a reference");
        assert!(error.contains("`a b` is no image reference") && error.contains("give the step a `command`"));
        // Port 1 of this machine: nothing listens there.
        let error = images.config("localhost:1/a:1", &[], "").await.expect_err("no registry");
        assert!(error.contains("localhost:1"), "{error}");
    }
}
