//! Lines of logs: `task | step | text`, each task in its own colour.

use jiff::Timestamp;

use super::Style;

/// Writes lines and remembers which task has which colour.
#[derive(Debug)]
pub struct LogPainter {
    style: Style,
    timestamps: bool,
    tasks: Vec<String>,
}

impl LogPainter {
    /// With `timestamps`, each line begins with its time.
    pub fn new(style: Style, timestamps: bool) -> Self {
        Self { style, timestamps, tasks: Vec::new() }
    }

    /// One line, without its end.
    pub fn line(&mut self, task: &str, step: &str, time: Option<Timestamp>, text: &str) -> String {
        let time = match time {
            Some(time) if self.timestamps => self.style.dim(&format!("{time:.3} ")),
            _ => String::new(),
        };
        let at = self.place(task);
        let head = self.style.nth(at, &format!("{task} | {step} |"));
        format!("{time}{head} {text}")
    }

    /// A task's name in its colour.
    pub fn task(&mut self, task: &str) -> String {
        let at = self.place(task);
        self.style.nth(at, task)
    }

    fn place(&mut self, task: &str) -> usize {
        self.tasks.iter().position(|known| known == task).unwrap_or_else(|| {
            self.tasks.push(task.to_owned());
            self.tasks.len() - 1
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_keeps_its_colour() {
        let mut painter = LogPainter::new(Style::new(true), false);
        let first = painter.line("a", "s", None, "x");
        painter.line("b", "s", None, "x");
        assert_eq!(painter.line("a", "s", None, "x"), first);
        let mut plain = LogPainter::new(Style::PLAIN, true);
        let time: Timestamp = "2026-01-02T03:04:05.678901Z".parse().unwrap();
        assert_eq!(plain.line("a", "s", Some(time), "x"), "2026-01-02T03:04:05.678Z a | s | x");
    }
}
