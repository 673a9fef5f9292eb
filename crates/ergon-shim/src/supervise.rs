//! Watching the command: its end, its time, the agent's word and the signals from outside.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use ergon_wire::{Exit, Millis, StepPlan, ToShim, read_frame};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::end::now;
use crate::processes::{Reaped, reap, signal_group, signal_rest};
use crate::signals::{FORWARDED, Signals};
use crate::turn::stopped;

/// How long what a command left running may take to end, once the command itself has ended.
const LEFTOVER_GRACE: Duration = Duration::from_secs(1);
/// SIGKILL works at once, except on a process that the kernel holds, such as on a dead network disk.
const KILL_GRACE: Duration = Duration::from_secs(2);

/// Watches until the command has ended and nothing of it is left. Gives how and when the command ended.
pub(crate) fn watch(
    command: Pid,
    step: &StepPlan,
    agent: &mut UnixStream,
    signals: &Signals,
) -> (Exit, Millis) {
    let mut watch = Watch {
        command,
        ended: None,
        verdict: None,
        // A time that cannot be counted to is none.
        deadline: step
            .timeout_ms
            .and_then(|limit| Instant::now().checked_add(duration(limit)))
            .map(|at| (Deadline::Timeout, at)),
        grace: duration(step.grace_ms),
    };
    let mut agent_here = true;
    loop {
        // What ended comes first: a command that made it just before its time was up did make it.
        if watch.reap_all() || watch.deadline_passed() {
            break;
        }
        let until = watch.deadline.map(|(_, at)| at);
        let spoke = match signals.wait(agent_here.then(|| agent.as_fd()), until) {
            Ok(spoke) => spoke,
            Err(error) => {
                watch.begin_end(Exit::Interrupted { message: format!("waiting failed: {error}") }, None);
                continue;
            }
        };
        while let Some(signal) = signals.next() {
            watch.signalled(signal);
        }
        if spoke {
            agent_here = watch.heard(agent);
        }
    }
    let (raw, finished_at) =
        watch.ended.unwrap_or((Exit::Signaled { signal: Signal::SIGKILL as i32 }, now()));
    (watch.verdict.unwrap_or(raw), finished_at)
}

struct Watch {
    command: Pid,
    /// How and when the command itself ended.
    ended: Option<(Exit, Millis)>,
    /// Why we end it. The first reason counts, whatever the command makes of the signal.
    verdict: Option<Exit>,
    deadline: Option<(Deadline, Instant)>,
    grace: Duration,
}

#[derive(Clone, Copy)]
enum Deadline {
    /// The step's own timeout.
    Timeout,
    /// SIGTERM was sent: SIGKILL is next.
    Kill,
    /// SIGKILL was sent: nothing more can be done.
    GiveUp,
}

impl Watch {
    /// Takes in all children that ended. True: none is left.
    fn reap_all(&mut self) -> bool {
        loop {
            match reap() {
                Reaped::Ended(pid, status) if pid == self.command => {
                    self.ended = Some((exit(status), now()));
                    signal_rest(self.command, Signal::SIGTERM);
                    let by = Instant::now() + LEFTOVER_GRACE;
                    if !matches!(self.deadline, Some((Deadline::Kill | Deadline::GiveUp, at)) if at < by) {
                        self.deadline = Some((Deadline::Kill, by));
                    }
                }
                Reaped::Ended(..) => {
                    // Orphans that came to us just now have not been told yet.
                    if matches!(self.deadline, Some((Deadline::GiveUp, _))) {
                        signal_rest(self.command, Signal::SIGKILL);
                    }
                }
                Reaped::StillRunning => return false,
                Reaped::NoneLeft => return true,
            }
        }
    }

    /// Does what is due. True: there is nothing more to wait for.
    fn deadline_passed(&mut self) -> bool {
        let Some((deadline, _)) = self.deadline.filter(|(_, at)| *at <= Instant::now()) else { return false };
        match deadline {
            Deadline::Timeout => self.begin_end(Exit::TimedOut, None),
            Deadline::Kill => {
                signal_group(self.command, Signal::SIGKILL);
                // A command that made groups of its own is cut down from the top: each end hands us its children.
                signal_rest(self.command, Signal::SIGKILL);
                self.deadline = Some((Deadline::GiveUp, Instant::now() + KILL_GRACE));
            }
            Deadline::GiveUp => return true,
        }
        false
    }

    /// Asks the command to end, and sets the time after which it is made to.
    fn begin_end(&mut self, verdict: Exit, signal: Option<Signal>) {
        if self.verdict.is_some() || self.ended.is_some() {
            return;
        }
        self.verdict = Some(verdict);
        signal_group(self.command, signal.unwrap_or(Signal::SIGTERM));
        // A stopped process would keep the signal for later.
        signal_group(self.command, Signal::SIGCONT);
        self.deadline = Some((Deadline::Kill, Instant::now() + self.grace));
    }

    fn signalled(&mut self, signal: Signal) {
        match signal {
            Signal::SIGTERM | Signal::SIGINT => {
                let message = format!("{signal} came from outside");
                self.begin_end(Exit::Interrupted { message }, Some(signal));
            }
            signal if FORWARDED.contains(&signal) => signal_group(self.command, signal),
            // SIGCHLD: the loop reaps.
            _ => {}
        }
    }

    /// Takes in what the agent says. False: it is gone.
    fn heard(&mut self, agent: &mut UnixStream) -> bool {
        match read_frame::<ToShim>(agent) {
            Ok(Some(ToShim::Stop { reason, grace_ms })) => {
                self.grace = duration(grace_ms);
                self.begin_end(stopped(reason), None);
                true
            }
            Ok(Some(ToShim::Run(_) | ToShim::Skip { .. })) => true,
            Ok(None) | Err(_) => {
                self.begin_end(Exit::Interrupted { message: "lost the agent".to_owned() }, None);
                false
            }
        }
    }
}

fn exit(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Exited { code },
        (None, Some(signal)) => Exit::Signaled { signal },
        (None, None) => Exit::Interrupted { message: format!("the command ended in no known way: {status}") },
    }
}

fn duration(millis: Millis) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}
