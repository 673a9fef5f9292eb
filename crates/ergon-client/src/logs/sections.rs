//! Whose lines are whose in the log of a container that several tasks have, one after another.

use ergon_wire::Company;

/// Where the reader of such a log is.
#[derive(Debug, Clone, Default)]
pub struct Sections {
    /// The task whose lines are wanted; none where the whole log is its own.
    task: Option<String>,
    /// The step whose lines come now, while they are that task's.
    step: Option<String>,
}

/// What becomes of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is handed on: as the step's that is named, if one is.
    Line(Option<String>),
    /// It is another task's, or says only whose the next ones are.
    Other,
    /// The task's lines are over: another one's begin.
    Over,
}

impl Sections {
    /// Those of one task, in a container that others have too.
    pub fn of(task: &str) -> Self {
        Self { task: Some(task.to_owned()), step: None }
    }

    /// Whether there are any.
    pub fn are_there(&self) -> bool {
        self.task.is_some()
    }

    /// Takes in the next line.
    pub fn take(&mut self, line: &str) -> Verdict {
        let Some(task) = &self.task else { return Verdict::Line(None) };
        let title = line.strip_prefix(Company::LOG_MARK).and_then(|title| title.split_once(' '));
        match (title, &self.step) {
            (Some((other, step)), _) if other == task => {
                self.step = Some(step.to_owned());
                Verdict::Other
            }
            (Some(_), Some(_)) => Verdict::Over,
            (_, None) => Verdict::Other,
            (None, Some(step)) => Verdict::Line(Some(step.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_task_gets_its_own_lines() {
        use Verdict::{Other, Over};
        let company =
            |task, step| Company { title: Company::title(task, step), ..Company::default() }.log_line();
        let log =
            [company("a", "s"), "1".into(), company("b", "x"), "2".into(), company("b", "y"), "3".into()];
        let seen = |task: &str| {
            let mut sections = Sections::of(task);
            log.iter().map(|line| sections.take(line)).collect::<Vec<_>>()
        };
        let line = |step: &str| Verdict::Line(Some(step.to_owned()));
        assert_eq!(seen("a")[..3], [Other, line("s"), Over]);
        assert_eq!(seen("b"), [Other, Other, Other, line("x"), Other, line("y")]);
        assert_eq!(Sections::default().take(&log[0]), Verdict::Line(None), "a log of its own is as it is");
    }
}
