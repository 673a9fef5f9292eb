//! Everything that can go wrong with an image.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

/// Why an image cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    #[error(
        "`{text}` is not an image reference ({reason}); write it such as `busybox:1.36` or `ghcr.io/org/app@sha256:…`"
    )]
    Reference { text: String, reason: String },
    #[error(
        "image `{reference}` is not on this machine and cannot be pulled: {reason}; import an archive with `ergon images import FILE`"
    )]
    Unavailable { reference: String, reason: String },
    #[error("cannot {deed} {path}")]
    Io {
        deed: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("`{path}` is not an image archive: {reason}")]
    NotAnArchive { path: PathBuf, reason: String },
    #[error("`{what}` is {size} bytes, more than the {max} that such a document may have")]
    TooLarge { what: String, size: u64, max: u64 },
    #[error("{what} should be {wanted} but is {found}")]
    Digest { what: String, wanted: String, found: String },
    #[error("`{digest}` is no digest that is understood; `sha256:` and 64 hexadecimal digits are")]
    UnknownDigest { digest: String },
    #[error("cannot read {what}")]
    Document {
        what: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("image has nothing for linux/{architecture}; it has {found}")]
    NoPlatform { architecture: &'static str, found: String },
    #[error("manifest lists {layers} layers but the config has {diff_ids}")]
    LayerCount { layers: usize, diff_ids: usize },
    #[error("layer {diff_id}")]
    Layer {
        diff_id: String,
        #[source]
        source: Box<LayerError>,
    },
    #[error("another `ergon` uses the images: try it again when its runs have ended")]
    InUse,
    #[error("image's user `{user}` is not in its /etc/{file}; write a number, or add the name to the image")]
    UnknownUser { user: String, file: &'static str },
}

/// Why a layer cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    #[error("cannot read the archive")]
    Read(#[source] io::Error),
    #[error("entry `{path}` leads out of the layer")]
    Escapes { path: String },
    #[error("entry `{path}` links to `{target}`, which is not in the layer")]
    LinkTarget { path: String, target: String },
    #[error("cannot write entry `{path}`")]
    Write {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("has more than {max} {what}")]
    Bound { what: &'static str, max: u64 },
    #[error("content is {found}, not what the image's config promises")]
    DiffId { found: String },
}

impl ImageError {
    pub(crate) fn io(deed: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { deed, path, source }
    }

    pub(crate) fn unavailable(reference: &dyn Display, reason: &dyn Display) -> Self {
        Self::Unavailable { reference: reference.to_string(), reason: reason.to_string() }
    }
}
