//! The whole run: finds its tasks as they start, and reads each one's logs.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use ergon_api::{PipelineRun, TaskRun};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use kube::runtime::watcher::{self, Event};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Reader;
use super::attempt::{self, Attempt, attempts};
use super::pod::{self, PodView};
use crate::error::Result;
use crate::find::{children_selector, is_child, start_order};
use crate::run::{Run, RunRef};
use crate::watch::{watch_many, watch_one};

/// How long what is still open may tell nothing after the run has ended. The last lines of a step come with a delay; the
/// longest is that of a container that the kubelet has yet to show.
const LAST_LINES: Duration = Duration::from_secs(20);

/// Reads what there is now; gives back the run.
pub async fn read(reader: &Reader, run: &RunRef) -> Result<Run> {
    let run = reader.ergon.get(run).await?;
    for child in reader.ergon.children(&run).await? {
        if !wanted(reader, &child) {
            continue;
        }
        for attempt in attempts(&child) {
            if !attempt::read(reader, &attempt).await {
                return Ok(run);
            }
        }
    }
    Ok(run)
}

/// Follows the run to its end; gives it back as it ended.
pub async fn follow(reader: &Reader, reference: &RunRef) -> Result<Run> {
    let first = reader.ergon.get(reference).await?;
    let mut runs = std::pin::pin!(reader.ergon.watch(reference));
    let mut children = std::pin::pin!(watch_children(reader, &first));
    let mut followers = Followers::new(reader);
    // What is over comes first and in order, before the lines of what is under way.
    let mut listed = Vec::new();
    loop {
        match children.try_next().await? {
            None | Some(Child::Listed) => break,
            Some(Child::Seen(child)) => listed.push(child),
            Some(Child::Gone(_)) => {}
        }
    }
    listed.sort_by(|a, b| start_order(a).cmp(&start_order(b)));
    for child in listed.iter().filter(|child| child.is_done()) {
        followers.read(child).await;
    }
    for child in &listed {
        followers.update(child);
    }
    drop(listed);

    let mut run = first;
    while !run.is_done() {
        tokio::select! {
            // Tasks before the run, so that the last task's pod is known when the run ends.
            biased;
            child = children.next() => match child {
                Some(Ok(Child::Seen(child))) => followers.update(&child),
                Some(Ok(Child::Gone(name))) => followers.gone(&name),
                Some(Ok(Child::Listed)) => {}
                Some(Err(error)) => return Err(error),
                None => run = last(&mut runs, run).await?,
            },
            next = runs.next() => match next {
                Some(next) => run = next?,
                None => return Ok(run),
            },
        }
    }
    // The watch of the tasks may be behind that of the run: this is what is true now.
    match reader.ergon.children(&run).await {
        Ok(children) => children.iter().for_each(|child| followers.update(child)),
        Err(error) => tracing::debug!(%error, "the tasks cannot be listed once more"),
    }
    followers.finish().await;
    Ok(run)
}

/// The run when its watch ends.
async fn last(runs: &mut (impl Stream<Item = Result<Run>> + Unpin), mut run: Run) -> Result<Run> {
    while let Some(next) = runs.try_next().await? {
        run = next;
    }
    Ok(run)
}

/// What a watch of a run's tasks tells.
enum Child {
    Seen(Box<TaskRun>),
    Gone(String),
    /// Every one that exists has been told.
    Listed,
}

fn watch_children(reader: &Reader, run: &Run) -> impl Stream<Item = Result<Child>> + Send + use<> {
    let run = match run {
        Run::Pipeline(run) => (**run).clone(),
        Run::Task(run) => {
            let name = run.name().to_owned();
            let mut listed = false;
            return watch_one::<TaskRun>(reader.ergon.api(run.group()), run.name())
                .map_ok(move |child| {
                    let event = match child {
                        Some(child) => Child::Seen(Box::new(child)),
                        None => Child::Gone(name.clone()),
                    };
                    let first = !std::mem::replace(&mut listed, true);
                    stream::iter([Some(Ok(event)), first.then_some(Ok(Child::Listed))].into_iter().flatten())
                })
                .try_flatten()
                .boxed();
        }
    };
    let config = watcher::Config::default().labels(&children_selector(&run));
    let api = reader.ergon.api::<TaskRun>(run.group());
    let what = format!("the tasks of {} `{}`", PipelineRun::KIND, run.name());
    watch_many(api, config, what)
        .try_filter_map(move |event| {
            std::future::ready(Ok(match event {
                Event::Init => None,
                Event::InitApply(child) | Event::Apply(child) => {
                    is_child(&child, &run).then(|| Child::Seen(Box::new(child)))
                }
                Event::InitDone => Some(Child::Listed),
                Event::Delete(child) => Some(Child::Gone(child.name().to_owned())),
            }))
        })
        .boxed()
}

/// Who reads what: one follower for each attempt of each task.
struct Followers<'a> {
    reader: &'a Reader,
    /// The attempts that are being followed, by TaskRun and number.
    current: BTreeMap<(String, usize), watch::Sender<Attempt>>,
    /// The attempts whose following has ended or is not needed.
    read: HashSet<(String, usize)>,
    /// The pods that are being watched. Fused tasks share one.
    pods: HashMap<String, watch::Receiver<Option<PodView>>>,
    tasks: JoinSet<()>,
}

impl<'a> Followers<'a> {
    fn new(reader: &'a Reader) -> Self {
        Self {
            reader,
            current: BTreeMap::new(),
            read: HashSet::new(),
            pods: HashMap::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Reads a task that is over.
    async fn read(&mut self, child: &TaskRun) {
        for attempt in attempts(child) {
            self.read.insert((attempt.task_run.clone(), attempt.number));
            if wanted(self.reader, child) {
                attempt::read(self.reader, &attempt).await;
            }
        }
    }

    /// Tells the followers of a task what is new, and starts those that it needs.
    fn update(&mut self, child: &TaskRun) {
        if !wanted(self.reader, child) {
            return;
        }
        while self.tasks.try_join_next().is_some() {}
        self.current.retain(|key, attempt| {
            let followed = !attempt.is_closed();
            if !followed {
                self.read.insert(key.clone());
            }
            followed
        });
        self.pods.retain(|name, _| self.current.values().any(|attempt| attempt.borrow().pod == *name));
        for attempt in attempts(child) {
            let key = (attempt.task_run.clone(), attempt.number);
            if self.read.contains(&key) {
                continue;
            }
            match self.current.get(&key) {
                Some(known) => {
                    known.send_if_modified(|old| {
                        let changed = *old != attempt;
                        *old = attempt;
                        changed
                    });
                }
                None => self.start(key, attempt),
            }
        }
    }

    fn start(&mut self, key: (String, usize), attempt: Attempt) {
        let pod = self
            .pods
            .entry(attempt.pod.clone())
            .or_insert_with(|| pod::follow(&self.reader.ergon, &attempt.pod))
            .clone();
        let (sender, receiver) = watch::channel(attempt);
        self.current.insert(key, sender);
        let reader = self.reader.clone();
        self.tasks.spawn(async move { attempt::follow(&reader, receiver, pod).await });
    }

    /// A task that was deleted starts nothing more.
    fn gone(&mut self, task_run: &str) {
        for ((name, _), attempt) in &self.current {
            if name == task_run {
                attempt.send_modify(|attempt| attempt.over = true);
            }
        }
    }

    /// Waits for the last lines.
    async fn finish(mut self) {
        for attempt in self.current.values() {
            attempt.send_modify(|attempt| attempt.over = true);
        }
        let mut before = self.reader.progress();
        loop {
            match tokio::time::timeout(LAST_LINES, self.tasks.join_next()).await {
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(_) => {
                    let now = self.reader.progress();
                    if now.stands_still_since(before) {
                        break;
                    }
                    before = now;
                }
            }
        }
        let open: Vec<String> = self
            .current
            .values()
            .filter(|attempt| !attempt.is_closed())
            .map(|attempt| attempt.borrow().task.clone())
            .collect();
        for task in open {
            self.reader
                .note(&task, None, "the log did not end with the run; its last lines may be missing")
                .await;
        }
    }
}

fn wanted(reader: &Reader, child: &TaskRun) -> bool {
    is_named(child, &reader.options.tasks)
}

/// True when the names are empty or one of them is the task's. A leg of a matrix is `build[3]`; `build` names all of them.
fn is_named(child: &TaskRun, names: &[String]) -> bool {
    let (task, label) = (child.pipeline_task(), child.task_label());
    let goes_by = |name: &str| name == label || name == child.name() || Some(name) == task;
    names.is_empty() || names.iter().any(|name| goes_by(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leg_goes_by_its_own_name_and_by_its_tasks() {
        let mut run = TaskRun::new(ergon_api::Group::Ergon, "r-build-3");
        run.metadata.labels = Some(
            [("ergon.dev/pipelineTask", "build"), ("ergon.dev/matrix-leg", "3")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
        );
        for (name, expected) in
            [("build", true), ("build[3]", true), ("r-build-3", true), ("build[4]", false), ("test", false)]
        {
            assert_eq!(is_named(&run, &[name.to_owned()]), expected, "{name}");
        }
        assert!(is_named(&run, &[]));
    }
}
