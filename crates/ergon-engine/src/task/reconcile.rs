//! The decision itself.

use std::collections::BTreeSet;

use ergon_api::{
    ConditionStatus, Config, Group, PodTemplate, StepState, TaskRun, TaskRunStatus, TaskSpec,
    WorkspaceBinding, language, reasons::task_run as reasons,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube_core::ResourceExt as _;

use super::find::{self, Found, Seen};
use super::inputs::{self, Invalid, Resolved};
use super::step_actions::Actions;
use super::steps::{self, StepView, View};
use super::verdict::{self, Verdict};
use super::{Observed, PodSeen, attempt, await_node, status};
use crate::action::{Action, Decision, Event, EventKind, Need, Outcome};
use crate::fuse;
use crate::labels;
use crate::pod::{self, PodInput};
use crate::provenance;

/// Decides on one task run. Any observation, however old, gives a safe decision.
pub fn reconcile(observed: &Observed<'_>, now: Timestamp) -> Outcome<TaskRunStatus> {
    let mut outcome = decide(observed, now);
    if let Outcome::Decided(decision) = &mut outcome
        && !observed.run.is_done()
        && decision.status.start_time.is_some()
    {
        provenance::record(&mut decision.status.provenance, observed.config);
    }
    outcome
}

fn decide(observed: &Observed<'_>, now: Timestamp) -> Outcome<TaskRunStatus> {
    let run = observed.run;
    let mut old = run.status.clone().unwrap_or_default();
    if run.is_done() {
        return decided(Vec::new(), old, None);
    }
    if run.is_cancelled() {
        let message = match &run.spec.status_message {
            Some(message) => format!("TaskRun \"{}\" was cancelled. {message}", run.name()),
            None => format!("TaskRun \"{}\" was cancelled", run.name()),
        };
        return end(observed, old, reasons::CANCELLED, &message, now);
    }
    if run.is_pending() && old.start_time.is_none() {
        let status = status::with_condition(
            old,
            ConditionStatus::Unknown,
            reasons::PENDING_BY_USER,
            "TaskRun is pending",
            now,
        );
        return decided(Vec::new(), status, None);
    }
    let deadline = deadline(run, &old, observed.config);
    if deadline.is_some_and(|deadline| deadline <= now) {
        let limit = run.spec.timeout.unwrap_or(observed.config.defaults.timeout);
        let message = format!("TaskRun \"{}\" failed to finish within \"{limit}\"", run.name());
        return end(observed, old, reasons::TIMED_OUT, &message, now);
    }
    let (found, resolved) = match find_resolved(observed, &old) {
        Ok(Ready::Now(found, resolved, origins)) => {
            if old.task_spec.is_none() {
                old.steps = origins;
            }
            (found, resolved)
        }
        Ok(Ready::Needs(mut needs)) => {
            if old.pod_name.is_none() {
                // Looked up side by side with what the pod will ask for.
                needs.extend(lookups(observed, run));
            }
            return Outcome::Needs(needs);
        }
        Ok(Ready::Waiting(reason, what)) => return resolving(observed, old, reason, what, now),
        Err(invalid) => return fail(observed.group, old, &invalid, now),
    };
    let task = &resolved.spec;
    let shares = fuse::pod_of(run).is_some();
    match (observed.pod, &old.pod_name) {
        (PodSeen::Here(pod), _) => match owned(run, pod) {
            Ok(()) if shares => {
                let (own, report) = fuse::own_part(observed.group, run, task, Some(pod), observed.report);
                let own = own.as_ref().unwrap_or(pod);
                let observed = &Observed { pod: PodSeen::Here(own), report: report.as_ref(), ..*observed };
                observe(observed, old, task, own, now)
            }
            Ok(()) => observe(observed, old, task, pod, now),
            Err(invalid) => fail(observed.group, old, &invalid, now),
        },
        // The status says that there was a pod, so its absence means something: only the API server may say it.
        (PodSeen::NotInCache, name) if shares || name.is_some() => {
            Outcome::Needs(vec![Need::Pod(attempt::pod_name(run))])
        }
        // No node had room for it, so nothing of it ran: it is made again.
        (PodSeen::Gone, Some(_)) if !shares && found_no_node(&old) && observed.report.is_none() => {
            create(observed, old, &found, &resolved, now)
        }
        (PodSeen::Gone, name) if shares || name.is_some() => {
            let (reason, message) = verdict::vanished(&attempt::pod_name(run));
            let own = fuse::own_part(observed.group, run, task, None, observed.report).1.filter(|_| shares);
            let views = steps::view(task, None, own.as_ref().or(observed.report));
            let reported = verdict::judge(run.name(), task, &Pod::default(), &views, observed.config, now);
            let reported = if shares { verdict::of_shared(reported, None) } else { reported };
            match reported {
                // The agent reported the end before the pod was deleted.
                Verdict::Succeeded { .. } | Verdict::Failed { .. } => {
                    finish(observed, old, task, &views, None, reported, now)
                }
                Verdict::Running { .. } => {
                    let verdict = Verdict::Failed { reason: reason.to_owned(), message, results: Vec::new() };
                    finish(observed, old, task, &views, None, verdict, now)
                }
            }
        }
        _ => create(observed, old, &found, &resolved, now),
    }
}

/// What there is to run.
enum Ready {
    /// And what is known of its steps before they run.
    Now(Found, Box<Resolved>, Vec<StepState>),
    Needs(Vec<Need>),
    /// A resolver is at it: the reason, and what it fetches.
    Waiting(&'static str, &'static str),
}

/// The spec to run with its references replaced: the one in the status once it is there, so that a later edit of the
/// Task changes nothing.
fn find_resolved(observed: &Observed<'_>, old: &TaskRunStatus) -> Result<Ready, Invalid> {
    let group = observed.group;
    let mut found = match find::task(observed, old)? {
        Seen::Found(found) => found,
        Seen::Need(need) => return Ok(Ready::Needs(vec![need])),
        Seen::Waiting => return Ok(Ready::Waiting(reasons::RESOLVING_TASK_REF, "resource")),
    };
    let is_new = old.task_spec.is_none() && !language::is_read_already(observed.run);
    if is_new && found.language == Group::Ergon {
        language::refer_task(&mut found.spec)
            .map_err(|error| Invalid::new(reasons::VALIDATION_FAILED, error.to_string()))?;
        language::bind_task(&mut found.spec);
    }
    let mut run = found.given_to(group, observed.run).0.into_owned();
    let base = observed.config.defaults.pod_template.as_ref();
    run.spec.pod_template = PodTemplate::merged(run.spec.pod_template.as_ref(), base);
    bind_by_default(&mut run, &found.spec, observed.config);
    if old.task_spec.is_some() {
        let resolved = inputs::resolved(group, &run, &found.spec)?;
        return Ok(Ready::Now(found, Box::new(resolved), Vec::new()));
    }
    let actions = Actions::of(group, &run, &found.spec, observed.library)?;
    if !actions.wanted.is_empty() {
        return Ok(Ready::Needs(actions.wanted));
    }
    if actions.is_waiting {
        return Ok(Ready::Waiting(reasons::RESOLVING_STEP_ACTION_REF, "StepAction"));
    }
    let resolved = inputs::resolve(group, &run, &found.spec, &actions.found)?;
    let origins = actions.origins(&found.spec);
    Ok(Ready::Now(found, Box::new(resolved), origins))
}

/// A resolver is fetching the Task, or a StepAction of it.
fn resolving(
    observed: &Observed<'_>,
    old: TaskRunStatus,
    reason: &str,
    what: &str,
    now: Timestamp,
) -> Outcome<TaskRunStatus> {
    let run = observed.run;
    let message = format!("TaskRun {}/{} awaiting remote {what}", run.namespace(), run.name());
    let mut status = status::with_condition(old, ConditionStatus::Unknown, reason, &message, now);
    status.start_time.get_or_insert(Time(now));
    let wake_at = deadline(run, &status, observed.config);
    decided(Vec::new(), status, wake_at)
}

/// Whether the pod, when last seen, had no node.
fn found_no_node(status: &TaskRunStatus) -> bool {
    status.condition().is_some_and(|condition| condition.reason() == reasons::EXCEEDED_NODE_RESOURCES)
}

/// A pod of the right name that belongs to somebody else is never ours to read or to end.
fn owned(run: &TaskRun, pod: &Pod) -> Result<(), Invalid> {
    if fuse::belongs_to(pod, run) {
        return Ok(());
    }
    Err(Invalid::new(
        reasons::POD_CREATION_FAILED,
        format!(
            "pod \"{}\" exists already and does not belong to this TaskRun: delete it, or give the run another name",
            pod.name_any()
        ),
    ))
}

/// No pod yet: check the inputs and make it.
fn create(
    observed: &Observed<'_>,
    old: TaskRunStatus,
    found: &Found,
    task: &Resolved,
    now: Timestamp,
) -> Outcome<TaskRunStatus> {
    let (run, adding) = found.given_to(observed.group, observed.run);
    let run = &run;
    let resolved = match task.for_attempt(attempt::number(run)) {
        Ok(resolved) => resolved,
        Err(invalid) => return fail(observed.group, old, &invalid, now),
    };
    let lacks = lookups(observed, run);
    if !lacks.is_empty() {
        return Outcome::Needs(lacks);
    }
    let account_name = pod::account_name(run, observed.config);
    let account = match observed.library.accounts.get(account_name) {
        Some(Some(account)) => Some(account),
        _ if account_name == DEFAULT_ACCOUNT => None,
        _ => return without_account(observed, old, account_name, now),
    };
    let template = &resolved.wishes.pod_template;
    let pull_secrets: Vec<String> = template
        .image_pull_secrets
        .iter()
        .map(|secret| secret.name.clone())
        .chain(account.iter().flat_map(|account| account.image_pull_secrets.clone()))
        .collect();
    let images: BTreeSet<Need> = pod::merged_steps(&resolved.spec, &resolved.wishes)
        .into_iter()
        .filter(|step| step.command.is_empty() && step.script.is_none())
        .filter_map(|step| step.image)
        .chain(pod::unknown_sidecar_images(&resolved.spec, &resolved.wishes, observed.config))
        .filter(|image| !observed.library.images.contains_key(image))
        .map(|reference| Need::Image { reference, pull_secrets: pull_secrets.clone() })
        .collect();
    if !images.is_empty() {
        return Outcome::Needs(images.into_iter().collect());
    }
    let name = attempt::pod_name(run);
    let input = PodInput {
        group: observed.group,
        run,
        resolved: &resolved,
        name: &name,
        library: observed.library,
        config: observed.config,
        platform: observed.platform,
    };
    let (pod, claims) = match pod::build(&input) {
        Ok(built) => built,
        Err(error) => {
            let invalid = Invalid::new(reasons::VALIDATION_FAILED, error.to_string());
            return fail(observed.group, old, &invalid, now);
        }
    };
    let mut actions: Vec<Action> = adding.into_iter().collect();
    actions.extend(claims.into_iter().map(|claim| Action::CreateClaim(Box::new(claim))));
    actions.push(Action::CreatePod(Box::new(pod)));
    if let Some(missing) = account.map(|account| &account.missing_secrets).filter(|names| !names.is_empty()) {
        let message = format!(
            "Unable to retrieve some secrets ({}); attempting to use them may not succeed.",
            missing.join(", ")
        );
        actions.push(event(EventKind::Warning, "FailedToRetrieveSecret", &message));
    }
    if old.task_spec.is_none() && old.retries_status.is_empty() {
        actions.push(event(EventKind::Normal, reasons::STARTED, ""));
    }
    let mut status = status::with_condition(
        old,
        ConditionStatus::Unknown,
        reasons::STARTED,
        "Not all Steps in the Task have finished executing",
        now,
    );
    status.start_time.get_or_insert(Time(now));
    status.pod_name = Some(name);
    status.task_spec.get_or_insert_with(|| task.spec.clone());
    found.source_into(&mut status);
    let wake_at = deadline(run, &status, observed.config);
    decided(actions, status, wake_at)
}

/// Gives workspaces that the run does not bind what the installation gives them.
fn bind_by_default(run: &mut TaskRun, task: &TaskSpec, config: &Config) {
    let Some(default) = &config.defaults.task_run_workspace_binding else { return };
    for workspace in task.workspaces.iter().filter(|workspace| !workspace.is_optional()) {
        if !run.spec.workspaces.iter().any(|bound| bound.name == workspace.name) {
            run.spec.workspaces.push(WorkspaceBinding { name: workspace.name.clone(), ..default.clone() });
        }
    }
}

/// The account that every namespace has, a moment after it was made.
const DEFAULT_ACCOUNT: &str = "default";

/// What a pod depends on besides its task, and that was not looked up yet.
fn lookups(observed: &Observed<'_>, run: &TaskRun) -> Vec<Need> {
    let account = pod::account_name(run, observed.config);
    let known = observed.library.accounts.contains_key(account);
    let account = (!known).then(|| Need::Account(account.to_owned()));
    let ranges = observed.library.limit_ranges.is_none().then_some(Need::LimitRanges);
    account.into_iter().chain(ranges).collect()
}

/// The service account is not there. Who applies it together with the run may be about to make it.
fn without_account(
    observed: &Observed<'_>,
    old: TaskRunStatus,
    account: &str,
    now: Timestamp,
) -> Outcome<TaskRunStatus> {
    const PATIENCE: SignedDuration = SignedDuration::from_secs(10);
    const AGAIN: SignedDuration = SignedDuration::from_secs(1);
    let run = observed.run;
    let message = format!(
        "failed to create task run pod \"{}\": serviceaccounts \"{account}\" not found in namespace \"{}\"",
        run.name(),
        run.namespace()
    );
    let created = run.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    if now.duration_since(created) >= PATIENCE {
        return fail(observed.group, old, &Invalid::new(reasons::POD_CREATION_FAILED, message), now);
    }
    let mut status = status::with_condition(old, ConditionStatus::Unknown, reasons::PENDING, &message, now);
    status.start_time.get_or_insert(Time(now));
    decided(Vec::new(), status, now.checked_add(AGAIN).ok())
}

/// A pod is there: read it.
fn observe(
    observed: &Observed<'_>,
    old: TaskRunStatus,
    task: &TaskSpec,
    pod: &Pod,
    now: Timestamp,
) -> Outcome<TaskRunStatus> {
    let views = steps::view(task, Some(pod), observed.report);
    let verdict = verdict::judge(observed.run.name(), task, pod, &views, observed.config, now);
    let shares = fuse::pod_of(observed.run).is_some();
    let verdict = if shares { verdict::of_shared(verdict, Some(pod)) } else { verdict };
    if matches!(verdict, Verdict::Failed { .. })
        && let Some(until) = verdict::kubelet_may_know_more(pod, &views).filter(|until| *until > now)
    {
        let message = "A Step was killed: waiting for the node to say why".to_owned();
        let verdict = Verdict::Running { reason: reasons::RUNNING.to_owned(), message, until: Some(until) };
        return finish(observed, old, task, &views, Some(pod), verdict, now);
    }
    if let Some(until) = await_node::until(observed, pod, &views, &verdict, now) {
        // Not written: it would cost the run a write more.
        let wake_at = deadline(observed.run, &old, observed.config).into_iter().chain([until]).min();
        return decided(Vec::new(), old, wake_at);
    }
    finish(observed, old, task, &views, Some(pod), verdict, now)
}

/// Writes a verdict into the status, and retries or ends.
fn finish(
    observed: &Observed<'_>,
    old: TaskRunStatus,
    task: &TaskSpec,
    views: &[StepView],
    pod: Option<&Pod>,
    verdict: Verdict,
    now: Timestamp,
) -> Outcome<TaskRunStatus> {
    let run = observed.run;
    let mut steps = status::steps(task, views);
    status::keep_origins(&old.steps, &mut steps);
    let mut status = TaskRunStatus {
        steps,
        artifacts: status::artifacts(views),
        sidecars: status::sidecars(task, pod),
        pod_name: Some(attempt::pod_name(run)),
        ..old
    };
    fuse::with_shown_names(observed.group, run, &mut status.steps);
    if status.start_time.is_none() {
        // In a shared pod, it may have begun before its run was made.
        let begun =
            views.iter().filter_map(StepView::started_at).min().filter(|_| fuse::pod_of(run).is_some());
        status.start_time = Some(Time(begun.map_or(now, |begun| begun.min(now))));
    }
    status.task_spec.get_or_insert_with(|| task.clone());
    match verdict {
        Verdict::Running { reason, message, until } => {
            let wake_at = deadline(run, &status, observed.config).into_iter().chain(until).min();
            let status = status::with_condition(status, ConditionStatus::Unknown, &reason, &message, now);
            decided(Vec::new(), status, wake_at)
        }
        Verdict::Succeeded { results } => {
            status.results = results;
            status.completion_time = Some(Time(now));
            let message = "All Steps have completed executing";
            let status =
                status::with_condition(status, ConditionStatus::True, reasons::SUCCEEDED, message, now);
            decided(vec![event(EventKind::Normal, reasons::SUCCEEDED, message)], status, None)
        }
        Verdict::Failed { reason, message, results } => {
            status.results = results;
            status.completion_time = Some(Time(now));
            let runs_on = pod.is_some_and(|pod| !verdict::is_over(pod));
            if runs_on && views.iter().any(|view| !view.state.is_ended()) {
                let why = format!("pod {} is terminated", attempt::pod_name(run));
                let mut ended = status::ended_steps(task, views, &reason, &why, now);
                status::keep_origins(&status.steps, &mut ended);
                status.steps = ended;
                fuse::with_shown_names(observed.group, run, &mut status.steps);
            }
            // Others are in a shared one: it is its pipeline run's to end.
            let mut actions = end_pod(pod.filter(|_| fuse::pod_of(run).is_none()), views);
            // What is lost with a pod that others share is no failure of the task: its pipeline run has it run again.
            let is_lost = fuse::is_lost(run, &reason);
            let may_retry = attempt::may_retry(run) && !is_lost;
            let ignored = !may_retry && !is_lost && labels::failure_is_ignored(run);
            let reason = if ignored { reasons::FAILURE_IGNORED } else { &reason };
            let status = status::with_condition(status, ConditionStatus::False, reason, &message, now);
            if may_retry {
                // The next reconcile sees no pod name and makes the next try's pod.
                return decided(actions, attempt::next(status), Some(now));
            }
            actions.push(event(EventKind::Warning, reasons::FAILED, &message));
            decided(actions, status, None)
        }
    }
}

/// Cancelled or timed out: end the pod, keep what its steps have said so far.
fn end(
    observed: &Observed<'_>,
    old: TaskRunStatus,
    reason: &'static str,
    message: &str,
    now: Timestamp,
) -> Outcome<TaskRunStatus> {
    let pod = match observed.pod {
        PodSeen::Here(pod) if owned(observed.run, pod).is_ok() => Some(pod),
        // A pod may have been created a moment ago: ask before the run is declared over, or it would stay behind.
        PodSeen::NotInCache => return Outcome::Needs(vec![Need::Pod(attempt::pod_name(observed.run))]),
        _ => None,
    };
    let task = old.task_spec.clone().unwrap_or_default();
    let own = fuse::pod_of(observed.run)
        .map(|_| fuse::own_part(observed.group, observed.run, &task, pod, observed.report));
    let (pod, report) = match &own {
        Some((pod, report)) => (pod.as_ref(), report.as_ref()),
        None => (pod, observed.report),
    };
    let views = steps::view(&task, pod, report);
    let mut steps = status::ended_steps(&task, &views, reason, message, now);
    status::keep_origins(&old.steps, &mut steps);
    fuse::with_shown_names(observed.group, observed.run, &mut steps);
    let mut status = TaskRunStatus {
        steps,
        artifacts: status::artifacts(&views),
        sidecars: status::sidecars(&task, pod),
        completion_time: Some(Time(now)),
        ..old
    };
    status.start_time.get_or_insert(Time(now));
    let status = status::with_condition(status, ConditionStatus::False, reason, message, now);
    let own_pod = pod.filter(|_| own.is_none());
    let mut actions = if observed.config.features.keep_pod_on_cancel {
        end_pod(own_pod, &views)
    } else {
        delete_pod(own_pod)
    };
    if reason == reasons::TIMED_OUT && attempt::may_retry(observed.run) {
        return decided(actions, attempt::next(status), Some(now));
    }
    actions.push(event(EventKind::Warning, reasons::FAILED, message));
    decided(actions, status, None)
}

/// Ends a pod that would not end by itself. Whether it has started is known from its agent before the kubelet says so.
fn end_pod(pod: Option<&Pod>, views: &[StepView]) -> Vec<Action> {
    let Some(pod) = pod else { return Vec::new() };
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let ends_by_itself = !views.is_empty() && views.iter().all(|view| view.state.is_ended());
    if verdict::is_over(pod) || pod.metadata.deletion_timestamp.is_some() || ends_by_itself {
        return Vec::new();
    }
    let told = views.iter().any(|view| !matches!(view.state, View::Waiting { .. }));
    vec![Action::EndPod {
        name: pod.name_any(),
        uid: pod.uid().unwrap_or_default(),
        keep: told || phase == Some("Running"),
    }]
}

/// Deletes a pod where the installation wants no pods of cancelled runs.
fn delete_pod(pod: Option<&Pod>) -> Vec<Action> {
    pod.filter(|pod| pod.metadata.deletion_timestamp.is_none())
        .map(|pod| Action::EndPod { name: pod.name_any(), uid: pod.uid().unwrap_or_default(), keep: false })
        .into_iter()
        .collect()
}

/// The user's mistake: the run fails, and no pod was or will be made for it.
fn fail(group: Group, old: TaskRunStatus, invalid: &Invalid, now: Timestamp) -> Outcome<TaskRunStatus> {
    let message = invalid.told(group);
    let mut status = status::with_condition(old, ConditionStatus::False, invalid.reason, &message, now);
    status.start_time.get_or_insert(Time(now));
    status.completion_time = Some(Time(now));
    decided(vec![event(EventKind::Warning, reasons::FAILED, &message)], status, None)
}

/// When the current try is over its time; none where it has no limit or has not started.
fn deadline(run: &TaskRun, status: &TaskRunStatus, config: &Config) -> Option<Timestamp> {
    let limit = run.spec.timeout.unwrap_or(config.defaults.timeout).as_millis();
    let start = status.start_time.as_ref()?.0;
    (limit > 0).then(|| start.checked_add(SignedDuration::from_millis(limit)).ok())?
}

fn event(kind: EventKind, reason: &str, message: &str) -> Action {
    Action::Emit(Event { kind, reason: reason.to_owned(), message: message.to_owned() })
}

fn decided(
    actions: Vec<Action>,
    status: TaskRunStatus,
    wake_at: Option<Timestamp>,
) -> Outcome<TaskRunStatus> {
    Outcome::Decided(Box::new(Decision { actions, status, wake_at }))
}
