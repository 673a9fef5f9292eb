//! Images made on the spot, of a root file system with one static program in it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

pub const NAME: &str = "localhost/tools:1";

pub fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold(String::from("sha256:"), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// A layer's archive in the making.
pub struct Layer(Builder<Vec<u8>>);

impl Layer {
    pub fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    fn add(mut self, kind: EntryType, path: &str, mode: u32, owner: u64, content: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(owner);
        header.set_gid(owner);
        header.set_mtime(1);
        header.set_size(content.len() as u64);
        self.0.append_data(&mut header, path, content).unwrap();
        self
    }

    pub fn file(self, path: &str, content: &str) -> Self {
        self.add(EntryType::Regular, path, 0o644, 0, content.as_bytes())
    }

    pub fn dir(self, path: &str, mode: u32, owner: u64) -> Self {
        self.add(EntryType::Directory, path, mode, owner, b"")
    }

    pub fn program(self, path: &str, content: &[u8]) -> Self {
        self.add(EntryType::Regular, path, 0o755, 0, content)
    }

    pub fn link(mut self, path: &str, target: &str) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Symlink);
        header.set_size(0);
        header.set_mode(0o777);
        self.0.append_link(&mut header, path, target).unwrap();
        self
    }

    pub fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

/// How a layer is packed.
#[derive(Clone, Copy)]
pub enum Packing {
    Plain,
    Gzip,
    Zstd,
}

impl Packing {
    fn pack(self, plain: &[u8]) -> Vec<u8> {
        match self {
            Self::Plain => plain.to_vec(),
            Self::Gzip => gzip(plain),
            Self::Zstd => {
                ruzstd::encoding::compress_to_vec(plain, ruzstd::encoding::CompressionLevel::Fastest)
            }
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Plain => "application/vnd.oci.image.layer.v1.tar",
            Self::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }
}

pub fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// An image as its blobs.
pub struct Built {
    pub blobs: BTreeMap<String, Vec<u8>>,
    pub manifest: String,
    pub config: Vec<u8>,
    pub layers: Vec<Vec<u8>>,
}

impl Built {
    pub fn new(layers: Vec<Vec<u8>>, packing: Packing, config: &Value) -> Self {
        let mut blobs = BTreeMap::new();
        let mut keep = |bytes: Vec<u8>| {
            let (digest, size) = (sha256(&bytes), bytes.len());
            blobs.insert(digest.clone(), bytes);
            json!({"digest": digest, "size": size})
        };
        let diff_ids: Vec<String> = layers.iter().map(|layer| sha256(layer)).collect();
        let config = serde_json::to_vec(&json!({
            "architecture": "amd64", "os": "linux", "config": config,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }))
        .unwrap();
        let mut config_ref = keep(config.clone());
        config_ref["mediaType"] = "application/vnd.oci.image.config.v1+json".into();
        let layer_refs: Vec<Value> = layers
            .iter()
            .map(|layer| {
                let mut layer_ref = keep(packing.pack(layer));
                layer_ref["mediaType"] = packing.media_type().into();
                layer_ref
            })
            .collect();
        let manifest = serde_json::to_vec(&json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config_ref, "layers": layer_refs,
        }))
        .unwrap();
        let manifest = keep(manifest)["digest"].as_str().unwrap().to_owned();
        Self { blobs, manifest, config, layers }
    }

    /// The files of an OCI layout.
    pub fn layout(&self, name: Option<&str>) -> BTreeMap<String, Vec<u8>> {
        let mut entry = json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": self.manifest, "size": self.blobs[&self.manifest].len(),
        });
        if let Some(name) = name {
            entry["annotations"] = json!({"io.containerd.image.name": name});
        }
        let index = json!({"schemaVersion": 2, "manifests": [entry]});
        let mut files: BTreeMap<String, Vec<u8>> = self
            .blobs
            .iter()
            .map(|(digest, bytes)| (format!("blobs/{}", digest.replace(':', "/")), bytes.clone()))
            .collect();
        files.insert("oci-layout".into(), br#"{"imageLayoutVersion": "1.0.0"}"#.to_vec());
        files.insert("index.json".into(), serde_json::to_vec(&index).unwrap());
        files
    }

    /// The files of what `docker save` writes.
    pub fn docker(&self, tags: &[&str]) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut names = Vec::new();
        for (index, layer) in self.layers.iter().enumerate() {
            let name = format!("{index}/layer.tar");
            files.insert(name.clone(), layer.clone());
            names.push(name);
        }
        files.insert("config.json".into(), self.config.clone());
        let manifest = json!([{"Config": "config.json", "RepoTags": tags, "Layers": names}]);
        files.insert("manifest.json".into(), serde_json::to_vec(&manifest).unwrap());
        files
    }
}

pub fn tar_of(files: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let mut archive = Layer::new();
    for (path, bytes) in files {
        archive = archive.add(EntryType::Regular, path, 0o644, 0, bytes);
    }
    archive.bytes()
}

pub fn write_tree(dir: &Path, files: &BTreeMap<String, Vec<u8>>) {
    for (path, bytes) in files {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

/// An image of two layers with busybox in it; `None` where there is no static one.
pub fn tools_image() -> Option<Built> {
    let program = static_busybox()?;
    let mut base = Layer::new().dir("bin", 0o755, 0).program("bin/busybox", &program);
    for name in
        ["sh", "true", "cat", "echo", "id", "ls", "sleep", "env", "pwd", "hostname", "touch", "grep", "mount"]
    {
        base = base.link(&format!("bin/{name}"), "busybox");
    }
    let base = base
        .dir("tmp", 0o1777, 0)
        .dir("etc", 0o755, 0)
        .dir("home", 0o755, 0)
        .dir("home/build", 0o755, 1000)
        .file("etc/passwd", "root:x:0:0::/root:/bin/sh\nbuild:x:1000:1000::/home/build:/bin/sh\n")
        .file("etc/group", "root:x:0:\nbuild:x:1000:\nwheel:x:10:build\n")
        .file("etc/old", "from the lower layer")
        .file("opt/one/low", "low")
        // As some distributions have it: a link to what exists only while they run.
        .link("etc/resolv.conf", "../run/resolve/stub.conf")
        .bytes();
    let upper = Layer::new()
        .file("etc/.wh.old", "")
        .file("opt/one/.wh..wh..opq", "")
        .file("opt/one/high", "high")
        .bytes();
    let config = json!({
        "Env": ["PATH=/bin", "FROM_IMAGE=yes"], "Cmd": ["/bin/sh"], "WorkingDir": "/work", "User": ""
    });
    Some(Built::new(vec![base, upper], Packing::Plain, &config))
}

/// Busybox of this machine, if it needs no libraries.
fn static_busybox() -> Option<Vec<u8>> {
    let paths = ["/bin/busybox", "/usr/bin/busybox", "/bin/busybox-static"].map(PathBuf::from);
    let found = paths.iter().filter_map(|path| fs::read(path).ok()).find(|bytes| is_static(bytes));
    if found.is_none() {
        eprintln!("skipped: no static busybox on this machine (Debian: busybox-static)");
    }
    found
}

/// The type of the program header that names an interpreter.
const INTERPRETER: usize = 3;

/// Whether a 64-bit ELF file asks for no interpreter.
fn is_static(bytes: &[u8]) -> bool {
    let number = |at: usize, len: usize| {
        bytes.get(at..at + len).map(|b| b.iter().rev().fold(0_usize, |n, b| n << 8 | usize::from(*b)))
    };
    let (Some(start), Some(size), Some(count)) = (number(32, 8), number(54, 2), number(56, 2)) else {
        return false;
    };
    bytes.starts_with(b"\x7fELF") && (0..count).all(|i| number(start + i * size, 4) != Some(INTERPRETER))
}
