//! Import and look-up.

use std::fs;
use std::time::{Duration, SystemTime};

use ergon_local::images::{ImageError, User};
use ergon_local::{Prune, PullPolicy, Store};
use serde_json::json;

use crate::fixture::{Built, Layer, Packing, gzip, sha256, tar_of, write_tree};

fn small() -> Vec<Vec<u8>> {
    vec![
        Layer::new()
            .file("etc/passwd", "root:x:0:0::/root:/bin/sh\nbuild:x:1000:7::/b:\n")
            .file("hello", "lower")
            .bytes(),
        Layer::new().file("hello", "upper").bytes(),
    ]
}

fn config() -> serde_json::Value {
    json!({"Entrypoint": ["/run"], "Cmd": ["now"], "Env": ["A=b=c"], "WorkingDir": "/w", "User": "build"})
}

#[tokio::test]
async fn every_form_of_archive_gives_the_same_image() {
    for packing in [Packing::Plain, Packing::Gzip, Packing::Zstd] {
        let built = Built::new(small(), packing, &config());
        let layout = built.layout(Some("localhost/app:1"));
        let docker = built.docker(&["localhost/app:1"]);
        let temp = tempfile::tempdir().unwrap();
        write_tree(&temp.path().join("layout"), &layout);
        fs::write(temp.path().join("oci.tar"), tar_of(&layout)).unwrap();
        fs::write(temp.path().join("oci.tar.gz"), gzip(&tar_of(&layout))).unwrap();
        fs::write(temp.path().join("docker.tar"), tar_of(&docker)).unwrap();
        for form in ["layout", "oci.tar", "oci.tar.gz", "docker.tar"] {
            let store = Store::open(temp.path().join(format!("store-{form}"))).unwrap();
            let names = store.import(&temp.path().join(form), None).unwrap();
            assert_eq!(names, ["localhost/app:1"], "{form}");
            let image = store.resolve("localhost/app:1", PullPolicy::Always, None).await.unwrap();
            assert_eq!(image.config.entrypoint, ["/run"], "{form}");
            assert_eq!(image.config.env, [("A".to_owned(), "b=c".to_owned())], "{form}");
            assert_eq!(image.config.working_dir.as_deref(), Some("/w"), "{form}");
            assert_eq!(
                image.user(None).unwrap(),
                User { uid: 1000, gid: 7, groups: vec![], home: Some("/b".to_owned()) }
            );
            let tops: Vec<_> = image
                .layers
                .iter()
                .map(|layer| fs::read_to_string(layer.path.join("hello")).unwrap())
                .collect();
            assert_eq!(tops, ["lower", "upper"], "{form}");
            let by_digest = store.resolve(&image.digest, PullPolicy::Never, None).await.unwrap();
            assert_eq!(by_digest.layers, image.layers, "{form}");
            assert_eq!(store.list().unwrap().len(), 1, "{form}");
        }
    }
}

#[test]
fn a_name_can_be_given_and_moves_to_the_newest() {
    let temp = tempfile::tempdir().unwrap();
    let store = Store::open(temp.path().join("store")).unwrap();
    let path = temp.path().join("a.tar");
    let mut digests = Vec::new();
    for text in ["one", "two"] {
        let built = Built::new(vec![Layer::new().file("x", text).bytes()], Packing::Plain, &json!({}));
        fs::write(&path, tar_of(&built.layout(None))).unwrap();
        assert_eq!(store.import(&path, Some("busybox")).unwrap(), ["docker.io/library/busybox:latest"]);
        digests.push(built.manifest);
    }
    let listed = store.list().unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].digest, digests[1]);
    assert_eq!(
        store.import(&path, None).unwrap(),
        [digests[1].clone()],
        "without a name the digest names it"
    );
}

#[tokio::test]
async fn what_is_not_here_says_what_to_do() {
    let temp = tempfile::tempdir().unwrap();
    let store = Store::open(temp.path()).unwrap();
    for (name, policy) in [("localhost/none:1", PullPolicy::Always), ("busybox", PullPolicy::Never)] {
        let error = store.resolve(name, policy, None).await.unwrap_err().to_string();
        assert!(error.contains("is not on this machine and cannot be pulled"), "{error}");
        assert!(error.ends_with("import an archive with `ergon images import FILE`"), "{error}");
    }
    let error = store.import(&std::env::current_exe().unwrap(), None).unwrap_err();
    assert!(matches!(error, ImageError::NotAnArchive { .. }), "{error}");
}

#[test]
fn content_that_is_not_what_its_digest_says_is_refused_and_leaves_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let built = Built::new(small(), Packing::Gzip, &config());
    let layer = sha256(&gzip(&built.layers[0]));
    let other = Layer::new().file("hello", "forged").bytes();
    for (what, digest, bytes) in [
        ("manifest", built.manifest.clone(), b"{}".to_vec()),
        ("config", sha256(&built.config), b"{}".to_vec()),
        ("layer", layer.clone(), gzip(&other)),
        ("cut layer", layer, gzip(&built.layers[0])[..100].to_vec()),
    ] {
        let mut layout = built.layout(Some("localhost/app:1"));
        layout.insert(format!("blobs/{}", digest.replace(':', "/")), bytes);
        let dir = temp.path().join(what);
        write_tree(&dir, &layout);
        let store = Store::open(dir.join("store")).unwrap();
        store.import(&dir, None).unwrap_err();
        assert!(store.list().unwrap().is_empty(), "{what}");
        assert_eq!(fs::read_dir(dir.join("store/tmp")).unwrap().count(), 0, "{what}");
        let whole = fs::read_dir(dir.join("store/layers")).unwrap().count();
        assert_eq!(whole, 0, "{what}");
    }
}

#[test]
fn what_a_crash_left_is_cleared_but_not_while_another_works() {
    let temp = tempfile::tempdir().unwrap();
    let left = temp.path().join("tmp/half");
    fs::create_dir_all(&left).unwrap();
    let first = Store::open(temp.path()).unwrap();
    assert!(!left.exists());
    fs::create_dir_all(&left).unwrap();
    let second = Store::open(temp.path()).unwrap();
    assert!(left.exists(), "the first store is still open");
    drop((first, second));
    Store::open(temp.path()).unwrap();
    assert!(!left.exists());
}

#[tokio::test]
async fn pruning_keeps_what_a_name_needs() {
    let temp = tempfile::tempdir().unwrap();
    let home = temp.path().join("store");
    let layers = |home: &std::path::Path| fs::read_dir(home.join("layers")).unwrap().count();
    let import = |store: &Store, top: &str, name: &str| {
        let base = Layer::new().file("base", "shared").bytes();
        let built = Built::new(vec![base, Layer::new().file("top", top).bytes()], Packing::Plain, &config());
        let dir = temp.path().join(top);
        write_tree(&dir, &built.layout(Some(name)));
        store.import(&dir, None).unwrap();
    };
    let store = Store::open(&home).unwrap();
    for (top, name) in [("one", "localhost/a:1"), ("two", "localhost/b:1"), ("three", "localhost/a:1")] {
        import(&store, top, name);
    }
    assert_eq!(layers(&home), 4, "the base is shared");
    let now = SystemTime::now();
    let none = Prune::default();
    assert!(matches!(Store::prune(&home, none, now), Err(ImageError::InUse)));
    drop(store);

    let dry = Store::prune(&home, Prune { dry_run: true, ..none }, now).unwrap();
    assert_eq!((dry.references.len(), dry.layers, layers(&home)), (0, 1, 4));
    let pruned = Store::prune(&home, none, now).unwrap();
    assert_eq!((pruned.references.len(), pruned.layers), (0, 1), "the name `a` had moved on");
    assert_eq!((pruned.bytes, layers(&home)), (dry.bytes, 3));

    // An hour later only `b` has been used.
    let later = now + Duration::from_hours(1);
    let store = Store::open(&home).unwrap();
    let b = store.resolve("localhost/b:1", PullPolicy::Never, None).await.unwrap();
    let used = home.join("used").join(b.digest.trim_start_matches("sha256:"));
    fs::File::options().append(true).open(used).unwrap().set_modified(later).unwrap();
    drop(store);
    let old = Prune { unused_for: Some(Duration::from_mins(30)), ..none };
    let pruned = Store::prune(&home, old, later).unwrap();
    assert_eq!((pruned.references, pruned.layers), (vec!["localhost/a:1".to_owned()], 1));
    let store = Store::open(&home).unwrap();
    store.resolve("localhost/b:1", PullPolicy::Never, None).await.unwrap();
    store.resolve("localhost/a:1", PullPolicy::Never, None).await.unwrap_err();
    drop(store);

    let all = Prune { unused_for: Some(Duration::ZERO), ..none };
    assert_eq!(Store::prune(&home, all, later).unwrap().references, ["localhost/b:1"]);
    for folder in ["layers", "blobs/sha256", "used", "tmp"] {
        assert_eq!(fs::read_dir(home.join(folder)).unwrap().count(), 0, "{folder}");
    }
}
