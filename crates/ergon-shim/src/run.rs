//! One command: made ready, started, watched to its end, and what it left read.

use std::ffi::{OsStr, OsString};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use ergon_wire::{Exit, ExitRecord, FromShim, Millis, RunCommand, StepPlan, write_frame};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::Pid;

use crate::end::{MESSAGE_PATH_VARIABLE, now, unstarted};
use crate::script::Interpreter;
use crate::signals::Signals;
use crate::{expand, processes, program, results, script, supervise};

/// Runs the step's command and records how it ended.
pub(crate) fn run(run: &RunCommand, run_dir: &Path, agent: &mut UnixStream, signals: &Signals) -> ExitRecord {
    let step = &run.step;
    let results_dir = Path::new(&step.results_dir);
    // Both may be volumes that the command's user may not write to; what needs them says so then.
    let _ = std::fs::create_dir_all(results_dir);
    let _ = std::fs::create_dir_all(&step.step_dir);
    let before = results::look(results_dir, &run.results);
    let (child, started_at) = match start(step, run_dir) {
        Ok(started) => started,
        Err(message) => return unstarted(Exit::NotStarted { message }),
    };
    // An agent that is gone is noticed by the watch below.
    let _ = write_frame(agent, &FromShim::Started { at: started_at });
    let (exit, finished_at) = supervise::watch(child, step, agent, signals);
    let (cpu_ms, memory_peak_kib) = processes::usage();
    let (results, results_error) =
        match results::collect(results_dir, &run.results, &before, step.result_limit) {
            Ok(results) => (results, None),
            Err(error) => (Vec::new(), Some(error)),
        };
    ExitRecord {
        exit,
        started_at: Some(started_at),
        finished_at,
        cpu_ms,
        memory_peak_kib,
        results,
        results_error,
    }
}

/// Starts the command in a process group of its own.
///
/// # Errors
/// Why it could not be started: a fragment for people.
fn start(step: &StepPlan, run_dir: &Path) -> Result<(Pid, Millis), String> {
    if let Some(directory) = step.working_dir.as_deref().filter(|directory| !directory.is_empty()) {
        enter(Path::new(directory))?;
    }
    let (argv, role) = command_line(step, run_dir)?;
    let Some((name, args)) = argv.split_first() else {
        return Err("the step has neither a command nor a script".to_owned());
    };
    let file = program::find(name).map_err(|message| match role {
        "" => message,
        _ => format!("the interpreter of the script: {message}"),
    })?;
    let mut command = Command::new(&file);
    command.arg0(name).args(args).env_remove(MESSAGE_PATH_VARIABLE).process_group(0);
    // SAFETY: between fork and exec only sigprocmask(2) and prctl(2) are called, which are async-signal-safe.
    #[expect(unsafe_code, reason = "the command must not inherit that our signals are blocked")]
    unsafe {
        command.pre_exec(|| {
            // Where we are not PID 1, nobody else ends the command of a shim that was killed.
            set_pdeathsig(Signal::SIGKILL)?;
            Ok(SigSet::empty().thread_set_mask()?)
        });
    }
    let child = command.spawn().map_err(|error| program::explain(&file, role, &error))?;
    let started_at = now();
    let pid = i32::try_from(child.id()).map_err(|_| format!("the process number {} is none", child.id()))?;
    Ok((Pid::from_raw(pid), started_at))
}

/// The words to run, and what the first of them is to the user.
fn command_line(step: &StepPlan, run_dir: &Path) -> Result<(Vec<OsString>, &'static str), String> {
    let argv = step.argv.iter().map(|word| expand::expand(word, variable));
    let Some(script) = &step.script else {
        return Ok((argv.collect(), ""));
    };
    let interpreter = Interpreter::of(&script.text)?;
    if let Some(name) = interpreter.through_env().filter(|_| Path::new(&interpreter.program).exists()) {
        // `env` itself would say so in the log alone, and exit with 127.
        program::find(OsStr::new(name))
            .map_err(|message| format!("the interpreter of the script: {message}"))?;
    }
    let path = script::place(&script.text, run_dir)?;
    Ok((script::command_line(&interpreter, &path, argv), ", the interpreter of the script,"))
}

/// A variable of the container. A name that no variable can have is unknown, not an error.
fn variable(name: &str) -> Option<OsString> {
    if name.is_empty() || name.contains(['=', '\0']) { None } else { std::env::var_os(name) }
}

fn enter(directory: &Path) -> Result<(), String> {
    let shown = directory.display();
    if !directory.exists() {
        std::fs::create_dir_all(directory).map_err(|error| {
            format!("the working directory `{shown}` is missing and cannot be made: {error}")
        })?;
    }
    std::env::set_current_dir(directory)
        .map_err(|error| format!("the working directory `{shown}` cannot be entered: {error}"))
}
