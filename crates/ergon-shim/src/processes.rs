//! The step's processes: its group, and whatever its children left behind.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use nix::errno::Errno;
use nix::libc;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::time::TimeValLike;
use nix::unistd::{Pid, getpid};

/// What became of the children of this process.
pub(crate) enum Reaped {
    Ended(Pid, ExitStatus),
    /// There are some, and none has ended.
    StillRunning,
    /// None is left, and so no descendant of the command either: orphans come to us.
    NoneLeft,
}

/// Makes this process the parent of all its descendants whose own parent ends, as PID 1 is anyway.
pub(crate) fn adopt_orphans() -> io::Result<()> {
    Ok(nix::sys::prctl::set_child_subreaper(true)?)
}

/// Takes one ended child in.
pub(crate) fn reap() -> Reaped {
    let mut status = 0;
    // SAFETY: `status` outlives the call. nix's own wrapper loses the status of a child that a real-time signal ended.
    #[expect(unsafe_code, reason = "waitpid(2) writes through a pointer")]
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
    match pid {
        0 => Reaped::StillRunning,
        pid if pid > 0 => Reaped::Ended(Pid::from_raw(pid), ExitStatus::from_raw(status)),
        _ if Errno::last() == Errno::EINTR => Reaped::StillRunning,
        _ => Reaped::NoneLeft,
    }
}

/// Sends a signal to the command's process group; it may be gone.
pub(crate) fn signal_group(group: Pid, signal: Signal) {
    let _ = killpg(group, signal);
}

/// Sends a signal to everything that the command left behind, whatever group it moved to.
pub(crate) fn signal_rest(group: Pid, signal: Signal) {
    if getpid() == Pid::from_raw(1) {
        // To PID 1, "all" is all of its own container.
        let _ = kill(Pid::from_raw(-1), signal);
        return;
    }
    signal_group(group, signal);
    // Outside of a PID namespace: those that came to us as orphans; the children of each of them come in turn.
    let children = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    for child in children.split_whitespace().filter_map(|pid| pid.parse().ok()) {
        let _ = kill(Pid::from_raw(child), signal);
    }
}

/// What all children used that were reaped.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Processor time in milliseconds.
    pub(crate) cpu_ms: u64,
    /// The largest resident size in KiB.
    pub(crate) memory_peak_kib: u64,
}

impl Usage {
    pub(crate) fn so_far() -> Self {
        let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else { return Self::default() };
        let cpu_ms = usage.user_time().num_milliseconds() + usage.system_time().num_milliseconds();
        Self {
            cpu_ms: u64::try_from(cpu_ms).unwrap_or(0),
            memory_peak_kib: u64::try_from(usage.max_rss()).unwrap_or(0),
        }
    }

    /// What came since. A peak below that of an earlier command is not known, and 0.
    pub(crate) fn since(before: Self) -> Self {
        let now = Self::so_far();
        let is_higher = now.memory_peak_kib > before.memory_peak_kib;
        Self {
            cpu_ms: now.cpu_ms.saturating_sub(before.cpu_ms),
            memory_peak_kib: if is_higher { now.memory_peak_kib } else { 0 },
        }
    }
}
