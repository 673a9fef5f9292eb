//! Into the file system that a step left.

use std::path::{Path, PathBuf};

use ergon_engine::coordinate::{Command, Event, PodState, StepId};
use ergon_wire::{PodPlan, RunCommand, ScriptValue, StepState, paths};

use super::{KeptError, KeptRun, KeptStep};
use crate::container::{Container, ContainerSpec, Runtime};
use crate::images::Store;
use crate::lock::Lock;
use crate::run::{left, record};

/// What is run where nothing else is named.
const SHELL: [&str; 3] = ["sh", "-c", "if command -v bash >/dev/null 2>&1; then exec bash; else exec sh; fi"];

/// A program in what was a step's container.
#[derive(Debug)]
pub struct Entered {
    pub container: Container,
    /// False: what the step wrote to its root is gone, and this is its image as it was.
    pub as_it_was: bool,
    /// The step's script, as the program finds it.
    pub script: Option<PathBuf>,
    _held: Held,
}

/// As long as it is there, nothing of the run is removed.
#[derive(Debug)]
pub(super) struct Held {
    _store: Store,
    _run: Lock,
    upper: Option<Lock>,
}

/// Starts a program as a step's container has it: its files, variables, user, folders. Without `argv` it is a shell.
///
/// # Errors
/// What it needs of the run is gone, somebody else is in there, or the image has no such program.
pub async fn enter(
    home: &Path,
    run: &KeptRun,
    step: &KeptStep,
    argv: Vec<String>,
    terminal: bool,
) -> Result<Entered, KeptError> {
    let (mut spec, mut held) = hold(home, run, step)?;
    let (_, upper) = record::step_places(&run.folder, &step.pod, &step.container);
    let as_it_was = upper.is_dir();
    if as_it_was {
        // Two containers over one directory would not see each other's writing.
        let lock = Lock::try_exclusive(&upper.with_extension("lock"))
            .map_err(|source| KeptError::Folder { path: upper.clone(), source })?;
        held.upper = Some(lock.ok_or_else(|| KeptError::NotFound {
            message: format!("another `ergon shell` is in `{}`", step.name()),
            hint: "end it first".to_owned(),
        })?);
        spec.upper = Some(upper);
    }
    spec.id = format!("shell-{}-{}", std::process::id(), step.container);
    spec.argv = if argv.is_empty() { SHELL.map(str::to_owned).to_vec() } else { argv };
    spec.terminal = terminal;
    let mut script = None;
    if let Ok(command) = command_of(run, step) {
        script = own_script(run, step, &command);
        set(&mut spec, &command);
    }
    if terminal && let Ok(kind) = std::env::var("TERM") {
        spec.set_env("TERM", kind);
    }
    let runtime = Runtime::open(home.join("containers"))?;
    Ok(Entered { container: runtime.start(&spec).await?, as_it_was, script, _held: held })
}

/// A step's container as it was asked for, and the hold on what it is made of.
pub(super) fn hold(home: &Path, run: &KeptRun, step: &KeptStep) -> Result<(ContainerSpec, Held), KeptError> {
    let path = run.folder.join(left::LOCK);
    let lock = Lock::shared(&path).map_err(|source| KeptError::Folder { path, source })?;
    let (file, _) = record::step_places(&run.folder, &step.pod, &step.container);
    let gone = |message: String, hint: &str| KeptError::NotFound { message, hint: hint.to_owned() };
    let spec: ContainerSpec = record::read(&file).ok_or_else(|| {
        if run.is_whole {
            let message = format!("step `{}` had no container: it was never started", step.name());
            gone(message, "name another step: `ergon runs list RUN` shows them")
        } else {
            let message = format!("only the record of run `{}` is left", run.record.name);
            gone(message, "the last run that failed is kept; `ergon run --keep` keeps any other")
        }
    })?;
    let store = Store::open(home.join("images"))?;
    if let Some(layer) = spec.layers.iter().find(|layer| !layer.path.is_dir()) {
        let message =
            format!("the image of step `{}` was removed: {} is missing", step.name(), layer.path.display());
        return Err(gone(message, "run it again: that brings the image back"));
    }
    Ok((spec, Held { _store: store, _run: lock, upper: None }))
}

/// What the step's shim was told: the plan, and what the steps before it left, give it again.
pub(super) fn command_of(run: &KeptRun, step: &KeptStep) -> Result<RunCommand, KeptError> {
    let unknown = |what: &str| KeptError::Replay(what.to_owned());
    let mut plan: PodPlan = record::read(&record::pod_dir(&run.folder, &step.pod).join("plan.json"))
        .ok_or_else(|| unknown("what it was told is not kept"))?;
    let task = plan.tasks.first_mut().ok_or_else(|| unknown("its pod had no task"))?;
    task.sidecars.clear();
    let at = task.steps.iter().position(|known| known.container == step.container);
    let at = at.ok_or_else(|| unknown("its pod had no such step"))?;
    let report = run.record.pods.iter().find(|pod| pod.pod == step.pod).map(|pod| &pod.report);
    let report = report.ok_or_else(|| unknown("its pod is not in the record"))?;
    let mut state = PodState::new(&plan).map_err(|error| unknown(&error.to_string()))?;
    for (number, before) in report.steps.iter().enumerate().take(at) {
        let id = StepId { task: 0, step: number };
        state.handle(Event::Connected { id });
        if let StepState::Ended { record } = &before.state {
            state.handle(Event::Started { id, at: record.started_at.unwrap_or(record.finished_at) });
            state.handle(Event::Ended { id, record: record.clone() });
        }
    }
    let told = state.handle(Event::Connected { id: StepId { task: 0, step: at } });
    let command = told.into_iter().find_map(|command| match command {
        Command::Run { command, .. } => Some(*command),
        _ => None,
    });
    command
        .ok_or_else(|| unknown("its turn never came: a step before it failed, or its condition did not hold"))
}

/// What the step's shim adds to its container.
fn set(spec: &mut ContainerSpec, command: &RunCommand) {
    let late = |text: &str| {
        let values = command.values.iter();
        values.fold(text.to_owned(), |text, (name, value)| {
            text.replace(&format!("$({name})"), &value.to_string())
        })
    };
    spec.env.retain(|(name, _)| name != "ERGON_TERMINATION_MESSAGE");
    spec.env.iter_mut().for_each(|(_, value)| *value = late(value));
    for (name, value) in &command.step.env {
        spec.set_env(name.clone(), late(value));
    }
    for (name, value) in command.step.script.iter().flat_map(|script| &script.values) {
        match value {
            ScriptValue::Text(text) => spec.set_env(name.clone(), text.clone()),
            ScriptValue::File(_) => spec.set_env(format!("{name}_FILE"), format!("{}/{name}", paths::RUN)),
            ScriptValue::Later(_) => {}
        }
    }
    if let Some(directory) = command.step.working_dir.as_ref().filter(|directory| !directory.is_empty()) {
        spec.cwd.clone_from(directory);
    }
}

/// Where the step's script is, in its container: where it was wanted, or else in the step's own folder.
fn own_script(run: &KeptRun, step: &KeptStep, command: &RunCommand) -> Option<PathBuf> {
    let script = command.step.script.as_ref()?;
    let own = run_dir(run, step).join(&step.container).join("script");
    if own.exists() {
        Some(Path::new(paths::RUN).join("script"))
    } else {
        script.path.as_ref().map(PathBuf::from)
    }
}

/// Where the agent has the folders of a pod's steps.
pub(super) fn run_dir(run: &KeptRun, step: &KeptStep) -> PathBuf {
    record::pod_dir(&run.folder, &step.pod).join("volumes").join("ergon-run")
}
