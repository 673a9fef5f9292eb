//! What process an image starts, read from its registry: for steps that name no command.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use ergon_engine::ImageConfig;
use ergon_resolve::registry::{self, Login};
use ergon_resolve::{Backoff, Data};
use oci_client::Reference;
use oci_client::config::ConfigFile;
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
        secrets: &[Data<Vec<u8>>],
        authorities: &str,
    ) -> Result<ImageConfig, String> {
        let explained = |why: String| {
            format!("the image's own entrypoint cannot be read ({why}): give the step a `command`")
        };
        let reference: Reference =
            image.parse().map_err(|error| explained(format!("`{image}` is no image reference: {error}")))?;
        let logins = registry::logins(secrets, &reference);
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
    let backoff = Backoff::default();
    let config = registry::read(reference, logins, authorities, &backoff, |client, auth| {
        let reference = reference.clone();
        Box::pin(async move {
            let (_, _, config) = client.pull_manifest_and_config(&reference, auth).await?;
            Ok(config)
        })
    });
    parse(&config.await?)
}

fn parse(config: &str) -> Result<ImageConfig, String> {
    let config: ConfigFile =
        serde_json::from_str(config).map_err(|error| format!("its configuration is not valid: {error}"))?;
    let config = config.config.unwrap_or_default();
    Ok(ImageConfig { entrypoint: config.entrypoint.unwrap_or_default(), cmd: config.cmd.unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

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
