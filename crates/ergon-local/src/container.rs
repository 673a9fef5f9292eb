//! Containers without a daemon: one container is two processes of ours, the helper and the program's own.
//!
//! ```text
//! ergon ── helper ── init, which becomes the program
//! ```
//!
//! A new process ID namespace holds only for children, and a user namespace only for a process with one thread, so a
//! program with threads cannot make a container itself: it starts itself again ([`container_main`]). The helper stays
//! outside of the container and waits; it ends the container when the program that started it is gone. The init makes
//! the mounts in a mount namespace of its own, so that the kernel takes them away with the last process.

mod cgroup;
mod copy;
mod error;
mod guard;
mod helper;
mod init;
mod mounts;
mod namespaces;
mod network;
mod privileges;
mod rootfs;
mod spec;
mod start;
mod talk;

pub(crate) use copy::copy_dir as copy_tree;
pub use error::ContainerError;
pub use helper::{CONTAINER_ARG, container_main};
pub use spec::{Capabilities, ContainerSpec, Limits, Mount, MountSource, Network, NetworkHandle};
pub use start::{Container, Runtime};
pub use talk::Exit;
