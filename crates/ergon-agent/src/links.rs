//! The steps' metadata directories by number: `0` for `step-build`, as tasks written for Tekton read them.

use std::io;
use std::path::Path;

use ergon_wire::PodPlan;

/// Makes a link for each step of a plan; one that is there stays.
///
/// # Errors
/// The file system's.
pub fn link_steps(plan: &PodPlan, directory: &Path) -> io::Result<()> {
    let steps = plan.tasks.iter().flat_map(|task| task.steps.iter().enumerate());
    for (number, step) in steps {
        match std::os::unix::fs::symlink(&step.container, directory.join(number.to_string())) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
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
        let plan = PodPlan { version: PLAN_VERSION, tasks: vec![task], report: None };
        for _ in 0..2 {
            link_steps(&plan, directory.path()).unwrap();
        }
        let target = std::fs::read_link(directory.path().join("1")).unwrap();
        assert_eq!(target, Path::new("step-b"));
        assert!(link_steps(&plan, Path::new("/proc/none")).is_err());
    }
}
