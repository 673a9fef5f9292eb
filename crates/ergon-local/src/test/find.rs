//! Which files have tests.

use std::path::{Path, PathBuf};

use super::{KIND, TestError};

/// The folder that tests are in.
const FOLDER: &str = "tests";

/// The files with tests: of a folder, those in all `tests` folders below it; a file itself is one.
///
/// # Errors
/// Something that is not there or cannot be read.
pub fn find(places: &[PathBuf]) -> Result<Vec<PathBuf>, TestError> {
    let mut found = Vec::new();
    for place in places {
        if place.is_dir() {
            walk(place, is_tests(place), &mut found)?;
        } else if place.is_file() {
            found.push(place.clone());
        } else {
            return Err(TestError::Unreadable(format!("there is no file or folder `{}`", place.display())));
        }
    }
    found.dedup();
    Ok(found)
}

fn is_tests(folder: &Path) -> bool {
    let named = |folder: &Path| folder.file_name().is_some_and(|name| name == FOLDER);
    // `.` has no name of its own.
    named(folder) || folder.canonicalize().is_ok_and(|folder| named(&folder))
}

fn walk(folder: &Path, inside: bool, found: &mut Vec<PathBuf>) -> Result<(), TestError> {
    let unreadable = |error| TestError::Unreadable(format!("cannot read `{}`: {error}", folder.display()));
    let mut entries = std::fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, _>>())
        .map_err(unreadable)?;
    entries.sort();
    for path in entries {
        let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        // Links are not followed: they may lead around.
        if hidden || path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            walk(&path, inside || is_tests(&path), found)?;
        } else if inside && is_yaml(&path) && is_test(&path)? {
            found.push(path);
        }
    }
    Ok(())
}

pub(super) fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|end| ["yaml", "yml", "json"].iter().any(|known| end == *known))
}

/// Whether the file's first object is a test: other files in the folder are what tests use.
fn is_test(path: &Path) -> Result<bool, TestError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| TestError::Unreadable(format!("cannot read `{}`: {error}", path.display())))?;
    match ergon_api::manifest::head(&text) {
        Ok(head) => Ok(head.is_some_and(|(version, kind)| kind == KIND && version.starts_with("ergon.dev/"))),
        Err(problem) => {
            let problem = ergon_api::Diagnostic { file: path.display().to_string(), ..problem };
            Err(TestError::Wrong { problems: vec![problem], text })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_found_in_their_folders() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let test = "apiVersion: ergon.dev/v1\nkind: Test\n";
        put("a/task.yaml", "apiVersion: ergon.dev/v1\nkind: Task\n");
        put("a/tests/one.yaml", test);
        put("a/tests/more/two.yml", test);
        put("a/tests/values.yaml", "a: b\n");
        put("a/tests/notes.txt", test);
        put("b/other.yaml", test);
        put(".hidden/tests/three.yaml", test);
        let names = |places: &[PathBuf]| -> Vec<String> {
            let found = find(places).unwrap();
            let relative = found.iter().map(|path| path.strip_prefix(root.path()).unwrap());
            relative.map(|path| path.display().to_string()).collect()
        };
        assert_eq!(names(&[root.path().into()]), ["a/tests/more/two.yml", "a/tests/one.yaml"]);
        assert_eq!(names(&[root.path().join("a/tests/more")]), Vec::<String>::new());
        assert_eq!(names(&[root.path().join("b/other.yaml")]), ["b/other.yaml"]);
        assert!(find(&[root.path().join("none")]).is_err());
        put("a/tests/wrong.yaml", "a: [\n");
        let error = find(&[root.path().into()]).unwrap_err().to_string();
        assert!(error.contains("a/tests/wrong.yaml:1:4: a: not valid YAML"), "{error}");
    }
}
