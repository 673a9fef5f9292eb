//! `ergon fmt`: the layout of manifests.

use std::path::PathBuf;

use clap::Args;

use super::convert::{diff, put};
use crate::console::Console;
use crate::failure::{Code, Failure, Result};
use crate::lint::read;

/// Lays manifests out as the examples are.
///
/// Two spaces for each level, lists indented, no white space at the ends of lines, `apiVersion`, `kind`, `metadata` and
/// `spec` in that order, and `name` first in the items of lists. Comments, quotes and all other order stay, and nothing
/// means something else afterwards. Exit codes: 0 done, 1 --check or --diff found something, 4 a file is no YAML.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ergon fmt                    all manifests below this folder
  ergon fmt --check tasks      for CI: names the files that are not laid out
  ergon fmt - < task.yaml")]
pub struct FmtArgs {
    /// Files, and folders with manifests in them or below; `-` is standard input, and this folder is taken when absent.
    #[arg(value_name = "PLACE")]
    places: Vec<PathBuf>,

    /// Change nothing, and end with 1 if something would change.
    #[arg(long)]
    check: bool,

    /// Show what would change, and change nothing.
    #[arg(long)]
    diff: bool,
}

pub fn fmt(args: &FmtArgs, console: Console) -> Result {
    let places = if args.places.is_empty() { vec![PathBuf::from(".")] } else { args.places.clone() };
    let inputs = read(&places)?;
    if inputs.is_empty() {
        return Err(Failure::invalid("there are no manifests"));
    }
    let mut wrong = Vec::new();
    let mut found = false;
    for input in &inputs {
        let (name, text) = (&input.source.name, &input.source.text);
        let Some(formatted) = ergon_author::format(text) else {
            let problem = ergon_api::manifest::head(text).err();
            let problem = problem.map(|problem| ergon_api::Diagnostic { file: name.clone(), ..problem });
            let told = problem.map(|problem| Failure::diagnostics(&[problem], text).message);
            wrong.push(told.unwrap_or_else(|| format!("`{name}` cannot be laid out")));
            continue;
        };
        let differs = formatted != *text;
        found |= differs;
        match &input.path {
            None if !args.check && !args.diff => console.print(&formatted)?,
            _ if !differs => {}
            _ if args.diff => console.print(&diff(name, text, &formatted))?,
            _ if args.check => console.line(name)?,
            Some(path) => {
                put(path, &formatted)?;
                console.say(&format!("laid out {name}"));
            }
            None => {}
        }
    }
    if !wrong.is_empty() {
        return Err(Failure::invalid(wrong.join("\n\nerror: ")));
    }
    if found && (args.check || args.diff) { Err(Failure::silent(Code::RunFailed)) } else { Ok(()) }
}
