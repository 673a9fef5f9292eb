//! Running a program to its end.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// How long any program that a test starts may take.
const LONGEST: Duration = Duration::from_mins(3);

/// What a program said, and how it ended.
#[derive(Debug)]
pub struct Finished {
    /// The exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Finished {
    /// Standard output of a program that succeeded.
    ///
    /// # Errors
    /// It did not, with what it said.
    pub fn ok(self) -> Result<String> {
        anyhow::ensure!(self.code == Some(0), "exit code {:?}: {}{}", self.code, self.stdout, self.stderr);
        Ok(self.stdout)
    }
}

/// Runs `program` with additional environment variables and `input` on its standard input.
///
/// # Errors
/// It cannot be started, or takes longer than three minutes; it is killed then.
pub async fn run_program(
    program: &Path,
    arguments: &[&str],
    environment: &[(&str, &OsStr)],
    input: &str,
) -> Result<Finished> {
    let mut child = Command::new(program)
        .args(arguments)
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("{} cannot be started", program.display()))?;
    let mut stdin = child.stdin.take().context("the program has no standard input")?;
    let input = input.as_bytes().to_vec();
    // Apart, so that a program that writes before it has read everything does not wait for ever. One that ends without
    // reading breaks the pipe, which is its right.
    let writer = tokio::spawn(async move {
        let _ = stdin.write_all(&input).await;
    });
    let output = tokio::time::timeout(LONGEST, child.wait_with_output()).await.with_context(|| {
        format!("{} {} did not end within {LONGEST:?}", program.display(), arguments.join(" "))
    })??;
    writer.await?;
    Ok(Finished {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
