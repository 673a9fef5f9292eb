//! Tags in other fields than scripts: each is the reference that it names, and nothing else.

use std::collections::BTreeSet;

use ergon_template::{Piece, pieces};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::reference;
use crate::types::list_of_numbers;
use crate::{FieldError, PipelineSpec, StepActionSpec, TaskRun, TaskSpec};

/// What was found in the texts of an object.
#[derive(Debug, Default)]
pub(crate) struct Tags {
    /// The fields that have tags.
    pub fields: BTreeSet<String>,
    pub errors: Vec<FieldError>,
    /// Something was read otherwise than it was written.
    is_changed: bool,
}

/// Which fields are read.
#[derive(Clone, Copy)]
struct Reader {
    /// References in defaults of parameters are none in a Task.
    defaults: bool,
    /// Pipelines that are written out in a Pipeline run as runs of their own.
    inner_pipelines: bool,
}

/// Has the fields of a Task refer to what their tags name: `{{params.x}}` is `$(params.x)`. It is done once, before any
/// value is put in; after it a brace is a brace.
///
/// # Errors
/// The first tag that names nothing.
pub fn refer_task(task: &mut TaskSpec) -> Result<(), FieldError> {
    first(task_tags(task, "spec"))
}

/// [`refer_task`] for a Pipeline and the Tasks that are written out in it, but not for Pipelines that are.
///
/// # Errors
/// The first tag that names nothing.
pub fn refer_pipeline(pipeline: &mut PipelineSpec) -> Result<(), FieldError> {
    first(read(pipeline, "spec", Reader { defaults: true, inner_pipelines: false }))
}

/// [`refer_task`] for a StepAction.
///
/// # Errors
/// The first tag that names nothing.
pub fn refer_action(action: &mut StepActionSpec) -> Result<(), FieldError> {
    first(action_tags(action, "spec"))
}

/// Whether a run has a Task written out in it whose tags were read when its pipeline run started.
pub fn is_read_already(run: &TaskRun) -> bool {
    let owners = run.metadata.owner_references.iter().flatten();
    run.spec.task_spec.is_some()
        && owners.into_iter().any(|owner| owner.kind == "PipelineRun" && owner.controller == Some(true))
}

fn first(tags: Tags) -> Result<(), FieldError> {
    tags.errors.into_iter().next().map_or(Ok(()), Err)
}

pub(crate) fn task_tags(task: &mut TaskSpec, path: &str) -> Tags {
    read(task, path, Reader { defaults: false, inner_pipelines: true })
}

pub(crate) fn pipeline_tags(pipeline: &mut PipelineSpec, path: &str) -> Tags {
    read(pipeline, path, Reader { defaults: true, inner_pipelines: true })
}

pub(crate) fn action_tags(action: &mut StepActionSpec, path: &str) -> Tags {
    read(action, path, Reader { defaults: true, inner_pipelines: true })
}

fn read<T: Serialize + DeserializeOwned>(object: &mut T, path: &str, reader: Reader) -> Tags {
    let mut tags = Tags::default();
    let Ok(mut value) = serde_json::to_value(&*object) else { return tags };
    reader.value(&mut value, path, &mut tags);
    if !tags.fields.is_empty() || tags.is_changed {
        match serde_json::from_value(value) {
            Ok(read) => *object = read,
            Err(error) => tags.errors.push(FieldError {
                path: path.to_owned(),
                message: format!("a tag in a field that takes no text: {error}"),
                help: None,
            }),
        }
    }
    tags
}

impl Reader {
    fn value(self, value: &mut Value, path: &str, tags: &mut Tags) {
        match value {
            Value::String(text) if text.contains("{{") => {
                tags.fields.insert(path.to_owned());
                match referring(text) {
                    Ok(read) => *text = read,
                    Err((message, help)) => {
                        tags.errors.push(FieldError { path: path.to_owned(), message, help: Some(help) });
                    }
                }
            }
            Value::Array(items) => {
                for (at, item) in items.iter_mut().enumerate() {
                    self.value(item, &format!("{path}[{at}]"), tags);
                }
            }
            Value::Object(fields) => {
                let is_custom = fields.get("kind").is_some_and(|kind| kind != "Task");
                for (name, field) in fields {
                    let inner = match name.as_str() {
                        // Scripts have a language of their own, and conditions in CEL too.
                        "script" | "scriptValues" | "cel" | "celValues" | "description" | "metadata" => {
                            continue;
                        }
                        "default" if !self.defaults => continue,
                        "pipelineSpec" if !self.inner_pipelines => continue,
                        // It is its controller's.
                        "spec" if is_custom => continue,
                        "matrix" => {
                            tags.is_changed |= read_lists(field);
                            // It is an expression, which has names of its own.
                            let filter = field.as_object_mut().and_then(|matrix| matrix.remove("filter"));
                            self.value(field, &format!("{path}.matrix"), tags);
                            if let (Some(filter), Some(matrix)) = (filter, field.as_object_mut()) {
                                matrix.insert("filter".to_owned(), filter);
                            }
                            continue;
                        }
                        "taskSpec" => Self { defaults: false, ..self },
                        "pipelineSpec" => Self { defaults: true, ..self },
                        _ => self,
                    };
                    inner.value(field, &format!("{path}.{name}"), tags);
                }
            }
            _ => {}
        }
    }
}

/// Makes the lists of a matrix out of those that were written with numbers in them, which are texts up to here.
fn read_lists(matrix: &mut Value) -> bool {
    let mut is_changed = false;
    for param in matrix.get_mut("params").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(items) = param["value"].as_str().and_then(list_of_numbers) {
            param["value"] = items.into();
            is_changed = true;
        }
    }
    is_changed
}

/// A text with references in the place of its tags.
fn referring(text: &str) -> Result<String, (String, String)> {
    const ROOTS: [&str; 9] =
        ["params", "results", "workspaces", "steps", "step", "tasks", "context", "artifacts", "credentials"];
    let found = pieces(text).map_err(|error| (error.found, format!("write {}", error.instead)))?;
    let piece = |piece| match piece {
        Piece::Text(text) => Ok(text),
        Piece::Name(used) => {
            let root = used.name.split(['.', '[']).next().unwrap_or_default();
            let reference = reference(&used.name).filter(|_| ROOTS.contains(&root));
            reference.ok_or_else(|| {
                let help = "names begin with `params.`, `results.`, `workspaces.`, `steps.`, `tasks.` or `context.`; \
                            for the text `{{` itself write `\\{{`";
                (format!("`{}` is not known here", used.name), help.to_owned())
            })
        }
    };
    found.into_iter().map(piece).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_of_fields_are_references() {
        for (text, wanted) in [
            ("{{params.a}}", "$(params.a)"),
            ("a {{ params.list.0 }}{{{params.b}}}", "a $(params.list[0])$(params.b)"),
            ("{{tasks.t.results.r[*]}}", "$(tasks.t.results.r[*])"),
            (r"\{{.Id}} $(params.a)", "{{.Id}} $(params.a)"),
        ] {
            assert_eq!(referring(text).as_deref(), Ok(wanted), "{text}");
        }
        for text in
            ["{{.Id}}", "{{a}}", "{{lower params.a}}", "{{#if params.a}}x{{/if}}", "{{params.a", "{{@index}}"]
        {
            assert!(referring(text).is_err(), "{text}");
        }
    }

    #[test]
    fn scripts_defaults_and_descriptions_are_not_fields() {
        let mut task: TaskSpec = serde_json::from_value(serde_json::json!({
            "description": "{{params.a}}",
            "params": [{"name": "a", "default": "{{x}}"}],
            "steps": [{"image": "{{params.a}}", "script": "{{params.a}}", "when": [{"cel": "{{x}}"}]}],
        }))
        .unwrap();
        let before = task.clone();
        let tags = task_tags(&mut task, "spec");
        assert!(tags.errors.is_empty(), "{:?}", tags.errors);
        assert_eq!(Vec::from_iter(tags.fields), ["spec.steps[0].image"]);
        assert_eq!(task.steps[0].image.as_deref(), Some("$(params.a)"));
        task.steps[0].image.clone_from(&before.steps[0].image);
        assert_eq!(task, before);
    }
}
