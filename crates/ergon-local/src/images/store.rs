//! The store: documents by digest, layers unpacked once each, and an index of names.
//!
//! ```text
//! blobs/sha256/<hex>        manifests and configs
//! layers/<hex>/{fs,layer.json}   one layer by the digest of its plain content
//! index.json                names
//! used/<hex>                an empty file, as old as the last use of the image with that manifest
//! locks/                    one file for each image that is being brought in
//! tmp/                      what is not whole yet; only whole things are renamed into place
//! ```
//!
//! Any number of processes use one store at a time. Layers' archives are not kept once they are unpacked.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use tempfile::{NamedTempFile, TempDir};

use super::blob::{Blobs, Hashing, check_digest, digest_of, hex_of};
use super::decompress::decompress;
use super::error::LayerError;
use super::manifest::{ConfigFile, Manifest, parse};
use super::unpack::{Bounds, Ownership, Removals, mark_for_overlay, unpack};
use super::{Image, ImageConfig, ImageError, ImageRef, Layer, Progress, pull};
use crate::lock::Lock;
use crate::tree::remove_tree;

/// The images of this machine. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    temp: PathBuf,
    blobs: Blobs,
    ownership: Ownership,
    bounds: Bounds,
    /// Held as long as the store is open, so that nobody clears away what is being written.
    _open: Lock,
}

/// When a registry is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PullPolicy {
    /// For each run: the name may mean something new by now.
    Always,
    #[default]
    IfNotPresent,
    Never,
}

/// One name of the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub reference: String,
    /// The digest of the manifest.
    pub digest: String,
    /// Bytes of the layers as they were packed.
    pub size: u64,
    /// When a run last asked for it, or when it came.
    pub last_used: SystemTime,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Index {
    #[serde(default)]
    references: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    /// The manifest for this machine.
    pub manifest: String,
    /// The list of manifests that it was chosen from: what a name by digest mostly means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list: Option<String>,
}

/// What is kept beside an unpacked layer.
#[derive(Debug, Serialize, Deserialize)]
struct LayerFile {
    #[serde(flatten)]
    removals: Removals,
    overlay: bool,
}

impl Store {
    /// Opens the store in `dir`, making it if it is missing.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, ImageError> {
        Self::open_with(&dir.into(), Ownership::of_this_process(), Bounds::default())
    }

    fn open_with(dir: &Path, ownership: Ownership, bounds: Bounds) -> Result<Self, ImageError> {
        let dir = make_folders(dir)?;
        let path = dir.join("locks/open");
        let failed = |error| ImageError::io("lock", &path)(error);
        if let Some(_alone) = Lock::try_exclusive(&path).map_err(failed)? {
            // Nobody else is here, so what lies in `tmp` was left by one that was ended.
            clear(&dir.join("tmp"));
        }
        let open = Lock::shared(&path).map_err(failed)?;
        Self::locked(dir, ownership, bounds, open)
    }

    /// The store for this process alone; none while somebody else has it open.
    pub(super) fn open_alone(dir: &Path) -> Result<Option<Self>, ImageError> {
        let dir = make_folders(dir)?;
        let path = dir.join("locks/open");
        let alone = Lock::try_exclusive(&path).map_err(ImageError::io("lock", &path))?;
        let (ownership, bounds) = (Ownership::of_this_process(), Bounds::default());
        alone.map(|lock| Self::locked(dir, ownership, bounds, lock)).transpose()
    }

    fn locked(dir: PathBuf, ownership: Ownership, bounds: Bounds, open: Lock) -> Result<Self, ImageError> {
        let temp = dir.join("tmp");
        let blobs = Blobs::open(dir.join("blobs"), temp.clone())?;
        Ok(Self { shared: Arc::new(Shared { dir, temp, blobs, ownership, bounds, _open: open }) })
    }
    /// The image that `reference` names, pulled if it has to be and the policy allows it.
    /// A `sha256:` digest of a manifest is a reference too.
    pub async fn resolve(
        &self,
        reference: &str,
        policy: PullPolicy,
        progress: Option<Progress>,
    ) -> Result<Image, ImageError> {
        let image = self.found(reference, policy, progress).await?;
        self.touch(&image.digest);
        Ok(image)
    }

    async fn found(
        &self,
        reference: &str,
        policy: PullPolicy,
        progress: Option<Progress>,
    ) -> Result<Image, ImageError> {
        if hex_of(reference).is_ok() {
            return self.load(reference, reference).map_err(|_| {
                ImageError::unavailable(&reference, &"a digest alone does not say from which registry")
            });
        }
        let reference = ImageRef::parse(reference)?;
        if (policy != PullPolicy::Always || reference.is_local())
            && let Some(image) = self.find(&reference)?
        {
            return Ok(image);
        }
        if policy == PullPolicy::Never {
            return Err(ImageError::unavailable(&reference, &"the pull policy is `Never`"));
        }
        if reference.is_local() {
            return Err(ImageError::unavailable(&reference, &"names under `localhost/` are in no registry"));
        }
        pull::pull(self, &reference, policy, progress).await
    }

    /// All names, in order.
    pub fn list(&self) -> Result<Vec<Listed>, ImageError> {
        let index = self.index()?;
        let listed = index.references.into_iter().map(|(reference, entry)| {
            let manifest: Manifest = parse(&self.blobs().get(&entry.manifest)?, &entry.manifest)?;
            let size = manifest.layers.iter().map(|layer| layer.size).sum();
            let last_used = self.last_used(&entry.manifest);
            Ok(Listed { reference, digest: entry.manifest, size, last_used })
        });
        listed.collect()
    }

    /// The image if it is here, whole.
    pub(crate) fn find(&self, reference: &ImageRef) -> Result<Option<Image>, ImageError> {
        let index = self.index()?;
        let name = reference.to_string();
        let entry = index.references.get(&name).or_else(|| {
            // The same content under another name of the same repository.
            let digest = reference.digest()?;
            let repository = reference.name();
            index.references.iter().find_map(|(name, entry)| {
                let same = name.strip_prefix(&repository).is_some_and(|rest| rest.starts_with([':', '@']));
                (same && (entry.manifest == digest || entry.list.as_deref() == Some(digest))).then_some(entry)
            })
        });
        let Some(entry) = entry else { return Ok(None) };
        match self.load(&name, &entry.manifest) {
            Ok(image) => Ok(Some(image)),
            // Something was taken away from under the store: as if the image were not here.
            Err(ImageError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn load(&self, reference: &str, manifest: &str) -> Result<Image, ImageError> {
        let parsed: Manifest = parse(&self.blobs().get(manifest)?, manifest)?;
        let config = parsed.config.map(|config| config.digest).unwrap_or_default();
        let config: ConfigFile = parse(&self.blobs().get(&config)?, &config)?;
        let layers =
            config.rootfs.diff_ids.iter().map(|diff_id| self.layer(diff_id)).collect::<Result<_, _>>()?;
        Ok(Image {
            reference: reference.to_owned(),
            digest: manifest.to_owned(),
            config: ImageConfig::from(config),
            layers,
        })
    }

    pub(crate) fn has_layer(&self, diff_id: &str) -> bool {
        self.layer_dir(diff_id).is_ok_and(|dir| dir.exists())
    }

    fn layer(&self, diff_id: &str) -> Result<Layer, ImageError> {
        let dir = self.layer_dir(diff_id)?;
        let path = dir.join("layer.json");
        let text = fs::read(&path).map_err(ImageError::io("read", &path))?;
        let file: LayerFile = parse(&text, &path.display().to_string())?;
        Ok(Layer { path: dir.join("fs"), removals: file.removals, overlay: file.overlay })
    }

    /// Unpacks a layer, packed or plain, and keeps it if its content is what `diff_id` says.
    /// The packed bytes are checked against `packed` when that is given.
    pub(crate) fn add_layer(
        &self,
        reader: impl Read,
        diff_id: &str,
        packed: Option<&str>,
    ) -> Result<(), ImageError> {
        let failed = |source| ImageError::Layer { diff_id: diff_id.to_owned(), source: Box::new(source) };
        let temp =
            TempDir::new_in(self.temp()).map_err(ImageError::io("make a directory in", self.temp()))?;
        let dest = temp.path().join("fs");
        fs::create_dir(&dest).map_err(ImageError::io("make directory", &dest))?;
        let bounds = self.shared.bounds;
        let mut outer = Hashing::new(reader, bounds.bytes);
        let removals = {
            let plain = decompress(&mut outer).map_err(|error| failed(LayerError::Read(error)))?;
            let mut inner = Hashing::new(plain, bounds.bytes);
            let removals = unpack(&mut inner, &dest, self.shared.ownership, bounds).map_err(failed)?;
            let found = inner.finish().map_err(|error| failed(LayerError::Read(error)))?;
            if found != diff_id {
                return Err(failed(LayerError::DiffId { found }));
            }
            removals
        };
        if let Some(packed) = packed {
            let found = outer.finish().map_err(|error| failed(LayerError::Read(error)))?;
            check_digest("layer", packed, &found)?;
        }
        let overlay =
            mark_for_overlay(&dest, &removals).map_err(ImageError::io("mark removed files in", &dest))?;
        let file = serde_json::to_vec(&LayerFile { removals, overlay })
            .map_err(|source| ImageError::Document { what: "layer.json".to_owned(), source })?;
        let path = temp.path().join("layer.json");
        fs::write(&path, file).map_err(ImageError::io("write", &path))?;
        let place = self.layer_dir(diff_id)?;
        match fs::rename(temp.path(), &place) {
            Ok(()) => {
                // It is no longer where it would be cleared away.
                let _ = temp.keep();
                Ok(())
            }
            // Another process was faster, with the same content.
            Err(_) if place.exists() => Ok(()),
            Err(error) => Err(ImageError::io("make directory", &place)(error)),
        }
    }

    /// Gives an image a name, and takes the name from the image that had it.
    pub(crate) fn name(&self, reference: &ImageRef, entry: &Entry) -> Result<(), ImageError> {
        self.touch(&entry.manifest);
        self.change_index(|index| {
            index.references.insert(reference.to_string(), entry.clone());
        })
    }

    /// Takes names away; what they named stays until it is pruned.
    pub(super) fn forget(&self, references: &[String]) -> Result<(), ImageError> {
        self.change_index(|index| index.references.retain(|name, _| !references.contains(name)))
    }

    pub(super) fn entries(&self) -> Result<BTreeMap<String, Entry>, ImageError> {
        Ok(self.index()?.references)
    }

    /// Notes that an image is used now.
    fn touch(&self, manifest: &str) {
        let Ok(hex) = hex_of(manifest) else { return };
        let file = fs::File::options().create(true).append(true).open(self.shared.dir.join("used").join(hex));
        // Without the note the image is only pruned earlier.
        let _ = file.and_then(|file| file.set_modified(SystemTime::now()));
    }

    /// When a run last asked for the image with this manifest, or else when it came.
    pub(super) fn last_used(&self, manifest: &str) -> SystemTime {
        let of = |path: PathBuf| fs::metadata(path).and_then(|file| file.modified()).ok();
        let used = hex_of(manifest).ok().and_then(|hex| of(self.shared.dir.join("used").join(hex)));
        used.or_else(|| of(self.blobs().path(manifest).ok()?)).unwrap_or(SystemTime::UNIX_EPOCH)
    }

    fn change_index(&self, change: impl FnOnce(&mut Index)) -> Result<(), ImageError> {
        let _lock = self.lock("index")?;
        let mut index = self.index()?;
        change(&mut index);
        let path = self.shared.dir.join("index.json");
        let text = serde_json::to_vec_pretty(&index)
            .map_err(|source| ImageError::Document { what: "index.json".to_owned(), source })?;
        let file =
            NamedTempFile::new_in(self.temp()).map_err(ImageError::io("make a file in", self.temp()))?;
        fs::write(file.path(), text).map_err(ImageError::io("write", file.path()))?;
        file.as_file().sync_all().map_err(ImageError::io("write", file.path()))?;
        file.persist(&path).map_err(|error| ImageError::io("write", &path)(error.error))?;
        Ok(())
    }

    fn index(&self) -> Result<Index, ImageError> {
        let path = self.shared.dir.join("index.json");
        match fs::read(&path) {
            Ok(text) => parse(&text, &path.display().to_string()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Index::default()),
            Err(error) => Err(ImageError::io("read", &path)(error)),
        }
    }

    /// Waits until this process alone brings in the image of that name.
    pub(crate) fn lock(&self, name: &str) -> Result<Lock, ImageError> {
        let digest = digest_of(name.as_bytes());
        let path = self.shared.dir.join("locks").join(hex_of(&digest)?);
        Lock::exclusive(&path).map_err(ImageError::io("lock", &path))
    }

    pub(crate) fn blobs(&self) -> &Blobs {
        &self.shared.blobs
    }

    pub(super) fn dir(&self) -> &Path {
        &self.shared.dir
    }

    pub(crate) fn temp(&self) -> &Path {
        &self.shared.temp
    }

    pub(crate) fn bounds(&self) -> Bounds {
        self.shared.bounds
    }

    fn layer_dir(&self, diff_id: &str) -> Result<PathBuf, ImageError> {
        Ok(self.shared.dir.join("layers").join(hex_of(diff_id)?))
    }
}

/// Makes what is missing of the store's folders.
fn make_folders(dir: &Path) -> Result<PathBuf, ImageError> {
    for name in ["layers", "locks", "used", "tmp"] {
        let path = dir.join(name);
        // For nobody else: in root's store there are setuid programs of any origin.
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .map_err(ImageError::io("make directory", &path))?;
    }
    dir.canonicalize().map_err(ImageError::io("find", dir))
}

fn clear(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        // What cannot be removed now is in nobody's way, and the next one tries again.
        let _ = fs::remove_file(entry.path()).or_else(|_| remove_tree(&entry.path()));
    }
}
