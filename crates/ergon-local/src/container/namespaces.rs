//! The namespaces that the helper makes for its child: users, where we are not root, and process IDs. The mount
//! namespace is for the helper itself; see [`super::guard`].

use std::fmt::Display;
use std::fs::{self, File};
use std::io;

use caps::{CapSet, Capability};
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{getegid, geteuid};

use super::error::{Doing, Failure};
use super::spec::Network;

/// Enters what the child is to live in. Without the right to make namespaces, a user namespace gives it to us.
pub(super) fn enter(network: &Network) -> Result<(), Failure> {
    if !may_make_namespaces() {
        match network {
            // The network belongs to that user namespace, and only from inside of it can it be entered.
            Network::Join(handle) => {
                let file = File::open(&handle.user)
                    .doing(|| format!("open the user namespace {}", handle.user.display()))?;
                setns(file, CloneFlags::CLONE_NEWUSER)
                    .doing(|| "enter the user namespace of the other container".to_owned())?;
            }
            Network::Host | Network::Isolated => make_user_namespace()?,
        }
    }
    unshare(CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS)
        .map_err(|error| forbidden("make namespaces", &error))
}

/// Whether this process is root in the full sense.
pub(super) fn may_make_namespaces() -> bool {
    caps::has_cap(None, CapSet::Effective, Capability::CAP_SYS_ADMIN).unwrap_or(false)
}

/// We become root of a namespace in which nobody else exists.
fn make_user_namespace() -> Result<(), Failure> {
    let (uid, gid) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER).map_err(|error| forbidden("make a user namespace", &error))?;
    map_single(0, uid.as_raw(), 0, gid.as_raw()).map_err(|error| forbidden("map the user", &error))
}

/// Writes the only map that needs no help from root: one user and one group.
pub(super) fn map_single(inside_uid: u32, uid: u32, inside_gid: u32, gid: u32) -> io::Result<()> {
    // The kernel wants this first: else a group could be left that is denied something.
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{inside_uid} {uid} 1\n"))?;
    fs::write("/proc/self/gid_map", format!("{inside_gid} {gid} 1\n"))
}

/// The failure when the system refuses namespaces, with the remedy.
pub(super) fn forbidden(deed: &str, error: &dyn Display) -> Failure {
    let remedy = if geteuid().is_root() {
        "this process is root without CAP_SYS_ADMIN, as in most containers; \
         start the outer container with user namespaces allowed (Docker: `--security-opt seccomp=unconfined \
         --security-opt apparmor=unconfined --security-opt systempaths=unconfined`)"
    } else {
        "allow user namespaces, as root: `sysctl -w user.max_user_namespaces=15000`, \
         on Debian `sysctl -w kernel.unprivileged_userns_clone=1`, \
         on Ubuntu 23.10 and later `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`; or run as root"
    };
    let error = error.to_string();
    // The kernel's words for a limit that is reached would send people to look at their disks.
    let error = if error.starts_with("ENOSPC") { "this system allows no more of them" } else { &error };
    Failure::new(format!("cannot {deed}: {error}; {remedy}"))
}
