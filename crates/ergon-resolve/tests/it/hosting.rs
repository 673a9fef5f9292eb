//! `git` with `repo`: through the APIs of hosting services.

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::json;

use crate::serve::{self, Seen};
use crate::world::World;

/// Answers as a service whose addresses begin with these; `content`, `commit` and `repository` are what follows.
fn service(
    content: &'static str,
    commit: &'static str,
    repository: &'static str,
    id: &'static str,
) -> Router {
    Router::new()
        .fallback(move |request: Request| async move { reply(&request, content, commit, repository, id) })
}

fn reply(request: &Request, content: &str, commit: &str, repository: &str, id: &str) -> Response {
    let address = request.uri().to_string();
    if address == content {
        // `text`, broken into lines as services do.
        Json(json!({"content": "dGV\n4dA==\n", "encoding": "base64"})).into_response()
    } else if address == commit {
        Json(json!({id: "c0ffee", "message": "m"})).into_response()
    } else if address == repository {
        Json(json!({"clone_url": "https://git.example/o/r.git", "http_url_to_repo": "https://git.example/o/r.git"})
            .as_object()
            .unwrap()
            .iter()
            .filter(|(key, _)| (key.as_str() == "clone_url") == (id == "sha"))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect::<serde_json::Map<_, _>>())
        .into_response()
    } else {
        (StatusCode::NOT_FOUND, address).into_response()
    }
}

#[tokio::test]
async fn a_file_comes_through_each_services_api() {
    for (type_, header, value, server) in [
        (
            "github",
            "authorization",
            "Bearer s3cret",
            service(
                "/api/v3/repos/o/r/contents/a/t%201.yaml?ref=x%2Fy",
                "/api/v3/repos/o/r/commits/x%2Fy",
                "/api/v3/repos/o/r",
                "sha",
            ),
        ),
        (
            "gitea",
            "authorization",
            "token s3cret",
            service(
                "/api/v1/repos/o/r/contents/a/t%201.yaml?ref=x%2Fy",
                "/api/v1/repos/o/r/git/commits/x%2Fy",
                "/api/v1/repos/o/r",
                "sha",
            ),
        ),
        (
            "gitlab",
            "private-token",
            "s3cret",
            service(
                "/api/v4/projects/o%2Fr/repository/files/a%2Ft%201.yaml?ref=x%2Fy",
                "/api/v4/projects/o%2Fr/repository/commits/x%2Fy",
                "/api/v4/projects/o%2Fr",
                "id",
            ),
        ),
    ] {
        let seen = Seen::default();
        let url = format!("http://{}", serve::plain(seen.watch(server)).await);
        let world = World::default().secret("s", &[("token", "s3cret")]);
        let params = |path| {
            [
                ("repo", "r"),
                ("org", "o"),
                ("scmType", type_),
                ("serverURL", url.as_str()),
                ("token", "s"),
                ("revision", "x/y"),
                ("pathInRepo", path),
            ]
        };
        let found =
            world.ask("git", &params("a/t 1.yaml")).await.unwrap_or_else(|error| panic!("{type_}: {error}"));
        assert_eq!(found.data, b"text");
        assert_eq!(found.source.digest["sha1"], "c0ffee");
        assert_eq!(found.source.uri.as_deref(), Some("git+https://git.example/o/r.git"));
        assert_eq!(found.annotations["resolution.tekton.dev/org"], "o");
        assert!(seen.header(header).iter().all(|sent| sent.as_deref() == Some(value)), "{type_}");
        let why = world.failure("git", &params("none.yaml")).await;
        assert_eq!(why, "couldn't fetch resource content: Not Found");
    }
}

#[tokio::test]
async fn the_installations_token_goes_to_the_installations_server_alone() {
    let seen = Seen::default();
    let url = format!("http://{}", serve::plain(seen.watch(Router::new())).await);
    let world = World::default().secret("system", &[("token", "s3cret")]).settings(
        "git-resolver-config",
        &[
            ("scm-type", "gitea"),
            ("server-url", "https://own.example"),
            ("default-revision", "main"),
            ("api-token-secret-name", "system"),
            ("api-token-secret-key", "token"),
            ("api-token-secret-namespace", "ns"),
        ],
    );
    let params = [("repo", "r"), ("org", "o"), ("serverURL", url.as_str()), ("pathInRepo", "t.yaml")];
    let why = world.failure("git", &params).await;
    assert!(why.contains("the system token cannot be sent to a non-default server URL"), "{why}");
    assert!(seen.asked().is_empty());
}
