//! Living beside Tekton: with its controller in the cluster, only runs that name us are ours.

use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use ergon_api::{Group, TaskRun};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client, ResourceExt as _};
use tracing::{info, warn};

use crate::shell::Shell;

/// The name that runs give in `spec.managedBy` to be ours.
pub const MANAGED_BY: &str = "ergon.dev/controller";
/// The name that Tekton's own controller goes by. It means the same as none.
const TEKTON: &str = "tekton.dev/pipeline";
/// How often it is looked whether Tekton came or went.
const LOOK_AGAIN: Duration = Duration::from_mins(1);

/// Whether Tekton's controller runs in the same cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Beside {
    /// It does where somebody else than us has brought the definitions of `tekton.dev`.
    #[default]
    Auto,
    /// It does: only runs with our name in `spec.managedBy` are ours.
    Always,
    /// It does not: all runs are ours that name nobody else.
    Never,
}

impl Beside {
    /// The word on the command line.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Always => "always",
            Self::Never => "never",
        }
    }
}

/// Whether a run is ours. `beside`: Tekton's controller takes those that name nobody.
pub fn is_ours(group: Group, managed_by: Option<&str>, beside: bool) -> bool {
    match managed_by {
        Some(MANAGED_BY) => true,
        None | Some("") => group == Group::Ergon || !beside,
        Some(TEKTON) => group == Group::Tekton && !beside,
        Some(_) => false,
    }
}

/// Whether an object with these labels is ours, and not Tekton's.
pub fn is_labelled(labels: &std::collections::BTreeMap<String, String>) -> bool {
    labels.get("app.kubernetes.io/part-of").is_some_and(|part| part == "ergon")
}

/// Whether somebody else has brought the definitions of `tekton.dev`.
pub async fn is_tekton_here(client: &Client) -> Result<bool, kube::Error> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let name = format!("{}.{}", TaskRun::PLURAL, Group::Tekton.name());
    let definition = api.get_metadata_opt(&name).await?;
    Ok(definition.is_some_and(|definition| !is_labelled(definition.labels())))
}

/// Finds out whether Tekton is here, and goes on looking in the background until the process ends.
pub async fn keep(shell: &Arc<Shell>, beside: Beside) -> Result<(), kube::Error> {
    let is_here = match beside {
        Beside::Always => true,
        Beside::Never => false,
        Beside::Auto => is_tekton_here(&shell.client).await?,
    };
    shell.set_beside_tekton(is_here);
    if is_here {
        info!("beside Tekton: of its kinds, only runs with `managedBy: {MANAGED_BY}` are worked on");
    }
    if beside != Beside::Auto {
        return Ok(());
    }
    let shell = Arc::clone(shell);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(LOOK_AGAIN).await;
            match is_tekton_here(&shell.client).await {
                Ok(is_here) => {
                    if shell.set_beside_tekton(is_here) {
                        info!(is_here, "Tekton came or went");
                        shell.enqueue_all();
                    }
                }
                Err(error) => warn!(%error, "cannot look whether Tekton is here"),
            }
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fake::Fake;

    #[test]
    fn whose_a_run_is() {
        use Group::{Ergon, Tekton};
        for (group, managed_by, alone, beside) in [
            (Tekton, None, true, false),
            (Tekton, Some(""), true, false),
            (Tekton, Some(MANAGED_BY), true, true),
            (Tekton, Some(TEKTON), true, false),
            (Tekton, Some("kueue.x-k8s.io/multikueue"), false, false),
            (Ergon, None, true, true),
            (Ergon, Some(MANAGED_BY), true, true),
            (Ergon, Some(TEKTON), false, false),
        ] {
            assert_eq!(is_ours(group, managed_by, false), alone, "{group} {managed_by:?} alone");
            assert_eq!(is_ours(group, managed_by, true), beside, "{group} {managed_by:?} beside Tekton");
        }
    }

    #[tokio::test]
    async fn tekton_is_known_by_its_definitions() {
        let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/taskruns.tekton.dev";
        for (labels, expected) in [
            (json!({"app.kubernetes.io/part-of": "ergon"}), false),
            (json!({"app.kubernetes.io/part-of": "tekton-pipelines"}), true),
            (json!({}), true),
        ] {
            let fake = Fake::default();
            assert!(!is_tekton_here(&fake.client()).await.expect("an answer"), "no such definition");
            fake.put(
                path,
                json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                    "metadata": {"name": "taskruns.tekton.dev", "labels": labels}}),
            );
            assert_eq!(is_tekton_here(&fake.client()).await.expect("an answer"), expected, "{labels}");
        }
    }
}
