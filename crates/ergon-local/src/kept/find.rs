//! From what a person writes to one run, and one step of it.

use std::path::Path;

use ergon_wire::{Exit, ExitRecord, StepState};

use super::{KeptError, KeptRun, runs};
use crate::event::Status;
use crate::run::PodRecord;

/// A step of a run that has ended.
#[derive(Debug, Clone)]
pub struct KeptStep {
    /// The task's name in events.
    pub task: String,
    /// The step's own name.
    pub step: String,
    pub pod: String,
    pub container: String,
    /// None: it has not ended.
    pub exit: Option<ExitRecord>,
}

impl KeptStep {
    /// Both names, as they are written.
    pub fn name(&self) -> String {
        format!("{}/{}", self.task, self.step)
    }

    /// It was started, or should have been, and came to no good end.
    pub fn has_failed(&self) -> bool {
        self.exit.as_ref().is_some_and(|record| {
            record.was_started() && !record.exit.is_success() && record.exit != Exit::WhenFalse
                || record.results_error.is_some()
        })
    }
}

impl KeptRun {
    /// The steps of each task's last try, in the order in which they ran.
    pub fn steps(&self) -> Vec<KeptStep> {
        let is_last = |pod: &&PodRecord| {
            !self.record.pods.iter().any(|other| other.task == pod.task && other.attempt > pod.attempt)
        };
        let mut pods: Vec<&PodRecord> = self.record.pods.iter().filter(is_last).collect();
        pods.sort_by_key(|pod| pod.report.steps.iter().filter_map(started_at).min());
        let steps = pods.into_iter().flat_map(|pod| {
            pod.report.steps.iter().map(|step| KeptStep {
                task: pod.task.clone(),
                step: step.container.strip_prefix("step-").unwrap_or(&step.container).to_owned(),
                pod: pod.pod.clone(),
                container: step.container.clone(),
                exit: match &step.state {
                    StepState::Ended { record } => Some(record.clone()),
                    StepState::Waiting | StepState::Running { .. } => None,
                },
            })
        });
        steps.collect()
    }
}

fn started_at(step: &ergon_wire::StepReport) -> Option<ergon_wire::Millis> {
    match &step.state {
        StepState::Ended { record } => record.started_at,
        StepState::Running { started_at } => Some(*started_at),
        StepState::Waiting => None,
    }
}

/// Finds a run by its ID or the end of it, or the newest one of a name: the run's own, or that of what was run. Without a
/// name: the newest one of which all is there, which is mostly the last one that failed.
///
/// # Errors
/// [`KeptError::NotFound`].
pub fn find(home: &Path, name: Option<&str>) -> Result<KeptRun, KeptError> {
    let mut runs = runs(home);
    let hint = || "`ergon runs list` shows what there is; `ergon run --keep` keeps all of a run".to_owned();
    let Some(name) = name else {
        let failed = runs.iter().position(|run| run.is_whole && run.record.status == Status::Failed);
        let found = failed.or_else(|| runs.iter().position(|run| run.is_whole));
        return found.map(|at| runs.swap_remove(at)).ok_or_else(|| KeptError::NotFound {
            message: "no run is kept on this machine".to_owned(),
            hint: "the last run that failed is kept; `ergon run --keep` keeps any other".to_owned(),
        });
    };
    let named = |run: &KeptRun| run.record.name == name || run.record.target == name;
    let by_end: Vec<usize> = (0..runs.len()).filter(|at| runs[*at].id.ends_with(name)).collect();
    let found = match by_end[..] {
        [at] => Some(at),
        _ => runs.iter().position(|run| run.id == name).or_else(|| runs.iter().position(named)),
    };
    match found {
        Some(at) => Ok(runs.swap_remove(at)),
        None => Err(KeptError::NotFound { message: format!("there is no run `{name}`"), hint: hint() }),
    }
}

/// Finds a step by its own name, or by `task/step`. Without a name: the last one that failed.
///
/// # Errors
/// [`KeptError::NotFound`]: there is none, or more than one.
pub fn find_step(run: &KeptRun, name: Option<&str>) -> Result<KeptStep, KeptError> {
    let mut steps = run.steps();
    let known: Vec<String> = steps.iter().map(KeptStep::name).collect();
    let not_found = |message: String| KeptError::NotFound {
        message,
        hint: format!(
            "the steps of the run are {}",
            known.iter().map(|it| format!("`{it}`")).collect::<Vec<_>>().join(", ")
        ),
    };
    let Some(name) = name else {
        let at = steps.iter().rposition(KeptStep::has_failed);
        let at = at.ok_or_else(|| not_found("no step of the run failed: name one".to_owned()))?;
        return Ok(steps.swap_remove(at));
    };
    let found: Vec<usize> = match steps.iter().position(|step| step.name() == name) {
        Some(at) => vec![at],
        None => (0..steps.len()).filter(|at| steps[*at].step == name || steps[*at].task == name).collect(),
    };
    match found[..] {
        [at] => Ok(steps.swap_remove(at)),
        [] => Err(not_found(format!("run `{}` has no step `{name}`", run.record.name))),
        // Of several, such as the steps of one task, the one that failed is meant.
        _ => match found.iter().filter(|at| steps[**at].has_failed()).collect::<Vec<_>>()[..] {
            [at] => Ok(steps.swap_remove(*at)),
            _ => Err(not_found(format!("`{name}` is more than one step: write `TASK/STEP`"))),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ergon_wire::{PodReport, StepReport};
    use jiff::Timestamp;

    use super::*;
    use crate::run::Record;

    fn step(container: &str, code: Option<i32>, at: i64) -> StepReport {
        let exit = code.map_or(Exit::Skipped, |code| Exit::Exited { code });
        let record = ExitRecord::bare(exit, code.map(|_| at), at + 1);
        StepReport {
            container: container.to_owned(),
            task: String::new(),
            state: StepState::Ended { record },
        }
    }

    fn pod(task: &str, attempt: usize, steps: Vec<StepReport>) -> PodRecord {
        let report = PodReport { sequence: 1, steps, done: true, waits_for: None };
        PodRecord { pod: format!("{task}-{attempt}"), task: task.to_owned(), attempt, report }
    }

    fn record(name: &str, at: i64, status: Status, pods: Vec<PodRecord>) -> Record {
        Record {
            kind: "Pipeline".to_owned(),
            target: "ci".to_owned(),
            name: name.to_owned(),
            began: Timestamp::from_second(at).unwrap(),
            duration_ms: 1,
            status,
            message: String::new(),
            pods,
            pipeline_run: None,
            parts: Vec::new(),
            task_runs: Vec::new(),
            custom_runs: Vec::new(),
            left_out: BTreeSet::default(),
        }
    }

    #[test]
    fn runs_are_found_by_whatever_names_them() {
        let home = tempfile::tempdir().unwrap();
        for (id, name, at, status, whole) in [
            ("1a-10", "ci-1", 1, Status::Failed, false),
            ("1b-20", "ci-2", 2, Status::Failed, true),
            ("1c-30", "ci-2", 3, Status::Succeeded, true),
            ("1d-130", "ci-3", 4, Status::Succeeded, false),
        ] {
            let folder = home.path().join("runs").join(id);
            std::fs::create_dir_all(&folder).unwrap();
            record(name, at, status, Vec::new()).write(&folder).unwrap();
            if whole {
                std::fs::write(folder.join("kept"), "").unwrap();
            }
        }
        let ids: Vec<String> = runs(home.path()).into_iter().map(|run| run.id).collect();
        assert_eq!(ids, ["1d-130", "1c-30", "1b-20", "1a-10"]);
        for (name, wanted) in [
            (None, Ok("1b-20")),
            (Some("1a-10"), Ok("1a-10")),
            (Some("20"), Ok("1b-20")),
            (Some("ci-2"), Ok("1c-30")),
            (Some("ci"), Ok("1d-130")),
            (Some("30"), Err("there is no run `30`")),
        ] {
            let found = find(home.path(), name).map(|run| run.id).map_err(|error| error.to_string());
            assert_eq!(found, wanted.map(str::to_owned).map_err(str::to_owned), "{name:?}");
        }
        assert!(find(&home.path().join("none"), None).is_err());
    }

    #[test]
    fn steps_are_found_by_their_names_or_by_their_failure() {
        let pods = vec![
            pod("test", 1, vec![step("step-unit", Some(1), 5)]),
            pod("test", 2, vec![step("step-unit", Some(3), 20), step("step-report", None, 21)]),
            pod("build", 1, vec![step("step-compile", Some(0), 1), step("step-report", Some(0), 2)]),
        ];
        let record = record("ci-1", 1, Status::Failed, pods);
        let run = KeptRun { id: "1".to_owned(), folder: "/r".into(), record, is_whole: true };
        let names: Vec<String> = run.steps().iter().map(KeptStep::name).collect();
        assert_eq!(names, ["build/compile", "build/report", "test/unit", "test/report"]);
        for (name, wanted) in [
            (None, Ok("test-2 test/unit")),
            (Some("compile"), Ok("build-1 build/compile")),
            (Some("test/report"), Ok("test-2 test/report")),
            (Some("test"), Ok("test-2 test/unit")),
            (Some("report"), Err("`report` is more than one step: write `TASK/STEP`")),
            (Some("x"), Err("run `ci-1` has no step `x`")),
        ] {
            let found = find_step(&run, name);
            let found =
                found.map(|step| format!("{} {}", step.pod, step.name())).map_err(|error| error.to_string());
            assert_eq!(found, wanted.map(str::to_owned).map_err(str::to_owned), "{name:?}");
        }
    }
}
