//! `ergon uninstall`: Ergon out of a cluster.

use clap::Args;
use ergon_controller::install;

use super::install::{failure, options, tell};
use crate::args::ClusterArgs;
use crate::cluster::connect;
use crate::console::Console;
use crate::failure::Result;

/// Removes Ergon from the cluster. Tasks, pipelines and runs stay, unless `--delete-objects` is given.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ergon uninstall
  ergon uninstall --delete-objects    with every Task, Pipeline and run")]
pub struct UninstallArgs {
    /// Remove the kinds too, and with them every object of theirs in every namespace.
    #[arg(long)]
    delete_objects: bool,
}

pub async fn uninstall(args: UninstallArgs, cluster: &ClusterArgs, console: Console) -> Result {
    let ergon = connect(cluster).await?;
    let options = options(cluster);
    install::uninstall(ergon.client(), &options, args.delete_objects, |step| tell(&step, console))
        .await
        .map_err(|error| failure(&error))?;
    console.line("Ergon is removed")
}
