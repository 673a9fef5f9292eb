//! Runs on this machine: how long the whole command takes, from its start to its exit.

use std::time::Instant;

use anyhow::{Result, ensure};
use e2e::{ergon, root, run_program};

use crate::cases::Local;
use crate::measure::Times;

/// Measures so many runs, after one that brings everything into the caches.
pub async fn measure(name: &str, case: &Local, times: usize) -> Result<Times> {
    let home = root().join("target/bench/home");
    let environment = [("ERGON_HOME", home.as_os_str())];
    let images = run_program(&root().join("tests/cluster/build"), &["images"], &[], "").await?.ok()?;
    let archive = format!("{}/busybox.tar", images.trim());
    run_program(&ergon(), &["images", "import", &archive], &environment, "").await?.ok()?;
    let file = home.join(format!("{name}.json"));
    std::fs::write(&file, serde_json::to_vec(&(case.run)(name))?)?;
    let file = file.display().to_string();
    let mut measured = Times::default();
    for number in 0..=times {
        let begun = Instant::now();
        let done = run_program(&ergon(), &["run", &file], &environment, "").await?;
        let took = begun.elapsed();
        ensure!(done.code == Some(0), "exit code {:?}: {}{}", done.code, done.stdout, done.stderr);
        if number > 0 {
            measured.add(took.as_secs_f64());
        }
    }
    Ok(measured)
}
