//! Where a step stands in the files.

use ergon_api::{Document, Object, PipelineTask, Position, Step};

/// Finds the step of a task, by the names that events have; `task` is empty or the Task's own name where a Task is run.
pub fn place(
    documents: &[Document],
    target: &Document,
    task: &str,
    step: &str,
) -> Option<(String, Position)> {
    let (document, path) = match &target.object {
        Object::Task(object) => (target, format!("spec.{}", at(&object.spec.steps, step)?)),
        Object::TaskRun(run) => match &run.spec.task_spec {
            Some(spec) => (target, format!("spec.taskSpec.{}", at(&spec.steps, step)?)),
            None => of_task(documents, run.spec.task_ref.as_ref()?.name.as_ref()?, step)?,
        },
        Object::Pipeline(object) => {
            of_pipeline(documents, target, "spec", &object.spec.tasks, &object.spec.finally, task, step)?
        }
        Object::PipelineRun(run) => {
            if let Some(spec) = &run.spec.pipeline_spec {
                of_pipeline(documents, target, "spec.pipelineSpec", &spec.tasks, &spec.finally, task, step)?
            } else {
                let name = run.spec.pipeline_ref.as_ref()?.name.as_ref()?;
                documents.iter().find_map(|document| match &document.object {
                    Object::Pipeline(object) if object.name() == name => {
                        let spec = &object.spec;
                        of_pipeline(documents, document, "spec", &spec.tasks, &spec.finally, task, step)
                    }
                    _ => None,
                })?
            }
        }
        _ => return None,
    };
    Some((document.source.file().to_owned(), document.source.key(&path)))
}

fn of_pipeline<'a>(
    documents: &'a [Document],
    document: &'a Document,
    path: &str,
    tasks: &[PipelineTask],
    finally: &[PipelineTask],
    task: &str,
    step: &str,
) -> Option<(&'a Document, String)> {
    let name = task.split_once('[').map_or(task, |(name, _)| name);
    let of = |tasks: &[PipelineTask], field: &str| {
        let number = tasks.iter().position(|known| known.name == name)?;
        let known = &tasks[number];
        match (&known.task_spec, &known.task_ref) {
            (Some(spec), _) => {
                let step = at(&spec.task.steps, step)?;
                Some((document, format!("{path}.{field}[{number}].taskSpec.{step}")))
            }
            (None, Some(reference)) => of_task(documents, reference.name.as_ref()?, step),
            (None, None) => None,
        }
    };
    of(tasks, "tasks").or_else(|| of(finally, "finally"))
}

fn of_task<'a>(documents: &'a [Document], name: &str, step: &str) -> Option<(&'a Document, String)> {
    documents.iter().find_map(|document| match &document.object {
        Object::Task(task) if task.name() == name => {
            Some((document, format!("spec.{}", at(&task.spec.steps, step)?)))
        }
        _ => None,
    })
}

/// A step without a name is known by its number.
fn at(steps: &[Step], name: &str) -> Option<String> {
    let number = name.strip_prefix("unnamed-").and_then(|number| number.parse().ok());
    let unnamed = number.filter(|number: &usize| steps.get(*number).is_some_and(|step| step.name.is_empty()));
    let number = steps.iter().position(|step| step.name == name).or(unnamed)?;
    Some(format!("steps[{number}]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_found_wherever_they_stand() {
        let text = "\
apiVersion: ergon.dev/v1
kind: Pipeline
metadata: {name: p}
spec:
  tasks:
    - {name: a, taskRef: {name: t}}
    - name: b
      taskSpec:
        steps:
          - {name: x, image: i}
          - {image: i}
  finally:
    - name: c
      taskSpec: {steps: [{name: v, image: i}]}
---
apiVersion: ergon.dev/v1
kind: Task
metadata: {name: t}
spec:
  steps: [{name: z, image: i}]
---
apiVersion: ergon.dev/v1
kind: PipelineRun
metadata: {name: r}
spec: {pipelineRef: {name: p}}
";
        let documents = ergon_api::parse(text, "f.yaml").unwrap();
        for (target, task, step, wanted) in [
            (2, "a", "z", Some((20, 11))),
            (2, "b", "x", Some((10, 13))),
            (0, "b[3]", "unnamed-1", Some((11, 13))),
            (0, "c", "v", Some((14, 26))),
            (1, "t", "z", Some((20, 11))),
            (2, "a", "gone", None),
            (2, "none", "x", None),
        ] {
            let found = place(&documents, &documents[target], task, step);
            let found = found.map(|(file, at)| (file, at.line, at.column));
            assert_eq!(
                found,
                wanted.map(|(line, column)| ("f.yaml".to_owned(), line, column)),
                "{task} {step}"
            );
        }
    }
}
