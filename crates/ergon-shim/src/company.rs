//! Several steps in one container, one after another: what each must not notice of those before it.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ergon_wire::{Company, StepPlan};

/// What the first step found, so that the others find it too.
pub(crate) struct Origin {
    directory: Option<PathBuf>,
}

impl Origin {
    pub(crate) fn here() -> Self {
        Self { directory: std::env::current_dir().ok() }
    }

    /// Makes the container as it was, as far as a step counts on it, and says in the log whose turn it is.
    ///
    /// # Errors
    /// What is left of the steps before: a fragment for people. The step must not run then.
    pub(crate) fn restore(&self, step: &StepPlan, company: &Company) -> Result<(), String> {
        // A log that cannot be written to is no reason to fail.
        let _ = io::Write::write_all(&mut io::stdout(), format!("{}\n", company.log_line()).as_bytes());
        if let Some(directory) = &self.directory {
            std::env::set_current_dir(directory).map_err(|error| {
                format!("the working directory `{}` cannot be entered again: {error}", directory.display())
            })?;
        }
        let mounts = mounts().map_err(|error| format!("what is mounted cannot be read: {error}"))?;
        let shared = step.empty_first.iter().filter(|_| company.fresh);
        for folder in [&step.step_dir].into_iter().chain(shared) {
            empty(Path::new(folder), &mounts).map_err(|error| {
                format!("`{folder}` still has files of the task before, which cannot be removed: {error}")
            })?;
        }
        Ok(())
    }
}

/// Removes all that is in a directory, but for what is mounted there; one that is not there is empty.
fn empty(directory: &Path, mounts: &[PathBuf]) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        if mounts.contains(&path) {
            continue;
        }
        if !entry.file_type()?.is_dir() {
            fs::remove_file(path)?;
        } else if mounts.iter().any(|mount| mount.starts_with(&path)) {
            empty(&path, mounts)?;
        } else if let Err(error) = fs::remove_dir_all(&path) {
            if error.kind() != io::ErrorKind::PermissionDenied {
                return Err(error);
            }
            // Caches of modules are full of folders that their owner may not write to.
            open_up(&path)?;
            fs::remove_dir_all(path)?;
        }
    }
    Ok(())
}

/// Where something is mounted, as the kernel says it.
fn mounts() -> io::Result<Vec<PathBuf>> {
    let lines = fs::read_to_string("/proc/self/mountinfo")?;
    Ok(lines.lines().filter_map(|line| line.split(' ').nth(4)).map(unescape).collect())
}

/// A path of mountinfo: blanks and backslashes are octal numbers there.
fn unescape(text: &str) -> PathBuf {
    let text = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (code, plain)| text.replace(code, plain));
    PathBuf::from(text)
}

fn open_up(directory: &Path) -> io::Result<()> {
    fs::set_permissions(directory, Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_emptied_whatever_its_owner_made_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let closed = folder.path().join("cache/module");
        fs::create_dir_all(&closed).unwrap();
        fs::write(closed.join("file"), "").unwrap();
        std::os::unix::fs::symlink("/nowhere", folder.path().join("link")).unwrap();
        fs::set_permissions(&closed, Permissions::from_mode(0o555)).unwrap();
        fs::create_dir_all(folder.path().join("workspace/source")).unwrap();
        fs::create_dir_all(folder.path().join("workspace/other")).unwrap();
        let mounted = folder.path().join("workspace/source");
        fs::write(mounted.join("kept"), "").unwrap();
        empty(folder.path(), std::slice::from_ref(&mounted)).unwrap();
        assert!(mounted.join("kept").exists(), "what is mounted there is another's");
        assert_eq!(fs::read_dir(folder.path().join("workspace")).unwrap().count(), 1);
        empty(folder.path(), &[]).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        empty(&folder.path().join("missing"), &[]).unwrap();
        assert!(mounts().unwrap().contains(&PathBuf::from("/")));
        assert_eq!(unescape("/a\\040b"), Path::new("/a b"));
    }
}
