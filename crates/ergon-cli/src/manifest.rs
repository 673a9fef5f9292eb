//! Reading the files that commands are given.

use std::io::Read;
use std::path::{Path, PathBuf};

use ergon_api::Document;

use crate::failure::{Failure, Result};

/// Reads all objects of the files, in order; `-` is standard input, and a folder is the manifests in it.
///
/// # Errors
/// Files that cannot be read, and everything that is wrong in them, with its place.
pub fn read(files: &[impl AsRef<Path>]) -> Result<Vec<Document>> {
    let mut documents = Vec::new();
    for file in files {
        let file = file.as_ref();
        if file.is_dir() {
            for file in in_folder(file)? {
                documents.extend(read_one(&file)?);
            }
        } else {
            documents.extend(read_one(file)?);
        }
    }
    Ok(documents)
}

/// The manifests in a folder, not below it. Files that hold no objects, and tests, are left out.
fn in_folder(folder: &Path) -> Result<Vec<PathBuf>> {
    let name = folder.display();
    let mut files = std::fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>())
        .map_err(|error| Failure::invalid(format!("cannot read `{name}`: {error}")))?;
    files.retain(|file| {
        let is_yaml = file.extension().is_some_and(|end| ["yaml", "yml", "json"].iter().any(|it| end == *it));
        // What cannot be read or is no YAML is told when it is read.
        let text = if is_yaml { std::fs::read_to_string(file).ok() } else { None };
        match text.map(|text| ergon_api::manifest::head(&text)) {
            Some(Ok(head)) => head.is_some_and(|(_, kind)| kind != "Test"),
            Some(Err(_)) => true,
            None => is_yaml && file.is_file(),
        }
    });
    files.sort();
    if files.is_empty() {
        return Err(Failure::invalid(format!("the folder `{name}` holds no manifest")));
    }
    Ok(files)
}

fn read_one(file: &Path) -> Result<Vec<Document>> {
    let name = file.display().to_string();
    let mut bytes = Vec::new();
    let unreadable = |error: std::io::Error| Failure::invalid(format!("cannot read `{name}`: {error}"));
    if name == "-" {
        std::io::stdin().lock().read_to_end(&mut bytes).map_err(unreadable)?;
    } else {
        bytes = std::fs::read(file).map_err(unreadable)?;
    }
    let text = String::from_utf8_lossy(&bytes);
    let documents = ergon_api::manifest::parse_bytes(&bytes, &name)
        .map_err(|problems| Failure::diagnostics(&problems, &text))?;
    let problems: Vec<_> = documents.iter().flat_map(Document::check).collect();
    if !problems.is_empty() {
        return Err(Failure::diagnostics(&problems, &text));
    }
    if documents.is_empty() {
        return Err(Failure::invalid(format!("`{name}` holds no object")));
    }
    Ok(documents)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(text: &str) -> Failure {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("run.yaml");
        std::fs::write(&file, text).unwrap();
        read(&[file]).unwrap_err()
    }

    #[test]
    fn a_wrong_field_is_shown_where_it_stands() {
        let failure = failure(
            "apiVersion: ergon.dev/v1\nkind: Task\nmetadata: {name: a}\nspec:\n  steps:\n  - name: s\n    imgae: x\n",
        );
        assert_eq!(failure.code, crate::Code::Invalid);
        assert!(failure.message.contains("unknown field `imgae`"), "{}", failure.message);
        assert!(failure.message.contains("run.yaml:7:5"), "{}", failure.message);
        assert!(failure.message.contains("^^^^^"), "{}", failure.message);
    }

    #[test]
    fn a_folder_is_the_manifests_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        assert!(read(&[folder.path()]).unwrap_err().message.ends_with("holds no manifest"));
        put("b.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n");
        put("a.yml", "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n");
        put("test.yaml", "apiVersion: ergon.dev/v1\nkind: Test\n");
        put("values.yaml", "- a\n");
        put("README.md", "words");
        std::fs::create_dir(folder.path().join("below.yaml")).unwrap();
        let names: Vec<_> =
            read(&[folder.path()]).unwrap().iter().map(|it| it.object.name().to_owned()).collect();
        assert_eq!(names, ["a", "b"]);
        put("c.yaml", "a: [\n");
        assert!(read(&[folder.path()]).unwrap_err().message.contains("c.yaml:1:4"));
    }

    #[test]
    fn files_that_are_not_there_or_empty_are_refused() {
        assert!(failure("# nothing\n").message.contains("holds no object"));
        assert!(read(&["/nowhere/at/all.yaml"]).unwrap_err().message.starts_with("cannot read"));
    }
}
