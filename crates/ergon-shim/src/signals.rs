//! Signals as something to read, and time as something to wait for: what the one thread of the shim blocks on.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// Passed on to the command as they are.
pub(crate) const FORWARDED: [Signal; 5] =
    [Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGWINCH];

/// All signals that the shim acts on, blocked and readable.
pub(crate) struct Signals(SignalFd);

impl Signals {
    /// Blocks them in this thread, which must be the only one.
    pub(crate) fn block() -> io::Result<Self> {
        // Ignored by whoever started us, SIGCHLD would make ended children vanish before they are asked for.
        // SAFETY: the default action is no handler, so no code can run in a signal's context.
        #[expect(unsafe_code, reason = "sigaction(2) is unsafe as such")]
        unsafe {
            signal(Signal::SIGCHLD, SigHandler::SigDfl)?;
        }
        let mut set = SigSet::empty();
        for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT].into_iter().chain(FORWARDED) {
            set.add(signal);
        }
        set.thread_block()?;
        Ok(Self(SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?))
    }

    /// The next signal that has arrived, if there is one.
    pub(crate) fn next(&self) -> Option<Signal> {
        let info = self.0.read_signal().ok().flatten()?;
        Signal::try_from(i32::try_from(info.ssi_signo).ok()?).ok()
    }

    /// Blocks until a signal arrived, `other` can be read or was closed, or `until` has passed.
    /// Gives whether `other` is what happened.
    pub(crate) fn wait(&self, other: Option<BorrowedFd<'_>>, until: Option<Instant>) -> io::Result<bool> {
        let mut fds = [
            PollFd::new(self.0.as_fd(), PollFlags::POLLIN),
            PollFd::new(other.unwrap_or(self.0.as_fd()), PollFlags::POLLIN),
        ];
        let count = if other.is_some() { 2 } else { 1 };
        let timeout = until.map_or(PollTimeout::NONE, |until| {
            // One more, so that rounding down never makes this spin just before the moment.
            let left = until.saturating_duration_since(Instant::now()).as_millis() + 1;
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut fds[..count], timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(count == 2 && fds[1].any().unwrap_or(true))
    }
}
