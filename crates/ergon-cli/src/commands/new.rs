//! `ergon new`: the beginning of a Task or Pipeline.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use ergon_author::NewFile;

use super::convert::put;
use crate::console::Console;
use crate::failure::{Failure, Result};

/// Makes a folder with a Task or Pipeline to begin with, and a test of it.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ergon new task build
  ergon new pipeline release --dir pipelines/release")]
pub struct NewArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// A Task with a parameter, a result and a step.
    Task(OneArgs),
    /// A Pipeline with two tasks and a final one.
    Pipeline(OneArgs),
}

#[derive(Debug, Args)]
struct OneArgs {
    /// Its name: lower-case letters, digits and `-`.
    #[arg(value_name = "NAME", value_parser = name)]
    name: String,

    /// The folder; when absent, one of that name.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

fn name(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let ends = |c: char| c == '-';
    if text.is_empty()
        || text.len() > 63
        || !text.chars().all(fits)
        || text.starts_with(ends)
        || text.ends_with(ends)
    {
        return Err("a name has lower-case letters, digits and `-` inside, and at most 63 of them".to_owned());
    }
    Ok(text.to_owned())
}

pub fn new(args: NewArgs, console: Console) -> Result {
    let (one, files): (OneArgs, Vec<NewFile>) = match args.what {
        What::Task(one) => {
            let files = ergon_author::task(&one.name);
            (one, files)
        }
        What::Pipeline(one) => {
            let files = ergon_author::pipeline(&one.name);
            (one, files)
        }
    };
    let folder = one.dir.unwrap_or_else(|| PathBuf::from(&one.name));
    for file in &files {
        let path = folder.join(&file.path);
        if path.exists() {
            return Err(Failure::invalid(format!("`{}` is there already", path.display()))
                .hint("name another folder with `--dir`"));
        }
    }
    for file in &files {
        let path = folder.join(&file.path);
        if let Some(parent) = path.parent() {
            let unmade = |error| Failure::invalid(format!("cannot make `{}`: {error}", parent.display()));
            std::fs::create_dir_all(parent).map_err(unmade)?;
        }
        put(&path, &file.text)?;
        console.line(&path.display().to_string())?;
    }
    console.hint(&format!("`ergon test {0}` runs its test, `ergon lint {0}` checks it", folder.display()));
    Ok(())
}
