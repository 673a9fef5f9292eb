//! One command: made ready, started, watched to its end, and what it left read.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use ergon_wire::{
    Exit, ExitRecord, FromShim, HAS_SECRET, Millis, RunCommand, StepResult, paths, write_frame,
};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::Pid;

use crate::debug::{Decision, Point};
use crate::end::{MESSAGE_PATH_VARIABLE, now, unstarted};
use crate::mask::{Masker, Secrets};
use crate::processes::Usage;
use crate::results::{Budget, Stamp};
use crate::script::Interpreter;
use crate::signals::Signals;
use crate::tee::Tee;
use crate::{credentials, debug, expand, network, program, results, script, supervise, tee};

/// Runs the step's command and records how it ended.
pub(crate) fn run(
    run: &RunCommand,
    run_dir: &Path,
    agent: &mut UnixStream,
    signals: &Signals,
    before_it: Usage,
) -> ExitRecord {
    let step = &run.step;
    let places = Places::of(run);
    places.make();
    let before = results::look(&places.results, &run.results);
    let artifacts_before = results::look(&places.artifacts, &places.provenance);
    let mut told = None;
    if let Some(breakpoints) = step.breakpoints.as_ref().filter(|breakpoints| breakpoints.before) {
        // Its pod runs: whoever looks should see that the step has come to its turn.
        let at = now();
        let _ = write_frame(agent, &FromShim::Started { at });
        told = Some(at);
        let exit = match debug::wait(Point::BeforeStep, breakpoints, agent, signals) {
            Decision::Continue => None,
            Decision::Fail => {
                Some(Exit::NotStarted { message: "so it was decided at its breakpoint".to_owned() })
            }
            Decision::Stopped(exit) => Some(exit),
        };
        if let Some(exit) = exit {
            return ExitRecord { started_at: told, ..unstarted(exit) };
        }
    }
    let secrets = secrets(run);
    let (mut exit, started_at, mut finished_at) = match start(run, run_dir, secrets.as_ref()) {
        Ok(started) => {
            let started_at = told.unwrap_or(started.at);
            if told.is_none() {
                // An agent that is gone is noticed by the watch below.
                let _ = write_frame(agent, &FromShim::Started { at: started_at });
            }
            let (exit, finished_at) = supervise::watch(started.child, step, agent, signals);
            started.tees.into_iter().for_each(Tee::finish);
            (exit, Some(started_at), finished_at)
        }
        Err(message) => {
            let message = secrets.as_ref().map_or_else(|| message.clone(), |secrets| secrets.mask(&message));
            (Exit::NotStarted { message }, told, now())
        }
    };
    let failed = matches!(exit, Exit::Exited { code: 1.. } | Exit::Signaled { .. } | Exit::NotStarted { .. });
    if let Some(breakpoints) = step.breakpoints.as_ref().filter(|points| points.on_failure && failed) {
        match debug::wait(Point::OnFailure, breakpoints, agent, signals) {
            Decision::Continue => exit = Exit::Exited { code: 0 },
            Decision::Fail => {}
            Decision::Stopped(stopped) => exit = stopped,
        }
        finished_at = now();
    }
    let record = ExitRecord { started_at, finished_at, ..unstarted(exit) };
    if started_at.is_none() && !record.exit.is_success() {
        return record;
    }
    let Usage { cpu_ms, memory_peak_kib } = Usage::since(before_it);
    let record = ExitRecord { cpu_ms, memory_peak_kib, ..record };
    let left = places.collect(run, &before, &artifacts_before);
    match left.and_then(|left| secrets.map_or(Ok(()), |secrets| left.check(&secrets)).map(|()| left)) {
        Ok(left) => ExitRecord {
            results: left.results,
            step_results: left.step_results,
            step_artifacts: left.step_artifacts,
            artifacts: left.artifacts,
            ..record
        },
        Err(error) => ExitRecord { results_error: Some(error), ..record },
    }
}

/// Where the step leaves what others read. A sidecar has no such places.
#[derive(Default)]
struct Places {
    results: PathBuf,
    step_results: PathBuf,
    step_artifacts: PathBuf,
    artifacts: PathBuf,
    /// The name of the file with artifacts, as a list for [`results`].
    provenance: Vec<String>,
}

/// What it left.
struct Left {
    results: Vec<StepResult>,
    step_results: Vec<StepResult>,
    step_artifacts: Option<String>,
    artifacts: Option<String>,
}

impl Left {
    /// Refuses what has a secret in it: it would be in the status, for all to read.
    fn check(&self, secrets: &Secrets) -> Result<(), String> {
        let has_secret = |text: &str| secrets.are_in(text.as_bytes());
        if let Some(result) = self.results.iter().chain(&self.step_results).find(|it| has_secret(&it.value)) {
            return Err(format!(
                "the result `{}` {HAS_SECRET}, and results are for all to read: write it into a workspace",
                result.name
            ));
        }
        if self.artifacts.iter().chain(&self.step_artifacts).any(|text| has_secret(text)) {
            return Err(format!("its {} {HAS_SECRET}", paths::PROVENANCE));
        }
        Ok(())
    }
}

/// The values that must not be seen.
fn secrets(run: &RunCommand) -> Option<Arc<Secrets>> {
    if run.step.masked.is_empty() {
        return None;
    }
    let values = run.step.masked.iter().filter_map(std::env::var_os).map(OsString::into_vec);
    Secrets::of(&values.collect::<Vec<_>>())
}

impl Places {
    fn of(run: &RunCommand) -> Self {
        if run.step.is_sidecar {
            return Self::default();
        }
        let step = Path::new(&run.step.step_dir);
        Self {
            results: PathBuf::from(&run.step.results_dir),
            step_results: step.join("results"),
            step_artifacts: step.join("artifacts"),
            artifacts: run.step.artifacts_dir.as_ref().map(PathBuf::from).unwrap_or_default(),
            provenance: if run.step.artifacts_dir.is_some() {
                vec![paths::PROVENANCE.to_owned()]
            } else {
                Vec::new()
            },
        }
    }

    /// All may be volumes that the command's user may not write to; what needs them says so then.
    fn make(&self) {
        for directory in [&self.results, &self.step_results, &self.step_artifacts, &self.artifacts] {
            if !directory.as_os_str().is_empty() {
                let _ = std::fs::create_dir_all(directory);
            }
        }
    }

    fn collect(
        &self,
        run: &RunCommand,
        before: &[Option<Stamp>],
        artifacts_before: &[Option<Stamp>],
    ) -> Result<Left, String> {
        let mut budget = Budget { limit: run.step.result_limit, used: 0 };
        let new = vec![None; run.step.step_results.len().max(1)];
        let results = results::collect(&self.results, "result", &run.results, before, &mut budget)?;
        let own = &run.step.step_results;
        let step_results = results::collect(&self.step_results, "result", own, &new, &mut budget)?;
        let mut provenance = |directory: &Path, before: &[Option<Stamp>]| {
            let mut found = results::collect(directory, "file", &self.provenance, before, &mut budget)?;
            Ok::<_, String>(found.pop().map(|file| file.value))
        };
        let step_artifacts = provenance(&self.step_artifacts, &new)?;
        let artifacts = provenance(&self.artifacts, artifacts_before)?;
        Ok(Left { results, step_results, step_artifacts, artifacts })
    }
}

/// A command that runs.
struct Started {
    child: Pid,
    at: Millis,
    tees: Vec<Tee>,
}

/// Starts the command in a process group of its own.
///
/// # Errors
/// Why it could not be started: a fragment for people.
fn start(run: &RunCommand, run_dir: &Path, secrets: Option<&Arc<Secrets>>) -> Result<Started, String> {
    let step = &run.step;
    if let Some(credentials) = &step.credentials {
        credentials::place(credentials)?;
    }
    if let Some(directory) = step.working_dir.as_deref().filter(|directory| !directory.is_empty()) {
        enter(Path::new(directory))?;
    }
    let mut changed = environment(run);
    let values = step.script.iter().flat_map(|script| &script.values);
    changed.extend(script::variables(values, run_dir)?);
    let (argv, role) = command_line(run, &changed, run_dir)?;
    let Some((name, args)) = argv.split_first() else {
        return Err("the step has neither a command nor a script".to_owned());
    };
    let file = program::find(name).map_err(|message| match role {
        "" => message,
        _ => format!("the interpreter of the script: {message}"),
    })?;
    if step.hermetic {
        network::leave()?;
    }
    let mut command = Command::new(&file);
    command.arg0(name).args(args).env_remove(MESSAGE_PATH_VARIABLE).envs(&changed).process_group(0);
    let stdout = step.stdout_path.as_deref().map(tee::open).transpose()?;
    let stderr = step.stderr_path.as_deref().map(tee::open).transpose()?;
    if stdout.is_some() || secrets.is_some() {
        command.stdout(Stdio::piped());
    }
    if stderr.is_some() || secrets.is_some() {
        command.stderr(Stdio::piped());
    }
    // SAFETY: between fork and exec only sigprocmask(2) and prctl(2) are called, which are async-signal-safe.
    #[expect(unsafe_code, reason = "the command must not inherit that our signals are blocked")]
    unsafe {
        command.pre_exec(|| {
            // Where we are not PID 1, nobody else ends the command of a shim that was killed.
            set_pdeathsig(Signal::SIGKILL)?;
            Ok(SigSet::empty().thread_set_mask()?)
        });
    }
    let mut child = command.spawn().map_err(|error| program::explain(&file, role, &error))?;
    let at = now();
    let masker = || secrets.map(|secrets| Masker::new(Arc::clone(secrets)));
    let out = child.stdout.take().map(|from| Tee::start(from, std::io::stdout(), stdout, masker()));
    let err = child.stderr.take().map(|from| Tee::start(from, std::io::stderr(), stderr, masker()));
    let pid = i32::try_from(child.id()).map_err(|_| format!("the process number {} is none", child.id()))?;
    Ok(Started { child: Pid::from_raw(pid), at, tees: out.into_iter().chain(err).collect() })
}

/// The variables that the plan sets, and those that refer to what earlier steps left, with the values in their places.
fn environment(run: &RunCommand) -> BTreeMap<OsString, String> {
    let late = run.step.env.iter().map(|(name, value)| (OsString::from(name), value.clone()));
    if run.values.is_empty() {
        return late.collect();
    }
    let container = std::env::vars_os().filter_map(|(name, value)| Some((name, value.into_string().ok()?)));
    container
        .chain(late.clone())
        .filter_map(|(name, value)| Some((name, expand::variable(&value, &run.values)?)))
        .chain(late.filter(|(_, value)| expand::variable(value, &run.values).is_none()))
        .collect()
}

/// The words to run, and what the first of them is to the user.
fn command_line(
    run: &RunCommand,
    changed: &BTreeMap<OsString, String>,
    run_dir: &Path,
) -> Result<(Vec<OsString>, &'static str), String> {
    let step = &run.step;
    let known = |name: &str| changed.get(OsStr::new(name)).map(OsString::from).or_else(|| variable(name));
    let argv = step.argv.iter().flat_map(|word| expand::words(word, &run.values, known));
    let Some(script) = &step.script else {
        return Ok((argv.collect(), ""));
    };
    let interpreter = Interpreter::of(&script.text)?;
    if let Some(name) = interpreter.through_env().filter(|_| Path::new(&interpreter.program).exists()) {
        // `env` itself would say so in the log alone, and exit with 127.
        program::find(OsStr::new(name))
            .map_err(|message| format!("the interpreter of the script: {message}"))?;
    }
    let path = script::place(&script.text, script.path.as_deref().map(Path::new), run_dir)?;
    Ok((script::command_line(&interpreter, &path, argv), ", the interpreter of the script,"))
}

/// A variable of the container. A name that no variable can have is unknown, not an error.
fn variable(name: &str) -> Option<OsString> {
    if name.is_empty() || name.contains(['=', '\0']) { None } else { std::env::var_os(name) }
}

fn enter(directory: &Path) -> Result<(), String> {
    let shown = directory.display();
    if !directory.exists() {
        std::fs::create_dir_all(directory).map_err(|error| {
            format!("the working directory `{shown}` is missing and cannot be made: {error}")
        })?;
    }
    std::env::set_current_dir(directory)
        .map_err(|error| format!("the working directory `{shown}` cannot be entered: {error}"))
}
