//! The words in conditions and skipped tasks that clients match on. They are Tekton's, letter for letter.

/// Reasons of a TaskRun's `Succeeded` condition.
pub mod task_run {
    /// The controller has seen it.
    pub const STARTED: &str = "Started";
    /// Its pod is there.
    pub const RUNNING: &str = "Running";
    /// All steps ended well.
    pub const SUCCEEDED: &str = "Succeeded";
    /// It failed, and nothing more exact is known.
    pub const FAILED: &str = "Failed";
    /// An attempt failed; another follows.
    pub const TO_BE_RETRIED: &str = "ToBeRetried";
    /// The user, or its PipelineRun, ended it.
    pub const CANCELLED: &str = "TaskRunCancelled";
    /// An attempt took too long.
    pub const TIMED_OUT: &str = "TaskRunTimeout";
    /// The user wants it to wait.
    pub const PENDING_BY_USER: &str = "TaskRunPending";
    /// A resolver is fetching the Task.
    pub const RESOLVING_TASK_REF: &str = "ResolvingTaskRef";
    /// A resolver is fetching a StepAction.
    pub const RESOLVING_STEP_ACTION_REF: &str = "ResolvingStepActionRef";
    /// An image cannot be pulled, and the run was given up.
    pub const IMAGE_PULL_FAILED: &str = "TaskRunImagePullFailed";
    /// A container cannot be made as the spec wants it.
    pub const CREATE_CONTAINER_CONFIG_ERROR: &str = "CreateContainerConfigError";
    /// The pod could not be created.
    pub const POD_CREATION_FAILED: &str = "PodCreationFailed";
    /// Admission refused the pod.
    pub const POD_ADMISSION_FAILED: &str = "PodAdmissionFailed";
    /// A result is over the limit.
    pub const RESULT_TOO_LARGE: &str = "TaskRunResultLargerThanAllowedLimit";
    /// A sidecar did not stop.
    pub const STOP_SIDECAR_FAILED: &str = "TaskRunStopSidecarFailed";
    /// A parameter has a value that it may not have.
    pub const INVALID_PARAM_VALUE: &str = "InvalidParamValue";
    /// A result has a value that it may not have.
    pub const INVALID_RESULT_VALUE: &str = "InvalidResultValue";
    /// The Task or a StepAction was not found.
    pub const RESOLUTION_FAILED: &str = "TaskRunResolutionFailed";
    /// The run does not fit its Task.
    pub const VALIDATION_FAILED: &str = "TaskRunValidationFailed";
    /// The Task itself is not valid.
    pub const TASK_VALIDATION_FAILED: &str = "TaskValidationFailed";
    /// The Task's signature is missing or wrong.
    pub const RESOURCE_VERIFICATION_FAILED: &str = "ResourceVerificationFailed";
    /// It failed, and its pipeline goes on.
    pub const FAILURE_IGNORED: &str = "FailureIgnored";
    /// A claim for a workspace could not be created.
    pub const COULDNT_CREATE_WORKSPACE_PVC: &str = "CouldntCreateWorkspacePVC";
    /// The node threw the pod out.
    pub const POD_EVICTED: &str = "PodEvicted";
    /// A step ran out of memory.
    pub const STEP_OOM: &str = "StepOOM";
    /// A step ended with an exit code other than 0.
    pub const STEP_FAILED: &str = "StepFailed";
    /// A sidecar ran out of memory.
    pub const SIDECAR_OOM: &str = "SidecarOOM";
    /// A sidecar failed.
    pub const SIDECAR_FAILED: &str = "SidecarFailed";
    /// An init container ran out of memory.
    pub const INIT_CONTAINER_OOM: &str = "InitContainerOOM";
    /// An init container failed.
    pub const INIT_CONTAINER_FAILED: &str = "InitContainerFailed";
    /// The pod is there and no container runs yet.
    pub const PENDING: &str = "Pending";
    /// No node has room for the pod.
    pub const EXCEEDED_NODE_RESOURCES: &str = "ExceededNodeResources";
    /// The namespace's quota has no room for the pod.
    pub const EXCEEDED_RESOURCE_QUOTA: &str = "ExceededResourceQuota";
    /// An image cannot be pulled at the moment.
    pub const PULL_IMAGE_FAILED: &str = "PullImageFailed";

    /// `statusMessage` when the PipelineRun was cancelled.
    pub const CANCELLED_BY_PIPELINE: &str =
        "TaskRun cancelled as the PipelineRun it belongs to has been cancelled.";
    /// `statusMessage` when the PipelineRun timed out.
    pub const CANCELLED_BY_PIPELINE_TIMEOUT: &str =
        "TaskRun cancelled as the PipelineRun it belongs to has timed out.";
}

/// Reasons in a step's `terminationReason`.
pub mod step {
    /// It ended with exit code 0.
    pub const COMPLETED: &str = "Completed";
    /// It ended with another exit code.
    pub const ERROR: &str = "Error";
    /// It did not run.
    pub const SKIPPED: &str = "Skipped";
    /// It failed, and the next step ran.
    pub const CONTINUED: &str = "Continued";
    /// It took too long.
    pub const TIMEOUT_EXCEEDED: &str = "TimeoutExceeded";
    /// It was ended.
    pub const CANCELLED: &str = "Cancelled";
    /// It was ended because the TaskRun was cancelled.
    pub const TASK_RUN_CANCELLED: &str = "TaskRunCancelled";
    /// It was ended because the TaskRun took too long.
    pub const TASK_RUN_TIMEOUT: &str = "TaskRunTimeout";
}

/// Reasons of a PipelineRun's `Succeeded` condition.
pub mod pipeline_run {
    /// The controller has seen it.
    pub const STARTED: &str = "Started";
    /// Tasks are running.
    pub const RUNNING: &str = "Running";
    /// All tasks ended well.
    pub const SUCCEEDED: &str = "Succeeded";
    /// All tasks ended well or were skipped.
    pub const COMPLETED: &str = "Completed";
    /// A task failed.
    pub const FAILED: &str = "Failed";
    /// The user ended it.
    pub const CANCELLED: &str = "Cancelled";
    /// The user wants it to wait.
    pub const PENDING: &str = "PipelineRunPending";
    /// It took too long.
    pub const TIMED_OUT: &str = "PipelineRunTimeout";
    /// A task failed; running ones end.
    pub const STOPPING: &str = "PipelineRunStopping";
    /// The tasks took too long; final tasks run.
    pub const TIMEOUT_RUNNING_FINALLY: &str = "PipelineRunTimeoutRunningFinally";
    /// The user cancelled it; final tasks run.
    pub const CANCELLED_RUNNING_FINALLY: &str = "CancelledRunningFinally";
    /// The user stopped it; final tasks run.
    pub const STOPPED_RUNNING_FINALLY: &str = "StoppedRunningFinally";
    /// The Pipeline was not found.
    pub const COULDNT_GET_PIPELINE: &str = "CouldntGetPipeline";
    /// Resources do not fit the Pipeline.
    pub const INVALID_BINDINGS: &str = "InvalidPipelineResourceBindings";
    /// A workspace is not provided as the Pipeline needs it.
    pub const INVALID_WORKSPACE_BINDINGS: &str = "InvalidWorkspaceBindings";
    /// `taskRunSpecs` names a task that is not there.
    pub const INVALID_TASK_RUN_SPECS: &str = "InvalidTaskRunSpecs";
    /// A parameter has another type than declared.
    pub const PARAMETER_TYPE_MISMATCH: &str = "ParameterTypeMismatch";
    /// An object parameter lacks keys.
    pub const OBJECT_PARAMETER_MISS_KEYS: &str = "ObjectParameterMissKeys";
    /// An index lies outside of its list.
    pub const PARAM_ARRAY_INDEXING_INVALID: &str = "ParamArrayIndexingInvalid";
    /// A Task was not found.
    pub const COULDNT_GET_TASK: &str = "CouldntGetTask";
    /// A required parameter is not set.
    pub const PARAMETER_MISSING: &str = "ParameterMissing";
    /// The Pipeline is not valid.
    pub const FAILED_VALIDATION: &str = "PipelineValidationFailed";
    /// A result of the Pipeline could not be computed.
    pub const COULDNT_GET_PIPELINE_RESULT: &str = "CouldntGetPipelineResult";
    /// The graph has a cycle or an edge to nowhere.
    pub const INVALID_GRAPH: &str = "PipelineInvalidGraph";
    /// A child could not be cancelled.
    pub const COULDNT_CANCEL: &str = "PipelineRunCouldntCancel";
    /// A child could not be timed out.
    pub const COULDNT_TIME_OUT: &str = "PipelineRunCouldntTimeOut";
    /// A matrix has parameters of the wrong type.
    pub const INVALID_MATRIX_PARAMETER_TYPES: &str = "InvalidMatrixParameterTypes";
    /// A result of a task is used that the task does not have.
    pub const INVALID_TASK_RESULT_REFERENCE: &str = "InvalidTaskResultReference";
    /// A result of the Pipeline uses a task that is not there.
    pub const INVALID_PIPELINE_RESULT_REFERENCE: &str = "InvalidPipelineResultReference";
    /// A task needs a workspace that the Pipeline calls optional.
    pub const REQUIRED_WORKSPACE_MARKED_OPTIONAL: &str = "RequiredWorkspaceMarkedOptional";
    /// A resolver is fetching the Pipeline.
    pub const RESOLVING_PIPELINE_REF: &str = "ResolvingPipelineRef";
    /// A resolver is fetching a Task.
    pub const RESOLVING_TASK_REF: &str = "ResolvingTaskRef";
    /// A signature is missing or wrong.
    pub const RESOURCE_VERIFICATION_FAILED: &str = "ResourceVerificationFailed";
    /// A child could not be created.
    pub const CREATE_RUN_FAILED: &str = "CreateRunFailed";
    /// A condition could not be evaluated.
    pub const CEL_EVALUATION_FAILED: &str = "CELEvaluationFailed";
    /// A parameter has a value that it may not have.
    pub const INVALID_PARAM_VALUE: &str = "InvalidParamValue";
}

/// Reasons of a CustomRun's `Succeeded` condition.
pub mod custom_run {
    /// Its controller has seen it.
    pub const STARTED: &str = "Started";
    /// It runs.
    pub const RUNNING: &str = "Running";
    /// It ended well.
    pub const SUCCEEDED: &str = "Succeeded";
    /// It failed.
    pub const FAILED: &str = "Failed";
    /// It was ended.
    pub const CANCELLED: &str = "CustomRunCancelled";
    /// It took too long.
    pub const TIMED_OUT: &str = "CustomRunTimedOut";
    /// Its controller cannot use workspaces.
    pub const WORKSPACE_NOT_SUPPORTED: &str = "CustomRunWorkspaceNotSupported";
}

/// Why a pipeline task was skipped, in `skippedTasks[].reason`.
pub mod skip {
    /// A condition of it does not hold.
    pub const WHEN: &str = "When Expressions evaluated to false";
    /// A task that it needs was skipped.
    pub const PARENT: &str = "Parent Tasks were skipped";
    /// Another task had failed.
    pub const STOPPING: &str = "PipelineRun was stopping";
    /// The user had cancelled the run, with `finally`.
    pub const GRACEFULLY_CANCELLED: &str = "PipelineRun was gracefully cancelled";
    /// The user had stopped the run, with `finally`.
    pub const GRACEFULLY_STOPPED: &str = "PipelineRun was gracefully stopped";
    /// A result that it uses is not there.
    pub const MISSING_RESULTS: &str = "Results were missing";
    /// The run took too long.
    pub const PIPELINE_TIMED_OUT: &str = "PipelineRun timeout has been reached";
    /// The tasks took too long.
    pub const TASKS_TIMED_OUT: &str = "PipelineRun Tasks timeout has been reached";
    /// The final tasks took too long.
    pub const FINALLY_TIMED_OUT: &str = "PipelineRun Finally timeout has been reached";
    /// There is no combination to run.
    pub const EMPTY_MATRIX: &str = "Matrix Parameters have an empty array";
}
