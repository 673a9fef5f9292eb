//! What the cluster must refuse, with words that help: each file in `data/refused` says which.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use e2e::{Space, documents, expectation, in_group, in_space};
use ergon_api::{Group, PipelineRun, TaskRun};
use kube::api::ListParams;
use serde_json::json;

/// The YAML files of a folder, by name.
pub fn files(folder: &str) -> Result<Vec<PathBuf>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(folder);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .with_context(|| folder.display().to_string())?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    anyhow::ensure!(!files.is_empty(), "{} is empty", folder.display());
    Ok(files)
}

#[tokio::test]
async fn manifests_of_ergon() -> Result<()> {
    in_space("refused", async |space| refused(space, Group::Ergon).await).await
}

#[tokio::test]
async fn manifests_of_tekton() -> Result<()> {
    in_space("refused-tekton", async |space| refused(space, Group::Tekton).await).await
}

async fn refused(space: &Space, group: Group) -> Result<()> {
    let mut wrong = Vec::new();
    for file in files("refused")? {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&file)?;
        // The schemas of `tekton.dev` are as open as Tekton's, so other words may come first there.
        let of_group = expectation(&text, &format!("expect in {group}"));
        let expected = of_group
            .or_else(|| expectation(&text, "expect"))
            .with_context(|| format!("{name}: no `# expect: ` line"))?;
        // Tekton admits it, and the run fails.
        if expected == "acceptance" {
            continue;
        }
        let object =
            documents(&in_group(&text, group))?.pop().with_context(|| format!("{name}: is empty"))?;
        match space.create(&object).await {
            Ok(_) => wrong.push(format!("{name}: was accepted")),
            Err(message) if message.contains(expected) => {}
            Err(message) => wrong.push(format!("{name}: not `{expected}`: {message}")),
        }
    }
    assert!(wrong.is_empty(), "{} of {group}:\n{}", wrong.len(), wrong.join("\n"));
    let params = ListParams::default();
    assert!(space.ours::<TaskRun>(group).list(&params).await?.items.is_empty());
    assert!(space.ours::<PipelineRun>(group).list(&params).await?.items.is_empty());
    space.no_pods().await
}

/// The API server takes 3 MB and stores 1.5 MiB: what is larger must be refused in words, not kill anything.
#[tokio::test]
async fn a_manifest_of_three_megabytes() -> Result<()> {
    in_space("huge", async |space| {
        let run = |bytes: usize| {
            json!({
                "apiVersion": "ergon.dev/v1", "kind": "TaskRun", "metadata": {"name": "huge"},
                "spec": {"taskSpec": {"steps": [{
                    "name": "huge", "image": "localhost/busybox:1", "script": format!("true\n#{}", "x".repeat(bytes)),
                }]}},
            })
        };
        for (bytes, expected) in [(3_200_000, "too large"), (1_700_000, "a cluster can store at most")] {
            let message = space.create(&run(bytes)).await.err().unwrap_or_default();
            assert!(message.contains(expected), "{bytes} bytes: {message}");
        }
        space.no_pods().await
    })
    .await
}
