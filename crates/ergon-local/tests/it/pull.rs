//! Pulls from a registry that lives in the test.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use ergon_local::images::{Progress, PullEvent};
use ergon_local::{PullPolicy, Store};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::fixture::{Built, Layer, Packing, sha256};

/// Answers GET alone; what it has by path, and what was asked for.
struct Registry {
    address: String,
    files: Mutex<BTreeMap<String, (String, Vec<u8>)>>,
    asked: Mutex<Vec<String>>,
}

impl Registry {
    async fn start() -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let registry = Arc::new(Self {
            address: listener.local_addr().unwrap().to_string(),
            files: Mutex::default(),
            asked: Mutex::default(),
        });
        let served = registry.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(served.clone().serve(stream));
            }
        });
        registry
    }

    async fn serve(self: Arc<Self>, mut stream: TcpStream) {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => request.push(byte),
                Err(_) => return,
            }
        }
        let text = String::from_utf8_lossy(&request);
        let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
        let found = self.files.lock().unwrap().get(&path).cloned();
        self.asked.lock().unwrap().push(path.clone());
        let (status, (kind, body)) = match found {
            Some(found) => ("200 OK", found),
            None if path == "/v2/" => ("200 OK", ("application/json".into(), b"{}".to_vec())),
            None => {
                let body = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
                ("404 Not Found", ("application/json".into(), body.to_vec()))
            }
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        let _ = stream.write_all(&[head.as_bytes(), &body].concat()).await;
        let _ = stream.shutdown().await;
    }

    fn put(&self, path: String, kind: &str, body: Vec<u8>) {
        self.files.lock().unwrap().insert(path, (kind.to_owned(), body));
    }

    /// Serves an image under a tag and under its digest, behind a list of platforms.
    fn push(&self, repository: &str, tag: &str, built: &Built) -> String {
        let index = serde_json::to_vec(&json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [
                {"mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 2,
                 "digest": sha256(b"{}"), "platform": {"os": "linux", "architecture": "s390x"}},
                {"mediaType": "application/vnd.oci.image.manifest.v1+json",
                 "size": built.blobs[&built.manifest].len(), "digest": built.manifest,
                 "platform": {"os": "linux", "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }}},
            ],
        }))
        .unwrap();
        let digest = sha256(&index);
        let kind = "application/vnd.oci.image.index.v1+json";
        self.put(format!("/v2/{repository}/manifests/{tag}"), kind, index.clone());
        self.put(format!("/v2/{repository}/manifests/{digest}"), kind, index);
        for (blob, bytes) in &built.blobs {
            let (place, kind) = if *blob == built.manifest {
                ("manifests", "application/vnd.oci.image.manifest.v1+json")
            } else {
                ("blobs", "application/octet-stream")
            };
            self.put(format!("/v2/{repository}/{place}/{blob}"), kind, bytes.clone());
        }
        digest
    }

    fn asked_for_blobs(&self) -> usize {
        self.asked.lock().unwrap().iter().filter(|path| path.contains("/blobs/")).count()
    }
}

fn built(text: &str) -> Built {
    let base = Layer::new().file("base", &"x".repeat(100_000)).bytes();
    let top = Layer::new().file("hello", text).bytes();
    Built::new(vec![base, top], Packing::Gzip, &json!({"Cmd": ["/hello"]}))
}

fn hello(layers: &[ergon_local::images::Layer]) -> String {
    fs::read_to_string(layers.last().unwrap().path.join("hello")).unwrap()
}

#[tokio::test]
async fn an_image_is_pulled_once_and_again_when_asked() {
    let registry = Registry::start().await;
    let digest = registry.push("team/app", "1", &built("first"));
    let name = format!("{}/team/app:1", registry.address);
    let temp = tempfile::tempdir().unwrap();
    let store = Store::open(temp.path()).unwrap();

    let events = Arc::new(Mutex::new(Vec::new()));
    let heard = events.clone();
    let progress: Progress = Arc::new(move |event| heard.lock().unwrap().push(event));
    let image = store.resolve(&name, PullPolicy::IfNotPresent, Some(progress)).await.unwrap();
    assert_eq!(hello(&image.layers), "first");
    let events = std::mem::take(&mut *events.lock().unwrap());
    assert!(matches!(&events[0], PullEvent::Started { layers: 2, .. }), "{events:?}");
    assert_eq!(events.iter().filter(|event| matches!(event, PullEvent::Unpacked { .. })).count(), 2);
    assert!(
        events.iter().any(|event| matches!(event, PullEvent::Downloading { done, size, .. } if done == size))
    );
    assert!(matches!(events.last(), Some(PullEvent::Finished { .. })), "{events:?}");
    assert_eq!(registry.asked_for_blobs(), 3);

    let before = registry.asked.lock().unwrap().len();
    store.resolve(&name, PullPolicy::IfNotPresent, None).await.unwrap();
    let by_digest = format!("{}/team/app@{digest}", registry.address);
    let same = store.resolve(&by_digest, PullPolicy::Never, None).await.unwrap();
    assert_eq!(same.digest, image.digest);
    assert_eq!(registry.asked.lock().unwrap().len(), before, "it was here");

    registry.push("team/app", "1", &built("second"));
    let image = store.resolve(&name, PullPolicy::IfNotPresent, None).await.unwrap();
    assert_eq!(hello(&image.layers), "first");
    let image = store.resolve(&name, PullPolicy::Always, None).await.unwrap();
    assert_eq!(hello(&image.layers), "second");
    assert_eq!(registry.asked_for_blobs(), 5, "the base layer was here already");
    let image = store.resolve(&by_digest, PullPolicy::Always, None).await.unwrap();
    assert_eq!(hello(&image.layers), "first", "a digest means what it meant");
}

#[tokio::test]
async fn what_the_registry_forges_or_lacks_is_refused() {
    let registry = Registry::start().await;
    let good = built("good");
    let digest = registry.push("app", "1", &good);
    let layer = sha256(&crate::fixture::gzip(&good.layers[1]));
    registry.put(format!("/v2/app/blobs/{layer}"), "application/octet-stream", b"forged".to_vec());
    registry.put(
        format!("/v2/forged/manifests/{digest}"),
        "application/vnd.oci.image.manifest.v1+json",
        good.blobs[&good.manifest].clone(),
    );
    let temp = tempfile::tempdir().unwrap();
    let store = Store::open(temp.path()).unwrap();
    for name in ["app:1", &format!("forged@{digest}"), "none:1"] {
        let name = format!("{}/{name}", registry.address);
        let error = store.resolve(&name, PullPolicy::IfNotPresent, None).await.unwrap_err().to_string();
        assert!(error.contains(&name) || error.contains("should be"), "{error}");
    }
    assert!(store.list().unwrap().is_empty());
    assert!(is_empty(&temp.path().join("tmp")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_pulls_at_once_bring_it_in_once() {
    let registry = Registry::start().await;
    registry.push("app", "1", &built("one"));
    let name = format!("{}/app:1", registry.address);
    let temp = tempfile::tempdir().unwrap();
    // Two stores on one directory are to each other as two processes are: the locks are on open files.
    let (first, second) = (Store::open(temp.path()).unwrap(), Store::open(temp.path()).unwrap());
    let (one, two) = tokio::join!(
        first.resolve(&name, PullPolicy::IfNotPresent, None),
        second.resolve(&name, PullPolicy::IfNotPresent, None)
    );
    assert_eq!(one.unwrap().layers, two.unwrap().layers);
    assert_eq!(registry.asked_for_blobs(), 3);
    assert!(is_empty(&temp.path().join("tmp")));
}

fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).unwrap().next().is_none()
}
