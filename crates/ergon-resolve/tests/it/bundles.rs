//! `bundles`, against a registry in this process.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::{Value, json};
use sha2::Digest as _;

use crate::serve::{self, Seen};
use crate::world::World;

fn digest(bytes: &[u8]) -> String {
    sha2::Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

pub fn archive(text: &str) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, "object", text.as_bytes()).unwrap();
    archive.into_inner().unwrap()
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

/// Repositories, each with the tag `latest`.
#[derive(Default)]
pub struct Registry {
    /// Manifests and layers by their path behind `/v2/`.
    files: HashMap<String, (String, Vec<u8>)>,
    /// `Basic …`, where it asks who one is.
    login: Option<String>,
    /// Whether logins get a token first.
    gives_tokens: bool,
}

impl Registry {
    pub fn add(&mut self, repository: &str, layers: &[(&[u8], Value)]) -> String {
        let mut described = Vec::new();
        for (blob, annotations) in layers {
            let name = digest(blob);
            described.push(json!({"mediaType": "application/vnd.oci.image.layer.v1.tar", "size": blob.len(),
                "digest": name, "annotations": annotations}));
            self.put(&format!("{repository}/blobs/{name}"), "application/octet-stream", blob.to_vec());
        }
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let config = json!({"mediaType": "application/vnd.oci.image.config.v1+json", "size": 2, "digest": digest(b"{}")});
        let manifest =
            json!({"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": described});
        let manifest = manifest.to_string().into_bytes();
        let name = digest(&manifest);
        for reference in ["latest", &name] {
            self.put(&format!("{repository}/manifests/{reference}"), media_type, manifest.clone());
        }
        name
    }

    /// An index of images, by their platforms and digests.
    fn add_index(&mut self, repository: &str, media_type: &str, images: &[(Option<&str>, &str)]) -> String {
        let image = |(platform, digest): &(Option<&str>, &str)| {
            let mut image = json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 1, "digest": digest});
            if let Some((os, architecture)) = platform.and_then(|platform| platform.split_once('/')) {
                image["platform"] = json!({"os": os, "architecture": architecture});
            }
            image
        };
        let images: Vec<Value> = images.iter().map(image).collect();
        let index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": images});
        let index = index.to_string().into_bytes();
        let name = digest(&index);
        for reference in ["latest", &name] {
            self.put(&format!("{repository}/manifests/{reference}"), media_type, index.clone());
        }
        name
    }

    fn put(&mut self, path: &str, media_type: &str, bytes: Vec<u8>) {
        self.files.insert(path.to_owned(), (media_type.to_owned(), bytes));
    }

    pub fn serve(self) -> Router {
        Router::new().fallback(answer).with_state(Arc::new(self))
    }
}

async fn answer(State(registry): State<Arc<Registry>>, headers: HeaderMap, request: Request) -> Response {
    let sent = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (path, host) = (request.uri().path(), sent(header::HOST));
    if path == "/token" {
        let is_known = registry.login.as_deref() == Some(sent(header::AUTHORIZATION));
        return if is_known {
            Json(json!({"token": "t0ken"})).into_response()
        } else {
            StatusCode::UNAUTHORIZED.into_response()
        };
    }
    if let Some(login) = &registry.login {
        let (expected, challenge) = if registry.gives_tokens {
            ("Bearer t0ken", format!("Bearer realm=\"http://{host}/token\",service=\"{host}\""))
        } else {
            (login.as_str(), "Basic realm=\"r\"".to_owned())
        };
        if sent(header::AUTHORIZATION) != expected {
            return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)]).into_response();
        }
    }
    match path.strip_prefix("/v2/").map(|file| registry.files.get(file)) {
        Some(Some((media_type, bytes))) => {
            ([(header::CONTENT_TYPE, media_type.clone())], bytes.clone()).into_response()
        }
        _ if path == "/v2/" => StatusCode::OK.into_response(),
        _ => {
            let errors = json!({"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]});
            (StatusCode::NOT_FOUND, Json(errors)).into_response()
        }
    }
}

pub fn is(kind: &str, name: &str) -> Value {
    json!({"dev.tekton.image.apiVersion": "v1", "dev.tekton.image.kind": kind, "dev.tekton.image.name": name})
}

#[tokio::test]
async fn layers_of_all_forms() {
    let mut registry = Registry::default();
    let name = registry.add(
        "team/b",
        &[
            (&archive("a task"), is("task", "t")),
            (&packed(&archive("a pipeline")), is("pipeline", "t")),
            (b"plain", is("stepaction", "s")),
        ],
    );
    let address = serve::plain(registry.serve()).await;
    let world = World::default();
    for bundle in [format!("{address}/team/b"), format!("{address}/team/b:latest@{name}")] {
        for (kind, object, expected) in
            [(None, "t", "a task"), (Some("Pipeline"), "t", "a pipeline"), (Some("stepaction"), "s", "plain")]
        {
            let mut params = vec![("bundle", bundle.as_str()), ("name", object)];
            params.extend(kind.map(|kind| ("kind", kind)));
            let found = world.ask("bundles", &params).await.unwrap();
            assert_eq!(String::from_utf8(found.data).unwrap(), expected);
            assert_eq!(found.source.uri, Some(format!("{address}/team/b")));
            assert_eq!(found.source.digest["sha256"], name["sha256:".len()..]);
            assert_eq!(found.source.entry_point.as_deref(), Some(object));
            assert_eq!(found.annotations["resolution.tekton.dev/dev.tekton.image.name"], object);
        }
    }
}

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

#[tokio::test]
async fn of_an_index_the_image_is_taken_that_tekton_takes() {
    for media_type in [OCI_INDEX, DOCKER_LIST] {
        let mut registry = Registry::default();
        let amd = registry.add("b", &[(b"for amd64", is("task", "t"))]);
        let arm = registry.add("b", &[(b"for arm64", is("task", "t"))]);
        let about = registry.add("b", &[(b"an attestation", json!(null))]);
        let unknown = (Some("unknown/unknown"), &*about);
        for (images, expected, name) in [
            (&[(Some("linux/arm64"), &*arm), (Some("linux/amd64"), &*amd), unknown][..], "for amd64", &amd),
            (&[(Some("linux/arm64"), &*arm), (None, &*amd)], "for amd64", &amd),
            (&[(Some("linux/amd64"), &*amd), (Some("linux/amd64"), &*arm)], "for amd64", &amd),
            (&[unknown, (Some("linux/arm64"), &*arm)], "for arm64", &arm),
        ] {
            let mut files = Registry { files: registry.files.clone(), ..Registry::default() };
            let index = files.add_index("b", media_type, images);
            // An index of one index.
            files.add_index("b", media_type, &[(None, &index)]);
            let address = serve::plain(files.serve()).await;
            for bundle in [format!("{address}/b"), format!("{address}/b@{index}")] {
                let params = [("bundle", &*bundle), ("name", "t")];
                let found = World::default().ask("bundles", &params).await.unwrap();
                assert_eq!(String::from_utf8(found.data).unwrap(), expected, "{media_type} {images:?}");
                assert_eq!(found.source.digest["sha256"], name["sha256:".len()..]);
                assert_eq!(found.source.uri, Some(format!("{address}/b")));
            }
        }
    }
}

#[tokio::test]
async fn bundles_that_are_none() {
    let mut registry = Registry::default();
    let mut nameless = is("task", "t");
    nameless.as_object_mut().unwrap().remove("dev.tekton.image.name");
    registry.add("none", &[(b"x", nameless)]);
    registry.add("plain", &[(b"x", json!(null))]);
    registry.add("plural", &[(b"x", is("Tasks", "t"))]);
    registry.add("good", &[(b"x", is("task", "t"))]);
    let large = vec![b'x'; (1 << 20) + 1];
    registry.add("large", &[(&large, is("task", "t"))]);
    registry.add("changed", &[(b"as it was", is("task", "t"))]);
    registry.put(&format!("changed/blobs/{}", digest(b"as it was")), "x/y", b"as it is ".to_vec());
    registry.add_index("empty", OCI_INDEX, &[]);
    let (arm, other) = (digest(b"arm"), digest(b"other"));
    registry.add_index("others", OCI_INDEX, &[(Some("linux/arm64"), &arm), (Some("windows/amd64"), &other)]);
    registry.add_index("gone", OCI_INDEX, &[(None, &other)]);
    let mut inner = registry.add("deep", &[(b"x", is("task", "t"))]);
    for _ in 0..5 {
        inner = registry.add_index("deep", OCI_INDEX, &[(None, &inner)]);
    }
    let address = serve::plain(registry.serve()).await;
    for (bundle, name, expected) in [
        ("none", "t", "the layer 0 does not contain a dev.tekton.image.name annotation"),
        ("plain", "t", "the layer 0 does not contain a dev.tekton.image.apiVersion annotation"),
        ("plural", "t", "the annotation dev.tekton.image.kind must be lowercased and singular, found Tasks"),
        ("good", "u", "could not find object in image with kind: task and name: u (there are: task `t`)"),
        ("large", "t", "failed to read image layer: it has more than 1048576 bytes"),
        ("changed", "t", "failed to read image layer: "),
        ("empty", "t", "cannot retrieve the oci image: the index has no image for linux/amd64"),
        ("others", "t", "and not just one (there are: linux/arm64, windows/amd64)"),
        ("gone", "t", "cannot retrieve the oci image: "),
        ("deep", "t", "more than 4 indexes are inside each other"),
        ("missing", "t", "cannot retrieve the oci image: "),
    ] {
        let params = [("bundle", &*format!("{address}/{bundle}")), ("name", name)];
        let why = World::default().failure("bundles", &params).await;
        assert!(why.contains(expected), "{bundle}: {why}");
    }
}

#[tokio::test]
async fn a_pull_secret_opens_a_private_registry() {
    for gives_tokens in [false, true] {
        // `printf user:pass | base64`.
        let mut registry =
            Registry { login: Some("Basic dXNlcjpwYXNz".to_owned()), gives_tokens, ..Registry::default() };
        registry.add("team/b", &[(&archive("a task"), is("task", "t"))]);
        let seen = Seen::default();
        let address = serve::plain(seen.watch(registry.serve())).await;
        let bundle = format!("{address}/team/b");
        let params = |more: &[(&'static str, &'static str)]| {
            let base = [("bundle", bundle.clone()), ("name", "t".to_owned())];
            base.into_iter()
                .chain(more.iter().map(|(name, value)| (*name, (*value).to_owned())))
                .collect::<Vec<_>>()
        };
        let file = |user: &str| {
            json!({"auths": {&address: {"username": user, "password": "pass"}, "other.example": {"username": "x"}}})
                .to_string()
        };
        let world = World { pulling: vec!["of-account".to_owned()], ..World::default() }
            .secret("of-account", &[(".dockerconfigjson", &file("user"))])
            .secret("named", &[(".dockercfg", &json!({&address: {"auth": "dXNlcjpwYXNz"}}).to_string())]);
        for more in [&[][..], &[("serviceAccount", "none"), ("secret", "named")]] {
            let params = params(more);
            let params: Vec<(&str, &str)> =
                params.iter().map(|(name, value)| (*name, value.as_str())).collect();
            assert_eq!(world.text("bundles", &params).await, "a task", "{gives_tokens} {more:?}");
        }
        let stranger = World { pulling: vec!["wrong".to_owned()], ..World::default() }
            .secret("wrong", &[(".dockerconfigjson", &file("nobody"))]);
        for world in [World::default(), stranger] {
            let why = world.failure("bundles", &[("bundle", &bundle), ("name", "t")]).await;
            assert!(why.starts_with("cannot retrieve the oci image: "), "{why}");
        }
    }
}
