//! Keeps our own program's file from the container.
//!
//! A container's first process was our program, and an image may name `/proc/self/exe` as what it runs: so it could
//! come to a descriptor of the file, and as root write to it (CVE-2019-5736). Therefore the init runs from a mount of
//! the file that is read-only, or else from a copy.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};

use super::error::{Doing, Failure};
use super::mounts::remount_read_only;
use super::rootfs::NONE;

const OWN_EXE: &str = "/proc/self/exe";

/// The path from which the init is to be started. Seen in the helper's mount namespace alone.
pub(super) fn guarded_exe(dir: &Path) -> Result<PathBuf, Failure> {
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_SLAVE, NONE)
        .doing(|| "keep mounts to the container".to_owned())?;
    let guarded = dir.join("init");
    File::create(&guarded).doing(|| format!("make {}", guarded.display()))?;
    if mount_read_only(&guarded).is_err() {
        // The file was replaced since we were started, as a build does, so it has no path any more.
        fs::copy(OWN_EXE, &guarded)
            .and_then(|_| fs::set_permissions(&guarded, Permissions::from_mode(0o755)))
            .doing(|| format!("copy this program to {}", guarded.display()))?;
    }
    Ok(guarded)
}

fn mount_read_only(guarded: &Path) -> nix::Result<()> {
    let exe = fs::read_link(OWN_EXE).map_err(|_| nix::errno::Errno::ENOENT)?;
    mount(Some(&exe), guarded, NONE, MsFlags::MS_BIND, NONE)?;
    remount_read_only(guarded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;
    use std::thread;

    use nix::sched::{CloneFlags, unshare};
    use nix::sys::statvfs::{FsFlags, statvfs};

    use super::super::namespaces::may_make_namespaces;

    #[test]
    fn the_program_is_guarded_by_a_read_only_mount() {
        if !may_make_namespaces() {
            eprintln!("skipped: a thread alone can make a mount namespace only as root");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_path_buf();
        thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNS).unwrap();
            let guarded = guarded_exe(&path).unwrap();
            let (own, seen) = (fs::metadata(OWN_EXE).unwrap(), fs::metadata(&guarded).unwrap());
            assert_eq!((own.dev(), own.ino()), (seen.dev(), seen.ino()));
            assert!(statvfs(&guarded).unwrap().flags().contains(FsFlags::ST_RDONLY));
        })
        .join()
        .unwrap();
        // Outside of the namespace there is an empty file and no mount.
        assert_eq!(fs::metadata(dir.path().join("init")).unwrap().len(), 0);
    }
}
