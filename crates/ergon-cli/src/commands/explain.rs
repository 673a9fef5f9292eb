//! `ergon explain`: what would be done, and why.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use ergon_local::{Keep, Mocks, Part, RunOptions};
use tokio::sync::watch;

use super::run::{chosen, of_run};
use crate::args::assignment;
use crate::console::Console;
use crate::failure::{Failure, Result};
use crate::manifest;
use crate::render::{planned, planned_json};

/// Tells what would be done, and why, without doing it.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ergon explain plan pipeline.yaml tasks.yaml")]
pub struct ExplainArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Plan(PlanArgs),
}

/// Shows which tasks of a pipeline share a pod, and why others do not.
///
/// Needs no cluster and starts nothing: it is told from the files, with the settings of a new installation, as if each
/// task succeeded. `docs/fusing.md` says more.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ergon explain plan pipeline.yaml tasks.yaml
  ergon explain plan run.yaml -p image=example.com/app:1
  ergon explain plan run.yaml --output json | jq '.pods[].requests'")]
pub struct PlanArgs {
    /// Files with the objects; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Which pipeline or run of the files; needed where there are several.
    #[arg(long = "task", visible_alias = "name", value_name = "NAME")]
    name: Option<String>,

    /// A parameter. Lists: `a,b` or JSON; maps: `k=v,l=w` or JSON. May be repeated.
    #[arg(short = 'p', long = "param", value_name = "NAME=VALUE", value_parser = assignment)]
    params: Vec<(String, String)>,

    /// How to show it: text for people, or JSON.
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: PlanOutput,
}

/// How to show a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum PlanOutput {
    #[default]
    Text,
    Json,
}

pub fn explain(args: ExplainArgs, console: Console) -> Result {
    let What::Plan(args) = args.what;
    let documents = manifest::read(&args.files)?;
    let (_, params) = chosen(&documents, args.name.as_deref(), &args.params)?;
    let options = RunOptions {
        documents,
        name: args.name,
        params,
        workspaces: BTreeMap::new(),
        home: PathBuf::new(),
        keep: Keep::Nothing,
        part: Part::default(),
        mocks: Mocks::default(),
        stop: watch::channel(ergon_local::Stop::No).1,
    };
    let plan = ergon_local::explain(&options).map_err(of_run)?;
    match args.output {
        PlanOutput::Text => console.print(&planned(&plan, console.out)),
        PlanOutput::Json => {
            let text = serde_json::to_string_pretty(&planned_json(&plan))
                .map_err(|error| Failure::invalid(error.to_string()))?;
            console.line(&text)
        }
    }
}
