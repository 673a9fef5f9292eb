//! Why two tasks do not share a pod.

use std::fmt;

/// Why a task does not join the pod of the tasks before it. Shown by `ergon explain plan`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// `fuse: never`, or what holds where nothing is said.
    NotWanted,
    /// No task that waits for it can be in its pod.
    NothingFollows,
    /// A final task follows only into the pod where all others are.
    Scattered,
    /// It waits for a task that is not in the pod and may end later than the pod starts.
    WaitsForOthers(String),
    Matrix,
    /// Under `auto`, a task that is tried again has pods of its own.
    Retries,
    CustomTask,
    Pipeline,
    /// Its Task comes from a resolver.
    Resolver,
    StepActions,
    Sidecars,
    /// A reference to a run's own UID, which it has only once it is made.
    Uid,
    /// What the pod is made of depends on a result of a task in the same pod: the field.
    Static(String),
    /// The result is an object without declared properties, so that its keys are not known.
    UnknownKeys(String),
    /// Something of the pod is not as the other tasks need it.
    Differs(&'static str),
    /// A pod would get too large: what of it.
    TooLarge(&'static str),
    /// Under `auto`, what begins together would ask for more than a node may have.
    TooMuch,
    /// It would not start even on its own, or cannot be checked before its results are there.
    CannotBeChecked(String),
    /// A reference to the reason of a task's end, which is the controller's to give.
    Reason,
    /// A task before it, outside of the pod, did not succeed.
    NotAfterSuccess(String),
    /// The pod's steps have names that are the same.
    SameNames,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotWanted => f.write_str("`fuse` does not ask for it"),
            Self::NothingFollows => f.write_str("no task can follow it into its pod"),
            Self::Scattered => f.write_str("not all tasks before it are in one pod"),
            Self::WaitsForOthers(task) => write!(f, "it also waits for `{task}`, which is not in that pod"),
            Self::Matrix => f.write_str("it has a matrix"),
            Self::Retries => {
                f.write_str("it has `retries`: under `fuse: auto` each try has a pod of its own")
            }
            Self::CustomTask => f.write_str("another controller carries it out"),
            Self::Pipeline => f.write_str("it is a pipeline"),
            Self::Resolver => f.write_str("its Task comes from a resolver"),
            Self::StepActions => f.write_str("its steps refer to StepActions"),
            Self::Sidecars => f.write_str("it has sidecars"),
            Self::Uid => f.write_str("it uses the UID of its run, which is not known before"),
            Self::Static(field) => write!(f, "`{field}` depends on a result of a task in that pod"),
            Self::UnknownKeys(result) => {
                write!(f, "the keys of the result `{result}` are not declared: name them in its `properties`")
            }
            Self::Differs(what) => write!(f, "its pod differs from that of the other tasks: {what}"),
            Self::TooMuch => f.write_str(
                "with what runs beside it, the pod would ask for more than 2 processors or 4Gi: say `fuse: pod`",
            ),
            Self::TooLarge(what) => write!(f, "the pod would have too many {what}"),
            Self::CannotBeChecked(message) => write!(f, "it cannot be checked before: {message}"),
            Self::Reason => {
                f.write_str("it uses the reason of a task's end, which only the controller knows")
            }
            Self::NotAfterSuccess(task) => write!(f, "`{task}` before it did not succeed"),
            Self::SameNames => f.write_str("two of its steps would have the same container's name"),
        }
    }
}
