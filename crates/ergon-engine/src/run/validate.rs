//! Checks before the first task starts: a mistake in the last task is found before the first one runs.

use ergon_api::texts::variables_in;
use ergon_api::variables::variables;
use ergon_api::{Group, PipelineTask, TaskSpec, reasons::pipeline_run as reasons};

use super::Observed;
use super::find::{self, TaskSeen};
use super::prepare::Prepared;
use crate::action::Need;
use crate::graph::as_result;
use crate::task::inputs::list;
use crate::task::{Invalid, params};

/// Checks all tasks against their Tasks, or says which of those must be looked up first.
///
/// # Errors
/// What the user must mend, with the place.
pub(super) fn check(observed: &Observed<'_>, prepared: &Prepared) -> Result<Checked, Invalid> {
    let mut needs = Vec::new();
    let mut waiting = false;
    for task in prepared.spec.all_tasks() {
        match find::task(observed, task)? {
            TaskSeen::Spec(spec) => {
                check_task(observed, task, spec)?;
                check_optional(observed.group, prepared, task, spec)?;
            }
            TaskSeen::Need(need) => needs.push(need),
            TaskSeen::Waiting => waiting = true,
            // A pipeline checks itself when it runs, and only its controller knows what a custom task needs.
            TaskSeen::Pipeline(_) | TaskSeen::Later => {}
        }
    }
    needs.sort_unstable();
    needs.dedup();
    if !needs.is_empty() {
        return Ok(Checked::Needs(needs));
    }
    if waiting {
        return Ok(Checked::Waiting);
    }
    for (place, task) in prepared.plan.tasks() {
        check_conditions(prepared, task)?;
        check_results(observed, prepared, place, task)?;
    }
    check_pipeline_results(observed, prepared)?;
    Ok(Checked::Fine)
}

/// What the checks came to, where they found no mistake.
pub(super) enum Checked {
    Fine,
    /// These must be looked up first.
    Needs(Vec<Need>),
    /// Resolvers are fetching Tasks.
    Waiting,
}

/// Parameters and workspaces that the Task needs and the pipeline task does not give.
fn check_task(observed: &Observed<'_>, task: &PipelineTask, spec: &TaskSpec) -> Result<(), Invalid> {
    let given = |name: &str| {
        task.params.iter().any(|param| param.name == name)
            || task.matrix.iter().any(|matrix| {
                let included = matrix.include.iter().flat_map(|include| &include.params);
                matrix.params.iter().chain(included).any(|param| param.name == name)
            })
    };
    let missing: Vec<String> = spec
        .params
        .iter()
        .filter(|param| param.default.is_none() && !given(&param.name))
        .map(|param| param.name.clone())
        .collect();
    if !missing.is_empty() {
        let name = task.task_ref.as_ref().and_then(|reference| reference.name.as_deref());
        let problem = params::Problem::Missing(missing).of(&format!("task {}", name.unwrap_or(&task.name)));
        return Err(Invalid::new(
            reasons::FAILED_VALIDATION,
            format!(
                "Validation failed for pipelinerun {} with error {problem} (pipeline task `{}`)",
                observed.run.name(),
                task.name
            ),
        )
        .by_user());
    }
    let unbound: Vec<&str> = spec
        .workspaces
        .iter()
        // The task run gets what the installation gives.
        .filter(|_| observed.config.defaults.task_run_workspace_binding.is_none())
        .filter(|workspace| {
            !workspace.is_optional() && !task.workspaces.iter().any(|bound| bound.name == workspace.name)
        })
        .map(|workspace| workspace.name.as_str())
        .collect();
    if !unbound.is_empty() {
        return Err(Invalid::new(
            reasons::INVALID_WORKSPACE_BINDINGS,
            format!(
                "task `{}` does not bind the workspaces {} that its Task needs: add them to its `workspaces`",
                task.name,
                list(unbound.into_iter())
            ),
        ));
    }
    Ok(())
}

/// A workspace that the pipeline can do without is bound to one that the Task cannot do without. Tekton looks at what is
/// declared; ours only fails where it is not provided either.
fn check_optional(
    group: Group,
    prepared: &Prepared,
    task: &PipelineTask,
    spec: &TaskSpec,
) -> Result<(), Invalid> {
    for bound in &task.workspaces {
        let outer = bound.workspace.as_deref().unwrap_or(&bound.name);
        let is_optional =
            prepared.spec.workspaces.iter().any(|known| known.name == outer && known.is_optional());
        let is_needed = spec.workspaces.iter().any(|own| own.name == bound.name && !own.is_optional());
        let is_there = group == Group::Ergon && prepared.workspaces.contains_key(outer);
        if is_optional && is_needed && !is_there {
            return Err(Invalid::new(
                reasons::REQUIRED_WORKSPACE_MARKED_OPTIONAL,
                format!(
                    "Optional workspace not supported by task: pipeline workspace \"{outer}\" is marked optional but pipeline task \"{}\" requires it be provided",
                    task.name
                ),
            )
            .by_user());
        }
    }
    Ok(())
}

/// CEL conditions that wait for no result can be tried now.
fn check_conditions(prepared: &Prepared, task: &PipelineTask) -> Result<(), Invalid> {
    let known: Vec<_> = task
        .when
        .iter()
        .filter(|when| match &when.cel_values {
            Some(values) => values.values().all(|value| value.value.is_some()),
            None => when.cel.as_ref().is_some_and(|text| variables(text).is_empty()),
        })
        .cloned()
        .collect();
    super::when::hold(&known).map(drop).map_err(|error| {
        Invalid::new(
            reasons::CEL_EVALUATION_FAILED,
            format!("Error evaluating CEL {}: task `{}`: {error}", prepared.run_name, task.name),
        )
        .by_user()
    })
}

/// References to results that the other task does not declare, and so never writes.
fn check_results(
    observed: &Observed<'_>,
    prepared: &Prepared,
    place: usize,
    task: &PipelineTask,
) -> Result<(), Invalid> {
    for (field, reference) in prepared.plan.uses(place) {
        let Some((needs, result)) = as_result(reference) else { continue };
        let Some(producer) = prepared.plan.place(needs).and_then(|place| prepared.spec.tasks.get(place))
        else {
            return Err(Invalid::new(
                reasons::INVALID_TASK_RESULT_REFERENCE,
                format!(
                    "invalid result reference in pipeline task \"{}\": referenced pipeline task \"{needs}\" does not exist ({field}; there are {})",
                    task.name,
                    list(prepared.spec.tasks.iter().map(|task| task.name.as_str()))
                ),
            ));
        };
        let declared: Vec<&str> = match find::task(observed, producer)? {
            TaskSeen::Spec(spec) => spec.results.iter().map(|declared| declared.name.as_str()).collect(),
            TaskSeen::Pipeline(spec) => spec.results.iter().map(|declared| declared.name.as_str()).collect(),
            TaskSeen::Need(_) | TaskSeen::Waiting | TaskSeen::Later => continue,
        };
        if !declared.contains(&result) {
            return Err(Invalid::new(
                reasons::INVALID_TASK_RESULT_REFERENCE,
                format!(
                    "invalid result reference in pipeline task \"{}\": \"{result}\" is not a named result returned by pipeline task \"{needs}\" ({field}; it returns {})",
                    task.name,
                    list(declared.into_iter())
                ),
            ));
        }
    }
    Ok(())
}

/// The same for the pipeline's own results.
fn check_pipeline_results(observed: &Observed<'_>, prepared: &Prepared) -> Result<(), Invalid> {
    for declared in &prepared.spec.results {
        for (_, reference) in variables_in(&declared.value, &[]) {
            let ["tasks" | "finally", needs, "results", result, ..] = reference.names()[..] else { continue };
            let task = prepared.plan.place(needs).and_then(|place| prepared.plan.task(place));
            let problem = match task.map(|task| find::task(observed, task)).transpose()? {
                None => format!("referenced pipeline task \"{needs}\" does not exist"),
                Some(TaskSeen::Spec(spec)) if !spec.results.iter().any(|known| known.name == result) => {
                    format!(
                        "\"{result}\" is not a named result returned by pipeline task \"{needs}\" (it returns {})",
                        list(spec.results.iter().map(|known| known.name.as_str()))
                    )
                }
                Some(_) => continue,
            };
            return Err(Invalid::new(
                reasons::INVALID_PIPELINE_RESULT_REFERENCE,
                format!(
                    "Failed to resolve pipeline result reference for \"{}\" with error invalid pipeline result \"{}\": {problem}",
                    prepared.run_name, declared.name
                ),
            ));
        }
    }
    Ok(())
}
