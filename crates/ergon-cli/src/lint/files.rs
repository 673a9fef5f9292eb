//! Finding and reading the files.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use ergon_lint::Source;
use ergon_local::test::{self, TestError};

use crate::failure::{Failure, Result};

/// Above this size no file is read: the reader would refuse it.
const MAX_BYTES: u64 = 3 << 20;
/// So many files are looked for in the folders around those that are named.
const MAX_AROUND: usize = 1000;
/// Folders that hold what others have made.
const SKIPPED: [&str; 3] = ["node_modules", "target", "vendor"];
/// Hidden folders that hold manifests.
const OPEN: [&str; 2] = [".tekton", ".ergon"];

/// A file and where it is.
#[derive(Debug)]
pub struct Input {
    /// None for standard input.
    pub path: Option<PathBuf>,
    pub source: Source,
}

/// Reads files, and the manifests in folders and below.
///
/// # Errors
/// A place that is not there, or cannot be read.
pub fn read(places: &[PathBuf]) -> Result<Vec<Input>> {
    let mut inputs: Vec<Input> = Vec::new();
    for place in places {
        if place.as_os_str() == "-" {
            let source =
                read_from(&mut std::io::stdin().lock(), "-").map_err(|error| unreadable(place, &error))?;
            inputs.push(Input { path: None, source });
        } else if place.is_dir() {
            let mut files = Vec::new();
            walk(place, &mut files)?;
            for path in files {
                let source = read_file(&path).map_err(|error| unreadable(&path, &error))?;
                if is_manifest(&source) {
                    inputs.push(Input { path: Some(path), source });
                }
            }
        } else {
            let source = read_file(place).map_err(|error| unreadable(place, &error))?;
            inputs.push(Input { path: Some(place.clone()), source });
        }
    }
    // A file that is named twice is one file.
    let mut seen = std::collections::BTreeSet::new();
    inputs.retain(|input| seen.insert(input.source.name.clone()));
    Ok(inputs)
}

/// The manifests beside files that are named: what these may refer to.
pub fn around(inputs: &[Input]) -> Vec<Source> {
    let known: std::collections::BTreeSet<&str> =
        inputs.iter().map(|input| input.source.name.as_str()).collect();
    let folders: std::collections::BTreeSet<PathBuf> =
        inputs.iter().filter_map(|input| Some(input.path.as_ref()?.parent()?.to_owned())).collect();
    let found = folders.iter().flat_map(|folder| beside(folder));
    found.filter(|source| !known.contains(source.name.as_str())).collect()
}

/// The manifests in a folder, not below it. What cannot be read is not known, and that is no mistake of others.
pub fn beside(folder: &Path) -> Vec<Source> {
    let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let Ok(entries) = std::fs::read_dir(here) else { return Vec::new() };
    let files = entries.flatten().map(|entry| folder.join(entry.file_name()));
    let mut files: Vec<PathBuf> = files.filter(|path| is_yaml(path) && path.is_file()).collect();
    files.sort();
    files.truncate(MAX_AROUND);
    files.iter().filter_map(|path| read_file(path).ok()).collect()
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::invalid(format!("cannot read `{}`: {error}", path.display()))
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|end| ["yaml", "yml", "json"].iter().any(|known| end == *known))
}

/// The files in a folder and below, in order. Links to folders are not followed.
fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = std::fs::read_dir(folder)
        .and_then(Iterator::collect::<std::io::Result<Vec<_>>>)
        .map_err(|error| unreadable(folder, &error))?;
    let mut entries: Vec<_> = entries.into_iter().collect();
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_skipped =
            name.starts_with('.') && !OPEN.contains(&name.as_ref()) || SKIPPED.contains(&name.as_ref());
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && !is_skipped => walk(&path, files)?,
            Ok(_) if is_yaml(&path) && path.is_file() => files.push(path),
            _ => {}
        }
    }
    Ok(())
}

fn read_file(path: &Path) -> std::io::Result<Source> {
    let name = name_of(path);
    let mut file = File::open(path)?;
    let source = read_from(&mut file, &name)?;
    let mut source = source;
    if !read_tests(&mut source) {
        return Ok(source);
    }
    // What they are about is known too.
    source.problems = match test::load(path) {
        Ok(_) => Vec::new(),
        Err(TestError::Wrong { problems, .. }) => {
            problems.into_iter().filter(|problem| name_of(Path::new(&problem.file)) == name).collect()
        }
        Err(TestError::Unreadable(message)) => Source::unread(&name, message, None).problems,
    };
    Ok(source)
}

/// Reads a file with tests as what it is; nothing is done with others.
pub fn read_tests(source: &mut Source) -> bool {
    let is_test = source.problems.iter().any(|problem| problem.message == "a Test cannot be run or applied");
    if is_test {
        let read = ergon_api::manifest::parse_as::<test::Definition>(&source.text, &source.name, test::KIND);
        source.problems = read.err().unwrap_or_default();
    }
    is_test
}

fn read_from(input: &mut impl Read, name: &str) -> std::io::Result<Source> {
    let mut bytes = Vec::new();
    // Nothing that does not end is read to its end.
    input.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        let message = format!("the file has more than {MAX_BYTES} bytes, which no manifest has");
        return Ok(Source::unread(name, message, Some("name the files that are manifests".to_owned())));
    }
    Ok(Source::read(name, &bytes))
}

/// The file's name in messages: as it was given, without `./` before it.
fn name_of(path: &Path) -> String {
    let path = path.strip_prefix(".").unwrap_or(path);
    path.display().to_string()
}

/// Whether a file of a folder is a manifest: other YAML is nothing of ours, also where it is wrong.
fn is_manifest(source: &Source) -> bool {
    let is_ours = || ["ergon.dev/", "tekton.dev/"].iter().any(|group| source.text.contains(group));
    // Data in YAML or JSON is no object.
    let is_data = source.is_yaml
        && source.problems.iter().all(|problem| ["", "apiVersion"].contains(&problem.path.as_str()));
    if source.documents.is_empty() && is_data {
        return false;
    }
    !source.documents.is_empty() || (!source.problems.is_empty() && is_ours())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_walked_and_other_files_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &[u8]| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let task = "apiVersion: ergon.dev/v1\nkind: Task\nmetadata: {name: t}\nspec: {steps: [{image: a:1, command: [a]}]}\n";
        put("b/task.yaml", task.as_bytes());
        put(".tekton/run.yml", task.as_bytes());
        put(".git/x.yaml", task.as_bytes());
        put("values.yaml", b"a: [1\n");
        put("list.yaml", b"- ergon.dev/v1\n");
        put("data.json", b"{\"a\": \"tekton.dev/v1\"}");
        put("broken.yaml", b"apiVersion: ergon.dev/v1\nkind: [\n");
        put("latin.yaml", b"apiVersion: ergon.dev/v1 # \xff\n");
        put("other.yaml", b"a: \xff\n");
        put("notes.md", b"apiVersion: ergon.dev/v1\n");
        let names: Vec<String> = read(&[folder.path().to_owned()])
            .unwrap()
            .into_iter()
            .map(|input| input.path.unwrap().strip_prefix(folder.path()).unwrap().display().to_string())
            .collect();
        assert_eq!(names, [".tekton/run.yml", "b/task.yaml", "broken.yaml", "latin.yaml"]);
        assert!(read(&[folder.path().join("nowhere")]).unwrap_err().message.starts_with("cannot read"));
    }

    #[test]
    fn what_does_not_end_is_not_read_to_its_end() {
        let inputs = read(&[PathBuf::from("/dev/zero")]).unwrap();
        assert!(inputs[0].source.problems[0].message.contains("more than"));
    }
}
