//! `ergon completion`: what shells need to complete commands.

use clap::{Args, ValueEnum};

use crate::complete::{SHELLS, VARIABLE};
use crate::console::Console;
use crate::failure::Result;

/// Prints a script that makes a shell complete this command's words, and names of runs, pipelines and tasks.
///
/// The shell asks this command each time, and it asks the cluster, for two seconds at most.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  source <(ergon completion bash)
  ergon completion zsh > \"${fpath[1]}/_ergon\"
  ergon completion fish > ~/.config/fish/completions/ergon.fish")]
pub struct CompletionArgs {
    /// The shell.
    #[arg(value_enum)]
    shell: ShellArg,
}

/// The shells.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum ShellArg {
    Bash,
    Zsh,
    Fish,
}

pub fn completion(args: &CompletionArgs, console: Console) -> Result {
    let shell = match args.shell {
        ShellArg::Bash => "bash",
        ShellArg::Zsh => "zsh",
        ShellArg::Fish => "fish",
    };
    let mut script = Vec::new();
    if let Some(completer) = SHELLS.completer(shell) {
        completer.write_registration(VARIABLE, "ergon", "ergon", "ergon", &mut script)?;
    }
    console.print(&String::from_utf8_lossy(&script))
}
