//! Images on this machine: a store by content, filled from archives and registries, with each layer unpacked once.

mod blob;
pub(crate) mod credentials;
mod decompress;
mod error;
mod image;
mod import;
mod manifest;
mod prune;
mod pull;
mod reference;
mod store;
mod unpack;
mod user;

pub use error::ImageError;
pub use image::{Image, ImageConfig, Layer};
pub use prune::{Prune, Pruned};
pub use pull::{Progress, PullEvent};
pub use reference::ImageRef;
pub use store::{Listed, PullPolicy, Store};
#[cfg(test)]
pub(crate) use unpack::Removals;
pub use user::User;
