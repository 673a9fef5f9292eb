//! The helper: one process with one thread for each container. It makes the namespaces that only a child can enter,
//! starts the init in them, and waits.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitCode, Stdio};

use ergon_wire::{read_frame, write_frame};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::cgroup::Cgroup;
use super::error::{Doing, Failure};
use super::talk::{Exit, FromHelper, FromInit, Instruction, ToHelper};
use super::{guard, init, namespaces};
use crate::lock::Lock;

/// The first argument that makes a program call [`container_main`] before anything else.
pub const CONTAINER_ARG: &str = "__container";
pub(super) const HELPER: &str = "helper";
pub(super) const INIT: &str = "init";

/// Runs the helper or the init, whichever the arguments after [`CONTAINER_ARG`] name.
/// Must be called before the program starts any thread.
pub fn container_main(args: impl IntoIterator<Item = String>) -> ExitCode {
    let role = args.into_iter().next();
    // What the shell left open must not get into the container.
    close_inherited();
    let done = match role.as_deref() {
        Some(HELPER) => control().and_then(helper),
        Some(INIT) => control().and_then(init::run),
        _ => Err(io::Error::other("not for people: `ergon run` starts this")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Seen only when the other side is gone or never was.
            let _ = io::Write::write_all(&mut io::stderr(), format!("ergon container: {error}\n").as_bytes());
            ExitCode::FAILURE
        }
    }
}

fn helper(mut control: UnixStream) -> io::Result<()> {
    let Some(instruction) = read_frame::<Instruction>(&mut control)? else { return Ok(()) };
    // Tells the sweeper that somebody still works in the directory.
    let _lock = Lock::shared(&instruction.dir.join("lock"))?;
    match start(&instruction) {
        Ok(running) => {
            let started = FromHelper::Started { pid: running.pid.as_raw(), notes: running.notes.clone() };
            write_frame(&mut control, &started)?;
            let exit = supervise(&mut control, &running)?;
            running.cgroup.remove();
            write_frame(&mut control, &FromHelper::Exited(exit))
        }
        Err(failure) => write_frame(&mut control, &FromHelper::from(failure)),
    }
}

struct Running {
    pid: Pid,
    cgroup: Cgroup,
    notes: Vec<String>,
    /// Readable when the child has ended.
    ended: SignalFd,
}

fn start(instruction: &Instruction) -> Result<Running, Failure> {
    let spec = &instruction.spec;
    let mut notes = Vec::new();
    let cgroup = Cgroup::create(&spec.id, spec.limits, &mut notes);
    let started = start_init(instruction, &cgroup, &mut notes);
    match started {
        Ok((pid, ended)) => Ok(Running { pid, cgroup, notes, ended }),
        Err(failure) => {
            cgroup.remove();
            Err(failure)
        }
    }
}

fn start_init(
    instruction: &Instruction,
    cgroup: &Cgroup,
    notes: &mut Vec<String>,
) -> Result<(Pid, SignalFd), Failure> {
    namespaces::enter(&instruction.spec.network)?;
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGCHLD);
    mask.thread_block().doing(|| "block a signal".to_owned())?;
    let ended = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .doing(|| "watch for the end of a process".to_owned())?;

    let (mut ours, theirs) = UnixStream::pair().doing(|| "make a socket".to_owned())?;
    let mut child = Command::new(guard::guarded_exe(&instruction.dir)?)
        .args([CONTAINER_ARG, INIT])
        .env_clear()
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .spawn()
        .map_err(|error| namespaces::forbidden("start a process in new namespaces", &error))?;
    let pid = pid_of(&child);
    let listened = cgroup.add(pid).and_then(|()| listen(&mut ours, instruction, notes));
    if listened.is_err() {
        let _ = child.kill();
        let _ = child.wait();
    }
    listened.map(|()| (pid, ended))
}

/// Tells the init what to do, and waits until its program runs.
fn listen(
    socket: &mut UnixStream,
    instruction: &Instruction,
    notes: &mut Vec<String>,
) -> Result<(), Failure> {
    write_frame(socket, instruction).doing(|| "speak to the container's first process".to_owned())?;
    let mut ready = false;
    loop {
        match read_frame(socket).doing(|| "hear from the container's first process".to_owned())? {
            Some(FromInit::Ready { notes: more }) => {
                notes.extend(more);
                ready = true;
            }
            Some(FromInit::Failed { program, reason }) => return Err(Failure { program, reason }),
            None if ready => return Ok(()),
            None => return Err(Failure::new("the container's first process ended before it was ready")),
        }
    }
}

/// Passes signals on until the child ends. The program's end of the socket closing is SIGKILL.
fn supervise(control: &mut UnixStream, running: &Running) -> io::Result<Exit> {
    let mut heard = true;
    loop {
        if let Some(exit) = reap(running)? {
            return Ok(exit);
        }
        let mut fds = vec![PollFd::new(running.ended.as_fd(), PollFlags::POLLIN)];
        if heard {
            fds.push(PollFd::new(control.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let spoken = fds.get(1).and_then(PollFd::any).unwrap_or(false);
        while let Ok(Some(_)) = running.ended.read_signal() {}
        if spoken {
            let signal = match read_frame(control) {
                Ok(Some(ToHelper::Signal(number))) => Signal::try_from(number).ok(),
                Ok(None) | Err(_) => {
                    heard = false;
                    Some(Signal::SIGKILL)
                }
            };
            // Only this process reaps the child, so the number still means it.
            let _ = kill(running.pid, signal);
        }
    }
}

fn reap(running: &Running) -> io::Result<Option<Exit>> {
    let (code, signal) = match waitpid(running.pid, Some(WaitPidFlag::WNOHANG))? {
        WaitStatus::Exited(_, code) => (code, None),
        WaitStatus::Signaled(_, signal, _) => (128 + signal as i32, Some(signal as i32)),
        _ => return Ok(None),
    };
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let time = usage.user_time() + usage.system_time();
    let millis = time.tv_sec() * 1000 + time.tv_usec() / 1000;
    Ok(Some(Exit {
        code,
        signal,
        oom_killed: running.cgroup.oom_killed(),
        cpu_ms: u64::try_from(millis).unwrap_or(0),
        peak_rss_bytes: u64::try_from(usage.max_rss()).unwrap_or(0).saturating_mul(1024),
    }))
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap_or(0))
}

/// Standard input, which is the socket to whoever started this process.
fn control() -> io::Result<UnixStream> {
    Ok(UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?))
}

fn close_inherited() {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<RawFd> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| *fd > 2) {
        // The one of the directory itself is closed already.
        let _ = nix::unistd::close(fd);
    }
}
