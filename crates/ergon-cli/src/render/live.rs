//! A local run as it goes: lines as they come, a line for each thing under way on a terminal, tables at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ergon_api::ParamValue;
use ergon_local::event::{Event, Status};

use super::{Failures, LogPainter, Screen, Style, Table, Tree, duration};
use crate::console::Console;
use crate::failure::Result;

/// Gives where a step of a task stands in the files.
pub type Place = Box<dyn Fn(&str, &str) -> Option<String>>;

/// How often the tree is drawn anew, and lines are written above it.
pub const FRAME: Duration = Duration::from_millis(80);

/// Shows events: on a terminal the tree of tasks below the lines that are printed, else the lines alone.
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
    tree: Tree,
    screen: Screen,
    /// What is to be written above the tree.
    waiting: Vec<Text>,
    /// The images whose pull was told.
    pulled: BTreeSet<String>,
}

enum Text {
    /// For stdout.
    Data(String),
    /// For stderr.
    Talk(String),
}

impl Live {
    /// Shows on this console.
    pub fn new(console: Console, place: Place) -> Self {
        Self {
            console,
            painter: LogPainter::new(console.out, false),
            summary: Summary::default(),
            failures: Failures::default(),
            place,
            kept: None,
            tree: Tree::default(),
            screen: Screen::default(),
            waiting: Vec::new(),
            pulled: BTreeSet::new(),
        }
    }

    /// Remembers one event for the end, without showing it.
    pub fn note(&mut self, event: &Event) {
        self.summary.note(event);
        self.failures.note(event);
        if let Event::Kept { folder } = event {
            self.kept = Some(folder.clone());
        }
    }

    /// Shows one event. On a terminal most of it is seen with the next [`Self::frame`].
    pub fn show(&mut self, event: &Event) -> Result {
        self.note(event);
        if self.console.live {
            self.tree.note(event, Instant::now());
        }
        match event {
            Event::ImagePull { image, .. } => {
                if !self.console.live && self.pulled.insert(image.clone()) {
                    self.say(&format!("pulling {image}"))?;
                }
            }
            Event::PodProgress { tasks, message } => {
                if !self.console.live {
                    self.say(&format!("{}: {message}", tasks.join(", ")))?;
                }
            }
            Event::Line { task, step, text, .. } => {
                let line = self.painter.line(task, step, None, text);
                self.write(Text::Data(line))?;
            }
            Event::StepEnded { task, step, exit_code, reason, .. } => {
                if *exit_code != 0 {
                    let why =
                        reason.as_deref().map_or_else(|| format!("exit code {exit_code}"), str::to_owned);
                    let text =
                        format!("{} | {step}: {}", self.task_for_stderr(task), self.console.err.red(&why));
                    self.say(&text)?;
                }
            }
            Event::TaskEnded { task, status, message, duration_ms, .. } => {
                if *status != Status::Succeeded {
                    let took = duration(Duration::from_millis(*duration_ms));
                    let word = self.console.err.red(word(*status));
                    let message = if message.is_empty() { String::new() } else { format!(": {message}") };
                    let text = format!("{} {word} after {took}{message}", self.task_for_stderr(task));
                    self.say(&text)?;
                }
            }
            Event::RunStarted { .. }
            | Event::TaskStarted { .. }
            | Event::StepStarted { .. }
            | Event::Skipped { .. }
            | Event::Reused { .. }
            | Event::Kept { .. } => {}
            Event::RunEnded { .. } => self.end()?,
        }
        Ok(())
    }

    fn end(&mut self) -> Result {
        self.screen.clear();
        self.flush()?;
        let style = self.console.out;
        let text = format!("{}{}", self.failures.render(style, &self.place), self.summary.render(style));
        self.console.print(&text)?;
        match &self.kept {
            Some(folder) if self.summary.has_failed() => {
                if self.failures.has_any() {
                    self.console.hint(
                        "`ergon shell` opens a shell where it failed, `ergon replay` runs that step again",
                    );
                }
                self.console.say(&format!("kept in {}", folder.display()));
            }
            Some(folder) => self.console.say(&format!("kept in {}", folder.display())),
            None => {}
        }
        Ok(())
    }

    /// Draws the tree as it is now, below what was printed meanwhile. Nothing where there is no terminal.
    pub fn frame(&mut self) -> Result {
        if !self.console.live {
            return Ok(());
        }
        let (columns, rows) = Screen::size();
        if !self.waiting.is_empty() {
            self.screen.clear();
            self.flush()?;
        }
        // Half of the terminal is for what is printed.
        let lines = self.tree.render(columns, (rows / 2).max(1), Instant::now(), self.console.err);
        self.screen.draw(&lines, columns);
        Ok(())
    }

    /// A sentence for people, above what is under way.
    ///
    /// # Errors
    /// Nobody reads stdout any more, which what was printed before it was for.
    pub fn say(&mut self, text: &str) -> Result {
        self.write(Text::Talk(text.to_owned()))
    }

    fn write(&mut self, text: Text) -> Result {
        self.waiting.push(text);
        if self.console.live { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> Result {
        for text in std::mem::take(&mut self.waiting) {
            match text {
                Text::Data(line) => self.console.line(&line)?,
                Text::Talk(text) => self.console.say(&text),
            }
        }
        Ok(())
    }

    fn task_for_stderr(&mut self, task: &str) -> String {
        // The painter's colours are for stdout.
        if self.console.out == self.console.err { self.painter.task(task) } else { task.to_owned() }
    }
}

/// Whatever becomes of the run, the terminal is left as it was.
impl Drop for Live {
    fn drop(&mut self) {
        if self.console.live {
            self.screen.clear();
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
    /// An earlier run has carried it out.
    Reused,
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
            Event::TaskEnded { task, status, reason, message, duration_ms, .. } => {
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
            Event::Reused { task } => self.row(task).outcome = Some(Outcome::Reused),
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
                Some(Outcome::Reused) => {
                    [style.dim("Reused"), String::new(), "from an earlier run".to_owned()]
                }
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
            results: BTreeMap::new(),
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
