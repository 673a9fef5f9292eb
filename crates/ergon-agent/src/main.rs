//! The agent's program: one per pod, from the plan in its environment to the last report.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use ergon_agent::{End, Reporter, carry_out, from_environment, link_steps, now};
use ergon_engine::coordinate::Event;
use ergon_engine::pod;
use ergon_wire::{PodPlan, PodReport, StopReason, message_limit, paths};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

/// How long the agent of a shared pod may go without hearing the controller.
const LISTENS_AFTER: Duration = Duration::from_secs(3);
/// How long the last report may take. After that the termination messages have to do.
const LAST_REPORT: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    tracing_subscriber::fmt().json().flatten_event(true).with_writer(std::io::stderr).init();
    match carry_out_the_plan() {
        Ok(failed) if failed => ExitCode::from(pod::TASK_FAILED),
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the plan cannot be carried out");
            leave_message(&error.to_string());
            ExitCode::from(pod::AGENT_FAILED)
        }
    }
}

/// Gives whether a task failed. Why is for its steps to tell: the exit code is for those who look at containers alone.
fn carry_out_the_plan() -> Result<bool, Box<dyn std::error::Error>> {
    let plan = from_environment(|name| std::env::var(name).ok())?;
    if let Err(error) = link_steps(&plan, Path::new(paths::STEPS)) {
        tracing::warn!(%error, "the steps' folders cannot be found by their numbers");
    }
    // A second one would know nothing of what the first one did, and run steps again.
    if !is_first(Path::new(paths::RUN))? {
        return Err("this pod's agent ended before its steps did: nothing is started a second time".into());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stay = std::env::args().nth(1).as_deref() == Some(pod::STAY);
    let outcome = runtime.block_on(serve(&plan, stay));
    // A name that is still being looked up must not hold up the end.
    runtime.shutdown_background();
    let End { report, failed } = outcome?;
    let message = serde_json::to_string(&report)?;
    let containers = report.steps.len() + 1;
    if message.len() <= message_limit(containers) {
        leave_message(&message);
    }
    Ok(failed)
}

/// Carries the plan out. `stay`: and then waits until the kubelet ends this container.
async fn serve(plan: &PodPlan, stay: bool) -> Result<End, Box<dyn std::error::Error>> {
    let (events, outside) = mpsc::unbounded_channel();
    let (reports, newest) = watch::channel(PodReport::default());
    let mut terminate = signal(SignalKind::terminate())?;
    let told = events.clone();
    let terminated = tokio::spawn(async move {
        terminate.recv().await;
        let _ = told.send(Event::Stop { reason: StopReason::Interrupted, at: now() });
    });
    let reporter = plan.report.as_ref().and_then(|target| {
        Reporter::new(target, Path::new(paths::TOKEN))
            // Without reports everything still works, later: the steps need not suffer.
            .inspect_err(|error| tracing::error!(%error, "there will be no reports"))
            .ok()
    });
    // Tasks that share a pod are ended one by one: the controller must get a word in.
    let again = plan.pipeline.is_some().then_some(LISTENS_AFTER);
    let reporter = reporter.map(|reporter| tokio::spawn(reporter.run(newest, events, again)));
    let end = carry_out(plan, Path::new(paths::RUN), &reports, outside).await?;
    drop(reports);
    if let Some(reporter) = reporter
        && tokio::time::timeout(LAST_REPORT, reporter).await.is_err()
    {
        tracing::warn!("the last report was not taken: the termination messages have to do");
    }
    if stay {
        terminated.await?;
    }
    Ok(end)
}

/// Whether no agent has been here before, which the folder that only agents see remembers.
fn is_first(run_dir: &Path) -> std::io::Result<bool> {
    match std::fs::File::create_new(run_dir.join("agent.started")) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Leaves a message for the kubelet, where there is one.
fn leave_message(message: &str) {
    let opened = std::fs::OpenOptions::new().write(true).truncate(true).open(paths::TERMINATION_MESSAGE);
    if let Ok(mut file) = opened {
        let _ = std::io::Write::write_all(&mut file, message.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_agent_of_a_pod_serves_it() {
        let run_dir = tempfile::tempdir().unwrap();
        assert!(is_first(run_dir.path()).unwrap());
        assert!(!is_first(run_dir.path()).unwrap());
        assert!(is_first(&run_dir.path().join("none")).is_err());
    }
}
