//! What process an image starts, read from its registry: for steps that name no command.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use ergon_engine::ImageConfig;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::config::ConfigFile;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use tokio::time::Instant;

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
    known: Mutex<HashMap<String, Known>>,
}

struct Known {
    config: Result<ImageConfig, String>,
    /// None: for good, as its name has a digest.
    until: Option<Instant>,
}

impl Images {
    /// The entrypoint of an image, or why it cannot be had: words for the user.
    pub async fn config(&self, image: &str) -> Result<ImageConfig, String> {
        if let Some(known) = lock(&self.known).get(image)
            && known.until.is_none_or(|until| Instant::now() < until)
        {
            return known.config.clone();
        }
        let config = match tokio::time::timeout(LONGEST, read(image)).await {
            Ok(config) => config,
            Err(_) => Err(format!("its registry did not answer within {} s", LONGEST.as_secs())),
        };
        let config = config.map_err(|why| {
            format!("the image's own entrypoint cannot be read ({why}): give the step a `command`")
        });
        let until = match &config {
            Ok(_) if image.contains("@sha256:") => None,
            Ok(_) => Some(Instant::now() + TAG_FOR),
            Err(_) => Some(Instant::now() + FAILURE_FOR),
        };
        let mut known = lock(&self.known);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(image.to_owned(), Known { config: config.clone(), until });
        config
    }
}

async fn read(image: &str) -> Result<ImageConfig, String> {
    let reference: Reference =
        image.parse().map_err(|error| format!("`{image}` is no image reference: {error}"))?;
    // `Client::new` panics where the machine has no certificate authorities.
    let client = Client::try_from(ClientConfig {
        protocol: if is_local(reference.resolve_registry()) {
            ClientProtocol::Http
        } else {
            ClientProtocol::Https
        },
        connect_timeout: Some(Duration::from_secs(5)),
        read_timeout: Some(Duration::from_secs(10)),
        ..Default::default()
    })
    .map_err(|error| format!("no client for registries: {error}"))?;
    let (_, _, config) = client
        .pull_manifest_and_config(&reference, &RegistryAuth::Anonymous)
        .await
        .map_err(|error| format!("`{}` says: {error}", reference.resolve_registry()))?;
    let config: ConfigFile =
        serde_json::from_str(&config).map_err(|error| format!("its configuration is not valid: {error}"))?;
    let config = config.config.unwrap_or_default();
    Ok(ImageConfig { entrypoint: config.entrypoint.unwrap_or_default(), cmd: config.cmd.unwrap_or_default() })
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
        let error = images.config("a b").await.expect_err("not a reference");
        assert!(error.contains("`a b` is no image reference") && error.contains("give the step a `command`"));
        // Port 1 of this machine: nothing listens there.
        let error = images.config("localhost:1/a:1").await.expect_err("no registry");
        assert!(error.contains("localhost:1"), "{error}");
    }
}
