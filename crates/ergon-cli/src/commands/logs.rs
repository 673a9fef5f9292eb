//! `ergon logs`: the logs of a run.

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use ergon_client::LogOptions;

use super::follow;
use crate::args::ClusterArgs;
use crate::cluster::{connect, find_run};
use crate::complete::runs;
use crate::console::Console;
use crate::failure::Result;

/// Shows the logs of a run: every step of every task, in the order of their start.
///
/// With `--follow` lines come as they are written, until the run ends; the exit code is then 1 unless it succeeded.
/// Ctrl-C stops showing them, not the run.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ergon logs build-1            what a run has written so far
  ergon logs -f -L              the newest run, live
  ergon logs build-1 --task test --step unit --tail 50")]
pub struct LogsArgs {
    /// The run: NAME, pipelinerun/NAME or taskrun/NAME.
    #[arg(required_unless_present = "last", add = ArgValueCompleter::new(runs))]
    name: Option<String>,

    /// The newest run of the namespace.
    #[arg(short = 'L', long, conflicts_with = "name")]
    last: bool,

    /// Go on until the run ends.
    #[arg(short, long)]
    follow: bool,

    /// Only this task, or one leg of its matrix: `test[0]`. May be repeated.
    #[arg(long = "task", value_name = "TASK")]
    tasks: Vec<String>,

    /// Only this step; may be repeated.
    #[arg(long = "step", value_name = "STEP")]
    steps: Vec<String>,

    /// Only so many of the last lines of each step.
    #[arg(long, value_name = "LINES")]
    tail: Option<i64>,

    /// Begin each line with its time.
    #[arg(long)]
    timestamps: bool,
}

pub async fn logs(args: LogsArgs, cluster: &ClusterArgs, console: Console) -> Result {
    let ergon = connect(cluster).await?;
    let run = find_run(&ergon, args.name.as_deref(), args.last).await?;
    let options = LogOptions { follow: args.follow, tasks: args.tasks, steps: args.steps, tail: args.tail };
    follow::show(&ergon, &run, options, args.timestamps, console).await
}
