//! What the program may do: its user, groups and capabilities. The last thing before it runs.

use std::collections::HashSet;
use std::io;

use caps::{CapSet, Capability};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::{set_no_new_privs, set_pdeathsig};
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, fchown, setgroups, setresgid, setresuid};

use super::error::{Doing, Failure};
use super::namespaces::map_single;
use super::spec::{Capabilities, ContainerSpec};

/// What containerd, and so Kubernetes, gives root in a container.
const DEFAULT: [Capability; 14] = [
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_FSETID,
    Capability::CAP_FOWNER,
    Capability::CAP_MKNOD,
    Capability::CAP_NET_RAW,
    Capability::CAP_SETGID,
    Capability::CAP_SETUID,
    Capability::CAP_SETFCAP,
    Capability::CAP_SETPCAP,
    Capability::CAP_NET_BIND_SERVICE,
    Capability::CAP_SYS_CHROOT,
    Capability::CAP_KILL,
    Capability::CAP_AUDIT_WRITE,
];

/// Becomes the container's user with the container's capabilities.
/// With `alone` there is nobody else in the user namespace, so a user other than root is made by one more of them.
pub(super) fn take_on(spec: &ContainerSpec, alone: bool) -> Result<(), Failure> {
    let wanted = wanted(&spec.capabilities)?;
    let user = &spec.user;
    if alone && (user.uid != 0 || user.gid != 0) {
        unshare(CloneFlags::CLONE_NEWUSER).doing(|| "make a user namespace for the user".to_owned())?;
        map_single(user.uid, 0, user.gid, 0).doing(|| format!("become user {}", user.uid))?;
    }
    for capability in caps::runtime::thread_all_supported() {
        if !wanted.contains(&capability) {
            caps::drop(None, CapSet::Bounding, capability).doing(|| format!("drop {capability}"))?;
        }
    }
    caps::clear(None, CapSet::Ambient).doing(|| "clear ambient capabilities".to_owned())?;
    caps::clear(None, CapSet::Inheritable).doing(|| "clear inherited capabilities".to_owned())?;
    if !alone {
        let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
        let groups: Vec<Gid> = user.groups.iter().copied().map(Gid::from_raw).collect();
        // So that `/dev/stdout` can be opened by the user. What cannot change hands, such as a terminal's end that is
        // read-only, was not ours to give.
        let _ = fchown(io::stdout(), Some(uid), None);
        let _ = fchown(io::stderr(), Some(uid), None);
        setgroups(&groups).doing(|| "set the groups".to_owned())?;
        setresgid(gid, gid, gid).doing(|| format!("become group {gid}"))?;
        setresuid(uid, uid, uid).doing(|| format!("become user {uid}"))?;
    }
    if spec.no_new_privs {
        set_no_new_privs().doing(|| "give up new privileges".to_owned())?;
    }
    // After the user is set: the kernel forgets it at each change of user. When the helper is killed, the container
    // ends with it.
    set_pdeathsig(Signal::SIGKILL).doing(|| "bind the container to its helper".to_owned())
}

fn wanted(capabilities: &Capabilities) -> Result<HashSet<Capability>, Failure> {
    if capabilities.privileged {
        return Ok(caps::all());
    }
    let mut set: HashSet<Capability> = DEFAULT.into_iter().collect();
    for name in &capabilities.drop {
        for capability in named(name)? {
            set.remove(&capability);
        }
    }
    for name in &capabilities.add {
        set.extend(named(name)?);
    }
    Ok(set)
}

fn named(name: &str) -> Result<HashSet<Capability>, Failure> {
    let upper = name.to_ascii_uppercase();
    if upper == "ALL" {
        return Ok(caps::all());
    }
    let full = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
    full.parse()
        .map(|capability| HashSet::from([capability]))
        .map_err(|_| Failure::new(format!("`{name}` is no capability; write it such as `NET_ADMIN`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(add: &[&str], drop: &[&str]) -> HashSet<Capability> {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        wanted(&Capabilities { add: owned(add), drop: owned(drop), privileged: false }).unwrap()
    }

    #[test]
    fn capabilities_are_counted_as_kubernetes_does() {
        assert_eq!(set(&[], &[]).len(), 14);
        assert!(set(&[], &["ALL"]).is_empty());
        assert_eq!(
            set(&["NET_ADMIN", "cap_chown"], &["ALL"]),
            HashSet::from([Capability::CAP_NET_ADMIN, Capability::CAP_CHOWN])
        );
        assert!(!set(&[], &["MKNOD"]).contains(&Capability::CAP_MKNOD));
        let bad = Capabilities { add: vec!["FLY".to_owned()], ..Capabilities::default() };
        assert!(wanted(&bad).unwrap_err().reason.contains("`FLY`"));
    }
}
