//! Measures what one step costs beside its own work: from the exit of its command to the start of the next one's,
//! through the real agent and real shims, each of these a process of its own.
//!
//! `cargo run --release -p ergon-agent --example step_gap -- [STEPS]`

use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use ergon_agent::carry_out;
use ergon_wire::{PLAN_VERSION, PodPlan, PodReport, StepPlan, StepState, TaskPlan};
use nix::time::{ClockId, clock_gettime};
use tokio::sync::{mpsc, watch};

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match args.next().as_deref().and_then(|first| first.to_str()) {
        Some("shim") => ergon_shim::run(args),
        Some("stamp") => {
            let file = args.next().unwrap_or_default();
            let start = nanos();
            let mut file =
                std::fs::OpenOptions::new().append(true).create(true).open(file).expect("the file of times");
            writeln!(file, "{start} {}", nanos()).expect("room for the times");
            ExitCode::SUCCESS
        }
        steps => measure(steps.and_then(|steps| steps.parse().ok()).unwrap_or(100)),
    }
}

/// One pod whose steps do nothing but write down when they start and end.
fn measure(steps: usize) -> ExitCode {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| directory.path().join(name).display().to_string();
    let own = std::env::current_exe().expect("this program").display().to_string();
    let step = |step: usize| StepPlan {
        container: format!("step-{step}"),
        argv: vec![own.clone(), "stamp".to_owned(), at("times")],
        results_dir: at("results"),
        step_dir: at(&format!("steps/step-{step}")),
        message_limit: 4096,
        result_limit: 1 << 20,
        grace_ms: 10_000,
        ..Default::default()
    };
    let task =
        TaskPlan { name: "task".to_owned(), steps: (0..steps).map(step).collect(), ..Default::default() };
    let plan = PodPlan { version: PLAN_VERSION, tasks: vec![task], ..Default::default() };
    let started = Instant::now();
    let report = run(&plan, directory.path(), &own);
    let took = started.elapsed();
    let failed = report
        .steps
        .iter()
        .find(|step| !matches!(&step.state, StepState::Ended { record } if record.exit.is_success()));
    if let Some(step) = failed {
        eprintln!("{}: {:?}", step.container, step.state);
        return ExitCode::FAILURE;
    }
    let times = std::fs::read_to_string(at("times")).expect("the file of times");
    let times: Vec<(i64, i64)> = times
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(start, end)| Some((start.parse().ok()?, end.parse().ok()?)))
        .collect();
    let mut gaps: Vec<i64> = times.windows(2).map(|pair| (pair[1].0 - pair[0].1) / 1000).collect();
    gaps.sort_unstable();
    let at = |percent: usize| gaps.get(gaps.len().saturating_sub(1) * percent / 100).copied().unwrap_or(0);
    println!(
        "{steps} steps in {took:?}; from one's end to the next one's start: p50 {} us, p99 {} us",
        at(50),
        at(99)
    );
    ExitCode::SUCCESS
}

#[tokio::main(flavor = "current_thread")]
async fn run(plan: &PodPlan, directory: &Path, own: &str) -> PodReport {
    let (reports, _newest) = watch::channel(PodReport::default());
    let (_events, outside) = mpsc::unbounded_channel();
    let run_dir = directory.join("run");
    let mut shims = Vec::new();
    for step in &plan.tasks[0].steps {
        let place = run_dir.join(&step.container);
        std::fs::create_dir_all(&place).expect("a directory for each step");
        let mut shim = Command::new(own);
        shim.args(["shim", "--run-dir"]).arg(place).stdin(Stdio::null());
        shim.env("ERGON_TERMINATION_MESSAGE", directory.join(format!("message-{}", step.container)));
        shims.push(shim.spawn().expect("a shim"));
    }
    let report = carry_out(plan, &run_dir, &reports, outside).await.expect("sockets").report;
    for mut shim in shims {
        shim.wait().expect("the end of a shim");
    }
    report
}

/// On the clock that all processes share.
fn nanos() -> i64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("the clock");
    now.tv_sec() * 1_000_000_000 + now.tv_nsec()
}
