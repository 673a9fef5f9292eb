//! `ergon runs`: what is left of local runs.

use std::time::Duration;

use clap::{Args, Subcommand};
use ergon_local::event::Status;
use ergon_local::kept::{self, KeptRun, PruneRuns};
use serde_json::json;

use super::images::time;
use super::run::home;
use crate::args::Output;
use crate::console::Console;
use crate::failure::{Failure, Result};
use crate::render::{Style, Table, age, duration};

/// Lists and removes what is left of local runs.
///
/// Of the last run that failed everything is kept for `ergon shell` and `ergon replay`, of those with `ergon run --keep` too,
/// and of the newest others a record, for `ergon run --from`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ergon runs list
  ergon runs list ci
  ergon runs prune --older-than 7d")]
pub struct RunsArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lists runs, the newest first, or the steps of one.
    #[command(
        visible_alias = "ls",
        after_long_help = "\
Examples:
  ergon runs list
  ergon runs list 19887         the steps of the run whose ID ends so
  ergon runs list -o json | jq -r '.[0].folder'"
    )]
    List {
        /// The run: its ID or the end of it, its name, or the name of what was run.
        #[arg(value_name = "RUN")]
        run: Option<String>,

        /// How to print them.
        #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
        output: Output,
    },
    /// Removes what is left of runs that have ended.
    #[command(
        after_long_help = "Examples:\n  ergon runs prune\n  ergon runs prune --older-than 7d --dry-run"
    )]
    Prune {
        /// Only of runs that began so long ago, such as `12h` or `7d`.
        #[arg(long, value_name = "TIME", value_parser = time)]
        older_than: Option<Duration>,

        /// Only say what would be removed.
        #[arg(long)]
        dry_run: bool,
    },
}

pub fn runs(args: RunsArgs, console: Console) -> Result {
    let home = home()?;
    match args.action {
        Action::List { run: None, output } => list(&kept::runs(&home), output, console),
        Action::List { run: Some(run), output } => {
            steps(&kept::find(&home, Some(&run)).map_err(of_kept)?, output, console)
        }
        Action::Prune { older_than, dry_run } => {
            let gone = kept::prune_runs(&home, PruneRuns { older_than, dry_run });
            let word = if dry_run { "would remove" } else { "removed" };
            gone.iter().try_for_each(|run| console.line(&format!("{word} {} {}", run.id, run.record.name)))
        }
    }
}

/// An error of a run that has ended, with what to do.
pub fn of_kept(error: kept::KeptError) -> Failure {
    match error {
        kept::KeptError::NotFound { message, hint } => Failure::invalid(message).hint(hint),
        kept::KeptError::Run(error) => super::run::of_run(error),
        error => Failure::new(crate::failure::Code::RunFailed, ergon_local::chain(&error)),
    }
}

fn list(runs: &[KeptRun], output: Output, console: Console) -> Result {
    let object = |run: &KeptRun| {
        json!({
            "id": run.id, "name": run.record.name, "kind": run.record.kind, "target": run.record.target,
            "status": run.record.status, "began": run.record.began, "durationMs": run.record.duration_ms,
            "whole": run.is_whole, "folder": run.folder,
        })
    };
    match output {
        Output::Table => {
            let mut table = Table::new(&["ID", "RUN", "STATUS", "DURATION", "AGE", "KEPT"]);
            for run in runs {
                table.row(vec![
                    run.id.clone(),
                    run.record.name.clone(),
                    status(console.out, run.record.status),
                    duration(Duration::from_millis(run.record.duration_ms)),
                    age(console.now(), Some(run.record.began)),
                    if run.is_whole { "all of it" } else { "record" }.to_owned(),
                ]);
            }
            console.print(&table.render(console.out))
        }
        Output::Name => runs.iter().try_for_each(|run| console.line(&run.id)),
        Output::Json | Output::Yaml => {
            print(&json!(runs.iter().map(object).collect::<Vec<_>>()), output, console)
        }
    }
}

fn steps(run: &KeptRun, output: Output, console: Console) -> Result {
    let steps = run.steps();
    let took = |step: &kept::KeptStep| {
        let record = step.exit.as_ref()?;
        u64::try_from(record.finished_at - record.started_at?).ok()
    };
    match output {
        Output::Table => {
            let mut table = Table::new(&["STEP", "EXIT CODE", "DURATION"]);
            for step in &steps {
                let code = step.exit.as_ref().filter(|record| record.was_started());
                let code = code.map(|record| record.exit.code().to_string());
                table.row(vec![
                    step.name(),
                    match code {
                        Some(code) if step.has_failed() => console.out.red(&code),
                        Some(code) => code,
                        None => console.out.dim("not run"),
                    },
                    took(step).map(|took| duration(Duration::from_millis(took))).unwrap_or_default(),
                ]);
            }
            console.print(&table.render(console.out))
        }
        Output::Name => steps.iter().try_for_each(|step| console.line(&step.name())),
        Output::Json | Output::Yaml => {
            let objects = steps.iter().map(
                |step| json!({"task": step.task, "step": step.step, "pod": step.pod, "exit": step.exit}),
            );
            print(&json!(objects.collect::<Vec<_>>()), output, console)
        }
    }
}

fn print(what: &serde_json::Value, output: Output, console: Console) -> Result {
    let text = match output {
        Output::Yaml => serde_saphyr::to_string(what).map_err(|error| Failure::invalid(error.to_string()))?,
        _ => serde_json::to_string_pretty(what).map_err(|error| Failure::invalid(error.to_string()))?,
    };
    console.line(text.trim_end())
}

fn status(style: Style, status: Status) -> String {
    match status {
        Status::Succeeded => style.green("Succeeded"),
        Status::Failed => style.red("Failed"),
        Status::Cancelled => style.yellow("Cancelled"),
    }
}
