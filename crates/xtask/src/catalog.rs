//! The tables in the README files of the catalog, made from its Tasks.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use ergon_api::{Object, ParamSpec, ParamValue, Task};

/// What is below this line is made.
const MARK: &str = "<!-- Made by `cargo run -p xtask -- codegen` from task.yaml. -->\n";

/// The README files, whole: what people wrote, and the tables below.
pub(crate) fn readmes(root: &Path) -> Result<BTreeMap<PathBuf, String>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(root.join("catalog")).context("cannot read catalog")? {
        let folder = entry?.path();
        if !folder.join("task.yaml").is_file() {
            continue;
        }
        let path = folder.strip_prefix(root).unwrap_or(&folder).join("README.md");
        let read =
            |path: &Path| fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
        let text = read(&root.join(&path))?;
        let (written, _) = text.split_once(MARK).with_context(|| format!("{}: no mark", path.display()))?;
        let yaml = read(&folder.join("task.yaml"))?;
        let documents = ergon_api::parse(&yaml, "task.yaml").unwrap_or_default();
        let [Object::Task(task)] = documents.iter().map(|it| &it.object).collect::<Vec<_>>()[..] else {
            bail!("{} has not one Task", folder.display());
        };
        files.insert(path, format!("{written}{MARK}{}", tables(task)));
    }
    Ok(files)
}

fn tables(task: &Task) -> String {
    let mut out = String::new();
    let line = |text: &Option<String>| text.as_deref().unwrap_or_default().trim().replace(['\n', '|'], " ");
    out += "\n## Parameters\n\n| Name | Type | Default | |\n|---|---|---|---|\n";
    for param in &task.spec.params {
        let mut what = line(&param.description);
        if !param.enum_.is_empty() {
            let values: Vec<String> = param.enum_.iter().map(|value| format!("`{value}`")).collect();
            what = format!("{what} One of {}.", values.join(", "));
        }
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {} |",
            param.name,
            param.effective_type(),
            default(param),
            what.trim()
        );
    }
    if !task.spec.workspaces.is_empty() {
        out += "\n## Workspaces\n\n| Name | | |\n|---|---|---|\n";
        for workspace in &task.spec.workspaces {
            let optional = if workspace.optional.unwrap_or_default() { "optional" } else { "" };
            let _ = writeln!(out, "| `{}` | {optional} | {} |", workspace.name, line(&workspace.description));
        }
    }
    if !task.spec.results.is_empty() {
        out += "\n## Results\n\n| Name | |\n|---|---|\n";
        for result in &task.spec.results {
            let _ = writeln!(out, "| `{}` | {} |", result.name, line(&result.description));
        }
    }
    out
}

fn default(param: &ParamSpec) -> String {
    match &param.default {
        None => "needed".to_owned(),
        Some(ParamValue::String(text)) if text.is_empty() => "empty".to_owned(),
        Some(ParamValue::String(text)) => format!("`{text}`"),
        Some(ParamValue::Array(items)) if items.is_empty() => "none".to_owned(),
        Some(ParamValue::Array(items)) => format!("`[{}]`", items.join(", ")),
        Some(ParamValue::Object(map)) => format!("`{}`", serde_json::to_string(map).unwrap_or_default()),
        Some(ParamValue::Secret(_)) => "a Secret".to_owned(),
    }
}
