//! The steps' metadata directories by number: `0` for `step-build`, as tasks written for Tekton read them.

use std::io;
use std::path::{Path, PathBuf};

use ergon_wire::{PodPlan, StepPlan, TaskPlan, paths};

/// Makes a link for each step of a plan; one that is there stays.
///
/// # Errors
/// The file system's.
pub fn link_steps(plan: &PodPlan, directory: &Path) -> io::Result<()> {
    plan.tasks.iter().try_for_each(|task| link(task, &folder_in(plan, task, directory)))
}

/// The folder that a task's steps see as that of all steps.
pub(crate) fn folder(plan: &PodPlan, task: &TaskPlan) -> PathBuf {
    folder_in(plan, task, Path::new(paths::STEPS))
}

fn folder_in(plan: &PodPlan, task: &TaskPlan, directory: &Path) -> PathBuf {
    if plan.pipeline.is_none() {
        return directory.to_owned();
    }
    // In a shared pod each try of a task has a directory of its own, but for those in another one's container.
    let place = task.steps.first().map(StepPlan::place);
    let has_it = |other: &&TaskPlan| other.steps.iter().any(|step| Some(step.container.as_str()) == place);
    directory.join(plan.tasks.iter().find(has_it).unwrap_or(task).try_name())
}

/// Makes a task's links anew in a folder that another task had before.
///
/// # Errors
/// The file system's.
pub(crate) fn link_again(task: &TaskPlan, directory: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_symlink() {
            std::fs::remove_file(entry.path())?;
        }
    }
    link(task, directory)
}

fn link(task: &TaskPlan, directory: &Path) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    for (number, step) in task.steps.iter().enumerate() {
        let own = Path::new(&step.step_dir).file_name().unwrap_or(step.container.as_ref());
        match std::os::unix::fs::symlink(own, directory.join(number.to_string())) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ergon_wire::PLAN_VERSION;

    use super::*;

    #[test]
    fn a_step_is_found_by_its_number_however_often_the_agent_starts() {
        let directory = tempfile::tempdir().unwrap();
        let step = |name: &str| StepPlan { container: name.to_owned(), ..Default::default() };
        let steps = vec![step("step-a"), step("step-b")];
        let task = TaskPlan { name: "t".to_owned(), steps, ..Default::default() };
        let plan = PodPlan { version: PLAN_VERSION, tasks: vec![task], ..Default::default() };
        for _ in 0..2 {
            link_steps(&plan, directory.path()).unwrap();
        }
        let target = std::fs::read_link(directory.path().join("1")).unwrap();
        assert_eq!(target, Path::new("step-b"));
        assert!(link_steps(&plan, Path::new("/proc/none")).is_err());
    }
}
