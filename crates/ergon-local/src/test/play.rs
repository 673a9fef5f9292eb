//! Carrying one case out.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use ergon_api::{Param, ParamValue};
use tokio::sync::{mpsc, watch};

use super::check::{Line, check};
use super::coverage::{Branch, branches};
use super::load::is_below;
use super::{Case, Mismatch, Mock, Suite, Workspace};
use crate::event::Event;
use crate::run::{self, Keep, Mocks, Outcome, Part, RunError, RunOptions, Stop, WorkspaceSource};

/// How long a case may take that does not say.
const LONGEST: Duration = Duration::from_mins(10);
/// How many of the last lines are kept for a failure.
const TAIL: usize = 20;

/// A case that was carried out.
#[derive(Debug)]
pub struct Played {
    pub duration: Duration,
    /// Whether a container ran.
    pub with_containers: bool,
    /// What was not as expected; empty where the case passed.
    pub mismatches: Vec<Mismatch>,
    /// Why the run could not be carried out.
    pub error: Option<String>,
    /// The last lines that were printed, as `task | step | text`.
    pub tail: Vec<String>,
    /// Which branches of `when` were taken.
    pub branches: Vec<Branch>,
}

/// Carries a case out, and compares. `home`: where images and runs are kept.
pub async fn play(suite: &Suite, case: usize, home: &Path, stop: watch::Receiver<Stop>) -> Played {
    let begun = Instant::now();
    let case = &suite.definition.spec.cases[case];
    let mut played = Played {
        duration: Duration::ZERO,
        with_containers: false,
        mismatches: Vec::new(),
        error: None,
        tail: Vec::new(),
        branches: Vec::new(),
    };
    played.error = carry_out(suite, case, home, stop, &mut played).await.err();
    played.duration = begun.elapsed();
    played
}

async fn carry_out(
    suite: &Suite,
    case: &Case,
    home: &Path,
    stop: watch::Receiver<Stop>,
    played: &mut Played,
) -> Result<(), String> {
    let spec = &suite.definition.spec;
    let given = merged(&spec.workspaces, &case.workspaces);
    let folder = tempfile::Builder::new()
        .prefix("ergon-test-")
        .tempdir()
        .map_err(|error| format!("cannot make a folder for workspaces: {error}"))?;
    let limit = case.timeout.map_or(LONGEST, |limit| {
        Duration::from_millis(u64::try_from(limit.as_millis()).unwrap_or(0)).min(LONGEST * 144)
    });
    let (ending, stopped) = watch::channel(Stop::No);
    let mut options = RunOptions {
        documents: suite.documents.clone(),
        name: spec.run.clone(),
        params: params(&merged(&spec.params, &case.params)),
        workspaces: given.keys().map(|name| (name.clone(), WorkspaceSource::EmptyDir)).collect(),
        home: home.to_owned(),
        keep: Keep::Nothing,
        part: Part::default(),
        mocks: Mocks(merged::<Mock>(&spec.mocks, &case.mocks)),
        stop: stopped,
    };
    let folders = |options: &mut RunOptions| {
        let names = given.keys().chain(case.expect.workspaces.keys());
        for name in names {
            let path = folder.path().join(name);
            fill(&path, given.get(name), &suite.folder)
                .map_err(|error| format!("cannot fill the workspace `{name}`: {error}"))?;
            options.workspaces.insert(name.clone(), WorkspaceSource::Path(path));
        }
        Ok::<(), String>(())
    };
    // Without a look into workspaces nothing has to be on disk where no container runs.
    if !case.expect.workspaces.is_empty() {
        folders(&mut options)?;
    }
    let told = |error: RunError| crate::chain(&error);
    let simulated = Box::pin(run::simulate(&options)).await.map_err(told)?;
    let (outcome, events) = if let Some(simulated) = simulated {
        simulated
    } else {
        played.with_containers = true;
        if case.expect.workspaces.is_empty() {
            folders(&mut options)?;
        }
        let (outcome, events, in_time) =
            Box::pin(really(options, stop, &ending, limit)).await.map_err(told)?;
        if !in_time {
            return Err(format!("the run did not end within {}s", limit.as_secs()));
        }
        (outcome, events)
    };
    let lines: Vec<Line> = events.into_iter().filter_map(Line::of).collect();
    let workspaces = |name: &str| folder.path().join(name);
    played.mismatches = check(&case.expect, &outcome, &lines, &workspaces);
    played.branches = branches(&outcome);
    let from = lines.len().saturating_sub(TAIL);
    played.tail =
        lines[from..].iter().map(|line| format!("{} | {} | {}", line.task, line.step, line.text)).collect();
    Ok(())
}

/// A run with containers: its end, what happened, and whether it came to its end in time.
async fn really(
    options: RunOptions,
    mut stop: watch::Receiver<Stop>,
    ending: &watch::Sender<Stop>,
    limit: Duration,
) -> Result<(Outcome, Vec<Event>, bool), RunError> {
    let (sender, mut inbox) = mpsc::unbounded_channel();
    let mut running = std::pin::pin!(run::play(options, sender));
    let mut late = std::pin::pin!(tokio::time::sleep(limit));
    let (mut is_late, mut is_stopped) = (false, false);
    let outcome = loop {
        tokio::select! {
            outcome = &mut running => break outcome?,
            () = &mut late, if !is_late => {
                is_late = true;
                ending.send_replace(Stop::Now);
            }
            wanted = stop.wait_for(|wanted| *wanted > Stop::No), if !is_stopped => {
                is_stopped = true;
                if wanted.is_ok() {
                    ending.send_replace(Stop::Now);
                }
            }
        }
    };
    let mut events = Vec::new();
    while let Ok(event) = inbox.try_recv() {
        events.push(event);
    }
    Ok((outcome, events, !is_late))
}

fn params(values: &BTreeMap<String, ParamValue>) -> Vec<Param> {
    values.iter().map(|(name, value)| Param { name: name.clone(), value: value.clone() }).collect()
}

/// What all cases have, and in its place what this one has.
fn merged<T: Clone>(all: &BTreeMap<String, T>, own: &BTreeMap<String, T>) -> BTreeMap<String, T> {
    all.iter().chain(own).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Makes a workspace, which steps of any user may write to.
fn fill(path: &Path, given: Option<&Workspace>, suite: &Path) -> io::Result<()> {
    open_dir(path)?;
    let Some(given) = given else { return Ok(()) };
    if let Some(from) = &given.from {
        copy(&suite.join(from), path)?;
    }
    for (name, text) in given.files.iter().filter(|(name, _)| is_below(name)) {
        let file = path.join(name);
        let mut parent = path.to_owned();
        for part in Path::new(name).parent().into_iter().flat_map(Path::components) {
            parent.push(part);
            open_dir(&parent)?;
        }
        fs::write(&file, text)?;
        fs::set_permissions(&file, Permissions::from_mode(0o666))?;
    }
    Ok(())
}

fn open_dir(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o777))
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            open_dir(&target)?;
            copy(&entry.path(), &target)?;
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(entry.path())?, &target)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), &target)?;
            let mode = entry.metadata()?.permissions().mode();
            fs::set_permissions(&target, Permissions::from_mode(0o666 | mode & 0o111))?;
        }
    }
    Ok(())
}
