//! The tables at the end.

use crate::cases::Kind;
use crate::trend::{Entry, Last};
use crate::{Measured, Row};

/// Prints what was measured to standard error, with the change since the last time on this machine.
pub fn print(entry: &Entry, rows: &[Row], last: &Last) {
    eprintln!("{} at {} on {}; load {}", entry.commit, entry.date, entry.machine, entry.load);
    let is_latency = |row: &&Row| matches!(row.measured, Measured::Latency { .. });
    if rows.iter().any(|row| is_latency(&row)) {
        eprintln!(
            "{:<22} {:>4}  {:>20}  {:>20}  {:>20}  {:>6}  {:>6}",
            "case", "runs", "bare pods, s", "plain pods, s", "run, s", "ratio", "budget"
        );
    }
    for row in rows.iter().filter(is_latency) {
        let (Kind::Latency(case), Measured::Latency { raw, bare, run }) = (&row.case.kind, &row.measured)
        else {
            continue;
        };
        let ratio = run.median() / raw.median();
        eprintln!(
            "{:<22} {:>4}  {:>20}  {:>20}  {:>20}  {ratio:>6.2}  {:>6}  {}",
            row.case.name,
            run.count(),
            bare.to_string(),
            raw.to_string(),
            run.to_string(),
            case.budget.map_or_else(|| "-".to_owned(), |budget| budget.to_string()),
            last.change(row.case.name, "ratio", ratio),
        );
    }
    let gaps = rows.iter().filter_map(|row| match (&row.case.kind, &row.measured) {
        (Kind::Gap(case), Measured::Gaps(gaps)) => Some((row.case.name, case, gaps)),
        _ => None,
    });
    for (at, (name, case, gaps)) in gaps.enumerate() {
        if at == 0 {
            eprintln!(
                "{:<22} {:>4}  {:>8}  {:>8}  {:>8}  {:>6}",
                "case", "gaps", "p50, ms", "p99, ms", "most, ms", "budget"
            );
        }
        eprintln!(
            "{name:<22} {:>4}  {:>8.0}  {:>8.0}  {:>8.0}  {:>6.0}  {}",
            gaps.count(),
            gaps.percentile(50),
            gaps.percentile(99),
            gaps.percentile(100),
            case.budget,
            last.change(name, "p99_ms", gaps.percentile(99)),
        );
    }
    let here = rows.iter().filter_map(|row| match (&row.case.kind, &row.measured) {
        (Kind::Local(case), Measured::Local(times)) => Some((row.case.name, case, times)),
        _ => None,
    });
    for (at, (name, case, times)) in here.enumerate() {
        if at == 0 {
            eprintln!("{:<22} {:>4}  {:>20}  {:>10}", "case", "runs", "command, s", "budget, ms");
        }
        eprintln!(
            "{name:<22} {:>4}  {:>20}  {:>10.0}  {}",
            times.count(),
            times.to_string(),
            case.budget,
            last.change(name, "run_s", times.median()),
        );
    }
    if rows.iter().any(|row| matches!(row.measured, Measured::Scale(_))) {
        eprintln!(
            "{:<22} {:>8} {:>11} {:>13} {:>14} {:>13}",
            "case", "tasks/s", "MiB at most", "CPU ms/task", "etcd KiB/run", "pods alone/s"
        );
    }
    for row in rows {
        let Measured::Scale(measured) = &row.measured else { continue };
        eprintln!(
            "{:<22} {:>8.1} {:>11.1} {:>13.2} {:>14.1} {:>13.1}  {}",
            row.case.name,
            measured.rate(),
            measured.peak(),
            measured.processor_ms(),
            measured.bytes_a_run() / 1024.0,
            measured.pods_a_second(),
            last.change(row.case.name, "tasks_per_s", measured.rate()),
        );
    }
    for row in rows {
        for over in row.over() {
            eprintln!("over its budget: {}: {over}", row.case.name);
        }
    }
}
