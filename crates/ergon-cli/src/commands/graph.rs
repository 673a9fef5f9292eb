//! `ergon graph`: a pipeline's graph as a drawing.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use ergon_api::{Document, Group, Object, PipelineSpec};
use ergon_author::{Drawing, Style};

use super::convert::put;
use crate::console::Console;
use crate::failure::{Failure, Result};
use crate::manifest;

/// Draws the graph of a pipeline: which task waits for which.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ergon graph pipeline.yaml
  ergon graph pipeline.yaml -f mermaid
  ergon graph run.yaml -o graph.svg
  ergon graph pipeline.yaml -f dot | dot -Tpng > graph.png")]
pub struct GraphArgs {
    /// Files with the pipeline; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Which pipeline or run of the files; needed where there are several.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// As what; when absent what the name of the output's file says, and characters otherwise.
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    format: Option<GraphFormat>,

    /// Write it to this file.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// What a graph is drawn as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum GraphFormat {
    /// Characters, for a terminal.
    Text,
    /// Mermaid, which many web pages draw.
    Mermaid,
    /// Graphviz.
    Dot,
    /// A picture.
    Svg,
}

pub fn graph(args: &GraphArgs, console: Console) -> Result {
    let documents = manifest::read(&args.files)?;
    let (pipeline, group) = chosen(&documents, args.name.as_deref())?;
    let drawing = Drawing::of(pipeline, group).map_err(Failure::invalid)?;
    let style = match args.format.or_else(|| by_name(args.output.as_ref()?)) {
        None | Some(GraphFormat::Text) => Style::Terminal,
        Some(GraphFormat::Mermaid) => Style::Mermaid,
        Some(GraphFormat::Dot) => Style::Dot,
        Some(GraphFormat::Svg) => Style::Svg,
    };
    let drawn = drawing.draw(style);
    match &args.output {
        Some(path) => put(path, &drawn),
        None => console.print(&drawn),
    }
}

fn by_name(path: &std::path::Path) -> Option<GraphFormat> {
    match path.extension()?.to_str()? {
        "svg" => Some(GraphFormat::Svg),
        "dot" | "gv" => Some(GraphFormat::Dot),
        "mmd" | "mermaid" => Some(GraphFormat::Mermaid),
        _ => None,
    }
}

/// The pipeline that is meant. A run that has it written out counts for one.
fn chosen<'a>(documents: &'a [Document], name: Option<&str>) -> Result<(&'a PipelineSpec, Group)> {
    let mut found: Vec<(&str, &PipelineSpec, Group)> = Vec::new();
    for document in documents {
        match &document.object {
            Object::Pipeline(pipeline) => found.push((pipeline.name(), &pipeline.spec, pipeline.group())),
            Object::PipelineRun(run) => {
                if let Some(spec) = &run.spec.pipeline_spec {
                    let name = run.metadata.generate_name.as_deref().filter(|_| run.name().is_empty());
                    found.push((name.unwrap_or(run.name()), spec, run.group()));
                }
            }
            _ => {}
        }
    }
    let names: Vec<String> = found.iter().map(|(name, ..)| format!("`{name}`")).collect();
    let wanted: Vec<_> = found.iter().filter(|one| name.is_none_or(|name| name == one.0)).collect();
    match (wanted.as_slice(), name) {
        ([(_, spec, group)], _) => Ok((spec, *group)),
        ([], None) => Err(Failure::invalid("there is no Pipeline in the files")),
        ([], Some(name)) => Err(Failure::invalid(format!("there is no Pipeline `{name}`"))
            .hint(format!("there is {}", names.join(", ")))),
        _ => Err(Failure::usage("there are several Pipelines")
            .hint(format!("say which one with `--name`: {}", names.join(", ")))),
    }
}
