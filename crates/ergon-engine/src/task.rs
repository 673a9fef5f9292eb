//! One task run: from what was observed to what should be done.

pub mod artifacts;
pub mod inputs;
pub(crate) mod params;
pub mod paths;
pub mod step_actions;
pub mod steps;
pub mod verdict;

mod attempt;
mod await_node;
mod culprit;
mod find;
mod reconcile;
mod refused;
mod status;
mod waiting;

pub use crate::fuse::belongs_to;
pub(crate) use attempt::number as attempt_number;
pub use attempt::pod_name;
pub use inputs::Invalid;
pub use reconcile::reconcile;
pub use refused::{pod_refused, pod_waits};
pub use status::{lacks_facts, with_facts};

use ergon_api::{Config, Group, TaskRun};
use ergon_wire::PodReport;
use k8s_openapi::api::core::v1::Pod;

use crate::{Library, pod::Platform};

/// The pod was deleted before its steps were known to have ended. Tekton has no word for it.
pub const POD_DELETED: &str = "PodDeleted";
/// The pod, the node or the agent ended before a step's end was recorded. Tekton has no word for it.
pub const POD_INTERRUPTED: &str = "PodInterrupted";

/// The pod that the task shared was lost: its node, or its place there. Tekton has no word for it.
pub const POD_LOST: &str = "PodLost";

/// Everything that the decision on a task run may depend on.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    pub group: Group,
    pub run: &'a TaskRun,
    /// The pod of the current attempt, by the name that [`pod_name`] gives.
    pub pod: PodSeen<'a>,
    /// The newest report of that pod's agent, if one arrived.
    pub report: Option<&'a PodReport>,
    pub library: &'a Library,
    pub config: &'a Config,
    pub platform: &'a Platform,
}

/// What is known of a pod.
#[derive(Debug, Clone, Copy)]
pub enum PodSeen<'a> {
    Here(&'a Pod),
    /// The cache does not have it, which may only mean that it lags.
    NotInCache,
    /// The API server itself says that it is not there.
    Gone,
}
