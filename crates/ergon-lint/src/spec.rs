//! The Tasks and Pipelines in an object, whether they are the object or are written out in it.

use ergon_api::language::{bind_pipeline, bind_task, refer_action, refer_pipeline, refer_task};
use ergon_api::texts::variables_in;
use ergon_api::variables::Variable;
use ergon_api::{Document, Group, Object, PipelineSpec, StepActionSpec, TaskSpec};

/// A Task, Pipeline or StepAction, and where it stands in its object.
#[derive(Debug, Clone)]
pub(crate) struct At<'a, T> {
    /// Such as `spec.tasks[1].taskSpec`.
    pub path: String,
    pub spec: &'a T,
    pub group: Group,
    /// The Pipeline that it is written out in.
    pub inside: Option<&'a PipelineSpec>,
}

/// Everything that is written out in an object.
#[derive(Debug, Default)]
pub(crate) struct Specs<'a> {
    pub tasks: Vec<At<'a, TaskSpec>>,
    pub pipelines: Vec<At<'a, PipelineSpec>>,
    pub actions: Vec<At<'a, StepActionSpec>>,
}

impl<'a> Specs<'a> {
    pub fn of(document: &'a Document) -> Self {
        let mut specs = Self::default();
        match &document.object {
            Object::Task(task) => specs.task("spec".to_owned(), &task.spec, task.group(), None),
            Object::Pipeline(pipeline) => {
                specs.pipeline("spec".to_owned(), &pipeline.spec, pipeline.group(), None);
            }
            Object::TaskRun(run) => {
                if let Some(spec) = &run.spec.task_spec {
                    specs.task("spec.taskSpec".to_owned(), spec, run.group(), None);
                }
            }
            Object::PipelineRun(run) => {
                if let Some(spec) = &run.spec.pipeline_spec {
                    specs.pipeline("spec.pipelineSpec".to_owned(), spec, run.group(), None);
                }
            }
            Object::StepAction(action) => specs.actions.push(At {
                path: "spec".to_owned(),
                spec: &action.spec,
                group: action.group(),
                inside: None,
            }),
            Object::CustomRun(_) | Object::Other(_) => {}
        }
        specs
    }

    fn task(&mut self, path: String, spec: &'a TaskSpec, group: Group, inside: Option<&'a PipelineSpec>) {
        self.tasks.push(At { path, spec, group, inside });
    }

    fn pipeline(
        &mut self,
        path: String,
        spec: &'a PipelineSpec,
        group: Group,
        inside: Option<&'a PipelineSpec>,
    ) {
        for (list, tasks) in [("tasks", &spec.tasks), ("finally", &spec.finally)] {
            for (index, task) in tasks.iter().enumerate() {
                let path = format!("{path}.{list}[{index}]");
                if let Some(embedded) = task.task_spec.as_ref().filter(|embedded| !embedded.is_custom_task())
                {
                    self.task(format!("{path}.taskSpec"), &embedded.task, group, Some(spec));
                }
                if let Some(inner) = &task.pipeline_spec {
                    self.pipeline(format!("{path}.pipelineSpec"), inner, group, Some(spec));
                }
            }
        }
        self.pipelines.push(At { path, spec, group, inside });
    }
}

/// What a text uses, and the field that it stands in, from the spec on.
pub(crate) type Uses = Vec<(String, Variable)>;

/// All that a Task uses, whichever way it is written.
pub(crate) fn uses_of_task(group: Group, spec: &TaskSpec) -> Uses {
    if group == Group::Tekton {
        return variables_in(spec, &[]);
    }
    let mut spec = spec.clone();
    // What cannot be read was found by the validation.
    let _ = refer_task(&mut spec);
    bind_task(&mut spec);
    at_scripts(variables_in(&spec, &[]))
}

/// All that a Pipeline and what is written out in it use.
pub(crate) fn uses_of_pipeline(group: Group, spec: &PipelineSpec) -> Uses {
    variables_in(&*read_pipeline(group, spec), &[])
}

/// A Pipeline with references in the place of its tags.
pub(crate) fn read_pipeline(group: Group, spec: &PipelineSpec) -> std::borrow::Cow<'_, PipelineSpec> {
    if group == Group::Tekton {
        return std::borrow::Cow::Borrowed(spec);
    }
    let mut spec = spec.clone();
    let _ = refer_pipeline(&mut spec);
    bind_pipeline(&mut spec);
    for task in spec.tasks.iter_mut().chain(&mut spec.finally) {
        if let Some(inner) = &mut task.pipeline_spec {
            **inner = read_pipeline(group, inner).into_owned();
        }
    }
    std::borrow::Cow::Owned(spec)
}

/// All that a StepAction uses.
pub(crate) fn uses_of_action(group: Group, spec: &StepActionSpec) -> Uses {
    let mut uses = match group {
        Group::Tekton => return variables_in(spec, &[]),
        Group::Ergon => {
            let mut spec = spec.clone();
            let _ = refer_action(&mut spec);
            variables_in(&spec, &[])
        }
    };
    if let Some(script) = spec.script.as_deref() {
        uses.extend(tags_in(script).into_iter().map(|variable| ("script".to_owned(), variable)));
    }
    uses
}

/// What the tags of a script name.
fn tags_in(script: &str) -> Vec<Variable> {
    let used = ergon_template::Template::names(script).unwrap_or_default();
    let references = used.into_iter().filter_map(|used| ergon_api::language::reference(&used.name));
    references.flat_map(|reference| ergon_api::variables::variables(&reference)).collect()
}

/// The names of scripts' tags are kept beside the script: their field is the script.
fn at_scripts(mut uses: Uses) -> Uses {
    for (path, _) in &mut uses {
        if let Some(at) = path.find(".scriptValues.") {
            path.truncate(at);
            path.push_str(".script");
        }
    }
    uses
}
