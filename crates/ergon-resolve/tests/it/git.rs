//! `git`, against `git http-backend`: the server that everybody's repositories are served by, or one that speaks alike.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use ergon_resolve::{Fetched, ResolveError, Resolvers};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;

use crate::serve::{self, Seen};
use crate::world::{World, request};

/// Runs git as somebody without settings. Gives what it prints.
fn git(folder: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(args)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .envs([("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_NOSYSTEM", "1")])
        .envs([("GIT_AUTHOR_NAME", "a"), ("GIT_AUTHOR_EMAIL", "a@example.com")])
        .envs([("GIT_COMMITTER_NAME", "a"), ("GIT_COMMITTER_EMAIL", "a@example.com")])
        .output()
        .expect("these tests need the program `git`: install it (`.ci/setup` does)");
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A folder of repositories, as a server has it.
pub struct Repositories {
    root: TempDir,
}

impl Repositories {
    /// With one, `r.git`, of two commits: `task.yaml` says `old` and then `new`.
    pub fn new(init: &[&str]) -> Self {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("r.git");
        std::fs::create_dir(&folder).unwrap();
        git(&folder, &[&["init", "-q", "-b", "main"], init].concat());
        let all = Self { root };
        all.write("task.yaml", "old");
        all.write("dir/sub/deep.yaml", "deep");
        all.commit("first");
        git(&folder, &["tag", "light"]);
        git(&folder, &["tag", "-a", "-m", "one", "v1"]);
        git(&folder, &["tag", "-a", "-m", "on a tag", "v1-again", "v1"]);
        git(&folder, &["branch", "feature/x"]);
        // A branch of the name of a tag: the tag goes first.
        all.write("task.yaml", "new");
        all.commit("second");
        git(&folder, &["branch", "v1"]);
        all
    }

    fn folder(&self) -> std::path::PathBuf {
        self.root.path().join("r.git")
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.folder().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn commit(&self, message: &str) {
        git(&self.folder(), &["add", "-A"]);
        git(&self.folder(), &["commit", "-q", "-m", message]);
    }

    fn set(&self, key: &str, value: &str) {
        git(&self.folder(), &["config", key, value]);
    }

    pub fn of(&self, revision: &str) -> String {
        git(&self.folder(), &["rev-parse", &format!("{revision}^{{commit}}")])
    }

    /// The server; `modern`: it is told when the client speaks version 2 of the protocol.
    pub fn server(&self, modern: bool) -> Router {
        let root: Arc<Path> = self.root.path().into();
        Router::new().fallback(move |request: Request| backend(Arc::clone(&root), modern, request))
    }
}

/// `git http-backend` as a web server starts it.
async fn backend(root: Arc<Path>, modern: bool, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let text = |name: header::HeaderName| {
        head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    let mut command = tokio::process::Command::new("git");
    command
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", &*root)
        .envs([("GIT_HTTP_EXPORT_ALL", "1"), ("REMOTE_ADDR", "127.0.0.1")])
        .envs([("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_NOSYSTEM", "1")])
        .env("REQUEST_METHOD", head.method.as_str())
        .env("PATH_INFO", head.uri.path())
        .env("QUERY_STRING", head.uri.query().unwrap_or_default())
        .env("CONTENT_TYPE", text(header::CONTENT_TYPE))
        .env("CONTENT_LENGTH", body.len().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    if modern {
        command.env("GIT_PROTOCOL", text(header::HeaderName::from_static("git-protocol")));
    }
    let mut child = command.spawn().expect("these tests need `git`: install it (`.ci/setup` does)");
    child.stdin.take().unwrap().write_all(&body).await.unwrap();
    let answer = child.wait_with_output().await.unwrap().stdout;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head, as CGI has it");
    let mut response = Response::builder();
    for line in std::str::from_utf8(&answer[..end]).unwrap().lines() {
        let (name, value) = line.split_once(": ").unwrap();
        response = match name {
            "Status" => response.status(value[..3].parse::<u16>().unwrap()),
            _ => response.header(name, value),
        };
    }
    response.body(Body::from(answer[end + 4..].to_vec())).unwrap()
}

async fn read(world: &World, url: &str, revision: &str, path: &str) -> Result<Fetched, ResolveError> {
    world.ask("git", &[("url", url), ("revision", revision), ("pathInRepo", path)]).await
}

#[tokio::test]
async fn every_way_to_name_a_commit() {
    // Servers of today leave files out, others send the whole commit, and old ones speak the old protocol.
    for (init, filter, modern) in [
        (&[][..], true, true),
        (&[], false, true),
        (&[], false, false),
        (&["--object-format=sha256"], true, true),
        (&["--object-format=sha256"], false, false),
    ] {
        let repositories = Repositories::new(init);
        repositories.set("uploadpack.allowFilter", &filter.to_string());
        repositories.set("uploadpack.allowAnySHA1InWant", "true");
        let url = format!("http://{}/r.git", serve::plain(repositories.server(modern)).await);
        let (first, second) = (repositories.of("light"), repositories.of("main"));
        for (revision, commit, text) in [
            ("main", &second, "new"),
            ("refs/heads/main", &second, "new"),
            ("heads/main", &second, "new"),
            ("HEAD", &second, "new"),
            ("feature/x", &first, "old"),
            ("light", &first, "old"),
            ("v1", &first, "old"),
            ("v1-again", &first, "old"),
            ("refs/tags/v1", &first, "old"),
            ("refs/heads/v1", &second, "new"),
            (&first, &first, "old"),
            (&second.to_uppercase(), &second, "new"),
        ] {
            let found = read(&World::default(), &url, revision, "task.yaml").await;
            let found =
                found.unwrap_or_else(|error| panic!("{init:?} {filter} {modern} {revision}: {error}"));
            assert_eq!(found.data, text.as_bytes(), "{revision}");
            let algorithm = if init.is_empty() { "sha1" } else { "sha256" };
            assert_eq!(found.source.digest, [(algorithm.to_owned(), commit.clone())].into(), "{revision}");
            assert_eq!(found.source.uri.as_deref(), Some(format!("git+{url}").as_str()));
            assert_eq!(found.source.entry_point.as_deref(), Some("task.yaml"));
            assert_eq!(found.annotations["resolution.tekton.dev/revision"], *commit);
        }
        let deep = read(&World::default(), &url, "main", "/dir/./sub/deep.yaml").await.unwrap();
        assert_eq!(deep.data, b"deep");
    }
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    for modern in [true, false] {
        let repositories = Repositories::new(&[]);
        let base = format!("http://{}", serve::plain(repositories.server(modern)).await);
        let none = "0123456789012345678901234567890123456789";
        for (repository, revision, path, expected) in [
            (
                "r.git",
                "none",
                "task.yaml",
                "git fetch error: fatal: couldn't find remote ref none: exit status 128",
            ),
            ("r.git", none, "task.yaml", "couldn't find remote ref 0123456789012345678901234567890123456789"),
            ("r.git", "main", "none.yaml", "error opening file \"none.yaml\": file does not exist"),
            ("r.git", "main", "task.yaml/x", "error opening file \"task.yaml/x\": file does not exist"),
            ("r.git", "main", "dir/sub", "error opening file \"dir/sub\": it is a folder"),
            ("none.git", "main", "task.yaml", "/none.git' not found: exit status 128"),
        ] {
            let params =
                [("url", &*format!("{base}/{repository}")), ("revision", revision), ("pathInRepo", path)];
            let why = World::default().failure("git", &params).await;
            assert!(why.contains(expected), "{modern} {repository} {revision} {path}: {why}");
        }
    }
    let address = serve::plain(Router::new().fallback(|| async { "a page" })).await;
    let why = World::default()
        .failure("git", &[("url", &format!("http://{address}/x")), ("pathInRepo", "p")])
        .await;
    assert!(why.ends_with("what answers there is no git server"), "{why}");
}

#[tokio::test]
async fn symbolic_links_lead_to_files_of_the_repository_alone() {
    use std::os::unix::fs::symlink;

    for filter in ["true", "false"] {
        let repositories = Repositories::new(&[]);
        repositories.set("uploadpack.allowFilter", filter);
        let folder = repositories.folder();
        for (target, link) in [
            ("task.yaml", "link.yaml"),
            ("link.yaml", "twice.yaml"),
            ("../../task.yaml", "dir/sub/up.yaml"),
            ("dir/sub", "folder"),
            ("/etc/passwd", "absolute"),
            ("../outside", "outside"),
            ("round", "round"),
            ("nothing", "dangling"),
        ] {
            symlink(target, folder.join(link)).unwrap();
        }
        repositories.commit("links");
        let url = format!("http://{}/r.git", serve::plain(repositories.server(true)).await);
        for (path, expected) in [
            ("link.yaml", Ok("new")),
            ("twice.yaml", Ok("new")),
            ("dir/sub/up.yaml", Ok("new")),
            ("folder/deep.yaml", Ok("deep")),
            ("folder/up.yaml", Ok("new")),
            ("absolute", Err("it is a symbolic link that leads out of the repository")),
            ("outside", Err("it is a symbolic link that leads out of the repository")),
            ("round", Err("it is a symbolic link that cannot be followed")),
            ("dangling", Err("file does not exist")),
        ] {
            let found = read(&World::default(), &url, "main", path).await;
            let found =
                found.map(|found| String::from_utf8(found.data).unwrap()).map_err(|error| error.to_string());
            let expected =
                expected.map(str::to_owned).map_err(|why| format!("error opening file {path:?}: {why}"));
            assert_eq!(found, expected, "{path}");
        }
    }
}

/// The server behind a name and a password.
fn private(server: Router, password: &'static str) -> Router {
    use axum::middleware::{Next, from_fn};
    use base64::Engine as _;

    let expected = format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(format!("git:{password}")));
    server.layer(from_fn(move |request: Request, next: Next| {
        let is_known = request.headers().get(header::AUTHORIZATION).is_some_and(|value| *value == *expected);
        async move {
            if is_known { next.run(request).await } else { StatusCode::UNAUTHORIZED.into_response() }
        }
    }))
}

#[tokio::test]
async fn a_private_repository_needs_its_token() {
    let repositories = Repositories::new(&[]);
    let server = private(repositories.server(true), "s3cret");
    let (address, authority) = serve::tls(server).await;
    let world = World { authorities: authority, ..World::default() }
        .secret("good", &[("token", "s3cret\n"), ("other", "s3cret")])
        .secret("bad", &[("token", "guess")]);
    let url = format!("https://{address}/r.git");
    let with = |params: &[(&'static str, &'static str)]| {
        let all = [("url", url.clone()), ("pathInRepo", "task.yaml".to_owned())];
        let more = params.iter().map(|(name, value)| (*name, (*value).to_owned()));
        all.into_iter().chain(more).collect::<Vec<_>>()
    };
    for (params, expected) in [
        (&[][..], Err("error resolving repository: clone error: authentication required")),
        (&[("gitToken", "good")], Ok("new")),
        (&[("gitToken", "good"), ("gitTokenKey", "other")], Ok("new")),
        (&[("gitToken", "bad")], Err("error resolving repository: clone error: authentication required")),
        (
            &[("gitToken", "good"), ("gitTokenKey", "none")],
            Err("cannot get API token, key none not found in secret good in namespace ns"),
        ),
        (&[("gitToken", "none")], Err("cannot get API token, secret none not found in namespace ns")),
    ] {
        let all = with(params);
        let all: Vec<(&str, &str)> = all.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let found = world.ask("git", &all).await;
        let found =
            found.map(|found| String::from_utf8(found.data).unwrap()).map_err(|error| error.to_string());
        assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned), "{params:?}");
    }
    // Nobody vouches for the server.
    let stranger = World { authorities: String::new(), ..world };
    let why =
        stranger.failure("git", &[("url", &url), ("gitToken", "good"), ("pathInRepo", "task.yaml")]).await;
    assert!(why.contains("certificate"), "{why}");
}

#[tokio::test]
async fn a_moved_repository_is_followed_without_the_token() {
    let repositories = Repositories::new(&[]);
    let seen = Seen::default();
    let new = serve::plain(seen.watch(repositories.server(true))).await;
    let moved = move |request: Request| {
        let to = format!("http://{new}{}", request.uri().to_string().replace("old.git", "r.git"));
        async move { Redirect::permanent(&to) }
    };
    let old = serve::plain(private(Router::new().fallback(moved), "s3cret")).await;
    let world = World::default().secret("good", &[("token", "s3cret")]);
    let url = format!("http://{old}/old.git");
    let found = world.ask("git", &[("url", &url), ("gitToken", "good"), ("pathInRepo", "task.yaml")]).await;
    assert_eq!(found.unwrap().data, b"new");
    assert!(seen.asked().iter().any(|asked| asked == "POST /r.git/git-upload-pack"), "{:?}", seen.asked());
    assert!(seen.header("authorization").iter().all(Option::is_none), "the token is the old host's alone");
}

#[tokio::test]
async fn a_large_pack_of_differences() {
    let repositories = Repositories::new(&[]);
    // Numbers that do not pack well, so that many packets are needed.
    let mut number = 1_u64;
    let mut lines: Vec<String> = Vec::new();
    for _ in 0..4000 {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        lines.push(format!("{number:x}"));
    }
    // Each file is the one before with a few lines changed, so that differences are to differences.
    for at in 0..300 {
        for line in lines.iter_mut().skip(at * 13).take(5) {
            *line = format!("{line} changed in {at}");
        }
        repositories.write(&format!("many/{at}.yaml"), &lines.join("\n"));
    }
    repositories.commit("many");
    let folder = repositories.folder();
    git(&folder, &["repack", "-adfq", "--depth=50", "--window=4"]);
    let pack = std::fs::read_dir(folder.join(".git/objects/pack")).unwrap();
    let index =
        pack.map(|entry| entry.unwrap().path()).find(|path| path.extension().is_some_and(|is| is == "idx"));
    let told = git(&folder, &["verify-pack", "-v", index.as_ref().unwrap().to_str().unwrap()]);
    let chains: Vec<&str> = told.lines().filter(|line| line.starts_with("chain length = ")).collect();
    assert!(chains.len() > 4, "the pack has no long chains of differences: {chains:?}");
    let size = std::fs::metadata(index.unwrap().with_extension("pack")).unwrap().len();
    assert!(size > 100_000, "the pack comes in many packets: {size}");

    for modern in [true, false] {
        let url = format!("http://{}/r.git", serve::plain(repositories.server(modern)).await);
        for at in [0, 150, 299] {
            let found = read(&World::default(), &url, "main", &format!("many/{at}.yaml")).await.unwrap();
            assert_eq!(found.data, std::fs::read(folder.join(format!("many/{at}.yaml"))).unwrap(), "{at}");
        }
    }
}

#[tokio::test]
async fn a_folder_of_this_machine_is_a_repository_where_the_run_is_the_users_own() {
    let repositories = Repositories::new(&[]);
    let folder = repositories.folder();
    let asked =
        request("git", &[("url", folder.to_str().unwrap()), ("pathInRepo", "task.yaml"), ("revision", "v1")]);
    let found = Resolvers::new(true).resolve(&World::default(), &asked).await.unwrap();
    assert_eq!(found.data, b"old");
    let refused = Resolvers::new(false).resolve(&World::default(), &asked).await;
    assert!(
        matches!(refused, Err(ResolveError::Invalid(why)) if why.starts_with("invalid git repository url: "))
    );
}

#[tokio::test]
async fn settings_have_names_and_what_is_not_served_says_what_to_write() {
    let repositories = Repositories::new(&[]);
    let url = format!("http://{}/r.git", serve::plain(repositories.server(true)).await);
    let world = World::default().settings(
        "git-resolver-config",
        &[
            ("mine.default-url", &url),
            ("mine.default-revision", "light"),
            ("slow.default-url", &url),
            ("slow.fetch-timeout", "0s"),
        ],
    );
    assert_eq!(world.text("git", &[("configKey", "mine"), ("pathInRepo", "task.yaml")]).await, "old");
    let slow = [("configKey", "slow"), ("revision", "main"), ("pathInRepo", "task.yaml")];
    assert_eq!(
        world.failure("git", &slow).await,
        "nothing was fetched within 0s (slow.fetch-timeout in the ConfigMap git-resolver-config)"
    );
    for url in ["git@example.com:x/y.git", "ssh://git@example.com/x/y.git", "git://example.com/x/y.git"] {
        let why = world.ask("git", &[("url", url), ("revision", "main"), ("pathInRepo", "t")]).await;
        let why = why.unwrap_err().to_string();
        assert!(why.contains("as https://") && why.contains("gitToken"), "{why}");
    }
}
