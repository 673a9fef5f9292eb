//! Layers over each other without overlayfs: each is copied over the ones below it.
//!
//! What is below may be links that lead anywhere, so every directory on the way is looked at before it is entered.
//! Nobody else is at work in the tree meanwhile.

use std::fs::{self, FileTimes};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use crate::images::Layer;

pub(crate) type CopyError = (PathBuf, io::Error);

/// Copies a layer into `dest`, after taking away what the layer takes away.
pub(super) fn copy_layer(layer: &Layer, dest: &Path) -> Result<(), CopyError> {
    for path in &layer.removals.opaque {
        if let Some(found) = reach(dest, path) {
            for entry in fs::read_dir(&found).into_iter().flatten().flatten() {
                remove(&entry.path()).map_err(at(&entry.path()))?;
            }
        }
    }
    for path in &layer.removals.whiteouts {
        let parent = path.parent().unwrap_or(Path::new(""));
        if let (Some(found), Some(name)) = (reach(dest, parent), path.file_name()) {
            remove(&found.join(name)).map_err(at(&found))?;
        }
    }
    copy_dir(&layer.path, dest)
}

/// The directory that `path` names, if no link is on the way.
fn reach(dest: &Path, path: &Path) -> Option<PathBuf> {
    let mut found = dest.to_path_buf();
    for name in path {
        found.push(name);
        fs::symlink_metadata(&found).ok().filter(fs::Metadata::is_dir)?;
    }
    Some(found)
}

/// Copies what is in a directory into another one.
pub(crate) fn copy_dir(from: &Path, to: &Path) -> Result<(), CopyError> {
    for entry in fs::read_dir(from).map_err(at(from))? {
        let source = entry.map_err(at(from))?.path();
        let Some(name) = source.file_name() else { continue };
        let target = to.join(name);
        let meta = fs::symlink_metadata(&source).map_err(at(&source))?;
        let there = fs::symlink_metadata(&target).ok();
        let kind = meta.file_type();
        if kind.is_char_device() || kind.is_block_device() {
            // Overlayfs's mark of a removed file, which the list of removals has too.
            continue;
        }
        if there.is_some_and(|there| !(there.is_dir() && kind.is_dir())) {
            remove(&target).map_err(at(&target))?;
        }
        if kind.is_dir() {
            if !target.is_dir() {
                fs::create_dir(&target).map_err(at(&target))?;
            }
            copy_dir(&source, &target)?;
            keep_meta(&target, &meta).map_err(at(&target))?;
        } else if kind.is_symlink() {
            let link = fs::read_link(&source).map_err(at(&source))?;
            symlink(link, &target).map_err(at(&target))?;
            lchown(&target, Some(meta.uid()), Some(meta.gid())).map_err(at(&target))?;
        } else if kind.is_file() {
            fs::copy(&source, &target).map_err(at(&target))?;
            keep_meta(&target, &meta).map_err(at(&target))?;
        }
    }
    Ok(())
}

fn keep_meta(target: &Path, meta: &fs::Metadata) -> io::Result<()> {
    // The owner first: changing it takes the setuid bit away.
    lchown(target, Some(meta.uid()), Some(meta.gid()))?;
    let times = FileTimes::new().set_modified(meta.modified()?);
    fs::File::open(target)?.set_times(times)?;
    fs::set_permissions(target, fs::Permissions::from_mode(meta.mode() & 0o7777))
}

fn remove(path: &Path) -> io::Result<()> {
    let gone = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match gone {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> CopyError {
    let path = path.to_path_buf();
    move |error| (path, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::images::Removals;

    fn layer(dir: &Path, name: &str, whiteouts: &[&str], opaque: &[&str]) -> Layer {
        let path = dir.join(name);
        fs::create_dir_all(&path).unwrap();
        let set = |names: &[&str]| names.iter().map(PathBuf::from).collect();
        let removals = Removals { whiteouts: set(whiteouts), opaque: set(opaque) };
        Layer { path, removals, overlay: false }
    }

    #[test]
    fn a_layer_hides_and_replaces_what_is_below_and_follows_no_link() {
        let temp = tempfile::tempdir().unwrap();
        let outside = temp.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("keep"), "mine").unwrap();

        let low = layer(temp.path(), "low", &[], &[]);
        fs::create_dir_all(low.path.join("etc/old")).unwrap();
        fs::write(low.path.join("etc/a"), "low").unwrap();
        fs::write(low.path.join("etc/b"), "low").unwrap();
        fs::write(low.path.join("etc/old/x"), "low").unwrap();
        symlink(&outside, low.path.join("link")).unwrap();

        let high = layer(temp.path(), "high", &["etc/a", "link/keep"], &["etc/old"]);
        fs::create_dir_all(high.path.join("etc/old")).unwrap();
        fs::write(high.path.join("etc/old/y"), "high").unwrap();
        fs::create_dir(high.path.join("link")).unwrap();
        fs::write(high.path.join("link/keep"), "theirs").unwrap();

        let dest = temp.path().join("dest");
        fs::create_dir(&dest).unwrap();
        copy_layer(&low, &dest).unwrap();
        copy_layer(&high, &dest).unwrap();

        assert!(!dest.join("etc/a").exists() && !dest.join("etc/old/x").exists());
        assert_eq!(fs::read_to_string(dest.join("etc/b")).unwrap(), "low");
        assert_eq!(fs::read_to_string(dest.join("etc/old/y")).unwrap(), "high");
        assert_eq!(fs::read_to_string(outside.join("keep")).unwrap(), "mine");
        assert_eq!(fs::read_to_string(dest.join("link/keep")).unwrap(), "theirs");
    }
}
