//! Everything that is mounted over the image: the kernel's file systems, devices, our files, and what was asked for.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::fcntl::OFlag;
use nix::mount::{MsFlags, mount};
use nix::sys::stat::Mode;
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::symlinkat;

use super::error::{Doing, Failure};
use super::rootfs::NONE;
use super::spec::{Mount, MountSource, Network};
use super::talk::Instruction;
use crate::rooted::{make_dirs_in, make_file_in, open_in, path_of};

/// Devices that every container has; taken from this machine, since only root could make them.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
const DEVICE_LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];
/// What other runtimes hide and keep from being written: paths that tell about the machine, or change it.
const HIDDEN: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

const NO_SUID: MsFlags = MsFlags::MS_NOSUID;

/// Mounts all of it below the open root. `alone` says that the user namespace has one user.
pub(super) fn mount_all(
    root: &OwnedFd,
    instruction: &Instruction,
    alone: bool,
    notes: &mut Vec<String>,
) -> Result<(), Failure> {
    let spec = &instruction.spec;
    mount_proc(root, notes)?;
    mount_dev(root, alone, notes)?;
    mount_sys(root, &spec.network, alone, spec.capabilities.privileged)?;
    for name in ["resolv.conf", "hosts", "hostname"] {
        let target = Path::new("/etc").join(name);
        // What the caller mounts there comes later and wins.
        bind(root, &instruction.dir.join(name), &target, false)?;
    }
    for wanted in &spec.mounts {
        mount_wanted(root, wanted)?;
    }
    Ok(())
}

fn mount_wanted(root: &OwnedFd, wanted: &Mount) -> Result<(), Failure> {
    match &wanted.source {
        MountSource::Bind(source) => bind(root, source, &wanted.target, wanted.read_only),
        MountSource::Tmpfs { size_bytes } => {
            let size = size_bytes.map(|bytes| format!(",size={bytes}")).unwrap_or_default();
            let flags = NO_SUID | MsFlags::MS_NODEV;
            let read_only = if wanted.read_only { MsFlags::MS_RDONLY } else { MsFlags::empty() };
            mount_new(root, &wanted.target, "tmpfs", flags | read_only, &format!("mode=1777{size}"))
        }
    }
}

/// Shows a file or directory of this machine, with what is mounted below it. Read-only holds for itself, not for
/// what is mounted below.
fn bind(root: &OwnedFd, source: &Path, target: &Path, read_only: bool) -> Result<(), Failure> {
    let deed = || format!("mount {} at {}", source.display(), target.display());
    let meta = fs::metadata(source).doing(deed)?;
    let at = if meta.is_dir() {
        make_dirs_in(root.as_fd(), target, Mode::from_bits_truncate(0o755))
    } else {
        make_file_in(root.as_fd(), target)
    }
    .doing(deed)?;
    mount(Some(source), &path_of(&at), NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE).doing(deed)?;
    if read_only {
        // Opened anew: the old descriptor is below the mount.
        let at = open_in(root.as_fd(), target, OFlag::O_PATH).doing(deed)?;
        remount_read_only(&path_of(&at)).doing(|| format!("make {} read-only", target.display()))?;
    }
    Ok(())
}

/// In a user namespace the flags that a mount has already cannot be taken from it, so they are said again.
pub(super) fn remount_read_only(path: &Path) -> nix::Result<()> {
    let kept = statvfs(path)?.flags();
    let mut flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    for (has, flag) in [
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ] {
        if kept.contains(has) {
            flags |= flag;
        }
    }
    mount(NONE, path, NONE, flags, NONE)
}

fn mount_new(
    root: &OwnedFd,
    target: &Path,
    kind: &str,
    flags: MsFlags,
    options: &str,
) -> Result<(), Failure> {
    let deed = || format!("mount {kind} at {}", target.display());
    let at = make_dirs_in(root.as_fd(), target, Mode::from_bits_truncate(0o755)).doing(deed)?;
    mount(Some(kind), &path_of(&at), Some(kind), flags, Some(options)).doing(deed)
}

fn mount_proc(root: &OwnedFd, notes: &mut Vec<String>) -> Result<(), Failure> {
    let flags = NO_SUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let Err(failure) = mount_new(root, Path::new("/proc"), "proc", flags, "") else { return Ok(()) };
    // Inside of another container the kernel refuses a fresh one when parts of the old one are hidden.
    bind(root, Path::new("/proc"), Path::new("/proc"), false)?;
    notes.push(format!("the container sees this machine's /proc: {}", failure.reason));
    Ok(())
}

fn mount_dev(root: &OwnedFd, alone: bool, notes: &mut Vec<String>) -> Result<(), Failure> {
    let dev = Path::new("/dev");
    mount_new(root, dev, "tmpfs", NO_SUID | MsFlags::MS_STRICTATIME, "mode=755,size=65536k")?;
    for name in DEVICES {
        let device = dev.join(name);
        if device.exists() {
            bind(root, &device, &device, false)?;
        }
    }
    let dir =
        open_in(root.as_fd(), dev, OFlag::O_PATH | OFlag::O_DIRECTORY).doing(|| "open /dev".to_owned())?;
    for (name, target) in DEVICE_LINKS {
        symlinkat(target, &dir, name).doing(|| format!("make /dev/{name}"))?;
    }
    // 5 is the group of terminals, where there are groups.
    let group = if alone { "" } else { ",gid=5" };
    mount_new(
        root,
        &dev.join("pts"),
        "devpts",
        NO_SUID | MsFlags::MS_NOEXEC,
        &format!("newinstance,ptmxmode=0666,mode=0620{group}"),
    )?;
    let flags = NO_SUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount_new(root, &dev.join("shm"), "tmpfs", flags, "mode=1777,size=65536k")?;
    if let Err(failure) = mount_new(root, &dev.join("mqueue"), "mqueue", flags, "") {
        notes.push(failure.reason);
    }
    Ok(())
}

fn mount_sys(root: &OwnedFd, network: &Network, alone: bool, writable: bool) -> Result<(), Failure> {
    let target = Path::new("/sys");
    // A fresh one belongs to a network namespace; in a user namespace the machine's own cannot be had so.
    if !alone || *network != Network::Host {
        let read_only = if writable { MsFlags::empty() } else { MsFlags::MS_RDONLY };
        let flags = NO_SUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | read_only;
        if mount_new(root, target, "sysfs", flags, "").is_ok() {
            return Ok(());
        }
    }
    bind(root, target, target, true)
}

/// After the root is entered: then these paths are ours, and nothing of the image is on the way to them.
pub(super) fn hide_system_paths(notes: &mut Vec<String>) -> Result<(), Failure> {
    for path in READ_ONLY.map(Path::new) {
        if path.exists() {
            let deed = || format!("make {} read-only", path.display());
            mount(Some(path), path, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE).doing(deed)?;
            remount_read_only(path).doing(deed)?;
        }
    }
    for path in HIDDEN.map(Path::new) {
        let Ok(meta) = fs::metadata(path) else { continue };
        let hidden = if meta.is_dir() {
            mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::MS_RDONLY, Some("size=0k"))
        } else {
            mount(Some("/dev/null"), path, NONE, MsFlags::MS_BIND, NONE)
        };
        if let Err(error) = hidden {
            notes.push(format!("{} is not hidden: {error}", path.display()));
        }
    }
    Ok(())
}

pub(super) fn make_root_read_only() -> Result<(), Failure> {
    remount_read_only(Path::new("/")).doing(|| "make the root read-only".to_owned())
}
