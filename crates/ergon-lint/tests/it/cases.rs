//! Folders of manifests and what is said of them. `UPDATE=1` writes it anew.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use ergon_lint::{Options, Set, Source, lint, mend};

fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == end))
        .collect();
    files.sort();
    files
}

/// What is found, and how the files are mended.
fn said(folder: &Path) -> String {
    let sources: Vec<Source> = files(folder, "yaml")
        .iter()
        .map(|path| Source::read(path.file_name().unwrap().to_str().unwrap(), &fs::read(path).unwrap()))
        .collect();
    let options = Options::default();
    let mut text = String::new();
    for found in lint(&sources, &[], &options) {
        let source = sources.iter().find(|source| source.name == found.file).unwrap();
        let range =
            source.lines.offset(&source.text, found.start)..source.lines.offset(&source.text, found.end);
        let _ = writeln!(
            text,
            "{}:{}:{}: {}[{}]: {}",
            found.file, found.start.line, found.start.column, found.level, found.rule.name, found.message
        );
        let _ = writeln!(text, "    at {:?} in {}", &source.text[range], found.path);
        if let Some(help) = &found.help {
            let _ = writeln!(text, "    help: {help}");
        }
        if let Some(fix) = &found.fix {
            let _ = writeln!(text, "    fix: {}{}", fix.title, if fix.is_sure { "" } else { "?" });
        }
    }
    let set = Set::of(sources.iter());
    for source in &sources {
        if let Some(fixed) = mend(source, &set, &options) {
            let _ = writeln!(text, "\n=== {} with {} mended", source.name, fixed.mended);
            text.push_str(&fixed.text);
        }
    }
    text
}

#[test]
fn what_is_said_is_as_expected() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut folders: Vec<PathBuf> = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    let is_update = std::env::var_os("UPDATE").is_some_and(|value| value == "1");
    let mut wrong = Vec::new();
    for folder in folders.iter().filter(|folder| folder.is_dir()) {
        let text = said(folder);
        let stored = folder.join("expected.txt");
        if is_update {
            fs::write(&stored, &text).unwrap();
        } else if fs::read_to_string(&stored).unwrap_or_default() != text {
            wrong.push(format!("{}:\n{text}", folder.display()));
        }
    }
    assert!(folders.len() > 5);
    assert!(wrong.is_empty(), "not as stored; UPDATE=1 writes it anew\n{}", wrong.join("\n"));
}
