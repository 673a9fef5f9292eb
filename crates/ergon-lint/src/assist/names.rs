//! The names that tags and references can use at a place, and where each is declared.

use ergon_api::{Document, Group, ParamSpec, ParamType, PipelineSpec, PipelineTask, TaskResult, TaskSpec};

use crate::spec::{At, Specs};
use crate::{Set, Source};

/// A name, what it stands for, and where it is declared.
#[derive(Debug, Clone)]
pub(crate) struct Name<'a> {
    /// Such as `params.version`.
    pub text: String,
    /// Such as `array`.
    pub type_: String,
    pub description: Option<&'a str>,
    /// The file, the object and the field; none where it is not declared anywhere.
    pub declared: Option<(&'a Source, &'a Document, String)>,
}

/// What is around a place: the Task and the Pipeline that it is in.
pub(crate) struct Around<'a> {
    pub group: Group,
    pub task: Option<At<'a, TaskSpec>>,
    pub pipeline: Option<At<'a, PipelineSpec>>,
    /// The number of the step, in a Task.
    pub step: Option<usize>,
    /// The task of the Pipeline, and its field.
    pub pipeline_task: Option<(&'a PipelineTask, String)>,
}

impl<'a> Around<'a> {
    /// What is around a field of an object.
    pub fn of(document: &'a Document, field: &str) -> Self {
        let specs = Specs::of(document);
        let is_in = |path: &str| {
            field.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        let group = match (specs.tasks.first(), specs.pipelines.first(), specs.actions.first()) {
            (Some(at), ..) => at.group,
            (_, Some(at), _) => at.group,
            (_, _, Some(at)) => at.group,
            _ => Group::Ergon,
        };
        let task = specs.tasks.into_iter().filter(|at| is_in(&at.path)).max_by_key(|at| at.path.len());
        let pipeline =
            specs.pipelines.into_iter().filter(|at| is_in(&at.path)).max_by_key(|at| at.path.len());
        let step = task.as_ref().and_then(|at| index(field, &format!("{}.steps[", at.path)));
        let pipeline_task = pipeline.as_ref().and_then(|at| {
            let list = |name: &str, tasks: &'a [PipelineTask]| {
                let number = index(field, &format!("{}.{name}[", at.path))?;
                Some((tasks.get(number)?, format!("{}.{name}[{number}]", at.path)))
            };
            list("tasks", &at.spec.tasks).or_else(|| list("finally", &at.spec.finally))
        });
        Self { group, task, pipeline, step, pipeline_task }
    }
}

/// The number that follows in a path.
fn index(path: &str, before: &str) -> Option<usize> {
    path.strip_prefix(before)?.split(']').next()?.parse().ok()
}

/// All names that can be used at a field of an object.
pub(crate) fn names<'a>(
    source: &'a Source,
    document: &'a Document,
    around: &Around<'a>,
    set: &Set<'a>,
) -> Vec<Name<'a>> {
    let mut names = Names { source, document, found: Vec::new() };
    if let Some(at) = &around.task {
        names.params(&at.spec.params, &at.path);
        for (index, result) in at.spec.results.iter().enumerate() {
            let path = format!("{}.results[{index}]", at.path);
            names.add(
                format!("results.{}.path", result.name),
                "the file that it is written to",
                result.description.as_deref(),
                Some(path),
            );
        }
        for (index, workspace) in at.spec.workspaces.iter().enumerate() {
            names.workspace(
                &workspace.name,
                workspace.description.as_deref(),
                &format!("{}.workspaces[{index}]", at.path),
                "path",
            );
            names.workspace(
                &workspace.name,
                workspace.description.as_deref(),
                &format!("{}.workspaces[{index}]", at.path),
                "bound",
            );
        }
        let before = around.step.unwrap_or(at.spec.steps.len());
        for (number, step) in at.spec.steps.iter().enumerate().take(before) {
            for (index, result) in step.results.iter().enumerate() {
                let path = format!("{}.steps[{number}].results[{index}]", at.path);
                let name = format!("steps.{}.results.{}", step.name, result.name);
                names.add(
                    name,
                    type_name(result.effective_type()),
                    result.description.as_deref(),
                    Some(path),
                );
            }
        }
        if let Some(step) = around.step.and_then(|step| at.spec.steps.get(step)) {
            for (index, result) in step.results.iter().enumerate() {
                let path = format!("{}.steps[{before}].results[{index}]", at.path);
                let name = format!("step.results.{}.path", result.name);
                names.add(name, "the file that it is written to", result.description.as_deref(), Some(path));
            }
        }
        for name in ["taskRun.name", "taskRun.namespace", "taskRun.uid", "task.name", "task.retry-count"] {
            names.add(format!("context.{name}"), "string", None, None);
        }
    }
    if let Some(at) = &around.pipeline {
        names.params(&at.spec.params, &at.path);
        names.pipeline(at, around, set);
    }
    // What is declared further inside hides what is around it.
    let mut seen = std::collections::BTreeSet::new();
    names.found.retain(|name| seen.insert(name.text.clone()));
    names.found
}

struct Names<'a> {
    source: &'a Source,
    document: &'a Document,
    found: Vec<Name<'a>>,
}

impl<'a> Names<'a> {
    fn add(&mut self, text: String, type_: &str, description: Option<&'a str>, path: Option<String>) {
        let declared = path.map(|path| (self.source, self.document, format!("{path}.name")));
        self.found.push(Name { text, type_: type_.to_owned(), description, declared });
    }

    fn params(&mut self, params: &'a [ParamSpec], path: &str) {
        for (index, param) in params.iter().enumerate() {
            let path = format!("{path}.params[{index}]");
            let name = in_path(&param.name);
            let mut type_ = type_name(param.effective_type()).to_owned();
            if !param.enum_.is_empty() {
                type_ = format!("{type_}: {}", param.enum_.join(", "));
            }
            self.add(format!("params.{name}"), &type_, param.description.as_deref(), Some(path.clone()));
            for key in param.properties.keys() {
                self.add(
                    format!("params.{name}.{key}"),
                    "string",
                    param.description.as_deref(),
                    Some(path.clone()),
                );
            }
        }
    }

    fn workspace(&mut self, name: &str, description: Option<&'a str>, path: &str, field: &str) {
        let type_ = if field == "path" { "the folder" } else { "whether it is there" };
        self.add(format!("workspaces.{name}.{field}"), type_, description, Some(path.to_owned()));
    }

    /// What a Pipeline's tasks leave, and what its run is called.
    fn pipeline(&mut self, at: &At<'a, PipelineSpec>, around: &Around<'a>, set: &Set<'a>) {
        let own = around.pipeline_task.as_ref().map(|(task, _)| task.name.as_str());
        let is_final = around.pipeline_task.as_ref().is_some_and(|(_, path)| path.contains(".finally["));
        for (index, workspace) in at.spec.workspaces.iter().enumerate() {
            let path = format!("{}.workspaces[{index}]", at.path);
            self.workspace(&workspace.name, workspace.description.as_deref(), &path, "bound");
        }
        for (number, task) in
            at.spec.tasks.iter().enumerate().filter(|(_, task)| Some(task.name.as_str()) != own)
        {
            let path = format!("{}.tasks[{number}]", at.path);
            if is_final {
                self.add(format!("tasks.{}.status", task.name), "string", None, Some(path.clone()));
            }
            if let Some(embedded) = &task.task_spec {
                let place = (self.source, self.document, format!("{path}.taskSpec"));
                self.results(&task.name, &embedded.task.results, &place);
            } else if let Some((source, document, spec)) = task_of(task, self.source, around.group, set) {
                self.results(&task.name, &spec.results, &(source, document, "spec".to_owned()));
            }
        }
        for name in [
            "pipelineRun.name",
            "pipelineRun.namespace",
            "pipelineRun.uid",
            "pipeline.name",
            "pipelineTask.retries",
        ] {
            self.add(format!("context.{name}"), "string", None, None);
        }
    }

    fn results(&mut self, task: &str, results: &'a [TaskResult], place: &(&'a Source, &'a Document, String)) {
        let (source, document, path) = place;
        for (index, result) in results.iter().enumerate() {
            self.found.push(Name {
                text: format!("tasks.{task}.results.{}", result.name),
                type_: type_name(result.effective_type()).to_owned(),
                description: result.description.as_deref(),
                declared: Some((source, document, format!("{path}.results[{index}].name"))),
            });
        }
    }
}

/// The Task that a pipeline's task refers to.
pub(crate) fn task_of<'a>(
    task: &PipelineTask,
    source: &Source,
    group: Group,
    set: &Set<'a>,
) -> Option<(&'a Source, &'a Document, &'a TaskSpec)> {
    let reference = task.task_ref.as_ref().filter(|reference| reference.resolver.is_none())?;
    match set.task(source, group, reference.name.as_deref()?) {
        crate::Found::One(source, document, spec) => Some((source, document, spec)),
        _ => None,
    }
}

/// A name with dots needs brackets.
fn in_path(name: &str) -> String {
    if name.contains('.') { format!("[{name}]") } else { name.to_owned() }
}

fn type_name(type_: ParamType) -> &'static str {
    match type_ {
        ParamType::String => "string",
        ParamType::Array => "array",
        ParamType::Object => "object",
        ParamType::Number => "number",
        ParamType::Boolean => "boolean",
        ParamType::Secret => "secret",
    }
}
