//! Nodes that run nothing, for as long as the benchmark needs them.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use e2e::{Cluster, run_program};

use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::ListParams;

/// How many: the scheduler looks at all of them for each pod.
const COUNT: &str = "4";

/// Fake nodes that are there.
pub struct FakeNodes {
    /// Where the cluster's state is, if the nodes are ours to take away.
    ours: Option<PathBuf>,
}

impl FakeNodes {
    /// Those that are there, or new ones; none where the cluster is not of `tests/cluster` and has none.
    pub async fn get(cluster: &Cluster) -> Result<Option<Self>> {
        let nodes: Api<Node> = Api::all(cluster.client().clone());
        let fake = ListParams::default().labels("type=kwok").limit(1);
        if !nodes.list_metadata(&fake).await?.items.is_empty() {
            return Ok(Some(Self { ours: None }));
        }
        let state = cluster.kubeconfig().parent().filter(|folder| folder.join("pid/apiserver").is_file());
        let Some(state) = state else { return Ok(None) };
        script(state, COUNT).await.context("fake nodes cannot be added")?;
        Ok(Some(Self { ours: Some(state.to_owned()) }))
    }

    /// Takes them away, if they were not there before.
    pub async fn remove(self) -> Result<()> {
        match self.ours {
            Some(state) => script(&state, "0").await.context("fake nodes cannot be taken away"),
            None => Ok(()),
        }
    }
}

async fn script(state: &Path, count: &str) -> Result<()> {
    let program = e2e::root().join("tests/cluster/fake-nodes");
    let state = std::path::absolute(state)?;
    run_program(&program, &[count], &[("STATE", state.as_os_str())], "").await?.ok().map(drop)
}
