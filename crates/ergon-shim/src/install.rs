//! The shim without an agent: copying itself into a pod, and running the script of a sidecar.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use nix::errno::Errno;
use nix::libc::MFD_NOEXEC_SEAL;
use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::script::Interpreter;
use crate::{program, say, script};

/// What a shell exits with where it cannot start a program.
const NOT_STARTED: u8 = 127;

/// Copies this program into a directory: for clusters that cannot mount an image.
pub(crate) fn install(directory: &Path) -> ExitCode {
    match copy(directory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format_args!(
                "ergon-shim: this program cannot be copied to `{}`: {error}",
                directory.display()
            ));
            ExitCode::FAILURE
        }
    }
}

fn copy(directory: &Path) -> io::Result<()> {
    // Under another name first: whoever finds the name finds the whole program.
    let unfinished = directory.join(".ergon-shim.new");
    let mut own = File::open("/proc/self/exe")?;
    let mut copy =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o755).open(&unfinished)?;
    io::copy(&mut own, &mut copy)?;
    drop(copy);
    std::fs::rename(&unfinished, directory.join("ergon-shim"))
}

/// Becomes the interpreter of the script in an environment variable; returns only where that fails.
pub(crate) fn exec_script(variable: &OsStr, args: impl Iterator<Item = OsString>) -> ExitCode {
    let problem = match prepare(variable, args) {
        Ok((file, mut command, _script)) => {
            let error = command.exec();
            program::explain(&file, ", the interpreter of the script,", &error)
        }
        Err(problem) => problem,
    };
    say(&format_args!("ergon: the script could not be started: {problem}"));
    ExitCode::from(NOT_STARTED)
}

/// The script's file is in memory: a sidecar may have no place to write to. It must stay open until the exec.
fn prepare(
    variable: &OsStr,
    args: impl Iterator<Item = OsString>,
) -> Result<(PathBuf, Command, File), String> {
    let text = std::env::var_os(variable)
        .ok_or_else(|| format!("the environment variable `{}` is not set", variable.display()))?
        .into_string()
        .map_err(|_| format!("the environment variable `{}` is not UTF-8 text", variable.display()))?;
    let interpreter = Interpreter::of(&text)?;
    let script = in_memory(&text).map_err(|error| format!("the script cannot be kept in memory: {error}"))?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", script.as_raw_fd()));
    let argv = script::command_line(&interpreter, &path, args);
    let (name, rest) = argv.split_first().ok_or("no interpreter")?;
    let file = program::find(name)?;
    let mut command = Command::new(&file);
    command.arg0(name).args(rest).env_remove(variable);
    Ok((file, command, script))
}

fn in_memory(text: &str) -> io::Result<File> {
    // Hardened nodes take no other; kernels before 6.3 do not know it.
    let made = match memfd_create(c"script", MFdFlags::from_bits_retain(MFD_NOEXEC_SEAL)) {
        Err(Errno::EINVAL) => memfd_create(c"script", MFdFlags::empty()),
        made => made,
    };
    let mut file = File::from(made?);
    file.write_all(text.as_bytes())?;
    Ok(file)
}
