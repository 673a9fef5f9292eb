//! A run on this machine: the engine decides as it does in a cluster, and its pods become containers here.
//!
//! What a cluster's API server, kubelet and controller do is done by one loop: objects are kept in memory
//! ([`world::World`]), pods are carried out by [`pod`], and every report and every end of a container is one more
//! observation for the engine.

mod affected;
mod environment;
mod explain;
mod inputs;
pub(crate) mod left;
mod limits;
mod mock;
mod mock_shim;
mod outcome;
mod part;
mod place;
mod pod;
mod program;
pub(crate) mod record;
mod remote;
mod sidecar;
mod simulate;
mod tell;
mod volumes;
mod world;

use std::collections::BTreeMap;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use ergon_api::{Document, Param};
use ergon_engine::{ImageConfig, Need};
use ergon_resolve::Resolvers;
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};

use crate::container::Runtime;
use crate::event::{Event, Status};
use crate::images::{Image, PullEvent, PullPolicy, Store};

pub use affected::{Affected, affected};
pub use explain::explain;
pub use inputs::{declared, target};
pub use mock::Mocks;
use mock::{MockPod, Mocked};
pub use outcome::{Outcome, TaskOutcome};
pub use part::{Fate, Part, fates};
pub use place::place;
use pod::{Finding, PodRun, Setting};
pub use record::{Keep, PodRecord, Record};
pub(crate) use simulate::simulate;
use tell::Teller;
use world::{Effect, World};

/// What to run, and how.
#[derive(Debug)]
pub struct RunOptions {
    /// All documents that were read: the run, what it refers to, its ConfigMaps and Secrets.
    pub documents: Vec<Document>,
    /// Which Task, Pipeline or run of the documents; needed where there is more than one.
    pub name: Option<String>,
    /// Values in the place of the run's own, of the types that the parameters are declared with. Names are not checked.
    pub params: Vec<Param>,
    /// Folders for workspaces, by the workspace's name.
    pub workspaces: BTreeMap<String, WorkspaceSource>,
    /// Where images and runs are kept, such as [`crate::home`].
    pub home: PathBuf,
    /// What stays of it.
    pub keep: Keep,
    /// Which tasks of a pipeline run.
    pub part: Part,
    /// Tasks and steps that are not carried out.
    pub mocks: Mocks,
    /// Told when the user wants the run to end.
    pub stop: watch::Receiver<Stop>,
}

/// Where a workspace's files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkspaceSource {
    /// A folder of this machine, as it is.
    Path(PathBuf),
    /// A new folder that goes with the run.
    EmptyDir,
}

/// Whether the run is to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Stop {
    #[default]
    No,
    /// End what runs, then do what `finally` says.
    Gracefully,
    /// End everything.
    Now,
}

/// Why a run could not be carried out. How a run that was carried out ended is its [`Status`].
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("{0}")]
    Input(String),
    #[error("cannot use {}: {source}", path.display())]
    Folder { path: PathBuf, source: std::io::Error },
    /// This very program would be the entrypoint of steps, and needs libraries that their images do not have.
    #[error("this `{program}` is dynamically linked, and cannot be the entrypoint of steps in other images")]
    Dynamic { program: String },
    #[error(transparent)]
    Image(#[from] crate::images::ImageError),
    #[error(transparent)]
    Container(#[from] crate::container::ContainerError),
}

/// Carries a run out and tells what happens; comes back when it has ended and nothing of it is left running.
///
/// # Errors
/// Documents that are no run, folders that cannot be used, a program that cannot be a step's entrypoint. A run that
/// fails is no error.
pub async fn run(options: RunOptions, events: mpsc::UnboundedSender<Event>) -> Result<Status, RunError> {
    Ok(Box::pin(play(options, events)).await?.status)
}

/// [`run`], with all that can be said of the end.
///
/// # Errors
/// As [`run`].
pub(crate) async fn play(
    options: RunOptions,
    events: mpsc::UnboundedSender<Event>,
) -> Result<Outcome, RunError> {
    let (begun, began) = (Instant::now(), Timestamp::now());
    let shim = program::shim()?;
    let folders = Folders::make(&options.home)?;
    let in_use = left::hold(&folders.run, options.keep == Keep::All)
        .map_err(|source| RunError::Folder { path: folders.run.clone(), source })?;
    let files = inputs::files(&options, &folders)?;
    let claims = folders.run.join("claims");
    let mut world = inputs::world(&options, files, claims.clone())?;
    if let Err(error) = part::take(&mut world, &options, &claims) {
        drop(in_use);
        folders.remove().await;
        return Err(error);
    }
    let setting = Setting {
        store: Store::open(options.home.join("images"))?,
        runtime: Runtime::open(options.home.join("containers"))?,
        folders: folders.clone(),
        shim,
        files: world.files.clone(),
        keep: options.keep,
        told: Arc::default(),
        events: events.clone(),
    };
    // What an `ergon` that was killed left behind: containers first, which may use the runs' folders.
    if let Err(error) = setting.runtime.sweep() {
        tracing::warn!(%error, "cannot clear up what an earlier run left");
    }
    left::sweep(&options.home.join("runs"));
    let (findings, inbox) = mpsc::unbounded_channel();
    let mut shell = Shell {
        teller: Teller::new(events.clone(), begun),
        world,
        resolvers: Resolvers::new(true),
        setting,
        pods: BTreeMap::new(),
        mocks: options.mocks,
        findings,
        inbox,
        stop: options.stop,
        stopping: Stop::No,
    };
    let status = shell.until_the_end().await;
    let record = match &status {
        Ok(status) if options.keep != Keep::Nothing => {
            let target = inputs::target(&options.documents, options.name.as_deref())?;
            let target = (target.object.kind(), inputs::called(&target.object));
            Some(Record::of(&shell.world, target, began, *status))
        }
        _ => None,
    };
    if folders.leave(record, options.keep).await {
        shell.teller.kept(&folders.run);
    }
    drop(in_use);
    let status = status?;
    shell.teller.end(&shell.world);
    Ok(Outcome::of(&shell.world, status))
}

/// The folders of one run.
#[derive(Debug, Clone)]
pub(crate) struct Folders {
    pub run: PathBuf,
}

impl Folders {
    /// Where a run could have its folders: another place each time.
    fn unmade(home: &std::path::Path) -> Self {
        static RUNS: AtomicU64 = AtomicU64::new(0);
        let unique = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        let number = RUNS.fetch_add(1, Ordering::Relaxed);
        // The first run of a process has no number: its name is in paths of sockets, which may not be long.
        let number = if number == 0 { String::new() } else { format!("-{number}") };
        Self { run: home.join("runs").join(format!("{unique:x}-{}{number}", std::process::id())) }
    }

    fn make(home: &std::path::Path) -> Result<Self, RunError> {
        let run = Self::unmade(home).run;
        // For nobody else: the environment of steps may have secrets.
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&run);
        made.map_err(|source| RunError::Folder { path: run.clone(), source })?;
        let run = run.canonicalize().map_err(|source| RunError::Folder { path: run.clone(), source })?;
        Ok(Self { run })
    }

    /// Leaves what is to stay of a run that has ended; true where that is all of it.
    async fn leave(&self, record: Option<Record>, keep: Keep) -> bool {
        let run = self.run.clone();
        let left = tokio::task::spawn_blocking(move || {
            let Some(record) = record else { return Ok(false) };
            record.write(&run)?;
            if keep == Keep::Failed && record.status == Status::Failed {
                left::keep_failed(run.parent().unwrap_or(&run), &run)?;
            } else if keep != Keep::All {
                left::trim(&run);
            }
            Ok::<_, std::io::Error>(true)
        });
        match left.await {
            Ok(Ok(true)) => return left::is_whole(&self.run),
            Ok(Err(error)) => {
                tracing::warn!(path = %self.run.display(), %error, "cannot write down how the run ended");
            }
            Ok(Ok(false)) | Err(_) => {}
        }
        if keep != Keep::All {
            self.clone().remove().await;
        }
        keep == Keep::All
    }

    async fn remove(self) {
        let run = self.run.clone();
        let removed = tokio::task::spawn_blocking(move || crate::tree::remove_tree(&run)).await;
        if let Ok(Err(error)) = removed {
            tracing::warn!(path = %self.run.display(), %error, "cannot remove the run's folder");
        }
    }
}

struct Shell {
    world: World,
    resolvers: Resolvers,
    setting: Setting,
    teller: Teller,
    pods: BTreeMap<String, PodRun>,
    mocks: Mocks,
    findings: mpsc::UnboundedSender<Finding>,
    inbox: mpsc::UnboundedReceiver<Finding>,
    stop: watch::Receiver<Stop>,
    stopping: Stop,
}

impl Shell {
    async fn until_the_end(&mut self) -> Result<Status, RunError> {
        self.teller.begin(&self.world);
        loop {
            let wake_at = self.decide().await?;
            if self.world.is_done() {
                break;
            }
            self.observe(wake_at).await;
        }
        // Whatever still runs has been told to end; nothing stays behind.
        for pod in self.pods.values() {
            pod.stop();
        }
        while !self.pods.is_empty() {
            self.observe(None).await;
        }
        self.teller.look(&self.world);
        Ok(outcome::status(&self.world))
    }

    /// Decides until nothing changes any more, and does what was decided.
    async fn decide(&mut self) -> Result<Option<Timestamp>, RunError> {
        loop {
            let pass = self.world.decide(Timestamp::now());
            self.teller.look(&self.world);
            if pass.effects.is_empty() && !pass.changed {
                return Ok(pass.wake_at);
            }
            for effect in pass.effects {
                self.perform(effect).await?;
            }
        }
    }

    async fn perform(&mut self, effect: Effect) -> Result<(), RunError> {
        match effect {
            Effect::LookUp(Need::Image { reference: image, .. }) => {
                let config = match self.image(&image).await {
                    Ok(image) => Ok(ImageConfig {
                        entrypoint: image.config.entrypoint.clone(),
                        cmd: image.config.cmd.clone(),
                    }),
                    // It may be the image of a mock alone; a pod that does run it says what is wrong.
                    Err(_) if !self.mocks.0.is_empty() => Ok(simulate::some_command()),
                    Err(error) => Err(error.to_string()),
                };
                self.world.library.images.insert(image, config);
            }
            Effect::LookUp(Need::Remote(request)) => {
                let answer = remote::fetch(&self.resolvers, &self.world, &request).await;
                self.world.library.remote.insert(request, answer);
            }
            Effect::LookUp(need) => self.world.nothing_found(&need),
            Effect::StartPod(pod) => {
                let name = pod.metadata.name.clone().unwrap_or_default();
                let (task, attempt) = Teller::task_of_pod(&self.world, &name);
                let (setting, findings) = (self.setting.clone(), self.findings.clone());
                let run = match self.mocks.of(&task, attempt) {
                    Some(Mocked::Whole(said)) => pod::start_mock(setting, &pod, task, said, findings),
                    Some(Mocked::Steps(steps)) => pod::start(setting, *pod, task, steps, findings),
                    None => pod::start(setting, *pod, task, BTreeMap::new(), findings),
                };
                self.pods.insert(name, run);
            }
            Effect::EndPod(name) => {
                if let Some(pod) = self.pods.get(&name) {
                    pod.stop();
                }
            }
            Effect::MakeClaim(path) => {
                volumes::make_open_dir(&path).map_err(|source| RunError::Folder { path, source })?;
            }
        }
        Ok(())
    }

    /// Waits for the next thing to happen.
    async fn observe(&mut self, wake_at: Option<Timestamp>) {
        let pause = wake_at.map_or(Duration::MAX, |wake| {
            Duration::try_from(wake.duration_since(Timestamp::now())).unwrap_or_default()
        });
        tokio::select! {
            Some(finding) = self.inbox.recv() => {
                if let Finding::Ended { pod, .. } = &finding {
                    self.pods.remove(pod);
                }
                self.world.take_in(finding);
                self.teller.look(&self.world);
            }
            wanted = next_stop(&mut self.stop, self.stopping) => {
                self.stopping = wanted;
                self.world.stop(wanted);
            }
            () = tokio::time::sleep(pause), if wake_at.is_some() => {}
        }
    }

    async fn image(&self, reference: &str) -> Result<Image, crate::images::ImageError> {
        self.setting.image(reference, PullPolicy::IfNotPresent).await
    }
}

/// Waits until more is wanted than before.
async fn next_stop(stop: &mut watch::Receiver<Stop>, before: Stop) -> Stop {
    match stop.wait_for(|wanted| *wanted > before).await {
        Ok(wanted) => *wanted,
        Err(_) => std::future::pending().await,
    }
}

/// Tells how far a pull is.
pub(crate) fn pull_event(image: &str, event: &PullEvent) -> Option<Event> {
    let told = |done_bytes, total_bytes, complete| Event::ImagePull {
        image: image.to_owned(),
        done_bytes,
        total_bytes,
        complete,
    };
    pod::progress(event).map(|(done, total, complete)| told(done, total, complete))
}
