//! One file a command: its arguments and what it does.

pub mod cancel;
pub mod completion;
pub mod convert;
pub mod delete;
pub mod describe;
pub mod explain;
pub mod fmt;
mod follow;
pub mod graph;
pub mod images;
pub mod install;
mod interrupts;
pub mod lint;
pub mod list;
pub mod logs;
pub mod lsp;
pub mod new;
pub mod replay;
pub mod run;
pub mod runs;
pub mod shell;
pub mod start;
pub mod test;
pub mod uninstall;
pub mod version;
mod watch;

use crate::args::{Cli, Command};
use crate::console::Console;
use crate::failure::Result;

/// Carries the command out.
pub async fn dispatch(cli: Cli, console: Console) -> Result {
    let cluster = &cli.cluster;
    match cli.command {
        Command::Run(args) => Box::pin(run::run(args, console)).await,
        Command::Test(args) => Box::pin(test::test(args, console)).await,
        Command::Lint(args) => lint::lint(args, console),
        Command::Fmt(args) => fmt::fmt(&args, console),
        Command::Convert(args) => convert::convert(&args, console),
        Command::Graph(args) => graph::graph(&args, console),
        Command::New(args) => new::new(args, console),
        Command::Lsp(args) => lsp::lsp(args),
        Command::Start(args) => start::start(args, cluster, console).await,
        Command::List(args) => list::list(args, cluster, console).await,
        Command::Describe(args) => describe::describe(args, cluster, console).await,
        Command::Logs(args) => logs::logs(args, cluster, console).await,
        Command::Explain(args) => explain::explain(args, console),
        Command::Cancel(args) => cancel::cancel(args, cluster, console).await,
        Command::Delete(args) => delete::delete(args, cluster, console).await,
        Command::Shell(args) => shell::shell(args, console).await,
        Command::Replay(args) => replay::replay(args, console).await,
        Command::Runs(args) => runs::runs(args, console),
        Command::Images(args) => images::images(args, console).await,
        Command::Install(args) => Box::pin(install::install(args, cluster, console)).await,
        Command::Uninstall(args) => uninstall::uninstall(args, cluster, console).await,
        Command::Version(args) => version::version(args, cluster, console).await,
        Command::Completion(args) => completion::completion(&args, console),
    }
}
