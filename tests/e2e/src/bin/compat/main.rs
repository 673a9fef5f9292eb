//! Runs a folder of Tekton's manifests on the cluster of the tests, and says which end as they should.
//!
//! Each file gets a namespace of its own; its objects are created in the order of the file, and its TaskRuns and
//! PipelineRuns watched until they end. Where the folder has an `expected.json`, the runs must end with the outcome and the
//! shape that it says; elsewhere they must succeed.

mod explain;
mod features;
mod file;
mod manifest;
mod report;
mod shape;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum};
use e2e::Cluster;
use futures::StreamExt as _;
use regex::Regex;

use features::Flags;
use file::{Row, Runner};
use manifest::Manifest;

const EXAMPLES: &str = "Examples:
  compat manifests                            every manifest in a folder, four at a time
  compat manifests --only '^taskruns/'        those whose path below the folder matches
  compat manifests --only step-script --keep  one of them, and its namespace stays to be looked at
  compat manifests --fuse container           all of them, with tasks that share pods and containers
  compat manifests -o json > results.jsonl    one line of JSON a file, then one with a summary

The exit code is 0 when all files passed, 1 when one failed, and 2 when there was nothing to run or no cluster.
`make compat DIR=manifests` prepares a cluster for this: images, servers, storage.";

/// Runs Tekton's manifests on the cluster of the tests and compares how they end.
#[derive(Debug, Parser)]
#[command(name = "compat", after_help = EXAMPLES)]
struct Arguments {
    /// Folders of manifests; an `expected.json` in one says how its files end.
    #[arg(required = true, value_name = "FOLDER")]
    folders: Vec<PathBuf>,
    /// Only files whose path below their folder matches this regular expression.
    #[arg(long, value_name = "REGEX")]
    only: Option<Regex>,
    /// No files whose path matches this one.
    #[arg(long, value_name = "REGEX", default_value = "(^|/)no-ci/")]
    exclude: Regex,
    /// How many files are run at a time.
    #[arg(long, default_value_t = 4)]
    parallel: usize,
    /// How many seconds the runs of a file may take.
    #[arg(long, default_value_t = 300)]
    timeout: u64,
    /// Where manifests push images to: it replaces `HOST/christiewilson-catfactory` in them.
    #[arg(long, default_value = "10.42.0.1:5000/compat")]
    repository: String,
    /// The feature flags that all files run with, whatever `expected.json` says.
    #[arg(long)]
    flags: Option<Flags>,
    /// Pipeline runs that do not say it themselves let their tasks share pods: `auto`, `pod` or `container`.
    #[arg(long)]
    fuse: Option<String>,
    /// What is printed.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// Leave the namespaces, and what is in them, as they are in the end.
    #[arg(long)]
    keep: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// A table for people.
    Table,
    /// A line of JSON a file.
    Json,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("compat: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether all files passed.
async fn run(arguments: Arguments) -> Result<bool> {
    let mut manifests = Vec::new();
    for folder in &arguments.folders {
        manifests.extend(manifest::in_folder(folder)?);
    }
    manifests.retain(|manifest| {
        !arguments.exclude.is_match(&manifest.name)
            && arguments.only.as_ref().is_none_or(|only| only.is_match(&manifest.name))
    });
    ensure!(!manifests.is_empty(), "there is no manifest to run: look at the folders, --only and --exclude");
    let Some(cluster) = Cluster::connect().await? else { return Ok(true) };

    let begun = Instant::now();
    let runner = Runner {
        cluster: cluster.clone(),
        timeout: Duration::from_secs(arguments.timeout),
        repository: arguments.repository,
        fuse: arguments.fuse,
        keep: arguments.keep,
    };
    let before = features::read(cluster.client()).await?;
    let mut rows = Vec::new();
    // Flags are the cluster's, so files with the same ones run together.
    for flags in [None, Some(Flags::Stable), Some(Flags::Beta), Some(Flags::Alpha)] {
        let wanted = |manifest: &&Manifest| arguments.flags.or(manifest.flags()) == flags;
        let group: Vec<&Manifest> = manifests.iter().filter(wanted).collect();
        if group.is_empty() {
            continue;
        }
        if let Some(flags) = flags {
            features::write(cluster.client(), &features::with(before.as_ref(), flags)).await?;
        }
        rows.extend(run_all(&runner, &group, arguments.parallel, arguments.output).await);
    }
    if let Some(before) = before {
        features::write(cluster.client(), &before).await?;
    }
    rows.sort_by(|one, other| one.file.cmp(&other.file));
    let left = if arguments.keep { Vec::new() } else { runner.namespaces_left().await? };
    match arguments.output {
        Output::Table => report::table(&rows),
        Output::Json => report::json_summary(&rows, &left, begun.elapsed()),
    }
    for namespace in &left {
        eprintln!("namespace {namespace} is not gone: an object in it has a finalizer that nobody serves");
    }
    report::totals(&rows, begun.elapsed(), arguments.output == Output::Json);
    Ok(left.is_empty() && rows.iter().all(|row| !row.failed()))
}

/// Runs these files, some at a time, and tells of each as it ends.
async fn run_all(runner: &Runner, manifests: &[&Manifest], parallel: usize, output: Output) -> Vec<Row> {
    let ended = AtomicUsize::new(0);
    futures::stream::iter(manifests)
        .map(|manifest| runner.run(manifest))
        .buffer_unordered(parallel.max(1))
        .inspect(|row| {
            let number = ended.fetch_add(1, Ordering::Relaxed) + 1;
            match output {
                Output::Json => report::json(row),
                Output::Table => report::progress(row, number, manifests.len()),
            }
        })
        .collect()
        .await
}
