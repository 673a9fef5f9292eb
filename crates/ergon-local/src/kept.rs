//! Runs that have ended: finding them, a look into their steps, and running one of them again.

mod enter;
mod find;
mod replay;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

pub use enter::{Entered, enter};
pub use find::{KeptStep, find, find_step};
pub use replay::{Replayed, replay};

use crate::run::{Record, left};

/// Why a run that has ended cannot be used as asked for.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    /// There is no such run or step; with what to do.
    #[error("{message}")]
    NotFound { message: String, hint: String },
    #[error("cannot use {}: {source}", path.display())]
    Folder { path: PathBuf, source: std::io::Error },
    #[error("the step cannot be run again: {0}")]
    Replay(String),
    #[error(transparent)]
    Run(#[from] crate::RunError),
    #[error(transparent)]
    Image(#[from] crate::images::ImageError),
    #[error(transparent)]
    Container(#[from] crate::container::ContainerError),
}

/// A run that has ended.
#[derive(Debug, Clone)]
pub struct KeptRun {
    /// Its own among all runs of this machine's user.
    pub id: String,
    pub folder: PathBuf,
    pub record: Record,
    /// All of it is there, and not its record alone.
    pub is_whole: bool,
}

/// All runs of which something is left, the newest first. `home`: where runs are kept, such as [`crate::home`].
pub fn runs(home: &Path) -> Vec<KeptRun> {
    let mut runs: Vec<KeptRun> = left::folders(&home.join("runs"))
        .filter_map(|folder| {
            let record = Record::read(&folder)?;
            let id = folder.file_name()?.to_str()?.to_owned();
            Some(KeptRun { id, is_whole: left::is_whole(&folder), folder, record })
        })
        .collect();
    runs.sort_by(|one, other| other.record.began.cmp(&one.record.began).then(other.id.cmp(&one.id)));
    runs
}

/// Which runs are removed.
#[derive(Debug, Clone, Copy, Default)]
pub struct PruneRuns {
    /// Only those that ended so long ago.
    pub older_than: Option<Duration>,
    /// Only say which.
    pub dry_run: bool,
}

/// Removes what is left of runs, but for those in use. Gives those that are gone.
pub fn prune_runs(home: &Path, what: PruneRuns) -> Vec<KeptRun> {
    let limit = what.older_than.and_then(|age| SystemTime::now().checked_sub(age));
    let limit = limit.and_then(|at| jiff::Timestamp::try_from(at).ok());
    runs(home)
        .into_iter()
        .filter(|run| limit.is_none_or(|limit| run.record.began < limit))
        .filter(|run| what.dry_run || left::remove(&run.folder))
        .collect()
}
