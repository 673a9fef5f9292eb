//! Automation of this repository: `cargo run -p xtask -- <command>`.

mod catalog;
mod codegen;
mod schemas;
mod tidy;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Automation of this repository.")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write what is made from the types: `crds/`, `docs/reference/` and `docs/schemas/`.
    Codegen {
        /// Write nothing; fail when a file is not what it would be.
        #[arg(long)]
        check: bool,
    },
    /// Check the rules about crates and files that the compiler does not know.
    Tidy,
}

fn main() -> Result<()> {
    match Args::parse().command {
        Command::Codegen { check } => codegen::run(check),
        Command::Tidy => tidy::run(),
    }
}

/// The root of the repository.
fn root() -> std::path::PathBuf {
    let manifest = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.ancestors().nth(2).unwrap_or(manifest).to_owned()
}
