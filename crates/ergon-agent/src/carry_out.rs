//! The agent's one loop: what shims say goes into the engine's state, and its commands go out to shims.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use ergon_engine::coordinate::{Command, Event, PodState, StepId};
use ergon_wire::{FromShim, PodPlan, PodReport, StepState, ToShim};
use tokio::net::unix::OwnedReadHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::socket::{self, SocketError};
use crate::{frame, now};

/// How long a connection may take to say hello.
const HELLO_LIMIT: Duration = Duration::from_secs(10);
/// The pause after a connection that could not be accepted, such as for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How a pod's tasks ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// The last report.
    pub report: PodReport,
    /// Whether a task failed, or was stopped.
    pub failed: bool,
}

/// Carries out a plan until every step and sidecar has ended and every shim knows.
///
/// Each one's shim is expected at `run_dir/<container>/agent.sock`. `reports` always holds the newest state.
/// `events` is what the shell knows from elsewhere: that the pod is to stop, or that a container could not even
/// start (as [`Event::Ended`]).
pub async fn carry_out(
    plan: &PodPlan,
    run_dir: &Path,
    reports: &watch::Sender<PodReport>,
    mut events: mpsc::UnboundedReceiver<Event>,
) -> Result<End, CarryOutError> {
    let mut state = PodState::new(plan).map_err(CarryOutError::Part)?;
    let (seen, mut next) = mpsc::unbounded_channel();
    let mut shell = Shell { seen, links: BTreeMap::new(), tasks: JoinSet::new() };
    for (at_task, task) in plan.tasks.iter().enumerate() {
        for (at_step, step) in task.parts().enumerate() {
            let listener = socket::listen(run_dir, &step.container).await?;
            let id = StepId { task: at_task, step: at_step };
            shell.tasks.spawn(accept(listener, id, shell.seen.clone()));
        }
    }
    let mut events_open = true;
    while !state.is_finished() {
        let seen = tokio::select! {
            seen = next.recv() => seen,
            event = events.recv(), if events_open => {
                events_open = event.is_some();
                event.map(Seen::Event)
            }
        };
        let (event, stream) = match seen {
            Some(Seen::Connection { id, stream }) => (Event::Connected { id }, Some(stream)),
            Some(Seen::Event(event)) => (event, None),
            None => continue,
        };
        log(plan, &event);
        let accepted = stream.map(|stream| (event.clone(), stream));
        let commands = state.handle(event);
        let refused = matches!(commands.first(), Some(Command::Refuse { .. }));
        // A stream that is dropped here is closed: that is how one is refused.
        if let Some((Event::Connected { id }, stream)) = accepted.filter(|_| !refused) {
            shell.take(id, stream);
        }
        for command in commands {
            match command {
                Command::Run { id, command } => shell.tell(id, ToShim::Run(command)),
                Command::Skip { id, exit } => {
                    let step = plan.tasks.get(id.task).and_then(|task| task.part(id.step));
                    let step = Box::new(step.cloned().unwrap_or_default());
                    shell.tell(id, ToShim::Skip { step, exit });
                }
                Command::Stop { id, reason, grace_ms } => shell.tell(id, ToShim::Stop { reason, grace_ms }),
                Command::Report => {
                    reports.send_replace(state.report());
                }
                Command::Refuse { .. } | Command::Finished => {}
            }
        }
        // Ended tasks give nothing that was not said; they are only cleared away.
        while shell.tasks.try_join_next().is_some() {}
    }
    Ok(End { report: state.report(), failed: state.has_failed() })
}

/// A plan that cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub enum CarryOutError {
    #[error(transparent)]
    Socket(#[from] SocketError),
    #[error("the plan's part of a pipeline run cannot be read: {0}")]
    Part(#[source] serde_json::Error),
}

/// What the loop waits for.
enum Seen {
    Connection { id: StepId, stream: UnixStream },
    Event(Event),
}

struct Shell {
    seen: mpsc::UnboundedSender<Seen>,
    /// To each connected shim.
    links: BTreeMap<StepId, mpsc::UnboundedSender<ToShim>>,
    /// Everything that reads or writes; ends with the shell.
    tasks: JoinSet<()>,
}

impl Shell {
    fn take(&mut self, id: StepId, stream: UnixStream) {
        let (reader, mut writer) = stream.into_split();
        let (link, mut messages) = mpsc::unbounded_channel::<ToShim>();
        self.links.insert(id, link);
        self.tasks.spawn(listen(reader, id, self.seen.clone()));
        // Writing is apart from the loop: a shim that is slow to read holds nobody up.
        self.tasks.spawn(async move {
            while let Some(message) = messages.recv().await {
                // A connection that broke is noticed by who reads from it.
                if frame::write(&mut writer, &message).await.is_err() {
                    return;
                }
            }
        });
    }

    fn tell(&self, id: StepId, message: ToShim) {
        // A link that is gone has been, or will be, seen as lost.
        let _ = self.links.get(&id).map(|link| link.send(message));
    }
}

/// Takes connections of one step or sidecar. The engine decides on each; a second one is refused, not left waiting.
async fn accept(listener: UnixListener, id: StepId, seen: mpsc::UnboundedSender<Seen>) {
    loop {
        let mut stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let hello = tokio::time::timeout(HELLO_LIMIT, frame::read(&mut stream)).await;
        if !matches!(hello, Ok(Ok(Some(FromShim::Hello)))) {
            tracing::warn!("a connection did not say hello and is closed");
            continue;
        }
        if seen.send(Seen::Connection { id, stream }).is_err() {
            return;
        }
    }
}

/// Hears one shim to its end.
async fn listen(mut reader: OwnedReadHalf, id: StepId, seen: mpsc::UnboundedSender<Seen>) {
    loop {
        let event = match frame::read(&mut reader).await {
            Ok(Some(FromShim::Hello)) => continue,
            Ok(Some(FromShim::Started { at })) => Event::Started { id, at },
            Ok(Some(FromShim::Ended { record })) => Event::Ended { id, record },
            Ok(None) => Event::Lost { id, at: now() },
            Err(error) => {
                tracing::warn!(%error, "the connection to a shim broke");
                Event::Lost { id, at: now() }
            }
        };
        let last = !matches!(event, Event::Started { .. });
        if seen.send(Seen::Event(event)).is_err() || last {
            return;
        }
    }
}

/// One line for each thing that happens, for whoever reads the agent's log.
fn log(plan: &PodPlan, event: &Event) {
    let container = |id: &StepId| {
        plan.tasks.get(id.task).and_then(|task| task.part(id.step)).map_or("", |step| step.container.as_str())
    };
    match event {
        Event::Connected { id } => tracing::debug!(container = container(id), "connected"),
        Event::Started { id, .. } => tracing::info!(container = container(id), "started"),
        Event::Ended { id, record } => {
            tracing::info!(container = container(id), exit = ?record.exit, "ended");
        }
        Event::Lost { id, .. } => tracing::warn!(container = container(id), "lost"),
        Event::StopTask { task, .. } => tracing::info!(task, "told to stop a task"),
        Event::Halt { .. } => tracing::debug!("told to start no other task"),
        Event::Stop { reason, .. } => tracing::info!(?reason, "told to stop"),
    }
}

/// How many of the steps in a report have ended.
pub(crate) fn ended(report: &PodReport) -> usize {
    report.steps.iter().filter(|step| matches!(step.state, StepState::Ended { .. })).count()
}
