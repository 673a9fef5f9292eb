//! The cluster shell: watches, applies the engine's decisions, serves webhooks and reports.
//!
//! Observe, let the engine decide, do what it says. Nothing is decided about a run here: who asks why a run did what it
//! did looks into `ergon-engine`; who asks how it was done looks into [`shell`].

pub mod args;
pub mod beside;
pub mod cache;
pub mod install;
pub mod metrics;
pub mod queue;
pub mod shell;
pub mod start;

mod admission;
mod certificate;
mod client;
mod cloud_events;
mod convert;
mod events;
#[cfg(test)]
mod fake;
mod health;
mod images;
mod members;
mod memory;
mod merge_diff;
mod platform;
mod reports;
mod requests;
mod resolution;
mod serve;
mod settings;
mod signals;
mod surroundings;
mod sync;
mod trim;
mod trust;
mod watch;
