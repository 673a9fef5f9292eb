//! The objects of a repository that were fetched, and the way from a commit to a file.

use std::collections::HashMap;

use super::fetch::GitError;
use crate::params::hex;

/// How objects are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Sha1,
    Sha256,
}

impl Format {
    /// The name where it has to be said.
    pub fn to_name(self) -> Option<&'static str> {
        (self == Self::Sha256).then_some("sha256")
    }

    /// Bytes in a name.
    pub fn length(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    fn name(self, kind: Kind, data: &[u8]) -> String {
        let header = format!("{} {}\0", kind.word(), data.len());
        match self {
            Self::Sha1 => {
                use sha1::Digest as _;
                hex(&sha1::Sha1::new().chain_update(header).chain_update(data).finalize())
            }
            Self::Sha256 => {
                use sha2::Digest as _;
                hex(&sha2::Sha256::new().chain_update(header).chain_update(data).finalize())
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Commit,
    Tree,
    Blob,
    Tag,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Tree => "tree",
            Self::Blob => "blob",
            Self::Tag => "tag",
        }
    }
}

/// Objects by name.
pub(super) struct Objects {
    pub format: Format,
    known: HashMap<String, (Kind, Vec<u8>)>,
}

/// Where a path leads to, as far as is known.
pub(super) enum Way {
    /// The content of this name.
    File(String),
    /// A symbolic link whose content has this name and is not here.
    Link(String),
}

/// How many symbolic links may lead to a file.
const MOST_LINKS: usize = 8;

impl Objects {
    pub fn new(format: Format) -> Self {
        Self { format, known: HashMap::new() }
    }

    /// Takes an object. Its name is computed: nobody can hand us something else under a name that we asked for.
    pub fn put(&mut self, kind: Kind, data: Vec<u8>) {
        self.known.insert(self.format.name(kind, &data), (kind, data));
    }

    /// The name that an object would have.
    pub fn name_of(&self, kind: Kind, data: &[u8]) -> String {
        self.format.name(kind, data)
    }

    pub fn has(&self, name: &str) -> bool {
        self.known.contains_key(name)
    }

    pub fn get(&self, name: &str) -> Option<(Kind, &[u8])> {
        self.known.get(name).map(|(kind, data)| (*kind, data.as_slice()))
    }

    pub fn blob(&self, name: &str) -> Option<&[u8]> {
        self.of_kind(Kind::Blob, name)
    }

    fn of_kind(&self, wanted: Kind, name: &str) -> Option<&[u8]> {
        self.get(name).filter(|(kind, _)| *kind == wanted).map(|(_, data)| data)
    }

    /// The commit that a name stands for: itself, or what a tag is on.
    pub fn commit<'a>(&'a self, mut name: &'a str) -> Result<&'a str, GitError> {
        // It ends: no tag can be on itself, since its name is made of what it says.
        loop {
            match self.get(name) {
                Some((Kind::Commit, _)) => return Ok(name),
                Some((Kind::Tag, data)) => name = field(data, "object").ok_or(BROKEN_TAG)?,
                _ => return Err(GitError::Pack("the commit is not among it")),
            }
        }
    }

    /// The file's content, or what must be fetched to find it.
    pub fn find(&self, commit: &str, path: &str) -> Result<Way, GitError> {
        let failed = |why| GitError::File { path: path.to_owned(), why };
        let commit =
            self.of_kind(Kind::Commit, commit).ok_or(GitError::Pack("the commit is not among it"))?;
        let root = field(commit, "tree").ok_or(GitError::Pack("the commit has no tree"))?;
        let mut links = 0;
        let mut parts: Vec<String> = parts(path);
        'again: loop {
            let mut tree = root.to_owned();
            let last = parts.len().checked_sub(1).ok_or(failed("it is a folder"))?;
            for (at, part) in parts.iter().enumerate() {
                let entries =
                    self.of_kind(Kind::Tree, &tree).ok_or(GitError::Pack("a folder is not among it"))?;
                let (mode, name) =
                    entry(entries, part, self.format.length()).ok_or(failed("file does not exist"))?;
                match (mode, at == last) {
                    (Mode::File, true) => return Ok(Way::File(name)),
                    (Mode::Folder, false) => tree = name,
                    (Mode::Folder, true) => return Err(failed("it is a folder")),
                    (Mode::Link, _) => {
                        links += 1;
                        // Where files are left out, so is what a link leads to.
                        if !self.has(&name) {
                            return Ok(Way::Link(name));
                        }
                        let target = self.blob(&name).and_then(|target| std::str::from_utf8(target).ok());
                        let target = target.filter(|_| links <= MOST_LINKS);
                        let target = target.ok_or(failed("it is a symbolic link that cannot be followed"))?;
                        parts = followed(&parts[..at], target, &parts[at + 1..])
                            .ok_or(failed("it is a symbolic link that leads out of the repository"))?;
                        continue 'again;
                    }
                    (Mode::File | Mode::Other, _) => return Err(failed("file does not exist")),
                }
            }
            return Err(failed("file does not exist"));
        }
    }
}

const BROKEN_TAG: GitError = GitError::Pack("a tag is on nothing");

fn parts(path: &str) -> Vec<String> {
    path.split('/').filter(|part| !matches!(*part, "" | ".")).map(str::to_owned).collect()
}

/// The path when a link in it is followed; none where it leaves the repository.
fn followed(before: &[String], target: &str, after: &[String]) -> Option<Vec<String>> {
    if target.starts_with('/') {
        return None;
    }
    let mut path = before.to_vec();
    for part in parts(target) {
        if part == ".." {
            path.pop()?;
        } else {
            path.push(part);
        }
    }
    path.extend_from_slice(after);
    Some(path)
}

/// A line of a commit's or tag's head.
fn field<'a>(data: &'a [u8], name: &str) -> Option<&'a str> {
    let head = std::str::from_utf8(data.split(|byte| *byte == b'\n').next()?).ok()?;
    head.strip_prefix(name)?.strip_prefix(' ')
}

enum Mode {
    File,
    Folder,
    Link,
    /// Another repository.
    Other,
}

/// An entry of a folder: `<mode> <name>`, a zero byte, and the name of its content in binary.
fn entry(mut tree: &[u8], wanted: &str, length: usize) -> Option<(Mode, String)> {
    while !tree.is_empty() {
        let zero = tree.iter().position(|byte| *byte == 0)?;
        let head = &tree[..zero];
        let space = head.iter().position(|byte| *byte == b' ')?;
        let object = tree.get(zero + 1..zero + 1 + length)?;
        if &head[space + 1..] == wanted.as_bytes() {
            let mode = match &head[..space] {
                b"40000" => Mode::Folder,
                b"120000" => Mode::Link,
                b"160000" => Mode::Other,
                _ => Mode::File,
            };
            return Some((mode, hex(object)));
        }
        tree = &tree[zero + 1 + length..];
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_commit_below_very_many_tags_is_found() {
        let mut objects = Objects::new(Format::Sha1);
        let mut name = objects.name_of(Kind::Commit, b"tree t\n");
        let commit = name.clone();
        objects.put(Kind::Commit, b"tree t\n".to_vec());
        for _ in 0..200_000 {
            let tag = format!("object {name}\ntype tag\n").into_bytes();
            name = objects.name_of(Kind::Tag, &tag);
            objects.put(Kind::Tag, tag);
        }
        assert_eq!(objects.commit(&name).unwrap(), commit);
    }

    proptest! {
        #[test]
        fn folders_that_nobody_wrote(tree in prop::collection::vec(any::<u8>(), 0..100), name in ".*") {
            let _ = entry(&tree, &name, 20);
            let _ = entry(&[&b"100644 a\0"[..], &tree].concat(), &name, 32);
            let _ = field(&tree, "tree");
        }
    }

    #[test]
    fn links_stay_inside() {
        let path = |text: &str| parts(text);
        assert_eq!(followed(&path("a/b"), "../c", &path("d")), Some(path("a/c/d")));
        assert_eq!(followed(&path("a"), "../../c", &[]), None);
        assert_eq!(followed(&[], "/etc/passwd", &[]), None);
    }
}
