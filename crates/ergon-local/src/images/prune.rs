//! Taking away what is not needed: names by their last use, and then all that no name needs.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::blob::hex_of;
use super::manifest::{ConfigFile, Manifest, parse};
use super::store::Entry;
use super::{ImageError, Store};
use crate::tree::remove_tree;

/// What is to go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Prune {
    /// Names that no run has used for so long. Without it: no names.
    pub unused_for: Option<Duration>,
    /// Only say what would go.
    pub dry_run: bool,
}

/// What has gone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Names of images.
    pub references: Vec<String>,
    /// Unpacked layers, of those images and of none.
    pub layers: usize,
    /// How many bytes of files.
    pub bytes: u64,
}

impl Store {
    /// Takes away what is not needed. Nobody else may have the store open.
    ///
    /// # Errors
    /// Another process uses images; a file that cannot be read or removed.
    pub fn prune(dir: &Path, wanted: Prune, now: SystemTime) -> Result<Pruned, ImageError> {
        let Some(store) = Self::open_alone(dir)? else { return Err(ImageError::InUse) };
        let mut pruned = Pruned::default();
        let mut kept = Vec::new();
        for (reference, entry) in store.entries()? {
            let age = now.duration_since(store.last_used(&entry.manifest)).unwrap_or_default();
            if wanted.unused_for.is_some_and(|limit| age >= limit) {
                pruned.references.push(reference);
            } else {
                kept.push(entry);
            }
        }
        if !wanted.dry_run {
            store.forget(&pruned.references)?;
        }
        let (blobs, layers) = store.needed(&kept)?;
        let root = store.dir().to_owned();
        for path in others(&root.join("layers"), &layers)? {
            pruned.layers += 1;
            pruned.bytes += size_of(&path);
            if !wanted.dry_run {
                // In one move, so that there is never half a layer.
                let gone = store.temp().join(path.file_name().unwrap_or_default());
                fs::rename(&path, &gone).map_err(ImageError::io("remove", &path))?;
                remove_tree(&gone).map_err(ImageError::io("remove", &gone))?;
            }
        }
        for folder in ["blobs/sha256", "used"] {
            for path in others(&root.join(folder), &blobs)? {
                pruned.bytes += size_of(&path);
                if !wanted.dry_run {
                    fs::remove_file(&path).map_err(ImageError::io("remove", &path))?;
                }
            }
        }
        Ok(pruned)
    }

    /// The documents and layers of these images, by the hexadecimal part of their digests.
    fn needed(&self, entries: &[Entry]) -> Result<(BTreeSet<String>, BTreeSet<String>), ImageError> {
        let (mut blobs, mut layers) = (BTreeSet::new(), BTreeSet::new());
        for entry in entries {
            let manifest: Manifest = parse(&self.blobs().get(&entry.manifest)?, &entry.manifest)?;
            let config = manifest.config.map(|config| config.digest).unwrap_or_default();
            let file: ConfigFile = parse(&self.blobs().get(&config)?, &config)?;
            for digest in [&entry.manifest, &config] {
                blobs.insert(hex_of(digest)?.to_owned());
            }
            for diff_id in &file.rootfs.diff_ids {
                layers.insert(hex_of(diff_id)?.to_owned());
            }
        }
        Ok((blobs, layers))
    }
}

/// What is in a folder beside these.
fn others(folder: &Path, needed: &BTreeSet<String>) -> Result<Vec<std::path::PathBuf>, ImageError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(ImageError::io("read", folder))?,
    };
    let paths = entries.flatten().map(|entry| entry.path());
    let is_other = |path: &std::path::PathBuf| {
        path.file_name().and_then(|name| name.to_str()).is_none_or(|name| !needed.contains(name))
    };
    Ok(paths.filter(is_other).collect())
}

/// Bytes of all files; links are not followed.
fn size_of(path: &Path) -> u64 {
    let Ok(own) = path.symlink_metadata() else { return 0 };
    if !own.is_dir() {
        return own.len();
    }
    fs::read_dir(path).into_iter().flatten().flatten().map(|entry| size_of(&entry.path())).sum()
}
