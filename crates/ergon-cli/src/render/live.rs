//! A local run as it goes: lines as they come, a line for each thing under way on a terminal, tables at the end.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use ergon_api::ParamValue;
use ergon_local::event::{Event, Status};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Failures, LogPainter, Style, Table, bytes, duration};
use crate::console::Console;
use crate::failure::Result;

/// Gives where a step of a task stands in the files.
pub type Place = Box<dyn Fn(&str, &str) -> Option<String>>;

/// Shows events.
pub struct Live {
    console: Console,
    painter: LogPainter,
    /// What became of each task.
    pub summary: Summary,
    /// What failed.
    pub failures: Failures,
    /// Where a step of a task stands in the files.
    place: Place,
    kept: Option<PathBuf>,
    progress: MultiProgress,
    /// What is under way, by task or image.
    bars: BTreeMap<String, ProgressBar>,
}

impl Live {
    /// Shows on this console.
    pub fn new(console: Console, place: Place) -> Self {
        let target = if console.live { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self {
            console,
            painter: LogPainter::new(console.out, false),
            summary: Summary::default(),
            failures: Failures::default(),
            place,
            kept: None,
            progress: MultiProgress::with_draw_target(target),
            bars: BTreeMap::new(),
        }
    }

    /// Remembers one event for the end, without showing it.
    pub fn note(&mut self, event: &Event) {
        self.summary.note(event);
        self.failures.note(event);
    }

    /// Shows one event.
    pub fn show(&mut self, event: &Event) -> Result {
        self.note(event);
        match event {
            Event::RunStarted { .. } => {}
            Event::ImagePull { image, done_bytes, total_bytes, complete } => {
                self.pull(image, *done_bytes, *total_bytes, *complete);
            }
            Event::PodProgress { tasks, message } => self.pod_progress(tasks, message),
            Event::TaskStarted { task, attempt } => {
                let word = if *attempt > 1 { format!("try {attempt}") } else { "starts".to_owned() };
                let message = format!("{} {word}", self.painter.task(task));
                self.bar(task).set_message(message);
            }
            Event::StepStarted { task, step } => {
                let message = format!("{} {step}", self.painter.task(task));
                self.bar(task).set_message(message);
            }
            Event::Line { task, step, text, .. } => {
                let line = self.painter.line(task, step, None, text);
                let console = self.console;
                self.progress.suspend(|| console.line(&line))?;
            }
            Event::StepEnded { task, step, exit_code, reason, .. } => {
                if *exit_code != 0 {
                    let why =
                        reason.as_deref().map_or_else(|| format!("exit code {exit_code}"), str::to_owned);
                    let text =
                        format!("{} | {step}: {}", self.task_for_stderr(task), self.console.err.red(&why));
                    self.say(&text);
                }
            }
            Event::TaskEnded { task, status, message, duration_ms, .. } => {
                self.clear(task);
                if *status != Status::Succeeded {
                    let took = duration(Duration::from_millis(*duration_ms));
                    let word = self.console.err.red(word(*status));
                    let message = if message.is_empty() { String::new() } else { format!(": {message}") };
                    let text = format!("{} {word} after {took}{message}", self.task_for_stderr(task));
                    self.say(&text);
                }
            }
            Event::Skipped { task, .. } => self.clear(task),
            Event::Kept { folder } => self.kept = Some(folder.clone()),
            Event::RunEnded { .. } => {
                for (_, bar) in std::mem::take(&mut self.bars) {
                    bar.finish_and_clear();
                }
                let style = self.console.out;
                let text =
                    format!("{}{}", self.failures.render(style, &self.place), self.summary.render(style));
                self.console.print(&text)?;
                match &self.kept {
                    Some(folder) => self.console.say(&format!("kept in {}", folder.display())),
                    None if self.summary.has_failed() => {
                        self.console.hint("`--keep` keeps the logs and folders of the run for a look");
                    }
                    None => {}
                }
            }
        }
        Ok(())
    }

    /// A sentence for people, above what is under way.
    pub fn say(&self, text: &str) {
        self.progress.suspend(|| self.console.say(text));
    }

    fn task_for_stderr(&mut self, task: &str) -> String {
        // The painter's colours are for stdout.
        if self.console.out == self.console.err { self.painter.task(task) } else { task.to_owned() }
    }

    fn bar(&mut self, key: &str) -> &ProgressBar {
        self.bars.entry(key.to_owned()).or_insert_with(|| {
            let bar = self.progress.add(ProgressBar::new_spinner());
            // The template is ours and never wrong; the default is as good where it were.
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
                bar.set_style(style);
            }
            if self.console.live {
                bar.enable_steady_tick(Duration::from_millis(120));
            }
            bar
        })
    }

    fn clear(&mut self, key: &str) {
        if let Some(bar) = self.bars.remove(key) {
            bar.finish_and_clear();
        }
    }

    fn pull(&mut self, image: &str, done: u64, total: Option<u64>, complete: bool) {
        if complete {
            self.clear(image);
            return;
        }
        if !self.console.live && !self.bars.contains_key(image) {
            self.console.say(&format!("pulling {image}"));
        }
        let amount = match total {
            Some(total) => format!("{} of {}", bytes(done), bytes(total)),
            None => bytes(done),
        };
        self.bar(image).set_message(format!("pulling {image} {amount}"));
    }

    fn pod_progress(&mut self, tasks: &[String], message: &str) {
        let names = tasks.join(", ");
        if self.console.live {
            for task in tasks {
                let text = format!("{} {message}", self.painter.task(task));
                self.bar(task).set_message(text);
            }
        } else {
            self.console.say(&format!("{names}: {message}"));
        }
    }
}

/// How it all ended.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Summary {
    /// The tasks in the order in which they are written, then as they appear.
    rows: Vec<Row>,
    end: Option<End>,
}

/// A task of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Its name.
    pub task: String,
    /// What became of it; none: it never started.
    pub outcome: Option<Outcome>,
}

/// What became of a task.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It ran.
    Ended {
        /// How it ended.
        status: Status,
        /// Why, in a word.
        reason: String,
        /// Why, as a sentence.
        message: String,
        /// How long it took.
        duration_ms: u64,
    },
    /// It did not run.
    Skipped {
        /// Why.
        reason: String,
    },
}

#[derive(Debug, Clone, PartialEq)]
struct End {
    status: Status,
    results: BTreeMap<String, ParamValue>,
    message: String,
    duration_ms: u64,
}

impl Summary {
    /// Takes an event into account.
    pub fn note(&mut self, event: &Event) {
        match event {
            Event::RunStarted { tasks, .. } => {
                for task in tasks {
                    self.row(task);
                }
            }
            Event::TaskEnded { task, status, reason, message, duration_ms } => {
                self.row(task).outcome = Some(Outcome::Ended {
                    status: *status,
                    reason: reason.clone(),
                    message: message.clone(),
                    duration_ms: *duration_ms,
                });
            }
            Event::Skipped { task, reason } => {
                self.row(task).outcome = Some(Outcome::Skipped { reason: reason.clone() });
            }
            Event::RunEnded { status, results, message, duration_ms } => {
                self.end = Some(End {
                    status: *status,
                    results: results.clone(),
                    message: message.clone(),
                    duration_ms: *duration_ms,
                });
            }
            _ => {}
        }
    }

    /// All tasks.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// How long the run took.
    pub fn took(&self) -> Duration {
        Duration::from_millis(self.end.as_ref().map_or(0, |end| end.duration_ms))
    }

    fn has_failed(&self) -> bool {
        self.end.as_ref().is_some_and(|end| end.status == Status::Failed)
    }

    fn row(&mut self, task: &str) -> &mut Row {
        let at = self.rows.iter().position(|row| row.task == task).unwrap_or_else(|| {
            self.rows.push(Row { task: task.to_owned(), outcome: None });
            self.rows.len() - 1
        });
        &mut self.rows[at]
    }

    /// The tables.
    pub fn render(&self, style: Style) -> String {
        let mut tasks = Table::new(&["TASK", "STATUS", "DURATION", "REASON"]);
        for row in &self.rows {
            let cells = match &row.outcome {
                Some(Outcome::Ended { status, reason, duration_ms, .. }) => [
                    paint(style, *status),
                    duration(Duration::from_millis(*duration_ms)),
                    // The usual reason says nothing that the status does not.
                    if reason == word(*status) { String::new() } else { reason.clone() },
                ],
                Some(Outcome::Skipped { reason }) => [style.dim("Skipped"), String::new(), reason.clone()],
                None => [style.dim("Not run"), String::new(), String::new()],
            };
            tasks.row([row.task.clone()].into_iter().chain(cells).collect());
        }
        let mut text = String::new();
        if !tasks.is_empty() {
            text = format!("\n{}", tasks.render(style));
        }
        let Some(end) = &self.end else { return text };
        let mut results = Table::new(&["RESULT", "VALUE"]);
        for (name, value) in &end.results {
            results.row(vec![name.clone(), value.to_string().trim_end().to_owned()]);
        }
        if !results.is_empty() {
            text.push('\n');
            text.push_str(&results.render(style));
        }
        let took = duration(Duration::from_millis(end.duration_ms));
        let message = if end.message.is_empty() { String::new() } else { format!(": {}", end.message) };
        text.push_str(&format_end(style, end.status, &took, &message));
        text
    }
}

fn format_end(style: Style, status: Status, took: &str, message: &str) -> String {
    format!("\n{} in {took}{message}\n", paint(style, status))
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Succeeded => "Succeeded",
        Status::Failed => "Failed",
        Status::Cancelled => "Cancelled",
    }
}

fn paint(style: Style, status: Status) -> String {
    match status {
        Status::Succeeded => style.green(word(status)),
        Status::Failed => style.red(word(status)),
        Status::Cancelled => style.yellow(word(status)),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn summary(events: &[Event]) -> String {
        let mut summary = Summary::default();
        for event in events {
            summary.note(event);
        }
        summary.render(Style::PLAIN)
    }

    #[test]
    fn the_tables_tell_what_became_of_every_task() {
        let ended = |task: &str, status, reason: &str, duration_ms| Event::TaskEnded {
            task: task.to_owned(),
            status,
            reason: reason.to_owned(),
            message: String::new(),
            duration_ms,
        };
        let tasks = ["build", "test", "deploy", "notify"].map(str::to_owned).to_vec();
        let text = summary(&[
            Event::RunStarted { run: "r".to_owned(), tasks },
            ended("test", Status::Failed, "TaskRunTimeout", 61_000),
            ended("build", Status::Succeeded, "Succeeded", 1_250),
            Event::Skipped { task: "deploy".to_owned(), reason: "PipelineRun was stopping".to_owned() },
            Event::RunEnded {
                status: Status::Failed,
                results: [("digest".to_owned(), ParamValue::from("sha256:1"))].into(),
                message: "Tasks Completed: 2 (Failed: 1, Cancelled 0), Skipped: 1".to_owned(),
                duration_ms: 62_000,
            },
        ]);
        expect![[r"

            TASK    STATUS     DURATION  REASON
            build   Succeeded  1.2s
            test    Failed     1m1s      TaskRunTimeout
            deploy  Skipped              PipelineRun was stopping
            notify  Not run

            RESULT  VALUE
            digest  sha256:1

            Failed in 1m2s: Tasks Completed: 2 (Failed: 1, Cancelled 0), Skipped: 1
        "]]
        .assert_eq(&text);
    }
}
