//! Removing what programs and images left.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Removes a directory, also when a program took the permission away, as overlayfs does with its own.
pub(crate) fn remove_tree(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(dir);
            fs::remove_dir_all(dir)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn open_up(dir: &Path) {
    let _ = fs::set_permissions(dir, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_without_permissions_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("a");
        fs::create_dir_all(tree.join("b/c")).unwrap();
        fs::set_permissions(tree.join("b"), fs::Permissions::from_mode(0o000)).unwrap();
        open_up(&tree);
        assert_eq!(fs::metadata(tree.join("b")).unwrap().permissions().mode() & 0o777, 0o700);
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
    }
}
