//! What a container is to be. Plain data: it travels to the process that becomes the container.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::images::{Image, ImageError, Layer, User};

/// The search path when neither image nor step has one.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// One container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// Its name among all containers of this machine's user.
    pub id: String,
    /// The image's unpacked layers, the lowest first.
    pub layers: Vec<Layer>,
    /// The program, looked for in `PATH` of `env`, and its arguments.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// Made if it is missing.
    pub cwd: String,
    pub user: User,
    /// Made in this order, over what the image has there.
    pub mounts: Vec<Mount>,
    pub hostname: String,
    /// More lines of `/etc/hosts`.
    pub hosts: Vec<(IpAddr, Vec<String>)>,
    pub read_only_rootfs: bool,
    pub network: Network,
    pub capabilities: Capabilities,
    pub no_new_privs: bool,
    pub limits: Limits,
    /// Where what it writes is kept, in the place of a directory of its own that goes with it: what
    /// [`super::Container::keep`] has left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper: Option<PathBuf>,
    /// It has a terminal: see [`super::Container::terminal`].
    #[serde(default)]
    pub terminal: bool,
}

/// Something that is seen at `target`. A missing target is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    pub target: PathBuf,
    pub source: MountSource,
    pub read_only: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountSource {
    /// A file or directory of this machine, with all that is mounted below it.
    Bind(PathBuf),
    /// Memory, up to so many bytes; without a number, half of the machine's.
    Tmpfs { size_bytes: Option<u64> },
}

/// Where the container's connections go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// This machine's own network.
    #[default]
    Host,
    /// Nothing but a loopback interface of its own.
    Isolated,
    /// The network of another container, as long as that one runs.
    Join(NetworkHandle),
}

/// Names the network of a running container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkHandle {
    /// The user namespace that owns the network; entered when we are not root.
    pub(super) user: PathBuf,
    pub(super) net: PathBuf,
}

/// What root in the container may do, as Kubernetes writes it: the runtime's default set, less `drop`, plus `add`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Such as `NET_ADMIN`; `ALL` is every one.
    pub add: Vec<String>,
    pub drop: Vec<String>,
    /// All of them, and no path of `/proc` and `/sys` is hidden or read-only.
    pub privileged: bool,
}

/// What the container may use. Held where the system lets us make control groups; else the start says so in a note.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    pub memory_bytes: Option<u64>,
    /// Thousandths of a processor.
    pub cpu_millis: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
}

impl ContainerSpec {
    /// A container of `image` with the image's own environment, directory and user.
    /// Without `argv` the image's entrypoint and command are run.
    pub fn of_image(id: impl Into<String>, image: &Image, argv: Vec<String>) -> Result<Self, ImageError> {
        let id = id.into();
        let config = &image.config;
        let argv = if argv.is_empty() { [&config.entrypoint[..], &config.cmd[..]].concat() } else { argv };
        let user = image.user(None)?;
        let mut env = config.env.clone();
        if !env.iter().any(|(name, _)| name == "PATH") {
            env.insert(0, ("PATH".to_owned(), DEFAULT_PATH.to_owned()));
        }
        if !env.iter().any(|(name, _)| name == "HOME") {
            let home = user.home.clone().unwrap_or_else(|| "/".to_owned());
            env.push(("HOME".to_owned(), home));
        }
        Ok(Self {
            hostname: id.clone(),
            id,
            layers: image.layers.clone(),
            argv,
            env,
            cwd: config.working_dir.clone().unwrap_or_else(|| "/".to_owned()),
            user,
            mounts: Vec::new(),
            hosts: Vec::new(),
            read_only_rootfs: false,
            network: Network::Host,
            capabilities: Capabilities::default(),
            no_new_privs: false,
            limits: Limits::default(),
            upper: None,
            terminal: false,
        })
    }

    /// Sets a variable, in the place of one with that name.
    pub fn set_env(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let (name, value) = (name.into(), value.into());
        match self.env.iter_mut().find(|(known, _)| *known == name) {
            Some(pair) => pair.1 = value,
            None => self.env.push((name, value)),
        }
    }
}

impl Capabilities {
    /// None at all.
    pub fn none() -> Self {
        Self { drop: vec!["ALL".to_owned()], ..Self::default() }
    }
}

impl Limits {
    pub(super) fn is_empty(self) -> bool {
        self == Self::default()
    }
}
