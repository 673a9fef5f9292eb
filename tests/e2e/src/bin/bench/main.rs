//! How much longer runs take than the plain pods that they come down to, and how many of them there are in a second.
//!
//! For each case of the first sort one plain pod (or as many at once as the case has tasks side by side), as many without
//! any volume, and the runs, in turn, so that all see the same machine: a pod from its creation to its first container
//! running, a run from its creation to its success, each as a watch sees it. Cases of the second sort are on fake nodes,
//! which cost nothing. Those on this machine are of the whole command `ergon run`, and need no cluster. One line of JSON a case on standard output, a table on standard error, and a line in a file that
//! the next time is compared with.

mod cases;
mod controller;
mod fake_nodes;
mod gaps;
mod local;
mod measure;
mod scale;
mod shapes;
mod table;
mod trend;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use e2e::{Cluster, Space, in_space};
use regex::Regex;
use serde_json::{Value, json};

use cases::{CASES, Case, Kind, Latency};
use controller::Controller;
use fake_nodes::FakeNodes;
use gaps::Gaps;
use measure::Times;
use trend::{Entry, Figures, Last};

/// Measures runs against plain pods on the cluster that the tests use.
#[derive(Debug, Parser)]
#[command(
    name = "bench",
    after_help = "Examples:\n  bench --list\n  bench --only 'one-step|ten' --runs 20\n  \
        bench --only ^fake-            # the cases on fake nodes\n  \
        bench --only ^local-           # those that need no cluster\n  \
        bench --check --trend /dev/null  # compare with nothing, and keep nothing"
)]
struct Arguments {
    /// How many times to measure each case; the long ones a third of it, those on fake nodes once.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Only cases whose name this regular expression matches.
    #[arg(long, value_name = "REGEX")]
    only: Option<Regex>,
    /// List the cases, and measure nothing.
    #[arg(long)]
    list: bool,
    /// End with exit code 1 when a case is over its budget.
    #[arg(long)]
    check: bool,
    /// The file with the figures of earlier times, to which these are added [default: target/bench/trend.jsonl].
    #[arg(long, value_name = "FILE")]
    trend: Option<PathBuf>,
}

/// What was measured of one case.
struct Row {
    case: &'static Case,
    measured: Measured,
}

enum Measured {
    Latency {
        raw: Times,
        /// Pods without any volume: the kubelet looks at volumes again 300 ms after it first did, so that any volume
        /// costs a pod that time, and a run cannot do without.
        bare: Times,
        run: Times,
    },
    Gaps(Gaps),
    Scale(scale::Measured),
    Local(Times),
}

impl Row {
    /// What is over its budget, in words.
    fn over(&self) -> Vec<String> {
        let mut over = Vec::new();
        match (&self.case.kind, &self.measured) {
            (Kind::Latency(case), Measured::Latency { raw, run, .. }) => {
                let ratio = run.median() / raw.median();
                if let Some(budget) = case.budget.filter(|budget| ratio > *budget) {
                    over.push(format!("ratio {ratio:.2}, at most {budget}"));
                }
            }
            (Kind::Gap(case), Measured::Gaps(gaps)) => {
                let p99 = gaps.percentile(99);
                if p99 > case.budget {
                    over.push(format!("99 of 100 within {p99} ms, at most {} ms", case.budget));
                }
            }
            (Kind::Local(case), Measured::Local(times)) => {
                let median = times.median() * 1000.0;
                if median > case.budget {
                    over.push(format!("{median:.0} ms, at most {} ms", case.budget));
                }
            }
            (Kind::Scale(case), Measured::Scale(measured)) => {
                if let Some(rate) = case.rate.filter(|rate| measured.rate() < *rate) {
                    over.push(format!("{:.1} tasks/s, at least {rate}", measured.rate()));
                }
                if let Some(largest) = case.largest.filter(|largest| measured.largest() > *largest) {
                    over.push(format!("a run of {} bytes, at most {largest}", measured.largest()));
                }
                if let Some(memory) = case.memory.filter(|memory| measured.peak() > *memory) {
                    over.push(format!("{:.1} MiB, at most {memory}", measured.peak()));
                }
            }
            _ => {}
        }
        over
    }

    /// What is kept for comparison.
    fn figures(&self) -> Figures {
        let figures = match &self.measured {
            Measured::Latency { raw, run, .. } => {
                vec![("ratio", run.median() / raw.median()), ("run_s", run.median()), ("raw_s", raw.median())]
            }
            Measured::Local(times) => vec![("run_s", times.median())],
            Measured::Gaps(gaps) => vec![("p50_ms", gaps.percentile(50)), ("p99_ms", gaps.percentile(99))],
            Measured::Scale(measured) => vec![
                ("tasks_per_s", measured.rate()),
                ("controller_mib_peak", measured.peak()),
                ("cpu_ms_per_task", measured.processor_ms()),
                ("etcd_bytes_per_run", measured.bytes_a_run()),
            ],
        };
        let kept = figures.into_iter().filter(|(_, value)| value.is_finite());
        kept.map(|(name, value)| (name.to_owned(), rounded(value))).collect()
    }

    fn json(&self) -> Value {
        match (&self.case.kind, &self.measured) {
            (Kind::Latency(case), Measured::Latency { raw, bare, run }) => json!({
                "case": self.case.name, "runs": run.count(),
                "raw_s": rounded(raw.median()), "run_s": rounded(run.median()),
                "ratio": rounded(run.median() / raw.median()),
                "raw_min_s": rounded(raw.min()), "raw_max_s": rounded(raw.max()),
                "run_min_s": rounded(run.min()), "run_max_s": rounded(run.max()),
                "bare_s": rounded(bare.median()), "bare_ratio": rounded(run.median() / bare.median()),
                "budget": case.budget,
            }),
            (Kind::Gap(case), Measured::Gaps(gaps)) => gaps.json(self.case.name, case.budget),
            (_, Measured::Scale(measured)) => measured.json(self.case.name),
            (Kind::Local(case), Measured::Local(times)) => json!({
                "case": self.case.name, "runs": times.count(), "run_s": rounded(times.median()),
                "run_min_s": rounded(times.min()), "run_max_s": rounded(times.max()),
                "budget_ms": case.budget,
            }),
            // A case is measured as its kind says.
            _ => Value::Null,
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let is_wanted = |case: &&Case| arguments.only.as_ref().is_none_or(|only| only.is_match(case.name));
    let wanted: Vec<&'static Case> = CASES.iter().filter(is_wanted).collect();
    ensure!(!wanted.is_empty(), "no case has such a name: see `bench --list`");
    if arguments.list {
        for case in wanted {
            println!("{:<22} {}", case.name, case.about);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut bench =
        Bench { times: arguments.runs.into(), entry: Entry::begin(), rows: Vec::new(), failed: Vec::new() };
    let (here, there): (Vec<_>, Vec<_>) =
        wanted.into_iter().partition(|case| matches!(case.kind, Kind::Local(_)));
    for case in here {
        let Kind::Local(local) = &case.kind else { continue };
        let times = local::measure(case.name, local, bench.times).await;
        bench.take(case, times.map(|times| Row { case, measured: Measured::Local(times) }));
    }
    if !there.is_empty() {
        let Some(cluster) = Cluster::connect().await? else { return Ok(ExitCode::SUCCESS) };
        bench.in_cluster(&cluster, there).await?;
    }
    let Bench { entry, rows, failed, .. } = bench;
    let file = arguments.trend.unwrap_or_else(|| e2e::root().join("target/bench/trend.jsonl"));
    let last = Last::read(&file, &entry.machine);
    table::print(&entry, &rows, &last);
    entry.append(&file)?;
    for failure in &failed {
        eprintln!("not measured: {failure}");
    }
    let is_over = rows.iter().any(|row| !row.over().is_empty());
    Ok(if !failed.is_empty() || arguments.check && is_over { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What is measured, one case after another.
struct Bench {
    times: usize,
    entry: Entry,
    rows: Vec<Row>,
    failed: Vec<String>,
}

impl Bench {
    fn take(&mut self, case: &'static Case, measured: Result<Row>) {
        match measured.with_context(|| case.name) {
            Ok(row) => {
                println!("{}", row.json());
                self.entry.cases.insert(case.name.to_owned(), row.figures());
                self.rows.push(row);
            }
            Err(error) => {
                println!("{}", json!({"case": case.name, "error": format!("{error:#}")}));
                self.failed.push(format!("{error:#}"));
            }
        }
    }

    async fn in_cluster(&mut self, cluster: &Cluster, mut wanted: Vec<&'static Case>) -> Result<()> {
        let mut nodes = None;
        if wanted.iter().any(|case| case.is_on_fake_nodes()) {
            nodes = FakeNodes::get(cluster).await?;
            if nodes.is_none() {
                eprintln!("cases on fake nodes are left out: the cluster has no nodes of type kwok");
                wanted.retain(|case| !case.is_on_fake_nodes());
            }
        }
        let before = Controller::find(cluster).await?.memory().await?;
        for case in wanted {
            let measured = bench(case, self.times).await;
            self.take(case, measured);
        }
        let after = Controller::find(cluster).await?.memory().await?;
        println!(
            "{}",
            json!({"case": "controller-memory", "idle_mib": rounded(before), "after_mib": rounded(after)})
        );
        eprintln!("controller: {before:.1} MiB before, {after:.1} MiB after");
        if let Some(nodes) = nodes {
            nodes.remove().await?;
        }
        Ok(())
    }
}

async fn bench(case: &'static Case, times: usize) -> Result<Row> {
    let mut measured = None;
    in_space(&format!("bench-{}", case.name), async |space| {
        measured = Some(match &case.kind {
            Kind::Latency(latency) => {
                latencies(space, case.name, latency, latency.repetitions(times)).await?
            }
            Kind::Gap(gap) => Measured::Gaps(gaps::measure(space, case.name, gap, times.div_ceil(3)).await?),
            Kind::Scale(scale) => Measured::Scale(scale::measure(space, scale).await?),
            Kind::Local(local) => Measured::Local(local::measure(case.name, local, times).await?),
        });
        Ok(())
    })
    .await?;
    Ok(Row { case, measured: measured.context("nothing was measured")? })
}

async fn latencies(space: &Space, name: &str, case: &Latency, times: usize) -> Result<Measured> {
    let (mut raw, mut bare, mut run) = (Times::default(), Times::default(), Times::default());
    for number in 0..times {
        let name = format!("{name}-{number}");
        for (times, bare, kind) in [(&mut raw, false, "raw"), (&mut bare, true, "bare")] {
            let pods: Vec<_> = (0..case.side_by_side)
                .map(|pod| shapes::pod(&format!("{name}-{kind}-{pod}"), bare))
                .collect();
            times.add(measure::pods(space, &pods).await.with_context(|| format!("{name}: {kind} pods"))?);
        }
        run.add(measure::runs(space, &(case.runs)(&name)).await.with_context(|| name.clone())?);
    }
    Ok(Measured::Latency { raw, bare, run })
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
