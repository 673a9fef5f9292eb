//! `docs/schemas`: what editors check manifests against. `UPDATE=1` writes the one of tests anew.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn schema(name: &str) -> Value {
    let text = std::fs::read_to_string(root().join("docs/schemas").join(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// All manifests below these folders.
fn manifests(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            manifests(&path, found);
        } else if path.extension().is_some_and(|end| end == "yaml") && !path.ends_with("expect.yaml") {
            found.push(path);
        }
    }
}

#[test]
fn the_schema_of_tests_is_up_to_date() {
    let mut made = schemars::schema_for!(ergon_local::test::Definition).to_value();
    made["title"] = "Test".into();
    made["properties"]["apiVersion"]["const"] = "ergon.dev/v1".into();
    made["properties"]["kind"]["const"] = "Test".into();
    // These may be written short, as one word.
    let expect = &mut made["$defs"]["Expect"]["properties"];
    for place in ["/tasks/additionalProperties", "/log/items"] {
        let whole = expect.pointer_mut(place).unwrap();
        *whole = json!({"anyOf": [{"type": "string"}, whole.take()]});
    }
    let text = serde_json::to_string_pretty(&made).unwrap() + "\n";
    let path = root().join("docs/schemas/test.json");
    if std::env::var_os("UPDATE").is_some_and(|value| value == "1") {
        std::fs::write(&path, &text).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(stored == text, "docs/schemas/test.json is out of date: run this test with UPDATE=1");
}

#[test]
fn manifests_name_the_schema_that_they_fit() {
    let mut files = Vec::new();
    manifests(&root().join("examples"), &mut files);
    manifests(&root().join("catalog"), &mut files);
    assert!(files.len() > 10);
    let mut resources = jsonschema::Registry::new();
    for kind in ergon_api::crd::kinds() {
        let name = format!("{}.json", kind.kind.to_lowercase());
        resources = resources.add(format!("file:///schemas/{name}"), schema(&name)).unwrap();
    }
    let resources = resources.prepare().unwrap();
    let validators: Vec<(&str, jsonschema::Validator)> = ["ergon.json", "test.json"]
        .into_iter()
        .map(|name| {
            let mut schema = schema(name);
            schema["$id"] = format!("file:///schemas/{name}").into();
            let options = jsonschema::options().with_registry(&resources);
            (name, options.build(&schema).unwrap())
        })
        .collect();
    let mut wrong = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        if !["ergon.dev/", "tekton.dev/"].iter().any(|group| text.contains(&format!("apiVersion: {group}"))) {
            continue;
        }
        let named = text.lines().find_map(|line| line.strip_prefix("# yaml-language-server: $schema="));
        let Some(named) = named else {
            wrong.push(format!("{}: no line `# yaml-language-server: $schema=…`", file.display()));
            continue;
        };
        let target = file.parent().unwrap().join(named).canonicalize().unwrap_or_default();
        let validator = validators.iter().find(|(name, _)| target == root().join("docs/schemas").join(name));
        let Some((_, validator)) = validator else {
            wrong.push(format!("{}: there is no schema {named}", file.display()));
            continue;
        };
        for document in text.split("\n---") {
            let value: Value = serde_saphyr::from_str(document).unwrap();
            for error in validator.iter_errors(&value).filter(|_| !value.is_null()) {
                wrong.push(format!("{}: {}: {error}", file.display(), error.instance_path()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // And what does not fit is found.
    let (_, any) = &validators[0];
    let task = |field: &str| {
        json!({"apiVersion": "ergon.dev/v1", "kind": "Task", "metadata": {"name": "t"},
            "spec": {"steps": [{field: "x", "command": ["x"]}]}})
    };
    assert!(any.is_valid(&task("image")));
    assert!(!any.is_valid(&task("imgae")));
    assert!(any.is_valid(&json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {}})));
}
