//! The webhooks: filling in defaults and checking objects when they are admitted.
//!
//! Pure but for the HTTP around them: the review goes in, the answer comes out.

mod mutate;
mod review;
mod validate;

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use ergon_api::Config;
use http::StatusCode;

use crate::metrics::Metrics;
use crate::settings::Settings;
use review::{Answer, Request};

/// The API server's own limit of a request is 3 MiB, and a review of an update has two objects.
const LIMIT: usize = 8 << 20;
/// What can be stored: 1.5 MiB, the limit of etcd. Its own words for that name neither the object nor its size.
const STORED: usize = 3 << 19;
/// Bytes of a message for the user: a list of everything that is wrong helps nobody beyond that.
const MESSAGE: usize = 8 << 10;

/// What the answers depend on, and where they are counted.
#[derive(Clone)]
struct Hooks {
    metrics: Arc<Metrics>,
    settings: Arc<Settings>,
}

/// The routes.
pub fn router(metrics: Arc<Metrics>, settings: Arc<Settings>) -> Router {
    let mutate = |State(hooks): State<Hooks>, body: Bytes| async move {
        answer("mutate", &hooks, &body, mutate::mutate)
    };
    let validate = |State(hooks): State<Hooks>, body: Bytes| async move {
        answer("validate", &hooks, &body, validate::validate)
    };
    Router::new()
        .route("/mutate", post(mutate))
        .route("/validate", post(validate))
        .layer(DefaultBodyLimit::max(LIMIT))
        .with_state(Hooks { metrics, settings })
}

fn answer(
    hook: &'static str,
    hooks: &Hooks,
    body: &[u8],
    decide: fn(&Request, &Config) -> Answer,
) -> Response {
    match Request::read(body) {
        Ok(request) => {
            let answer = decide(&request, &hooks.settings.now());
            hooks.metrics.admitted(hook, if answer.is_allowed() { "allowed" } else { "refused" });
            axum::Json(answer.review(&request)).into_response()
        }
        Err(error) => {
            hooks.metrics.admitted(hook, "unreadable");
            (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response()
        }
    }
}
