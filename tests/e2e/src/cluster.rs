//! Which cluster to test on, and whether it is there.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use ergon_api::Group;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::program::{Finished, run_program};

/// Set to `1` to test on the cluster of `KUBECONFIG` instead of the one that `make cluster` starts.
const OTHER_CLUSTER: &str = "ERGON_TEST_CLUSTER";
/// Set to `skip` to leave out what needs a cluster.
const SWITCH: &str = "ERGON_E2E";
/// Names the `ergon` command to test, which must be static: steps run it in their own containers.
const PROGRAM: &str = "ERGON_BIN";
/// How long the API server may take to say that it is there.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// A cluster with Ergon installed.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    kubeconfig: PathBuf,
}

impl Cluster {
    /// Connects, or says what to do; none when the tests are switched off.
    ///
    /// # Errors
    /// No cluster, or one without Ergon.
    pub async fn connect() -> Result<Option<Self>> {
        if std::env::var(SWITCH).is_ok_and(|value| value == "skip") {
            eprintln!("left out, because {SWITCH}=skip");
            return Ok(None);
        }
        let kubeconfig = kubeconfig()?;
        let read = Kubeconfig::read_from(&kubeconfig).with_context(|| {
            format!("there is no cluster ({} cannot be read): run `make cluster`", kubeconfig.display())
        })?;
        let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?;
        let client = Client::try_from(config)?;
        let groups = tokio::time::timeout(ANSWER_WITHIN, client.list_api_groups())
            .await
            .map_err(anyhow::Error::from)
            .and_then(|answer| answer.map_err(anyhow::Error::from))
            .context("the cluster does not answer: run `make cluster`")?;
        for group in Group::ALL {
            if !groups.groups.iter().any(|served| served.name == group.name()) {
                bail!("the cluster does not serve {group}: run `make cluster`, which installs Ergon");
            }
        }
        Ok(Some(Self { client, kubeconfig }))
    }

    /// The Kubernetes client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The kubeconfig file, for programs.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Runs kubectl with these arguments and this standard input.
    ///
    /// # Errors
    /// It cannot be started. A failure of kubectl itself is in what is returned.
    pub async fn kubectl(&self, arguments: &[&str], input: &str) -> Result<Finished> {
        let own = root().join("tests/cluster/bin/kubectl");
        let program = std::env::var_os("KUBECTL").map_or(own, PathBuf::from);
        run_program(&program, arguments, &[("KUBECONFIG", self.kubeconfig.as_os_str())], input).await
    }

    /// Runs the `ergon` command with additional environment variables.
    ///
    /// # Errors
    /// It cannot be started. A failure of the command itself is in what is returned.
    pub async fn ergon(&self, arguments: &[&str], environment: &[(&str, &OsStr)]) -> Result<Finished> {
        let environment = [&[("KUBECONFIG", self.kubeconfig.as_os_str())], environment].concat();
        let program = ergon();
        ensure!(
            program.is_file(),
            "there is no {}: build it, or name another in {PROGRAM}",
            program.display()
        );
        run_program(&program, arguments, &environment, "").await
    }
}

/// The repository's root.
pub fn root() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    folder.ancestors().nth(2).unwrap_or(folder).to_owned()
}

/// The `ergon` command: `ERGON_BIN`, or the release build.
pub fn ergon() -> PathBuf {
    std::env::var_os(PROGRAM).map_or_else(|| root().join("target/release/ergon"), PathBuf::from)
}

fn kubeconfig() -> Result<PathBuf> {
    if std::env::var(OTHER_CLUSTER).is_ok_and(|value| value == "1") {
        let path = std::env::var_os("KUBECONFIG")
            .with_context(|| format!("{OTHER_CLUSTER}=1 needs KUBECONFIG to name one file"))?;
        return Ok(path.into());
    }
    Ok(root().join("target/cluster/kubeconfig"))
}
