//! `http`, against a web server.

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;
use ergon_engine::remote::Request;
use ergon_resolve::Resolvers;

use crate::serve::{self, Seen};
use crate::world::{World, request};

const LIMIT: usize = 1 << 20;
/// `printf text | sha256sum`.
const DIGEST: &str = "sha256:982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1";

fn site() -> Router {
    Router::new()
        .route("/text", get(|| async { "text" }))
        .route("/hop", get(|| async { Redirect::temporary("/text") }))
        .route("/round", get(|| async { Redirect::temporary("/round") }))
        .route("/size/{bytes}", get(|Path(bytes): Path<usize>| async move { vec![b'x'; bytes] }))
        .route("/never", get(std::future::pending::<()>))
        .route("/gone", get(|| async { StatusCode::GONE }))
        .route("/private", get(private))
}

async fn private(headers: HeaderMap) -> impl IntoResponse {
    // `printf user:pass | base64`.
    let is_known = headers.get(header::AUTHORIZATION).is_some_and(|value| value == "Basic dXNlcjpwYXNz");
    if is_known { (StatusCode::OK, "secret text") } else { (StatusCode::UNAUTHORIZED, "who are you?") }
}

#[tokio::test]
async fn a_file_is_fetched_and_its_digest_compared() {
    let base = format!("http://{}", serve::plain(site()).await);
    let url = format!("{base}/text");
    let world = World::default();
    let found = world.ask("http", &[("url", &url), ("digest", DIGEST)]).await.unwrap();
    assert_eq!(found.data, b"text");
    assert_eq!(found.source.uri.as_deref(), Some(url.as_str()));
    assert_eq!(found.source.digest["sha256"], DIGEST["sha256:".len()..]);
    let wrong = format!("sha256:{}", "0".repeat(64));
    let why = world.failure("http", &[("url", &url), ("digest", &wrong)]).await;
    assert!(why.starts_with("error validating digest: SHA mismatch, expected 000"), "{why}");
    // A ResolutionRequest may have the address in a field of its own.
    let asked = Request { url: Some(url), ..request("http", &[]) };
    assert_eq!(Resolvers::new(false).resolve(&world, &asked).await.unwrap().data, b"text");
}

#[tokio::test]
async fn no_more_than_a_definition_is_read() {
    let base = format!("http://{}", serve::plain(site()).await);
    let world = World::default();
    let most = world.ask("http", &[("url", &format!("{base}/size/{LIMIT}"))]).await.unwrap();
    assert_eq!(most.data.len(), LIMIT);
    let why = world.failure("http", &[("url", &format!("{base}/size/{}", LIMIT + 1))]).await;
    assert_eq!(why, "error fetching URL: response body exceeds maximum allowed size of 1048576 bytes");
}

#[tokio::test]
async fn pages_that_are_not_there() {
    let seen = Seen::default();
    let base = format!("http://{}", serve::plain(seen.watch(site())).await);
    for (page, answer) in [("none", "404 Not Found"), ("gone", "410 Gone"), ("private", "401 Unauthorized")] {
        let url = format!("{base}/{page}");
        let why = World::default().failure("http", &[("url", &url)]).await;
        assert_eq!(why, format!("requested URL '{url}' is not found (the server answered {answer})"));
    }
    assert_eq!(seen.asked().len(), 3, "no mistake of ours gets better when it is asked again");
}

#[tokio::test]
async fn redirects_are_followed_but_not_for_ever_and_not_into_the_clear() {
    let base = format!("http://{}", serve::plain(site()).await);
    let world = World::default();
    assert_eq!(world.text("http", &[("url", &format!("{base}/hop"))]).await, "text");
    let why = world.failure("http", &[("url", &format!("{base}/round"))]).await;
    assert!(why.ends_with("too many redirects"), "{why}");

    let clear = format!("{base}/text");
    let to_clear = Router::new()
        .route("/down", get(|| async move { Redirect::temporary(&clear) }))
        .route("/text", get(|| async { "encrypted" }));
    let (address, authorities) = serve::tls(to_clear).await;
    let world = World { authorities, ..World::default() };
    assert_eq!(world.text("http", &[("url", &format!("https://{address}/text"))]).await, "encrypted");
    let why = world.failure("http", &[("url", &format!("https://{address}/down"))]).await;
    assert!(why.ends_with("redirected from https to http"), "{why}");
    let why = World::default().failure("http", &[("url", &format!("https://{address}/text"))]).await;
    assert!(why.contains("certificate"), "{why}");
}

#[tokio::test]
async fn a_secret_has_the_password_and_only_the_named_host_gets_it() {
    let seen = Seen::default();
    let elsewhere = serve::plain(seen.watch(site())).await;
    let away = format!("http://{elsewhere}/text");
    let site = site().route("/away", get(|| async move { Redirect::temporary(&away) }));
    let base = format!("http://{}", serve::plain(site).await);
    let world = World::default().secret("s", &[("password", "pass\n"), ("other", "pass")]);
    let login = [("http-username", "user"), ("http-password-secret", "s")];
    let with = |page: &str, key: Option<&'static str>| {
        let mut params = vec![("url", format!("{base}/{page}"))];
        params.extend(login.map(|(name, value)| (name, value.to_owned())));
        params.extend(key.map(|key| ("http-password-secret-key", key.to_owned())));
        params
    };
    for (page, key, expected) in [
        ("private", None, Ok("secret text")),
        ("private", Some("other"), Ok("secret text")),
        (
            "private",
            Some("none"),
            Err("cannot get API token, key none not found in secret s in namespace ns"),
        ),
        ("away", None, Ok("text")),
    ] {
        let params = with(page, key);
        let params: Vec<(&str, &str)> = params.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let found = world.ask("http", &params).await;
        let found =
            found.map(|found| String::from_utf8(found.data).unwrap()).map_err(|error| error.to_string());
        assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned), "{page} {key:?}");
    }
    assert_eq!(seen.header("authorization"), [None], "the password is the first host's alone");
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let base = format!("http://{}", serve::plain(site()).await);
    let world = World::default().settings("http-resolver-config", &[("fetch-timeout", "100ms")]);
    let why = world.failure("http", &[("url", &format!("{base}/never"))]).await;
    assert!(why.starts_with("nothing was fetched within "), "{why}");
    let world = World::default().settings("http-resolver-config", &[("fetch-timeout", "soon")]);
    let why = world.failure("http", &[("url", &format!("{base}/never"))]).await;
    assert!(why.starts_with("error parsing timeout value soon: "), "{why}");
}
