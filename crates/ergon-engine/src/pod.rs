//! A task run's pod and the plan that its agent carries out.
//!
//! No init containers where the cluster has image volumes, no polling, one agent that decides inside the pod; all
//! steps' containers start at once and wait for their turn in the shim.

mod account;
mod affinity;
mod build;
mod merge;
mod quantity;
mod resources;
mod script;
mod security;
mod sidecar;
mod step;
mod template;
mod volumes;

pub use account::{Account, SecretView, account_name};
pub(crate) use affinity::{put_near, take_claims};
pub(crate) use build::claim;
pub(crate) use build::plan_env;
pub use build::{PodInput, build, plan_of};
pub(crate) use merge::{objects as merge, steps as merged_steps};
pub use quantity::nanos;
pub(crate) use quantity::told;
pub(crate) use resources::requests;
pub(crate) use security::with_volumes;
pub(crate) use sidecar::unknown_images as unknown_sidecar_images;
pub(crate) use volumes::{BIN, RUN, STEPS, is_of_the_task, is_ours};

/// What the shell knows of the place where pods run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Platform {
    /// The image with the agent and the shim.
    pub image: String,
    /// Whether pods may mount images as volumes; otherwise an init container copies the shim.
    pub image_volumes: bool,
    /// Where agents report to; none: termination messages are the only source.
    pub report: Option<ergon_wire::ReportTarget>,
}

/// The agent's container in every pod.
pub const AGENT: &str = "ergon-agent";
/// The agent's argument for staying until it is told to end: the kubelet would start it again.
pub const STAY: &str = "--stay";
/// The agent's exit code where it did its work and a task failed.
pub const TASK_FAILED: u8 = 1;
/// The agent's exit code where it could not do its work.
pub const AGENT_FAILED: u8 = 70;
/// The label on every pod of ours, whatever the group: what the controller watches.
pub const POD_LABEL: &str = "ergon.dev/agent";
/// The audience of the token that the agent reports with.
pub const TOKEN_AUDIENCE: &str = "ergon";

/// Why no pod can be made of a task run: the user's mistake, so it fails the run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PodError {
    #[error("step `{step}` has neither `command` nor `script`, and {why}")]
    NoCommand { step: String, why: String },
    #[error("{field}: {message}")]
    Field { field: String, message: String },
}
