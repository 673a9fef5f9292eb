//! `ergon run --watch`: again whenever a file changes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How often it is looked.
const LOOK_AGAIN: Duration = Duration::from_millis(300);
/// How many files are looked at: a folder with more is no folder of sources.
const MOST_FILES: usize = 20_000;

/// When each file changed last, and how large it was.
pub type Seen = BTreeMap<PathBuf, (Option<SystemTime>, u64)>;

/// Looks at files, and at all that is in folders. What begins with a dot is left out, and so are links.
pub fn look<'a>(places: impl Iterator<Item = &'a Path>) -> Seen {
    let mut seen = Seen::new();
    let mut open: Vec<PathBuf> = places.map(Path::to_owned).collect();
    while let Some(path) = open.pop() {
        let Ok(found) = path.metadata() else { continue };
        if found.is_dir() {
            let entries = std::fs::read_dir(&path).into_iter().flatten().flatten();
            let plain = entries.filter(|entry| {
                !entry.file_name().as_encoded_bytes().starts_with(b".")
                    && entry.file_type().is_ok_and(|kind| !kind.is_symlink())
            });
            open.extend(plain.map(|entry| entry.path()));
        } else if seen.len() < MOST_FILES {
            seen.insert(path, (found.modified().ok(), found.len()));
        }
    }
    seen
}

/// Waits for a change, and gives the files that changed.
pub async fn change<'a>(places: impl Iterator<Item = &'a Path> + Clone, before: &Seen) -> Vec<PathBuf> {
    loop {
        tokio::time::sleep(LOOK_AGAIN).await;
        let changed = changed(before, &look(places.clone()));
        if !changed.is_empty() {
            return changed;
        }
    }
}

fn changed(before: &Seen, now: &Seen) -> Vec<PathBuf> {
    let other = now.iter().filter(|(path, found)| before.get(*path) != Some(found)).map(|(path, _)| path);
    other.chain(before.keys().filter(|path| !now.contains_key(*path))).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_changed_or_gone_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| std::fs::write(folder.path().join(path), text).unwrap();
        let now = || look([folder.path(), Path::new("/nowhere/at/all")].into_iter());
        std::fs::create_dir(folder.path().join("a")).unwrap();
        put("a/b", "1");
        let first = now();
        put(".hidden", "1");
        assert_eq!(changed(&first, &now()), [] as [PathBuf; 0]);
        put("a/b", "22");
        assert_eq!(changed(&first, &now()), [folder.path().join("a/b")]);
        let second = now();
        put("a/c", "");
        assert_eq!(changed(&second, &now()), [folder.path().join("a/c")]);
        std::fs::remove_file(folder.path().join("a/c")).unwrap();
        std::fs::remove_file(folder.path().join("a/b")).unwrap();
        put("d", "");
        assert_eq!(changed(&second, &now()), ["d", "a/b"].map(|path| folder.path().join(path)));
    }
}
