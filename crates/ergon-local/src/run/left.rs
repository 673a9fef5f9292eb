//! What stays of runs in their folders, and what goes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::record::RECORD;
use crate::lock::Lock;
use crate::tree::remove_tree;

/// Held as long as the run goes on, or somebody looks into it.
pub(crate) const LOCK: &str = "lock";
/// There where the folder is to stay until somebody removes it.
const KEPT: &str = "kept";
/// There where the folder is to stay until another run fails.
const FAILED: &str = "failed";
/// How many records are kept of runs whose folders are gone.
const RECORDS: usize = 20;

/// Marks a run's folder as one that is in use, and that is to stay if `keep`.
pub(crate) fn hold(run: &Path, keep: bool) -> io::Result<Lock> {
    // Locked before it has its name, so that nobody finds it free.
    let new = run.join("lock.new");
    let lock = Lock::shared(&new)?;
    if keep {
        fs::write(run.join(KEPT), "")?;
    }
    fs::rename(&new, run.join(LOCK))?;
    Ok(lock)
}

/// Whether all of a run's folder is there, and not its record alone.
pub(crate) fn is_whole(run: &Path) -> bool {
    run.join(KEPT).exists() || run.join(FAILED).exists()
}

/// Keeps the folder of a run that failed in the place of the one that failed before it.
pub(crate) fn keep_failed(runs: &Path, run: &Path) -> io::Result<()> {
    fs::write(run.join(FAILED), "")?;
    for other in folders(runs).filter(|other| other != run && other.join(FAILED).exists()) {
        if !other.join(KEPT).exists()
            && let Some(_free) = free(&other)
        {
            trim(&other);
        }
    }
    Ok(())
}

/// Removes all of a run that has ended but its record.
pub(crate) fn trim(run: &Path) {
    for entry in fs::read_dir(run).into_iter().flatten().flatten() {
        let (name, path) = (entry.file_name(), entry.path());
        if name == RECORD || name == LOCK {
            continue;
        }
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let gone = if is_dir { remove_tree(&path) } else { fs::remove_file(&path) };
        if let Err(error) = gone {
            tracing::warn!(path = %path.display(), %error, "cannot clear up what a run left");
        }
    }
}

/// Removes what nobody uses and nobody wanted to keep: runs that came to no end, and the oldest records.
pub(crate) fn sweep(runs: &Path) {
    let mut records = Vec::new();
    for run in folders(runs) {
        if run.join(KEPT).exists() || !run.join(LOCK).exists() {
            continue;
        }
        if run.join(RECORD).exists() {
            if !run.join(FAILED).exists() {
                records.push(run);
            }
        } else {
            remove(&run);
        }
    }
    // Their names begin with the time.
    records.sort();
    let surplus = records.len().saturating_sub(RECORDS);
    records[..surplus].iter().for_each(|run| {
        remove(run);
    });
}

/// Removes a run that nobody uses; false where somebody does.
pub(crate) fn remove(run: &Path) -> bool {
    let Some(_free) = free(run) else { return false };
    let removed = remove_tree(run);
    if let Err(error) = &removed {
        tracing::warn!(path = %run.display(), %error, "cannot clear up what an earlier run left");
    }
    removed.is_ok()
}

/// The folders of all runs.
pub(crate) fn folders(runs: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(runs).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn free(run: &Path) -> Option<Lock> {
    Lock::try_exclusive(&run.join(LOCK)).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Runs(tempfile::TempDir);

    impl Runs {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn make(&self, name: &str) -> PathBuf {
            let run = self.0.path().join(name);
            fs::create_dir_all(run.join("pods/a")).unwrap();
            run
        }

        /// One that has ended.
        fn recorded(&self, name: &str) -> PathBuf {
            let run = self.make(name);
            drop(hold(&run, false).unwrap());
            fs::write(run.join(RECORD), "{}").unwrap();
            run
        }

        fn names(&self) -> Vec<String> {
            let mut names: Vec<_> = folders(self.0.path())
                .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
                .collect();
            names.sort();
            names
        }
    }

    #[test]
    fn what_is_used_or_kept_stays() {
        let runs = Runs::new();
        let used = hold(&runs.make("used"), false).unwrap();
        drop(hold(&runs.make("left"), false).unwrap());
        drop(hold(&runs.make("kept"), true).unwrap());
        // One that is just being made.
        runs.make("new");
        sweep(runs.0.path());
        assert_eq!(runs.names(), ["kept", "new", "used"]);
        drop(used);
        sweep(runs.0.path());
        assert_eq!(runs.names(), ["kept", "new"]);
    }

    #[test]
    fn the_last_failed_run_stays_whole_and_the_newest_records_stay() {
        let runs = Runs::new();
        for number in 10..10 + RECORDS + 3 {
            trim(&runs.recorded(&number.to_string()));
        }
        let (first, second) = (runs.recorded("a"), runs.recorded("b"));
        keep_failed(runs.0.path(), &first).unwrap();
        assert!(is_whole(&first) && first.join("pods").exists());
        keep_failed(runs.0.path(), &second).unwrap();
        assert!(!is_whole(&first) && !first.join("pods").exists() && first.join(RECORD).exists());
        assert!(is_whole(&second));
        sweep(runs.0.path());
        // `a` is the newest record, and `b` is more than one.
        let names = runs.names();
        assert_eq!((names.len(), names[0].as_str()), (RECORDS + 1, "14"));
        assert!(names.ends_with(&["a".to_owned(), "b".to_owned()]));
    }
}
