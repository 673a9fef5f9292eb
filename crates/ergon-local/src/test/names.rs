//! What tests may name: of a mistake in a name it is told at once, and where.

use std::collections::BTreeSet;

use ergon_api::{Document, Object, PipelineSpec, PipelineTask, TaskSpec};

/// The names of what is run. None: they are not in the files.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Names {
    pub params: Option<BTreeSet<String>>,
    pub workspaces: Option<BTreeSet<String>>,
    pub tasks: Option<BTreeSet<String>>,
    pub results: Option<BTreeSet<String>>,
}

impl Names {
    pub fn of(documents: &[Document], target: &Object) -> Self {
        let set = |names: &mut dyn Iterator<Item = &String>| Some(names.cloned().collect());
        if let Some(spec) = pipeline(documents, target) {
            return Self {
                params: set(&mut spec.params.iter().map(|param| &param.name)),
                workspaces: set(&mut spec.workspaces.iter().map(|workspace| &workspace.name)),
                tasks: set(&mut spec.all_tasks().map(|task| &task.name)),
                results: set(&mut spec.results.iter().map(|result| &result.name)),
            };
        }
        if let Some((name, spec)) = task(documents, target) {
            return Self {
                params: set(&mut spec.params.iter().map(|param| &param.name)),
                workspaces: set(&mut spec.workspaces.iter().map(|workspace| &workspace.name)),
                tasks: Some([name].into_iter().filter(|name| !name.is_empty()).collect()),
                results: set(&mut spec.results.iter().map(|result| &result.name)),
            };
        }
        Self::default()
    }
}

/// The names of a task's steps, where the files have them.
pub(super) fn steps(documents: &[Document], target: &Object, name: &str) -> Option<BTreeSet<String>> {
    let spec = match pipeline(documents, target) {
        Some(spec) => spec_of(documents, spec.all_tasks().find(|task| task.name == name)?)?,
        None => task(documents, target)?.1,
    };
    // A step without a name has one that tests do not know.
    Some(spec.steps.iter().map(|step| step.name.clone()).filter(|name| !name.is_empty()).collect())
}

pub(super) fn pipeline<'a>(documents: &'a [Document], target: &'a Object) -> Option<&'a PipelineSpec> {
    match target {
        Object::Pipeline(pipeline) => Some(&pipeline.spec),
        Object::PipelineRun(run) => run.spec.pipeline_spec.as_ref().or_else(|| {
            let name = run.spec.pipeline_ref.as_ref()?.name.as_ref()?;
            documents.iter().find_map(|document| match &document.object {
                Object::Pipeline(pipeline) if pipeline.name() == name => Some(&pipeline.spec),
                _ => None,
            })
        }),
        _ => None,
    }
}

fn task<'a>(documents: &'a [Document], target: &'a Object) -> Option<(String, &'a TaskSpec)> {
    match target {
        Object::Task(task) => Some((task.name().to_owned(), &task.spec)),
        Object::TaskRun(run) => {
            let named = run.spec.task_ref.as_ref().and_then(|reference| reference.name.as_ref());
            let name = ergon_engine::task::inputs::task_name(run.group(), run);
            let spec = run.spec.task_spec.as_ref().or_else(|| known_task(documents, named?))?;
            Some((name, spec))
        }
        _ => None,
    }
}

fn spec_of<'a>(documents: &'a [Document], task: &'a PipelineTask) -> Option<&'a TaskSpec> {
    match &task.task_spec {
        Some(embedded) => Some(&embedded.task),
        None => known_task(documents, task.task_ref.as_ref()?.name.as_ref()?),
    }
}

fn known_task<'a>(documents: &'a [Document], name: &str) -> Option<&'a TaskSpec> {
    documents.iter().find_map(|document| match &document.object {
        Object::Task(task) if task.name() == name => Some(&task.spec),
        _ => None,
    })
}
