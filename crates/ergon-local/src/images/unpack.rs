//! One layer's archive as a directory. The archive is hostile until it is unpacked: no entry may be written, linked or
//! removed outside of the directory, and nothing may grow without bound.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{
    FileStat, Mode, SFlag, UtimensatFlags, fchmod, fstatat, futimens, mkdirat, mknodat, utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchownat, linkat, mkfifoat, symlinkat, unlinkat};
use serde::{Deserialize, Serialize};
use tar::{Archive, Entry, EntryType};

use super::error::LayerError;
use crate::rooted::{make_dirs_in, normal_names, open_in, path_of, split};

/// What a layer may have at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Bytes of the decompressed archive.
    pub bytes: u64,
    /// Files, directories and links.
    pub entries: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { bytes: 64 << 30, entries: 4_000_000 }
    }
}

/// Who owns what is unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// As the archive says: for root with the whole range of users.
    Keep,
    /// All of it is ours, there are no setuid bits, and we may read all of it.
    Squash,
}

impl Ownership {
    /// What this process is able to do.
    pub fn of_this_process() -> Self {
        let whole = fs::read_to_string("/proc/self/uid_map")
            .is_ok_and(|map| map.split_ascii_whitespace().eq(["0", "0", "4294967295"]));
        if nix::unistd::geteuid().is_root() && whole { Self::Keep } else { Self::Squash }
    }
}

/// What a layer takes away from the ones below it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Removals {
    /// Paths that are gone.
    pub whiteouts: BTreeSet<PathBuf>,
    /// Directories of which nothing below is seen.
    pub opaque: BTreeSet<PathBuf>,
}

/// Unpacks a plain tar archive into the empty directory `dest`.
pub(crate) fn unpack(
    reader: impl Read,
    dest: &Path,
    ownership: Ownership,
    bounds: Bounds,
) -> Result<Removals, LayerError> {
    let root: OwnedFd = File::open(dest)
        .map_err(|source| LayerError::Write { path: dest.display().to_string(), source })?
        .into();
    let mut unpacker = Unpacker {
        root,
        ownership,
        bounds,
        written: 0,
        removals: Removals::default(),
        directories: Vec::new(),
        last_parent: None,
    };
    let mut archive = Archive::new(reader);
    let mut count = 0;
    for entry in archive.entries().map_err(LayerError::Read)? {
        let mut entry = entry.map_err(LayerError::Read)?;
        count += 1;
        if count > bounds.entries {
            return Err(LayerError::Bound { what: "entries", max: bounds.entries });
        }
        unpacker.entry(&mut entry)?;
    }
    unpacker.finish()
}

struct Unpacker {
    root: OwnedFd,
    ownership: Ownership,
    bounds: Bounds,
    /// Bytes of files so far. A sparse file has more of them than the archive.
    written: u64,
    removals: Removals,
    /// Set last: a directory without write permission has to be filled first, and filling it changes its time.
    directories: Vec<(PathBuf, Mode, i64)>,
    /// Neighbouring entries mostly share their directory.
    last_parent: Option<(PathBuf, OwnedFd)>,
}

impl Unpacker {
    fn entry<R: Read>(&mut self, entry: &mut Entry<'_, R>) -> Result<(), LayerError> {
        let raw = entry.path_bytes().into_owned();
        let shown = String::from_utf8_lossy(&raw).into_owned();
        let path = normal_names(Path::new(OsStr::from_bytes(&raw)))
            .ok_or_else(|| LayerError::Escapes { path: shown.clone() })?;
        let kind = entry.header().entry_type();
        let Some((parent, name)) = split(&path) else {
            // The root directory itself.
            if kind == EntryType::Directory {
                self.own(Path::new(""), OsStr::new("."), entry, &shown)?;
                self.remember_directory(path, entry)?;
            }
            return Ok(());
        };
        if let Some(hidden) = name.as_bytes().strip_prefix(b".wh.") {
            return self.whiteout(parent, hidden, &shown);
        }
        let written = self.write(entry, kind, parent, name, &path);
        written.map_err(|error| match error {
            Failure::Layer(error) => error,
            Failure::Io(source) => LayerError::Write { path: shown, source },
        })
    }

    fn write<R: Read>(
        &mut self,
        entry: &mut Entry<'_, R>,
        kind: EntryType,
        parent: &Path,
        name: &OsStr,
        path: &Path,
    ) -> Result<(), Failure> {
        match kind {
            EntryType::Directory => {
                self.make_room(parent, name, true)?;
                match mkdirat(self.parent(parent)?, name, Mode::S_IRWXU) {
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                self.own(parent, name, entry, &path.to_string_lossy())?;
                self.remember_directory(path.to_path_buf(), entry)?;
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.make_room(parent, name, false)?;
                let flags =
                    OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                let dir = self.parent(parent)?;
                let mut file = File::from(openat(dir, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?);
                let left = self.bounds.bytes.saturating_sub(self.written);
                let copied = io::copy(&mut entry.by_ref().take(left.saturating_add(1)), &mut file)?;
                if copied > left {
                    return Err(LayerError::Bound { what: "bytes", max: self.bounds.bytes }.into());
                }
                self.written += copied;
                self.own(parent, name, entry, &path.to_string_lossy())?;
                fchmod(&file, self.mode(entry, Mode::S_IRUSR)?)?;
                let time = time_of(entry.header().mtime().unwrap_or(0));
                futimens(&file, &time, &time)?;
            }
            EntryType::Symlink => {
                let target = entry.link_name_bytes().ok_or(Errno::EINVAL)?.into_owned();
                self.make_room(parent, name, false)?;
                let dir = self.parent(parent)?;
                symlinkat(OsStr::from_bytes(&target), dir, name)?;
                let time = time_of(entry.header().mtime().unwrap_or(0));
                utimensat(dir, name, &time, &time, UtimensatFlags::NoFollowSymlink)?;
                self.own(parent, name, entry, &path.to_string_lossy())?;
                self.last_parent = None;
            }
            EntryType::Link => self.hard_link(entry, parent, name, path)?,
            EntryType::Fifo => {
                self.make_room(parent, name, false)?;
                let mode = self.mode(entry, Mode::S_IRUSR)?;
                mkfifoat(self.parent(parent)?, name, mode)?;
                self.own(parent, name, entry, &path.to_string_lossy())?;
            }
            // Devices: a container gets its own /dev, and one in an image would be a way to the host's disks.
            _ => {}
        }
        Ok(())
    }

    fn hard_link<R: Read>(
        &mut self,
        entry: &Entry<'_, R>,
        parent: &Path,
        name: &OsStr,
        path: &Path,
    ) -> Result<(), Failure> {
        let raw = entry.link_name_bytes().ok_or(Errno::EINVAL)?.into_owned();
        let shown = path.to_string_lossy();
        let target = normal_names(Path::new(OsStr::from_bytes(&raw)))
            .ok_or_else(|| LayerError::Escapes { path: shown.clone().into_owned() })?;
        let missing = || LayerError::LinkTarget {
            path: shown.clone().into_owned(),
            target: target.display().to_string(),
        };
        let (target_parent, target_name) = split(&target).ok_or_else(missing)?;
        if target == path {
            return Ok(());
        }
        self.make_room(parent, name, false)?;
        let from = open_in(self.root.as_fd(), target_parent, OFlag::O_PATH | OFlag::O_DIRECTORY)
            .map_err(|_| missing())?;
        let to = self.parent(parent)?;
        // Without AT_SYMLINK_FOLLOW a link to a link is the link itself, so it cannot lead away.
        match linkat(from, target_name, to, name, AtFlags::empty()) {
            Ok(()) => Ok(()),
            Err(Errno::ENOENT) => Err(missing().into()),
            Err(error) => Err(error.into()),
        }
    }

    fn whiteout(&mut self, parent: &Path, hidden: &[u8], shown: &str) -> Result<(), LayerError> {
        match hidden {
            b".wh..opq" => {
                self.removals.opaque.insert(parent.to_path_buf());
            }
            // Other names that start so are bookkeeping of aufs, where the form comes from.
            _ if hidden.starts_with(b".wh.") => {}
            b"" | b"." | b".." => return Err(LayerError::Escapes { path: shown.to_owned() }),
            name => {
                self.removals.whiteouts.insert(parent.join(OsStr::from_bytes(name)));
            }
        }
        Ok(())
    }

    /// The open directory in which an entry is made.
    fn parent(&mut self, path: &Path) -> nix::Result<&OwnedFd> {
        if self.last_parent.as_ref().is_none_or(|(last, _)| last != path) {
            let fd = make_dirs_in(self.root.as_fd(), path, Mode::from_bits_truncate(0o755))?;
            self.last_parent = Some((path.to_path_buf(), fd));
        }
        self.last_parent.as_ref().map(|(_, fd)| fd).ok_or(Errno::EBADF)
    }

    /// Takes away what has this name already; a directory stays if a directory comes.
    fn make_room(&mut self, parent: &Path, name: &OsStr, directory: bool) -> Result<(), Failure> {
        let dir = self.parent(parent)?;
        let Some(found) = stat_no_follow(dir, name)? else { return Ok(()) };
        match (is_directory(&found), directory) {
            (true, true) => Ok(()),
            (true, false) => {
                fs::remove_dir_all(path_of(dir).join(name))?;
                self.last_parent = None;
                Ok(())
            }
            (false, _) => {
                unlinkat(dir, name, UnlinkatFlags::NoRemoveDir)?;
                self.last_parent = None;
                Ok(())
            }
        }
    }

    fn own<R: Read>(
        &mut self,
        parent: &Path,
        name: &OsStr,
        entry: &Entry<'_, R>,
        shown: &str,
    ) -> Result<(), LayerError> {
        if self.ownership == Ownership::Squash {
            return Ok(());
        }
        // A field that is empty means zero, as in Go's reader.
        let id = |value: io::Result<u64>| {
            u32::try_from(value.unwrap_or(0))
                .map_err(|_| LayerError::Read(io::Error::other("owner's number is too large")))
        };
        let uid = Uid::from_raw(id(entry.header().uid())?);
        let gid = Gid::from_raw(id(entry.header().gid())?);
        self.parent(parent)
            .and_then(|dir| fchownat(dir, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW))
            .map_err(|error| LayerError::Write { path: shown.to_owned(), source: error.into() })
    }

    fn mode<R: Read>(&self, entry: &Entry<'_, R>, ours: Mode) -> Result<Mode, LayerError> {
        let mode = Mode::from_bits_truncate(entry.header().mode().map_err(LayerError::Read)? & 0o7777);
        Ok(match self.ownership {
            Ownership::Keep => mode,
            Ownership::Squash => (mode & Mode::from_bits_truncate(0o1777)) | ours,
        })
    }

    fn remember_directory<R: Read>(&mut self, path: PathBuf, entry: &Entry<'_, R>) -> Result<(), LayerError> {
        let mode = self.mode(entry, Mode::S_IRWXU)?;
        let time = entry.header().mtime().unwrap_or(0);
        self.directories.push((path, mode, i64::try_from(time).unwrap_or(0)));
        Ok(())
    }

    fn finish(mut self) -> Result<Removals, LayerError> {
        for (path, mode, seconds) in std::mem::take(&mut self.directories).into_iter().rev() {
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
            // One that a later entry replaced has nothing to be set.
            let Ok(fd) = open_in(self.root.as_fd(), &path, flags) else { continue };
            let time = TimeSpec::new(seconds, 0);
            futimens(&fd, &time, &time).and_then(|()| fchmod(&fd, mode)).map_err(|error| {
                LayerError::Write { path: path.display().to_string(), source: error.into() }
            })?;
        }
        Ok(self.removals)
    }
}

/// Writes what a layer removes in overlayfs's own form. False if this file system cannot hold it; then layers are
/// laid over each other by copying.
pub(crate) fn mark_for_overlay(dest: &Path, removals: &Removals) -> io::Result<bool> {
    let root: OwnedFd = File::open(dest)?.into();
    let dir_mode = Mode::from_bits_truncate(0o755);
    let mut opaque = removals.opaque.clone();
    for path in &removals.whiteouts {
        let Some((parent, name)) = split(path) else { continue };
        let dir = make_dirs_in(root.as_fd(), parent, dir_mode)?;
        match stat_no_follow(&dir, name)? {
            // Taken away and made anew in one layer: nothing from below shows through.
            Some(found) if is_directory(&found) => {
                opaque.insert(path.clone());
            }
            Some(_) => {}
            None => match mknodat(&dir, name, SFlag::S_IFCHR, Mode::empty(), 0) {
                Ok(()) => {}
                Err(Errno::EPERM | Errno::ENOTSUP | Errno::EINVAL) => return Ok(false),
                Err(error) => return Err(error.into()),
            },
        }
    }
    for path in &opaque {
        let dir = make_dirs_in(root.as_fd(), path, dir_mode)?;
        if xattr::set_deref(path_of(&dir), "user.overlay.opaque", b"y").is_err() {
            return Ok(false);
        }
    }
    Ok(true)
}

enum Failure {
    Io(io::Error),
    Layer(LayerError),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Errno> for Failure {
    fn from(error: Errno) -> Self {
        Self::Io(error.into())
    }
}

impl From<LayerError> for Failure {
    fn from(error: LayerError) -> Self {
        Self::Layer(error)
    }
}

fn stat_no_follow(dir: &OwnedFd, name: &OsStr) -> nix::Result<Option<FileStat>> {
    match fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_directory(stat: &FileStat) -> bool {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR
}

fn time_of(seconds: u64) -> TimeSpec {
    TimeSpec::new(i64::try_from(seconds).unwrap_or(0), 0)
}

#[cfg(test)]
mod tests;
