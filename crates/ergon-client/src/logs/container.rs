//! One container's log, from its first line to its last, however often the connection breaks.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;
use tokio::sync::watch;
use tokio::time::Instant;

use super::attempt::{Attempt, State, wanted};
use super::lines::{Lines, Position, split_time};
use super::pod::{Container, PodLook, PodView};
use super::sections::{Sections, Verdict};
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

/// From the two sources: the TaskRun's status is the sooner one, the pod the surer one. What the kubelet does not show as
/// started cannot be read, even when the run is over already.
fn readiness(attempt: &Attempt, pod: Option<&PodView>, container: &str) -> Readiness {
    let state = attempt.state_of(container);
    if state == State::NeverRan {
        return Readiness::Never { why: None };
    }
    let Some(pod) = pod else { return Readiness::No { trouble: None } };
    if pod.gone {
        let why = state.ran().then(|| gone(attempt));
        return Readiness::Never { why };
    }
    if pod.lost.is_some() {
        return match state {
            State::Running => Readiness::Yes { ended: false },
            State::Ended | State::Unstarted => Readiness::Yes { ended: true },
            State::Waiting | State::NeverRan => Readiness::Never { why: pod.lost.clone() },
        };
    }
    let over = attempt.over && state == State::Waiting;
    match pod.containers.get(container) {
        Some(Container::Readable { ended }) => Readiness::Yes { ended: *ended || state.is_over() },
        // The run is over, and this never started.
        Some(Container::Waiting { .. }) | None if over => Readiness::Never { why: None },
        // No shim ever came, and none will.
        Some(Container::Waiting { trouble: Some(_) }) if state == State::Unstarted => {
            Readiness::Never { why: None }
        }
        Some(Container::Waiting { trouble }) => Readiness::No { trouble: trouble.clone() },
        None => {
            let no_node = pod.unschedulable.as_ref();
            let trouble = no_node.map(|why| format!("pod `{}` has no node yet: {why}", attempt.pod));
            Readiness::No { trouble }
        }
    }
}

fn gone(attempt: &Attempt) -> String {
    format!("pod `{}` is gone, and its logs with it", attempt.pod)
}

/// What is told when the kubelet does not show in time what the status says.
const LATE: &str = "the step has run, and its node does not show its log yet; try it again in a moment";

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
    let mut sections = attempt.borrow().sections(&target.container);
    let mut pauses = Pause::default();
    let mut failures = 0;
    // The log ended properly when it was last read.
    let mut closed = false;
    // Until when what has ended is waited for.
    let mut deadline: Option<Instant> = None;
    loop {
        let (now, state, over) = {
            let attempt = attempt.borrow_and_update();
            let pod = pod.borrow_and_update();
            let state = attempt.state_of(&target.container);
            (readiness(&attempt, pod.as_ref(), &target.container), state, attempt.over || state.is_over())
        };
        if over {
            deadline = deadline.or_else(|| Some(Instant::now() + reader.patience()));
        }
        let late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
        let ended = match now {
            Readiness::Yes { ended } => ended,
            Readiness::Never { why } => {
                return match why {
                    Some(why) => reader.note(&task, Some(&target.step), why).await,
                    None => true,
                };
            }
            Readiness::No { .. } if late => {
                return !state.ran() || reader.note(&task, Some(&target.step), LATE).await;
            }
            Readiness::No { trouble } => {
                if let Some(trouble) = trouble
                    && is_news(noted, &trouble)
                    && !reader.note(&task, Some(&target.step), trouble).await
                {
                    return false;
                }
                changed(&mut attempt, &mut pod, deadline).await;
                continue;
            }
        };
        let source = attempt.borrow().clone();
        let before = position.since();
        let outcome = copy(reader, &source, &target, &mut position, &mut sections, true).await;
        match outcome {
            Ok(Copied { listening: false, .. }) => return false,
            Ok(Copied { over: true, .. }) => return true,
            // Only what was opened after the end has surely all of it.
            Ok(_) if ended => return true,
            // The kubelet holds the log of a running container open. One that closes again at once, with nothing new, is
            // over, even though its pod's status may say so only a second later.
            Ok(copied) if closed && copied.lines == 0 => return true,
            Ok(_) => {
                failures = 0;
                deadline = None;
                pauses = Pause::default();
                closed = true;
                continue;
            }
            Err(error) => {
                closed = false;
                failures += 1;
                // A log that came on before it broke off is as good as one that was never tried.
                if position.since() != before {
                    failures = 1;
                    deadline = None;
                    pauses = Pause::default();
                }
                tracing::debug!(%error, step = target.step, "a log was interrupted");
                // The kubelet may be behind what the TaskRun says already: then the log is "waiting to start".
                let hopeless = matches!(error, Error::Forbidden { .. } | Error::Unauthorized { .. })
                    || (source.over && matches!(error, Error::NotFound { .. }));
                if hopeless || late || failures >= TRIES {
                    let why = format!("the log cannot be read: {}", refusal(&error));
                    return reader.note(&task, Some(&target.step), why).await;
                }
            }
        }
        changed(&mut attempt, &mut pod, pauses.next().map(|pause| Instant::now() + pause)).await;
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

/// Hands on what there is. What is over is waited for in bounded time, until the kubelet shows the container as ended:
/// then all of the log is there. False when nobody reads any more.
pub async fn read(reader: &Reader, attempt: &Attempt, target: &Target, pod: &mut PodLook) -> bool {
    let state = attempt.state_of(&target.container);
    if state == State::NeverRan {
        return true;
    }
    let note = async |why: &str| reader.note(&attempt.task, Some(&target.step), why).await;
    let view = pod
        .until(|pod| match pod.containers.get(&target.container) {
            Some(Container::Readable { ended }) => *ended || !state.is_over(),
            Some(Container::Waiting { trouble }) => {
                state == State::Waiting || (state == State::Unstarted && trouble.is_some())
            }
            None => state == State::Waiting,
        })
        .await;
    match view {
        Some(view) if view.gone => return !state.ran() || note(&gone(attempt)).await,
        Some(view) if view.lost.is_none() => {
            let readable = matches!(view.containers.get(&target.container), Some(Container::Readable { .. }));
            if !readable {
                return !state.ran() || note(LATE).await;
            }
        }
        // The pod cannot be seen; its log perhaps can.
        Some(_) | None => {}
    }
    let mut position = Position::default();
    let mut sections = attempt.sections(&target.container);
    match copy(reader, attempt, target, &mut position, &mut sections, false).await {
        Ok(copied) => copied.listening,
        // A step that has not started has no log: nothing to tell.
        Err(_) if !state.ran() => true,
        Err(Error::NotFound { .. } | Error::NotServed { .. }) => note(&gone(attempt)).await,
        Err(error) => note(&format!("the log cannot be read: {}", refusal(&error))).await,
    }
}

/// Waits for news of the attempt or the pod, at most until `deadline`.
async fn changed(
    attempt: &mut watch::Receiver<Attempt>,
    pod: &mut watch::Receiver<Option<PodView>>,
    deadline: Option<Instant>,
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
    match deadline {
        Some(deadline) => {
            let _ = tokio::time::timeout_at(deadline, news).await;
        }
        None => news.await,
    }
}

struct Copied {
    lines: usize,
    /// Somebody still reads.
    listening: bool,
    /// What follows in the log is another task's.
    over: bool,
}

/// Opens the log and hands on its new lines to its end.
async fn copy(
    reader: &Reader,
    attempt: &Attempt,
    target: &Target,
    position: &mut Position,
    sections: &mut Sections,
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
        tail_lines: if since.is_none() && !sections.are_there() { reader.options.tail } else { None },
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
    let mut copied = Copied { lines: 0, listening: true, over: false };
    while let Some(line) = lines.next().await.map_err(|error| broken(&error, &what))? {
        let (time, text) = split_time(&line);
        if !position.advance(time) {
            continue;
        }
        copied.lines += 1;
        let step = match sections.take(text) {
            Verdict::Line(step) => step.unwrap_or_else(|| target.step.clone()),
            Verdict::Other => continue,
            Verdict::Over => {
                copied.over = true;
                break;
            }
        };
        if !wanted(reader, &step) {
            continue;
        }
        let line = LogLine {
            task: attempt.task.clone(),
            step,
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
            company: None,
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
    fn a_log_is_opened_when_the_kubelet_shows_it_and_given_up_when_it_never_will() {
        use State::{Ended, NeverRan, Running, Unstarted, Waiting};
        let starting = || Some(pod(Some(Container::Waiting { trouble: None })));
        let stuck = || Some(pod(Some(Container::Waiting { trouble: Some("ImagePullBackOff".to_owned()) })));
        let readable = |ended| Some(pod(Some(Container::Readable { ended })));
        let gone = || Some(PodView { gone: true, ..PodView::default() });
        let lost = || Some(PodView { lost: Some("no".to_owned()), ..PodView::default() });
        let yes = |ended| Readiness::Yes { ended };
        let no = || Readiness::No { trouble: None };
        let trouble = || Readiness::No { trouble: Some("ImagePullBackOff".to_owned()) };
        let never = || Readiness::Never { why: None };
        let because = |why: &str| Readiness::Never { why: Some(why.to_owned()) };
        let table = [
            // Nothing is known of the pod yet.
            (Waiting, false, None, no()),
            (Running, false, None, no()),
            (Ended, true, None, no()),
            // The kubelet shows it.
            (Waiting, false, readable(false), yes(false)),
            (Running, false, readable(false), yes(false)),
            (Ended, false, readable(false), yes(true)),
            (Unstarted, true, readable(true), yes(true)),
            (NeverRan, true, readable(true), never()),
            // The kubelet is behind: what ran is waited for, even when the run is over.
            (Running, false, starting(), no()),
            (Ended, false, starting(), no()),
            (Ended, true, starting(), no()),
            (Ended, true, Some(pod(None)), no()),
            (Unstarted, true, starting(), no()),
            // It is on its way, or never will be there.
            (Waiting, false, starting(), no()),
            (Waiting, false, stuck(), trouble()),
            (Waiting, true, starting(), never()),
            (Waiting, true, Some(pod(None)), never()),
            (NeverRan, true, starting(), never()),
            (Unstarted, true, stuck(), never()),
            (Waiting, false, gone(), never()),
            (Ended, true, gone(), because("pod `p` is gone, and its logs with it")),
            // The pod cannot be watched: then the status must do.
            (Ended, true, lost(), yes(true)),
            (Running, false, lost(), yes(false)),
            (Waiting, false, lost(), because("no")),
        ];
        for (state, over, pod, expected) in table {
            let found = readiness(&attempt(state, over), pod.as_ref(), "step-a");
            assert_eq!(found, expected, "{state:?} over={over} {pod:?}");
        }
    }
}
