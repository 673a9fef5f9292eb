//! `ergon test`: the tests that stand beside Tasks and Pipelines.

use std::path::PathBuf;
use std::time::Instant;

use clap::{Args, ValueEnum};
use ergon_local::Stop;
use ergon_local::test::{self, Coverage, Played, Suite, TestError};
use futures::StreamExt;
use tokio::sync::watch;

use super::run::home;
use crate::console::Console;
use crate::failure::{Code, Failure, Result};
use crate::junit;
use crate::render::{Tested, covered, tested, tested_json, totals};

/// Runs the tests beside Tasks and Pipelines, on this machine.
///
/// Tests are files of the kind Test in folders called `tests`; `docs/testing.md` says what they may have. Where all
/// tasks of a run are mocked, no container is started. Exit codes: 0 all passed, 1 a test failed, 2 the tests
/// themselves are wrong.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ergon test                              all tests below this folder
  ergon test tasks/build -k 'no source'   those of one Task, by a part of their names
  ergon test --junit report.xml -j 8")]
pub struct TestArgs {
    /// Folders, and files with tests; this folder when absent.
    #[arg(value_name = "PLACE")]
    places: Vec<PathBuf>,

    /// Only tests with this text in their name, which is `FILE'S NAME: CASE`.
    #[arg(short = 'k', long, value_name = "TEXT")]
    filter: Option<String>,

    /// How many at a time; as many as there are processors when absent.
    #[arg(short, long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,

    /// Write a report in JUnit's form to this file too.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,

    /// How to show it: text for people, or JSON.
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: TestOutput,
}

/// How to show tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum TestOutput {
    #[default]
    Text,
    Json,
}

pub async fn test(args: TestArgs, console: Console) -> Result {
    let places = if args.places.is_empty() { vec![PathBuf::from(".")] } else { args.places };
    let suites = load(&places)?;
    let wanted = |suite: &Suite, case: usize| {
        args.filter.as_ref().is_none_or(|filter| name_of(suite, case).contains(filter.as_str()))
    };
    let cases: Vec<(&Suite, usize)> = suites
        .iter()
        .flat_map(|suite| (0..suite.definition.spec.cases.len()).map(move |case| (suite, case)))
        .filter(|(suite, case)| wanted(suite, *case))
        .collect();
    if cases.is_empty() {
        let what = args.filter.map_or_else(String::new, |filter| format!(" with `{filter}` in their names"));
        return Err(wrong(
            Failure::invalid(format!("there are no tests{what}"))
                .hint("tests are files of the kind Test in folders called `tests`: see docs/testing.md"),
        ));
    }
    let begun = Instant::now();
    let home = home()?;
    let jobs = args
        .jobs
        .map_or_else(|| std::thread::available_parallelism().map_or(2, std::num::NonZero::get), usize::from);
    let (stop, stopped) = watch::channel(Stop::No);
    let mut running = futures::stream::iter(cases.iter().map(|(suite, case)| {
        let (home, stopped) = (home.clone(), stopped.clone());
        async move { (*suite, *case, Box::pin(test::play(suite, *case, &home, stopped)).await) }
    }))
    .buffer_unordered(jobs);
    let mut all: Vec<Tested<'_>> = Vec::new();
    loop {
        tokio::select! {
            next = running.next() => {
                let Some((suite, case, played)) = next else { break };
                let one = of(suite, case, played);
                if args.output == TestOutput::Text {
                    console.print(&tested(&one, console.out))?;
                }
                all.push(one);
            }
            Ok(()) = tokio::signal::ctrl_c() => {
                console.say("\nending everything");
                stop.send_replace(Stop::Now);
                // What has not begun is not begun any more.
                while let Some((suite, case, played)) = running.next().await {
                    all.push(of(suite, case, played));
                }
                return Err(Failure::silent(Code::RunFailed));
            }
        }
    }
    drop(running);
    let branches = all.iter().flat_map(|one| one.played.branches.iter().map(|branch| (one.suite, branch)));
    let coverage = Coverage::of(branches);
    match args.output {
        TestOutput::Text => {
            console.print(&covered(&coverage, console.out))?;
            console.print(&totals(&all, begun.elapsed(), console.out))?;
        }
        TestOutput::Json => {
            let text = serde_json::to_string_pretty(&tested_json(&all, &coverage, begun.elapsed()))
                .map_err(|error| Failure::invalid(error.to_string()))?;
            console.line(&text)?;
        }
    }
    if let Some(path) = &args.junit {
        junit::write_tests(path, &all, begun.elapsed())?;
    }
    if all.iter().all(Tested::passed) { Ok(()) } else { Err(Failure::silent(Code::RunFailed)) }
}

fn of(suite: &Suite, case: usize, played: Played) -> Tested<'_> {
    Tested { suite, case, name: name_of(suite, case), played }
}

fn name_of(suite: &Suite, case: usize) -> String {
    format!("{}: {}", suite.definition.metadata.name, suite.definition.spec.cases[case].name)
}

fn load(places: &[PathBuf]) -> Result<Vec<Suite>> {
    let mut suites = Vec::new();
    let mut failures = Vec::new();
    for file in test::find(places).map_err(of_test)? {
        match test::load(&file) {
            Ok(more) => suites.extend(more),
            Err(error) => failures.push(of_test(error).message),
        }
    }
    if failures.is_empty() {
        return Ok(suites);
    }
    failures.dedup();
    Err(wrong(Failure::invalid(failures.join("\n\nerror: "))))
}

fn of_test(error: TestError) -> Failure {
    wrong(match error {
        TestError::Unreadable(message) => Failure::invalid(message),
        TestError::Wrong { problems, text } => Failure::diagnostics(&problems, &text),
    })
}

/// Tests that are wrong are no tests that failed.
fn wrong(failure: Failure) -> Failure {
    Failure { code: Code::Usage, ..failure }
}
