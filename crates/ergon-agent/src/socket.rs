//! The sockets that shims find: one in each step's own directory.

use std::fs::{File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ergon_wire::paths;
use tokio::net::UnixListener;

/// A socket that the agent cannot offer; nothing of its pod can run then.
#[derive(Debug, thiserror::Error)]
#[error("the socket of container `{container}` cannot be made in `{directory}`: {source}")]
pub struct SocketError {
    pub container: String,
    pub directory: PathBuf,
    pub source: io::Error,
}

/// The kernel takes socket paths of up to 107 bytes.
const LONGEST_PATH: usize = 107;
/// The name of a socket that does not listen yet.
const UNFINISHED: &str = "agent.new";

/// The kubelet makes a step's directory in two moves: first it is the kubelet's own, then it is opened to all. How often to
/// look whether it is, and how many times.
const LOOK_AGAIN: Duration = Duration::from_millis(2);
const LOOKS: usize = 2500;

/// Makes a step's directory and listens in it. Whoever sees the socket's name can connect.
pub(crate) async fn listen(run_dir: &Path, container: &str) -> Result<UnixListener, SocketError> {
    let directory = run_dir.join(container);
    once_allowed(|| bind(&directory)).await.map_err(|source| SocketError {
        container: container.to_owned(),
        directory,
        source,
    })
}

async fn once_allowed<T>(deed: impl Fn() -> io::Result<T>) -> io::Result<T> {
    for _ in 0..LOOKS {
        match deed() {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            done => return done,
        }
    }
    deed()
}

fn bind(directory: &Path) -> io::Result<UnixListener> {
    std::fs::create_dir_all(directory)?;
    // The step may be another user. Where the kubelet made the directory, it has these permissions already.
    if let Err(error) = std::fs::set_permissions(directory, Permissions::from_mode(0o777)) {
        tracing::debug!(%error, directory = %directory.display(), "permissions stay as they are");
    }
    let unfinished = directory.join(UNFINISHED);
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let opened = File::open(directory)?;
    let short = if unfinished.as_os_str().as_bytes().len() > LONGEST_PATH {
        PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd())).join(UNFINISHED)
    } else {
        unfinished.clone()
    };
    let listener = UnixListener::bind(short)?;
    std::fs::set_permissions(&unfinished, Permissions::from_mode(0o666))?;
    std::fs::rename(&unfinished, directory.join(paths::SOCKET))?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_is_open_to_the_step_alone_that_sees_its_directory() {
        let run_dir = tempfile::tempdir().unwrap();
        // Twice: what a dead agent left is replaced. And longer than a socket's path may be.
        let container = format!("step-{}", "x".repeat(110));
        for _ in 0..2 {
            let _listener = listen(run_dir.path(), &container).await.unwrap();
            let directory = run_dir.path().join(&container);
            let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(mode(&directory), 0o777);
            assert_eq!(mode(&directory.join(paths::SOCKET)), 0o666);
            assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1);
        }
        std::fs::write(run_dir.path().join("step-file"), "").unwrap();
        let error = listen(run_dir.path(), "step-file").await.unwrap_err();
        assert!(error.to_string().starts_with("the socket of container `step-file` cannot be made in "));
    }

    #[tokio::test]
    async fn a_directory_that_the_kubelet_is_just_making_is_waited_for() {
        let looks = std::cell::Cell::new(0);
        let deed = || {
            looks.set(looks.get() + 1);
            if looks.get() < 3 { Err(io::Error::from(io::ErrorKind::PermissionDenied)) } else { Ok(()) }
        };
        once_allowed(deed).await.unwrap();
        assert_eq!(looks.get(), 3);
    }
}
