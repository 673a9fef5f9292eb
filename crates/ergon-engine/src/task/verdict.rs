//! Whether a task run has ended, and how. Success only where the shim recorded an exit code of 0 for every step.

use std::collections::BTreeMap;

use ergon_api::variables::variables;
use ergon_api::{
    Config, OnError, ParamType, ParamValue, Step, TaskResult, TaskRunResult, TaskSpec,
    reasons::task_run as reasons,
};
use ergon_wire::{Exit, ExitRecord, HAS_SECRET};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;

use super::inputs::Invalid;
use super::steps::{StepView, View};
use super::waiting::Held;
use super::{culprit, waiting};

/// Where a task run with a pod stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Still going, with the reason and message of the condition, and when that may have to be seen otherwise.
    Running {
        reason: String,
        message: String,
        until: Option<Timestamp>,
    },
    Succeeded {
        results: Vec<TaskRunResult>,
    },
    Failed {
        reason: String,
        message: String,
        results: Vec<TaskRunResult>,
    },
}

/// What the pod and its steps come to.
pub fn judge(
    run: &str,
    task: &TaskSpec,
    pod: &Pod,
    steps: &[StepView],
    config: &Config,
    now: Timestamp,
) -> Verdict {
    let failed = |reason: &str, message: String| Verdict::Failed {
        reason: reason.to_owned(),
        message,
        results: collect(task, steps, None).unwrap_or_default(),
    };
    let held = waiting::held(run, pod, config, now);
    if let Some(Held::ForGood(reason, message)) = held {
        return failed(reason, message);
    }
    let until = match held {
        Some(Held::Until(until)) => Some(until),
        _ => None,
    };
    let all_ended = steps.iter().all(|step| step.state.is_ended());
    let over = is_over(pod);
    if !all_ended && !over {
        return match agent_end(pod) {
            Some(message) => failed(super::POD_INTERRUPTED, message),
            None => running(pod, steps, until),
        };
    }
    for (step, view) in task.steps.iter().zip(steps) {
        if let Some((reason, message)) = failure(step, view, pod) {
            return match culprit::sidecar(pod, view).filter(|_| reason != reasons::POD_EVICTED) {
                Some((reason, cause)) => failed(reason, format!("{cause}; {message}")),
                None => failed(reason, message),
            };
        }
    }
    // Every step that ended is fine, but the pod ended before the others could.
    if !all_ended {
        let (reason, message) = culprit::init_container(pod).unwrap_or_else(|| pod_end(pod));
        return failed(reason, message);
    }
    // Not because of another step, which would have been named: the pod ended before this task's turn.
    if steps
        .iter()
        .any(|step| matches!(&step.state, View::Recorded { record, .. } if record.exit == Exit::Skipped))
    {
        let message = "its steps were skipped: the pod ended before their turn came".to_owned();
        return failed(super::POD_INTERRUPTED, message);
    }
    match collect(task, steps, config.features.result_limit()) {
        Ok(results) => Verdict::Succeeded { results },
        // What is too large is not kept either.
        Err(invalid) if invalid.reason == reasons::RESULT_TOO_LARGE => Verdict::Failed {
            reason: invalid.reason.to_owned(),
            message: invalid.message,
            results: Vec::new(),
        },
        Err(invalid) => failed(invalid.reason, invalid.message),
    }
}

/// Until when a kill is not judged, because only the node knows its reason: memory that ran out, an eviction. The
/// agent reports the kill at once, the kubelet up to some seconds later.
pub fn kubelet_may_know_more(pod: &Pod, steps: &[StepView]) -> Option<Timestamp> {
    const PATIENCE: SignedDuration = SignedDuration::from_secs(5);
    if is_over(pod) || pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    steps.iter().find_map(|step| {
        let View::Recorded { record, .. } = &step.state else { return None };
        let status = super::steps::container_status(Some(pod), &step.container);
        let seen =
            status.and_then(|status| status.state.as_ref()).is_some_and(|state| state.terminated.is_some());
        let waits = match record.exit {
            Exit::Signaled { signal } => signal == 9 && !seen,
            Exit::Interrupted { .. } => true,
            _ => false,
        };
        let ended = super::steps::timestamp(record.finished_at).filter(|_| waits)?;
        ended.checked_add(PATIENCE).ok()
    })
}

/// Why a pod that is no longer there fails its run. The API server said that it is gone.
pub fn vanished(pod: &str) -> (&'static str, String) {
    (
        super::POD_DELETED,
        format!(
            "pod `{pod}` was deleted before its steps were known to have ended: that is never taken for success"
        ),
    )
}

/// Whether what ended a pod had nothing to do with what ran in it.
fn is_disrupted(pod: &Pod) -> bool {
    const REASONS: [&str; 6] =
        ["Evicted", "NodeLost", "NodeShutdown", "Preempting", "Shutdown", "Terminated"];
    let status = pod.status.as_ref();
    let reason = status.and_then(|status| status.reason.as_deref());
    let mut conditions = status.into_iter().flat_map(|status| status.conditions.iter().flatten());
    pod.metadata.deletion_timestamp.is_some()
        || reason.is_some_and(|reason| REASONS.contains(&reason))
        || conditions.any(|condition| condition.type_ == "DisruptionTarget" && condition.status == "True")
}

/// The verdict on a task that shares its pod: where that was lost, what became of it says so. `pod`: none where it is gone.
pub fn of_shared(verdict: Verdict, pod: Option<&Pod>) -> Verdict {
    match verdict {
        Verdict::Failed { reason, message, results }
            if reason == super::POD_INTERRUPTED && pod.is_none_or(is_disrupted) =>
        {
            Verdict::Failed { reason: super::POD_LOST.to_owned(), message, results }
        }
        verdict => verdict,
    }
}

/// A pod that the kubelet or the API server has given up: its containers will say nothing more.
pub(crate) fn is_over(pod: &Pod) -> bool {
    pod.status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        .is_some_and(|phase| phase == "Succeeded" || phase == "Failed")
}

/// Why the steps of a pod that still runs will never be told to go on: its agent is gone.
fn agent_end(pod: &Pod) -> Option<String> {
    let terminated = culprit::end(super::steps::container_status(Some(pod), crate::pod::AGENT)?)?;
    // It did what it had to: the kubelet may tell of its end before it tells of the steps'.
    if [0, i32::from(crate::pod::TASK_FAILED)].contains(&terminated.exit_code) {
        return None;
    }
    let reason = terminated.reason.as_deref().unwrap_or("no reason given");
    let message = terminated.message.as_deref().unwrap_or("no message was left");
    Some(format!("the pod's agent ended with code {} ({reason}): {message}", terminated.exit_code))
}

fn running(pod: &Pod, steps: &[StepView], until: Option<Timestamp>) -> Verdict {
    let started = steps.iter().any(|step| !matches!(step.state, View::Waiting { .. }));
    let (reason, message) = if started {
        (reasons::RUNNING, "Not all Steps in the Task have finished executing".to_owned())
    } else {
        waiting::why(pod, steps)
    };
    Verdict::Running { reason: reason.to_owned(), message, until }
}

/// Why this step fails its task, if it does.
fn failure(step: &Step, view: &StepView, pod: &Pod) -> Option<(&'static str, String)> {
    let container = &view.container;
    match &view.state {
        View::Recorded { record, .. } => recorded_failure(step, container, record, pod),
        View::Unrecorded { terminated } => Some(match terminated.reason.as_deref() {
            Some("OOMKilled") => (reasons::STEP_OOM, culprit::told(container, terminated)),
            reason => {
                let (pod_reason, pod_message) = pod_end(pod);
                if pod_reason == reasons::POD_EVICTED {
                    return Some((pod_reason, pod_message));
                }
                (
                    pod_reason,
                    format!(
                        "\"{container}\" was killed before its end was recorded (exit code {}, {}): {pod_message}",
                        terminated.exit_code,
                        reason.unwrap_or("no reason given"),
                    ),
                )
            }
        }),
        View::Waiting { .. } | View::Running { .. } => None,
    }
}

fn recorded_failure(
    step: &Step,
    container: &str,
    record: &ExitRecord,
    pod: &Pod,
) -> Option<(&'static str, String)> {
    if let Some(error) = &record.results_error {
        let reason = if error.contains(HAS_SECRET) {
            reasons::INVALID_RESULT_VALUE
        } else {
            reasons::RESULT_TOO_LARGE
        };
        return Some((reason, format!("\"{container}\": {error}")));
    }
    match &record.exit {
        // A step is only skipped because of another one, which is named instead.
        Exit::Exited { code: 0 } | Exit::Skipped | Exit::WhenFalse => None,
        Exit::Exited { .. } if continues(step) => None,
        Exit::Exited { code } => {
            Some((reasons::STEP_FAILED, format!("\"{container}\" exited with code {code}: Error")))
        }
        Exit::Signaled { signal } => {
            let oom = super::steps::container_status(Some(pod), container)
                .and_then(|status| status.state.as_ref()?.terminated.as_ref()?.reason.as_deref())
                == Some("OOMKilled");
            Some(if oom {
                (reasons::STEP_OOM, format!("\"{container}\" exited with code {}: OOMKilled", 128 + signal))
            } else {
                let hint = if *signal == 9 { ": often because memory ran out" } else { "" };
                let code = 128 + signal;
                let told = format!("\"{container}\" exited with code {code}: Error (signal {signal}{hint})");
                (reasons::STEP_FAILED, told)
            })
        }
        Exit::TimedOut => {
            let limit = step.timeout.as_ref().map(ToString::to_string).unwrap_or_default();
            Some((
                reasons::STEP_FAILED,
                format!(
                    "\"{container}\" exited because the step exceeded the specified timeout limit of {limit}"
                ),
            ))
        }
        Exit::NotStarted { message } => {
            Some((reasons::STEP_FAILED, format!("\"{container}\" could not be started: {message}")))
        }
        Exit::Interrupted { message } => {
            let (reason, pod_message) = pod_end(pod);
            if reason == reasons::POD_EVICTED {
                return Some((reason, pod_message));
            }
            Some((reason, format!("\"{container}\" was interrupted ({message}): {pod_message}")))
        }
        Exit::Cancelled => Some((reasons::STEP_FAILED, format!("\"{container}\" was cancelled"))),
    }
}

/// Whether the task goes on when this step exits with a code other than 0.
pub fn continues(step: &Step) -> bool {
    OnError::of(step.on_error.as_deref()) == Some(OnError::Continue)
}

/// Why the pod ended, in the words of whoever ended it.
fn pod_end(pod: &Pod) -> (&'static str, String) {
    let status = pod.status.as_ref();
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let message = status.and_then(|status| status.message.as_deref()).unwrap_or("no message was left");
    match status.and_then(|status| status.reason.as_deref()) {
        Some("Evicted") => (reasons::POD_EVICTED, message.to_owned()),
        Some(reason) => (super::POD_INTERRUPTED, format!("pod `{name}` ended early ({reason}): {message}")),
        None if pod.metadata.deletion_timestamp.is_some() => {
            (super::POD_DELETED, format!("pod `{name}` was deleted"))
        }
        None => (super::POD_INTERRUPTED, format!("pod `{name}` ended before all of its steps did")),
    }
}

/// The declared results that steps wrote, with their types; a later step's value replaces an earlier one's. `limit`: the
/// most bytes of each.
fn collect(task: &TaskSpec, steps: &[StepView], limit: Option<usize>) -> Result<Vec<TaskRunResult>, Invalid> {
    let mut texts: BTreeMap<&str, &str> = BTreeMap::new();
    for step in steps {
        if let View::Recorded { record, results_missing } = &step.state {
            if *results_missing {
                return Err(Invalid::new(
                    reasons::RESULT_TOO_LARGE,
                    format!(
                        "the results of \"{}\" are over the 4096 bytes that a termination message holds, and the controller's report endpoint, which takes them, could not be reached from the pod",
                        step.container
                    ),
                ));
            }
            let mut all = record.results.iter().chain(&record.step_results);
            if let Some(limit) = limit
                && let Some(large) = all.find(|result| result.value.len() > limit)
            {
                return Err(Invalid::new(
                    reasons::RESULT_TOO_LARGE,
                    format!(
                        "invalid result \"{}\": results size exceeds configured limit of {limit} bytes: \"{}\" wrote {}",
                        large.name,
                        step.container,
                        large.value.len()
                    ),
                ));
            }
            texts.extend(record.results.iter().map(|result| (result.name.as_str(), result.value.as_str())));
        }
    }
    task.results
        .iter()
        .filter_map(|declared| match declared.value.as_ref().and_then(step_result) {
            Some((step, result)) => {
                lifted(task, steps, declared, &step, &result).map(|lifted| checked(declared, lifted))
            }
            None => texts.get(declared.name.as_str()).map(|text| {
                typed(&declared.name, declared.effective_type(), declared.declared().trimmed(text))
                    .map_err(|message| Invalid::new(reasons::VALIDATION_FAILED, message))
                    .and_then(|result| checked(declared, result))
            }),
        })
        .collect()
}

/// The result, if its value is what is declared beyond what Tekton can declare.
fn checked(declared: &TaskResult, result: TaskRunResult) -> Result<TaskRunResult, Invalid> {
    if declared.declared().is_plain() && declared.enum_.is_empty() {
        return Ok(result);
    }
    let limits = declared.declared();
    limits.check(&limits.read(&result.value)).map(|()| result).map_err(|mismatch| {
        let message = format!("result `{}`: {mismatch}", declared.name);
        Invalid::new(reasons::INVALID_RESULT_VALUE, message)
    })
}

/// The step and the result that a task's result takes its value from.
fn step_result(value: &ParamValue) -> Option<(String, String)> {
    let variable = variables(value.as_str()?).into_iter().next()?;
    match variable.names().as_slice() {
        ["steps", step, "results", result] => Some(((*step).to_owned(), (*result).to_owned())),
        _ => None,
    }
}

/// A step's result as the task's, with the type that the step gives it.
fn lifted(
    task: &TaskSpec,
    steps: &[StepView],
    declared: &TaskResult,
    step: &str,
    result: &str,
) -> Option<TaskRunResult> {
    let at = task.steps.iter().position(|known| known.name == step)?;
    let results = step_results(&task.steps[at], steps.get(at)?);
    let found = results.into_iter().find(|found| found.name == result)?;
    Some(TaskRunResult { name: declared.name.clone(), ..found })
}

/// The results that a step declares and wrote. One that is not of its declared type is left out, as Tekton does.
pub fn step_results(step: &Step, view: &StepView) -> Vec<TaskRunResult> {
    let View::Recorded { record, .. } = &view.state else { return Vec::new() };
    step.results
        .iter()
        .filter_map(|declared| {
            let written = record.step_results.iter().find(|result| result.name == declared.name)?;
            typed(&declared.name, declared.effective_type(), &written.value).ok()
        })
        .collect()
}

/// Reads a result's text as its declared type.
fn typed(name: &str, wanted: ParamType, text: &str) -> Result<TaskRunResult, String> {
    let value = match wanted {
        ParamType::String | ParamType::Number | ParamType::Boolean | ParamType::Secret => {
            Ok(ParamValue::String(text.to_owned()))
        }
        ParamType::Array => serde_json::from_str(text).map(ParamValue::Array),
        ParamType::Object => serde_json::from_str(text).map(ParamValue::Object),
    };
    let value = value.map_err(|error| {
        format!(
            "Provided results don't match declared results: `{name}` is declared as {wanted} and the step wrote no such JSON: {error}"
        )
    })?;
    Ok(TaskRunResult { name: name.to_owned(), type_: Some(wanted), value })
}
