//! Decisions as data: what a shell does next, and what it must find out first.

use std::collections::BTreeMap;

use ergon_api::{
    CustomRun, Pipeline, PipelineRun, PipelineRunSpecStatus, StepActionSpec, Task, TaskRun, TaskRunSpecStatus,
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{LimitRange, PersistentVolumeClaim, Pod};
use serde::{Deserialize, Serialize};

use crate::fuse::Part;
use crate::pod::Account;
use crate::remote::{Answer, Request};

/// What a reconcile comes to.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome<Status> {
    Decided(Box<Decision<Status>>),
    /// Nothing can be decided before the shell has looked these up; it then asks again.
    Needs(Vec<Need>),
}

/// What to do, in this order: the actions, then the status (where it differs from the one observed).
#[derive(Debug, Clone, PartialEq)]
pub struct Decision<Status> {
    pub actions: Vec<Action>,
    pub status: Status,
    /// When to decide again even if nothing changes: timeouts are data, not timers.
    pub wake_at: Option<Timestamp>,
}

/// One thing to do. Each can be done twice with the same end: names follow from the parent, and a create that finds
/// its object there already has succeeded if that object's owner is the same.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum Action {
    CreateTaskRun(Box<TaskRun>),
    /// A task that somebody else's controller carries out.
    CreateCustomRun(Box<CustomRun>),
    /// A pipeline that is a task of another.
    CreatePipelineRun(Box<PipelineRun>),
    /// Sets `spec.status` and `spec.statusMessage` of a child that is not done.
    StopTaskRun {
        name: String,
        uid: String,
        status: TaskRunSpecStatus,
        message: String,
    },
    /// Sets `spec.status` to `RunCancelled`, and `spec.statusMessage`, of a child that is not done.
    StopCustomRun {
        name: String,
        uid: String,
        message: String,
    },
    /// Sets `spec.status` of a child that is not done.
    StopPipelineRun {
        name: String,
        uid: String,
        status: PipelineRunSpecStatus,
    },
    CreatePod(Box<Pod>),
    /// Ends a pod's containers. `keep`: the pod stays with its logs; else it is deleted, because it never started or
    /// because the installation wants it so.
    EndPod {
        name: String,
        uid: String,
        keep: bool,
    },
    CreateClaim(Box<PersistentVolumeClaim>),
    /// Deletes a claim that this run made, even while pods that have ended still name it. One that somebody else owns
    /// stays. It may fail: the run's end does not depend on it.
    DeleteClaim {
        name: String,
    },
    /// Adds labels and annotations to the run that was reconciled. Always the first action.
    AddMetadata {
        labels: BTreeMap<String, String>,
        annotations: BTreeMap<String, String>,
    },
    Emit(Event),
}

/// An event on the object that was reconciled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    pub kind: EventKind,
    pub reason: String,
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum EventKind {
    Normal,
    Warning,
}

/// Something that a decision depends on and that was not observed yet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// The Task of this name in the run's namespace.
    Task(String),
    /// The Pipeline of this name in the run's namespace.
    Pipeline(String),
    /// The StepAction of this name in the run's namespace.
    StepAction(String),
    /// What a resolver answers.
    Remote(Request),
    /// Command and arguments that an image brings, for steps that name none. `pull_secrets` are Secrets of the run's
    /// namespace with credentials for registries.
    Image { reference: String, pull_secrets: Vec<String> },
    /// The service account of this name in the run's namespace.
    Account(String),
    /// The limit ranges of the run's namespace.
    LimitRanges,
    /// Whether the pod is really gone: the cache does not have it, which may only mean that it lags.
    Pod(String),
    /// The part of a pipeline run in the plan of the shared pod of this name.
    Part(String),
}

/// What a shell has looked up. A key that is absent was not asked for yet.
#[derive(Debug, Clone, Default)]
pub struct Library {
    /// By name; none: there is no such Task.
    pub tasks: BTreeMap<String, Option<Task>>,
    /// By name; none: there is no such Pipeline.
    pub pipelines: BTreeMap<String, Option<Pipeline>>,
    /// By name; none: there is no such StepAction.
    pub step_actions: BTreeMap<String, Option<StepActionSpec>>,
    /// What resolvers were asked, and how far they are.
    pub remote: BTreeMap<Request, Answer>,
    /// By reference; or why the image's configuration cannot be had.
    pub images: BTreeMap<String, Result<ImageConfig, String>>,
    /// By name; none: there is no such service account.
    pub accounts: BTreeMap<String, Option<Account>>,
    pub limit_ranges: Option<Vec<LimitRange>>,
    /// By pod; none: the pod is gone, or is no shared one.
    pub parts: BTreeMap<String, Option<Box<Part>>>,
}

/// What an image says of the process to start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageConfig {
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
}
