//! `ergon replay`: one step of a run again.

use std::time::Duration;

use clap::Args;
use ergon_local::event::{Event, Stream};
use ergon_local::{Stop, kept};
use tokio::sync::{mpsc, watch};

use super::interrupts::Interrupts;
use super::run::home;
use super::runs::of_kept;
use super::shell::StepArgs;
use crate::console::Console;
use crate::failure::{Code, Failure, Result};
use crate::render::{Table, duration};

/// Runs one step of a local run again, alone and with what it was given then.
///
/// Without names: the step that failed the last run that failed. Its container is new; its command, variables and what
/// earlier steps gave it are those of the run; volumes and workspaces are as they are now. Sidecars are not started.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ergon replay                    the step that failed
  ergon replay test/unit          another step of that run
  ergon replay ci test/unit       a step of the newest run of `ci`")]
pub struct ReplayArgs {
    #[command(flatten)]
    step: StepArgs,
}

pub async fn replay(args: ReplayArgs, console: Console) -> Result {
    let home = home()?;
    let (run, step) = args.step.find(&home)?;
    console.say(&format!("step `{}` of run `{}` again", step.name(), run.record.name));
    let (lines, mut inbox) = mpsc::unbounded_channel();
    let (stop, stopped) = watch::channel(Stop::No);
    let mut interrupts = Interrupts::new()?;
    let mut running = std::pin::pin!(kept::replay(&home, &run, &step, lines, stopped));
    let replayed = loop {
        tokio::select! {
            biased;
            _ = interrupts.next() => {
                stop.send_replace(Stop::Now);
            }
            Some(event) = inbox.recv() => print(&event, console)?,
            replayed = &mut running => break replayed,
        }
    };
    while let Ok(event) = inbox.try_recv() {
        print(&event, console)?;
    }
    let replayed = replayed.map_err(of_kept)?;
    for sidecar in &replayed.without {
        console.say(&format!("{sidecar} was not started: a step runs alone here"));
    }
    let exit = &replayed.exit;
    let mut results = Table::new(&["RESULT", "VALUE"]);
    for result in exit.results.iter().chain(&exit.step_results) {
        results.row(vec![result.name.clone(), result.value.trim_end().to_owned()]);
    }
    if !results.is_empty() {
        console.print(&format!("\n{}", results.render(console.out)))?;
    }
    let took = exit.started_at.and_then(|at| u64::try_from(exit.finished_at - at).ok()).unwrap_or(0);
    let took = duration(Duration::from_millis(took));
    if exit.exit.is_success() && exit.results_error.is_none() {
        console.say(&format!("{} in {took}", console.err.green("Succeeded")));
        return Ok(());
    }
    let why = match (&exit.exit, &exit.results_error) {
        (_, Some(error)) => error.clone(),
        (ergon_wire::Exit::Exited { code }, None) => format!("exit code {code}"),
        (other, None) => format!("{other:?}"),
    };
    console.say(&format!("{} after {took}: {why}", console.err.red("Failed")));
    Err(Failure::silent(Code::RunFailed))
}

fn print(event: &Event, console: Console) -> Result {
    match event {
        Event::Line { stream: Stream::Stdout, text, .. } => console.line(text),
        Event::Line { stream: Stream::Stderr, text, .. } => {
            console.say(text);
            Ok(())
        }
        _ => Ok(()),
    }
}
