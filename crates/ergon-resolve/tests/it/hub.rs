//! `hub`, against what answers as Artifact Hub does, and as a Tekton Hub.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::serve::{self, Seen};
use crate::world::World;

const VERSIONS: [(&str, bool); 5] =
    [("0.9.0", false), ("0.10.0", false), ("1.0.0", false), ("2.0.0-rc1", true), ("1.2.3", false)];

/// Packages `tekton-task/tekton-catalog-tasks/t` and `tekton-pipeline/own/p`.
fn artifact_hub() -> Router {
    let is_known = |kind: &str, catalog: &str, name: &str| {
        matches!(
            (kind, catalog, name),
            ("tekton-task", "tekton-catalog-tasks", "t") | ("tekton-pipeline", "own", "p")
        )
    };
    Router::new()
        .route(
            "/api/v1/packages/{kind}/{catalog}/{name}",
            get(move |Path((kind, catalog, name)): Path<(String, String, String)>| async move {
                let versions: Vec<Value> = VERSIONS
                    .iter()
                    .map(|(version, preview)| json!({"version": version, "prerelease": preview, "ts": 1}))
                    .collect();
                answer(is_known(&kind, &catalog, &name).then(|| json!({"available_versions": versions, "x": {}})))
            }),
        )
        .route(
            "/api/v1/packages/{kind}/{catalog}/{name}/{version}",
            get(move |Path((kind, catalog, name, version)): Path<(String, String, String, String)>| async move {
                let is_there = is_known(&kind, &catalog, &name) && VERSIONS.iter().any(|(known, _)| *known == version);
                answer(is_there.then(|| json!({"data": {"manifestRaw": format!("{name} {version}")}, "name": name})))
            }),
        )
}

/// The resource `Tekton/task/t`, in versions of two numbers.
fn tekton_hub() -> Router {
    Router::new()
        .route(
            "/v1/resource/Tekton/task/t",
            get(|| async {
                answer(Some(json!({"data": {"id": 1, "versions": [{"version": "0.1"}, {"version": "0.10"}, {"version": "0.2"}]}})))
            }),
        )
        .route(
            "/v1/resource/Tekton/task/t/{version}/yaml",
            get(|Path(version): Path<String>| async move {
                let is_there = matches!(version.as_str(), "0.1" | "0.2" | "0.10");
                answer(is_there.then(|| json!({"data": {"yaml": format!("t {version}")}})))
            }),
        )
}

fn answer(found: Option<Value>) -> Response {
    match found {
        Some(found) => Json(found).into_response(),
        None => (StatusCode::NOT_FOUND, Json(json!({"message": "not found"}))).into_response(),
    }
}

#[tokio::test]
async fn versions_of_artifact_hub() {
    let url = format!("http://{}", serve::plain(artifact_hub()).await);
    let world = World::default().settings(
        "hubresolver-config",
        &[
            ("artifact-hub-urls", &format!("[\"{url}/\"]")),
            ("default-artifact-hub-task-catalog", "tekton-catalog-tasks"),
            ("default-kind", "task"),
            ("default-type", "artifact"),
        ],
    );
    let missing = |version: &str| {
        Err(format!(
            "fail to fetch Artifact Hub resource: requested resource '{url}/api/v1/packages/tekton-task/tekton-catalog-tasks/t/{version}' not found on hub"
        ))
    };
    for (version, expected) in [
        ("1.0.0", Ok("t 1.0.0".to_owned())),
        ("0.10", Ok("t 0.10.0".to_owned())),
        (" >= 0.9.0 ", Ok("t 1.2.3".to_owned())),
        (">= 0.9, < 1", Ok("t 0.10.0".to_owned())),
        ("~> 1.0", Ok("t 1.2.3".to_owned())),
        ("!= 1.2.3", Ok("t 1.0.0".to_owned())),
        (
            ">= 2",
            Err("no version found for constraint >= 2 (there are: 0.9.0, 0.10.0, 1.0.0, 1.2.3)".to_owned()),
        ),
        ("latest", missing("latest")),
    ] {
        let found = world.ask("hub", &[("name", "t"), ("version", version)]).await;
        let found =
            found.map(|found| String::from_utf8(found.data).unwrap()).map_err(|error| error.to_string());
        assert_eq!(found, expected, "{version}");
    }
    let params = [("kind", "pipeline"), ("catalog", "own"), ("name", "p"), ("version", "1.0.0")];
    let found = world.ask("hub", &params).await.unwrap();
    assert_eq!(found.data, b"p 1.0.0");
    let source = format!("{url}/api/v1/packages/tekton-pipeline/own/p/1.0.0");
    assert_eq!(found.source.uri, Some(source));
}

#[tokio::test]
async fn versions_of_a_tekton_hub() {
    let url = format!("http://{}", serve::plain(tekton_hub()).await);
    for (version, expected) in
        [("0.1", "t 0.1"), ("0.2.0", "t 0.2"), (">= 0.1", "t 0.10"), ("< 0.2", "t 0.1")]
    {
        let params = [("type", "tekton"), ("url", &*url), ("name", "t"), ("version", version)];
        assert_eq!(World::default().text("hub", &params).await, expected, "{version}");
    }
    let params = [("type", "tekton"), ("url", &*url), ("name", "none"), ("version", "0.1")];
    let why = World::default().failure("hub", &params).await;
    assert_eq!(
        why,
        format!(
            "fail to fetch Tekton Hub resource: requested resource '{url}/v1/resource/Tekton/task/none' not found on hub"
        )
    );
}

#[tokio::test]
async fn the_first_hub_that_has_it_answers() {
    let (empty, junk, full) = (Seen::default(), Seen::default(), Seen::default());
    let empty_url = serve::plain(empty.watch(Router::new())).await;
    let junk_url = serve::plain(junk.watch(Router::new().fallback(|| async { "no JSON" }))).await;
    let full_url = serve::plain(full.watch(artifact_hub())).await;
    let list = format!("- http://{empty_url}\n- http://{junk_url}\n- http://{full_url}\n");
    let defaults = [
        ("default-artifact-hub-task-catalog", "tekton-catalog-tasks"),
        ("default-kind", "task"),
        ("default-type", "artifact"),
    ];
    let world = World::default()
        .settings("hubresolver-config", &[&defaults[..], &[("artifact-hub-urls", list.as_str())]].concat());
    assert_eq!(world.text("hub", &[("name", "t"), ("version", "< 1")]).await, "t 0.10.0");
    assert_eq!((empty.asked().len(), junk.asked().len(), full.asked().len()), (1, 1, 2));

    let why = world.failure("hub", &[("name", "none"), ("version", "1.0")]).await;
    assert!(why.starts_with("failed to resolve version constraint from any configured hub URL: "), "{why}");
    assert!(why.contains("error unmarshalling json response"), "{why}");
    assert_eq!(why.matches("not found on hub").count(), 2, "{why}");
}
