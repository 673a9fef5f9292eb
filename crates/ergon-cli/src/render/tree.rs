//! A run as a tree of tasks and steps: where it stands now, in as many lines and columns as there are.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ergon_local::event::{Event, Status};

use super::style::clip;
use super::{Style, bytes, duration};

/// How fast the spinner turns.
const TURN: Duration = Duration::from_millis(100);
const SPINNER: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

/// What is known of a run that goes on.
#[derive(Debug, Default)]
pub struct Tree {
    tasks: Vec<Task>,
    /// What is being pulled: bytes here, and bytes in all.
    pulls: BTreeMap<String, (u64, Option<u64>)>,
}

#[derive(Debug)]
struct Task {
    name: String,
    state: State,
    steps: Vec<Step>,
    /// What is being done for it.
    note: String,
}

#[derive(Debug)]
struct Step {
    name: String,
    state: State,
}

#[derive(Debug, Clone)]
enum State {
    Waiting,
    Running {
        since: Instant,
    },
    Ended {
        good: bool,
        took: Duration,
        told: String,
    },
    /// It does not run, and why.
    Not(String),
}

impl Tree {
    /// Takes in one event, which has just happened.
    pub fn note(&mut self, event: &Event, now: Instant) {
        match event {
            Event::RunStarted { tasks, .. } => tasks.iter().for_each(|task| {
                self.task(task);
            }),
            Event::ImagePull { image, done_bytes, total_bytes, complete } => {
                if *complete {
                    self.pulls.remove(image);
                } else {
                    self.pulls.insert(image.clone(), (*done_bytes, *total_bytes));
                }
            }
            Event::PodProgress { tasks, message } => {
                for task in tasks {
                    self.task(task).note.clone_from(message);
                }
            }
            Event::TaskStarted { task, attempt } => {
                let note = if *attempt > 1 { format!("try {attempt}") } else { String::new() };
                let task = self.task(task);
                (task.state, task.note) = (State::Running { since: now }, note);
                task.steps.clear();
            }
            Event::StepStarted { task, step } => {
                let state = State::Running { since: now };
                self.task(task).steps.push(Step { name: step.clone(), state });
            }
            Event::StepEnded { task, step, exit_code, duration_ms, reason } => {
                let told = match (exit_code, reason) {
                    (0, _) => String::new(),
                    (_, Some(reason)) => reason.clone(),
                    (code, None) => format!("exit code {code}"),
                };
                let state =
                    State::Ended { good: *exit_code == 0, took: Duration::from_millis(*duration_ms), told };
                if let Some(known) = self.task(task).steps.iter_mut().rfind(|known| known.name == *step) {
                    known.state = state;
                }
            }
            Event::TaskEnded { task, status, duration_ms, results, .. } => {
                let results: Vec<String> = results
                    .iter()
                    .map(|(name, value)| format!("{name}={}", one_line(&value.to_string())))
                    .collect();
                self.task(task).state = State::Ended {
                    good: *status == Status::Succeeded,
                    took: Duration::from_millis(*duration_ms),
                    told: results.join(" "),
                };
            }
            Event::Skipped { task, reason } => {
                self.task(task).state = State::Not(format!("skipped: {reason}"));
            }
            Event::Reused { task } => self.task(task).state = State::Not("from an earlier run".to_owned()),
            Event::Line { .. } | Event::Kept { .. } | Event::RunEnded { .. } => {}
        }
    }

    /// A matrix is written once and has a task for each leg: the first leg takes its place.
    fn task(&mut self, name: &str) -> &mut Task {
        let at = self.tasks.iter().position(|task| task.name == name);
        let of_matrix = || {
            let (whole, _) = name.split_once('[')?;
            let first = self.tasks.iter().position(|task| task.name == whole)?;
            Some((first, matches!(self.tasks[first].state, State::Waiting)))
        };
        let new =
            || Task { name: name.to_owned(), state: State::Waiting, steps: Vec::new(), note: String::new() };
        let at = match (at, of_matrix()) {
            (Some(at), _) => at,
            (None, Some((first, true))) => {
                self.tasks[first] = new();
                first
            }
            (None, _) => {
                // After the legs before it.
                let whole = name.split_once('[').map(|(whole, _)| format!("{whole}["));
                let legs = |task: &Task| whole.as_ref().is_some_and(|whole| task.name.starts_with(whole));
                let at = self.tasks.iter().rposition(legs).map_or(self.tasks.len(), |at| at + 1);
                self.tasks.insert(at, new());
                at
            }
        };
        &mut self.tasks[at]
    }

    /// The lines to show, none longer than `columns`, and no more than `rows`. What runs comes before what has ended, and
    /// that before what waits.
    pub fn render(&self, columns: usize, rows: usize, now: Instant, style: Style) -> Vec<String> {
        let mut blocks: Vec<(u8, Vec<String>)> =
            self.tasks.iter().map(|task| (task.rank(), task.lines(columns, now, style))).collect();
        let pulls = self.pulls.iter().map(|(image, (done, total))| {
            let total = total.map(|total| format!(" of {}", bytes(total))).unwrap_or_default();
            (0, vec![format!("{} pulling {image} {}{total}", spinner(now), bytes(*done))])
        });
        blocks.extend(pulls);
        let mut hidden = [0; 3];
        // What waits goes first, then what has ended, the oldest first.
        for rank in (0..hidden.len()).rev() {
            let ranked = |block: &(u8, Vec<String>)| usize::from(block.0) == rank;
            while blocks.iter().map(|(_, lines)| lines.len()).sum::<usize>()
                + hidden.iter().sum::<usize>().min(1)
                > rows
                && let Some(at) =
                    if rank == 1 { blocks.iter().position(ranked) } else { blocks.iter().rposition(ranked) }
            {
                blocks.remove(at);
                hidden[rank] += 1;
            }
        }
        let more: Vec<String> = ["more run", "have ended", "wait"]
            .iter()
            .zip(hidden)
            .filter(|(_, count)| *count > 0)
            .map(|(what, count)| format!("{count} {what}"))
            .collect();
        let mut lines: Vec<String> = blocks.into_iter().flat_map(|(_, lines)| lines).collect();
        if !more.is_empty() {
            lines.truncate(rows.saturating_sub(1));
            lines.push(style.dim(&format!("… {}", more.join(", "))));
        }
        lines.iter().map(|line| clip(line, columns)).collect()
    }
}

impl Task {
    /// 0: it runs, 1: it has ended, 2: it waits.
    fn rank(&self) -> u8 {
        match self.state {
            State::Running { .. } => 0,
            State::Ended { .. } | State::Not(_) => 1,
            State::Waiting => 2,
        }
    }

    fn lines(&self, columns: usize, now: Instant, style: Style) -> Vec<String> {
        // A name that is too long gives way to the time after it.
        let short = |name: &str| clip(name, columns.saturating_sub(12).max(6));
        let note = if self.note.is_empty() { String::new() } else { format!("  {}", self.note) };
        let mut lines =
            vec![format!("{}{}", line(&short(&self.name), &self.state, now, style), style.dim(&note))];
        if matches!(self.state, State::Running { .. }) {
            let steps = self.steps.iter();
            lines
                .extend(steps.map(|step| format!("  {}", line(&short(&step.name), &step.state, now, style))));
        }
        lines
    }
}

fn line(name: &str, state: &State, now: Instant, style: Style) -> String {
    match state {
        State::Waiting => style.dim(&format!("· {name}")),
        State::Running { since } => {
            let took = duration(Duration::from_secs(now.saturating_duration_since(*since).as_secs()));
            format!("{} {name}  {}", style.blue(&spinner(now)), style.dim(&took))
        }
        State::Ended { good, took, told } => {
            let sign = if *good { style.green("✓") } else { style.red("✗") };
            let told = if told.is_empty() { String::new() } else { format!("  {told}") };
            format!("{sign} {name}  {}", style.dim(&format!("{}{told}", duration(*took))))
        }
        State::Not(why) => style.dim(&format!("- {name}  {why}")),
    }
}

fn spinner(now: Instant) -> String {
    // Any fixed time will do to count from.
    static BEGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let turned = now.saturating_duration_since(*BEGIN.get_or_init(|| now)).as_millis() / TURN.as_millis();
    SPINNER[usize::try_from(turned % SPINNER.len() as u128).unwrap_or(0)].to_string()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn tree(events: &[Event]) -> (Tree, Instant) {
        let (mut tree, now) = (Tree::default(), Instant::now());
        for event in events {
            tree.note(event, now);
        }
        (tree, now)
    }

    fn shown(events: &[Event], columns: usize, rows: usize) -> String {
        let (tree, now) = tree(events);
        let lines = tree.render(columns, rows, now + Duration::from_secs(5), Style::PLAIN);
        // Which way the spinner points does not matter.
        lines.iter().flat_map(|line| [line.replace(SPINNER, "*"), "\n".to_owned()]).collect()
    }

    fn begin(tasks: &[&str]) -> Event {
        let tasks = tasks.iter().map(|task| (*task).to_owned()).collect();
        Event::RunStarted { run: "r".to_owned(), tasks }
    }

    fn task(name: &str) -> Event {
        Event::TaskStarted { task: name.to_owned(), attempt: 1 }
    }

    fn step(task: &str, step: &str) -> Event {
        Event::StepStarted { task: task.to_owned(), step: step.to_owned() }
    }

    fn step_ended(task: &str, step: &str, exit_code: i32) -> Event {
        let (task, step) = (task.to_owned(), step.to_owned());
        Event::StepEnded { task, step, exit_code, duration_ms: 1200, reason: None }
    }

    fn ended(task: &str, results: &[(&str, &str)]) -> Event {
        Event::TaskEnded {
            task: task.to_owned(),
            status: Status::Succeeded,
            reason: String::new(),
            message: String::new(),
            duration_ms: 450,
            results: results.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect(),
        }
    }

    #[test]
    fn tasks_and_their_steps_stand_in_the_order_of_the_file() {
        let events = [
            begin(&["clone", "build", "test", "deploy"]),
            task("clone"),
            ended("clone", &[("commit", "abc\n")]),
            task("build"),
            step("build", "lint"),
            step_ended("build", "lint", 3),
            step("build", "compile"),
            task("test[0]"),
            task("test[1]"),
            Event::Skipped { task: "deploy".to_owned(), reason: "no".to_owned() },
        ];
        expect![[r"
            ✓ clone  450ms  commit=abc
            * build  5s
              ✗ lint  1.2s  exit code 3
              * compile  5s
            * test[0]  5s
            * test[1]  5s
            - deploy  skipped: no
        "]]
        .assert_eq(&shown(&events, 80, 20));
        expect![[r"
            * build  5s
              ✗ lint  1…
              * compi… …
            * test[…  5s
            * test[…  5s
            … 2 have en…
        "]]
        .assert_eq(&shown(&events, 12, 6));
    }

    #[test]
    fn where_there_is_little_room_what_runs_is_shown() {
        let events = [begin(&["a", "b", "c", "d"]), task("a"), ended("a", &[]), task("b"), task("c")];
        expect![[r"
            * b  5s
            * c  5s
            … 1 have ended, 1 wait
        "]]
        .assert_eq(&shown(&events, 40, 3));
        expect![[r"
            … 2 more run, 1 have ended, 1 wait
        "]]
        .assert_eq(&shown(&events, 40, 1));
    }

    #[test]
    fn a_pull_is_shown_until_it_is_complete() {
        let pull = |complete| Event::ImagePull {
            image: "i".to_owned(),
            done_bytes: 1 << 20,
            total_bytes: Some(2 << 20),
            complete,
        };
        expect![[r"
            * pulling i 1.0 MiB of 2.0 MiB
        "]]
        .assert_eq(&shown(&[pull(false)], 80, 5));
        assert_eq!(shown(&[pull(false), pull(true)], 80, 5), "");
    }
}
