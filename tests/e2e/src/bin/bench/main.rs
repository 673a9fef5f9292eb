//! How much longer a run takes than the plain pods that it comes down to.
//!
//! For each case one plain pod (or as many at once as the case has tasks side by side), as many without any volume, and
//! one run, in turn, so that all see the same machine: a pod from its creation to its first container running, a run from its creation to its
//! success, each as a watch sees it. One line of JSON a case on standard output, a table on standard error.

mod cases;
mod measure;
mod memory;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser;
use e2e::{Space, in_space};
use serde_json::json;

use cases::{CASES, Case};
use measure::Times;

/// Measures runs against plain pods on the cluster that the tests use.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Arguments {
    /// How many times to measure each case; the long ones a third of it.
    #[arg(long, default_value_t = 10)]
    runs: usize,
    /// Only these cases.
    #[arg(long = "case")]
    cases: Vec<String>,
    /// End with exit code 1 when a case is over its budget.
    #[arg(long)]
    check: bool,
}

/// What was measured of one case.
struct Row {
    case: &'static Case,
    raw: Times,
    /// Pods without any volume: the kubelet looks at volumes again 300 ms after it first did, so that any volume costs
    /// a pod that time, and a run cannot do without.
    bare: Times,
    run: Times,
}

impl Row {
    fn ratio(&self) -> f64 {
        self.run.median() / self.raw.median()
    }

    fn is_over_budget(&self) -> bool {
        self.case.budget.is_some_and(|budget| self.ratio() > budget)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let unknown = arguments.cases.iter().find(|name| CASES.iter().all(|case| case.name != **name));
    if let Some(name) = unknown {
        let known: Vec<&str> = CASES.iter().map(|case| case.name).collect();
        anyhow::bail!("there is no case `{name}`: there are {}", known.join(", "));
    }
    let mut rows = Vec::new();
    in_space("bench", async |space| {
        let before = memory::controller(space.cluster()).await?;
        for case in CASES
            .iter()
            .filter(|case| arguments.cases.is_empty() || arguments.cases.iter().any(|name| name == case.name))
        {
            rows.push(bench(space, case, case.repetitions(arguments.runs)).await?);
        }
        let after = memory::controller(space.cluster()).await?;
        println!(
            "{}",
            json!({"case": "controller-memory", "idle_mib": rounded(before), "after_mib": rounded(after)})
        );
        eprintln!("controller: {before:.1} MiB before, {after:.1} MiB after");
        Ok(())
    })
    .await?;
    table(&rows);
    let over = rows.iter().filter(|row| row.is_over_budget()).count();
    Ok(if arguments.check && over > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn bench(space: &Space, case: &'static Case, runs: usize) -> Result<Row> {
    let (mut raw, mut bare, mut run) = (Times::default(), Times::default(), Times::default());
    for number in 0..runs {
        let name = format!("{}-{number}", case.name);
        for (times, bare, kind) in [(&mut raw, false, "raw"), (&mut bare, true, "bare")] {
            let pods: Vec<_> =
                (0..case.side_by_side).map(|pod| cases::pod(&format!("{name}-{kind}-{pod}"), bare)).collect();
            times.add(measure::pods(space, &pods).await.with_context(|| format!("{name}: {kind} pods"))?);
        }
        run.add(measure::run(space, &(case.object)(&name)).await.with_context(|| name.clone())?);
    }
    let row = Row { case, raw, bare, run };
    println!(
        "{}",
        json!({
            "case": case.name, "runs": runs,
            "raw_s": rounded(row.raw.median()), "run_s": rounded(row.run.median()), "ratio": rounded(row.ratio()),
            "raw_min_s": rounded(row.raw.min()), "raw_max_s": rounded(row.raw.max()),
            "run_min_s": rounded(row.run.min()), "run_max_s": rounded(row.run.max()),
            "bare_s": rounded(row.bare.median()), "bare_ratio": rounded(row.run.median() / row.bare.median()),
            "budget": case.budget,
        })
    );
    Ok(row)
}

fn table(rows: &[Row]) {
    eprintln!(
        "{:<16} {:>4}  {:>24}  {:>24}  {:>24}  {:>6}  {:>6}",
        "case", "runs", "bare pods, s", "plain pods, s", "run, s", "ratio", "budget"
    );
    for row in rows {
        let budget = row.case.budget.map_or_else(|| "-".to_owned(), |budget| format!("{budget}"));
        let over = if row.is_over_budget() { "  over" } else { "" };
        eprintln!(
            "{:<16} {:>4}  {:>24}  {:>24}  {:>24}  {:>6.2}  {budget:>6}{over}",
            row.case.name,
            row.run.count(),
            row.bare.to_string(),
            row.raw.to_string(),
            row.run.to_string(),
            row.ratio(),
        );
    }
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
