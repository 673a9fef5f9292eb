//! Breakpoints: the step waits until a person in its container tells it to go on.

use std::fs::Permissions;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ergon_wire::{Breakpoints, Exit, ToShim, read_frame};
use nix::sys::signal::Signal;

use crate::processes::reap;
use crate::signals::Signals;
use crate::turn::stopped;
use crate::{say, script};

/// A person is slower than this, and nothing runs meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Which breakpoint was reached.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Point {
    BeforeStep,
    OnFailure,
}

/// What the person, or whoever ends the step, wants.
pub(crate) enum Decision {
    /// Go on as if all were well.
    Continue,
    /// The step has failed.
    Fail,
    /// Nobody waits any more.
    Stopped(Exit),
}

impl Point {
    /// The two programs, each with the file that it makes.
    fn choices(self) -> [(&'static str, &'static str); 2] {
        match self {
            Self::BeforeStep => [
                ("debug-beforestep-continue", "beforestepexit"),
                ("debug-beforestep-fail-continue", "beforestepexit.err"),
            ],
            Self::OnFailure => {
                [("debug-continue", "breakpointexit"), ("debug-fail-continue", "breakpointexit.err")]
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::BeforeStep => "before step",
            Self::OnFailure => "onFailure",
        }
    }
}

/// Says where the step waits and what to do, and waits.
pub(crate) fn wait(
    point: Point,
    breakpoints: &Breakpoints,
    agent: &mut UnixStream,
    signals: &Signals,
) -> Decision {
    let directory = Path::new(&breakpoints.directory);
    let files = match offer(point, directory) {
        Ok(files) => files,
        Err(error) => {
            let shown = directory.display();
            say(&format_args!(
                "ergon: cannot wait at a breakpoint, because `{shown}` cannot be written to: {error}"
            ));
            return Decision::Fail;
        }
    };
    let scripts = directory.join("scripts");
    let [go_on, fail] = point.choices().map(|(name, _)| scripts.join(name));
    say(&format_args!(
        "debug {} breakpoint has taken effect, waiting for user's decision:\n1) continue, use cmd: {}\n2) fail-continue, use cmd: {}",
        point.name(),
        go_on.display(),
        fail.display()
    ));
    loop {
        // Whatever a person started and left comes to us.
        let _ = reap();
        if files[1].exists() {
            return Decision::Fail;
        }
        if files[0].exists() {
            return Decision::Continue;
        }
        let spoke = match signals.wait(Some(agent.as_fd()), Some(Instant::now() + LOOK_AGAIN)) {
            Ok(spoke) => spoke,
            Err(error) => {
                return Decision::Stopped(Exit::Interrupted { message: format!("waiting failed: {error}") });
            }
        };
        while let Some(signal) = signals.next() {
            if matches!(signal, Signal::SIGTERM | Signal::SIGINT) {
                let message = format!("{signal} came from outside");
                return Decision::Stopped(Exit::Interrupted { message });
            }
        }
        if spoke {
            match read_frame::<ToShim>(agent) {
                Ok(Some(ToShim::Stop { reason, .. })) => return Decision::Stopped(stopped(reason)),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => {
                    return Decision::Stopped(Exit::Interrupted { message: "lost the agent".to_owned() });
                }
            }
        }
    }
}

/// Puts the programs in their place; gives the files that they make.
fn offer(point: Point, directory: &Path) -> io::Result<[PathBuf; 2]> {
    let (scripts, info) = (directory.join("scripts"), directory.join("info"));
    std::fs::create_dir_all(&scripts)?;
    std::fs::create_dir_all(&info)?;
    // Who looks may be another user than the step.
    std::fs::set_permissions(&info, Permissions::from_mode(0o777))?;
    for (name, file) in point.choices() {
        let text = format!("#!/bin/sh\nset -e\n: > '{}'\n", info.join(file).display());
        script::write(&text, &scripts.join(name), 0o755)?;
    }
    Ok(point.choices().map(|(_, file)| info.join(file)))
}
