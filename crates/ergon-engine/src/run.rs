//! One pipeline run: from what was observed to what should be done.

mod ahead;
mod artifacts;
mod child;
mod children;
mod claims;
mod conclude;
mod counted;
mod defaults;
mod explain;
mod find;
mod lost;
mod matrix;
mod plan;
mod prepare;
mod reconcile;
mod refused;
mod results;
mod share;
mod skip;
mod state;
mod validate;
mod when;

pub use child::{Child, Children, Why};
pub use children::child_name;
pub use explain::{Explained, NotShared, Planned, PlannedPod, explain};
pub use plan::Plan;
pub use reconcile::reconcile;
pub use refused::child_refused;
pub(crate) use share::ended;

use std::sync::Arc;

use ergon_api::{Config, Group, PipelineRun};

use crate::Library;
use crate::fuse::Sharing;

/// Everything that the decision on a pipeline run may depend on.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    pub group: Group,
    pub run: &'a PipelineRun,
    pub children: Children<'a>,
    /// The pipeline runs that the run is a part of, the nearest first; none for a run of its own.
    pub ancestors: &'a [&'a PipelineRun],
    pub library: &'a Library,
    pub config: &'a Config,
    /// A plan that the shell keeps for the run, of the spec in its status. One of another spec is not used, and without
    /// one the decision is the same, only slower.
    pub plan: Option<&'a Arc<Plan>>,
    /// None where each task has a pod of its own, or no pod at all.
    pub sharing: Option<Sharing<'a>>,
}
