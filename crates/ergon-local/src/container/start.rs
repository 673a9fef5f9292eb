//! The program's side: starts containers and hears how they end.
//!
//! Each container has a directory, `containers/<id>`:
//! ```text
//! lock                     held by the program and the helper as long as they live
//! upper/  work/            what the container wrote, for overlayfs
//! rootfs/                  where its root is mounted, in its own mount namespace alone
//! resolv.conf hosts hostname
//! init                     where our own program is mounted; see `guard`
//! ```

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;

use ergon_wire::write_frame;
use nix::pty::openpty;
use nix::sys::signal::Signal;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::UnixStream;
use tokio::process::{ChildStderr, ChildStdout, Command};
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use super::error::ContainerError;
use super::helper::{CONTAINER_ARG, HELPER};
use super::spec::{ContainerSpec, Network, NetworkHandle};
use super::talk::{Exit, FromHelper, Instruction, ToHelper};
use crate::lock::Lock;
use crate::tree::remove_tree;

/// Names become directories and parts of control groups.
const ID_MAX: usize = 200;

/// Starts containers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Runtime {
    dir: PathBuf,
    exe: PathBuf,
}

/// A container that was started. Dropping it ends it; its directory stays until [`Container::delete`] or
/// [`Runtime::sweep`].
#[derive(Debug)]
pub struct Container {
    id: String,
    dir: PathBuf,
    pid: i32,
    helper: u32,
    notes: Vec<String>,
    /// Its end tells the helper to end the container.
    control: Mutex<StdStream>,
    end: watch::Receiver<End>,
    /// What the program writes; take it and read it, or the program will wait.
    pub stdout: Option<ChildStdout>,
    pub stderr: Option<ChildStderr>,
    /// Its terminal, as whoever sits at it has it; where it was asked for, in the place of the two above.
    pub terminal: Option<File>,
    _lock: Lock,
}

#[derive(Debug, Clone, Copy)]
enum End {
    Running,
    Exited(Exit),
    Lost,
}

impl Runtime {
    /// A runtime whose containers live below `dir`, such as `containers` in [`crate::home`].
    /// The program that calls this must call [`super::container_main`] first thing when it is asked to.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, ContainerError> {
        let dir = dir.into();
        // For nobody else: with root's containers there are setuid programs of any origin in it.
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&dir)
            .map_err(ContainerError::io("make directory", &dir))?;
        let dir = dir.canonicalize().map_err(ContainerError::io("find", &dir))?;
        Ok(Self { dir, exe: PathBuf::from("/proc/self/exe") })
    }

    /// Starts helpers from another binary, which calls [`super::container_main`].
    #[must_use]
    pub fn with_exe(self, exe: impl Into<PathBuf>) -> Self {
        Self { exe: exe.into(), ..self }
    }

    /// Starts a container and comes back once its program runs.
    pub async fn start(&self, spec: &ContainerSpec) -> Result<Container, ContainerError> {
        let id = &spec.id;
        check_id(id)?;
        let dir = self.dir.join(id);
        let lock = make_dir(&dir, spec)?;
        let started = self.start_in(spec, &dir, lock).await;
        if started.is_err() {
            let dir = dir.clone();
            let _ = spawn_blocking(move || remove_tree(&dir)).await;
        }
        started
    }

    async fn start_in(
        &self,
        spec: &ContainerSpec,
        dir: &Path,
        lock: Lock,
    ) -> Result<Container, ContainerError> {
        let failed =
            |error: io::Error| ContainerError::Start { id: spec.id.clone(), reason: error.to_string() };
        let (ours, theirs) = StdStream::pair().map_err(failed)?;
        let (terminal, stdout, stderr) = if spec.terminal {
            let terminal = openpty(None, None).map_err(|error| failed(error.into()))?;
            let other = terminal.slave.try_clone().map_err(failed)?;
            (Some(File::from(terminal.master)), Stdio::from(terminal.slave), Stdio::from(other))
        } else {
            (None, Stdio::piped(), Stdio::piped())
        };
        let mut child = Command::new(&self.exe)
            .arg(CONTAINER_ARG)
            .arg(HELPER)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(stdout)
            .stderr(stderr)
            // The terminal's Ctrl-C is for the program alone, which decides about its containers.
            .process_group(0)
            .spawn()
            .map_err(ContainerError::io("start", &self.exe))?;
        let helper = child.id().unwrap_or_default();
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());

        let instruction = Instruction { spec: spec.clone(), dir: dir.to_path_buf() };
        let mut frame = Vec::new();
        write_frame(&mut frame, &instruction).map_err(failed)?;
        ours.set_nonblocking(true).map_err(failed)?;
        let control = ours.try_clone().map_err(failed)?;
        let mut stream = UnixStream::from_std(ours).map_err(failed)?;
        tokio::io::AsyncWriteExt::write_all(&mut stream, &frame).await.map_err(failed)?;

        let (pid, notes) = match read_frame(&mut stream).await.map_err(failed)? {
            Some(FromHelper::Started { pid, notes }) => (pid, notes),
            Some(FromHelper::Failed { program: Some(program), reason }) => {
                return Err(ContainerError::Program { id: spec.id.clone(), program, reason });
            }
            Some(FromHelper::Failed { program: None, reason }) => {
                return Err(ContainerError::Start { id: spec.id.clone(), reason });
            }
            Some(FromHelper::Exited(_)) | None => {
                let said = helper_words(stderr).await;
                let reason = format!("its helper process ended at once {said}");
                return Err(ContainerError::Start { id: spec.id.clone(), reason });
            }
        };
        for note in &notes {
            tracing::debug!(container = %spec.id, "{note}");
        }
        let (send, end) = watch::channel(End::Running);
        tokio::spawn(async move {
            let (mut reading, writing) = stream.into_split();
            // Forgotten, not dropped: dropping the half would shut down what `control` still uses.
            writing.forget();
            let end = match read_frame(&mut reading).await {
                Ok(Some(FromHelper::Exited(exit))) => End::Exited(exit),
                _ => End::Lost,
            };
            let _ = send.send(end);
            // Only so that it is no zombie.
            let _ = child.wait().await;
        });
        Ok(Container {
            id: spec.id.clone(),
            dir: dir.to_path_buf(),
            pid,
            helper,
            notes,
            control: Mutex::new(control),
            end,
            stdout,
            stderr,
            terminal,
            _lock: lock,
        })
    }

    /// Removes what containers left whose program is gone. Gives back how many there were.
    pub fn sweep(&self) -> Result<usize, ContainerError> {
        let mut removed = 0;
        for entry in fs::read_dir(&self.dir).map_err(ContainerError::io("read", &self.dir))?.flatten() {
            let dir = entry.path();
            let path = dir.join("lock");
            // Without the file it is half removed. One that is being made has the lock before anything else.
            let free = if path.exists() {
                matches!(Lock::try_exclusive(&path), Ok(Some(_)))
            } else {
                dir.join("upper").exists()
            };
            if free && remove_tree(&dir).is_ok() {
                removed += 1;
            }
        }
        Ok(removed)
    }
}

impl Container {
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The program's process ID on this machine.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// What could not be had as asked for, such as limits; for the log.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Where the container keeps what it wrote.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// This container's network, for others to join.
    pub fn network(&self) -> Network {
        Network::Join(NetworkHandle {
            user: PathBuf::from(format!("/proc/{}/ns/user", self.helper)),
            net: PathBuf::from(format!("/proc/{}/ns/net", self.pid)),
        })
    }

    /// Sends a signal to the program. A program that has ended does not mind.
    ///
    /// As in any container, the program is the first process of its namespace: signals that it does not handle do
    /// nothing, except `SIGKILL`, which ends the whole container.
    pub fn kill(&self, signal: Signal) -> Result<(), ContainerError> {
        let mut frame = Vec::new();
        let failed = |error| ContainerError::io("send a signal to", Path::new(&self.id))(error);
        write_frame(&mut frame, &ToHelper::Signal(signal as i32)).map_err(failed)?;
        let mut control = self.control.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match control.write_all(&frame) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(failed(error)),
            _ => Ok(()),
        }
    }

    /// Ends it at once.
    pub fn kill_now(&self) -> Result<(), ContainerError> {
        self.kill(Signal::SIGKILL)
    }

    /// Waits for the end. May be called and cancelled any number of times.
    pub async fn wait(&self) -> Result<Exit, ContainerError> {
        let mut end = self.end.clone();
        let lost = || ContainerError::Lost { id: self.id.clone() };
        let end = *end.wait_for(|end| !matches!(end, End::Running)).await.map_err(|_| lost())?;
        match end {
            End::Exited(exit) => Ok(exit),
            End::Running | End::Lost => Err(lost()),
        }
    }

    /// Ends the container if it runs, and removes everything that it left but what it wrote to its root: that is moved to
    /// `upper`, which must be on the same file system and not exist. False where there is nothing to keep, because the
    /// root was no overlay.
    pub async fn keep(self, upper: &Path) -> Result<bool, ContainerError> {
        self.end().await?;
        // Where the image was copied, everything is in the copy.
        let copied = fs::read_dir(self.dir.join("rootfs")).is_ok_and(|mut entries| entries.next().is_some());
        let kept = !copied && fs::rename(self.dir.join("upper"), upper).is_ok();
        self.delete().await.map(|()| kept)
    }

    async fn end(&self) -> Result<(), ContainerError> {
        self.kill(Signal::SIGKILL)?;
        // How it ended does not matter any more.
        let _ = self.wait().await;
        Ok(())
    }

    /// Ends the container if it runs, and removes everything that it left.
    pub async fn delete(self) -> Result<(), ContainerError> {
        self.end().await?;
        let dir = self.dir.clone();
        let path = dir.clone();
        spawn_blocking(move || remove_tree(&dir))
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(ContainerError::io("remove", &path))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let control = self.control.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        // The listening task still holds the socket; this reaches the helper all the same.
        let _ = control.shutdown(Shutdown::Write);
    }
}

fn check_id(id: &str) -> Result<(), ContainerError> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let good = !id.is_empty() && id.len() <= ID_MAX && !id.starts_with('.') && id.bytes().all(fits);
    if good { Ok(()) } else { Err(ContainerError::Id { id: id.to_owned() }) }
}

fn make_dir(dir: &Path, spec: &ContainerSpec) -> Result<Lock, ContainerError> {
    fs::create_dir(dir).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => ContainerError::Exists { id: spec.id.clone() },
        _ => ContainerError::io("make directory", dir)(error),
    })?;
    fill_dir(dir, spec).inspect_err(|_| {
        let _ = fs::remove_dir_all(dir);
    })
}

fn fill_dir(dir: &Path, spec: &ContainerSpec) -> Result<Lock, ContainerError> {
    // Locked before it has its name, so that the sweeper never finds it free.
    let (path, place) = (dir.join("lock.new"), dir.join("lock"));
    let lock = Lock::shared(&path).map_err(ContainerError::io("lock", &path))?;
    fs::rename(&path, &place).map_err(ContainerError::io("make", &place))?;
    for name in ["upper", "work", "rootfs"] {
        let path = dir.join(name);
        fs::create_dir(&path).map_err(ContainerError::io("make directory", &path))?;
    }
    // The upper directory is the container's root, which every user in it may enter.
    let path = dir.join("upper");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
        .map_err(ContainerError::io("change", &path))?;
    let resolv = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    for (name, text) in
        [("resolv.conf", resolv), ("hosts", hosts(spec)), ("hostname", format!("{}\n", spec.hostname))]
    {
        let path = dir.join(name);
        fs::write(&path, text)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o644)))
            .map_err(ContainerError::io("write", &path))?;
    }
    Ok(lock)
}

fn hosts(spec: &ContainerSpec) -> String {
    let mut text = match spec.network {
        Network::Host => fs::read_to_string("/etc/hosts").unwrap_or_default(),
        Network::Isolated | Network::Join(_) => {
            "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n".to_owned()
        }
    };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    if !spec.hostname.is_empty() {
        text.push_str(&format_line("127.0.0.1", std::slice::from_ref(&spec.hostname)));
    }
    for (address, names) in &spec.hosts {
        text.push_str(&format_line(&address.to_string(), names));
    }
    text
}

fn format_line(address: &str, names: &[String]) -> String {
    format!("{address} {}\n", names.join(" "))
}

/// Reads one message; the counterpart of [`ergon_wire::write_frame`] for a stream that is waited for.
async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<FromHelper>> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length).await {
        Ok(_) => {}
        Err(error)
            if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > ergon_wire::FRAME_LIMIT {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the helper's message is too long"));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(serde_json::from_slice(&body)?)
}

async fn helper_words(stderr: Option<ChildStderr>) -> String {
    let mut text = Vec::new();
    if let Some(stderr) = stderr {
        let _ = stderr.take(4096).read_to_end(&mut text).await;
    }
    match String::from_utf8_lossy(&text).trim() {
        "" => "and said nothing".to_owned(),
        said => format!("and said: {said}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for (id, good) in [
            ("run-1.step_build", true),
            ("", false),
            ("..", false),
            ("a/b", false),
            (&"a".repeat(201), false),
        ] {
            assert_eq!(check_id(id).is_ok(), good, "{id}");
        }
    }
}
