//! `ergon convert`: manifests of Tekton as manifests of Ergon, and back.

use std::path::{Path, PathBuf};

use clap::Args;
use ergon_api::Group;
use ergon_author::{Converted, Note};
use similar::TextDiff;

use crate::args::GroupArg;
use crate::console::Console;
use crate::failure::{Code, Failure, Result};
use crate::lint::{Input, read};

/// Turns manifests of Tekton into manifests of Ergon, and back.
///
/// Comments, order and layout stay: only what means something else is changed. In scripts `$(params.x)` becomes
/// `{{params.x}}`, whose value is never a part of the script; where that cannot be, the script stays as it is, and it is
/// said why. Objects that are of neither group stay. docs/authoring.md says more. Exit codes: 0 done, 1 something has no
/// equivalent, 4 a file is wrong as it is.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ergon convert tekton/build.yaml > build.yaml
  ergon convert --diff .tekton                what would change
  ergon convert -i tasks pipelines            the files themselves
  ergon convert --to tekton -o out tasks")]
pub struct ConvertArgs {
    /// Files, and folders with manifests in them or below; `-` is standard input.
    #[arg(required = true, value_name = "PLACE")]
    places: Vec<PathBuf>,

    /// The API group to bring them into.
    #[arg(long, value_enum, default_value = "ergon.dev", value_name = "GROUP")]
    to: GroupArg,

    /// Change the files themselves. Those with something that has no equivalent stay as they are.
    #[arg(short, long, conflicts_with_all = ["output_dir", "diff"])]
    in_place: bool,

    /// Write files of the same names into this folder.
    #[arg(short, long, value_name = "DIR", conflicts_with = "diff")]
    output_dir: Option<PathBuf>,

    /// Show what would change.
    #[arg(long)]
    diff: bool,
}

pub fn convert(args: &ConvertArgs, console: Console) -> Result {
    let inputs = read(&args.places)?;
    if inputs.is_empty() {
        return Err(Failure::invalid("there are no manifests"));
    }
    let mut wrong = Vec::new();
    let mut whole = true;
    for (at, input) in inputs.iter().enumerate() {
        let (name, text) = (&input.source.name, &input.source.text);
        match ergon_author::convert(text, name, Group::from(args.to)) {
            Ok(converted) => {
                for note in &converted.notes {
                    console.say(&said(note, console));
                }
                whole &= converted.is_whole();
                write(args, &inputs, at, &converted, console)?;
            }
            Err(problems) => wrong.push(Failure::diagnostics(&problems, text).message),
        }
    }
    if !wrong.is_empty() {
        return Err(Failure::invalid(wrong.join("\n\nerror: ")));
    }
    if whole { Ok(()) } else { Err(Failure::silent(Code::RunFailed)) }
}

fn said(note: &Note, console: Console) -> String {
    let style = console.err;
    let word = match note {
        Note::Differs(_) | Note::Left(_) => style.bold("note:"),
        Note::Lost(_) => style.red("no equivalent:"),
    };
    format!("{word} {}", note.diagnostic())
}

fn write(args: &ConvertArgs, inputs: &[Input], at: usize, converted: &Converted, console: Console) -> Result {
    let input = &inputs[at];
    let changed = converted.text != input.source.text;
    if args.diff {
        return console.print(&diff(&input.source.name, &input.source.text, &converted.text));
    }
    if let Some(folder) = &args.output_dir {
        let path = folder.join(below(&args.places, input));
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(|error| unwritten(parent, &error))?;
        }
        return put(&path, &converted.text);
    }
    match &input.path {
        Some(path) if args.in_place => {
            if changed && converted.is_whole() {
                put(path, &converted.text)?;
                console.say(&format!("converted {}", path.display()));
            }
            Ok(())
        }
        _ => {
            let between = at > 0 && !converted.text.starts_with("---");
            console.print(&format!("{}{}", if between { "---\n" } else { "" }, converted.text))
        }
    }
}

/// The file's path below the folder that was named, or its own name.
fn below(places: &[PathBuf], input: &Input) -> PathBuf {
    let Some(path) = &input.path else { return PathBuf::from("stdin.yaml") };
    let folder = places.iter().filter(|place| place.is_dir()).find_map(|place| path.strip_prefix(place).ok());
    folder.map_or_else(|| PathBuf::from(path.file_name().unwrap_or_default()), Path::to_owned)
}

/// Writes a file.
pub fn put(path: &Path, text: &str) -> Result {
    std::fs::write(path, text).map_err(|error| unwritten(path, &error))
}

fn unwritten(path: &Path, error: &std::io::Error) -> Failure {
    Failure::invalid(format!("cannot write `{}`: {error}", path.display()))
}

/// What is between two texts of a file; empty where nothing is.
pub fn diff(name: &str, old: &str, new: &str) -> String {
    if old == new {
        return String::new();
    }
    TextDiff::from_lines(old, new).unified_diff().header(name, name).to_string()
}
