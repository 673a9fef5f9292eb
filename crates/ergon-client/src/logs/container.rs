//! One container's log, from its first line to its last, however often the connection breaks.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;
use tokio::sync::watch;

use super::attempt::{Attempt, State};
use super::lines::{Lines, Position, split_time};
use super::pod::{Container, PodView};
use super::{LogEvent, LogLine, Reader, refusal};
use crate::error::{Error, Result};
use crate::watch::Pause;

/// How often a log that cannot be opened is tried again before it is given up.
const TRIES: usize = 10;

/// The container and the step that its lines are shown under.
#[derive(Debug, Clone)]
pub struct Target {
    pub step: String,
    pub container: String,
}

/// Whether the log can be opened.
#[derive(Debug, Clone, PartialEq)]
enum Readiness {
    /// Not yet, perhaps for a reason worth telling.
    No { trouble: Option<String> },
    /// Yes. `ended`: nothing will be added to it.
    Yes { ended: bool },
    /// There is none, and there will be none.
    Never { why: Option<String> },
}

/// From the two sources: the TaskRun's status is the sooner one, the pod the surer one.
fn readiness(attempt: &Attempt, pod: Option<&PodView>, container: &str) -> Readiness {
    let state = attempt.steps.iter().find(|step| step.container == container).map(|step| step.state);
    if let Some(pod) = pod {
        if pod.gone {
            let started = state.is_some_and(|state| state != State::Waiting);
            let why = started.then(|| format!("pod `{}` is gone, and its logs with it", attempt.pod));
            return Readiness::Never { why };
        }
        match pod.containers.get(container) {
            Some(Container::Readable { ended }) => {
                return Readiness::Yes { ended: *ended || state == Some(State::Ended) };
            }
            Some(Container::Waiting { trouble }) if !attempt.over => {
                return Readiness::No { trouble: trouble.clone() };
            }
            // The run is over, and this never started.
            Some(Container::Waiting { .. }) => return Readiness::Never { why: None },
            None => {}
        }
        if let Some(why) = &pod.unschedulable
            && !attempt.over
        {
            return Readiness::No { trouble: Some(format!("pod `{}` has no node yet: {why}", attempt.pod)) };
        }
    }
    let lost = pod.is_some_and(|pod| pod.lost.is_some());
    match state {
        Some(State::Running) => Readiness::Yes { ended: false },
        Some(State::Ended) => Readiness::Yes { ended: true },
        Some(State::Waiting) | None if attempt.over || lost => {
            Readiness::Never { why: pod.and_then(|pod| pod.lost.clone()) }
        }
        Some(State::Waiting) | None => Readiness::No { trouble: None },
    }
}

/// Hands on every line until the container has ended and all of it is read. `noted` is the last trouble that was told,
/// so that each is told once. False when nobody reads any more.
pub async fn follow(
    reader: &Reader,
    target: Target,
    mut attempt: watch::Receiver<Attempt>,
    mut pod: watch::Receiver<Option<PodView>>,
    noted: &Mutex<Option<String>>,
) -> bool {
    let task = attempt.borrow().task.clone();
    let mut position = Position::default();
    let mut pauses = Pause::default();
    let mut failures = 0;
    // The log ended properly when it was last read.
    let mut closed = false;
    loop {
        let now = {
            let attempt = attempt.borrow_and_update();
            let pod = pod.borrow_and_update();
            readiness(&attempt, pod.as_ref(), &target.container)
        };
        let ended = match now {
            Readiness::Yes { ended } => ended,
            Readiness::Never { why } => {
                return match why {
                    Some(why) => reader.note(&task, Some(&target.step), why).await,
                    None => true,
                };
            }
            Readiness::No { trouble } => {
                if let Some(trouble) = trouble
                    && is_news(noted, &trouble)
                    && !reader.note(&task, Some(&target.step), trouble).await
                {
                    return false;
                }
                changed(&mut attempt, &mut pod, None).await;
                continue;
            }
        };
        let source = attempt.borrow().clone();
        let outcome = copy(reader, &source, &target, &mut position, true).await;
        match outcome {
            Ok(Copied { listening: false, .. }) => return false,
            // Only what was opened after the end has surely all of it.
            Ok(_) if ended => return true,
            // The kubelet holds the log of a running container open. One that closes again at once, with nothing new, is
            // over, even though its pod's status may say so only a second later.
            Ok(copied) if closed && copied.lines == 0 => return true,
            Ok(_) => {
                failures = 0;
                pauses = Pause::default();
                closed = true;
                continue;
            }
            Err(error) => {
                failures += 1;
                closed = false;
                tracing::debug!(%error, step = target.step, "a log was interrupted");
                // The kubelet may be behind what the TaskRun says already: then the log is "waiting to start".
                let hopeless = matches!(error, Error::Forbidden { .. } | Error::Unauthorized { .. });
                let over = source.over && matches!(error, Error::NotFound { .. } | Error::Invalid { .. });
                if hopeless || over || failures >= TRIES {
                    let why = format!("the log cannot be read: {}", refusal(&error));
                    return reader.note(&task, Some(&target.step), why).await;
                }
            }
        }
        changed(&mut attempt, &mut pod, pauses.next()).await;
    }
}

/// True for a trouble that was not the last one told.
fn is_news(noted: &Mutex<Option<String>>, trouble: &str) -> bool {
    // Only a panic while it is held could poison it, and then the text in it is still whole.
    let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
    let news = noted.as_deref() != Some(trouble);
    if news {
        *noted = Some(trouble.to_owned());
    }
    news
}

/// Hands on what there is. False when nobody reads any more.
pub async fn read(reader: &Reader, attempt: &Attempt, target: &Target, state: State) -> bool {
    let mut position = Position::default();
    match copy(reader, attempt, target, &mut position, false).await {
        Ok(copied) => copied.listening,
        // A step that has not started has no log: nothing to tell.
        Err(_) if state == State::Waiting => true,
        Err(Error::NotFound { .. } | Error::NotServed { .. }) => {
            let why = format!("pod `{}` is gone, and its logs with it", attempt.pod);
            reader.note(&attempt.task, Some(&target.step), why).await
        }
        Err(error) => {
            let why = format!("the log cannot be read: {}", refusal(&error));
            reader.note(&attempt.task, Some(&target.step), why).await
        }
    }
}

/// Waits for news of the attempt or the pod, at most for `limit`.
async fn changed(
    attempt: &mut watch::Receiver<Attempt>,
    pod: &mut watch::Receiver<Option<PodView>>,
    limit: Option<Duration>,
) {
    let news = async {
        // A source that has ended tells nothing more; the other one may. When both have ended, the state cannot change
        // any more, and a pause keeps what is tried again from spinning.
        tokio::select! {
            Ok(()) = attempt.changed() => {}
            Ok(()) = pod.changed() => {}
            else => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    };
    match limit {
        Some(limit) => {
            let _ = tokio::time::timeout(limit, news).await;
        }
        None => news.await,
    }
}

struct Copied {
    lines: usize,
    /// Somebody still reads.
    listening: bool,
}

/// Opens the log and hands on its new lines to its end.
async fn copy(
    reader: &Reader,
    attempt: &Attempt,
    target: &Target,
    position: &mut Position,
    follow: bool,
) -> Result<Copied> {
    let what = format!("the log of `{}` in pod `{}`", target.container, attempt.pod);
    // Closed only when the program ends.
    let _open = reader.open.acquire().await;
    let since = position.since();
    let params = LogParams {
        container: Some(target.container.clone()),
        follow,
        timestamps: true,
        since_time: since,
        tail_lines: if since.is_none() { reader.options.tail } else { None },
        ..LogParams::default()
    };
    let stream = reader
        .ergon
        .core_api::<Pod>()
        .log_stream(&attempt.pod, &params)
        .await
        .map_err(|error| Error::of(error, &what))?;
    position.reopened();
    let mut lines = Lines::new(Box::pin(stream));
    let mut copied = Copied { lines: 0, listening: true };
    while let Some(line) = lines.next().await.map_err(|error| broken(&error, &what))? {
        let (time, text) = split_time(&line);
        if !position.advance(time) {
            continue;
        }
        copied.lines += 1;
        let line = LogLine {
            task: attempt.task.clone(),
            step: target.step.clone(),
            task_run: attempt.task_run.clone(),
            attempt: attempt.number,
            time,
            text: text.to_owned(),
        };
        if !reader.send(LogEvent::Line(line)).await {
            copied.listening = false;
            break;
        }
    }
    Ok(copied)
}

fn broken(error: &std::io::Error, what: &str) -> Error {
    Error::Unreachable { message: format!("{what} broke off: {error}"), source: None }
}

#[cfg(test)]
mod tests {
    use super::super::attempt::Step;
    use super::*;

    fn attempt(state: State, over: bool) -> Attempt {
        Attempt {
            task: "t".to_owned(),
            task_run: "t".to_owned(),
            number: 1,
            pod: "p".to_owned(),
            steps: vec![Step { name: "a".to_owned(), container: "step-a".to_owned(), state }],
            over,
        }
    }

    fn pod(container: Option<Container>) -> PodView {
        PodView {
            containers: container.map(|container| ("step-a".to_owned(), container)).into_iter().collect(),
            ..PodView::default()
        }
    }

    #[test]
    fn a_log_is_opened_as_soon_as_either_source_says_so() {
        let waiting = || pod(Some(Container::Waiting { trouble: None }));
        let gone = PodView { gone: true, ..PodView::default() };
        let yes = |ended| Readiness::Yes { ended };
        let no = Readiness::No { trouble: None };
        let never = Readiness::Never { why: None };
        let table = [
            (State::Waiting, false, None, no.clone()),
            (State::Running, false, None, yes(false)),
            (State::Ended, false, None, yes(true)),
            (State::Waiting, false, Some(pod(Some(Container::Readable { ended: false }))), yes(false)),
            (State::Ended, false, Some(pod(Some(Container::Readable { ended: false }))), yes(true)),
            (State::Waiting, false, Some(waiting()), no),
            (State::Waiting, true, Some(waiting()), never.clone()),
            (State::Waiting, true, Some(pod(None)), never.clone()),
            (State::Waiting, false, Some(gone.clone()), never),
            (
                State::Ended,
                true,
                Some(gone),
                Readiness::Never { why: Some("pod `p` is gone, and its logs with it".to_owned()) },
            ),
        ];
        for (state, over, pod, expected) in table {
            let found = readiness(&attempt(state, over), pod.as_ref(), "step-a");
            assert_eq!(found, expected, "{state:?} over={over} {pod:?}");
        }
    }
}
