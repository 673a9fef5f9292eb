//! The same containers without root: the tests start themselves again as nobody.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

const NOBODY: u32 = 65534;

#[test]
fn the_tests_of_containers_pass_for_somebody_who_is_not_root() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: not root, so the tests themselves show it");
        return;
    }
    // The build directory may be closed to others.
    let temp = tempfile::tempdir().unwrap();
    fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let tests = temp.path().join("tests");
    let helper = temp.path().join("ergon-container");
    fs::copy(std::env::current_exe().unwrap(), &tests).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_ergon-container"), &helper).unwrap();
    let scratch = temp.path().join("scratch");
    fs::create_dir(&scratch).unwrap();
    std::os::unix::fs::chown(&scratch, Some(NOBODY), Some(NOBODY)).unwrap();

    let done = Command::new(&tests)
        .args(["containers::", "--nocapture"])
        .env("TMPDIR", &scratch)
        .env("ERGON_TEST_HELPER", &helper)
        .current_dir(&scratch)
        .uid(NOBODY)
        .gid(NOBODY)
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{out}\n{err}");
    assert!(out.contains("containers::many_containers_at_once"), "{out}");
    if let Some(reason) = err.lines().find(|line| line.starts_with("skipped:")) {
        eprintln!("{reason}");
    }
}
