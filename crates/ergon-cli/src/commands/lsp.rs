//! `ergon lsp`: the checks of `ergon lint`, and help with writing, for editors.

use std::collections::BTreeMap;

use clap::Args;
use ergon_lint::{Level, Options};

use super::lint::rule;
use crate::failure::{Code, Failure, Result};
use crate::lsp;

/// Helps editors with manifests: a language server on stdin and stdout.
///
/// It says what `ergon lint` says while you write, completes fields and names, tells what a name stands for and where it
/// comes from, and mends what it can. docs/lsp.md says how editors start it.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ergon lsp                                what an editor starts
  ergon lsp --rule missing-timeout=off")]
pub struct LspArgs {
    /// Give a rule another level: info, warning, error or off. May be repeated.
    #[arg(long = "rule", value_name = "NAME=LEVEL", value_parser = rule)]
    rules: Vec<(String, Option<Level>)>,

    /// Talk on stdin and stdout, which it does anyway: some editors say so.
    #[arg(long, hide = true)]
    stdio: bool,
}

pub fn lsp(args: LspArgs) -> Result {
    let levels: BTreeMap<String, Option<Level>> = args.rules.into_iter().collect();
    lsp::serve(Options { levels, ..Options::default() })
        .map_err(|message| Failure::new(Code::Invalid, format!("the editor was not understood: {message}")))
}
