//! The steps' metadata directories by number: `0` for `step-build`, as tasks written for Tekton read them.

use std::io;
use std::path::Path;

use ergon_wire::PodPlan;

/// Makes a link for each step of a plan; one that is there stays.
///
/// # Errors
/// The file system's.
pub fn link_steps(plan: &PodPlan, directory: &Path) -> io::Result<()> {
    for task in &plan.tasks {
        // In a shared pod each task has a directory of its own, which it sees as if it were the whole.
        let directory = match &plan.pipeline {
            Some(_) => directory.join(&task.name),
            None => directory.to_owned(),
        };
        std::fs::create_dir_all(&directory)?;
        for (number, step) in task.steps.iter().enumerate() {
            let own = Path::new(&step.step_dir).file_name().unwrap_or(step.container.as_ref());
            match std::os::unix::fs::symlink(own, directory.join(number.to_string())) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ergon_wire::{PLAN_VERSION, StepPlan, TaskPlan};

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
