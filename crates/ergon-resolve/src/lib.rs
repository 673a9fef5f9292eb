//! Resolvers: what fetches the definitions that references name through `resolver`.
//!
//! Each resolver has a file of its own. What only a shell can know (secrets, objects of the cluster, settings) it asks
//! of its [`World`]. Parameters, defaults and the words of errors are Tekton's.

mod bundles;
mod cache;
mod cluster;
mod git;
mod http;
mod hub;
mod params;
pub mod registry;
mod resolvers;
mod retry;
mod web;
mod world;

pub use resolvers::{Fetched, NAMES, ResolveError, Resolvers};
pub use retry::Backoff;
pub use world::{Data, Kind, Stored, World};
