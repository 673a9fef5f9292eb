//! Fields of Tekton's API that are read but not carried out yet. Each is refused by name: nothing is ignored silently.

use ergon_api::{Fuse, PipelineSpec, PipelineTask, reasons::task_run as reasons};

use super::inputs::Invalid;

/// What a pipeline's spec asks for that is not served.
pub fn pipeline(spec: &PipelineSpec) -> Option<Invalid> {
    let tasks = |list: &str, tasks: &[PipelineTask]| {
        tasks.iter().enumerate().find_map(|(at, task)| fuse(task.fuse, &format!("spec.{list}[{at}].fuse")))
    };
    fuse(spec.fuse, "spec.fuse")
        .or_else(|| tasks("tasks", &spec.tasks))
        .or_else(|| tasks("finally", &spec.finally))
}

/// `container` asks for what there is not.
pub fn fuse(wanted: Option<Fuse>, field: &str) -> Option<Invalid> {
    (wanted == Some(Fuse::Container)).then(|| {
        Invalid::new(
            reasons::VALIDATION_FAILED,
            format!("{field}: steps that share a container are not served yet; write `pod`"),
        )
    })
}
