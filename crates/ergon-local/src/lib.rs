//! The laptop shell: runs pods as OCI containers on this machine, with no cluster.

mod chain;
pub mod container;
pub mod event;
mod home;
pub mod images;
pub mod kept;
mod lock;
mod rooted;
mod run;
pub mod test;
mod tree;

pub use chain::chain;
pub use container::{CONTAINER_ARG, Container, ContainerError, ContainerSpec, Runtime, container_main};
pub use home::home;
pub use images::{Image, ImageError, Prune, Pruned, PullPolicy, Store};
pub use run::{
    Affected, Fate, Keep, Mocks, Outcome, Part, PodRecord, Record, RunError, RunOptions, Stop, TaskOutcome,
    WorkspaceSource, affected, declared, explain, fates, place, run, target,
};

pub use ergon_engine::run::{NotShared, Planned, PlannedPod};
