//! What is printed: a table for people, or lines of JSON.

use std::time::Duration;

use serde_json::{Value, json};

use crate::explain::short;
use crate::file::{Row, Verdict};

/// One line of JSON for a file.
pub fn json(row: &Row) {
    println!(
        "{}",
        json!({
            "file": row.file,
            "pass": match row.verdict { Verdict::Passed => Value::Bool(true), Verdict::Failed => Value::Bool(false), Verdict::NoRun => Value::Null },
            "seconds": row.seconds.map(rounded),
            "reasons": row.reasons,
            "runs": row.shapes,
        })
    );
}

/// The last line of JSON.
pub fn json_summary(rows: &[Row], left: &[String], took: Duration) {
    let failed: Vec<&str> = rows.iter().filter(|row| row.failed()).map(|row| row.file.as_str()).collect();
    println!(
        "{}",
        json!({"summary": {
            "files": rows.len(),
            "pass": passed(rows),
            "fail": failed,
            "seconds": rounded(took.as_secs_f64()),
            "namespaces_not_gone": left,
        }})
    );
}

/// One line on standard error for a file that has ended.
pub fn progress(row: &Row, number: usize, of: usize) {
    let seconds = row.seconds.map(|seconds| format!(" ({seconds:.1} s)")).unwrap_or_default();
    let reason = row.reasons.first().map(|reason| format!(": {reason}")).unwrap_or_default();
    eprintln!("[{number}/{of}] {} {}{seconds}{reason}", row.verdict.word(), row.file);
}

/// A row for each file, and below it why it failed.
pub fn table(rows: &[Row]) {
    let width = rows.iter().map(|row| row.file.len()).max().unwrap_or(0).max(4);
    println!("{:<width$}  {:<6}  {:>7}  {:>7}", "FILE", "", "SECONDS", "TEKTON");
    for row in rows {
        let seconds = |value: Option<f64>| value.map(|value| format!("{value:.1}")).unwrap_or_default();
        let line = format!(
            "{:<width$}  {:<6}  {:>7}  {:>7}",
            row.file,
            row.verdict.word(),
            seconds(row.seconds),
            seconds(row.seconds_elsewhere)
        );
        println!("{}", line.trim_end());
        for reason in &row.reasons {
            println!("    {reason}");
        }
    }
}

/// The last line: how many passed.
pub fn totals(rows: &[Row], took: Duration, on_stderr: bool) {
    let failed = rows.iter().filter(|row| row.failed()).count();
    let text = format!("{} passed, {failed} failed", passed(rows));
    eprintln!("{} files in {:.0} s", rows.len(), took.as_secs_f64());
    if on_stderr {
        eprintln!("{text}");
    } else {
        println!("{text}");
    }
}

/// What differs between two shapes of the same run, a line for each part.
pub fn differences(wanted: &Value, got: &Value) -> Vec<String> {
    let (Some(wanted_parts), Some(got_parts)) = (wanted.as_object(), got.as_object()) else {
        return vec![short(&format!("expected {wanted}, got {got}"))];
    };
    wanted_parts
        .iter()
        .filter(|(part, value)| got_parts.get(*part) != Some(value))
        .map(|(part, value)| short(&format!("{part}: expected {value}, got {}", got[part])))
        .collect()
}

fn passed(rows: &[Row]) -> usize {
    rows.iter().filter(|row| row.verdict == Verdict::Passed).count()
}

fn rounded(seconds: f64) -> f64 {
    (seconds * 100.0).round() / 100.0
}
