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
    const CLONE: &str = "https://git.example/o/r.git";
    let address = request.uri().to_string();
    let is_raw = content.contains("/src/") || content.contains("/raw/");
    if address == content && is_raw {
        "text".into_response()
    } else if address == content {
        // `text`, broken into lines as services do.
        Json(json!({"content": "dGV\n4dA==\n", "encoding": "base64"})).into_response()
    } else if address == commit {
        Json(json!({id: "c0ffee", "message": "m"})).into_response()
    } else if address == repository && is_raw {
        let clone =
            json!([{"name": "ssh", "href": "git@git.example:o/r.git"}, {"name": "https", "href": CLONE}]);
        Json(json!({"links": {"self": [{"href": "x"}], "clone": clone}})).into_response()
    } else if address == repository {
        Json(json!({if id == "sha" { "clone_url" } else { "http_url_to_repo" }: CLONE})).into_response()
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
            "authorization",
            "Bearer s3cret",
            service(
                "/api/v4/projects/o%2Fr/repository/files/a%2Ft%201.yaml?ref=x%2Fy",
                "/api/v4/projects/o%2Fr/repository/commits/x%2Fy",
                "/api/v4/projects/o%2Fr",
                "id",
            ),
        ),
        (
            "bitbucketcloud",
            "authorization",
            "Bearer s3cret",
            service(
                "/2.0/repositories/o/r/src/x%2Fy/a/t%201.yaml",
                "/2.0/repositories/o/r/commit/x%2Fy",
                "/2.0/repositories/o/r",
                "hash",
            ),
        ),
        (
            "bitbucketserver",
            "authorization",
            "Bearer s3cret",
            service(
                "/rest/api/1.0/projects/o/repos/r/raw/a/t%201.yaml?at=x%2Fy",
                "/rest/api/1.0/projects/o/repos/r/commits/x%2Fy",
                "/rest/api/1.0/projects/o/repos/r",
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

#[tokio::test]
async fn an_app_password_of_bitbucket_goes_with_its_name() {
    let seen = Seen::default();
    let server = service("/2.0/repositories/o/r/src/main/t", "", "", "hash");
    let url = format!("http://{}", serve::plain(seen.watch(server)).await);
    let world = World::default().secret("s", &[("token", "user:pass")]);
    let params = [("repo", "r"), ("org", "o"), ("scmType", "bitbucketcloud"), ("serverURL", url.as_str())];
    let more = [("token", "s"), ("revision", "main"), ("pathInRepo", "t")];
    let why = world.failure("git", &[&params[..], &more].concat()).await;
    assert!(why.starts_with("couldn't fetch the commit sha for the ref main in the repo: "), "{why}");
    // `printf user:pass | base64`.
    assert_eq!(seen.header("authorization"), vec![Some("Basic dXNlcjpwYXNz".to_owned()); 2]);
}

#[tokio::test]
async fn services_that_there_are_not() {
    let params =
        [("repo", "r"), ("org", "o"), ("revision", "main"), ("pathInRepo", "t"), ("scmType", "gogs")];
    let why = World::default().failure("git", &params).await;
    assert!(why.contains("`gogs` is not served") && why.contains("bitbucketserver"), "{why}");
}
