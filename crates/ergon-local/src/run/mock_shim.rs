//! A step that is not carried out, in a task whose other steps are: it speaks to the agent as its shim would.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use ergon_agent::now;
use ergon_wire::{
    ExitRecord, FromShim, StopReason, TerminationMessage, ToShim, message_limit, paths, read_frame,
    write_frame,
};
use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated};

use super::mock::{end_of, stopped};
use crate::test::Said;

/// How often, and how many times, it looks for the agent's socket: the agent makes it at the same time.
const LOOK_AGAIN: Duration = Duration::from_millis(2);
const LOOKS: usize = 5000;

/// Plays the step to its end, on a thread that may wait. `print` gets each line.
pub(super) fn play(run_dir: &Path, said: &Said, print: impl Fn(&str)) -> ContainerState {
    let message = match talk(run_dir, said, print) {
        Ok(record) => Ok((record.exit.code(), TerminationMessage::encode(&record, None, message_limit(1)))),
        Err(error) => Err(error.to_string()),
    };
    let (exit_code, reason, message) = match message {
        Ok((0, message)) => (0, "Completed".to_owned(), Some(message)),
        Ok((code, message)) => (code, "Error".to_owned(), Some(message)),
        Err(error) => (255, error, None),
    };
    let terminated =
        ContainerStateTerminated { exit_code, reason: Some(reason), message, ..Default::default() };
    ContainerState { terminated: Some(terminated), ..Default::default() }
}

fn talk(run_dir: &Path, said: &Said, print: impl Fn(&str)) -> io::Result<ExitRecord> {
    let mut agent = connect(run_dir)?;
    write_frame(&mut agent, &FromShim::Hello)?;
    let record = match read_frame::<ToShim>(&mut agent)? {
        Some(ToShim::Run(command)) => {
            let started = now();
            write_frame(&mut agent, &FromShim::Started { at: started })?;
            said.log.lines().for_each(print);
            let (end, planned) = end_of(said, &command.step, &command.results, started);
            match told_to_stop(&mut agent, end - started)? {
                Some(reason) => ExitRecord::bare(stopped(reason), Some(started), now()),
                None => planned,
            }
        }
        Some(ToShim::Skip { exit, .. }) => ExitRecord::bare(exit, None, now()),
        Some(ToShim::Stop { reason, .. }) => ExitRecord::bare(stopped(reason), None, now()),
        None => return Err(io::ErrorKind::UnexpectedEof.into()),
    };
    write_frame(&mut agent, &FromShim::Ended { record: record.clone() })?;
    Ok(record)
}

/// Lets so many milliseconds pass, unless it is told to stop.
fn told_to_stop(agent: &mut UnixStream, millis: i64) -> io::Result<Option<StopReason>> {
    let Some(pause) = u64::try_from(millis).ok().filter(|millis| *millis > 0) else { return Ok(None) };
    agent.set_read_timeout(Some(Duration::from_millis(pause)))?;
    match read_frame::<ToShim>(agent) {
        Ok(Some(ToShim::Stop { reason, .. })) => Ok(Some(reason)),
        Ok(_) => Err(io::ErrorKind::UnexpectedEof.into()),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => Ok(None),
        Err(error) => Err(error),
    }
}

fn connect(run_dir: &Path) -> io::Result<UnixStream> {
    let once = || {
        // By the folder's number: its path may be longer than a socket's may be.
        let folder = File::open(run_dir)?;
        UnixStream::connect(format!("/proc/self/fd/{}/{}", folder.as_raw_fd(), paths::SOCKET))
    };
    let mut looks = 0;
    loop {
        match once() {
            Err(error)
                if looks < LOOKS
                    && matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) =>
            {
                looks += 1;
                std::thread::sleep(LOOK_AGAIN);
            }
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use ergon_wire::{PLAN_VERSION, PodPlan, PodReport, StepPlan, StepState, TaskPlan};
    use tokio::sync::{mpsc, watch};

    use super::*;

    #[tokio::test]
    async fn a_step_is_played_however_deep_its_folder_is() {
        let temp = tempfile::tempdir().unwrap();
        let deep = temp.path().join("x".repeat(120));
        let step = StepPlan { container: "step-a".to_owned(), message_limit: 4096, ..StepPlan::default() };
        let task = TaskPlan { steps: vec![step], ..TaskPlan::default() };
        let plan = PodPlan { version: PLAN_VERSION, tasks: vec![task], ..PodPlan::default() };
        let run_dir = deep.join("step-a");
        let played = tokio::task::spawn_blocking(move || {
            let mut lines = std::sync::Mutex::new(Vec::new());
            let said = Said { log: "one\ntwo".to_owned(), ..Said::default() };
            let state = play(&run_dir, &said, |line| lines.lock().unwrap().push(line.to_owned()));
            (state, std::mem::take(lines.get_mut().unwrap()))
        });
        let (reports, _) = watch::channel(PodReport::default());
        let (_events, inbox) = mpsc::unbounded_channel();
        let end = ergon_agent::carry_out(&plan, &deep, &reports, inbox).await.unwrap();
        assert!(!end.failed && matches!(end.report.steps[0].state, StepState::Ended { .. }));
        let (state, lines) = played.await.unwrap();
        let terminated = state.terminated.unwrap();
        assert_eq!((terminated.exit_code, terminated.reason.as_deref()), (0, Some("Completed")));
        assert_eq!(lines, ["one", "two"]);
    }
}
