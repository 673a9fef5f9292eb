//! One step again, with what it was given.

use std::path::Path;

use ergon_wire::{Exit, ExitRecord, PodPlan, StopReason};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::enter::{command_of, hold, run_dir};
use super::{KeptError, KeptRun, KeptStep};
use crate::container::Runtime;
use crate::event::{Event, Stream};
use crate::run::{Stop, record};

/// A step that was run again.
#[derive(Debug)]
pub struct Replayed {
    pub exit: ExitRecord,
    /// What ran beside the step then, and does not now.
    pub without: Vec<String>,
}

/// Runs a step again: its image anew, its command, variables and folders, and what earlier steps gave it then. What its task
/// has in volumes and workspaces is as it is now.
///
/// # Errors
/// What it needs of the run is gone, or its container cannot be started.
pub async fn replay(
    home: &Path,
    run: &KeptRun,
    step: &KeptStep,
    lines: mpsc::UnboundedSender<Event>,
    mut stop: watch::Receiver<Stop>,
) -> Result<Replayed, KeptError> {
    let (mut spec, _held) = hold(home, run, step)?;
    let command = command_of(run, step)?;
    spec.id = format!("replay-{}-{}", std::process::id(), step.container);
    let run_dir = run_dir(run, step);
    let (stops, stopping) = mpsc::unbounded_channel();
    let agent = tokio::spawn(async move { ergon_agent::carry_out_one(&run_dir, command, stopping).await });
    let runtime = Runtime::open(home.join("containers"))?;
    let mut container = runtime.start(&spec).await.inspect_err(|_| agent.abort())?;
    let mut readers = Vec::new();
    if let Some(stdout) = container.stdout.take() {
        readers.push(follow(stdout, step, Stream::Stdout, lines.clone()));
    }
    if let Some(stderr) = container.stderr.take() {
        readers.push(follow(stderr, step, Stream::Stderr, lines));
    }
    let mut stopped = false;
    let ended = loop {
        tokio::select! {
            ended = container.wait() => break ended,
            wanted = stop.wait_for(|wanted| *wanted > Stop::No), if !stopped => {
                stopped = true;
                if wanted.is_ok() {
                    let _ = stops.send(StopReason::Cancelled);
                }
            }
        }
    };
    container.delete().await?;
    for reader in readers {
        let _ = reader.await;
    }
    // A shim that never came would be waited for for ever.
    let exit = if let Ok(Ok(exit)) = tokio::time::timeout(std::time::Duration::from_secs(1), agent).await {
        exit.map_err(|error| KeptError::Replay(error.to_string()))?
    } else {
        let message = format!("its container ended with {}", ended?.code);
        ExitRecord::bare(Exit::Interrupted { message }, None, ergon_agent::now())
    };
    let plan: Option<PodPlan> = record::read(&record::pod_dir(&run.folder, &step.pod).join("plan.json"));
    let sidecars = plan.into_iter().flat_map(|plan| plan.tasks).flat_map(|task| task.sidecars);
    Ok(Replayed { exit, without: sidecars.map(|sidecar| sidecar.container).collect() })
}

fn follow(
    output: impl AsyncRead + Unpin + Send + 'static,
    step: &KeptStep,
    stream: Stream,
    lines: mpsc::UnboundedSender<Event>,
) -> JoinHandle<()> {
    let (task, step) = (step.task.clone(), step.step.clone());
    tokio::spawn(async move {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while let Ok(1..) = output.read_until(b'\n', &mut line).await {
            let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(&line)).into_owned();
            let _ = lines.send(Event::Line { task: task.clone(), step: step.clone(), stream, text });
            line.clear();
        }
    })
}
