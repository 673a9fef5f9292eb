//! What becomes of a pipeline run when the API server does not take something that it needs.

use ergon_api::{Condition, ConditionStatus, PipelineRunStatus, reasons::pipeline_run as reasons};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Observed, Why, conclude};
use crate::action::{Decision, EventKind};

/// The API server will never take a child, or a claim, as it is: the run fails with the API server's words, and the
/// children that run are ended.
pub fn child_refused(observed: &Observed<'_>, message: &str, now: Timestamp) -> Decision<PipelineRunStatus> {
    let mut status = observed.run.status.clone().unwrap_or_default();
    let condition = Condition::succeeded(ConditionStatus::False, reasons::CREATE_RUN_FAILED, message);
    status.set_condition(condition, Time(now));
    status.start_time.get_or_insert(Time(now));
    status.completion_time = Some(Time(now));
    let mut actions: Vec<_> = observed.children.iter().filter_map(|child| child.stop(Why::Failed)).collect();
    actions.push(conclude::event(EventKind::Warning, reasons::FAILED, message));
    Decision { actions, status, wake_at: None }
}
