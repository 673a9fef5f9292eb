//! What stands at a place, in words.

use std::fmt::Write as _;
use std::ops::Range;

use ergon_api::{Document, Object, ParamSpec, Position};

use super::context::{document_at, outline_at, reference_at, word_at};
use super::define::{named, object_at};
use super::fields;
use super::names::Around;
use crate::{Set, Source};

/// A text about a part of a file, in Markdown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hover {
    pub text: String,
    pub range: Range<usize>,
}

/// What stands at a place.
pub fn hover<'a>(source: &'a Source, set: &Set<'a>, at: Position) -> Option<Hover> {
    if let Some(reference) = reference_at(source, at) {
        let document = document_at(source, at)?;
        let name = named(source, document, set, at, &reference.whole)?;
        let mut text = format!("`{}`: {}", name.text, name.type_);
        if let Some(description) = name.description {
            let _ = write!(text, "\n\n{description}");
        }
        return Some(Hover { text, range: reference.range });
    }
    let (_, range) = word_at(source, at);
    let outline = outline_at(source, at)?;
    if !outline.is_value {
        let field = fields::field(&outline)?;
        return Some(Hover {
            text: format!("`{}`: {}\n\n{}", field.name, field.type_, field.description),
            range,
        });
    }
    let document = document_at(source, at)?;
    let field = document.source.field_at(at)?;
    let around = Around::of(document, field);
    let (_, object) = object_at(source, &around, set, document, field)?;
    Some(Hover { text: about(object), range })
}

/// An object in a few words: what it is, what it takes and what it gives.
#[expect(clippy::type_complexity, reason = "named where it is taken apart")]
fn about(document: &Document) -> String {
    let object = &document.object;
    let mut text = format!("{} `{}`", object.kind(), object.name());
    let (description, params, results): (Option<&str>, &[ParamSpec], Vec<(&str, Option<&str>)>) = match object
    {
        Object::Task(task) => (
            task.spec.description.as_deref(),
            &task.spec.params,
            task.spec.results.iter().map(|it| (it.name.as_str(), it.description.as_deref())).collect(),
        ),
        Object::Pipeline(pipeline) => (
            pipeline.spec.description.as_deref(),
            &pipeline.spec.params,
            pipeline.spec.results.iter().map(|it| (it.name.as_str(), it.description.as_deref())).collect(),
        ),
        Object::StepAction(action) => (
            action.spec.description.as_deref(),
            &action.spec.params,
            action.spec.results.iter().map(|it| (it.name.as_str(), it.description.as_deref())).collect(),
        ),
        _ => (None, &[], Vec::new()),
    };
    if let Some(description) = description {
        let _ = write!(text, "\n\n{}", description.trim_end());
    }
    if !params.is_empty() {
        text.push_str("\n\nParameters:\n");
        for param in params {
            let needed = if param.default.is_some() { "" } else { ", needed" };
            let description = param.description.as_deref().unwrap_or_default();
            let _ = write!(text, "\n- `{}` ({}{needed}) {description}", param.name, param.effective_type());
        }
    }
    if !results.is_empty() {
        text.push_str("\n\nResults:\n");
        for (name, description) in results {
            let _ = write!(text, "\n- `{name}` {}", description.unwrap_or_default());
        }
    }
    text
}
