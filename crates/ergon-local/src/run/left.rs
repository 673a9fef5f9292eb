//! Folders of runs whose `ergon` is gone.

use std::fs;
use std::io;
use std::path::Path;

use crate::lock::Lock;
use crate::tree::remove_tree;

/// Held as long as the run goes on.
const LOCK: &str = "lock";
/// There where the folder is to stay afterwards.
const KEPT: &str = "kept";

/// Marks a run's folder as one that is in use, and that is to stay if `keep`.
pub(super) fn hold(run: &Path, keep: bool) -> io::Result<Lock> {
    // Locked before it has its name, so that nobody finds it free.
    let new = run.join("lock.new");
    let lock = Lock::shared(&new)?;
    if keep {
        fs::write(run.join(KEPT), "")?;
    }
    fs::rename(&new, run.join(LOCK))?;
    Ok(lock)
}

/// Removes what nobody uses and nobody wanted to keep.
pub(super) fn sweep(runs: &Path) {
    for entry in fs::read_dir(runs).into_iter().flatten().flatten() {
        let run = entry.path();
        let lock = run.join(LOCK);
        if run.join(KEPT).exists() || !lock.exists() {
            continue;
        }
        if matches!(Lock::try_exclusive(&lock), Ok(Some(_)))
            && let Err(error) = remove_tree(&run)
        {
            tracing::warn!(path = %run.display(), %error, "cannot clear up what an earlier run left");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_or_kept_stays() {
        let runs = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let run = runs.path().join(name);
            fs::create_dir_all(run.join("pods/a")).unwrap();
            run
        };
        let used = hold(&make("used"), false).unwrap();
        drop(hold(&make("left"), false).unwrap());
        drop(hold(&make("kept"), true).unwrap());
        // One that is just being made.
        make("new");
        let names = || {
            let names = fs::read_dir(runs.path()).unwrap().map(|entry| entry.unwrap().file_name());
            let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
            names.sort();
            names
        };
        sweep(runs.path());
        assert_eq!(names(), ["kept", "new", "used"]);
        drop(used);
        sweep(runs.path());
        assert_eq!(names(), ["kept", "new"]);
    }
}
