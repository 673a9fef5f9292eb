//! The container's root: the image's layers under a directory that takes what the container writes.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::Mode;
use nix::unistd::{chdir, fchdir, pivot_root};

use super::copy::copy_layer;
use super::error::{Doing, Failure};
use super::talk::Instruction;
use crate::images::Layer;
use crate::rooted::path_of;

/// Bytes that the options of a mount may have, with the zero at their end: one page, and pages are at least so long.
const OPTIONS_MAX: usize = 4096;

/// Nothing, where a call to mount wants a text.
pub(super) const NONE: Option<&str> = None;

/// Mounts the root at `rootfs` in the container's directory; gives back the directory, open.
pub(super) fn mount_root(instruction: &Instruction, notes: &mut Vec<String>) -> Result<OwnedFd, Failure> {
    // What is mounted on the machine later is seen, what we mount is not seen there.
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_SLAVE, NONE)
        .doing(|| "keep mounts to the container".to_owned())?;
    let layers = &instruction.spec.layers;
    let root = instruction.dir.join("rootfs");
    let overlaid = if layers.is_empty() {
        Err("the image has no layers".to_owned())
    } else if layers.iter().any(|layer| !layer.overlay) {
        Err("the store's file system does not hold its marks".to_owned())
    } else {
        mount_overlay(&instruction.dir, layers, instruction.spec.upper.as_deref())?
            .map_err(|error| error.to_string())
    };
    match overlaid {
        Ok(()) => return open_root(&root),
        Err(reason) => notes.push(format!(
            "the image is copied for this container, which is slow: overlayfs cannot be used here ({reason})"
        )),
    }
    for layer in layers {
        copy_layer(layer, &root)
            .map_err(|(path, error)| Failure::new(format!("cannot copy {}: {error}", path.display())))?;
    }
    // The root of a container has to be a mount.
    mount(Some(&root), &root, NONE, MsFlags::MS_BIND, NONE).doing(|| format!("mount {}", root.display()))?;
    open_root(&root)
}

/// Layers go by descriptor: paths have characters that the options give a meaning, and a hundred of them would not
/// fit into the options.
fn mount_overlay(dir: &Path, layers: &[Layer], upper: Option<&Path>) -> Result<nix::Result<()>, Failure> {
    let open_dir = |path: &Path| {
        open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
            .doing(|| format!("open {}", path.display()))
    };
    let opened: Vec<OwnedFd> =
        layers.iter().rev().map(|layer| open_dir(&layer.path)).collect::<Result<_, _>>()?;
    let own = dir.join("upper");
    let (upper, work) = (open_dir(upper.unwrap_or(&own))?, open_dir(&dir.join("work"))?);
    let lower = opened.iter().map(|fd| path_of(fd).display().to_string()).collect::<Vec<_>>().join(":");
    let options = format!(
        "lowerdir={lower},upperdir={},workdir={},userxattr",
        path_of(&upper).display(),
        path_of(&work).display()
    );
    // The kernel would cut what is longer, and say nothing.
    if options.len() + ",volatile".len() >= OPTIONS_MAX {
        return Ok(Err(Errno::E2BIG));
    }
    let root = dir.join("rootfs");
    let try_with =
        |options: &str| mount(Some("overlay"), &root, Some("overlay"), MsFlags::empty(), Some(options));
    // Volatile: a container's files need not outlive a power cut, and without it the end of each one syncs the disk.
    Ok(match try_with(&format!("{options},volatile")) {
        Err(Errno::EINVAL) => try_with(&options),
        other => other,
    })
}

fn open_root(path: &Path) -> Result<OwnedFd, Failure> {
    File::open(path).map(OwnedFd::from).doing(|| format!("open {}", path.display()))
}

/// Makes the directory the root of everything, and takes the old one away.
pub(super) fn enter(root: &OwnedFd) -> Result<(), Failure> {
    let deed = || "enter the container's root".to_owned();
    fchdir(root).doing(deed)?;
    // With the same directory twice the old root lies over the new one, so no place for it is needed in the image.
    pivot_root(".", ".").doing(deed)?;
    umount2(".", MntFlags::MNT_DETACH).doing(|| "let go of the machine's root".to_owned())?;
    chdir("/").doing(deed)
}
