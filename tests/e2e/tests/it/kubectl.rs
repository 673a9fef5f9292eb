//! What users of kubectl see.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use e2e::{Cluster, in_space, in_space_alone};
use ergon_api::TaskRun;
use serde_json::Value;

#[tokio::test]
async fn explain_tells_what_fields_are_for() -> Result<()> {
    let Some(cluster) = Cluster::connect().await? else { return Ok(()) };
    for (field, version, words) in [
        ("pipelinerun.spec", "ergon.dev/v1", ["pipelineRef", "timeouts", "The Pipeline to run"]),
        ("taskrun.spec.timeout", "tekton.dev/v1", ["timeout", "string", "How long one attempt may take"]),
        ("task.spec.steps.onError", "ergon.dev/v1", ["onError", "continue", "stopAndFail"]),
        ("pipeline.spec.tasks.runAfter", "tekton.dev/v1", ["runAfter", "[]string", "DESCRIPTION"]),
    ] {
        let said = cluster.kubectl(&["explain", field, "--api-version", version], "").await?.ok()?;
        for word in words {
            assert!(said.contains(word), "{field} of {version} does not say `{word}`:\n{said}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn short_names_and_categories() -> Result<()> {
    in_space("short", async |space| {
        let text = "
apiVersion: ergon.dev/v1
kind: TaskRun
metadata: {name: short}
spec:
  taskSpec:
    steps: [{name: work, image: localhost/busybox:1, script: 'true'}]
";
        space.run::<TaskRun>(text).await?;
        for names in ["etr", "ergon", "taskruns.ergon.dev"] {
            let table = space.kubectl(&["get", names]).await?;
            assert!(table.contains("short") && table.contains("Succeeded"), "{names}: {table}");
        }
        for names in ["epr", "tr", "pr", "etask,epipe"] {
            space.kubectl(&["get", names]).await?;
        }
        Ok(())
    })
    .await
}

/// kubectl's own check of fields, before anything is sent to a webhook.
#[tokio::test]
async fn an_unknown_field_is_an_error_of_kubectl() -> Result<()> {
    in_space("strict", async |space| {
        let text = "
apiVersion: ergon.dev/v1
kind: Task
metadata: {name: misspelt}
spec:
  steps: [{name: work, image: localhost/busybox:1, scirpt: 'true'}]
";
        let create = ["--namespace", space.name(), "create", "-f", "-"];
        let said = space.cluster().kubectl(&create, text).await?;
        assert_ne!(said.code, Some(0));
        assert!(said.stderr.contains("unknown field \"spec.steps[0].scirpt\""), "{}", said.stderr);
        Ok(())
    })
    .await
}

/// Everything that `ergon install` puts into a cluster.
const INSTALLED: &str = "namespaces,customresourcedefinitions,serviceaccounts,clusterroles,clusterrolebindings,roles,\
                         rolebindings,services,deployments,mutatingwebhookconfigurations,\
                         validatingwebhookconfigurations";

#[tokio::test]
async fn installing_again_changes_nothing() -> Result<()> {
    // Alone: where the cluster was installed with other options, this replaces the controller.
    in_space_alone("install", async |space| {
        let cluster = space.cluster();
        let deployment = ["--namespace", "ergon-system", "get", "deployment", "ergon-controller", "-o"];
        let path = "jsonpath={.spec.template.spec.containers[0].image}";
        let image = cluster.kubectl(&[&deployment[..], &[path]].concat(), "").await?.ok()?;
        let before = versions(cluster).await?;
        ensure!(before.len() > 20, "too little is installed: {before:?}");
        cluster.ergon(&["install", "--image", image.trim()], &[]).await?.ok()?;
        assert_eq!(versions(cluster).await?, before);
        Ok(())
    })
    .await
}

/// The version of what is wanted of each object: its generation, or for kinds without a status its resource version.
async fn versions(cluster: &Cluster) -> Result<BTreeMap<String, String>> {
    let ours = ["--selector", "app.kubernetes.io/part-of=ergon", "-o", "json"];
    let get = [&["--namespace", "ergon-system", "get", INSTALLED], &ours[..]].concat();
    let list: Value = serde_json::from_str(&cluster.kubectl(&get, "").await?.ok()?)?;
    let items = list["items"].as_array().context("kubectl printed no list")?;
    let version = |item: &Value| {
        let metadata = &item["metadata"];
        let known = metadata.get("generation").unwrap_or(&metadata["resourceVersion"]);
        (format!("{} {}", item["kind"], metadata["name"]), known.to_string())
    };
    Ok(items.iter().map(version).collect())
}
