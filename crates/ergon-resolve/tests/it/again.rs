//! What may pass is asked again, and what does not pass is not.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use crate::bundles::{Registry, archive, is};
use crate::git::Repositories;
use crate::serve::{self, Seen};
use crate::world::World;

/// The server, but for so many answers of this status before each of which it is asked in vain.
fn stumbling(server: Router, status: StatusCode, times: u32) -> Router {
    let left = Arc::new(AtomicU32::new(times));
    server.layer(from_fn(move |request: Request, next: Next| {
        let left = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        async move {
            match left {
                Ok(_) => status.into_response(),
                Err(_) => next.run(request).await,
            }
        }
    }))
}

/// Somebody for whom a resolver pauses only briefly.
fn impatient(config_map: &str, tries: &str) -> World {
    World::default().settings(config_map, &[("backoff-duration", "1ms"), ("backoff-steps", tries)])
}

#[tokio::test]
async fn pages_that_may_be_there_a_moment_later() {
    for (code, failures, tries, expected, asked) in [
        (503, 2, "3", Ok(()), 3),
        (500, 1, "3", Ok(()), 2),
        (502, 1, "3", Ok(()), 2),
        (504, 1, "3", Ok(()), 2),
        (429, 1, "3", Ok(()), 2),
        (503, 3, "3", Err("503 Service Unavailable"), 3),
        (503, 1, "1", Err("503 Service Unavailable"), 1),
        (501, 1, "3", Err("501 Not Implemented"), 1),
        (404, 1, "3", Err("404 Not Found"), 1),
        (418, 1, "3", Err("418 I'm a teapot"), 1),
    ] {
        let seen = Seen::default();
        let server = Router::new().route("/text", get(|| async { "text" }));
        let server = stumbling(server, StatusCode::from_u16(code).unwrap(), failures);
        let url = format!("http://{}/text", serve::plain(seen.watch(server)).await);
        let world = impatient("http-resolver-config", tries);
        let found = world.ask("http", &[("url", &url)]).await.map(|found| assert_eq!(found.data, b"text"));
        match expected {
            Ok(()) => assert_eq!(found, Ok(()), "{code}"),
            Err(status) => {
                let why = found.unwrap_err().to_string();
                assert!(why.contains(status), "{why}");
            }
        }
        assert_eq!(seen.asked().len(), asked, "{code} {failures}");
    }
}

#[tokio::test]
async fn a_server_that_wants_to_be_left_alone_is() {
    // It asks for more than a resolver ever waits: to ask sooner would be in vain.
    let seen = Seen::default();
    let busy = || async { (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "60")]) };
    let server = Router::new().route("/text", get(busy));
    let url = format!("http://{}/text", serve::plain(seen.watch(server)).await);
    let why = impatient("http-resolver-config", "3").failure("http", &[("url", &url)]).await;
    assert!(why.contains("429 Too Many Requests"), "{why}");
    assert_eq!(seen.asked().len(), 1);

    let asked: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let times = Arc::clone(&asked);
    let busy = move || async move {
        let mut times = times.lock().unwrap();
        times.push(Instant::now());
        let answer: Response = match times.len() {
            1 => (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "1")]).into_response(),
            _ => "text".into_response(),
        };
        answer
    };
    let url = format!("http://{}/", serve::plain(Router::new().route("/", get(busy))).await);
    assert_eq!(impatient("http-resolver-config", "3").text("http", &[("url", &url)]).await, "text");
    let asked = asked.lock().unwrap();
    assert!(asked[1] - asked[0] >= Duration::from_secs(1));
}

#[tokio::test]
async fn connections_that_break_are_made_anew() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        // The first two are closed without a word.
        for _ in 0..2 {
            drop(listener.accept().await);
        }
        axum::serve(listener, Router::new().route("/", get(|| async { "text" }))).await
    });
    assert_eq!(impatient("http-resolver-config", "3").text("http", &[("url", &url)]).await, "text");
}

#[tokio::test]
async fn whom_nobody_vouches_for_is_not_asked_again() {
    let (address, _) = serve::tls(Router::new()).await;
    let world = World::default().settings("http-resolver-config", &[("backoff-duration", "10s")]);
    let start = Instant::now();
    let why = world.failure("http", &[("url", &format!("https://{address}/"))]).await;
    assert!(why.contains("invalid peer certificate"), "{why}");
    assert!(start.elapsed() < Duration::from_secs(10), "it was waited for");
}

#[tokio::test]
async fn the_installations_limit_is_above_the_resolvers_own() {
    let server = Router::new().route("/never", get(std::future::pending::<()>));
    let url = format!("http://{}/never", serve::plain(server).await);
    let longest = Some(ergon_api::Duration::from_millis(50));
    for own in ["5m", ""] {
        let world = World::default().settings("http-resolver-config", &[("fetch-timeout", own)]);
        let why = World { longest, ..world }.failure("http", &[("url", &url)]).await;
        assert_eq!(why, "resolution took longer than global timeout of 50ms");
    }
    let world = World::default().settings("http-resolver-config", &[("fetch-timeout", "50ms")]);
    let why = world.failure("http", &[("url", &url)]).await;
    assert_eq!(why, "nothing was fetched within 50ms (fetch-timeout in the ConfigMap http-resolver-config)");
}

#[tokio::test]
async fn repositories_and_registries_that_stumble() {
    let repositories = Repositories::new(&[]);
    let server = stumbling(repositories.server(true), StatusCode::BAD_GATEWAY, 2);
    let url = format!("http://{}/r.git", serve::plain(server).await);
    let params = [("url", url.as_str()), ("pathInRepo", "task.yaml"), ("revision", "main")];
    assert_eq!(impatient("git-resolver-config", "3").text("git", &params).await, "new");

    let mut registry = Registry::default();
    registry.add("b", &[(&archive("a task"), is("task", "t"))]);
    let server = stumbling(registry.serve(), StatusCode::SERVICE_UNAVAILABLE, 2);
    let world = World::default().settings(
        "bundleresolver-config",
        &[("backoff-duration", "1ms"), ("default-service-account", "default"), ("default-kind", "task")],
    );
    let bundle = format!("{}/b", serve::plain(server).await);
    assert_eq!(world.text("bundles", &[("bundle", &bundle), ("name", "t")]).await, "a task");

    let seen = Seen::default();
    let bundle = format!("{}/none", serve::plain(seen.watch(Registry::default().serve())).await);
    let why = world.failure("bundles", &[("bundle", &bundle), ("name", "t")]).await;
    assert!(why.starts_with("cannot retrieve the oci image: "), "{why}");
    let manifests = seen.asked().iter().filter(|asked| asked.contains("/manifests/")).count();
    assert_eq!(manifests, 1, "what is not there is not asked for again");
}
