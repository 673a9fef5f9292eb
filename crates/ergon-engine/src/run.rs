//! One pipeline run: from what was observed to what should be done.

mod artifacts;
mod children;
mod claims;
mod conclude;
mod find;
mod matrix;
mod prepare;
mod reconcile;
mod refused;
mod results;
mod skip;
mod state;
mod validate;
mod when;

pub use children::{child_name, stop_message};
pub use reconcile::reconcile;
pub use refused::child_refused;

use ergon_api::{Config, Group, PipelineRun, TaskRun};

use crate::Library;

/// Everything that the decision on a pipeline run may depend on.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    pub group: Group,
    pub run: &'a PipelineRun,
    /// All task runs that the run owns, in any order. A stale list may delay, never duplicate: names are fixed.
    pub children: &'a [&'a TaskRun],
    pub library: &'a Library,
    pub config: &'a Config,
}
