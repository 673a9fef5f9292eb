//! Each step's entrypoint: waits for the agent, runs the command, reports the outcome.
//!
//! It is in every step of every pod, in whatever image the step has: one static file, one thread (and one for each
//! output that is kept in a file), no runtime. It decides nothing about its task: it is told once what to run, and says how that ended.

mod company;
mod credentials;
mod debug;
mod end;
mod expand;
mod install;
mod mask;
mod network;
mod processes;
mod program;
mod results;
mod run;
mod script;
mod signals;
mod supervise;
mod tee;
mod turn;

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use ergon_wire::{Exit, paths};

use crate::company::Origin;
use crate::processes::Usage;
use crate::signals::Signals;
use crate::turn::Turn;

const USAGE: &str = "\
usage: ergon-shim [--run-dir DIR] [-- ARG…]      wait for the agent's socket in DIR, run what it says
       ergon-shim --install DIR                  copy this program into DIR
       ergon-shim --script-from VARIABLE [ARG…]  run the script in an environment variable, with no agent
       ergon-shim --version | --help";

/// Wrong arguments, as shells have it.
const USAGE_CODE: u8 = 2;

/// The whole program, with the arguments of this process.
pub fn main() -> ExitCode {
    run(std::env::args_os().skip(1))
}

/// The whole program, with arguments that do not start with its name.
///
/// It blocks signals, reaps whatever child of this process ends and may change its directory: a program that has
/// this built in must call it first, with one thread, and end with the code that it gives.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut args = args.into_iter();
    let first = args.next();
    let mut value = |option: &str| args.next().ok_or_else(|| format!("`{option}` needs a value"));
    let job = match first.as_deref().map(OsStr::as_encoded_bytes) {
        // What is behind `--` is for those who read the pod: what runs comes from the agent.
        None | Some(b"--") => Ok(Job::Step { run_dir: PathBuf::from(paths::RUN) }),
        Some(b"--run-dir") => value("--run-dir").map(|run_dir| Job::Step { run_dir: run_dir.into() }),
        Some(b"--install") => value("--install").map(|dir| Job::Install { dir: dir.into() }),
        Some(b"--script-from") => value("--script-from").map(|variable| Job::Script { variable }),
        Some(b"--version" | b"-V") => Ok(Job::Say(concat!("ergon-shim ", env!("CARGO_PKG_VERSION")))),
        Some(b"--help" | b"-h") => Ok(Job::Say(USAGE)),
        Some(other) => Err(format!("`{}` is no option", String::from_utf8_lossy(other))),
    };
    match job {
        Ok(Job::Step { run_dir }) => step(run_dir),
        Ok(Job::Install { dir }) => install::install(&dir),
        Ok(Job::Script { variable }) => install::exec_script(&variable, args),
        Ok(Job::Say(text)) => {
            let _ = writeln!(std::io::stdout(), "{text}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            say(&format_args!("ergon-shim: {problem}\n{USAGE}"));
            ExitCode::from(USAGE_CODE)
        }
    }
}

enum Job {
    Step { run_dir: PathBuf },
    Install { dir: PathBuf },
    Script { variable: OsString },
    Say(&'static str),
}

/// The steps of one container, mostly one: each from waiting for its turn to its end. Gives the exit code of the first
/// that failed.
fn step(run_dir: PathBuf) -> ExitCode {
    // Absolute, because the step's working directory may become ours.
    let run_dir = std::path::absolute(&run_dir).unwrap_or(run_dir);
    let signals = match Signals::block().and_then(|signals| processes::adopt_orphans().map(|()| signals)) {
        Ok(signals) => signals,
        Err(error) => {
            let message = format!("the step's signals cannot be set up: {error}");
            return end::unsent(Exit::NotStarted { message });
        }
    };
    let mut agent = match turn::connect(&run_dir, &signals) {
        Ok(agent) => agent,
        Err(exit) => return end::unsent(exit),
    };
    let origin = Origin::here();
    let mut code = 0;
    loop {
        let (record, step, company) = match turn::next(&mut agent, &signals) {
            Turn::Run(command) => {
                let ready = command.company.iter().try_for_each(|it| origin.restore(&command.step, it));
                let record = match ready {
                    Ok(()) => run::run(&command, &run_dir, &mut agent, &signals, Usage::so_far()),
                    Err(message) => end::unstarted(Exit::NotStarted { message }),
                };
                (record, Some(command.step), command.company)
            }
            Turn::Never { exit, step, company } => (end::unstarted(exit), step.map(|step| *step), company),
        };
        // Who was interrupted has no agent any more, or is to end.
        let goes_on = company.as_ref().is_some_and(|company| company.more)
            && !matches!(record.exit, Exit::Interrupted { .. });
        let own = end::report(record, step.as_ref(), company.is_some(), Some(&mut agent));
        code = if code == 0 { own } else { code };
        if !goes_on {
            return ExitCode::from(code);
        }
    }
}

/// Writes a line for people into the step's log; a log that cannot be written to is no reason to fail.
fn say(line: &std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
