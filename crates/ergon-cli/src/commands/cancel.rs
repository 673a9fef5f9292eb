//! `ergon cancel`: ending a run before its time.

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use ergon_client::Cancel;

use crate::args::ClusterArgs;
use crate::cluster::{connect, find_run};
use crate::complete::runs;
use crate::console::Console;
use crate::failure::Result;

/// Cancels a run: its tasks are stopped.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ergon cancel build-1             stop everything now
  ergon cancel build-1 --finally   stop everything now, then run `finally`
  ergon cancel -L --graceful       let running tasks end, then run `finally`")]
pub struct CancelArgs {
    /// The run: NAME, pipelinerun/NAME or taskrun/NAME.
    #[arg(required_unless_present = "last", add = ArgValueCompleter::new(runs))]
    name: Option<String>,

    /// The newest run of the namespace.
    #[arg(short = 'L', long, conflicts_with = "name")]
    last: bool,

    /// Run the pipeline's `finally` tasks afterwards.
    #[arg(long)]
    finally: bool,

    /// Let running tasks end, start no others, and run the `finally` tasks.
    #[arg(long, conflicts_with = "finally")]
    graceful: bool,
}

pub async fn cancel(args: CancelArgs, cluster: &ClusterArgs, console: Console) -> Result {
    let ergon = connect(cluster).await?;
    let run = find_run(&ergon, args.name.as_deref(), args.last).await?;
    let how = match (args.finally, args.graceful) {
        (true, _) => Cancel::RunFinally,
        (_, true) => Cancel::Graceful,
        _ => Cancel::Now,
    };
    let reference = run.reference();
    let after = ergon.cancel(&reference, how).await?;
    let name = format!("{}.{}/{}", after.kind().singular(), after.group(), after.name());
    if after.is_done() {
        console.line(&format!("{name} is over already: {}", after.phase()))?;
        return Ok(());
    }
    console.line(&format!("{name} is being cancelled"))
}
