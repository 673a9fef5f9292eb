//! Rules about crates and files: which crate may not reach which, and how long a file may be.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// Crates, and what they must not reach through any chain of dependencies.
const UNREACHABLE: [(&str, &[&str]); 8] = [
    ("ergon-api", &["tokio", "kube-client", "hyper"]),
    ("ergon-author", &["tokio", "kube-client", "hyper"]),
    ("ergon-engine", &["tokio", "kube-client", "hyper"]),
    ("ergon-lint", &["tokio", "kube-client", "hyper"]),
    ("ergon-shim", &["tokio", "kube-client", "kube-core", "hyper", "k8s-openapi"]),
    ("ergon-cel", &["tokio", "kube-client", "kube-core", "hyper", "k8s-openapi"]),
    ("ergon-template", &["tokio", "kube-client", "kube-core", "hyper", "k8s-openapi"]),
    ("ergon-wire", &["tokio", "kube-client", "kube-core", "hyper", "k8s-openapi"]),
];
/// No source file has more lines.
const MAX_LINES: usize = 900;

/// Checks all rules; names every breach.
pub(crate) fn run() -> Result<()> {
    let root = crate::root();
    let mut breaches = dependencies(&metadata(&root)?)?;
    for folder in ["crates", "tests"] {
        lengths(&root, &root.join(folder), &mut breaches)?;
    }
    if breaches.is_empty() { Ok(()) } else { bail!("{}", breaches.join("\n")) }
}

fn metadata(root: &Path) -> Result<Value> {
    // Only the dependencies of this platform: those of others are not on this machine.
    let version = Command::new("rustc").arg("-vV").output().context("cannot run rustc")?;
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--offline", "--filter-platform", host])
        .current_dir(root)
        .output()
        .context("cannot run cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).context("cargo metadata printed no JSON")
}

/// Chains of dependencies that must not be. Build and test dependencies are not part of what is shipped.
fn dependencies(metadata: &Value) -> Result<Vec<String>> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let names: BTreeMap<String, String> = list(&metadata["packages"])
        .iter()
        .map(|package| (text(&package["id"]), text(&package["name"])))
        .collect();
    let edges: BTreeMap<String, Vec<String>> = list(&metadata["resolve"]["nodes"])
        .iter()
        .map(|node| {
            let normal = list(&node["deps"])
                .iter()
                .filter(|dependency| list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"].is_null()))
                .map(|dependency| text(&dependency["pkg"]))
                .collect();
            (text(&node["id"]), normal)
        })
        .collect();
    let mut breaches = Vec::new();
    for (from, forbidden) in UNREACHABLE {
        let start = names
            .iter()
            .find(|(_, name)| *name == from)
            .with_context(|| format!("there is no crate {from}"))?
            .0;
        let mut seen = BTreeSet::from([start.clone()]);
        let mut open = vec![vec![start.clone()]];
        while let Some(chain) = open.pop() {
            let Some(last) = chain.last() else { continue };
            if names.get(last).is_some_and(|name| forbidden.contains(&name.as_str())) {
                let shown: Vec<&str> =
                    chain.iter().filter_map(|id| names.get(id)).map(String::as_str).collect();
                breaches.push(format!(
                    "{from} must not reach {}: {}",
                    shown[shown.len() - 1],
                    shown.join(" -> ")
                ));
                continue;
            }
            for next in edges.get(last).into_iter().flatten() {
                if seen.insert(next.clone()) {
                    open.push([chain.clone(), vec![next.clone()]].concat());
                }
            }
        }
    }
    Ok(breaches)
}

fn lengths(root: &Path, folder: &Path, breaches: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            lengths(root, &path, breaches)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let lines = fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?
                .lines()
                .count();
            if lines > MAX_LINES {
                let shown = path.strip_prefix(root).unwrap_or(&path).display();
                breaches.push(format!("{shown} has {lines} lines, at most {MAX_LINES} are allowed"));
            }
        }
    }
    Ok(())
}
