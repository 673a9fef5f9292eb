//! Archives as somebody would make them who wants out of the layer.

use super::*;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};

use tar::{Builder, Header};

struct Hostile {
    archive: Builder<Vec<u8>>,
}

impl Hostile {
    fn new() -> Self {
        Self { archive: Builder::new(Vec::new()) }
    }

    /// Adds an entry with the name as it is; the tar crate itself would refuse the bad ones.
    fn add(mut self, kind: EntryType, path: &str, link: &str, mode: u32, content: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000);
        header.set_cksum();
        self.archive.append(&header, content).unwrap();
        self
    }

    fn file(self, path: &str, content: &str) -> Self {
        self.add(EntryType::Regular, path, "", 0o644, content.as_bytes())
    }

    fn dir(self, path: &str) -> Self {
        self.add(EntryType::Directory, path, "", 0o755, b"")
    }

    fn link(self, kind: EntryType, path: &str, target: &str) -> Self {
        self.add(kind, path, target, 0o777, b"")
    }

    /// Unpacks at `layer` in a new directory that has the file `secret` beside it.
    fn unpack_with(
        self,
        ownership: Ownership,
        bounds: Bounds,
    ) -> (tempfile::TempDir, Result<Removals, LayerError>) {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("secret"), "untouched").unwrap();
        let dest = temp.path().join("layer");
        fs::create_dir(&dest).unwrap();
        let bytes = self.archive.into_inner().unwrap();
        let done = unpack(&bytes[..], &dest, ownership, bounds);
        (temp, done)
    }

    fn unpack(self) -> (tempfile::TempDir, Result<Removals, LayerError>) {
        self.unpack_with(Ownership::Squash, Bounds::default())
    }
}

#[test]
fn nothing_is_written_out_of_the_layer() {
    let long_way = "../".repeat(20) + "tmp/ergon-escaped";
    let cases = [
        ("parent", Hostile::new().file("../secret", "taken")),
        ("parent inside", Hostile::new().dir("a").file("a/../../secret", "taken")),
        ("far", Hostile::new().file(&long_way, "taken")),
        ("link up", Hostile::new().link(EntryType::Symlink, "up", "..").file("up/secret", "taken")),
        (
            "link chain",
            Hostile::new()
                .link(EntryType::Symlink, "a", "b")
                .link(EntryType::Symlink, "b", "../../")
                .file("a/secret", "taken"),
        ),
        ("link to file", Hostile::new().link(EntryType::Symlink, "s", "../secret").file("s", "taken")),
        ("hard link up", Hostile::new().link(EntryType::Link, "h", "../secret").file("h", "taken")),
        (
            "hard link through link",
            Hostile::new()
                .link(EntryType::Symlink, "up", "..")
                .link(EntryType::Link, "h", "up/secret")
                .file("h", "taken"),
        ),
        (
            "hard link to link",
            Hostile::new()
                .link(EntryType::Symlink, "s", "../secret")
                .link(EntryType::Link, "h", "s")
                .file("h", "taken"),
        ),
        ("whiteout of parent", Hostile::new().file(".wh...", "")),
        ("whiteout up", Hostile::new().file("../.wh.secret", "")),
        (
            "whiteout through link",
            Hostile::new().link(EntryType::Symlink, "up", "..").file("up/.wh.secret", ""),
        ),
        (
            "directory over link",
            Hostile::new().link(EntryType::Symlink, "d", "..").dir("d").file("d/secret", "in"),
        ),
    ];
    for (name, hostile) in cases {
        let (temp, done) = hostile.unpack();
        if let Ok(removals) = &done {
            let _ = mark_for_overlay(&temp.path().join("layer"), removals);
        }
        assert_eq!(fs::read_to_string(temp.path().join("secret")).unwrap(), "untouched", "{name}: {done:?}");
        let mut beside: Vec<_> =
            fs::read_dir(temp.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        beside.sort();
        assert_eq!(beside, ["layer", "secret"], "{name}");
        assert!(!Path::new("/tmp/ergon-escaped").exists(), "{name}");
    }
}

#[test]
fn what_leads_out_by_name_is_refused_and_named() {
    for path in ["../x", "a/../../x", ".wh...", ".wh.", "a/.wh.."] {
        let (_temp, done) = Hostile::new().file(path, "").unpack();
        let error = done.unwrap_err();
        assert!(matches!(&error, LayerError::Escapes { path: named } if named == path), "{path}: {error}");
    }
    let (_temp, done) = Hostile::new().link(EntryType::Link, "h", "not/there").unpack();
    assert_eq!(done.unwrap_err().to_string(), "entry `h` links to `not/there`, which is not in the layer");
}

#[test]
fn absolute_names_mean_the_layer() {
    let (temp, done) = Hostile::new().file("/etc/motd", "hello").unpack();
    done.unwrap();
    assert_eq!(fs::read_to_string(temp.path().join("layer/etc/motd")).unwrap(), "hello");
}

#[test]
fn devices_are_left_out_and_setuid_is_roots_alone() {
    let archive = || {
        Hostile::new()
            .add(EntryType::Block, "disk", "", 0o666, b"")
            .add(EntryType::Char, "null", "", 0o666, b"")
            .add(EntryType::Fifo, "pipe", "", 0o600, b"")
            .add(EntryType::Regular, "su", "", 0o4755, b"x")
    };
    let (temp, done) = archive().unpack();
    done.unwrap();
    let layer = temp.path().join("layer");
    assert!(!layer.join("disk").exists() && !layer.join("null").exists());
    assert!(fs::metadata(layer.join("pipe")).unwrap().file_type().is_fifo());
    assert_eq!(fs::metadata(layer.join("su")).unwrap().mode() & 0o7777, 0o755);
    if Ownership::of_this_process() == Ownership::Keep {
        let (temp, done) = archive().unpack_with(Ownership::Keep, Bounds::default());
        done.unwrap();
        assert_eq!(fs::metadata(temp.path().join("layer/su")).unwrap().mode() & 0o7777, 0o4755);
    }
}

#[test]
fn bounds_hold() {
    let (_temp, done) = Hostile::new()
        .file("a", "1")
        .file("b", "2")
        .unpack_with(Ownership::Squash, Bounds { entries: 1, bytes: 1 << 20 });
    assert_eq!(done.unwrap_err().to_string(), "has more than 1 entries");
    let (_temp, done) = Hostile::new()
        .file("a", "12345")
        .file("b", "12345")
        .unpack_with(Ownership::Squash, Bounds { entries: 9, bytes: 8 });
    assert_eq!(done.unwrap_err().to_string(), "has more than 8 bytes");
}

#[test]
fn a_directory_that_may_not_be_written_is_filled_first() {
    let (temp, done) = Hostile::new()
        .add(EntryType::Directory, "ro", "", 0o555, b"")
        .file("ro/x", "y")
        .add(EntryType::Directory, "none", "", 0o000, b"")
        .file("none/x", "y")
        .unpack();
    done.unwrap();
    let layer = temp.path().join("layer");
    let meta = fs::metadata(layer.join("ro")).unwrap();
    // Ours stays ours: without the owner's bits it could not be removed again.
    assert_eq!((meta.permissions().mode() & 0o777, meta.mtime()), (0o755, 1_000_000));
    assert_eq!(fs::read_to_string(layer.join("none/x")).unwrap(), "y");
}

#[test]
fn later_entries_replace_earlier_ones() {
    let (temp, done) = Hostile::new()
        .dir("a")
        .file("a/x", "old")
        .file("a", "a file now")
        .file("b", "old")
        .dir("b")
        .file("b/x", "new")
        .file("c", "old")
        .file("c", "new")
        .unpack();
    done.unwrap();
    let layer = temp.path().join("layer");
    assert_eq!(fs::read_to_string(layer.join("a")).unwrap(), "a file now");
    assert_eq!(fs::read_to_string(layer.join("b/x")).unwrap(), "new");
    assert_eq!(fs::read_to_string(layer.join("c")).unwrap(), "new");
}

#[test]
fn removals_are_listed_and_marked() {
    let (temp, done) = Hostile::new()
        .file("etc/.wh.gone", "")
        .file("var/.wh..wh..opq", "")
        .file(".wh..wh.plnk", "")
        .file(".wh.made-anew", "")
        .dir("made-anew")
        .unpack();
    let removals = done.unwrap();
    let set = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<BTreeSet<_>>();
    assert_eq!(removals.whiteouts, set(&["etc/gone", "made-anew"]));
    assert_eq!(removals.opaque, set(&["var"]));
    let layer = temp.path().join("layer");
    if !mark_for_overlay(&layer, &removals).unwrap() {
        eprintln!("skipped: this file system does not hold overlayfs's marks");
        return;
    }
    let mark = fs::symlink_metadata(layer.join("etc/gone")).unwrap();
    assert!(mark.file_type().is_char_device() && mark.rdev() == 0);
    for dir in ["var", "made-anew"] {
        assert_eq!(
            xattr::get(layer.join(dir), "user.overlay.opaque").unwrap().as_deref(),
            Some(&b"y"[..]),
            "{dir}"
        );
    }
}
