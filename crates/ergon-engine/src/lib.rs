//! The decisions: pure functions from what was observed to what should be done.
//!
//! No I/O, no clock, no randomness, no environment: the time comes in as `now`, names follow from inputs, and the
//! same observation always gives the same decision. The shells (controller, agent, local run) observe and do.

pub mod coordinate;
pub mod expr;
pub mod fuse;
pub mod graph;
pub mod labels;
pub mod name;
pub mod pod;
pub mod remote;
pub mod run;
pub mod task;

mod action;
mod definitions;
mod progress;
mod provenance;

pub use action::{Action, Decision, Event, EventKind, ImageConfig, Library, Need, Outcome};
pub use progress::progress;
