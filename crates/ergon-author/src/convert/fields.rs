//! Which of an object's texts may have tags under `ergon.dev`.

use super::Object;

/// What a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// The API version of the object, or of what it refers to.
    ApiVersion,
    /// A step's or sidecar's script.
    Script,
    /// A condition in CEL.
    Condition,
    /// A text with tags, or with references.
    Text,
    /// A text that is only that.
    Verbatim,
}

/// What the text at this path of an object is.
pub(super) fn field(object: &Object, path: &str) -> Field {
    if path == "apiVersion" || path.ends_with("Ref.apiVersion") {
        return Field::ApiVersion;
    }
    let names: Vec<&str> = path.split('.').map(|name| name.split('[').next().unwrap_or_default()).collect();
    // In a run only what is written out of a Task or Pipeline is read.
    let read = match object.kind.as_str() {
        "Task" | "Pipeline" | "StepAction" => names.first() == Some(&"spec"),
        "TaskRun" => names.get(1) == Some(&"taskSpec"),
        "PipelineRun" => names.get(1) == Some(&"pipelineSpec"),
        _ => false,
    };
    if !read {
        return Field::Verbatim;
    }
    match names.last() {
        Some(&"script") => return Field::Script,
        Some(&"cel") => return Field::Condition,
        _ => {}
    }
    let of_task =
        matches!(object.kind.as_str(), "Task" | "TaskRun" | "StepAction") || names.contains(&"taskSpec");
    let verbatim = |name: &&str| match *name {
        "scriptValues" | "celValues" | "description" | "metadata" => true,
        "default" => of_task,
        _ => false,
    };
    if names.iter().any(verbatim) { Field::Verbatim } else { Field::Text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_what_the_language_says() {
        let of = |kind: &str, path: &str| {
            let object = Object {
                document: 0,
                root: String::new(),
                kind: kind.to_owned(),
                lists: std::collections::BTreeSet::new(),
            };
            field(&object, path)
        };
        for (kind, path, wanted) in [
            ("Task", "apiVersion", Field::ApiVersion),
            ("PipelineRun", "spec.pipelineRef.apiVersion", Field::ApiVersion),
            ("Task", "spec.steps[0].script", Field::Script),
            ("Task", "spec.params[0].default", Field::Verbatim),
            ("Pipeline", "spec.params[0].default", Field::Text),
            ("Pipeline", "spec.tasks[0].taskSpec.params[0].default", Field::Verbatim),
            ("Task", "spec.steps[0].args[1]", Field::Text),
            ("Task", "metadata.annotations.a", Field::Verbatim),
            ("TaskRun", "spec.params[0].value", Field::Verbatim),
            ("TaskRun", "spec.taskSpec.steps[0].image", Field::Text),
            ("PipelineRun", "spec.pipelineSpec.finally[0].taskSpec.sidecars[0].script", Field::Script),
        ] {
            assert_eq!(of(kind, path), wanted, "{kind} {path}");
        }
    }
}
