//! Fields of Tekton's API that are read but not carried out yet. Each is refused by name: nothing is ignored silently.

use ergon_api::{Fuse, PipelineSpec, PipelineTask, reasons::task_run as reasons};

use super::inputs::Invalid;

/// What a pipeline's spec asks for that is not served.
pub fn pipeline(spec: &PipelineSpec) -> Option<Invalid> {
    let tasks = |list: &'static str, tasks: &[PipelineTask]| {
        tasks.iter().enumerate().find_map(|(at, task)| {
            let field = |name: &str| format!("spec.{list}[{at}].{name}");
            first([(
                matches!(task.fuse, Some(Fuse::Pod | Fuse::Container)),
                field("fuse"),
                "tasks that share a pod",
            )])
        })
    };
    fuse(spec.fuse, "spec.fuse")
        .or_else(|| tasks("tasks", &spec.tasks))
        .or_else(|| tasks("finally", &spec.finally))
}

/// `auto` and `never` allow a pod for each task; the others ask for what there is not.
pub fn fuse(wanted: Option<Fuse>, field: &str) -> Option<Invalid> {
    first([(matches!(wanted, Some(Fuse::Pod | Fuse::Container)), field, "tasks that share a pod")])
}

fn first<Field: Into<String>, const N: usize>(checks: [(bool, Field, &str); N]) -> Option<Invalid> {
    checks.into_iter().find(|(asked, ..)| *asked).map(|(_, field, what)| {
        Invalid::new(
            reasons::VALIDATION_FAILED,
            format!("{}: {what} are not served yet; remove the field", field.into()),
        )
    })
}
