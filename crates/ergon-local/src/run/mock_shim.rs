//! A step that is not carried out, in a task whose other steps are: it speaks to the agent as its shim would.

use std::io;
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
    let message = match talk(&run_dir.join(paths::SOCKET), said, print) {
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

fn talk(socket: &Path, said: &Said, print: impl Fn(&str)) -> io::Result<ExitRecord> {
    let mut agent = connect(socket)?;
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

fn connect(socket: &Path) -> io::Result<UnixStream> {
    let mut looks = 0;
    loop {
        match UnixStream::connect(socket) {
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
