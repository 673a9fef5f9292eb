//! One file of one revision, over git's protocol: no history, and no other file where the server can leave them out.

use super::objects::{Format, Objects, Way};
use super::packet::{Packet, Writer, read};
use super::transport::Transport;
use super::{is_commit, pack};
use crate::web::WebError;

/// Why a file cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum GitError {
    #[error("error resolving repository: clone error: authentication required")]
    Unauthorized,
    #[error(
        "error resolving repository: git clone error: fatal: repository '{0}' not found: exit status 128"
    )]
    NotFound(String),
    #[error("error resolving repository: the server answered {0}")]
    Refused(String),
    #[error("error resolving repository: {0}")]
    Web(#[from] WebError),
    #[error("error resolving repository: {folder}: {why}")]
    Program { folder: String, why: String },
    #[error("error resolving repository: what answers there is no git server")]
    NotGit,
    #[error("error resolving repository: the answer was cut off")]
    CutOff,
    #[error("error resolving repository: the server says: {0}")]
    Said(String),
    #[error("git fetch error: fatal: couldn't find remote ref {0}: exit status 128")]
    NoRevision(String),
    #[error("error resolving repository: what the server sent cannot be read: {0}")]
    Pack(&'static str),
    #[error("error opening file {path:?}: {why}")]
    File { path: String, why: &'static str },
}

/// What a server said of itself.
struct Server {
    /// The references, where it speaks the old protocol, which lists them all at once.
    old: Option<Vec<Reference>>,
    can_filter: bool,
    format: Format,
}

struct Reference {
    name: String,
    /// What it is in the end: of a tag with a message, the commit.
    object: String,
}

/// Reads the file at a path. Gives the commit as well.
pub(super) async fn file(
    mut transport: Transport<'_>,
    revision: &str,
    path: &str,
) -> Result<(Vec<u8>, String), GitError> {
    let server = greet(&transport.greet().await?)?;
    let wanted = if is_commit(revision) {
        revision.to_ascii_lowercase()
    } else {
        let listed;
        let references = if let Some(references) = &server.old {
            references
        } else {
            listed = list(&transport.ask(list_request(revision, server.format)).await?)?;
            &listed
        };
        choose(references, revision).ok_or_else(|| GitError::NoRevision(revision.to_owned()))?.to_owned()
    };
    let mut objects = Objects::new(server.format);
    let answer = transport.ask(fetch_request(&server, &wanted, true)).await?;
    pack::read(&pack_of(&answer, revision)?, &mut objects)?;
    let commit = objects.commit(&wanted)?.to_owned();
    let blob = loop {
        let missing = match objects.find(&commit, path)? {
            Way::File(blob) if objects.has(&blob) => break blob,
            Way::File(blob) | Way::Link(blob) => blob,
        };
        let answer = transport.ask(fetch_request(&server, &missing, false)).await?;
        pack::read(&pack_of(&answer, &missing)?, &mut objects)?;
        if !objects.has(&missing) {
            return Err(GitError::Pack("the file is not among it"));
        }
    };
    let data = objects.blob(&blob).ok_or(GitError::Pack("the file is not among it"))?;
    Ok((data.to_vec(), commit))
}

fn greet(bytes: &[u8]) -> Result<Server, GitError> {
    let packets = read(bytes)?;
    let mut lines = packets.iter().filter_map(|packet| packet.text());
    let mut first = lines.next().ok_or(GitError::NotGit)?;
    if first.starts_with("# service=") {
        first = lines.next().ok_or(GitError::NotGit)?;
    }
    if let Some(said) = first.strip_prefix("ERR ") {
        return Err(GitError::Said(said.to_owned()));
    }
    let mut server = Server { old: None, can_filter: false, format: Format::Sha1 };
    if first == "version 2" {
        for capability in lines {
            match capability.split_once('=') {
                Some(("fetch", features)) => {
                    server.can_filter = features.split(' ').any(|feature| feature == "filter");
                }
                Some(("object-format", "sha256")) => server.format = Format::Sha256,
                _ => {}
            }
        }
        return Ok(server);
    }
    // The old protocol: all references, the first with the capabilities behind a zero byte.
    let (first, capabilities) = first.split_once('\0').ok_or(GitError::NotGit)?;
    if capabilities.split(' ').any(|capability| capability == "object-format=sha256") {
        server.format = Format::Sha256;
    }
    let mut references: Vec<Reference> = Vec::new();
    for line in std::iter::once(first).chain(lines) {
        let Some((object, name)) = line.split_once(' ') else { continue };
        match name.strip_suffix("^{}") {
            Some(name) => {
                if let Some(tag) = references.iter_mut().find(|reference| reference.name == name) {
                    object.clone_into(&mut tag.object);
                }
            }
            None => references.push(Reference { name: name.to_owned(), object: object.to_owned() }),
        }
    }
    server.old = Some(references);
    Ok(server)
}

fn list_request(revision: &str, format: Format) -> Vec<u8> {
    let mut writer = Writer::default().line("command=ls-refs");
    if let Some(name) = format.to_name() {
        writer = writer.line(&format!("object-format={name}"));
    }
    writer = writer.delimiter().line("peel");
    for name in names(revision) {
        writer = writer.line(&format!("ref-prefix {name}"));
    }
    writer.flush().bytes()
}

fn list(bytes: &[u8]) -> Result<Vec<Reference>, GitError> {
    let packets = read(bytes)?;
    let lines = packets.iter().filter_map(|packet| packet.text());
    lines
        .map(|line| {
            if let Some(said) = line.strip_prefix("ERR ") {
                return Err(GitError::Said(said.to_owned()));
            }
            let mut parts = line.split(' ');
            let (object, name) = parts.next().zip(parts.next()).ok_or(GitError::NotGit)?;
            let peeled = parts.find_map(|part| part.strip_prefix("peeled:"));
            Ok(Reference { name: name.to_owned(), object: peeled.unwrap_or(object).to_owned() })
        })
        .collect()
}

/// What a revision may be short for, in the order in which git looks.
fn names(revision: &str) -> [String; 4] {
    [
        revision.to_owned(),
        format!("refs/{revision}"),
        format!("refs/tags/{revision}"),
        format!("refs/heads/{revision}"),
    ]
}

fn choose<'a>(references: &'a [Reference], revision: &str) -> Option<&'a str> {
    names(revision).iter().find_map(|name| {
        references.iter().find(|reference| reference.name == *name).map(|found| found.object.as_str())
    })
}

/// Asks for one object; of a commit, what it consists of, and nothing before it.
fn fetch_request(server: &Server, wanted: &str, is_commit: bool) -> Vec<u8> {
    if server.old.is_some() {
        let want = format!("want {wanted} ofs-delta side-band-64k shallow no-progress");
        return Writer::default().line(&want).line("deepen 1").flush().line("done").bytes();
    }
    let mut writer = Writer::default().line("command=fetch");
    if let Some(name) = server.format.to_name() {
        writer = writer.line(&format!("object-format={name}"));
    }
    writer = writer.delimiter().line("no-progress").line("ofs-delta");
    if is_commit {
        writer = writer.line("deepen 1");
        if server.can_filter {
            writer = writer.line("filter blob:none");
        }
    }
    writer.line(&format!("want {wanted}")).line("done").flush().bytes()
}

/// The pack in an answer, out of the bands that it comes in.
fn pack_of(bytes: &[u8], wanted: &str) -> Result<Vec<u8>, GitError> {
    let mut pack = Vec::new();
    for packet in read(bytes)? {
        let Packet::Data(data) = packet else { continue };
        match data.split_first() {
            Some((1, data)) => pack.extend_from_slice(data),
            Some((2, _)) => {}
            Some((3, said)) => return Err(GitError::Said(String::from_utf8_lossy(said).trim().to_owned())),
            _ => {
                let line = packet.text().unwrap_or_default();
                if let Some(said) = line.strip_prefix("ERR ") {
                    // What is asked for is one object: that it is not there is all that can be wrong with it.
                    return Err(if said.contains("not our ref") {
                        GitError::NoRevision(wanted.to_owned())
                    } else {
                        GitError::Said(said.to_owned())
                    });
                }
            }
        }
    }
    Ok(pack)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_comes_before_a_branch_and_is_its_commit() {
        let a = "a".repeat(40);
        let b = "b".repeat(40);
        let text = Writer::default()
            .line("# service=git-upload-pack")
            .flush()
            .line(&format!("{a} refs/heads/v1\0side-band-64k"))
            .line(&format!("{a} refs/tags/v1"))
            .line(&format!("{b} refs/tags/v1^{{}}"))
            .flush()
            .bytes();
        let server = greet(&text).unwrap();
        let references = server.old.unwrap();
        assert_eq!(choose(&references, "v1"), Some(b.as_str()));
        assert_eq!(choose(&references, "refs/heads/v1"), Some(a.as_str()));
        assert_eq!(choose(&references, "v2"), None);
    }
}
