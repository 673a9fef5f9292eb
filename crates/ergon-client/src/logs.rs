//! The logs of a run: every step of every task, in the order of their start, live when wanted.

mod attempt;
mod container;
mod lines;
mod pod;
mod run;
mod sections;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use jiff::Timestamp;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

use crate::connect::Ergon;
use crate::error::{Error, Result};
use crate::run::{Run, RunRef};

/// How many events may wait for whoever reads. Beyond it the logs are not read on: memory stays bounded.
const BUFFER: usize = 256;
/// How many containers' logs are open at one time.
const OPEN_LOGS: usize = 64;
/// How long a log is waited for that must be there: the agent tells of a step's start and end at once, while the
/// kubelet looks at its containers once a second and starts them one by one.
const PATIENCE: Duration = Duration::from_secs(3);
/// The same where the run is followed.
const PATIENCE_FOLLOWING: Duration = Duration::from_secs(15);

/// What of a run's logs to read.
#[derive(Debug, Clone, Default)]
pub struct LogOptions {
    /// Go on until the run ends. Otherwise the stream ends with what is there now.
    pub follow: bool,
    /// Only these tasks, by their names in the pipeline or by their TaskRuns' names; all when empty. `test` is every leg
    /// of a matrix, `test[0]` one.
    pub tasks: Vec<String>,
    /// Only these steps; all when empty.
    pub steps: Vec<String>,
    /// Only so many of the last lines of each step.
    pub tail: Option<i64>,
}

/// One thing that the logs say.
#[derive(Debug, Clone, PartialEq)]
pub enum LogEvent {
    /// A line.
    Line(LogLine),
    /// Something that is not in a log: why one has to be waited for, or is not there.
    Note(LogNote),
    /// The run as it ended, or as it is now without `follow`. Nothing follows.
    Ended(Run),
}

/// A line that a step wrote.
#[derive(Debug, Clone, PartialEq)]
pub struct LogLine {
    /// The task: see [`TaskRun::task_label`](ergon_api::TaskRun::task_label).
    pub task: String,
    /// The step.
    pub step: String,
    /// The TaskRun.
    pub task_run: String,
    /// Which try of the task this is, from 1.
    pub attempt: usize,
    /// When it was written, as the node's clock had it.
    pub time: Option<Timestamp>,
    /// The line without its end. Bytes that are not UTF-8 are replaced; a line over 64 KiB comes in pieces.
    pub text: String,
}

/// See [`LogEvent::Note`].
#[derive(Debug, Clone, PartialEq)]
pub struct LogNote {
    /// The task.
    pub task: String,
    /// The step, when it is about one.
    pub step: Option<String>,
    /// A sentence.
    pub message: String,
}

/// The logs of a run. Reading ends when this is dropped.
///
/// # Errors
/// An item is an error when the run itself can no longer be read; then the stream ends. Trouble with one step's log is a
/// [`LogEvent::Note`], and the others go on.
#[derive(Debug)]
pub struct LogStream {
    events: mpsc::Receiver<Result<LogEvent>>,
    task: JoinHandle<()>,
}

impl Drop for LogStream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Stream for LogStream {
    type Item = Result<LogEvent>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.events.poll_recv(context)
    }
}

impl Ergon {
    /// The logs of a run. What is over already comes first, task by task in the order of their starts; what is under way
    /// comes line by line as it is written. Must be called inside a tokio runtime.
    pub fn logs(&self, run: &RunRef, options: LogOptions) -> LogStream {
        let (sender, events) = mpsc::channel(BUFFER);
        let reader = Reader {
            ergon: self.clone().in_namespace(&run.namespace),
            options: Arc::new(options),
            sender: sender.clone(),
            open: Arc::new(Semaphore::new(OPEN_LOGS)),
            told: Arc::default(),
        };
        let run = run.clone();
        let task = tokio::spawn(async move {
            let last = if reader.options.follow {
                run::follow(&reader, &run).await
            } else {
                run::read(&reader, &run).await
            };
            let last = last.map(LogEvent::Ended);
            // A reader that is gone needs no last word.
            let _ = sender.send(last).await;
        });
        LogStream { events, task }
    }
}

/// What every part of the reading needs.
#[derive(Clone)]
struct Reader {
    ergon: Ergon,
    options: Arc<LogOptions>,
    sender: mpsc::Sender<Result<LogEvent>>,
    open: Arc<Semaphore>,
    /// How many events were handed over.
    told: Arc<AtomicU64>,
}

impl Reader {
    /// Hands an event over; false when nobody reads any more.
    async fn send(&self, event: LogEvent) -> bool {
        let listening = self.sender.send(Ok(event)).await.is_ok();
        self.told.fetch_add(1, Ordering::Relaxed);
        listening
    }

    fn patience(&self) -> Duration {
        if self.options.follow { PATIENCE_FOLLOWING } else { PATIENCE }
    }

    /// How far it is.
    fn progress(&self) -> Progress {
        Progress { told: self.told.load(Ordering::Relaxed), full: self.sender.capacity() == 0 }
    }

    async fn note(&self, task: &str, step: Option<&str>, message: impl Into<String>) -> bool {
        let note = LogNote { task: task.to_owned(), step: step.map(str::to_owned), message: message.into() };
        self.send(LogEvent::Note(note)).await
    }
}

/// How far the reading is, to be compared with how far it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Progress {
    told: u64,
    /// Whoever reads has not taken what there is.
    full: bool,
}

impl Progress {
    /// Nothing came since, and that is not because whoever reads is slow.
    fn stands_still_since(self, before: Self) -> bool {
        self.told == before.told && !self.full && !before.full
    }
}

/// What the API server says about a log that cannot be opened, without what surrounds it.
fn refusal(error: &Error) -> String {
    match error {
        Error::Invalid { message } | Error::Server { message, .. } => message.clone(),
        error => error.to_string(),
    }
}
