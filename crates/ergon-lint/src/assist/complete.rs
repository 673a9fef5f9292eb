//! What may be written at a place.

use std::ops::Range;

use ergon_api::Position;

use super::context::{Outline, document_at, outline_at, readable, reference_at, word_at};
use super::fields;
use super::names::{Around, names, task_of};
use crate::{Set, Source};

/// What an item stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemKind {
    Field,
    Name,
    Word,
    Object,
    Helper,
}

/// Something that may be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub label: String,
    pub kind: ItemKind,
    /// Such as its type.
    pub detail: String,
    pub description: String,
    /// The bytes of the file that it takes the place of, and what is written there.
    pub range: Range<usize>,
    pub text: String,
}

/// Blocks and helpers of tags, and what they are for.
const HELPERS: [(&str, &str); 18] = [
    ("#if", "the text where it is true"),
    ("#unless", "the text where it is not"),
    ("#each", "the text for each item"),
    ("#with", "the text with an object's keys"),
    ("default", "another value where it is empty"),
    ("json", "as JSON"),
    ("join", "the items with a text between them"),
    ("lower", "in lower case"),
    ("replace", "with one text in the place of another"),
    ("basename", "the last part of a path"),
    ("indent", "with spaces before each line"),
    ("quote", "as one word of a shell"),
    ("sha256", "the digest of a text"),
    ("eq", "for #if: whether two are the same"),
    ("ne", "for #if: whether two are not"),
    ("and", "for #if: whether both hold"),
    ("or", "for #if: whether one holds"),
    ("not", "for #if: the opposite"),
];

/// What may be written at a place of a file. `before` is the file when it could be read last, and `set` is what can be
/// referred to.
pub fn complete(source: &Source, before: &Source, set: &Set<'_>, at: Position) -> Vec<Item> {
    let readable = readable(source, at);
    let known: &Source = if readable.documents.is_empty() { before } else { &readable };
    let Some(reference) = reference_at(source, at) else {
        let Some(outline) = outline_at(source, at) else { return Vec::new() };
        return if outline.is_value {
            values(source, known, set, &outline, at)
        } else {
            keys(source, &outline, at)
        };
    };
    let Some(document) = document_at(known, at) else { return Vec::new() };
    let field = document.source.field_at(at).unwrap_or_default();
    let around = Around::of(document, field);
    let item = |label: &str, text: &str, kind, detail: &str, description: &str| Item {
        label: label.to_owned(),
        kind,
        detail: detail.to_owned(),
        description: description.to_owned(),
        range: reference.range.clone(),
        text: text.to_owned(),
    };
    let is_block = source.text[..reference.range.start].ends_with('#');
    let mut items = Vec::new();
    if !is_block {
        let names = names(known, document, &around, set);
        let of = |name: &super::names::Name<'_>| {
            item(&name.text, &name.text, ItemKind::Name, &name.type_, name.description.unwrap_or_default())
        };
        items.extend(names.iter().map(of));
    }
    if reference.is_tag && field.ends_with(".script") && !reference.before.contains('.') {
        let helpers = HELPERS.iter().filter(|(name, _)| !is_block || name.starts_with('#'));
        items.extend(helpers.map(|(name, description)| {
            let text = if is_block { name.trim_start_matches('#') } else { name };
            item(text, text, ItemKind::Helper, "helper", description)
        }));
    }
    items
}

fn keys(source: &Source, outline: &Outline, at: Position) -> Vec<Item> {
    let (_, range) = word_at(source, at);
    let rest = &source.text[range.end..];
    let colon = if rest.starts_with(':') { "" } else { ": " };
    fields::fields(outline)
        .into_iter()
        .map(|field| Item {
            label: field.name.clone(),
            kind: ItemKind::Field,
            detail: field.type_,
            description: field.description,
            range: range.clone(),
            text: format!("{}{colon}", field.name),
        })
        .collect()
}

/// What a field's value may be: words of the schema, or names of what can be referred to.
fn values(source: &Source, known: &Source, set: &Set<'_>, outline: &Outline, at: Position) -> Vec<Item> {
    let (_, range) = word_at(source, at);
    let item = |text: String, kind, detail: &str| Item {
        label: text.clone(),
        kind,
        detail: detail.to_owned(),
        description: String::new(),
        range: range.clone(),
        text,
    };
    let words = fields::words(outline);
    if !words.is_empty() {
        return words.into_iter().map(|word| item(word, ItemKind::Word, "")).collect();
    }
    let group = outline.api_version.as_deref().and_then(ergon_api::Group::of).unwrap_or_default();
    let end = outline.path.last().map(String::as_str).unwrap_or_default();
    let key = outline.key.as_deref().unwrap_or_default();
    // `taskRef: {name: x}` has its reference on one line.
    let line = source.lines.line(&source.text, at.line);
    let is_in = |name: &str| end == name || key == name && line.contains("name:");
    for (reference, kind) in [("taskRef", "Task"), ("pipelineRef", "Pipeline"), ("ref", "StepAction")] {
        if is_in(reference) {
            return set
                .names(kind, group)
                .map(|name| item(name.to_owned(), ItemKind::Object, kind))
                .collect();
        }
    }
    let Some(document) = document_at(known, at) else { return Vec::new() };
    let around = Around::of(document, document.source.field_at(at).unwrap_or_default());
    let Some(pipeline) = &around.pipeline else { return Vec::new() };
    let own = around.pipeline_task.as_ref().map(|(task, _)| *task);
    let task = own.and_then(|task| task_of(task, source, around.group, set));
    let names: Vec<(String, &str)> = match (end, key) {
        (_, "runAfter") => {
            let others =
                pipeline.spec.tasks.iter().filter(|task| own.is_none_or(|own| own.name != task.name));
            others.map(|task| (task.name.clone(), "task")).collect()
        }
        ("workspaces[]", "workspace") => {
            pipeline.spec.workspaces.iter().map(|workspace| (workspace.name.clone(), "workspace")).collect()
        }
        ("workspaces[]", "name") => {
            let known = task.into_iter().flat_map(|(_, _, spec)| &spec.workspaces);
            known.map(|workspace| (workspace.name.clone(), "workspace")).collect()
        }
        ("params[]", "name") => {
            let known = task.into_iter().flat_map(|(_, _, spec)| &spec.params);
            known.map(|param| (param.name.clone(), "parameter")).collect()
        }
        _ => Vec::new(),
    };
    names.into_iter().map(|(name, detail)| item(name, ItemKind::Name, detail)).collect()
}
