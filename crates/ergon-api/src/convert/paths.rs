//! The places of fields: a problem is found in the `v1` form and must be shown where the user wrote it.

use super::join;
use super::shapes::{Root, Shape};

/// The path of a field as the `v1beta1` object has it, from its path in `v1`.
pub(crate) fn as_written(root: Root, path: &str) -> String {
    written(root.shape(), path)
}

fn written(shape: &Shape, path: &str) -> String {
    let (first, after) = path.split_once('.').unwrap_or((path, ""));
    let (name, index) = first.split_at(first.find('[').unwrap_or(first.len()));
    for (older, target) in shape.moved {
        // A leaf that stands one level deeper in `v1`.
        if let Some(rest) = target.split_once('.').and_then(|(outer, inner)| {
            let rest = after.strip_prefix(inner).filter(|_| name == outer)?;
            (rest.is_empty() || rest.starts_with(['.', '['])).then_some(rest)
        }) {
            return format!("{older}{rest}");
        }
    }
    let older = shape.moved.iter().find(|(_, target)| *target == name).map_or(name, |(older, _)| *older);
    let inner = shape.inner.iter().find(|(inner, _)| *inner == name);
    let after = match inner {
        Some((_, inner)) if !after.is_empty() => written(inner, after),
        _ => after.to_owned(),
    };
    let first = format!("{older}{index}");
    if after.is_empty() { first } else { join(&first, &after) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_told_as_it_was_written() {
        let cases = [
            ("spec.taskRunTemplate.podTemplate.hostNetwork", "spec.podTemplate.hostNetwork"),
            ("spec.taskRunTemplate.podTemplates", "spec.taskRunTemplate.podTemplates"),
            (
                "spec.taskRunSpecs[1].stepSpecs[0].computeResources.limits",
                "spec.taskRunSpecs[1].stepOverrides[0].resources.limits",
            ),
            (
                "spec.pipelineSpec.tasks[2].taskSpec.steps[0].computeResources",
                "spec.pipelineSpec.tasks[2].taskSpec.steps[0].resources",
            ),
            ("spec.timeouts.pipeline", "spec.timeouts.pipeline"),
            ("metadata.labels.a.b/computeResources", "metadata.labels.a.b/computeResources"),
            ("", ""),
        ];
        for (path, expected) in cases {
            assert_eq!(as_written(Root::PipelineRun, path), expected);
        }
    }
}
