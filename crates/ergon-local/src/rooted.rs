//! Paths inside a root directory that somebody else filled: every symbolic link is resolved as if the root were `/`.
//!
//! Images are hostile input. The kernel does the resolving (`openat2` with `RESOLVE_IN_ROOT`), so there is no moment
//! between a check and its use.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2, readlinkat};
use nix::sys::stat::{Mode, SFlag, mkdirat, mknodat};

/// How many dangling links one path may go through while it is being made.
const LINKS_MAX: u32 = 16;
/// `openat2` answers EAGAIN when somebody renamed something elsewhere just then.
const TRIES: u32 = 128;

/// Opens what `path` names below `root`. The empty path and `/` are the root itself.
pub(crate) fn open_in(root: BorrowedFd<'_>, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
    let inside = relative(path);
    let how = OpenHow::new()
        .flags(flags | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let mut tries = 0;
    loop {
        match openat2(root, inside, how) {
            Err(Errno::EAGAIN | Errno::EINTR) if tries < TRIES => tries += 1,
            other => return other,
        }
    }
}

/// Opens the directory `path` below `root`, making each part that is missing.
pub(crate) fn make_dirs_in(root: BorrowedFd<'_>, path: &Path, mode: Mode) -> nix::Result<OwnedFd> {
    make_in(root, path, &Made::Dir(mode), 0)
}

/// Opens the file `path` below `root` by `O_PATH`, making it, empty, and its directories where they are missing.
pub(crate) fn make_file_in(root: BorrowedFd<'_>, path: &Path) -> nix::Result<OwnedFd> {
    make_in(root, path, &Made::File, 0)
}

/// The name by which the kernel takes an open file as a path: for calls that have no form with descriptors.
pub(crate) fn path_of(fd: &impl AsFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()))
}

enum Made {
    Dir(Mode),
    File,
}

fn make_in(root: BorrowedFd<'_>, path: &Path, what: &Made, links: u32) -> nix::Result<OwnedFd> {
    let flags = match what {
        Made::Dir(_) => OFlag::O_PATH | OFlag::O_DIRECTORY,
        Made::File => OFlag::O_PATH,
    };
    match open_in(root, path, flags) {
        Err(Errno::ENOENT) => {}
        other => return other,
    }
    if links > LINKS_MAX {
        return Err(Errno::ELOOP);
    }
    let (parent, name) = split(path).ok_or(Errno::EINVAL)?;
    let dir_mode = Made::Dir(match what {
        Made::Dir(mode) => *mode,
        Made::File => Mode::from_bits_truncate(0o755),
    });
    let dir = make_in(root, parent, &dir_mode, links)?;
    let made = match what {
        Made::Dir(mode) => mkdirat(&dir, name, *mode),
        Made::File => mknodat(&dir, name, SFlag::S_IFREG, Mode::from_bits_truncate(0o644), 0),
    };
    match made {
        Ok(()) => open_in(root, path, flags),
        Err(Errno::EEXIST) => {
            // A link to nothing yet: make what it points at, as the programs in the image would.
            match readlinkat(&dir, name) {
                Ok(target) => {
                    let target = Path::new(&target);
                    let next = if target.is_absolute() { target.to_path_buf() } else { parent.join(target) };
                    make_in(root, &next, what, links + 1)
                }
                Err(_) => open_in(root, path, flags),
            }
        }
        Err(error) => Err(error),
    }
}

/// The path without its leading slashes; `.` for nothing.
fn relative(path: &Path) -> &Path {
    let stripped = path.strip_prefix("/").unwrap_or(path);
    if stripped.as_os_str().is_empty() { Path::new(".") } else { stripped }
}

/// The directory and the name of a path that ends in an ordinary name.
pub(crate) fn split(path: &Path) -> Option<(&Path, &OsStr)> {
    let name = path.file_name()?;
    Some((path.parent().unwrap_or(Path::new("")), name))
}

/// The path as ordinary names alone: `None` when it has a `..` or a byte that no path may have.
pub(crate) fn normal_names(path: &Path) -> Option<PathBuf> {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) if !name.as_bytes().contains(&0) => out.push(name),
            Component::RootDir | Component::CurDir => {}
            _ => return None,
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn root() -> (tempfile::TempDir, OwnedFd) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("root")).unwrap();
        let fd = fs::File::open(dir.path().join("root")).unwrap().into();
        (dir, fd)
    }

    #[test]
    fn links_never_lead_out_of_the_root() {
        let (dir, fd) = root();
        fs::write(dir.path().join("secret"), "x").unwrap();
        for (name, target) in
            [("up", "../secret"), ("abs", "/secret"), ("deep", "../../../../../../../../etc/passwd")]
        {
            symlink(target, dir.path().join("root").join(name)).unwrap();
            let found = open_in(fd.as_fd(), Path::new(name), OFlag::O_RDONLY);
            assert_eq!(found.err(), Some(Errno::ENOENT), "{name}");
        }
    }

    #[test]
    fn missing_directories_are_made_through_links_inside_the_root() {
        let (dir, fd) = root();
        symlink("/run/late", dir.path().join("root/etc")).unwrap();
        make_file_in(fd.as_fd(), Path::new("/etc/a/resolv.conf")).unwrap();
        assert!(dir.path().join("root/run/late/a/resolv.conf").is_file());
        symlink("../run/x/stub.conf", dir.path().join("root/run/late/link.conf")).unwrap();
        make_file_in(fd.as_fd(), Path::new("/etc/link.conf")).unwrap();
        assert!(dir.path().join("root/run/run/x/stub.conf").is_file());
    }

    #[test]
    fn links_in_a_ring_end_with_an_error() {
        let (dir, fd) = root();
        symlink("b", dir.path().join("root/a")).unwrap();
        symlink("a", dir.path().join("root/b")).unwrap();
        assert!(make_file_in(fd.as_fd(), Path::new("a")).is_err());
    }

    #[test]
    fn only_ordinary_names_are_normal() {
        for (path, wanted) in [
            ("a/b", Some("a/b")),
            ("./a//b/", Some("a/b")),
            ("/a", Some("a")),
            ("a/../b", None),
            ("..", None),
            ("./", Some("")),
        ] {
            assert_eq!(normal_names(Path::new(path)), wanted.map(PathBuf::from), "{path}");
        }
    }
}
