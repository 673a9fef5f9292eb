//! What becomes of a run whose pod the API server does not take.

use ergon_api::{ConditionStatus, TaskRun, TaskRunStatus, reasons::task_run as reasons};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::status::with_condition;

/// How long to wait before a pod that is over its namespace's quota is tried again.
const QUOTA_RETRY: SignedDuration = SignedDuration::from_secs(10);

/// The API server will never take the pod, or a claim, as it is: the run fails with the API server's words.
pub fn pod_refused(run: &TaskRun, message: &str, now: Timestamp) -> TaskRunStatus {
    let old = run.status.clone().unwrap_or_default();
    let by_security =
        ["violates PodSecurity", "security context constraint"].iter().any(|words| message.contains(words));
    let reason = if by_security { reasons::POD_ADMISSION_FAILED } else { reasons::POD_CREATION_FAILED };
    let mut status = with_condition(old, ConditionStatus::False, reason, message, now);
    status.start_time.get_or_insert(Time(now));
    status.completion_time = Some(Time(now));
    status
}

/// The namespace's quota has no room: the run waits, says so, and tries again at the time given. Its own timeout counts
/// from its start, so the wait ends.
pub fn pod_waits(run: &TaskRun, message: &str, now: Timestamp) -> (TaskRunStatus, Timestamp) {
    let old = run.status.clone().unwrap_or_default();
    let mut status =
        with_condition(old, ConditionStatus::Unknown, reasons::EXCEEDED_RESOURCE_QUOTA, message, now);
    status.start_time.get_or_insert(Time(now));
    (status, now.saturating_add(QUOTA_RETRY).unwrap_or(now))
}

#[cfg(test)]
mod tests {
    use ergon_api::Condition;

    use super::*;

    #[test]
    fn a_refused_run_is_done_and_a_waiting_one_comes_again() {
        let now = Timestamp::from_second(1000).expect("a time");
        let run = TaskRun::default();
        let refused = TaskRun { status: Some(pod_refused(&run, "why", now)), ..run.clone() };
        assert!(refused.is_done() && !refused.is_successful());
        let insecure = pod_refused(&run, "pods \"p\" is forbidden: violates PodSecurity \"restricted\"", now);
        assert_eq!(insecure.condition().map(Condition::reason), Some(reasons::POD_ADMISSION_FAILED));
        let (status, again) = pod_waits(&run, "full", now);
        let waiting = TaskRun { status: Some(status), ..run };
        assert!(!waiting.is_done());
        assert_eq!(again.as_second(), 1010);
    }
}
