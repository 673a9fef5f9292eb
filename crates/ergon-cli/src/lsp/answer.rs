//! Answers to what an editor asks.

use std::collections::HashMap;

use ergon_lint::assist::{self, ItemKind};
use ergon_lint::{Finding, Level, Options, Source, lint_one};
use lsp_types::{
    CodeAction, CodeActionKind, CodeActionOrCommand, CodeActionParams, CompletionItem, CompletionItemKind,
    CompletionTextEdit, Diagnostic, DiagnosticSeverity, DiagnosticTag, Documentation, Hover, HoverContents,
    Location, MarkupContent, MarkupKind, NumberOrString, TextDocumentPositionParams, TextEdit, WorkspaceEdit,
};

use super::place::{from_lsp, range, range_of, uri_of};
use super::store::Store;

/// A finding, as the protocol has it.
pub fn diagnostic(source: &Source, finding: &Finding) -> Diagnostic {
    let severity = match finding.level {
        Level::Error => DiagnosticSeverity::ERROR,
        Level::Warning => DiagnosticSeverity::WARNING,
        Level::Info => DiagnosticSeverity::HINT,
    };
    let message = match &finding.help {
        Some(help) => format!("{}\nhelp: {help}", finding.message),
        None => finding.message.clone(),
    };
    let tags = match finding.rule.name {
        "deprecated" => Some(vec![DiagnosticTag::DEPRECATED]),
        name if name.starts_with("unused-") => Some(vec![DiagnosticTag::UNNECESSARY]),
        _ => None,
    };
    Diagnostic {
        range: range(source, finding.start, finding.end),
        severity: Some(severity),
        code: Some(NumberOrString::String(finding.rule.name.to_owned())),
        source: Some("ergon".to_owned()),
        message,
        tags,
        ..Diagnostic::default()
    }
}

/// What may be written at a place.
pub fn completion(store: &Store, at: &TextDocumentPositionParams) -> Vec<CompletionItem> {
    let Some(open) = store.get(&at.text_document.uri) else { return Vec::new() };
    let source = &open.source;
    let items = assist::complete(source, open.best(), &store.all(), from_lsp(source, at.position));
    items
        .into_iter()
        .map(|item| CompletionItem {
            kind: Some(match item.kind {
                ItemKind::Field => CompletionItemKind::PROPERTY,
                ItemKind::Name => CompletionItemKind::VARIABLE,
                ItemKind::Word => CompletionItemKind::ENUM_MEMBER,
                ItemKind::Object => CompletionItemKind::REFERENCE,
                ItemKind::Helper => CompletionItemKind::FUNCTION,
            }),
            detail: Some(item.detail).filter(|detail| !detail.is_empty()),
            documentation: Some(item.description)
                .filter(|text| !text.is_empty())
                .map(markdown)
                .map(Documentation::MarkupContent),
            text_edit: Some(CompletionTextEdit::Edit(TextEdit {
                range: range_of(source, &item.range),
                new_text: item.text,
            })),
            label: item.label,
            ..CompletionItem::default()
        })
        .collect()
}

/// What stands at a place.
pub fn hover(store: &Store, at: &TextDocumentPositionParams) -> Option<Hover> {
    let open = store.get(&at.text_document.uri)?;
    let source = open.best();
    let found = assist::hover(source, &store.all(), from_lsp(source, at.position))?;
    Some(Hover {
        contents: HoverContents::Markup(markdown(found.text)),
        range: Some(range_of(source, &found.range)),
    })
}

/// Where what stands at a place comes from.
pub fn definition(store: &Store, at: &TextDocumentPositionParams) -> Option<Location> {
    let open = store.get(&at.text_document.uri)?;
    let source = open.best();
    let place = assist::define(source, &store.all(), from_lsp(source, at.position))?;
    let target = store.named(&place.file)?;
    Some(Location { uri: uri_of(&place.file)?, range: range(target, place.start, place.end) })
}

/// What mends the findings in a part of a file, or ignores them.
pub fn actions(store: &Store, options: &Options, asked: &CodeActionParams) -> Vec<CodeActionOrCommand> {
    let Some(open) = store.get(&asked.text_document.uri) else { return Vec::new() };
    let source = &open.source;
    let (from, to) = (from_lsp(source, asked.range.start), from_lsp(source, asked.range.end));
    let found = lint_one(source, &store.all(), options);
    let mut actions: Vec<CodeAction> = Vec::new();
    for finding in found.iter().filter(|finding| finding.start <= to && from <= finding.end) {
        let edit = |edits: Vec<TextEdit>| {
            // The protocol's type is what it is; nothing changes in the address.
            #[expect(clippy::mutable_key_type, reason = "the protocol's own type is the key")]
            let changes = HashMap::from([(open.uri.clone(), edits)]);
            Some(WorkspaceEdit { changes: Some(changes), ..WorkspaceEdit::default() })
        };
        if let Some(fix) = &finding.fix {
            let edits = fix
                .edits
                .iter()
                .map(|edit| TextEdit { range: range_of(source, &edit.range), new_text: edit.text.clone() });
            actions.push(CodeAction {
                title: fix.title.clone(),
                kind: Some(CodeActionKind::QUICKFIX),
                diagnostics: Some(vec![diagnostic(source, finding)]),
                edit: edit(edits.collect()),
                is_preferred: Some(fix.is_sure),
                ..CodeAction::default()
            });
        }
        if !finding.rule.is_refused {
            actions.push(CodeAction {
                title: format!("Ignore `{}` here", finding.rule.name),
                kind: Some(CodeActionKind::QUICKFIX),
                diagnostics: Some(vec![diagnostic(source, finding)]),
                edit: edit(vec![ignore(source, finding)]),
                ..CodeAction::default()
            });
        }
    }
    actions.into_iter().map(CodeActionOrCommand::CodeAction).collect()
}

/// A comment above what is found: above the field, where it is in a text of several lines.
fn ignore(source: &Source, finding: &Finding) -> TextEdit {
    let field = source.documents.iter().filter(|document| document.source.contains(&finding.path));
    let line = field
        .map(|document| document.source.key(&finding.path).line)
        .filter(|line| *line <= finding.start.line)
        .max()
        .unwrap_or(finding.start.line);
    let text = source.lines.line(&source.text, line);
    let indent = &text[..text.len() - text.trim_start().len()];
    let at = ergon_api::Position { line, column: 1 };
    TextEdit {
        range: range(source, at, at),
        new_text: format!("{indent}# ergon-lint: ignore={}\n", finding.rule.name),
    }
}

fn markdown(value: String) -> MarkupContent {
    MarkupContent { kind: MarkupKind::Markdown, value }
}
