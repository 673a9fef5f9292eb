//! Decisions on whole runs, as data: each file under `runs/` and `taskruns/` is a case.

#![expect(clippy::unwrap_used, reason = "a case that cannot be read is a failure of the test")]

mod alike;
mod hostile;
mod remote;
mod runs;
mod shared;
mod taskruns;
mod vectors;

use std::path::{Path, PathBuf};

use ergon_api::Config;
use ergon_api::config::ConfigName;

/// The cases in a folder beside this file, in the order of their names.
fn cases(folder: &str) -> Vec<(String, serde_json::Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it").join(folder);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no cases in {}", folder.display());
    files
        .into_iter()
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            let value = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            (name, value)
        })
        .collect()
}

/// The settings that a case names under `config`: ConfigMaps with their keys.
fn config(case: &serde_json::Value) -> Config {
    let mut config = Config::default();
    for (map, data) in case["config"].as_object().into_iter().flatten() {
        let name = ConfigName::of(map).unwrap_or_else(|| panic!("{map} is no ConfigMap of settings"));
        let data = serde_json::from_value(data.clone()).unwrap();
        assert_eq!(config.take(name, &data), []);
    }
    config
}

/// Compares what came out with the case's `expect`, which may leave out what it does not care for.
fn compare(
    case: &str,
    place: &str,
    expected: &serde_json::Value,
    found: &serde_json::Value,
    problems: &mut Vec<String>,
) {
    match (expected, found) {
        (serde_json::Value::Object(expected), serde_json::Value::Object(found)) => {
            for (key, value) in expected {
                let found = found.get(key).unwrap_or(&serde_json::Value::Null);
                compare(case, &format!("{place}.{key}"), value, found, problems);
            }
        }
        // Single items of a list, by their numbers.
        (serde_json::Value::Object(expected), serde_json::Value::Array(found)) => {
            for (at, value) in expected {
                let found = at.parse().ok().and_then(|at: usize| found.get(at));
                compare(
                    case,
                    &format!("{place}[{at}]"),
                    value,
                    found.unwrap_or(&serde_json::Value::Null),
                    problems,
                );
            }
        }
        (expected, found) if expected == found => {}
        _ => problems.push(format!("{case}{place}: expected {expected}, found {found}")),
    }
}
