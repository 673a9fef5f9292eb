//! Resolvers whose answers are part of the case.

use std::sync::Arc;

use ergon_api::Config;
use ergon_engine::remote::{Answer, Failure, Request, read};
use serde_json::{Value, json};

/// The request in one line: the resolver, then its parameters.
pub(crate) fn told(request: &Request) -> String {
    let params: Vec<String> =
        request.params.iter().map(|param| format!(" {}={}", param.name, param.value)).collect();
    format!("ask {}{}{}", request.resolver, request.url.as_deref().unwrap_or_default(), params.concat())
}

/// What the case says for the request's `name` parameter: an object, `waiting`, or why it failed.
pub(crate) fn answer(answers: &Value, request: &Request) -> Answer {
    let name = request.text("name").unwrap_or_default();
    match &answers[name] {
        Value::String(waiting) if waiting == "waiting" => Answer::Waiting,
        Value::String(why) => Answer::Failed(Failure::NotFetched(why.clone())),
        Value::Null => panic!("the case has no answer for {name}"),
        object => {
            let source =
                json!({"uri": "git+https://example.com/r.git", "digest": {"sha1": "abc"}, "entryPoint": "p"});
            let source = serde_json::from_value(source).unwrap();
            match read(object.to_string().as_bytes(), name, Some(source), &Config::default()) {
                Ok(found) => Answer::Found(Arc::new(found)),
                Err(failure) => Answer::Failed(failure),
            }
        }
    }
}
