//! Taking the network from a step that must not have one.

use std::fs;
use std::io::{self, Read as _, Write as _};

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork, getegid, geteuid, getppid};

/// Every user there can be.
const ALL: &str = "0 0 4294967295";

/// Leaves the pod's network for one with nothing in it, for this process and all that it starts.
///
/// Only root of the node may do that as it is. Others do it in a user namespace of their own, which shows the same
/// users where the container lets them, and else this one alone.
///
/// # Errors
/// Why it cannot be done here: a fragment for people. Nothing may be run then.
pub(crate) fn leave() -> Result<(), String> {
    match unshare(CloneFlags::CLONE_NEWNET) {
        Ok(()) => return Ok(()),
        Err(Errno::EPERM) => {}
        Err(error) => return Err(told(&error.into())),
    }
    let (user, group) = (geteuid(), getegid());
    let (ready, mut tell) = io::pipe().map_err(|error| told(&error))?;
    // SAFETY: the shim has one thread, so the child may do whatever this process may.
    #[expect(unsafe_code, reason = "only a process that stays outside can show all users inside")]
    let helper = match unsafe { fork() }.map_err(|error| told(&error.into()))? {
        ForkResult::Child => {
            drop(tell);
            std::process::exit(i32::from(map_all(ready).is_err()));
        }
        ForkResult::Parent { child } => child,
    };
    drop(ready);
    let left = unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET);
    if left.is_ok() {
        let _ = tell.write_all(b"!");
    }
    drop(tell);
    let mapped = matches!(waitpid(helper, None), Ok(WaitStatus::Exited(_, 0)));
    left.map_err(|error| {
        told(&io::Error::other(format!(
            "the container may make no user namespace ({error}); a seccomp profile or the node forbids it"
        )))
    })?;
    if mapped {
        return Ok(());
    }
    let alone = || {
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
        fs::write("/proc/self/gid_map", format!("{group} {group} 1"))
    };
    alone().map_err(|error| told(&error))
}

/// What the helper does: once its parent is in the new namespace, shows all users there.
fn map_all(mut ready: io::PipeReader) -> io::Result<()> {
    ready.read_exact(&mut [0])?;
    let parent = getppid();
    fs::write(format!("/proc/{parent}/uid_map"), ALL)?;
    fs::write(format!("/proc/{parent}/gid_map"), ALL)
}

fn told(error: &io::Error) -> String {
    format!("the step is to run without a network, and that cannot be taken from it: {error}")
}
