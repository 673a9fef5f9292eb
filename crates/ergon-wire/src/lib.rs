//! What travels between the engine, the agent in a pod and the shim in each step.
//!
//! Plain data in JSON. This crate knows nothing of Kubernetes, of sockets or of time's source, so that the shim,
//! which is in every step of every pod, stays small.

mod credentials;
mod frame;
mod plan;
mod record;
mod report;
mod shim;

pub use credentials::{Credential, CredentialUsage, Credentials};
pub use frame::{FRAME_LIMIT, read_frame, write_frame};
pub use plan::{
    Breakpoints, CelValue, Condition, OnError, PLAN_VERSION, PodPlan, ReportTarget, Script, ScriptValue,
    StepPlan, TaskPlan, try_name,
};
pub use record::{Exit, ExitRecord, HAS_SECRET, ResultValue, StepResult, TerminationMessage, message_limit};
pub use report::{PodReport, ReportAnswer, StepReport, StepState};
pub use shim::{Company, FromShim, RunCommand, StopReason, ToShim};

/// Milliseconds since the Unix epoch.
pub type Millis = i64;

/// Paths inside containers that the engine, the agent and the shim agree on.
pub mod paths {
    /// Where the binaries are mounted, read-only, in every container of a pod.
    pub const BIN: &str = "/ergon/bin";
    /// The step's own directory: its socket and its script. Only the agent sees all of them.
    pub const RUN: &str = "/ergon/run";
    /// The socket in a step's own directory. The agent binds it under another name and renames it here once it
    /// listens, so that a shim which sees the name can connect.
    pub const SOCKET: &str = "agent.sock";
    /// Where the agent sees the steps' metadata directories.
    pub const STEPS: &str = "/ergon/steps";
    /// Where the agent finds the token that it authenticates its reports with.
    pub const TOKEN: &str = "/ergon/token/token";
    /// The file that says what a step or a task used and made, in its directory of artifacts.
    pub const PROVENANCE: &str = "provenance.json";
    /// Where the kubelet reads a container's termination message.
    pub const TERMINATION_MESSAGE: &str = "/dev/termination-log";
}
