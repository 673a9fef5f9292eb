//! Images from registries. The layers come side by side; each is unpacked as soon as it is here.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use oci_client::Client;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::manifest::OciDescriptor;
use oci_client::secrets::RegistryAuth;
use tempfile::NamedTempFile;
use tokio::io::AsyncWrite;
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, spawn_blocking};

use super::blob::digest_of;
use super::import::check_count;
use super::manifest::{ConfigFile, DOCUMENT_MAX, Descriptor, Manifest, choose_platform, parse};
use super::store::Entry;
use super::{Image, ImageError, ImageRef, PullPolicy, Store, credentials};

/// Layers that come at the same time.
const SIDE_BY_SIDE: usize = 3;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two reads, not for a whole layer.
const READ_TIMEOUT: Duration = Duration::from_mins(1);
const ACCEPTED: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// Told about each step of a pull, from any thread; must return at once.
pub type Progress = Arc<dyn Fn(PullEvent) + Send + Sync>;

/// One step of a pull. Layers are named by the digest of their archive; sizes are bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PullEvent {
    Started { reference: String, layers: usize, bytes: u64 },
    LayerHere { layer: String },
    Downloading { layer: String, done: u64, size: u64 },
    Unpacked { layer: String },
    Finished { reference: String, digest: String },
}

/// Pulls an image and names it. Waits first if another process is at it, and is then done.
pub(super) async fn pull(
    store: &Store,
    reference: &ImageRef,
    policy: PullPolicy,
    progress: Option<Progress>,
) -> Result<Image, ImageError> {
    let _lock = {
        let store = store.clone();
        let name = reference.to_string();
        blocking(move || store.lock(&name)).await?
    };
    if policy == PullPolicy::IfNotPresent
        && let Some(image) = store.find(reference)?
    {
        return Ok(image);
    }
    let tell: Progress = progress.unwrap_or_else(|| Arc::new(|_| {}));
    let registry = Arc::new(Registry::new(reference).await);
    let (entry, bytes, manifest) = registry.manifest().await?;
    let config = manifest.config.as_ref().ok_or_else(|| {
        ImageError::unavailable(reference, &"the registry answered with something that is no image")
    })?;
    let config_bytes = registry.config(config).await?;
    let config_file: ConfigFile = parse(&config_bytes, &config.digest)?;
    let diff_ids = &config_file.rootfs.diff_ids;
    check_count(manifest.layers.len(), diff_ids.len())?;
    tell(PullEvent::Started {
        reference: reference.to_string(),
        layers: manifest.layers.len(),
        bytes: manifest.layers.iter().map(|layer| layer.size).sum(),
    });

    let slots = Arc::new(Semaphore::new(SIDE_BY_SIDE));
    let mut tasks = JoinSet::new();
    for (layer, diff_id) in manifest.layers.iter().cloned().zip(diff_ids.iter().cloned()) {
        if store.has_layer(&diff_id) {
            tell(PullEvent::LayerHere { layer: layer.digest });
            continue;
        }
        let (store, registry, slots, tell) = (store.clone(), registry.clone(), slots.clone(), tell.clone());
        tasks.spawn(async move {
            // The semaphore is never closed.
            let _slot = slots.acquire().await;
            registry.layer(&store, layer, diff_id, &tell).await
        });
    }
    // Dropping the set on an error ends the other downloads.
    while let Some(done) = tasks.join_next().await {
        done.map_err(|error| ImageError::unavailable(reference, &error))??;
    }

    let store = store.clone();
    let reference = reference.clone();
    let image = blocking(move || {
        store.blobs().put(&config_bytes, None, "config")?;
        store.blobs().put(&bytes, Some(&entry.manifest), "manifest")?;
        store.name(&reference, &entry)?;
        store.load(&reference.to_string(), &entry.manifest)
    })
    .await?;
    tell(PullEvent::Finished { reference: image.reference.clone(), digest: image.digest.clone() });
    Ok(image)
}

struct Registry {
    client: Client,
    auth: RegistryAuth,
    /// Why there is no login, where there should be one.
    trouble: Option<String>,
    reference: ImageRef,
}

impl Registry {
    async fn new(reference: &ImageRef) -> Self {
        // Without a provider the TLS library would panic; the one that a program chose stays.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let protocol = if reference.is_plain_http() { ClientProtocol::Http } else { ClientProtocol::Https };
        let client = Client::new(ClientConfig {
            protocol,
            connect_timeout: Some(CONNECT_TIMEOUT),
            read_timeout: Some(READ_TIMEOUT),
            ..ClientConfig::default()
        });
        let credentials::Found { login, trouble } =
            credentials::find(reference.registry(), reference.repository()).await;
        let auth =
            login.map_or(RegistryAuth::Anonymous, |(name, password)| RegistryAuth::Basic(name, password));
        Self { client, auth, trouble, reference: reference.clone() }
    }

    fn failed(&self, error: &OciDistributionError) -> ImageError {
        let reason = crate::chain(error);
        match &self.trouble {
            Some(trouble) => {
                ImageError::unavailable(&self.reference, &format!("{reason} (without a login: {trouble})"))
            }
            None => ImageError::unavailable(&self.reference, &reason),
        }
    }

    /// The manifest for this machine, its bytes, and the digests by which it goes.
    async fn manifest(&self) -> Result<(Entry, Vec<u8>, Manifest), ImageError> {
        let (digest, bytes, manifest) = self.one_manifest(&self.reference).await?;
        if manifest.config.is_some() {
            return Ok((Entry { manifest: digest, list: None }, bytes, manifest));
        }
        let chosen = choose_platform(&manifest.manifests)?;
        let (inner, bytes, manifest) = self.one_manifest(&self.reference.with_digest(&chosen.digest)).await?;
        Ok((Entry { manifest: inner, list: Some(digest) }, bytes, manifest))
    }

    async fn one_manifest(&self, reference: &ImageRef) -> Result<(String, Vec<u8>, Manifest), ImageError> {
        let (bytes, _) = self
            .client
            .pull_manifest_raw(reference.as_oci(), &self.auth, &ACCEPTED)
            .await
            .map_err(|error| self.failed(&error))?;
        let digest = digest_of(&bytes);
        if let Some(wanted) = reference.digest() {
            super::blob::check_digest("manifest", wanted, &digest)?;
        }
        let manifest = parse(&bytes, "the registry's manifest")?;
        Ok((digest, bytes.to_vec(), manifest))
    }

    async fn config(&self, descriptor: &Descriptor) -> Result<Vec<u8>, ImageError> {
        if descriptor.size > DOCUMENT_MAX {
            return Err(ImageError::TooLarge {
                what: "config".to_owned(),
                size: descriptor.size,
                max: DOCUMENT_MAX,
            });
        }
        let mut bytes = Vec::new();
        let mut out = Counted { inner: &mut bytes, done: 0, max: DOCUMENT_MAX, tell: |_| {} };
        self.client
            .pull_blob(self.reference.as_oci(), &oci(descriptor), &mut out)
            .await
            .map_err(|error| self.failed(&error))?;
        Ok(bytes)
    }

    async fn layer(
        &self,
        store: &Store,
        layer: Descriptor,
        diff_id: String,
        tell: &Progress,
    ) -> Result<(), ImageError> {
        let file =
            NamedTempFile::new_in(store.temp()).map_err(ImageError::io("make a file in", store.temp()))?;
        let handle = file.reopen().map_err(ImageError::io("open", file.path()))?;
        let (name, size) = (layer.digest.clone(), layer.size);
        let mut out = Counted {
            inner: tokio::io::BufWriter::with_capacity(1 << 20, tokio::fs::File::from_std(handle)),
            done: 0,
            max: if size == 0 { store.bounds().bytes } else { size },
            tell: |done| tell(PullEvent::Downloading { layer: name.clone(), done, size }),
        };
        self.client
            .pull_blob(self.reference.as_oci(), &oci(&layer), &mut out)
            .await
            .map_err(|error| self.failed(&error))?;
        let store = store.clone();
        blocking(move || {
            let reader = file.reopen().map_err(ImageError::io("open", file.path()))?;
            store.add_layer(reader, &diff_id, None)
        })
        .await?;
        tell(PullEvent::Unpacked { layer: layer.digest });
        Ok(())
    }
}

fn oci(descriptor: &Descriptor) -> OciDescriptor {
    OciDescriptor {
        media_type: descriptor.media_type.clone(),
        digest: descriptor.digest.clone(),
        size: i64::try_from(descriptor.size).unwrap_or(i64::MAX),
        ..OciDescriptor::default()
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ImageError> + Send + 'static,
) -> Result<T, ImageError> {
    spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(ImageError::io("finish work in", std::path::Path::new("the store"))(io::Error::other(error)))
    })
}

/// Tells how much has been written, and fails past `max` bytes.
struct Counted<W, F> {
    inner: W,
    done: u64,
    max: u64,
    tell: F,
}

impl<W: AsyncWrite + Unpin, F: Fn(u64) + Unpin> AsyncWrite for Counted<W, F> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.done + buffer.len() as u64 > this.max {
            let error = format!("more than the {} bytes that were announced", this.max);
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::FileTooLarge, error)));
        }
        let written = Pin::new(&mut this.inner).poll_write(cx, buffer);
        if let Poll::Ready(Ok(count)) = written {
            this.done += count as u64;
            (this.tell)(this.done);
        }
        written
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}
