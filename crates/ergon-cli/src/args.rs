//! The command line: what may be written, and nothing of what it does.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ergon_api::Group;

use crate::commands;

/// Runs tasks and pipelines: in a Kubernetes cluster, or on this machine.
///
/// Exit codes: 0 done, 1 the run failed, 2 wrong usage, 3 the cluster cannot be reached, 4 wrong input.
#[derive(Debug, Parser)]
#[command(
    name = "ergon",
    version,
    propagate_version = true,
    max_term_width = 120,
    disable_help_subcommand = true
)]
pub struct Cli {
    #[command(flatten)]
    pub cluster: ClusterArgs,

    #[command(subcommand)]
    pub command: Command,
}

/// Which cluster, and where in it.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Cluster")]
pub struct ClusterArgs {
    /// The namespace; the context's when absent.
    #[arg(short, long, global = true, value_name = "NAME")]
    pub namespace: Option<String>,

    /// The context of the kubeconfig; the current one when absent.
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,

    /// The kubeconfig file; KUBECONFIG, then `~/.kube/config`, then the pod's own account when absent.
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// The API group; both when absent, Ergon's first.
    #[arg(long, global = true, value_enum, value_name = "GROUP")]
    pub group: Option<GroupArg>,
}

/// An API group, as it is written on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GroupArg {
    /// Ergon's.
    #[value(name = "ergon.dev", alias = "ergon")]
    Ergon,
    /// Tekton's.
    #[value(name = "tekton.dev", alias = "tekton")]
    Tekton,
}

impl From<GroupArg> for Group {
    fn from(group: GroupArg) -> Self {
        match group {
            GroupArg::Ergon => Self::Ergon,
            GroupArg::Tekton => Self::Tekton,
        }
    }
}

/// How to print what was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Table,
    /// The objects in JSON.
    Json,
    /// The objects in YAML.
    Yaml,
    /// Kind and name alone, one a line.
    Name,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Run(commands::run::RunArgs),
    Test(commands::test::TestArgs),
    Lint(commands::lint::LintArgs),
    Lsp(commands::lsp::LspArgs),
    Shell(commands::shell::ShellArgs),
    Replay(commands::replay::ReplayArgs),
    Runs(commands::runs::RunsArgs),
    Fmt(commands::fmt::FmtArgs),
    Convert(commands::convert::ConvertArgs),
    Graph(commands::graph::GraphArgs),
    New(commands::new::NewArgs),
    Start(commands::start::StartArgs),
    #[command(visible_alias = "ls")]
    List(commands::list::ListArgs),
    #[command(visible_alias = "desc")]
    Describe(commands::describe::DescribeArgs),
    Logs(commands::logs::LogsArgs),
    Explain(commands::explain::ExplainArgs),
    Cancel(commands::cancel::CancelArgs),
    Delete(commands::delete::DeleteArgs),
    Images(commands::images::ImagesArgs),
    Install(commands::install::InstallArgs),
    Uninstall(commands::uninstall::UninstallArgs),
    Version(commands::version::VersionArgs),
    Completion(commands::completion::CompletionArgs),
}

/// Splits `name=value`.
pub fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write `name=value`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn values_may_hold_equals_signs() {
        assert_eq!(assignment("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(assignment("a="), Ok(("a".to_owned(), String::new())));
        assert!(assignment("=b").is_err());
        assert!(assignment("a").is_err());
    }
}
