//! Showing a run's logs, and telling how it ended.

use ergon_client::{Ergon, LogEvent, LogOptions, Phase, Run};
use futures::TryStreamExt;

use crate::console::Console;
use crate::failure::{Code, Failure, Result};
use crate::render::{LogPainter, took};

/// Shows the logs. When they are followed it says how the run ended, and Ctrl-C leaves the run to itself.
///
/// # Errors
/// [`Code::RunFailed`] when the run was followed and did not succeed.
pub async fn show(
    ergon: &Ergon,
    run: &Run,
    options: LogOptions,
    timestamps: bool,
    console: Console,
) -> Result {
    let follow = options.follow;
    let reference = run.reference();
    let mut painter = LogPainter::new(console.out, timestamps);
    let mut logs = ergon.logs(&reference, options);
    let ended = loop {
        let event = tokio::select! {
            event = logs.try_next() => event?,
            // An error means that there are no signals to wait for here.
            Ok(()) = tokio::signal::ctrl_c() => {
                detach(run, follow, console);
                return Ok(());
            }
        };
        match event {
            Some(LogEvent::Line(line)) => {
                console.line(&painter.line(&line.task, &line.step, line.time, &line.text))?;
            }
            Some(LogEvent::Note(note)) => {
                let step = note.step.map_or_else(String::new, |step| format!(" | {step}"));
                console.say(&console.err.dim(&format!("{}{step}: {}", note.task, note.message)));
            }
            Some(LogEvent::Ended(run)) => break run,
            None => return Ok(()),
        }
    };
    if follow { outcome(&ended, console) } else { Ok(()) }
}

/// Says how a run ended.
///
/// # Errors
/// [`Code::RunFailed`] when it did not succeed.
pub fn outcome(run: &Run, console: Console) -> Result {
    let took = took(run.started_at(), run.ended_at(), console.now());
    let phase = console.err.phase(run.phase());
    let condition = run.condition();
    let message = condition.map(ergon_api::Condition::message).filter(|message| !message.is_empty());
    let message = message.map_or_else(String::new, |message| format!(": {message}"));
    console.say(&format!("{} `{}` {phase} after {took}{message}", run.kind(), run.name()));
    if run.phase() == Phase::Succeeded {
        return Ok(());
    }
    console.hint(&format!(
        "`ergon describe {}/{} -n {}` shows why",
        run.kind().singular(),
        run.name(),
        run.namespace()
    ));
    Err(Failure::silent(Code::RunFailed))
}

fn detach(run: &Run, follow: bool, console: Console) {
    if follow {
        let name = format!("{}/{} -n {}", run.kind().singular(), run.name(), run.namespace());
        console.say(&format!("\ndetached; `{}` goes on", run.name()));
        console.hint(&format!("`ergon logs -f {name}` shows it again, `ergon cancel {name}` ends it"));
    }
}
