//! `ergon explain plan`, as data: each `plans/NAME.yaml` is told as `plans/NAME.txt` says. `UPDATE=1` writes that anew.

use std::path::{Path, PathBuf};
use std::process::Command;

fn explain(file: &Path, more: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_ergon"))
        .args(["explain", "plan"])
        .arg(file)
        .args(more)
        .env_clear()
        .output()
        .unwrap();
    // Mistakes are told as well.
    [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/plans")
}

#[test]
fn plans_are_told_with_their_reasons() {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let told = explain(&file, &[]);
        let expected = file.with_extension("txt");
        if std::env::var_os("UPDATE").is_some_and(|value| value == "1") {
            std::fs::write(&expected, &told).unwrap();
        }
        let stored = std::fs::read_to_string(&expected).unwrap_or_default();
        assert!(stored == told, "{}:\n{told}", file.display());
    }
}

#[test]
fn a_plan_can_be_read_by_programs_and_takes_values() {
    let file = folder().join("apart.yaml");
    let plan: serde_json::Value = serde_json::from_str(&explain(&file, &["-o", "json"])).unwrap();
    assert_eq!(plan["pods"][0]["tasks"], serde_json::json!(["a"]));
    assert_eq!(
        plan["notShared"][0]["why"],
        "`spec.containers[1].image` depends on a result of a task in that pod"
    );
    assert_eq!(plan["notShared"][0]["after"], "a");
    let told = explain(&file, &["-p", "nothing=1"]);
    assert!(told.contains("there is no parameter `nothing`"), "{told}");
}
