//! Waiting for the step's turn, in the kernel: nothing here polls, so a step that waits costs no time.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use ergon_wire::{
    Company, Exit, FromShim, RunCommand, StepPlan, StopReason, ToShim, paths, read_frame, write_frame,
};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::signal::Signal;

use crate::signals::Signals;

/// How the wait ended.
pub(crate) enum Turn {
    Run(RunCommand),
    /// The step's command never runs.
    Never {
        exit: Exit,
        /// What would have run, where the agent said so.
        step: Option<Box<StepPlan>>,
        company: Option<Box<Company>>,
    },
}

impl From<Exit> for Turn {
    fn from(exit: Exit) -> Self {
        Self::Never { exit, step: None, company: None }
    }
}

/// An agent that stops reading or writing in the middle of a message is lost.
const AGENT_STUCK: Duration = Duration::from_secs(30);
/// Only where the node has no inotify instances left: how long to wait between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Waits for the agent, and greets it.
///
/// # Errors
/// How the step ends that has none.
pub(crate) fn connect(run_dir: &Path, signals: &Signals) -> Result<UnixStream, Exit> {
    let socket = run_dir.join(paths::SOCKET);
    let failed = |error: io::Error| {
        let message = format!("the agent's socket `{}` cannot be used: {error}", socket.display());
        Exit::NotStarted { message }
    };
    // In a pod the agent's container starts first: mostly the socket is there, and no inotify instance is needed, of
    // which a node has few (128 per user, unless set otherwise).
    let mut watch = None;
    loop {
        match UnixStream::connect(&socket) {
            Ok(mut stream) => {
                stream.set_read_timeout(Some(AGENT_STUCK)).map_err(failed)?;
                stream.set_write_timeout(Some(AGENT_STUCK)).map_err(failed)?;
                return match write_frame(&mut stream, &FromShim::Hello) {
                    Ok(()) => Ok(stream),
                    Err(_) => Err(lost()),
                };
            }
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed(error)),
        }
        let Some(seen) = &watch else {
            // The socket may have come since: so look again before the first wait.
            watch = Some(Watch::new(run_dir).map_err(|error| {
                let message = format!("the directory `{}` cannot be watched: {error}", run_dir.display());
                Exit::NotStarted { message }
            })?);
            continue;
        };
        seen.wait(signals).map_err(failed)?;
        interrupted(signals)?;
    }
}

fn lost() -> Exit {
    Exit::Interrupted { message: "the agent was lost before the step's turn came".to_owned() }
}

/// Blocks until the agent says what to do.
pub(crate) fn next(agent: &mut UnixStream, signals: &Signals) -> Turn {
    loop {
        let Ok(spoke) = signals.wait(Some(agent.as_fd()), None) else { return lost().into() };
        if let Err(exit) = interrupted(signals) {
            return exit.into();
        }
        if !spoke {
            continue;
        }
        return match read_frame::<ToShim>(agent) {
            Ok(Some(ToShim::Run(command))) => Turn::Run(*command),
            Ok(Some(ToShim::Skip { step, exit, company })) => Turn::Never { exit, step: Some(step), company },
            Ok(Some(ToShim::Stop { reason, .. })) => stopped(reason).into(),
            Ok(None) => lost().into(),
            Err(error) => {
                Exit::Interrupted { message: format!("the agent's message could not be read: {error}") }
                    .into()
            }
        };
    }
}

/// How a step ends that the agent stops.
pub(crate) fn stopped(reason: StopReason) -> Exit {
    match reason {
        StopReason::Cancelled => Exit::Cancelled,
        StopReason::TimedOut => Exit::TimedOut,
        StopReason::Over => Exit::Exited { code: 0 },
        StopReason::Interrupted => {
            Exit::Interrupted { message: "the agent of its pod was told to end".to_owned() }
        }
    }
}

/// Takes in the signals that came while nothing ran: there is nobody to pass them on to.
fn interrupted(signals: &Signals) -> Result<(), Exit> {
    while let Some(signal) = signals.next() {
        if matches!(signal, Signal::SIGTERM | Signal::SIGINT) {
            return Err(Exit::Interrupted { message: format!("{signal} came before the step's turn") });
        }
    }
    Ok(())
}

/// Something that wakes us when the directory changes.
enum Watch {
    Kernel(Inotify),
    /// The node's inotify instances or watches are used up.
    Clock,
}

impl Watch {
    fn new(run_dir: &Path) -> io::Result<Self> {
        use nix::errno::Errno::{EMFILE, ENOSPC};
        let made = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).and_then(|inotify| {
            inotify.add_watch(run_dir, AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO)?;
            Ok(inotify)
        });
        match made {
            Ok(inotify) => Ok(Self::Kernel(inotify)),
            Err(EMFILE | ENOSPC) => Ok(Self::Clock),
            Err(error) => Err(error.into()),
        }
    }

    fn wait(&self, signals: &Signals) -> io::Result<()> {
        match self {
            Self::Kernel(inotify) => {
                signals.wait(Some(inotify.as_fd()), None)?;
                // Which name it was does not matter: the caller looks.
                let _ = inotify.read_events();
            }
            Self::Clock => {
                signals.wait(None, Some(Instant::now() + LOOK_AGAIN))?;
            }
        }
        Ok(())
    }
}
