//! Where a name comes from.

use ergon_api::{Document, Position};

use super::context::{document_at, reference_at, word_at};
use super::names::{Around, Name, names, task_of};
use crate::{Found, Set, Source};

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub file: String,
    pub start: Position,
    pub end: Position,
}

/// Where what stands at a place is declared.
pub fn define<'a>(source: &'a Source, set: &Set<'a>, at: Position) -> Option<Place> {
    let document = document_at(source, at)?;
    if let Some(reference) = reference_at(source, at) {
        let name = named(source, document, set, at, &reference.whole)?;
        let (file, object, path) = name.declared?;
        return Some(place(file, object, &path));
    }
    let field = document.source.field_at(at)?;
    let around = Around::of(document, field);
    let (word, _) = word_at(source, at);
    if let Some((source, object)) = object_at(source, &around, set, document, field) {
        return Some(place(source, object, "metadata.name"));
    }
    // Tasks of the same Pipeline.
    let pipeline = around.pipeline.as_ref().filter(|_| field.contains(".runAfter"))?;
    let index = pipeline.spec.tasks.iter().position(|task| task.name == word)?;
    Some(place(source, document, &format!("{}.tasks[{index}].name", pipeline.path)))
}

/// The object that a field refers to.
pub(crate) fn object_at<'a>(
    source: &'a Source,
    around: &Around<'a>,
    set: &Set<'a>,
    document: &'a Document,
    field: &str,
) -> Option<(&'a Source, &'a Document)> {
    #[expect(clippy::needless_pass_by_value, reason = "it is looked at once")]
    fn of<T>(found: Found<'_, T>) -> Option<(&Source, &Document)> {
        match found {
            Found::One(source, document, _) => Some((source, document)),
            _ => None,
        }
    }
    if field.contains(".taskRef")
        && let Some((task, _)) = &around.pipeline_task
    {
        return task_of(task, source, around.group, set).map(|(source, document, _)| (source, document));
    }
    match &document.object {
        ergon_api::Object::TaskRun(run) if field.starts_with("spec.taskRef") => {
            of(set.task(source, run.group(), run.spec.task_ref.as_ref()?.name.as_deref()?))
        }
        ergon_api::Object::PipelineRun(run) if field.starts_with("spec.pipelineRef") => {
            of(set.pipeline(source, run.group(), run.spec.pipeline_ref.as_ref()?.name.as_deref()?))
        }
        _ if field.contains(".pipelineRef") => {
            let (task, _) = around.pipeline_task.as_ref()?;
            of(set.pipeline(source, around.group, task.pipeline_ref.as_ref()?.name.as_deref()?))
        }
        _ if field.contains(".ref") => {
            let step = around.task.as_ref()?.spec.steps.get(around.step?)?;
            of(set.action(source, around.group, step.ref_.as_ref()?.name.as_deref()?))
        }
        _ => None,
    }
}

/// The name that is written so at a place: `params.list.0` and `params.list[0]` are of `params.list`.
pub(crate) fn named<'a>(
    source: &'a Source,
    document: &'a Document,
    set: &Set<'a>,
    at: Position,
    written: &str,
) -> Option<Name<'a>> {
    let field = document.source.field_at(at)?;
    let around = Around::of(document, field);
    let known = names(source, document, &around, set);
    let is_it = |name: &&Name<'_>| {
        written
            .strip_prefix(name.text.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    known.iter().filter(is_it).max_by_key(|name| name.text.len()).cloned()
}

fn place(source: &Source, document: &Document, path: &str) -> Place {
    let start = document.source.value(path);
    let offset = source.lines.offset(&source.text, start);
    let rest = &source.text[offset..];
    let length = rest.find(|c: char| c.is_whitespace() || ",}]".contains(c)).unwrap_or(rest.len());
    Place { file: source.name.clone(), start, end: source.lines.position(&source.text, offset + length) }
}
