//! `ergon version`: what this is, and what the cluster has.

use clap::Args;
use ergon_client::Error;
use serde_json::json;

use crate::args::{ClusterArgs, Output};
use crate::cluster::connect;
use crate::console::Console;
use crate::failure::Result;

/// Shows the version of this command and, with `--cluster`, what the cluster serves.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ergon version
  ergon version --cluster -o json")]
pub struct VersionArgs {
    /// Ask the cluster too.
    #[arg(long)]
    cluster: bool,

    /// How to print it.
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
}

pub async fn version(args: VersionArgs, cluster: &ClusterArgs, console: Console) -> Result {
    let mut value = json!({"client": env!("CARGO_PKG_VERSION")});
    if args.cluster {
        let ergon = connect(cluster).await?;
        let groups: Vec<&str> = match ergon.groups().await {
            Ok(groups) => groups.into_iter().map(ergon_api::Group::name).collect(),
            Err(Error::NotServed { .. }) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        value["groups"] = json!(groups);
    }
    match args.output {
        Output::Json => console.line(&value.to_string()),
        Output::Yaml => console.print(&serde_saphyr::to_string(&value).unwrap_or_default()),
        Output::Table | Output::Name => {
            console.line(&format!("ergon {}", env!("CARGO_PKG_VERSION")))?;
            let Some(groups) = value["groups"].as_array() else { return Ok(()) };
            let groups: Vec<&str> = groups.iter().filter_map(|group| group.as_str()).collect();
            let served = if groups.is_empty() {
                "neither ergon.dev nor tekton.dev".to_owned()
            } else {
                groups.join(", ")
            };
            console.line(&format!("the cluster serves {served}"))
        }
    }
}
