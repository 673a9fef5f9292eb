//! What a change of files is to a run that was carried out before it.

use std::collections::BTreeSet;

use ergon_api::manifest::Object;
use ergon_api::{Document, PipelineSpec, PipelineTask};

use super::part::{Part, found, spec_of};
use super::world::Files;
use super::{RunError, RunOptions, inputs};
use crate::kept;

/// What has to run again.
#[derive(Debug, Clone)]
pub enum Affected {
    All,
    Part(Part),
    Nothing,
}

/// What has to run again after a change: what uses what has changed, all that waits for it, and what did not come to a good
/// end before.
///
/// `before`: the documents as they were; those of the options are as they are now. `workspaces`: those in whose folders
/// files have changed.
///
/// # Errors
/// Documents that are no run.
pub fn affected(
    options: &RunOptions,
    before: &[Document],
    workspaces: &BTreeSet<String>,
) -> Result<Affected, RunError> {
    let Some(tasks) = changed_tasks(before, &options.documents) else { return Ok(Affected::All) };
    let world = inputs::world(options, Files::default(), std::path::PathBuf::new())?;
    let (Some(run), Ok(Some(spec))) = (&world.pipeline_run, spec_of(&world)) else {
        return Ok(Affected::All);
    };
    // Folders that go with a run are new each time.
    if run.spec.workspaces.iter().any(|binding| binding.volume_claim_template.is_some()) {
        return Ok(Affected::All);
    }
    let target = &inputs::target(&options.documents, options.name.as_deref())?.object;
    let of_target = |run: &kept::KeptRun| {
        (run.record.kind.as_str(), run.record.target.as_str()) == (target.kind(), inputs::called(target))
    };
    let Some(earlier) = kept::runs(&options.home).into_iter().find(of_target) else {
        return Ok(Affected::All);
    };
    let was_good = |task: &PipelineTask| found(&earlier.record, world.group, task).is_some();
    Ok(choose(&spec, &tasks, workspaces, was_good, earlier.id.clone()))
}

fn choose(
    spec: &PipelineSpec,
    tasks: &BTreeSet<String>,
    workspaces: &BTreeSet<String>,
    was_good: impl Fn(&PipelineTask) -> bool,
    earlier: String,
) -> Affected {
    let uses = |task: &&PipelineTask| {
        let named = task.task_ref.as_ref().and_then(|reference| reference.name.as_ref());
        // A pipeline's own tasks are not looked into.
        named.is_some_and(|name| tasks.contains(name))
            || task.is_pipeline() && !tasks.is_empty()
            || task.workspaces.iter().any(|binding| {
                let of_pipeline = binding.workspace.as_ref().filter(|name| !name.is_empty());
                workspaces.contains(of_pipeline.unwrap_or(&binding.name))
            })
    };
    let from: Vec<String> = spec
        .tasks
        .iter()
        .filter(|task| uses(task) || !was_good(task))
        .map(|task| task.name.clone())
        .collect();
    if from.is_empty() {
        // Final tasks cannot run alone.
        return if spec.finally.iter().any(|task| uses(&task)) { Affected::All } else { Affected::Nothing };
    }
    if from.len() == spec.tasks.len() {
        return Affected::All;
    }
    Affected::Part(Part { from, until: Vec::new(), earlier: Some(earlier) })
}

/// The names of the Tasks that have changed; none where something else has.
fn changed_tasks(before: &[Document], now: &[Document]) -> Option<BTreeSet<String>> {
    let mut changed = BTreeSet::new();
    for (these, those) in [(before, now), (now, before)] {
        for document in these {
            if those.iter().any(|other| other.object == document.object) {
                continue;
            }
            match &document.object {
                Object::Task(task) => {
                    changed.insert(task.name().to_owned());
                }
                _ => return None,
            }
        }
    }
    Some(changed)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(affected: &Affected) -> String {
        match affected {
            Affected::All => "all".to_owned(),
            Affected::Nothing => "nothing".to_owned(),
            Affected::Part(part) => part.from.join(" "),
        }
    }

    #[test]
    fn what_uses_what_has_changed_runs_again_and_what_was_not_good() {
        let spec: PipelineSpec = serde_json::from_value(json!({
            "tasks": [
                {"name": "lint", "taskRef": {"name": "linter"}, "workspaces": [{"name": "source"}]},
                {"name": "build", "taskRef": {"name": "builder"}, "workspaces": [{"name": "in", "workspace": "source"}]},
                {"name": "scan", "taskRef": {"name": "scanner"}},
            ],
            "finally": [{"name": "tell", "taskRef": {"name": "teller"}}],
        }))
        .unwrap();
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        for (tasks, workspaces, bad, wanted) in [
            (&["scanner"][..], &[][..], &[][..], "scan"),
            (&[], &["source"], &[], "lint build"),
            (&[], &["other"], &[], "nothing"),
            (&["teller"], &[], &[], "all"),
            (&["scanner"], &[], &["lint"], "lint scan"),
            (&["scanner"], &["source"], &[], "all"),
        ] {
            let good = |task: &PipelineTask| !bad.contains(&task.name.as_str());
            let found = choose(&spec, &set(tasks), &set(workspaces), good, String::new());
            assert_eq!(told(&found), wanted, "{tasks:?} {workspaces:?} {bad:?}");
        }
    }

    #[test]
    fn only_changes_of_tasks_are_looked_into() {
        let task = |name: &str, image: &str| {
            format!(
                "apiVersion: ergon.dev/v1\nkind: Task\nmetadata: {{name: {name}}}\nspec: {{steps: [{{image: {image}, command: [a]}}]}}\n---\n"
            )
        };
        let map = |value: &str| {
            format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: m}}\ndata: {{a: {value}}}\n---\n")
        };
        let parse = |text: String| ergon_api::parse(&text, "f.yaml").unwrap();
        let before = parse(task("a", "x") + &task("b", "x") + &map("one"));
        let look = |text: String| {
            changed_tasks(&before, &parse(text)).map(|set| set.into_iter().collect::<Vec<_>>().join(" "))
        };
        assert_eq!(look(task("b", "x") + &task("a", "x") + &map("one")).as_deref(), Some(""));
        assert_eq!(look(task("a", "z") + &task("b", "x") + &map("one")).as_deref(), Some("a"));
        assert_eq!(look(task("a", "x") + &map("one")).as_deref(), Some("b"));
        assert_eq!(look(task("a", "x") + &task("b", "x") + &map("two")), None);
    }
}
