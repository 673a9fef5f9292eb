//! Where a run on this machine may end otherwise than in a cluster: only there, and still so.

use anyhow::{Context as _, Result, ensure};
use e2e::{Ran as _, Space, documents, in_space, root};
use ergon_api::TaskRun;
use serde::Deserialize;
use serde_json::Value;

use super::examples::local_images;

/// One difference that is allowed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Difference {
    /// A TaskRun, beside the list.
    file: String,
    why: String,
    here: End,
    there: End,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    succeeded: bool,
    /// A text in the message.
    #[serde(default)]
    message: String,
}

#[tokio::test]
async fn what_may_differ_does_and_as_it_is_written_down() -> Result<()> {
    in_space("parity", async |space| {
        let folder = root().join("tests/e2e/parity");
        let list: Vec<Difference> =
            serde_saphyr::from_str(&std::fs::read_to_string(folder.join("list.yaml"))?)?;
        let mut wrong = Vec::new();
        for difference in &list {
            let file = folder.join(&difference.file).display().to_string();
            let (here, there) = tokio::try_join!(on_this_machine(space, &file), in_cluster(space, &file))?;
            for (place, expected, (succeeded, message)) in
                [("here", &difference.here, here), ("there", &difference.there, there)]
            {
                if succeeded != expected.succeeded || !message.contains(&expected.message) {
                    wrong.push(format!(
                        "{} ({}) {place}: succeeded {succeeded}: {message}",
                        difference.file, difference.why
                    ));
                }
            }
        }
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        Ok(())
    })
    .await
}

/// Whether it succeeded, and its message.
async fn on_this_machine(space: &Space, file: &str) -> Result<(bool, String)> {
    let cluster = space.cluster();
    let home = local_images(cluster).await?;
    let said = cluster.ergon(&["run", "-o", "json", file], &[("ERGON_HOME", home.as_os_str())]).await?;
    let last = said.stdout.lines().last().with_context(|| said.stderr.clone())?;
    let end: Value = serde_json::from_str(last)?;
    ensure!(end["event"] == "runEnded", "{last}");
    Ok((end["status"] == "succeeded", end["message"].as_str().unwrap_or_default().to_owned()))
}

async fn in_cluster(space: &Space, file: &str) -> Result<(bool, String)> {
    let object = documents(&std::fs::read_to_string(file)?)?.pop().context("the file is empty")?;
    let created = space.create(&object).await.map_err(|error| anyhow::anyhow!("{file}: {error}"))?;
    let run: TaskRun = space.ended(&serde_json::from_value(created)?).await?;
    Ok((run.is_successful(), run.message().to_owned()))
}
