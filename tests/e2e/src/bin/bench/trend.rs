//! What earlier runs of the benchmark measured: a file with a line of JSON for each.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

/// The figures of a case by name. All have a unit in their names, or are ratios.
pub type Figures = BTreeMap<String, f64>;

/// One run of the benchmark.
#[derive(Debug, Serialize, Deserialize)]
pub struct Entry {
    /// When it began, in UTC.
    pub date: String,
    /// The commit that the benchmark was built from, with `+` where files had been changed since.
    pub commit: String,
    /// Processor, number of cores and memory. Only figures of one machine can be compared.
    pub machine: String,
    /// How many processes wanted to run, in the minute before it began.
    pub load: f64,
    /// The figures of each case.
    pub cases: BTreeMap<String, Figures>,
}

impl Entry {
    /// Of now and here, with no cases yet.
    pub fn begin() -> Self {
        Self {
            date: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            commit: commit(),
            machine: machine(),
            load: load(),
            cases: BTreeMap::new(),
        }
    }

    /// Adds this to the file.
    pub fn append(&self, file: &Path) -> Result<()> {
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        let mut open = OpenOptions::new()
            .create(true)
            .append(true)
            .open(file)
            .with_context(|| file.display().to_string())?;
        writeln!(open, "{}", serde_json::to_string(self)?).with_context(|| file.display().to_string())
    }
}

/// The last figures of each case on this machine, with the commit that they are of.
#[derive(Debug, Default)]
pub struct Last(BTreeMap<String, (String, Figures)>);

impl Last {
    /// Reads the file; what it has of other machines, or cannot be read, is left out.
    pub fn read(file: &Path, machine: &str) -> Self {
        let mut last = BTreeMap::new();
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let entries = text.lines().filter_map(|line| serde_json::from_str::<Entry>(line).ok());
        for entry in entries.filter(|entry| entry.machine == machine) {
            for (case, figures) in entry.cases {
                last.insert(case, (entry.commit.clone(), figures));
            }
        }
        Self(last)
    }

    /// How a figure has changed, such as `-12% since 1a2b3c4`; empty where it was not measured before.
    pub fn change(&self, case: &str, figure: &str, now: f64) -> String {
        let Some((commit, figures)) = self.0.get(case) else { return String::new() };
        match figures.get(figure) {
            Some(before) if *before != 0.0 && now.is_finite() => {
                format!("{:+.0}% since {commit}", (now / before - 1.0) * 100.0)
            }
            _ => String::new(),
        }
    }
}

fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(e2e::root()).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) else { return "unknown".to_owned() };
    let changed =
        git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|files| !files.is_empty());
    if changed { format!("{commit}+") } else { commit }
}

fn machine() -> String {
    let field = |file: &str, name: &str| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'));
        value.map(|value| value.trim().to_owned())
    };
    let processor = field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let kibibytes =
        field("/proc/meminfo", "MemTotal").and_then(|total| total.strip_suffix(" kB")?.parse::<u64>().ok());
    format!("{processor}, {cores} cores, {} GiB", kibibytes.unwrap_or_default().div_ceil(1 << 20))
}

fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|load| load.parse().ok()).unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_the_same_machine_counts() {
        let file = std::env::temp_dir().join(format!("ergon-trend-{}.jsonl", std::process::id()));
        let entry = |commit: &str, machine: &str, ratio: f64| Entry {
            date: String::new(),
            commit: commit.to_owned(),
            machine: machine.to_owned(),
            load: 0.0,
            cases: BTreeMap::from([("a".to_owned(), Figures::from([("ratio".to_owned(), ratio)]))]),
        };
        for entry in [entry("one", "here", 4.0), entry("two", "here", 2.0), entry("three", "there", 8.0)] {
            entry.append(&file).unwrap();
        }
        let last = Last::read(&file, "here");
        assert_eq!(last.change("a", "ratio", 3.0), "+50% since two");
        assert_eq!(last.change("a", "other", 3.0), "");
        assert_eq!(last.change("b", "ratio", 3.0), "");
        std::fs::remove_file(&file).unwrap();
    }
}
