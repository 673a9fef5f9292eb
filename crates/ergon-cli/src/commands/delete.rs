//! `ergon delete`: removing runs.

use clap::Args;
use clap_complete::engine::ArgValueCompleter;

use crate::args::ClusterArgs;
use crate::cluster::{connect, find_run};
use crate::complete::runs;
use crate::console::Console;
use crate::failure::Result;

/// Deletes runs, with their tasks, pods and logs.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ergon delete build-1 build-2
  ergon delete taskrun/lint-7 -n ci
  ergon delete -L")]
pub struct DeleteArgs {
    /// The runs: NAME, pipelinerun/NAME or taskrun/NAME.
    #[arg(required_unless_present = "last", value_name = "NAME", add = ArgValueCompleter::new(runs))]
    names: Vec<String>,

    /// The newest run of the namespace.
    #[arg(short = 'L', long, conflicts_with = "names")]
    last: bool,
}

pub async fn delete(args: DeleteArgs, cluster: &ClusterArgs, console: Console) -> Result {
    let ergon = connect(cluster).await?;
    let names: Vec<Option<&str>> =
        if args.last { vec![None] } else { args.names.iter().map(|name| Some(name.as_str())).collect() };
    for name in names {
        let run = find_run(&ergon, name, args.last).await?;
        ergon.delete(&run.reference()).await?;
        console.line(&format!("{}.{}/{} deleted", run.kind().singular(), run.group(), run.name()))?;
    }
    Ok(())
}
