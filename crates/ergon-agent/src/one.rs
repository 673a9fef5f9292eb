//! One step alone, when it is known already what it is to run: what a step that is run again needs of an agent.

use std::io;
use std::path::Path;

use ergon_wire::{Exit, ExitRecord, FromShim, RunCommand, StopReason, ToShim};
use tokio::sync::mpsc;

use crate::carry_out::CarryOutError;
use crate::{frame, now, socket};

/// Tells the shim at `run_dir/<container>/agent.sock` to run a command, and gives its end.
///
/// `stops`: why the command is to end before its time.
///
/// # Errors
/// Its socket cannot be made.
pub async fn carry_out_one(
    run_dir: &Path,
    command: RunCommand,
    mut stops: mpsc::UnboundedReceiver<StopReason>,
) -> Result<ExitRecord, CarryOutError> {
    let listener = socket::listen(run_dir, command.step.place()).await?;
    let talk = async {
        let (mut stream, _) = listener.accept().await?;
        if frame::read::<FromShim>(&mut stream).await? != Some(FromShim::Hello) {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        let grace_ms = command.step.grace_ms;
        let (mut reader, mut writer) = stream.into_split();
        frame::write(&mut writer, &ToShim::Run(Box::new(command))).await?;
        let stop = async {
            while let Some(reason) = stops.recv().await {
                let _ = frame::write(&mut writer, &ToShim::Stop { reason, grace_ms }).await;
            }
            std::future::pending::<()>().await;
        };
        let end = async {
            loop {
                match frame::read(&mut reader).await? {
                    Some(FromShim::Ended { record }) => return Ok(record),
                    Some(FromShim::Hello | FromShim::Started { .. }) => {}
                    None => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
                }
            }
        };
        tokio::select! {
            end = end => end,
            () = stop => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
        }
    };
    Ok(talk.await.unwrap_or_else(|error| {
        let message = format!("its container ended before the end of its command was reported: {error}");
        ExitRecord::bare(Exit::Interrupted { message }, None, now())
    }))
}
