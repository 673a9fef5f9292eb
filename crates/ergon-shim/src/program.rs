//! Finding the program to run, and saying in words that users know why it cannot be run.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};

/// Where programs are looked up in a container without a PATH: what container runtimes set themselves.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The file of a program: one without a slash is looked up in PATH.
///
/// # Errors
/// A fragment for people.
pub(crate) fn find(name: &OsStr) -> Result<PathBuf, String> {
    if name.is_empty() {
        return Err("the name of the program is empty".to_owned());
    }
    if name.as_bytes().contains(&b'/') {
        return Ok(PathBuf::from(name));
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from(DEFAULT_PATH));
    let mut forbidden = None;
    // An empty entry is the working directory.
    for directory in std::env::split_paths(&path) {
        let file =
            if directory.as_os_str().is_empty() { Path::new(".").join(name) } else { directory.join(name) };
        if !file.is_file() {
            continue;
        }
        if access(&file, AccessFlags::X_OK).is_ok() {
            return Ok(file);
        }
        forbidden.get_or_insert(file);
    }
    Err(match forbidden {
        Some(file) => not_permitted(&file),
        None => format!("`{}` was not found in PATH ({})", name.display(), path.display()),
    })
}

/// Why the kernel would not run a program. `role` comes after its name, such as `, the interpreter of the script,`.
pub(crate) fn explain(file: &Path, role: &str, error: &io::Error) -> String {
    let shown = file.display();
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOENT) if file.exists() => format!(
            "`{shown}`{role} is in the image, but what loads it is not: its dynamic loader, or the interpreter that its own first line names"
        ),
        Some(Errno::ENOENT | Errno::ENOTDIR) => format!("`{shown}`{role} is not in the image"),
        Some(Errno::EACCES | Errno::EPERM) => not_permitted(file),
        Some(Errno::ENOEXEC) => format!(
            "`{shown}`{role} is no program that this machine runs: it is for another architecture, or a script with no `#!` line"
        ),
        Some(Errno::E2BIG) => format!(
            "the arguments and the environment of `{shown}` are longer than the kernel takes: pass long values in a file"
        ),
        _ => format!("`{shown}`{role} cannot be run: {error}"),
    }
}

fn not_permitted(file: &Path) -> String {
    let shown = file.display();
    match file.metadata() {
        Ok(metadata) if metadata.is_dir() => format!("`{shown}` is a directory, not a program"),
        Ok(metadata) => {
            let mode = metadata.permissions().mode() & 0o7777;
            let user = nix::unistd::geteuid();
            format!(
                "permission denied: `{shown}` (mode {mode:04o}) cannot be executed by user {user}, or where it is mounted forbids it"
            )
        }
        Err(error) => format!("permission denied: `{shown}`: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_run_is_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("tool");
        std::fs::write(&file, "no program").unwrap();
        let shown = file.display();
        let missing = directory.path().join("none");
        let os = |errno: Errno| io::Error::from_raw_os_error(errno as i32);
        let role = ", the interpreter of the script,";
        for (path, errno, expected) in [
            (
                &missing,
                Errno::ENOENT,
                format!("`{}`, the interpreter of the script, is not in the image", missing.display()),
            ),
            (
                &file,
                Errno::ENOENT,
                format!(
                    "`{shown}`, the interpreter of the script, is in the image, but what loads it is not: "
                ),
            ),
            (
                &file,
                Errno::EACCES,
                format!("permission denied: `{shown}` (mode 0644) cannot be executed by user "),
            ),
            (
                &file,
                Errno::ENOEXEC,
                format!("`{shown}`, the interpreter of the script, is no program that this machine runs"),
            ),
            (&file, Errno::ENOMEM, format!("`{shown}`, the interpreter of the script, cannot be run: ")),
        ] {
            let told = explain(path, role, &os(errno));
            assert!(told.starts_with(&expected), "{told}");
        }
        assert!(explain(directory.path(), "", &os(Errno::EACCES)).ends_with("is a directory, not a program"));
        assert_eq!(find(OsStr::new("/x/y")).unwrap(), Path::new("/x/y"));
        assert!(
            find(OsStr::new("no-such-tool-here"))
                .unwrap_err()
                .starts_with("`no-such-tool-here` was not found in PATH (")
        );
    }
}
