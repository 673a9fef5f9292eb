//! The results that a step wrote: small text files in a directory that all steps of the task share.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use ergon_wire::StepResult;
use nix::errno::Errno;
use nix::libc;

/// What tells one state of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        // The change time: unlike the modification time, no program can set it back.
        Self {
            inode: metadata.ino(),
            size: metadata.size(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// The files as they are before the step, in the order of their names: what steps before it wrote.
pub(crate) fn look(directory: &Path, names: &[String]) -> Vec<Option<Stamp>> {
    names
        .iter()
        .map(|name| directory.join(name).symlink_metadata().ok().map(|metadata| Stamp::of(&metadata)))
        .collect()
}

/// How many bytes all results of a task may have together, and how many they have so far.
pub(crate) struct Budget {
    pub(crate) limit: usize,
    pub(crate) used: usize,
}

/// The results that were added or changed since `before`. `what` names them, such as `result`.
///
/// # Errors
/// A fragment for people that names the result: not a file, not text, or more bytes than the budget has left.
pub(crate) fn collect(
    directory: &Path,
    what: &str,
    names: &[String],
    before: &[Option<Stamp>],
    budget: &mut Budget,
) -> Result<Vec<StepResult>, String> {
    let mut results = Vec::new();
    for (name, before) in names.iter().zip(before) {
        let path = directory.join(name);
        let metadata = match path.symlink_metadata() {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(format!("the {what} `{name}` cannot be read: {error}")),
        };
        if *before == Some(Stamp::of(&metadata)) {
            let size = usize::try_from(metadata.size()).unwrap_or(usize::MAX);
            budget.used = budget.used.saturating_add(size);
            continue;
        }
        let file = open(&path).map_err(|problem| format!("the {what} `{name}` {problem}"))?;
        let left = budget.limit.saturating_sub(budget.used);
        let mut bytes = Vec::new();
        file.take(left as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| format!("the {what} `{name}` cannot be read: {error}"))?;
        if bytes.len() > left {
            let size = path.symlink_metadata().map_or(bytes.len() as u64, |metadata| metadata.size());
            let (limit, used) = (budget.limit, budget.used);
            let others = if used > 0 { format!(", and {used} are taken by others") } else { String::new() };
            return Err(format!(
                "the {what} `{name}` has {size} bytes: all results of a task together may have {limit}{others}; put large data in a workspace"
            ));
        }
        budget.used += bytes.len();
        let value = String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            format!("the {what} `{name}` is not UTF-8 text (at byte {at}): encode it, such as with base64")
        })?;
        results.push(StepResult { name: name.clone(), value });
    }
    Ok(results)
}

/// Opens a regular file: nothing that leads elsewhere, and nothing that would block.
fn open(path: &Path) -> Result<File, String> {
    let file =
        OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path).map_err(
            |error| match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::ELOOP) => "is a symbolic link: write a regular file".to_owned(),
                _ => format!("cannot be read: {error}"),
            },
        )?;
    match file.metadata() {
        Ok(metadata) if metadata.is_file() => Ok(file),
        Ok(_) => Err("is not a regular file: write one".to_owned()),
        Err(error) => Err(format!("cannot be read: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<String> {
        ["a", "b", "c"].map(str::to_owned).to_vec()
    }

    fn read(
        directory: &Path,
        before: &[Option<Stamp>],
        limit: usize,
    ) -> Result<Vec<(String, String)>, String> {
        let results = collect(directory, "result", &names(), before, &mut Budget { limit, used: 0 })?;
        Ok(results.into_iter().map(|result| (result.name, result.value)).collect())
    }

    #[test]
    fn only_what_the_step_wrote_is_taken_and_taken_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        std::fs::write(path.join("a"), "old").unwrap();
        std::fs::write(path.join("b"), "old").unwrap();
        let before = look(path, &names());
        std::fs::write(path.join("b"), "new").unwrap();
        std::fs::write(path.join("c"), "line\n").unwrap();
        std::fs::write(path.join("undeclared"), "x").unwrap();
        let expected =
            [("b", "new"), ("c", "line\n")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(read(path, &before, 11).unwrap(), expected);
        assert_eq!(
            read(path, &before, 10).unwrap_err(),
            "the result `c` has 5 bytes: all results of a task together may have 10, and 6 are taken by others; put large data in a workspace"
        );
    }

    #[test]
    fn what_is_no_text_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        let read = || read(directory.path(), &[None, None, None], 100);
        assert_eq!(read().unwrap(), []);

        std::os::unix::fs::symlink("/etc/hostname", &path).unwrap();
        assert_eq!(read().unwrap_err(), "the result `a` is a symbolic link: write a regular file");
        std::fs::remove_file(&path).unwrap();

        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(read().unwrap_err(), "the result `a` is not a regular file: write one");
        std::fs::remove_file(&path).unwrap();

        std::fs::create_dir(&path).unwrap();
        assert_eq!(read().unwrap_err(), "the result `a` is not a regular file: write one");
        std::fs::remove_dir(&path).unwrap();

        std::fs::write(&path, b"ok\xff").unwrap();
        assert_eq!(
            read().unwrap_err(),
            "the result `a` is not UTF-8 text (at byte 2): encode it, such as with base64"
        );
    }
}
