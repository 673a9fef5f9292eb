//! `ergon completion`: what shells need to complete commands.

use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::Shell;

use crate::args::Cli;
use crate::console::Console;
use crate::failure::Result;

/// Prints a script that makes a shell complete this command's words.
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
        ShellArg::Bash => Shell::Bash,
        ShellArg::Zsh => Shell::Zsh,
        ShellArg::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "ergon", &mut script);
    console.print(&String::from_utf8_lossy(&script))
}
