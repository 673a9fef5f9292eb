//! "Did you mean": the nearest of the names that would have been right.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use k8s_openapi::api::core::v1::{Container, PersistentVolumeClaim, PodSpec, Volume};
use serde_json::Value;

use crate::source::parent;
use crate::{PipelineSpec, crd};

/// Fields of Tekton's older versions, and of places nearby, with where they are now. The first text is the end of
/// the path.
const MOVED: &[(&str, &str)] = &[
    ("steps[].resources", "write `computeResources`"),
    ("sidecars[].resources", "write `computeResources`"),
    ("stepTemplate.resources", "write `computeResources`"),
    ("taskRef.bundle", "write `resolver: bundles` with the parameters `bundle`, `name` and `kind`"),
    ("pipelineRef.bundle", "write `resolver: bundles` with the parameters `bundle`, `name` and `kind`"),
    ("PipelineRun.spec.timeout", "write `timeouts.pipeline`"),
    ("PipelineRun.spec.serviceAccountName", "write `taskRunTemplate.serviceAccountName`"),
    ("PipelineRun.spec.podTemplate", "write `taskRunTemplate.podTemplate`"),
    ("taskRunSpecs[].taskServiceAccountName", "write `serviceAccountName`"),
    ("taskRunSpecs[].taskPodTemplate", "write `podTemplate`"),
    ("TaskRun.spec.stepOverrides", "write `stepSpecs`"),
    ("TaskRun.spec.sidecarOverrides", "write `sidecarSpecs`"),
    ("spec.resources", "resources of pipelines are gone; use parameters, results and workspaces"),
    ("tasks[].resources", "resources of pipelines are gone; use parameters, results and workspaces"),
    ("tasks[].conditions", "write `when`"),
];

/// What to write instead of the unknown field at `path` of an object of this kind.
pub(crate) fn field(kind: &str, path: &str) -> Option<String> {
    let place = without_indices(path);
    let full = format!("{kind}.{place}");
    if let Some((_, help)) = MOVED
        .iter()
        .find(|(end, _)| full == *end || full.strip_suffix(end).is_some_and(|before| before.ends_with('.')))
    {
        return Some((*help).to_owned());
    }
    let known = crd::kinds().iter().find(|known| known.kind == kind)?;
    field_in(&known.schema, path)
}

/// What to write instead of the unknown field at `path` of an object with this schema.
pub(crate) fn field_in(schema: &Value, path: &str) -> Option<String> {
    let name = path.rsplit('.').next()?;
    let names = names_at(schema, parent(path));
    nearest(name, names.iter().map(String::as_str)).map(|near| format!("did you mean `{near}`?")).or_else(
        || {
            let shown: Vec<&str> = names.iter().map(String::as_str).filter(|_| names.len() <= 12).collect();
            (!shown.is_empty()).then(|| format!("the fields here are {}", shown.join(", ")))
        },
    )
}

/// The nearest candidate, when it is near enough to be a slip of the finger.
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1);
    candidates
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// `spec.steps[3].image` as `spec.steps[].image`.
fn without_indices(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut inside = false;
    for c in path.chars() {
        match c {
            '[' => {
                inside = true;
                out.push('[');
            }
            ']' => {
                inside = false;
                out.push(']');
            }
            _ if inside => {}
            _ => out.push(c),
        }
    }
    out
}

/// The names of the fields that an object may have.
fn names_at(schema: &Value, path: &str) -> BTreeSet<String> {
    static PIPELINE: OnceLock<Value> = OnceLock::new();
    let mut schema = schema;
    for segment in path.split('.').filter(|segment| !segment.is_empty()) {
        let name = segment.split('[').next().unwrap_or(segment);
        let next = schema.get("properties").and_then(|properties| properties.get(name));
        // A pipeline inside of a pipeline is open in the schema, and so is the one in a status.
        let is_pipeline = name == "pipelineSpec" && next.is_some_and(|next| next.get("properties").is_none());
        schema = match next {
            Some(_) if is_pipeline => PIPELINE.get_or_init(crd::schema_of::<PipelineSpec>),
            Some(next) => next,
            None => match schema.get("additionalProperties") {
                Some(inner) => inner,
                // Below this, it is Kubernetes' own.
                None => return kubernetes_names().clone(),
            },
        };
        for _ in segment.matches('[') {
            schema = schema.get("items").unwrap_or(schema);
        }
    }
    if path == "metadata" {
        return [
            "name",
            "generateName",
            "namespace",
            "labels",
            "annotations",
            "finalizers",
            "ownerReferences",
        ]
        .map(str::to_owned)
        .into();
    }
    match schema.get("properties").and_then(Value::as_object) {
        Some(properties) => properties.keys().cloned().collect(),
        None => kubernetes_names().clone(),
    }
}

/// All names of fields inside pods, containers, volumes and claims.
fn kubernetes_names() -> &'static BTreeSet<String> {
    static NAMES: OnceLock<BTreeSet<String>> = OnceLock::new();
    NAMES.get_or_init(|| {
        let mut names = BTreeSet::new();
        for schema in [
            crd::schema_of::<PodSpec>(),
            crd::schema_of::<Container>(),
            crd::schema_of::<Volume>(),
            crd::schema_of::<PersistentVolumeClaim>(),
        ] {
            collect_names(&schema, &mut names);
        }
        names
    })
}

fn collect_names(schema: &Value, names: &mut BTreeSet<String>) {
    match schema {
        Value::Object(map) => {
            if let Some(properties) = map.get("properties").and_then(Value::as_object) {
                names.extend(properties.keys().cloned());
            }
            map.values().for_each(|value| collect_names(value, names));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_names(item, names)),
        _ => {}
    }
}

/// How many letters to add, remove, change or swap with their neighbour; case counts as no change at all.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.to_lowercase().chars().collect();
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let width = b.len() + 1;
    let mut table = vec![0; (a.len() + 1) * width];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            table[i * width + j] = if i == 0 || j == 0 {
                i + j
            } else {
                let change = usize::from(a[i - 1] != b[j - 1]);
                let mut best = (table[(i - 1) * width + j] + 1)
                    .min(table[i * width + j - 1] + 1)
                    .min(table[(i - 1) * width + j - 1] + change);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    best = best.min(table[(i - 2) * width + j - 2] + 1);
                }
                best
            };
        }
    }
    table[a.len() * width + b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        for (kind, path, wanted) in [
            ("Task", "spec.steps[0].imgae", "did you mean `image`?"),
            ("Task", "spec.steps[0].resources", "write `computeResources`"),
            ("Task", "spec.steps[0].securityContext.runAsNonroot", "did you mean `runAsNonRoot`?"),
            ("Task", "spec.steps[0].env[1].valueForm", "did you mean `valueFrom`?"),
            ("Task", "metadata.lables", "did you mean `labels`?"),
            ("Pipeline", "spec.tasks[0].runsAfter", "did you mean `runAfter`?"),
            ("Pipeline", "spec.tasks[0].taskSpec.stpes", "did you mean `steps`?"),
            ("Pipeline", "spec.tasks[0].pipelineSpec.taskz", "did you mean `tasks`?"),
            ("PipelineRun", "spec.timeout", "write `timeouts.pipeline`"),
            ("PipelineRun", "spec.timeouts.whole", "the fields here are finally, pipeline, tasks"),
            ("PipelineRun", "spec.pipelineSpec.tasks[2].taskRef.bundle", "write `resolver: bundles` with"),
        ] {
            let help = field(kind, path).unwrap_or_default();
            assert!(help.starts_with(wanted), "{path}: {help}");
        }
    }

    #[test]
    fn far_words_are_not_suggested() {
        assert_eq!(nearest("frobnicate", ["image", "script"].into_iter()), None);
        assert_eq!(nearest("ab", ["ba", "xyz"].into_iter()), Some("ba"));
    }
}
