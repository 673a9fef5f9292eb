//! An image that is ready to run: its config and its unpacked layers.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use serde::{Deserialize, Serialize};

use super::manifest::ConfigFile;
use super::unpack::Removals;
use super::{ImageError, User, user};
use crate::rooted::open_in;

/// `/etc/passwd` and `/etc/group` are read into memory; bytes.
const ACCOUNTS_MAX: u64 = 4 << 20;

/// An image on this machine.
#[derive(Debug, Clone)]
pub struct Image {
    /// The normalised name by which it was asked for.
    pub reference: String,
    /// The digest of its manifest.
    pub digest: String,
    pub config: ImageConfig,
    /// Unpacked, the lowest first.
    pub layers: Vec<Layer>,
}

/// How the image wants to be run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageConfig {
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
    pub env: Vec<(String, String)>,
    pub working_dir: Option<String>,
    /// As the image has it: a number or a name, and perhaps a group after a colon.
    pub user: Option<String>,
}

/// One unpacked layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// The directory with the layer's files.
    pub path: PathBuf,
    pub(crate) removals: Removals,
    /// Whether `path` is in overlayfs's form.
    pub(crate) overlay: bool,
}

impl Image {
    /// Finds the user that `wanted`, or else the image, names: `uid`, `name`, `uid:gid`, `name:group`.
    /// Names are looked up in the image's own files.
    pub fn user(&self, wanted: Option<&str>) -> Result<User, ImageError> {
        let wanted = wanted.or(self.config.user.as_deref()).unwrap_or("");
        user::find(wanted, &self.text("etc/passwd"), &self.text("etc/group"))
    }

    /// A file as the topmost layer has it, which says anything about it; empty when there is none.
    fn text(&self, path: &str) -> String {
        let path = Path::new(path);
        for layer in self.layers.iter().rev() {
            let Ok(root) = File::open(&layer.path) else { continue };
            if let Ok(fd) = open_in(root.as_fd(), path, OFlag::O_RDONLY | OFlag::O_NONBLOCK) {
                let file = File::from(fd);
                if !file.metadata().is_ok_and(|meta| meta.is_file()) {
                    return String::new();
                }
                let mut bytes = Vec::new();
                return match file.take(ACCOUNTS_MAX).read_to_end(&mut bytes) {
                    Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
                    Err(_) => String::new(),
                };
            }
            let hides =
                |dir: &Path| layer.removals.whiteouts.contains(dir) || layer.removals.opaque.contains(dir);
            if path.ancestors().any(hides) {
                break;
            }
        }
        String::new()
    }
}

impl From<ConfigFile> for ImageConfig {
    fn from(file: ConfigFile) -> Self {
        let config = file.config.unwrap_or_default();
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        Self {
            entrypoint: config.entrypoint.unwrap_or_default(),
            cmd: config.cmd.unwrap_or_default(),
            env: config
                .env
                .unwrap_or_default()
                .into_iter()
                .filter_map(|pair| {
                    pair.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
                })
                .collect(),
            working_dir: filled(config.working_dir),
            user: filled(config.user),
        }
    }
}
