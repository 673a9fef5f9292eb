//! The conversion webhook: objects of older versions for the API server.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use ergon_api::convert;
use http::StatusCode;
use kube::core::Status;
use kube::core::conversion::{ConversionRequest, ConversionResponse, ConversionReview};
use std::sync::Arc;

use crate::metrics::Metrics;

/// Where the API server posts its reviews.
pub const PATH: &str = "/convert";
/// The API server may ask about a page of a list at once, and an object has up to 1.5 MiB.
const LIMIT: usize = 64 << 20;

/// The route.
pub fn router(metrics: Arc<Metrics>) -> Router {
    Router::new().route(PATH, post(answer)).layer(DefaultBodyLimit::max(LIMIT)).with_state(metrics)
}

async fn answer(State(metrics): State<Arc<Metrics>>, body: Bytes) -> Response {
    let request = serde_json::from_slice::<ConversionReview>(&body)
        .map_err(|error| format!("the body is no ConversionReview: {error}\n"))
        .and_then(|review| ConversionRequest::from_review(review).map_err(|error| format!("{error}\n")));
    match request {
        Ok(request) => {
            metrics.admitted("convert", "allowed");
            axum::Json(respond(request).into_review()).into_response()
        }
        Err(message) => {
            metrics.admitted("convert", "unreadable");
            (StatusCode::BAD_REQUEST, message).into_response()
        }
    }
}

fn respond(mut request: ConversionRequest) -> ConversionResponse {
    let objects = std::mem::take(&mut request.objects);
    let converted = objects
        .into_iter()
        .map(|object| convert::convert(object, &request.desired_api_version))
        .collect::<Result<Vec<_>, _>>();
    let response = ConversionResponse::for_request(request);
    match converted {
        Ok(objects) => response.success(objects),
        Err(error) => response.failure(Status::failure(&error.to_string(), "Invalid")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn answered(wanted: &str, objects: &Value) -> Value {
        let review = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview",
            "request": {"uid": "7", "desiredAPIVersion": wanted, "objects": objects}});
        let review: ConversionReview = serde_json::from_value(review).expect("a review");
        json!(respond(ConversionRequest::from_review(review).expect("a request")).into_review())
    }

    #[test]
    fn objects_come_back_in_order() {
        let objects = json!([
            {"apiVersion": "tekton.dev/v1beta1", "kind": "Task", "metadata": {"name": "a"},
                "spec": {"steps": [{"image": "i", "resources": {}}]}},
            {"apiVersion": "tekton.dev/v1", "kind": "Task", "metadata": {"name": "b"}, "spec": {}},
        ]);
        let review = answered("tekton.dev/v1", &objects);
        assert_eq!(
            (&review["kind"], &review["apiVersion"]),
            (&json!("ConversionReview"), &json!("apiextensions.k8s.io/v1"))
        );
        let response = &review["response"];
        assert_eq!((&response["uid"], &response["result"]["status"]), (&json!("7"), &json!("Success")));
        assert_eq!(
            response["convertedObjects"],
            json!([
                {"apiVersion": "tekton.dev/v1", "kind": "Task", "metadata": {"name": "a"},
                    "spec": {"steps": [{"image": "i", "computeResources": {}}]}},
                {"apiVersion": "tekton.dev/v1", "kind": "Task", "metadata": {"name": "b"}, "spec": {}},
            ])
        );
    }

    #[test]
    fn what_has_no_such_version_is_refused() {
        let response =
            &answered("ergon.dev/v1", &json!([{"apiVersion": "tekton.dev/v1", "kind": "Task"}]))["response"];
        assert_eq!(response["result"]["status"], "Failure");
        assert_eq!(
            response["result"]["message"],
            "an object of `tekton.dev/v1` cannot be converted to `ergon.dev/v1`: they are not of one group"
        );
    }
}
