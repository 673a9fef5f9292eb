//! Tasks of a pipeline run that share one pod: one schedule, one sandbox, and the next task starts in milliseconds.
//!
//! Nothing else changes. Each task still has its TaskRun, which the pipeline run makes when the task's turn has come, by
//! the same decisions as ever. The agent in the pod makes those decisions too, with the same code and from the same
//! results ([`Inside`]), so that it need not wait for the controller. Pods of single tasks are built as ever, with marks
//! in the place of results that are not known yet, and put together into one: where a mark shows in what cannot wait,
//! such as an image, the tasks do not share a pod, and [`Why`] says so.

mod ahead;
mod container;
mod groups;
mod inside;
mod lost;
mod merge;
mod part;
mod peak;
mod seen;
mod why;

pub use ahead::{AHEAD_ANNOTATIONS, ahead_pods};
pub use inside::{Inside, Next};
pub use lost::MOST_RERUNS;
pub use part::{Begin, Given, Part};
pub use seen::{SHARED_LABEL, SharedPod, Sharing, belongs_to, made_with, orders, pod_of};
pub use why::Why;

pub(crate) use ahead::{ahead_name, waits};
pub(crate) use container::containers_of;
pub(crate) use groups::{grow, is_narrow, may_wait, wanted};
pub(crate) use lost::{AGAIN_ANNOTATION, LOST_POD_ANNOTATION, is_lost, stand_in, was_lost};
pub(crate) use merge::{Member, VOLUMES, fit, is_full, merge};
pub(crate) use peak::is_modest;
pub(crate) use seen::{
    CONTAINERS_ANNOTATION, EMPTIED_ANNOTATION, POD_ANNOTATION, SHARES_ANNOTATION, own_part, shown,
    with_shown_names,
};
