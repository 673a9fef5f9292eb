//! The container's first process: it makes the inside of the container around itself and becomes the program.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use ergon_wire::{read_frame, write_frame};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::SigSet;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{chdir, dup2_stdin, sethostname, setsid};

use super::error::{Doing, Failure};
use super::spec::ContainerSpec;
use super::talk::{FromInit, Instruction};
use super::{mounts, network, privileges, rootfs};
use crate::rooted::make_dirs_in;

pub(super) fn run(mut control: UnixStream) -> io::Result<()> {
    let Some(instruction) = read_frame::<Instruction>(&mut control)? else { return Ok(()) };
    let mut notes = Vec::new();
    if let Err(failure) = prepare(&instruction, &mut notes) {
        return write_frame(&mut control, &FromInit::from(failure));
    }
    write_frame(&mut control, &FromInit::Ready { notes })?;
    // Comes back only when it fails; when it does not, the socket closes with it.
    let failure = execute(&instruction.spec);
    write_frame(&mut control, &FromInit::from(failure))
}

fn prepare(instruction: &Instruction, notes: &mut Vec<String>) -> Result<(), Failure> {
    let spec = &instruction.spec;
    // A session of its own: no terminal's keys reach the program, but those of its own terminal.
    setsid().doing(|| "make a session".to_owned())?;
    let stdin = if spec.terminal {
        // Opened by the head of a session without a terminal, it becomes that session's.
        File::options()
            .read(true)
            .write(true)
            .open("/proc/self/fd/1")
            .doing(|| "open the terminal".to_owned())?
    } else {
        File::open("/dev/null").doing(|| "open /dev/null".to_owned())?
    };
    dup2_stdin(stdin).doing(|| "set standard input".to_owned())?;
    let alone = is_alone();
    network::enter(&spec.network)?;
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS)
        .doing(|| "make namespaces".to_owned())?;
    umask(Mode::empty());
    let root = rootfs::mount_root(instruction, notes)?;
    mounts::mount_all(&root, instruction, alone, notes)?;
    if spec.cwd != "/" {
        make_dirs_in(root.as_fd(), Path::new(&spec.cwd), Mode::from_bits_truncate(0o755))
            .doing(|| format!("make the working directory {}", spec.cwd))?;
    }
    rootfs::enter(&root)?;
    if !spec.capabilities.privileged {
        mounts::hide_system_paths(notes)?;
    }
    if spec.read_only_rootfs {
        mounts::make_root_read_only()?;
    }
    if !spec.hostname.is_empty() {
        sethostname(OsStr::new(&spec.hostname)).doing(|| format!("set the host name {}", spec.hostname))?;
    }
    chdir(Path::new(&spec.cwd)).doing(|| format!("enter the working directory {}", spec.cwd))?;
    umask(Mode::from_bits_truncate(0o022));
    privileges::take_on(spec, alone)
}

fn execute(spec: &ContainerSpec) -> Failure {
    let Some((program, arguments)) = spec.argv.split_first() else {
        return Failure::new("neither the image nor the caller names a program to run");
    };
    // The mask came from the helper, which waits for SIGCHLD.
    if let Err(error) = SigSet::empty().thread_set_mask() {
        return Failure::new(format!("cannot unblock signals: {error}"));
    }
    let error = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(spec.env.iter().map(|(name, value)| (name, value)))
        .exec();
    let reason = match error.kind() {
        io::ErrorKind::NotFound if program.contains('/') => {
            "there is no such file in the image, or its interpreter is missing".to_owned()
        }
        io::ErrorKind::NotFound => "not found in the container's PATH".to_owned(),
        io::ErrorKind::PermissionDenied => "is not executable".to_owned(),
        _ => error.to_string(),
    };
    Failure { program: Some(program.clone()), reason }
}

/// Whether our user namespace has a single user, so that no other can be become.
fn is_alone() -> bool {
    std::fs::read_to_string("/proc/self/uid_map")
        .is_ok_and(|map| map.split_ascii_whitespace().nth(2) == Some("1"))
}
