//! One task's own pod, with marks in the place of what is known only when its turn comes.

use std::collections::{BTreeMap, BTreeSet};

use ergon_api::{
    Config, Fuse, ParamType, ParamValue, PipelineTask, PodTemplate, TaskResult, TaskRun, TaskRunStatus,
    TaskSpec,
};
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

use super::compile::{Context, Stop};
use crate::expr::{LATER, Scope};
use crate::fuse::{Member, Why};
use crate::pod::{self, AGENT};
use crate::remote::Request;
use crate::run::child::Made;
use crate::run::children::Making;
use crate::run::find::{self, TaskSeen};
use crate::run::{artifacts, results};
use crate::task::{self, PodSeen};
use crate::{Action, Outcome};

/// How often a task may be tried again in one pod, which has containers for each try.
const MOST_RETRIES: i32 = 5;
/// Stands for the UID of a run that is not made yet.
const UID: &str = "ergon-uid-of-later";

/// Builds the pods that a task would have on its own, one for each try. `finally`: it is a final one.
pub(super) fn build(
    context: &Context<'_>,
    task: &PipelineTask,
    finally: bool,
    wish: Fuse,
) -> Result<(Vec<Member>, TaskRun), Stop> {
    let spec = check(context, task, wish)?;
    let made = runs(context, task, finally)?;
    let Ok([Made::Task(run)]) = <[Made; 1]>::try_from(made) else { return Err(Why::Matrix.into()) };
    let mut members = Vec::new();
    for retry in 0..=task.retries.and_then(|retries| usize::try_from(retries).ok()).unwrap_or_default() {
        let member = built(context, task, spec, &run, retry)?;
        members.push(Member { one_container: wish == Fuse::Container, ..member });
    }
    Ok((members, *run))
}

/// The pod of one try of a task.
fn built(
    context: &Context<'_>,
    task: &PipelineTask,
    spec: &TaskSpec,
    run: &TaskRun,
    retry: usize,
) -> Result<Member, Stop> {
    let mut pod = own_pod(context, run, retry)?;
    let claims = pod::take_claims(&mut pod);
    for container in pod.spec.iter_mut().flat_map(|spec| &mut spec.containers) {
        // They only show what the plan says, which is not known yet.
        if container.args.iter().flatten().any(|word| is_late(word)) {
            container.args = None;
        }
    }
    let plan = pod::plan_of(&pod).ok_or_else(|| Why::CannotBeChecked("its pod has no plan".to_owned()))?;
    let mut text = serde_json::to_string(&plan).unwrap_or_default();
    let (still, late_env) = without_late_env(&pod)?;
    if let Some(field) = field_with(&still, "") {
        return Err(Why::Static(field).into());
    }
    text.push_str(&still.to_string());
    if text.contains(UID) {
        return Err(Why::Uid.into());
    }
    let plan = shell_of(plan);
    debug_assert_eq!(plan.tasks.iter().map(|task| task.steps.len()).sum::<usize>(), spec.steps.len());
    let template = PodTemplate::merged(
        run.spec.pod_template.as_ref(),
        context.observed.config.defaults.pod_template.as_ref(),
    );
    let wanted_security = template.and_then(|template| template.security_context);
    Ok(Member {
        task: task.name.clone(),
        retry,
        pod,
        plan,
        late_env,
        wanted_security,
        claims,
        one_container: false,
    })
}

/// The pod that a task has where it shares none, or one leg of its matrix.
///
/// # Errors
/// What must be looked up first, or why there is no pod that could be told of before.
pub(in crate::run) fn alone(context: &Context<'_>, task: &PipelineTask, finally: bool) -> Result<Pod, Stop> {
    if task.is_pipeline() {
        return Err(Why::Pipeline.into());
    }
    match runs(context, task, finally)?.first() {
        Some(Made::Task(run)) => own_pod(context, run, 0),
        Some(Made::Custom(_) | Made::Pipeline(_)) => Err(Why::CustomTask.into()),
        None => Err(Why::Matrix.into()),
    }
}

/// The runs of a task, with marks in the place of what is not known yet.
fn runs(context: &Context<'_>, task: &PipelineTask, finally: bool) -> Result<Vec<Made>, Stop> {
    let mut scope = scope(context, task)?;
    if finally {
        mark_ends(context, task, &mut scope)?;
    }
    let making = Making {
        group: context.observed.group,
        run: context.observed.run,
        ancestors: context.observed.ancestors,
        prepared: context.prepared,
        scope: &scope,
        config: context.observed.config,
        finally,
        retry: context.states.get(&task.name).map_or(0, |state| state.earlier.len()),
    };
    Ok(making
        .runs(task, &BTreeSet::new(), usize::MAX)
        .map_err(|invalid| Why::CannotBeChecked(invalid.message))?)
}

/// What can be told without building anything.
fn check<'a>(context: &Context<'a>, task: &'a PipelineTask, wish: Fuse) -> Result<&'a TaskSpec, Stop> {
    let retries = task.retries.unwrap_or_default();
    let wishes = [
        (task.matrix.is_some(), Why::Matrix),
        (retries > 0 && wish == Fuse::Auto, Why::Retries),
        (retries > MOST_RETRIES, Why::TooLarge("tries of this task")),
        (task.is_pipeline(), Why::Pipeline),
        (task.is_custom_task(), Why::CustomTask),
    ];
    if let Some((_, why)) = wishes.into_iter().find(|(holds, _)| *holds) {
        return Err(why.into());
    }
    if let Some(reference) = &task.task_ref
        && Request::of(
            reference.name.as_deref(),
            reference.resolver.as_deref(),
            &reference.params,
            &Scope::default(),
        )
        .is_some()
    {
        return Err(Why::Resolver.into());
    }
    let spec = match find::task(context.observed, task) {
        Ok(TaskSeen::Spec(spec)) => spec,
        Ok(TaskSeen::Need(need)) => return Err(Stop::Needs(vec![need])),
        Ok(TaskSeen::Waiting | TaskSeen::Later | TaskSeen::Pipeline(_)) => return Err(Why::Resolver.into()),
        Err(invalid) => return Err(Why::CannotBeChecked(invalid.message).into()),
    };
    let parts = [
        (spec.steps.iter().any(|step| step.ref_.is_some()), Why::StepActions),
        (!spec.sidecars.is_empty(), Why::Sidecars),
    ];
    match parts.into_iter().find(|(holds, _)| *holds) {
        Some((_, why)) => Err(why.into()),
        None => Ok(spec),
    }
}

/// What the task may refer to: what is known, and marks for the rest.
fn scope(context: &Context<'_>, task: &PipelineTask) -> Result<Scope, Stop> {
    let Some(place) = context.prepared.plan.place(&task.name) else { return Ok(Scope::default()) };
    let mut scope = results::available(place, context.states);
    scope.extend(&artifacts::known(place, context.states));
    scope.extend(&results::of_bindings(context.prepared, context.states, place, None));
    for (needs, result) in results::used(place, context.states) {
        let Some(state) = context.states.get(needs).filter(|state| state.result(result).is_none()) else {
            continue;
        };
        let declared = match find::task(context.observed, state.task) {
            Ok(TaskSeen::Spec(spec)) => spec.results.iter().find(|declared| declared.name == result),
            Ok(TaskSeen::Need(need)) => return Err(Stop::Needs(vec![need])),
            _ => None,
        };
        scope.set(&["tasks", needs, "results", result], mark(declared, result)?);
    }
    Ok(scope)
}

/// Marks for how the tasks of the graph ended.
fn mark_ends(context: &Context<'_>, task: &PipelineTask, scope: &mut Scope) -> Result<(), Stop> {
    let plan = &context.prepared.plan;
    for (_, reference) in plan.place(&task.name).map(|place| plan.uses(place)).into_iter().flatten() {
        let names = reference.names();
        match names.as_slice() {
            ["tasks", _, "reason"] => return Err(Why::Reason.into()),
            ["tasks", "status"] | ["tasks", _, "status"] => {
                scope.set(&names, LATER);
            }
            _ => {}
        }
    }
    Ok(())
}

/// A value of the result's type that can be found again.
fn mark(declared: Option<&TaskResult>, name: &str) -> Result<ParamValue, Stop> {
    Ok(match declared.map(TaskResult::effective_type) {
        Some(ParamType::Array) => ParamValue::Array(vec![LATER.to_owned()]),
        Some(ParamType::Object) => {
            let keys: BTreeMap<String, String> = declared
                .iter()
                .flat_map(|declared| declared.properties.keys())
                .map(|key| (key.clone(), LATER.to_owned()))
                .collect();
            if keys.is_empty() {
                return Err(Why::UnknownKeys(name.to_owned()).into());
            }
            ParamValue::Object(keys)
        }
        _ => ParamValue::String(LATER.to_owned()),
    })
}

/// The pod that the task's own decision makes for this try of the run, with a mark for its UID.
fn own_pod(context: &Context<'_>, run: &TaskRun, retry: usize) -> Result<Pod, Stop> {
    let observed = context.observed;
    let mut run = run.clone();
    run.metadata.uid = Some(UID.to_owned());
    if retry > 0 {
        let retries_status = vec![TaskRunStatus::default(); retry];
        run.status = Some(TaskRunStatus { retries_status, ..TaskRunStatus::default() });
    }
    let config: &Config = observed.config;
    let outcome = task::reconcile(
        &task::Observed {
            group: observed.group,
            run: &run,
            pod: PodSeen::NotInCache,
            report: None,
            library: observed.library,
            config,
            platform: context.platform,
        },
        context.now,
    );
    let decision = match outcome {
        Outcome::Needs(needs) => return Err(Stop::Needs(needs)),
        Outcome::Decided(decision) => decision,
    };
    let mut pods = decision.actions.into_iter().filter_map(|action| match action {
        Action::CreatePod(pod) => Some(*pod),
        _ => None,
    });
    pods.next().ok_or_else(|| {
        let why = decision.status.condition().map_or("", ergon_api::Condition::message);
        Why::CannotBeChecked(why.to_owned()).into()
    })
}

/// The pod as text to look for marks in, and the variables that may wait, by container.
fn without_late_env(pod: &Pod) -> Result<(Value, BTreeMap<String, Vec<String>>), Stop> {
    let mut pod = pod.clone();
    pod.metadata.owner_references = None;
    pod.metadata.labels.iter_mut().for_each(|labels| labels.retain(|_, value| value != UID));
    let mut late_env = BTreeMap::new();
    for container in pod.spec.iter_mut().flat_map(|spec| &mut spec.containers) {
        if container.name == AGENT {
            // The plan, which is filled in when the turn has come.
            container.env = None;
            continue;
        }
        let Some(env) = &mut container.env else { continue };
        let (late, known): (Vec<_>, Vec<_>) = std::mem::take(env)
            .into_iter()
            .partition(|variable| variable.value.as_deref().is_some_and(is_late));
        *env = known;
        for variable in &late {
            // The kubelet puts variables into each other, which it cannot do with one that comes later.
            let uses = format!("$({})", variable.name);
            let used =
                env.iter().filter_map(|known| known.value.as_deref()).any(|value| value.contains(&uses));
            if used || variable.value.as_deref().is_some_and(|value| value.contains("$(")) {
                return Err(Why::Static(format!("env `{}`", variable.name)).into());
            }
        }
        if !late.is_empty() {
            late_env.insert(container.name.clone(), late.into_iter().map(|variable| variable.name).collect());
        }
    }
    Ok((serde_json::to_value(&pod).unwrap_or_default(), late_env))
}

/// Whether a text depends on a result that is not known yet.
fn is_late(text: &str) -> bool {
    text.contains(LATER) || text.contains("$(tasks.")
}

/// The place of the first text that has one of the marks.
fn field_with(value: &Value, path: &str) -> Option<String> {
    match value {
        Value::String(text) => is_late(text).then(|| path.to_owned()),
        Value::Array(items) => {
            items.iter().enumerate().find_map(|(at, item)| field_with(item, &format!("{path}[{at}]")))
        }
        Value::Object(map) => map.iter().find_map(|(key, value)| {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            field_with(value, &path).or_else(|| is_late(key).then_some(path))
        }),
        _ => None,
    }
}

/// A plan without what is filled in when the task's turn has come.
fn shell_of(mut plan: ergon_wire::PodPlan) -> ergon_wire::PodPlan {
    for step in plan.tasks.iter_mut().flat_map(|task| &mut task.steps) {
        step.argv.clear();
        step.script = None;
        step.when.clear();
        step.references.clear();
        step.working_dir = None;
        (step.stdout_path, step.stderr_path) = (None, None);
    }
    plan
}
