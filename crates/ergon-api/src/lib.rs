//! Ergon's kinds: what users write and what the API server stores.
//!
//! Types, defaults, validation, manifest reading and custom resource definitions. No I/O, and no decision about a run:
//! those live in `ergon-engine`. One set of types serves two API groups, `ergon.dev` and `tekton.dev` (see [`Group`]).

mod condition;
pub mod config;
pub mod convert;
pub mod crd;
mod custom_run;
pub mod defaults;
mod duration;
mod group;
pub mod language;
mod lenient;
pub mod manifest;
mod matrix;
mod opaque;
mod params;
mod pipeline;
mod pipeline_run;
mod pod_template;
pub mod reasons;
pub mod reference;
mod references;
mod resolution;
mod shared;
pub mod source;
mod step;
mod step_action;
mod suggest;
mod task;
mod task_run;
pub mod texts;
pub mod types;
pub mod validate;
pub mod variables;
mod when;
mod workspace;
mod yaml;

pub use condition::{Condition, ConditionStatus, SUCCEEDED};
pub use config::Config;
pub use crd::crds;
pub use custom_run::{CustomRun, CustomRunSpec, CustomRunSpecStatus, CustomRunStatus, EmbeddedCustomRun};
pub use defaults::SetDefaults;
pub use duration::{Duration, ParseDurationError};
pub use group::Group;
pub use manifest::{Document, Object, parse, parse_bytes};
pub use matrix::{IncludeParams, Matrix};
pub use params::{Param, ParamSpec, ParamType, ParamValue, PropertySpec, SecretRef};
pub use pipeline::{
    EmbeddedTask, Fuse, ObjectLabels, Pipeline, PipelineResult, PipelineSpec, PipelineTask, Prestart,
};
pub use pipeline_run::{
    ChildCount, ChildStatusReference, PipelineRun, PipelineRunResult, PipelineRunSpec, PipelineRunSpecStatus,
    PipelineRunStatus, PipelineTaskRunSpec, PipelineTaskRunTemplate, SkippedTask, TimeoutFields,
};
pub use pod_template::PodTemplate;
pub use references::{PipelineRef, StepRef, TaskRef};
pub use resolution::{ResolutionRequest, ResolutionRequestSpec, ResolutionRequestStatus};
pub use source::{Diagnostic, Position, SourceMap};
pub use step::{Known, OnError, ScriptValue, Sidecar, Step, StepOutputConfig, StepResult, StepTemplate};
pub use step_action::{StepAction, StepActionSpec};
pub use suggest::nearest;
pub use task::{Task, TaskResult, TaskSpec};
pub use task_run::{
    Artifact, ArtifactValue, Artifacts, MATRIX_LEG_LABEL, Provenance, RefSource, RetriesStatus, SidecarState,
    StepState, TaskBreakpoints, TaskRun, TaskRunDebug, TaskRunResult, TaskRunSidecarSpec, TaskRunSpec,
    TaskRunSpecStatus, TaskRunStatus, TaskRunStepSpec,
};
pub use validate::{FieldError, Validate};
pub use when::{WhenExpression, WhenOperator};
pub use workspace::{
    PipelineWorkspaceDeclaration, WorkspaceBinding, WorkspaceDeclaration, WorkspacePipelineTaskBinding,
    WorkspaceUsage,
};
