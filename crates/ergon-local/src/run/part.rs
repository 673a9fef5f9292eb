//! A part of a pipeline alone: what is before it is taken from an earlier run, and what is after it is left out.
//!
//! The engine knows nothing of parts. It finds the runs of tasks that an earlier run has carried out as if it had just made
//! them itself, and a task that nobody wants has a condition that does not hold.

use std::collections::BTreeSet;
use std::path::Path;

use ergon_api::{
    CustomRun, Group, MATRIX_LEG_LABEL, PipelineRun, PipelineSpec, PipelineTask, TaskRun, WhenExpression,
    WhenOperator, reasons::skip,
};
use ergon_engine::graph::Graph;
use ergon_engine::run::child_name;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::world::{Files, World};
use super::{Record, RunError, RunOptions, inputs, left};
use crate::container::copy_tree;
use crate::kept::{self, KeptRun};

/// Which tasks of a pipeline are to run; all of them without any name.
#[derive(Debug, Clone, Default)]
pub struct Part {
    /// These and all that wait for them.
    pub from: Vec<String>,
    /// These and all that they wait for.
    pub until: Vec<String>,
    /// The earlier run that the rest is taken from, by ID or name. Without it: the newest one that has what is needed.
    pub earlier: Option<String>,
}

/// What becomes of a task in such a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    Runs,
    /// An earlier run has carried it out: the ID of that run.
    Reused(String),
    LeftOut,
}

impl Part {
    pub fn is_all(&self) -> bool {
        self.from.is_empty() && self.until.is_empty()
    }
}

/// The tasks of a pipeline, and what would become of each, with nothing started.
///
/// # Errors
/// As [`super::run`].
pub fn fates(options: &RunOptions) -> Result<Vec<(String, Fate)>, RunError> {
    let world = inputs::world(options, Files::default(), std::path::PathBuf::new())?;
    let Some(spec) = spec_of(&world)? else { return Ok(Vec::new()) };
    let chosen = choose(&world, &spec, options)?;
    let finals = spec.finally.iter().map(|task| (task.name.clone(), Fate::Runs));
    let of = |task: &PipelineTask| (task.name.clone(), chosen.fate(&task.name));
    Ok(spec.tasks.iter().map(of).chain(finals).collect())
}

/// Makes the world one in which only the part is still to be done. `claims`: where the run has its claims' folders.
///
/// # Errors
/// A task that is not there, results that no earlier run has, a pipeline that is not in the files.
pub(super) fn take(world: &mut World, options: &RunOptions, claims: &Path) -> Result<(), RunError> {
    if options.part.is_all() {
        return Ok(());
    }
    let Some(spec) = spec_of(world)? else {
        return Err(RunError::Input(
            "a Task has no parts: `--from` and `--until` are for pipelines".to_owned(),
        ));
    };
    let chosen = choose(world, &spec, options)?;
    if let Some(earlier) = &chosen.earlier {
        bring_claims(world, &spec, &chosen, earlier, claims)?;
        for task in spec.tasks.iter().filter(|task| chosen.reused.contains(&task.name)) {
            reuse(world, task, &earlier.record);
        }
    }
    if let Some(spec) = spec_in(world) {
        for task in spec.tasks.iter_mut().filter(|task| chosen.left_out.contains(&task.name)) {
            task.when = vec![WhenExpression {
                input: "left out".to_owned(),
                operator: Some(WhenOperator::In),
                values: vec!["wanted".to_owned()],
                ..WhenExpression::default()
            }];
        }
    }
    world.left_out = chosen.left_out;
    Ok(())
}

/// What becomes of the tasks.
#[derive(Debug, Default)]
struct Chosen {
    reused: BTreeSet<String>,
    left_out: BTreeSet<String>,
    earlier: Option<KeptRun>,
}

impl Chosen {
    fn fate(&self, task: &str) -> Fate {
        match &self.earlier {
            Some(earlier) if self.reused.contains(task) => Fate::Reused(earlier.id.clone()),
            _ if self.left_out.contains(task) => Fate::LeftOut,
            _ => Fate::Runs,
        }
    }
}

fn choose(world: &World, spec: &PipelineSpec, options: &RunOptions) -> Result<Chosen, RunError> {
    let part = &options.part;
    if part.is_all() {
        return Ok(Chosen::default());
    }
    let wanted = wanted(world.group, spec, part)?;
    let rest = || spec.tasks.iter().filter(|task| !wanted.runs.contains(&task.name));
    let has = |run: &KeptRun, task: &PipelineTask| found(&run.record, world.group, task).is_some();
    let earlier = if wanted.needs.is_empty() && part.from.is_empty() && part.earlier.is_none() {
        None
    } else {
        earlier(&wanted, spec, options, has)?
    };
    let mut chosen = Chosen::default();
    for task in rest() {
        // What is after the part would be of another run of it.
        let is_after = wanted.after.contains(&task.name);
        if !is_after && earlier.as_ref().is_some_and(|run| has(run, task)) {
            chosen.reused.insert(task.name.clone());
        } else {
            chosen.left_out.insert(task.name.clone());
        }
    }
    chosen.earlier = earlier;
    Ok(chosen)
}

/// The run that what is needed is taken from.
fn earlier(
    wanted: &Wanted,
    spec: &PipelineSpec,
    options: &RunOptions,
    has: impl Fn(&KeptRun, &PipelineTask) -> bool,
) -> Result<Option<KeptRun>, RunError> {
    let target = &inputs::target(&options.documents, options.name.as_deref())?.object;
    let runs: Vec<KeptRun> = match &options.part.earlier {
        Some(name) => {
            vec![kept::find(&options.home, Some(name)).map_err(|error| RunError::Input(error.to_string()))?]
        }
        None => kept::runs(&options.home)
            .into_iter()
            .filter(|run| run.record.kind == target.kind() && run.record.target == inputs::called(target))
            .collect(),
    };
    let missing = |run: &KeptRun| -> Vec<String> {
        let needed = spec.tasks.iter().filter(|task| wanted.needs.contains(&task.name));
        needed.filter(|task| !has(run, task)).map(|task| format!("`{}`", task.name)).collect()
    };
    if let Some(at) = runs.iter().position(|run| missing(run).is_empty()) {
        return Ok(runs.into_iter().nth(at));
    }
    if wanted.needs.is_empty() {
        return Ok(None);
    }
    let (tasks, of) = if let Some(run) = runs.first() {
        (missing(run), format!("run `{}` did not bring them to a good end", run.id))
    } else {
        let all = wanted.needs.iter().map(|task| format!("`{task}`")).collect();
        (all, "there is no earlier run of it on this machine".to_owned())
    };
    Err(RunError::Input(format!(
        "what runs needs the results of {}, and {of}; run it without `--from` first",
        tasks.join(", ")
    )))
}

/// What the names of a part come to.
#[derive(Debug, Default, PartialEq)]
struct Wanted {
    runs: BTreeSet<String>,
    /// What those wait for, directly or through others, and which does not run.
    needs: BTreeSet<String>,
    /// What waits for those and does not run.
    after: BTreeSet<String>,
}

fn wanted(group: Group, spec: &PipelineSpec, part: &Part) -> Result<Wanted, RunError> {
    // References to results may be tags still.
    let mut spec = spec.clone();
    if group == Group::Ergon {
        ergon_api::language::refer_pipeline(&mut spec).map_err(|error| RunError::Input(error.to_string()))?;
    }
    let graph = Graph::build(&spec.tasks).map_err(|error| RunError::Input(error.to_string()))?;
    for (option, name) in
        part.from.iter().map(|name| ("--from", name)).chain(part.until.iter().map(|name| ("--until", name)))
    {
        if spec.finally.iter().any(|task| task.name == *name) {
            return Err(RunError::Input(format!("`{option} {name}`: final tasks run in any case")));
        }
        if !graph.order().contains(name) {
            let known: Vec<String> = spec.tasks.iter().map(|task| format!("`{}`", task.name)).collect();
            return Err(RunError::Input(format!(
                "`{option} {name}`: the pipeline has no such task (there are {})",
                known.join(", ")
            )));
        }
    }
    let names = || graph.order().iter().cloned();
    let is_from = |task: &String| part.from.iter().any(|from| from == task || graph.reaches(from, task));
    let is_until = |task: &String| part.until.iter().any(|until| until == task || graph.reaches(task, until));
    let runs: BTreeSet<String> = names()
        .filter(|task| part.from.is_empty() || is_from(task))
        .filter(|task| part.until.is_empty() || is_until(task))
        .collect();
    if runs.is_empty() {
        return Err(RunError::Input("no task is both after `--from` and before `--until`".to_owned()));
    }
    let others = |near: &dyn Fn(&str, &str) -> bool| -> BTreeSet<String> {
        names().filter(|task| !runs.contains(task) && runs.iter().any(|run| near(task, run))).collect()
    };
    let needs = others(&|task, run| graph.reaches(task, run));
    let after = others(&|task, run| graph.reaches(run, task));
    Ok(Wanted { runs, needs, after })
}

/// The pipeline's spec as it stands in the files; none where a single task is run.
pub(super) fn spec_of(world: &World) -> Result<Option<PipelineSpec>, RunError> {
    let Some(run) = &world.pipeline_run else { return Ok(None) };
    if let Some(spec) = &run.spec.pipeline_spec {
        return Ok(Some(spec.clone()));
    }
    let name = run.spec.pipeline_ref.as_ref().and_then(|reference| reference.name.as_ref());
    let known = name.and_then(|name| world.library.pipelines.get(name)?.as_ref());
    known.map(|pipeline| Some(pipeline.spec.clone())).ok_or_else(|| {
        RunError::Input("the pipeline is not in the files, so no part of it can be named".to_owned())
    })
}

fn spec_in(world: &mut World) -> Option<&mut PipelineSpec> {
    let run = world.pipeline_run.as_mut()?;
    if run.spec.pipeline_spec.is_some() {
        return run.spec.pipeline_spec.as_mut();
    }
    let name = run.spec.pipeline_ref.as_ref()?.name.as_ref()?;
    world.library.pipelines.get_mut(name)?.as_mut().map(|pipeline| &mut pipeline.spec)
}

/// What an earlier run made for a task that came to a good end in it.
#[derive(Default)]
#[expect(clippy::struct_field_names, reason = "they are the kinds of runs")]
pub(super) struct Found<'a> {
    task_runs: Vec<&'a TaskRun>,
    custom_runs: Vec<&'a CustomRun>,
    pipeline_runs: Vec<&'a PipelineRun>,
}

pub(super) fn found<'a>(record: &'a Record, group: Group, task: &PipelineTask) -> Option<Found<'a>> {
    let run = record.pipeline_run.as_ref()?;
    let label = group.label("pipelineTask");
    let is_its = |meta: &ObjectMeta| {
        let owned = meta.owner_references.iter().flatten().any(|owner| owner.uid == run.uid());
        owned && meta.labels.as_ref().and_then(|labels| labels.get(&label)) == Some(&task.name)
    };
    let found = Found {
        task_runs: record.task_runs.iter().filter(|run| is_its(&run.metadata)).collect(),
        custom_runs: record.custom_runs.iter().filter(|run| is_its(&run.metadata)).collect(),
        pipeline_runs: record.parts.iter().filter(|run| is_its(&run.metadata)).collect(),
    };
    let forgiven = task.on_error.as_deref() == Some("continue");
    let good = found.task_runs.iter().all(|run| run.is_successful() || forgiven && run.is_done())
        && found.pipeline_runs.iter().all(|run| run.is_successful())
        && found.custom_runs.is_empty();
    let some = !found.task_runs.is_empty() || !found.pipeline_runs.is_empty();
    // Its condition did not hold then: the engine looks at it again.
    let was_skipped = || {
        let mut skipped = run.status.iter().flat_map(|status| &status.skipped_tasks);
        skipped.any(|it| it.name == task.name && it.reason == skip::WHEN)
            && !record.left_out.contains(&task.name)
    };
    (good && (some || was_skipped())).then_some(found)
}

/// Puts what an earlier run made for a task into the world, as if this run had made it.
fn reuse(world: &mut World, task: &PipelineTask, record: &Record) {
    let Some(found) = found(record, world.group, task) else { return };
    let Some(run) = world.pipeline_run.clone() else { return };
    let adopt = |meta: &mut ObjectMeta| {
        let leg = meta.labels.as_ref().and_then(|labels| labels.get(MATRIX_LEG_LABEL));
        let leg = leg.and_then(|leg| leg.parse().ok());
        let name = child_name(&run, task, leg);
        meta.name = Some(name.clone());
        for owner in meta.owner_references.iter_mut().flatten() {
            run.uid().clone_into(&mut owner.uid);
            run.name().clone_into(&mut owner.name);
        }
        let label = run.group().label("pipelineRun");
        meta.labels.get_or_insert_default().insert(label, run.name().to_owned());
        name
    };
    for made in found.task_runs {
        let mut made = made.clone();
        let name = adopt(&mut made.metadata);
        world.reused.insert(name.clone());
        world.task_runs.insert(name, made);
    }
    for made in found.pipeline_runs {
        let mut made = made.clone();
        let name = adopt(&mut made.metadata);
        world.reused.insert(name.clone());
        world.parts.insert(name, made);
    }
}

/// The claims' folders as the earlier run left them: what was not run again has written to them.
fn bring_claims(
    world: &World,
    spec: &PipelineSpec,
    chosen: &Chosen,
    earlier: &KeptRun,
    claims: &Path,
) -> Result<(), RunError> {
    let Some(run) = &world.pipeline_run else { return Ok(()) };
    let of_run = |name: &str| {
        run.spec.workspaces.iter().find(|binding| binding.name == name).is_some_and(|binding| {
            binding.volume_claim_template.is_some()
                || binding
                    .persistent_volume_claim
                    .as_ref()
                    .is_some_and(|claim| !inputs::is_folder_claim(&claim.claim_name))
        })
    };
    let used = spec.tasks.iter().filter(|task| chosen.reused.contains(&task.name));
    let used = used.flat_map(|task| &task.workspaces).map(|binding| {
        let name = binding.workspace.as_deref().filter(|name| !name.is_empty());
        name.unwrap_or(&binding.name).to_owned()
    });
    let Some(workspace) = used.into_iter().find(|name| of_run(name)) else { return Ok(()) };
    if !left::is_whole(&earlier.folder) {
        return Err(RunError::Input(format!(
            "the folder of workspace `{workspace}` went with run `{}`: bind one with `-w {workspace}=FOLDER`, or run it once with `--keep`",
            earlier.id
        )));
    }
    let from = earlier.folder.join("claims");
    if from.is_dir() {
        let failed = |source| RunError::Folder { path: claims.to_owned(), source };
        std::fs::create_dir_all(claims).map_err(failed)?;
        copy_tree(&from, claims).map_err(|(path, source)| RunError::Folder { path, source })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_part_is_what_is_between_its_names() {
        let task =
            |name: &str, after: &[&str]| json!({"name": name, "taskRef": {"name": "t"}, "runAfter": after});
        let spec: PipelineSpec = serde_json::from_value(json!({
            "tasks": [
                task("clone", &[]),
                task("lint", &["clone"]),
                {"name": "build", "taskRef": {"name": "t"}, "params": [{"name": "p", "value": "{{tasks.clone.results.c}}"}]},
                task("test", &["build"]),
                task("deploy", &["test", "lint"]),
            ],
            "finally": [{"name": "notify", "taskRef": {"name": "t"}}],
        }))
        .unwrap();
        let names = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(" ");
        let look = |from: &[&str], until: &[&str]| {
            let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            let part = Part { from: owned(from), until: owned(until), earlier: None };
            match wanted(Group::Ergon, &spec, &part) {
                Ok(it) => format!("{} | {} | {}", names(&it.runs), names(&it.needs), names(&it.after)),
                Err(error) => error.to_string(),
            }
        };
        for (from, until, expected) in [
            (&["test"][..], &[][..], "deploy test | build clone lint | "),
            (&[], &["build"], "build clone |  | deploy lint test"),
            (&["build"], &["test"], "build test | clone | deploy"),
            (&["lint", "test"], &[], "deploy lint test | build clone | "),
            (&["deploy"], &["build"], "no task is both after `--from` and before `--until`"),
            (
                &["x"],
                &[],
                "`--from x`: the pipeline has no such task (there are `clone`, `lint`, `build`, `test`, `deploy`)",
            ),
            (&[], &["notify"], "`--until notify`: final tasks run in any case"),
        ] {
            assert_eq!(look(from, until), expected, "{from:?} {until:?}");
        }
    }
}
