//! From a run and its Pipeline to a spec with parameters and context in place, ready to be carried out.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ergon_api::texts::variables_in;
use ergon_api::variables::Part;
use ergon_api::{
    Group, ParamValue, PipelineRun, PipelineSpec, PipelineTask, TaskSpec, WorkspaceBinding,
    WorkspaceDeclaration, WorkspacePipelineTaskBinding, reasons::pipeline_run as reasons,
};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;

use super::plan::Plan;
use super::{claims, defaults, matrix};
use crate::expr::{Scope, expand_object};
use crate::graph::{Graph, GraphError};
use crate::labels;
use crate::task::Invalid;
use crate::task::inputs::param_scope;
use crate::task::params;

/// A pipeline run that can be carried out.
#[derive(Debug)]
pub(super) struct Prepared {
    pub run_name: String,
    pub namespace: String,
    pub pipeline_name: String,
    /// Parameters, context and workspaces are replaced; results are not.
    pub spec: Arc<PipelineSpec>,
    pub plan: Arc<Plan>,
    /// The values of all parameters.
    pub values: BTreeMap<String, ParamValue>,
    /// What may be named everywhere in the run: parameters, context, and which workspaces are bound.
    pub scope: Scope,
    /// The run's bindings, by the pipeline's names.
    pub workspaces: BTreeMap<String, WorkspaceBinding>,
    pub claims: Vec<PersistentVolumeClaim>,
}

/// Puts the run's values in their places. `language`: the API group that the Pipeline is written for.
///
/// # Errors
/// What the user must mend, with the condition's reason.
pub(super) fn prepare(
    group: Group,
    run: &PipelineRun,
    spec: &PipelineSpec,
    language: Group,
) -> Result<Prepared, Invalid> {
    let pipeline_name = pipeline_name(group, run);
    let mut spec = Cow::Borrowed(spec);
    if language == Group::Ergon {
        let spec = spec.to_mut();
        ergon_api::language::refer_pipeline(spec)
            .map_err(|error| Invalid::new(reasons::FAILED_VALIDATION, error.to_string()))?;
        ergon_api::language::bind_pipeline(spec);
    }
    let spec = spec.as_ref();
    // A mistake in the order is told before one in the values.
    Graph::build(&spec.tasks).map_err(|error| no_graph(run, &error))?;
    let mut values = params::resolve(group, &spec.params, &run.spec.params)
        .map_err(|problem| unfit(run, &pipeline_name, &problem))?;
    defaults::resolve(&spec.params, &run.spec.params, &mut values).map_err(|error| {
        Invalid::new(
            reasons::FAILED_VALIDATION,
            format!("Failed to apply parameters to Pipeline {}/{pipeline_name}: {error}", run.namespace()),
        )
        .by_user()
    })?;
    let (workspaces, claims) = claims::bind(group, run);
    for workspace in &spec.workspaces {
        if !workspace.is_optional() && !workspaces.contains_key(&workspace.name) {
            return Err(Invalid::new(
                reasons::INVALID_WORKSPACE_BINDINGS,
                format!(
                    "PipelineRun {0}/{1} doesn't bind Pipeline {0}/{pipeline_name}'s Workspaces correctly: pipeline requires workspace with name \"{2}\" be provided by pipelinerun: add it to `spec.workspaces`",
                    run.namespace(),
                    run.name(),
                    workspace.name
                ),
            )
            .by_user());
        }
    }
    check_task_run_specs(run, spec)?;
    check_indices(run, &pipeline_name, spec, &values)?;
    let scope = scope(run, &pipeline_name, spec, &values, &workspaces);
    let mut prepared = spec.clone();
    for task in prepared.tasks.iter_mut().chain(&mut prepared.finally) {
        *task = put(task, &scope, &workspaces).map_err(|error| {
            Invalid::new(
                reasons::FAILED_VALIDATION,
                format!("task `{}`: a value does not fit the field it is used in: {error}", task.name),
            )
        })?;
    }
    for result in &mut prepared.results {
        result.value = crate::expr::expand_value(&result.value, &scope);
    }
    let plan = Arc::new(Plan::of(Arc::new(prepared)).map_err(|error| no_graph(run, &error))?);
    Ok(Prepared {
        run_name: run.name().to_owned(),
        namespace: run.namespace().to_owned(),
        pipeline_name,
        spec: Arc::clone(plan.spec()),
        plan,
        values,
        scope,
        workspaces,
        claims,
    })
}

/// Looks whether every item that the pipeline takes of a list parameter is in that list.
fn check_indices(
    run: &PipelineRun,
    pipeline_name: &str,
    spec: &PipelineSpec,
    values: &BTreeMap<String, ParamValue>,
) -> Result<(), Invalid> {
    let mut outside = BTreeSet::new();
    for task in spec.all_tasks() {
        // What is written out inside has names of its own, and checks them when it runs.
        for (_, reference) in variables_in(task, &["taskSpec", "pipelineSpec"]) {
            if let (["params", name], Part::Item(index)) = (reference.names().as_slice(), reference.part)
                && let Some(ParamValue::Array(items)) = values.get(*name)
                && index >= items.len()
            {
                outside.insert(reference.to_string());
            }
        }
    }
    if outside.is_empty() {
        return Ok(());
    }
    let outside: Vec<String> = outside.into_iter().collect();
    Err(Invalid::new(
        reasons::PARAM_ARRAY_INDEXING_INVALID,
        format!(
            "PipelineRun {0}/{1} failed validation: failed to validate Pipeline {0}/{pipeline_name}'s parameter which has an invalid index while referring to an array: non-existent param references:[{2}]",
            run.namespace(),
            run.name(),
            outside.join(" ")
        ),
    )
    .by_user())
}

/// A run that goes on: its spec is the one that [`prepare`] made, and is not substituted again. `kept` is a plan that the
/// shell has, of this spec or of any other.
pub(super) fn resume(
    group: Group,
    run: &PipelineRun,
    spec: &Arc<PipelineSpec>,
    kept: Option<&Arc<Plan>>,
) -> Result<Prepared, Invalid> {
    let plan = match kept.filter(|plan| plan.is_of(spec)) {
        Some(plan) => Arc::clone(plan),
        None => Arc::new(Plan::of(Arc::clone(spec)).map_err(|error| no_graph(run, &error))?),
    };
    let (workspaces, claims) = claims::bind(group, run);
    let pipeline_name = pipeline_name(group, run);
    // They were right when the run started, and neither the run's nor the pipeline's can change since.
    let mut values = params::resolve(group, &spec.params, &run.spec.params).unwrap_or_default();
    let _ = defaults::resolve(&spec.params, &run.spec.params, &mut values);
    Ok(Prepared {
        run_name: run.name().to_owned(),
        namespace: run.namespace().to_owned(),
        scope: scope(run, &pipeline_name, spec, &values, &workspaces),
        values,
        pipeline_name,
        plan,
        spec: Arc::clone(spec),
        workspaces,
        claims,
    })
}

fn no_graph(run: &PipelineRun, error: &GraphError) -> Invalid {
    let message =
        format!("PipelineRun {}/{}'s Pipeline DAG is invalid: {error}", run.namespace(), run.name());
    Invalid::new(reasons::INVALID_GRAPH, message).by_user()
}

/// The run's parameters do not fit the Pipeline's, in Tekton's words.
fn unfit(run: &PipelineRun, pipeline: &str, problem: &params::Problem) -> Invalid {
    let namespace = run.namespace();
    let (run, pipeline) =
        (format!("PipelineRun {namespace}/{}", run.name()), format!("Pipeline {namespace}/{pipeline}"));
    let (reason, message) = match problem {
        params::Problem::Missing(names) => (
            reasons::PARAMETER_MISSING,
            format!(
                "{run} is missing some parameters required by {pipeline}: pipelineRun missing parameters: [{}]",
                names.join(" ")
            ),
        ),
        params::Problem::Type { name, wanted, given } => (
            reasons::PARAMETER_TYPE_MISMATCH,
            format!(
                "{run} parameters have mismatching types with {pipeline}'s parameters: parameters have inconsistent types : [{name}]: declared as {wanted}, given {given}"
            ),
        ),
        params::Problem::Keys { name, absent } => (
            reasons::OBJECT_PARAMETER_MISS_KEYS,
            format!(
                "{run} parameters is missing object keys required by {pipeline}'s parameters: pipelineRun missing object keys for parameters: map[{name}:[{}]]",
                absent.join(" ")
            ),
        ),
        params::Problem::Enum { .. } | params::Problem::Value { .. } => {
            (reasons::INVALID_PARAM_VALUE, format!("{run} parameters have invalid value: {}", problem.of("")))
        }
    };
    Invalid::new(reason, message).by_user()
}

/// Settings for tasks that are not there were meant for others.
fn check_task_run_specs(run: &PipelineRun, spec: &PipelineSpec) -> Result<(), Invalid> {
    let known: BTreeSet<&str> = spec.all_tasks().map(|task| task.name.as_str()).collect();
    let mut names = run.spec.task_run_specs.iter().map(|own| own.pipeline_task_name.as_str());
    let Some(unknown) = names.find(|name| !known.contains(name)) else { return Ok(()) };
    let message = format!(
        "PipelineRun {}/{} doesn't define taskRunSpecs correctly: pipelineRun's taskrunSpecs defined wrong taskName: \"{unknown}\", does not exist in Pipeline",
        run.namespace(),
        run.name()
    );
    Err(Invalid::new(reasons::INVALID_TASK_RUN_SPECS, message).by_user())
}

/// The Pipeline's name: the reference's, the fetched one's, or the run's own where the spec is embedded.
pub(super) fn pipeline_name(group: Group, run: &PipelineRun) -> String {
    let Some(reference) = &run.spec.pipeline_ref else { return run.name().to_owned() };
    match &reference.name {
        Some(name) if reference.resolver.is_none() => name.clone(),
        // Its label is set as soon as the Pipeline is there.
        _ => labels::pipeline_of(group, run, run.name()),
    }
}

fn scope(
    run: &PipelineRun,
    pipeline_name: &str,
    spec: &PipelineSpec,
    values: &BTreeMap<String, ParamValue>,
    workspaces: &BTreeMap<String, WorkspaceBinding>,
) -> Scope {
    let mut scope = param_scope(values);
    scope
        .set(&["context", "pipelineRun", "name"], run.name())
        .set(&["context", "pipelineRun", "namespace"], run.namespace())
        .set(&["context", "pipelineRun", "uid"], run.uid())
        .set(&["context", "pipeline", "name"], pipeline_name.to_owned());
    for workspace in &spec.workspaces {
        let bound = workspaces.contains_key(&workspace.name);
        scope.set(&["workspaces", &workspace.name, "bound"], bound.to_string());
    }
    scope
}

/// One task with the pipeline's values in place. An embedded spec sees them too, except where it has its own names.
fn put(
    task: &PipelineTask,
    scope: &Scope,
    workspaces: &BTreeMap<String, WorkspaceBinding>,
) -> Result<PipelineTask, serde_json::Error> {
    let mut scope = scope.clone();
    scope.set(&["context", "pipelineTask", "retries"], task.retries.unwrap_or(0).to_string());
    let mut outer = task.clone();
    let embedded = outer.task_spec.take();
    // A pipeline that is written out here gets its values when it runs, as a run of its own.
    let pipeline = outer.pipeline_spec.take();
    let mut put = expand_object(&outer, &scope)?;
    put.params = matrix::expand_params(&outer.params, &scope);
    put.matrix = outer.matrix.as_ref().map(|outer| matrix::expand(outer, &scope));
    if let Some(mut embedded) = embedded {
        // What the task itself is given wins; a default of its spec does not.
        let mut inner = scope.clone();
        let legs = task.matrix.iter().flat_map(|matrix| {
            matrix.params.iter().chain(matrix.include.iter().flat_map(|include| &include.params))
        });
        for given in legs {
            inner.remove(&["params", &given.name]);
        }
        for given in &put.params {
            let path = ["params", given.name.as_str()];
            match &given.value {
                // Where it hides a text of the pipeline's, it takes that one's place at once, as Tekton has it.
                ParamValue::String(text) if !text.contains("$(") && inner.has_text(&path) => {
                    inner.set(&path, text.clone());
                }
                // It is put in when the task runs.
                _ => inner.remove(&path),
            }
        }
        for workspace in &embedded.task.workspaces {
            inner.remove(&["workspaces", &workspace.name, "bound"]);
        }
        propagate_workspaces(&mut put, &mut embedded.task, workspaces);
        for name in embedded.task.workspaces.iter().map(|workspace| workspace.name.clone()) {
            inner.remove(&["workspaces", &name, "bound"]);
        }
        embedded.task = expand_object(&embedded.task, &inner)?;
        for step in &mut embedded.task.steps {
            // The pipeline's own values are not checked against what the task declares.
            for value in step.script_values.iter_mut().flat_map(BTreeMap::values_mut) {
                value.constrained &= value.value.is_none();
            }
        }
        put.task_spec = Some(embedded);
    }
    put.pipeline_spec = pipeline;
    Ok(put)
}

/// A workspace of the run that an embedded spec names without declaring it is declared and bound for it.
fn propagate_workspaces(
    task: &mut PipelineTask,
    spec: &mut TaskSpec,
    workspaces: &BTreeMap<String, WorkspaceBinding>,
) {
    let used: BTreeSet<String> = variables_in(spec, &[])
        .into_iter()
        .filter_map(|(_, reference)| match reference.names().as_slice() {
            ["workspaces", name, ..] => Some((*name).to_owned()),
            _ => None,
        })
        .collect();
    for name in used {
        let declared = spec.workspaces.iter().any(|workspace| workspace.name == name);
        if declared || !workspaces.contains_key(&name) {
            continue;
        }
        spec.workspaces.push(WorkspaceDeclaration { name: name.clone(), ..Default::default() });
        if !task.workspaces.iter().any(|bound| bound.name == name) {
            task.workspaces.push(WorkspacePipelineTaskBinding {
                name: name.clone(),
                workspace: Some(name),
                sub_path: None,
            });
        }
    }
}
