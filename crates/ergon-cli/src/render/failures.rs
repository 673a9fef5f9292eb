//! What a person needs first when a local run failed: the steps that failed, what they printed last, and where they are.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::time::Duration;

use ergon_local::event::{Event, Status};

use super::{Style, duration};

/// How many of a step's last lines are shown.
const LINES: usize = 10;

/// Remembers what failed steps printed last.
#[derive(Debug, Default)]
pub struct Failures {
    tails: BTreeMap<(String, String), VecDeque<String>>,
    failed: Vec<FailedStep>,
}

#[derive(Debug)]
struct FailedStep {
    task: String,
    step: String,
    why: String,
    duration_ms: u64,
    /// Its task has failed too: it was not forgiven, and no other try helped.
    counts: bool,
}

impl Failures {
    /// Takes an event into account.
    pub fn note(&mut self, event: &Event) {
        match event {
            Event::Line { task, step, text, .. } => {
                let tail = self.tails.entry((task.clone(), step.clone())).or_default();
                if tail.len() == LINES {
                    tail.pop_front();
                }
                tail.push_back(text.clone());
            }
            // Another try: what the one before said does not matter any more.
            Event::TaskStarted { task, .. } => {
                self.failed.retain(|failed| failed.task != *task);
                self.tails.retain(|(known, _), _| known != task);
            }
            Event::StepEnded { task, step, exit_code, duration_ms, reason } if *exit_code != 0 => {
                self.failed.push(FailedStep {
                    task: task.clone(),
                    step: step.clone(),
                    why: reason.clone().unwrap_or_else(|| format!("exit code {exit_code}")),
                    duration_ms: *duration_ms,
                    counts: false,
                });
            }
            Event::TaskEnded { task, status: Status::Failed, .. } => {
                // Steps run in order, so the last one is the one that failed the task.
                if let Some(last) = self.failed.iter_mut().rev().find(|failed| failed.task == *task) {
                    last.counts = true;
                }
            }
            _ => {}
        }
    }

    /// Whether a step failed its task.
    pub fn has_any(&self) -> bool {
        self.failed.iter().any(|failed| failed.counts)
    }

    /// The last lines of the step that failed a task.
    pub fn tail(&self, task: &str) -> Vec<String> {
        let failed = self.failed.iter().find(|failed| failed.counts && failed.task == task);
        failed.map(|failed| self.lines(failed)).unwrap_or_default()
    }

    /// The steps that failed a task; empty where none did. `place` gives where a step stands.
    pub fn render(&self, style: Style, place: &dyn Fn(&str, &str) -> Option<String>) -> String {
        let mut text = String::new();
        for failed in self.failed.iter().filter(|failed| failed.counts) {
            let took = duration(Duration::from_millis(failed.duration_ms));
            let name = if failed.task.is_empty() {
                failed.step.clone()
            } else {
                format!("{} | {}", failed.task, failed.step)
            };
            let _ = writeln!(text, "\n{} {name}: {} after {took}", style.red("failed:"), failed.why);
            if let Some(place) = place(&failed.task, &failed.step) {
                let _ = writeln!(text, "  {} {place}", style.dim("-->"));
            }
            for line in self.lines(failed) {
                let _ = writeln!(text, "  {} {line}", style.dim("|"));
            }
        }
        text
    }

    fn lines(&self, failed: &FailedStep) -> Vec<String> {
        let tail = self.tails.get(&(failed.task.clone(), failed.step.clone()));
        tail.map(|tail| tail.iter().cloned().collect()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use ergon_local::event::Stream;

    use super::*;

    fn line(step: &str, text: &str) -> Event {
        let (task, stream) = ("t".to_owned(), Stream::Stdout);
        Event::Line { task, step: step.to_owned(), stream, text: text.to_owned() }
    }

    fn ended(step: &str, exit_code: i32) -> Event {
        let (task, step) = ("t".to_owned(), step.to_owned());
        Event::StepEnded { task, step, exit_code, duration_ms: 1200, reason: None }
    }

    fn task(status: Status) -> Event {
        let (reason, message) = (String::new(), String::new());
        Event::TaskEnded {
            task: "t".to_owned(),
            status,
            reason,
            message,
            duration_ms: 1,
            results: BTreeMap::new(),
        }
    }

    fn shown(events: &[Event]) -> String {
        let mut failures = Failures::default();
        for event in events {
            failures.note(event);
        }
        failures.render(Style::PLAIN, &|task, step| Some(format!("f.yaml:1:2 {task}/{step}")))
    }

    #[test]
    fn the_step_that_failed_its_task_is_shown_with_its_last_lines() {
        let mut events = vec![line("forgiven", "no"), ended("forgiven", 3)];
        events.extend((0..12).map(|number| line("test", &number.to_string())));
        events.extend([ended("test", 7), task(Status::Failed)]);
        let lines = (2..12).map(|number| format!("  | {number}")).collect::<Vec<_>>().join("\n");
        let wanted =
            format!("\nfailed: t | test: exit code 7 after 1.2s\n  --> f.yaml:1:2 t/test\n{lines}\n");
        assert_eq!(shown(&events), wanted);
    }

    #[test]
    fn what_another_try_or_on_error_made_good_is_not_shown() {
        let again = Event::TaskStarted { task: "t".to_owned(), attempt: 2 };
        assert_eq!(
            shown(&[line("a", "x"), ended("a", 1), again, ended("a", 0), task(Status::Succeeded)]),
            ""
        );
        assert_eq!(shown(&[ended("a", 1), task(Status::Succeeded)]), "");
    }
}
