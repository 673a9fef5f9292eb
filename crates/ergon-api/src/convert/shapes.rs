//! Where `v1beta1` differs from `v1`: one table for values, for paths and for schemas.

/// How an object of `v1beta1` differs from the `v1` one. All paths are of one or two names.
pub(super) struct Shape {
    /// The field's name in `v1beta1`, and where it is in `v1`.
    pub moved: &'static [(&'static str, &'static str)],
    /// As `moved`, but in `v1beta1` too there is the newer way, and it is what is written back.
    pub merged: &'static [(&'static str, &'static str)],
    /// Fields that `v1` has no place for.
    pub gone: &'static [&'static str],
    /// The kind in a bundle that the object may refer to by `bundle`.
    pub bundle: Option<&'static str>,
    /// Fields, by their names in `v1`, that hold objects with differences, or lists of such.
    pub inner: &'static [(&'static str, &'static Shape)],
}

/// A kind with a `v1beta1` form of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// A Task.
    Task,
    /// A Pipeline.
    Pipeline,
    /// A TaskRun.
    TaskRun,
    /// A PipelineRun.
    PipelineRun,
}

impl Root {
    pub(super) fn shape(self) -> &'static Shape {
        match self {
            Self::Task => &TASK,
            Self::Pipeline => &PIPELINE,
            Self::TaskRun => &TASK_RUN,
            Self::PipelineRun => &PIPELINE_RUN,
        }
    }
}

const SAME: Shape = Shape { moved: &[], merged: &[], gone: &[], bundle: None, inner: &[] };
const COMPUTE: &[(&str, &str)] = &[("resources", "computeResources")];
/// What a step could say as long as it was a whole container.
const OF_CONTAINERS: &[&str] = &[
    "ports",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "stdin",
    "stdinOnce",
    "tty",
];
const OF_TEMPLATES: &[&str] = &[
    "name",
    "ports",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "stdin",
    "stdinOnce",
    "tty",
];

static TASK: Shape = Shape { inner: &[("spec", &TASK_SPEC)], ..SAME };
static TASK_SPEC: Shape = Shape {
    gone: &["resources"],
    inner: &[("steps", &STEP), ("stepTemplate", &STEP_TEMPLATE), ("sidecars", &SIDECAR)],
    ..SAME
};
static STEP: Shape = Shape { moved: COMPUTE, gone: OF_CONTAINERS, ..SAME };
static STEP_TEMPLATE: Shape = Shape { moved: COMPUTE, gone: OF_TEMPLATES, ..SAME };
static SIDECAR: Shape = Shape { moved: COMPUTE, ..SAME };
static TASK_REF: Shape = Shape { bundle: Some("task"), ..SAME };
static PIPELINE_REF: Shape = Shape { bundle: Some("pipeline"), ..SAME };

static PIPELINE: Shape = Shape { inner: &[("spec", &PIPELINE_SPEC)], ..SAME };
static PIPELINE_SPEC: Shape =
    Shape { gone: &["resources"], inner: &[("tasks", &PIPELINE_TASK), ("finally", &PIPELINE_TASK)], ..SAME };
static PIPELINE_TASK: Shape = Shape {
    gone: &["resources"],
    inner: &[
        ("taskRef", &TASK_REF),
        ("taskSpec", &TASK_SPEC),
        ("pipelineRef", &PIPELINE_REF),
        ("pipelineSpec", &PIPELINE_SPEC),
    ],
    ..SAME
};

static TASK_RUN: Shape = Shape { inner: &[("spec", &TASK_RUN_SPEC), ("status", &TASK_RUN_STATUS)], ..SAME };
static TASK_RUN_SPEC: Shape = Shape {
    moved: &[("stepOverrides", "stepSpecs"), ("sidecarOverrides", "sidecarSpecs")],
    gone: &["resources"],
    inner: &[
        ("taskRef", &TASK_REF),
        ("taskSpec", &TASK_SPEC),
        ("stepSpecs", &SIDECAR),
        ("sidecarSpecs", &SIDECAR),
    ],
    ..SAME
};
static TASK_RUN_STATUS: Shape = Shape {
    moved: &[("taskResults", "results")],
    gone: &["cloudEvents", "resourcesResult"],
    inner: &[("taskSpec", &TASK_SPEC), ("retriesStatus", &TASK_RUN_STATUS)],
    ..SAME
};

static PIPELINE_RUN: Shape =
    Shape { inner: &[("spec", &PIPELINE_RUN_SPEC), ("status", &PIPELINE_RUN_STATUS)], ..SAME };
static PIPELINE_RUN_SPEC: Shape = Shape {
    moved: &[
        ("serviceAccountName", "taskRunTemplate.serviceAccountName"),
        ("podTemplate", "taskRunTemplate.podTemplate"),
    ],
    merged: &[("timeout", "timeouts.pipeline")],
    gone: &["resources"],
    inner: &[
        ("pipelineRef", &PIPELINE_REF),
        ("pipelineSpec", &PIPELINE_SPEC),
        ("taskRunSpecs", &PIPELINE_TASK_RUN_SPEC),
    ],
    ..SAME
};
static PIPELINE_TASK_RUN_SPEC: Shape = Shape {
    moved: &[
        ("taskServiceAccountName", "serviceAccountName"),
        ("taskPodTemplate", "podTemplate"),
        ("stepOverrides", "stepSpecs"),
        ("sidecarOverrides", "sidecarSpecs"),
    ],
    inner: &[("stepSpecs", &SIDECAR), ("sidecarSpecs", &SIDECAR)],
    ..SAME
};
static PIPELINE_RUN_STATUS: Shape = Shape {
    moved: &[("pipelineResults", "results")],
    gone: &["taskRuns", "runs"],
    inner: &[("pipelineSpec", &PIPELINE_SPEC)],
    ..SAME
};
