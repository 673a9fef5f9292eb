//! One pod: what the kubelet and the agent do in a cluster is done here for it.
//!
//! Its containers run as the engine laid them out, each step's with the shim as its program; the agent is this process.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use ergon_engine::coordinate::{Event as Coordination, StepId};
use ergon_engine::pod::{AGENT, plan_of};
use ergon_wire::{PodPlan, PodReport, StopReason, paths};
use k8s_openapi::api::core::v1::{
    Container as PodContainer, ContainerState, ContainerStateTerminated, ContainerStateWaiting,
    ContainerStatus, Pod, PodSpec, PodStatus,
};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::record::{self, Keep, pod_dir, step_places};
use super::volumes::{self, Places};
use super::world::Files;
use super::{Folders, MockPod, environment, limits, mock_shim, pull_event, sidecar};
use crate::container::{Capabilities, Container, ContainerSpec, Mount, MountSource, Runtime};
use crate::event::{Event, Stream};
use crate::images::{Image, ImageError, PullEvent, PullPolicy, Store};
use crate::test::Said;

/// What all pods of a run share.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub store: Store,
    pub runtime: Runtime,
    pub folders: Folders,
    /// The static program that is the shim.
    pub shim: PathBuf,
    pub files: Files,
    /// What stays of the run.
    pub keep: Keep,
    /// What was told already of what cannot be had here.
    pub told: Arc<Mutex<BTreeSet<String>>>,
    pub events: mpsc::UnboundedSender<Event>,
}

/// What is seen of a pod.
#[derive(Debug)]
pub(super) enum Finding {
    Report {
        pod: String,
        report: PodReport,
    },
    /// Something changed that the engine should see before the end.
    Status {
        pod: String,
        status: PodStatus,
    },
    /// Nothing of the pod is left running.
    Ended {
        pod: String,
        status: PodStatus,
    },
}

/// A pod that is being carried out.
#[derive(Debug)]
pub(super) struct PodRun {
    stop: watch::Sender<bool>,
}

impl PodRun {
    /// Ends its containers: kindly first, by force after their grace period.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }
}

impl Setting {
    /// An image, pulled if need be; the pull is told.
    pub async fn image(&self, reference: &str, policy: PullPolicy) -> Result<Image, ImageError> {
        let events = self.events.clone();
        let name = reference.to_owned();
        let tell: crate::images::Progress = Arc::new(move |event| {
            if let Some(event) = pull_event(&name, &event) {
                let _ = events.send(event);
            }
        });
        self.store.resolve(reference, policy, Some(tell)).await
    }
}

/// Bytes that are here, bytes in all, and whether that is all; none where there is nothing to show.
pub(super) fn progress(event: &PullEvent) -> Option<(u64, Option<u64>, bool)> {
    match event {
        PullEvent::Started { bytes, .. } => Some((0, Some(*bytes), false)),
        PullEvent::Downloading { done, size, .. } => Some((*done, Some(*size), false)),
        PullEvent::Finished { .. } => Some((0, None, true)),
        PullEvent::LayerHere { .. } | PullEvent::Unpacked { .. } => None,
    }
}

/// Starts carrying a pod out. `task` is the name that its lines are told under, `mocks` the steps that are not carried
/// out.
pub(super) fn start(
    setting: Setting,
    pod: Pod,
    task: String,
    mocks: BTreeMap<String, Said>,
    findings: mpsc::UnboundedSender<Finding>,
) -> PodRun {
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        let name = pod.metadata.name.clone().unwrap_or_default();
        let carried = Carrying { setting, name: name.clone(), pod, task, mocks, findings: findings.clone() };
        let status = carried.out(stopped).await;
        let _ = findings.send(Finding::Ended { pod: name, status });
    });
    PodRun { stop }
}

/// Starts a pod whose task is mocked: time passes, and nothing else happens.
pub(super) fn start_mock(
    setting: Setting,
    pod: &Pod,
    task: String,
    said: Said,
    findings: mpsc::UnboundedSender<Finding>,
) -> PodRun {
    let (stop, mut stopped) = watch::channel(false);
    let name = pod.metadata.name.clone().unwrap_or_default();
    let mock = MockPod::start(pod, said, ergon_agent::now());
    tokio::spawn(async move {
        let Some(mut mock) = mock else {
            let status = failed_status(Vec::new(), "the pod has no plan");
            let _ = findings.send(Finding::Ended { pod: name, status });
            return;
        };
        let mut stopping = false;
        loop {
            for (step, text) in std::mem::take(&mut mock.lines) {
                let stream = Stream::Stdout;
                let _ = setting.events.send(Event::Line { task: task.clone(), step, stream, text });
            }
            let _ = findings.send(Finding::Report { pod: name.clone(), report: mock.report() });
            if let Some(status) = mock.end() {
                let _ = findings.send(Finding::Ended { pod: name, status });
                return;
            }
            let pause = mock.next().map(|at| at.saturating_sub(ergon_agent::now()));
            let pause = u64::try_from(pause.unwrap_or(i64::MAX)).unwrap_or(0);
            tokio::select! {
                () = tokio::time::sleep(std::time::Duration::from_millis(pause)) => {
                    mock.advance(ergon_agent::now());
                }
                () = until_told(&mut stopped), if !stopping => {
                    stopping = true;
                    mock.stop(ergon_agent::now());
                }
            }
        }
    });
    PodRun { stop }
}

struct Carrying {
    setting: Setting,
    name: String,
    pod: Pod,
    task: String,
    /// What steps come to that are not carried out.
    mocks: BTreeMap<String, Said>,
    findings: mpsc::UnboundedSender<Finding>,
}

/// Why a pod cannot start, as the kubelet would say it of one container.
struct Trouble {
    container: String,
    reason: &'static str,
    message: String,
}

impl Trouble {
    fn container_status(&self) -> ContainerStatus {
        let waiting = ContainerStateWaiting {
            reason: Some(self.reason.to_owned()),
            message: Some(self.message.clone()),
        };
        container_status(&self.container, ContainerState { waiting: Some(waiting), ..Default::default() })
    }

    /// The status of a pod that never starts because of it.
    fn status(&self) -> PodStatus {
        status_of("Pending", &BTreeMap::from([(self.container.clone(), self.container_status())]))
    }
}

impl Carrying {
    /// The whole life of the pod; gives its last status.
    async fn out(&self, stopped: watch::Receiver<bool>) -> PodStatus {
        let spec = self.pod.spec.clone().unwrap_or_default();
        let Some(plan) = plan_of(&self.pod) else {
            return failed_status(Vec::new(), "the pod has no plan");
        };
        if self.setting.keep != Keep::Nothing {
            let file = pod_dir(&self.setting.folders.run, &self.name).join("plan.json");
            note_failure(record::write(&file, &plan), &file);
        }
        match self.prepare(&spec).await {
            Ok(ready) => self.go(&spec, &plan, ready, stopped).await,
            Err(trouble) => trouble.status(),
        }
    }

    /// Volumes, and an image for each container.
    async fn prepare(&self, spec: &PodSpec) -> Result<Ready, Trouble> {
        let folder = self.setting.folders.run.join("pods").join(&self.name);
        let first = spec.containers.iter().find(|container| container.name != AGENT);
        let of_pod = |message: String| Trouble {
            container: first.map(|container| container.name.clone()).unwrap_or_default(),
            reason: "CreateContainerConfigError",
            message,
        };
        let binaries = binaries(&self.setting).map_err(|error| of_pod(error.to_string()))?;
        let places =
            volumes::make(spec, &self.setting.files, &folder.join("volumes"), &binaries).map_err(of_pod)?;
        let run_dir = match places.get("ergon-run") {
            Some(MountSource::Bind(path)) => path.clone(),
            _ => return Err(of_pod("the pod has no folder for its agent".to_owned())),
        };
        if let (Some(plan), Some(MountSource::Bind(steps))) = (plan_of(&self.pod), places.get("ergon-steps"))
            && let Err(error) = ergon_agent::link_steps(&plan, steps)
        {
            tracing::warn!(%error, "the steps' folders cannot be found by their numbers");
        }
        let mut images = BTreeMap::new();
        for container in wanted(spec).filter(|container| self.mock_of(container).is_none()) {
            let reference = container.image.clone().unwrap_or_default();
            if images.contains_key(&reference) {
                continue;
            }
            let policy = match container.image_pull_policy.as_deref() {
                Some("Always") => PullPolicy::Always,
                Some("Never") => PullPolicy::Never,
                _ => PullPolicy::IfNotPresent,
            };
            let image = self.setting.image(&reference, policy).await.map_err(|error| Trouble {
                container: container.name.clone(),
                reason: "ImagePullBackOff",
                message: crate::chain(&error),
            })?;
            images.insert(reference, image);
        }
        Ok(Ready { places, run_dir, images })
    }

    async fn go(
        &self,
        spec: &PodSpec,
        plan: &PodPlan,
        ready: Ready,
        mut stopped: watch::Receiver<bool>,
    ) -> PodStatus {
        let mut sidecars = Vec::new();
        for container in spec.init_containers.iter().flatten().filter(|container| container.name != AGENT) {
            match self.start_sidecar(spec, container, &ready, &mut stopped).await {
                Ok(running) => sidecars.push(running),
                Err(trouble) => {
                    end_sidecars(sidecars).await;
                    return trouble.status();
                }
            }
        }
        let (reports, mut seen) = watch::channel(PodReport::default());
        let (events, coordination) = mpsc::unbounded_channel();
        let findings = self.findings.clone();
        let name = self.name.clone();
        let forward = tokio::spawn(async move {
            while seen.changed().await.is_ok() {
                let report = seen.borrow_and_update().clone();
                let _ = findings.send(Finding::Report { pod: name.clone(), report });
            }
        });
        let plan_copy = plan.clone();
        let run_dir = ready.run_dir.clone();
        let agent: JoinHandle<()> = tokio::spawn(async move {
            match ergon_agent::carry_out(&plan_copy, &run_dir, &reports, coordination).await {
                Ok(end) => {
                    reports.send_replace(end.report);
                }
                Err(error) => tracing::error!(%error, "the pod cannot be carried out"),
            }
        });

        let mut ends = tokio::task::JoinSet::new();
        let mut statuses: BTreeMap<String, ContainerStatus> = BTreeMap::new();
        let mut trouble = None;
        for container in spec.containers.iter().filter(|container| container.name != AGENT) {
            if let Some(said) = self.mock_of(container) {
                ends.spawn(self.play(container, said, &ready.run_dir));
                continue;
            }
            match self.start_step(spec, container, &ready).await {
                Ok(running) => {
                    let (name, run_dir) = (container.name.clone(), ready.run_dir.clone());
                    ends.spawn(async move {
                        let state = running.until_its_end(&run_dir.join(&name)).await;
                        (name, state)
                    });
                }
                Err(problem) => {
                    statuses.insert(container.name.clone(), problem.container_status());
                    trouble = Some(problem);
                    break;
                }
            }
        }
        let mut stopping = trouble.is_some();
        if stopping {
            let status = status_of("Pending", &statuses);
            let _ = self.findings.send(Finding::Status { pod: self.name.clone(), status });
            tell_to_stop(&events);
        }
        loop {
            tokio::select! {
                ended = ends.join_next() => match ended {
                    Some(Ok((name, state))) => {
                        tell_gone(&events, plan, &name);
                        statuses.insert(name.clone(), container_status(&name, state));
                    }
                    Some(Err(error)) => tracing::error!(%error, "a container was lost sight of"),
                    None => break,
                },
                () = until_told(&mut stopped), if !stopping => {
                    stopping = true;
                    tell_to_stop(&events);
                }
            }
        }
        // Every shim is gone, so the agent ends by itself; it is not waited for where a shim never came.
        if trouble.is_some() {
            agent.abort();
        }
        let _ = agent.await;
        let _ = forward.await;
        end_sidecars(sidecars).await;
        let good = statuses.values().all(|status| {
            let terminated = status.state.as_ref().and_then(|state| state.terminated.as_ref());
            terminated.is_some_and(|terminated| terminated.exit_code == 0)
        });
        match trouble {
            Some(_) => status_of("Pending", &statuses),
            None => status_of(if good { "Succeeded" } else { "Failed" }, &statuses),
        }
    }

    fn mock_of(&self, container: &PodContainer) -> Option<&Said> {
        self.mocks.get(container.name.strip_prefix("step-")?)
    }

    /// A step that is not carried out, from its begin to its end.
    fn play(
        &self,
        container: &PodContainer,
        said: &Said,
        run_dir: &Path,
    ) -> impl Future<Output = (String, ContainerState)> + Send + 'static {
        let (name, said, run_dir) = (container.name.clone(), said.clone(), run_dir.join(&container.name));
        let (events, task) = (self.setting.events.clone(), self.task.clone());
        async move {
            let step = name.strip_prefix("step-").unwrap_or(&name).to_owned();
            let print = move |text: &str| {
                let (task, step, text) = (task.clone(), step.clone(), text.to_owned());
                let _ = events.send(Event::Line { task, step, stream: Stream::Stdout, text });
            };
            let played = tokio::task::spawn_blocking(move || mock_shim::play(&run_dir, &said, print)).await;
            (name, played.unwrap_or_default())
        }
    }

    async fn start_step(
        &self,
        spec: &PodSpec,
        container: &PodContainer,
        ready: &Ready,
    ) -> Result<Running, Trouble> {
        let mut wanted = self.container(spec, container, ready)?;
        let message = format!("{}/{MESSAGE}", paths::RUN);
        wanted.set_env("ERGON_TERMINATION_MESSAGE", message);
        let step = container.name.strip_prefix("step-").unwrap_or(&container.name).to_owned();
        let keep = self.setting.keep;
        let (file, upper) = step_places(&self.setting.folders.run, &self.name, &container.name);
        if keep != Keep::Nothing {
            note_failure(record::write(&file, &wanted), &file);
        }
        let mut running = self.start_container(&wanted, container, step).await?;
        running.upper = Some((upper, keep)).filter(|(_, keep)| *keep != Keep::Nothing);
        Ok(running)
    }

    async fn start_sidecar(
        &self,
        spec: &PodSpec,
        container: &PodContainer,
        ready: &Ready,
        stopped: &mut watch::Receiver<bool>,
    ) -> Result<Running, Trouble> {
        let wanted = self.container(spec, container, ready)?;
        let running = self.start_container(&wanted, container, container.name.clone()).await?;
        let message = tokio::select! {
            () = until_told(stopped) => Err("stopped before it was ready".to_owned()),
            _ = running.container.wait() => Err("ended before it was ready".to_owned()),
            ready = sidecar::until_ready(container.startup_probe.as_ref()) => ready,
        };
        match message {
            Ok(()) => Ok(running),
            Err(message) => {
                running.delete().await;
                Err(Trouble { container: container.name.clone(), reason: "RunContainerError", message })
            }
        }
    }

    async fn start_container(
        &self,
        wanted: &ContainerSpec,
        container: &PodContainer,
        step: String,
    ) -> Result<Running, Trouble> {
        let mut started = self.setting.runtime.start(wanted).await.map_err(|error| Trouble {
            container: container.name.clone(),
            reason: "RunContainerError",
            message: crate::chain(&error),
        })?;
        for note in started.notes() {
            let mut told = self.setting.told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if told.insert(note.clone()) {
                tracing::info!(container = container.name, note, "not all was had as asked for");
            }
        }
        let file =
            self.setting.folders.run.join("logs").join(&self.name).join(format!("{}.log", container.name));
        let log = Log::open(&file).await;
        let mut readers = Vec::new();
        if let Some(stdout) = started.stdout.take() {
            readers.push(self.follow(stdout, step.clone(), Stream::Stdout, log.clone()));
        }
        if let Some(stderr) = started.stderr.take() {
            readers.push(self.follow(stderr, step, Stream::Stderr, log));
        }
        Ok(Running { container: started, readers, upper: None })
    }

    /// Tells each line that a container writes.
    fn follow(
        &self,
        output: impl AsyncRead + Unpin + Send + 'static,
        step: String,
        stream: Stream,
        log: Log,
    ) -> JoinHandle<()> {
        let (events, task) = (self.setting.events.clone(), self.task.clone());
        tokio::spawn(async move {
            let mut output = BufReader::new(output);
            let mut line = Vec::new();
            while let Ok(1..) = output.read_until(b'\n', &mut line).await {
                log.write(&line).await;
                while matches!(line.last(), Some(b'\n' | b'\r')) {
                    line.pop();
                }
                let text = String::from_utf8_lossy(&line).into_owned();
                let _ = events.send(Event::Line { task: task.clone(), step: step.clone(), stream, text });
                line.clear();
            }
        })
    }

    /// What the runtime is asked for.
    fn container(
        &self,
        spec: &PodSpec,
        container: &PodContainer,
        ready: &Ready,
    ) -> Result<ContainerSpec, Trouble> {
        let trouble = |message: String| Trouble {
            container: container.name.clone(),
            reason: "CreateContainerConfigError",
            message,
        };
        let reference = container.image.clone().unwrap_or_default();
        let image = ready.images.get(&reference).ok_or_else(|| trouble(format!("no image `{reference}`")))?;
        let argv =
            [container.command.clone().unwrap_or_default(), container.args.clone().unwrap_or_default()]
                .concat();
        let argv = match (&container.command, argv.is_empty()) {
            // Arguments alone go to the image's entrypoint.
            (None, false) => [image.config.entrypoint.clone(), argv].concat(),
            _ => argv,
        };
        let id = format!("{}-{}-{}", run_id(&self.setting.folders), self.name, container.name);
        let mut wanted =
            ContainerSpec::of_image(id, image, argv).map_err(|error| trouble(crate::chain(&error)))?;
        if let Some(uid) = user_of(spec, container) {
            wanted.user =
                image.user(Some(&uid.to_string())).map_err(|error| trouble(crate::chain(&error)))?;
            // As a container runtime has it: the home that the image knows for this user, or the root.
            if !image.config.env.iter().any(|(name, _)| name == "HOME") {
                let home = wanted.user.home.clone().unwrap_or_else(|| "/".to_owned());
                wanted.set_env("HOME", home);
            }
        }
        for (name, value) in environment::of(container, &self.pod, &self.setting.files).map_err(trouble)? {
            wanted.set_env(name, value);
        }
        if let Some(directory) = &container.working_dir {
            wanted.cwd.clone_from(directory);
        }
        let mounts: Vec<Mount> =
            volumes::mounts(container.volume_mounts.as_deref().unwrap_or_default(), &ready.places)
                .map_err(trouble)?;
        wanted.mounts.extend(mounts);
        self.name.clone_into(&mut wanted.hostname);
        wanted.limits = limits::of(container.resources.as_ref());
        secure(&mut wanted, spec, container);
        let as_root_refused = wanted.user.uid == 0 && runs_as_non_root(spec, container);
        if as_root_refused {
            return Err(trouble(format!(
                "container has runAsNonRoot and image `{reference}` will run as root: set `runAsUser`"
            )));
        }
        Ok(wanted)
    }
}

/// What a pod's containers are made of.
struct Ready {
    places: Places,
    run_dir: PathBuf,
    images: BTreeMap<String, Image>,
}

/// A container, and those who read what it writes.
struct Running {
    container: Container,
    readers: Vec<JoinHandle<()>>,
    /// Where what it wrote to its root is to be kept, and when.
    upper: Option<(PathBuf, Keep)>,
}

/// The file in a step's own folder that its shim leaves the termination message in.
const MESSAGE: &str = "termination-message";

impl Running {
    /// Waits for the end and tells it as the kubelet would: with the message that the shim left.
    async fn until_its_end(self, run_dir: &Path) -> ContainerState {
        let exit = self.container.wait().await;
        let message = tokio::fs::read_to_string(run_dir.join(MESSAGE)).await.ok();
        let (exit_code, reason) = match exit {
            Ok(exit) if exit.oom_killed => (exit.code, "OOMKilled".to_owned()),
            Ok(exit) if exit.code == 0 => (0, "Completed".to_owned()),
            Ok(exit) => (exit.code, "Error".to_owned()),
            Err(error) => (255, crate::chain(&error)),
        };
        match self.upper.clone().filter(|(_, keep)| *keep == Keep::All || exit_code != 0) {
            Some((upper, _)) => self.keep(&upper).await,
            None => self.delete().await,
        }
        let terminated =
            ContainerStateTerminated { exit_code, reason: Some(reason), message, ..Default::default() };
        ContainerState { terminated: Some(terminated), ..Default::default() }
    }

    async fn delete(self) {
        if let Err(error) = self.container.delete().await {
            tracing::warn!(%error, "cannot clear a container away");
        }
        for reader in self.readers {
            let _ = reader.await;
        }
    }

    async fn keep(self, upper: &Path) {
        if let Err(error) = self.container.keep(upper).await {
            tracing::warn!(%error, "cannot clear a container away");
        }
        for reader in self.readers {
            let _ = reader.await;
        }
    }
}

async fn end_sidecars(sidecars: Vec<Running>) {
    for sidecar in sidecars.into_iter().rev() {
        sidecar::end(&sidecar.container).await;
        sidecar.delete().await;
    }
}

/// The lines of one container, kept.
#[derive(Clone)]
struct Log(Option<Arc<tokio::sync::Mutex<tokio::fs::File>>>);

impl Log {
    async fn open(path: &Path) -> Self {
        if let Some(parent) = path.parent() {
            let _ = tokio::fs::create_dir_all(parent).await;
        }
        let file = tokio::fs::File::create(path).await;
        Self(file.ok().map(|file| Arc::new(tokio::sync::Mutex::new(file))))
    }

    async fn write(&self, line: &[u8]) {
        if let Some(file) = &self.0 {
            // A log that cannot be kept must not hold up the step: its lines were told.
            let _ = file.lock().await.write_all(line).await;
        }
    }
}

/// A run goes on where it cannot be written down: it cannot be looked into afterwards.
fn note_failure(written: std::io::Result<()>, path: &Path) {
    if let Err(error) = written {
        tracing::warn!(path = %path.display(), %error, "cannot write down what was run");
    }
}

/// All containers that need an image here: the agent is this process.
fn wanted(spec: &PodSpec) -> impl Iterator<Item = &PodContainer> {
    spec.init_containers.iter().flatten().chain(&spec.containers).filter(|container| container.name != AGENT)
}

/// A folder with the shim in it.
fn binaries(setting: &Setting) -> std::io::Result<PathBuf> {
    let folder = setting.folders.run.join("bin");
    let shim = folder.join("ergon-shim");
    if !shim.exists() {
        std::fs::create_dir_all(&folder)?;
        // A link where the file system allows it: nothing is copied.
        if std::fs::hard_link(&setting.shim, &shim).is_err() {
            let copy = folder.join(format!(".{:?}", std::thread::current().id()));
            std::fs::copy(&setting.shim, &copy)?;
            std::fs::rename(copy, &shim)?;
        }
    }
    Ok(folder)
}

fn run_id(folders: &Folders) -> String {
    folders.run.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The user that the container, or else the pod, asks for.
fn user_of(spec: &PodSpec, container: &PodContainer) -> Option<i64> {
    let own = container.security_context.as_ref().and_then(|context| context.run_as_user);
    own.or(spec.security_context.as_ref().and_then(|context| context.run_as_user))
}

/// Groups, capabilities and the like: the container's own, or the pod's.
fn secure(wanted: &mut ContainerSpec, spec: &PodSpec, container: &PodContainer) {
    let of_pod = spec.security_context.clone().unwrap_or_default();
    let own = container.security_context.clone().unwrap_or_default();
    let number = |id: i64| u32::try_from(id).ok();
    if let Some(gid) = own.run_as_group.or(of_pod.run_as_group).and_then(number) {
        wanted.user.gid = gid;
    }
    wanted.user.groups.extend(of_pod.supplemental_groups.iter().flatten().copied().filter_map(number));
    wanted.user.groups.extend(of_pod.fs_group.and_then(number));
    wanted.read_only_rootfs = own.read_only_root_filesystem == Some(true);
    wanted.no_new_privs = own.allow_privilege_escalation == Some(false);
    let capabilities = own.capabilities.unwrap_or_default();
    wanted.capabilities = Capabilities {
        add: capabilities.add.unwrap_or_default(),
        drop: capabilities.drop.unwrap_or_default(),
        privileged: own.privileged == Some(true),
    };
}

fn runs_as_non_root(spec: &PodSpec, container: &PodContainer) -> bool {
    let own = container.security_context.as_ref().and_then(|context| context.run_as_non_root);
    own.or(spec.security_context.as_ref().and_then(|context| context.run_as_non_root)) == Some(true)
}

/// Says that a container has ended: the agent would wait for ever for a shim that never came.
fn tell_gone(events: &mpsc::UnboundedSender<Coordination>, plan: &PodPlan, container: &str) {
    for (task, of_task) in plan.tasks.iter().enumerate() {
        for (step, _) in of_task.parts().enumerate().filter(|(_, part)| part.place() == container) {
            let _ = events.send(Coordination::Gone { id: StepId { task, step }, at: ergon_agent::now() });
        }
    }
}

fn tell_to_stop(events: &mpsc::UnboundedSender<Coordination>) {
    let stop = Coordination::Stop { reason: StopReason::Cancelled, at: ergon_agent::now() };
    let _ = events.send(stop);
}

/// Waits until the pod is told to end.
async fn until_told(stopped: &mut watch::Receiver<bool>) {
    if stopped.wait_for(|stopped| *stopped).await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn container_status(name: &str, state: ContainerState) -> ContainerStatus {
    ContainerStatus { name: name.to_owned(), state: Some(state), ..Default::default() }
}

fn status_of(phase: &str, statuses: &BTreeMap<String, ContainerStatus>) -> PodStatus {
    PodStatus {
        phase: Some(phase.to_owned()),
        container_statuses: Some(statuses.values().cloned().collect()),
        ..Default::default()
    }
}

fn failed_status(statuses: Vec<ContainerStatus>, message: &str) -> PodStatus {
    PodStatus {
        phase: Some("Failed".to_owned()),
        message: Some(message.to_owned()),
        container_statuses: Some(statuses),
        ..Default::default()
    }
}
