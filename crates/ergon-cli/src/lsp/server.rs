//! The conversation with the editor.

use ergon_lint::{Options, lint_one};
use lsp_server::{Connection, ErrorCode, Message, Notification, Request, Response};
use lsp_types::notification::{
    DidChangeTextDocument, DidCloseTextDocument, DidOpenTextDocument, DidSaveTextDocument,
    Notification as IsNotification, PublishDiagnostics,
};
use lsp_types::request::{CodeActionRequest, Completion, GotoDefinition, HoverRequest, Request as IsRequest};
use lsp_types::{
    CodeActionKind, CodeActionOptions, CodeActionProviderCapability, CompletionOptions,
    HoverProviderCapability, OneOf, PublishDiagnosticsParams, SaveOptions, ServerCapabilities,
    TextDocumentSyncCapability, TextDocumentSyncKind, TextDocumentSyncOptions, TextDocumentSyncSaveOptions,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::answer;
use super::store::Store;

/// Serves an editor on stdin and stdout until it says good-bye.
///
/// # Errors
/// What the editor said that is no part of the protocol.
pub fn serve(options: Options) -> Result<(), String> {
    let (connection, threads) = Connection::stdio();
    let result = converse(&connection, options);
    drop(connection);
    // An editor that has gone reads no more: that is no mistake.
    let _ = threads.join();
    result
}

fn converse(connection: &Connection, options: Options) -> Result<(), String> {
    let (id, _) = connection.initialize_start().map_err(|error| error.to_string())?;
    let answer = json!({
        "capabilities": capabilities(),
        "serverInfo": {"name": "ergon", "version": env!("CARGO_PKG_VERSION")},
    });
    connection.initialize_finish(id, answer).map_err(|error| error.to_string())?;
    let mut server = Server { store: Store::default(), options };
    for message in &connection.receiver {
        match message {
            Message::Request(request) => {
                if connection.handle_shutdown(&request).map_err(|error| error.to_string())? {
                    return Ok(());
                }
                let response = server.request(request);
                if connection.sender.send(Message::Response(response)).is_err() {
                    return Ok(());
                }
            }
            Message::Notification(notification) => server.note(notification),
            Message::Response(_) => {}
        }
        // Whoever types fast is told about the last of it.
        if connection.receiver.is_empty() {
            for said in server.say() {
                if connection.sender.send(Message::Notification(said)).is_err() {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

fn capabilities() -> ServerCapabilities {
    ServerCapabilities {
        text_document_sync: Some(TextDocumentSyncCapability::Options(TextDocumentSyncOptions {
            open_close: Some(true),
            change: Some(TextDocumentSyncKind::FULL),
            save: Some(TextDocumentSyncSaveOptions::SaveOptions(SaveOptions { include_text: Some(false) })),
            ..TextDocumentSyncOptions::default()
        })),
        completion_provider: Some(CompletionOptions {
            trigger_characters: Some(["{", "(", ".", "#", " "].map(str::to_owned).into()),
            ..CompletionOptions::default()
        }),
        hover_provider: Some(HoverProviderCapability::Simple(true)),
        definition_provider: Some(OneOf::Left(true)),
        code_action_provider: Some(CodeActionProviderCapability::Options(CodeActionOptions {
            code_action_kinds: Some(vec![CodeActionKind::QUICKFIX]),
            ..CodeActionOptions::default()
        })),
        ..ServerCapabilities::default()
    }
}

struct Server {
    store: Store,
    options: Options,
}

/// What is asked for with a request of the type `R`.
fn asked<R: IsRequest>(params: Value) -> Result<R::Params, String>
where
    R::Params: DeserializeOwned,
{
    serde_json::from_value(params).map_err(|error| error.to_string())
}

impl Server {
    fn request(&self, request: Request) -> Response {
        let Request { id, method, params } = request;
        let answer = match method.as_str() {
            Completion::METHOD => asked::<Completion>(params).map(|asked| {
                serde_json::to_value(answer::completion(&self.store, &asked.text_document_position))
            }),
            HoverRequest::METHOD => asked::<HoverRequest>(params).map(|asked| {
                serde_json::to_value(answer::hover(&self.store, &asked.text_document_position_params))
            }),
            GotoDefinition::METHOD => asked::<GotoDefinition>(params).map(|asked| {
                serde_json::to_value(answer::definition(&self.store, &asked.text_document_position_params))
            }),
            CodeActionRequest::METHOD => asked::<CodeActionRequest>(params)
                .map(|asked| serde_json::to_value(answer::actions(&self.store, &self.options, &asked))),
            _ => {
                let message = format!("`{method}` is not served");
                return Response::new_err(id, ErrorCode::MethodNotFound as i32, message);
            }
        };
        match answer {
            Ok(Ok(answer)) => Response::new_ok(id, answer),
            Ok(Err(error)) => Response::new_err(id, ErrorCode::InternalError as i32, error.to_string()),
            Err(message) => Response::new_err(id, ErrorCode::InvalidParams as i32, message),
        }
    }

    /// What cannot be read is left: the editor waits for no answer.
    fn note(&mut self, notification: Notification) {
        fn read<N: IsNotification>(params: Value) -> Option<N::Params> {
            serde_json::from_value(params).ok()
        }
        let Notification { method, params } = notification;
        match method.as_str() {
            DidOpenTextDocument::METHOD => {
                if let Some(opened) = read::<DidOpenTextDocument>(params) {
                    let document = opened.text_document;
                    self.store.set(document.uri, document.version, &document.text);
                }
            }
            DidChangeTextDocument::METHOD => {
                if let Some(mut changed) = read::<DidChangeTextDocument>(params)
                    && let Some(change) = changed.content_changes.pop()
                {
                    self.store.set(changed.text_document.uri, changed.text_document.version, &change.text);
                }
            }
            DidSaveTextDocument::METHOD => {
                if let Some(saved) = read::<DidSaveTextDocument>(params) {
                    self.store.saved(&saved.text_document.uri);
                }
            }
            DidCloseTextDocument::METHOD => {
                if let Some(closed) = read::<DidCloseTextDocument>(params) {
                    self.store.close(&closed.text_document.uri);
                }
            }
            _ => {}
        }
    }

    /// What is to be said about files that have changed.
    fn say(&mut self) -> Vec<Notification> {
        let changed = self.store.take_changed();
        let set = self.store.all();
        let open = changed.iter().filter_map(|name| self.store.open(name));
        open.map(|open| {
            let found = lint_one(&open.source, &set, &self.options);
            let params = PublishDiagnosticsParams {
                uri: open.uri.clone(),
                diagnostics: found.iter().map(|finding| answer::diagnostic(&open.source, finding)).collect(),
                version: Some(open.version),
            };
            Notification::new(PublishDiagnostics::METHOD.to_owned(), params)
        })
        .collect()
    }
}
