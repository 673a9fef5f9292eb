//! The agent's one loop: what shims say goes into the engine's state, and its commands go out to shims.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use ergon_engine::coordinate::{Command, Event, PodState, StepId};
use ergon_wire::{Company, FromShim, PodPlan, PodReport, StepState, ToShim};
use tokio::net::unix::OwnedReadHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::socket::{self, SocketError};
use crate::{frame, links, now};

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
    let containers = Containers::of(plan);
    let mut shell = Shell { seen, containers, links: BTreeMap::new(), tasks: JoinSet::new() };
    for (name, steps) in &shell.containers.steps {
        let listener = socket::listen(run_dir, name).await?;
        if let Some(first) = steps.first() {
            shell.tasks.spawn(accept(listener, *first, shell.seen.clone()));
        }
    }
    if state.report().waits_for.is_some() {
        reports.send_replace(state.report());
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
                Command::Run { id, mut command } => {
                    command.company = shell.containers.company(plan, id, true);
                    if command.company.as_ref().is_some_and(|company| company.fresh)
                        && let Some(task) = plan.tasks.get(id.task)
                        && let Err(error) = links::link_again(task, &links::folder(plan, task))
                    {
                        tracing::warn!(%error, "the steps' folders cannot be found by their numbers");
                    }
                    shell.tell(id, ToShim::Run(command));
                }
                Command::Skip { id, exit } => {
                    let step = plan.tasks.get(id.task).and_then(|task| task.part(id.step));
                    let step = Box::new(step.cloned().unwrap_or_default());
                    let company = shell.containers.company(plan, id, false);
                    shell.tell(id, ToShim::Skip { step, exit, company });
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

/// Which steps run in which container, one after another.
struct Containers {
    /// By the container's name, in their order.
    steps: BTreeMap<String, Vec<StepId>>,
    of: BTreeMap<StepId, String>,
    /// The task, or the try of it, that ran last in a container that several steps have.
    last_task: BTreeMap<String, usize>,
}

impl Containers {
    fn of(plan: &PodPlan) -> Self {
        let mut containers = Self { steps: BTreeMap::new(), of: BTreeMap::new(), last_task: BTreeMap::new() };
        for (at_task, task) in plan.tasks.iter().enumerate() {
            for (at_step, step) in task.parts().enumerate() {
                let id = StepId { task: at_task, step: at_step };
                containers.steps.entry(step.place().to_owned()).or_default().push(id);
                containers.of.insert(id, step.place().to_owned());
            }
        }
        containers
    }

    /// All steps of a step's container.
    fn together(&self, id: StepId) -> &[StepId] {
        self.of.get(&id).and_then(|name| self.steps.get(name)).map(Vec::as_slice).unwrap_or_default()
    }

    /// What a step's shim must know of the others; none where it is alone. `runs`: it is about to run.
    fn company(&mut self, plan: &PodPlan, id: StepId, runs: bool) -> Option<Box<Company>> {
        let steps = self.together(id);
        if steps.len() < 2 {
            return None;
        }
        let more = steps.last() != Some(&id);
        let name = self.of.get(&id)?;
        let before = if runs {
            self.last_task.insert(name.clone(), id.task)
        } else {
            self.last_task.get(name).copied()
        };
        let task = plan.tasks.get(id.task)?;
        let step = task.part(id.step)?;
        let own = Path::new(&step.step_dir).file_name().and_then(|name| name.to_str()).unwrap_or_default();
        Some(Box::new(Company {
            more,
            fresh: before.is_some_and(|before| before != id.task),
            title: Company::title(&task.try_name(), own.strip_prefix("step-").unwrap_or(own)),
        }))
    }
}

struct Shell {
    seen: mpsc::UnboundedSender<Seen>,
    containers: Containers,
    /// To the shim of each container, by the first of its steps.
    links: BTreeMap<StepId, mpsc::UnboundedSender<ToShim>>,
    /// Everything that reads or writes; ends with the shell.
    tasks: JoinSet<()>,
}

impl Shell {
    fn take(&mut self, id: StepId, stream: UnixStream) {
        let (reader, mut writer) = stream.into_split();
        let (link, mut messages) = mpsc::unbounded_channel::<ToShim>();
        self.links.insert(id, link);
        self.tasks.spawn(listen(reader, self.containers.together(id).to_vec(), self.seen.clone()));
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
        let link = self.containers.together(id).first().and_then(|first| self.links.get(first));
        // A link that is gone has been, or will be, seen as lost.
        let _ = link.map(|link| link.send(message));
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

/// Hears one shim to its end, with all steps that it runs.
async fn listen(mut reader: OwnedReadHalf, steps: Vec<StepId>, seen: mpsc::UnboundedSender<Seen>) {
    let mut steps = steps.into_iter();
    let Some(mut id) = steps.next() else { return };
    loop {
        let message = match frame::read(&mut reader).await {
            Ok(message) => message,
            Err(error) => {
                tracing::warn!(%error, "the connection to a shim broke");
                None
            }
        };
        let event = match message {
            Some(FromShim::Hello) => continue,
            Some(FromShim::Started { at }) => Event::Started { id, at },
            Some(FromShim::Ended { record }) => Event::Ended { id, record },
            None => {
                for id in [id].into_iter().chain(steps) {
                    let _ = seen.send(Seen::Event(Event::Lost { id, at: now() }));
                }
                return;
            }
        };
        let has_ended = matches!(event, Event::Ended { .. });
        if seen.send(Seen::Event(event)).is_err() {
            return;
        }
        if has_ended {
            let Some(next) = steps.next() else { return };
            id = next;
            // The same shim waits for that one's turn now.
            let _ = seen.send(Seen::Event(Event::Connected { id }));
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
        Event::Gone { id, .. } => tracing::debug!(container = container(id), "gone"),
        Event::StopTask { task, .. } => tracing::info!(task, "told to stop a task"),
        Event::StopTries { task, before, .. } => tracing::info!(task, before, "told to stop tries of a task"),
        Event::Halt { .. } => tracing::debug!("told to start no other task"),
        Event::Begin { .. } => tracing::info!("told to begin"),
        Event::Stop { reason, .. } => tracing::info!(?reason, "told to stop"),
    }
}

/// How many of the steps in a report have ended.
pub(crate) fn ended(report: &PodReport) -> usize {
    report.steps.iter().filter(|step| matches!(step.state, StepState::Ended { .. })).count()
}
