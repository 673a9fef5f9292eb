//! Reading the files that commands are given.

use std::io::Read;
use std::path::Path;

use ergon_api::Document;

use crate::failure::{Failure, Result};

/// Reads all objects of the files, in order; `-` is standard input.
///
/// # Errors
/// Files that cannot be read, and everything that is wrong in them, with its place.
pub fn read(files: &[impl AsRef<Path>]) -> Result<Vec<Document>> {
    let mut documents = Vec::new();
    for file in files {
        documents.extend(read_one(file.as_ref())?);
    }
    Ok(documents)
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
    fn files_that_are_not_there_or_empty_are_refused() {
        assert!(failure("# nothing\n").message.contains("holds no object"));
        assert!(read(&["/nowhere/at/all.yaml"]).unwrap_err().message.starts_with("cannot read"));
    }
}
