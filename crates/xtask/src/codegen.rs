//! Files that are made from the types in `ergon-api`, and from the catalog's Tasks.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use ergon_api::{Group, crd, crds, reference};
use serde_json::json;

/// Folders that hold nothing but made files, so that a file of a kind that is gone is found.
const FOLDERS: [&str; 4] = ["crds/ergon", "crds/tekton", "docs/reference", "docs/schemas"];

/// Writes the files, or with `check` compares them.
pub(crate) fn run(check: bool) -> Result<()> {
    let files = make()?;
    let root = crate::root();
    let mut differing = Vec::new();
    for (path, text) in &files {
        let full = root.join(path);
        if fs::read_to_string(&full).ok().as_deref() == Some(text) {
            continue;
        }
        differing.push(path.clone());
        if !check {
            let folder = full.parent().context("a file has a folder")?;
            fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
            fs::write(&full, text).with_context(|| format!("cannot write {}", full.display()))?;
        }
    }
    for stale in stale(&root, &files)? {
        differing.push(stale.clone());
        if !check {
            fs::remove_file(root.join(&stale))
                .with_context(|| format!("cannot remove {}", stale.display()))?;
        }
    }
    if check && !differing.is_empty() {
        let names: Vec<String> = differing.iter().map(|path| path.display().to_string()).collect();
        bail!("not as the types would make them: {}\nrun `cargo run -p xtask -- codegen`", names.join(", "));
    }
    Ok(())
}

fn make() -> Result<BTreeMap<PathBuf, String>> {
    let mut files = BTreeMap::new();
    // As `ergon install` without options has it; the controller adds the authority.
    let conversion = serde_json::from_value(json!({"service": {
        "name": "ergon-controller", "namespace": "ergon-system", "path": "/convert", "port": 9443}}))
    .context("the address of the conversion webhook")?;
    for (group, folder) in [(Group::Ergon, "crds/ergon"), (Group::Tekton, "crds/tekton")] {
        for definition in crds(group, Some(&conversion)) {
            let yaml = serde_saphyr::to_string(&definition).context("cannot write a definition as YAML")?;
            let text = format!("# Made by `cargo run -p xtask -- codegen`. Do not edit.\n{yaml}");
            files.insert(Path::new(folder).join(format!("{}.yaml", definition.spec.names.plural)), text);
        }
    }
    for kind in crd::kinds() {
        let name = format!("{}.md", kind.kind.to_lowercase());
        files.insert(Path::new("docs/reference").join(name), reference::markdown(kind));
    }
    for (name, schema) in crate::schemas::all() {
        let text = serde_json::to_string_pretty(&schema).context("cannot write a schema")?;
        files.insert(Path::new("docs/schemas").join(name), text + "\n");
    }
    files.extend(crate::catalog::readmes(&crate::root())?);
    Ok(files)
}

fn stale(root: &Path, files: &BTreeMap<PathBuf, String>) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for folder in FOLDERS {
        let Ok(entries) = fs::read_dir(root.join(folder)) else { continue };
        for entry in entries {
            let path = Path::new(folder).join(entry?.file_name());
            // The schema of tests is made where their types are.
            if !files.contains_key(&path) && path != Path::new("docs/schemas/test.json") {
                found.push(path);
            }
        }
    }
    Ok(found)
}
