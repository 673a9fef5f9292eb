//! The end of a step, told to everyone who asks: the next steps, the kubelet, the agent, and the exit code.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use ergon_wire::{
    Exit, ExitRecord, FromShim, Millis, OnError, StepPlan, TerminationMessage, paths, write_frame,
};

use crate::say;

/// Names another file for the termination message: local runs have no kubelet, and tests no container.
pub(crate) const MESSAGE_PATH_VARIABLE: &str = "ERGON_TERMINATION_MESSAGE";
/// Bytes of a termination message, where no plan says how many the step may have.
const MESSAGE_LIMIT: usize = 1024;

/// Leaves the record in all its places and gives the step's exit code. `in_company`: others run in the same container.
///
/// The agent comes last: with its word the next step starts, which may read what the others left.
pub(crate) fn report(
    record: ExitRecord,
    step: Option<&StepPlan>,
    in_company: bool,
    agent: Option<&mut UnixStream>,
) -> u8 {
    let is_sidecar = step.is_some_and(|step| step.is_sidecar);
    explain(&record, if is_sidecar { "sidecar" } else { "step" });
    let code = exit_code(&record, step);
    let told = record.started_at.is_some() || record.exit == Exit::WhenFalse;
    if let Some(step) = step.filter(|_| told && !is_sidecar) {
        let _ = std::fs::create_dir_all(&step.step_dir);
        // Best effort: a later step may read it, this one may not be allowed to write it.
        let _ = std::fs::write(Path::new(&step.step_dir).join("exitCode"), record.exit.code().to_string());
    }
    if is_sidecar {
        leave_reason(&record);
    } else {
        let limit = step.map_or(MESSAGE_LIMIT, |step| step.message_limit);
        let name = step.filter(|_| in_company).map(|step| step.container.as_str());
        write_message(&TerminationMessage::encode(&record, name, limit), in_company);
    }
    if let Some(agent) = agent {
        // An agent that is gone has the termination message as its stand-in.
        let _ = write_frame(agent, &FromShim::Ended { record });
    }
    code
}

/// The same for a step that never had an agent.
pub(crate) fn unsent(exit: Exit) -> ExitCode {
    ExitCode::from(report(unstarted(exit), None, false, None))
}

/// The record of a step whose command never ran.
pub(crate) fn unstarted(exit: Exit) -> ExitRecord {
    ExitRecord::bare(exit, None, now())
}

/// Milliseconds since the epoch.
pub(crate) fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
}

/// The command's own code, but 0 where its failure is forgiven, and never 0 where the step failed.
fn exit_code(record: &ExitRecord, step: Option<&StepPlan>) -> u8 {
    let forgiven = step.is_some_and(|step| step.on_error == OnError::Continue);
    match &record.exit {
        Exit::Exited { .. } if record.results_error.is_some() => {
            u8::try_from(record.exit.code()).ok().filter(|code| *code != 0).unwrap_or(1)
        }
        Exit::Exited { .. } if forgiven => 0,
        // It came too late for its task: that is no failure of the sidecar.
        Exit::Skipped if step.is_some_and(|step| step.is_sidecar) => 0,
        exit => u8::try_from(exit.code()).unwrap_or(u8::MAX),
    }
}

/// What the log cannot say itself: the command did not see it.
fn explain(record: &ExitRecord, what: &str) {
    match &record.exit {
        Exit::NotStarted { message } => {
            say(&format_args!("ergon: the {what} could not be started: {message}"));
        }
        Exit::Interrupted { message } => say(&format_args!("ergon: the {what} was interrupted: {message}")),
        Exit::TimedOut => say(&format_args!("ergon: the step's time was up")),
        Exit::Cancelled => say(&format_args!("ergon: the {what} was cancelled")),
        Exit::WhenFalse => {
            say(&format_args!("ergon: the step was skipped: a condition of its `when` does not hold"));
        }
        Exit::Exited { .. } | Exit::Signaled { .. } | Exit::Skipped => {}
    }
    if let Some(error) = &record.results_error {
        say(&format_args!("ergon: {error}"));
    }
}

/// A sidecar's last words are its own; but one that never ran has none.
fn leave_reason(record: &ExitRecord) {
    if let Exit::NotStarted { message } = &record.exit {
        write_message(message, false);
    }
}

/// `one_more`: as a line after those that are there.
fn write_message(message: &str, one_more: bool) {
    let named = std::env::var_os(MESSAGE_PATH_VARIABLE).map(PathBuf::from);
    // The kubelet's own file is there or not; made by us, it would be a stray file in the image.
    let create = named.is_some();
    let path = named.unwrap_or_else(|| PathBuf::from(paths::TERMINATION_MESSAGE));
    let mut options = OpenOptions::new();
    options.write(true).append(one_more).truncate(!one_more).create(create);
    let end = if one_more { "\n" } else { "" };
    match options.open(&path).and_then(|mut file| file.write_all(format!("{message}{end}").as_bytes())) {
        Err(error) if create || error.kind() != std::io::ErrorKind::NotFound => {
            say(&format_args!(
                "ergon: the termination message cannot be written to `{}`: {error}",
                path.display()
            ));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(on_error: OnError) -> StepPlan {
        StepPlan { container: "step-a".to_owned(), on_error, ..Default::default() }
    }

    #[test]
    fn exit_codes_are_what_a_shell_would_have() {
        let interrupted = || Exit::Interrupted { message: String::new() };
        for (exit, results_error, on_error, expected) in [
            (Exit::Exited { code: 0 }, false, OnError::StopAndFail, 0),
            (Exit::Exited { code: 3 }, false, OnError::StopAndFail, 3),
            (Exit::Exited { code: 3 }, false, OnError::Continue, 0),
            (Exit::Exited { code: 0 }, true, OnError::StopAndFail, 1),
            (Exit::Exited { code: 3 }, true, OnError::Continue, 3),
            (Exit::Signaled { signal: 9 }, false, OnError::Continue, 137),
            (Exit::TimedOut, false, OnError::Continue, 1),
            (Exit::Cancelled, false, OnError::StopAndFail, 143),
            (Exit::Skipped, false, OnError::StopAndFail, 1),
            (Exit::WhenFalse, false, OnError::StopAndFail, 0),
            (Exit::NotStarted { message: String::new() }, false, OnError::Continue, 127),
            (interrupted(), false, OnError::Continue, 143),
        ] {
            let record = ExitRecord { results_error: results_error.then(String::new), ..unstarted(exit) };
            assert_eq!(exit_code(&record, Some(&step(on_error))), expected, "{record:?}");
        }
    }
}
