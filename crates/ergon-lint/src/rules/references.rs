//! What one object asks of another: parameters, workspaces and results across references.

use std::collections::BTreeMap;

use ergon_api::variables::{Part, Variable};
use ergon_api::{
    Document, Group, Object, ParamSpec, ParamType, PipelineSpec, PipelineTask, TaskSpec, WorkspaceDeclaration,
};
use ergon_engine::graph::{as_result, references};

use super::values::{self, Asker, Given};
use crate::report::Report;
use crate::rule::{MISSING_WORKSPACE, TYPE_MISMATCH, UNKNOWN_REFERENCE, UNKNOWN_RESULT, UNKNOWN_WORKSPACE};
use crate::set::{Found, Set};
use crate::spec::{At, read_pipeline};

/// What a pipeline's task runs, as far as it is known.
#[derive(Clone, Copy)]
enum Work<'a> {
    Task(&'a TaskSpec),
    Pipeline(&'a PipelineSpec),
}

impl<'a> Work<'a> {
    fn params(self) -> &'a [ParamSpec] {
        match self {
            Self::Task(spec) => &spec.params,
            Self::Pipeline(spec) => &spec.params,
        }
    }

    /// The results by name, with their types.
    fn results(self) -> BTreeMap<&'a str, ParamType> {
        match self {
            Self::Task(spec) => {
                spec.results.iter().map(|result| (result.name.as_str(), result.effective_type())).collect()
            }
            Self::Pipeline(spec) => spec
                .results
                .iter()
                .map(|result| (result.name.as_str(), result.type_.unwrap_or_default()))
                .collect(),
        }
    }

    /// The workspaces, and whether it can do without them.
    fn workspaces(self) -> Vec<(&'a str, bool)> {
        match self {
            Self::Task(spec) => of_task(&spec.workspaces),
            Self::Pipeline(spec) => spec
                .workspaces
                .iter()
                .map(|workspace| (workspace.name.as_str(), workspace.is_optional()))
                .collect(),
        }
    }
}

fn of_task(workspaces: &[WorkspaceDeclaration]) -> Vec<(&str, bool)> {
    workspaces.iter().map(|workspace| (workspace.name.as_str(), workspace.is_optional())).collect()
}

/// The tasks of a Pipeline against what they run.
pub(crate) fn pipeline<'a>(report: &mut Report<'a>, at: &At<'a, PipelineSpec>, set: &Set<'a>) {
    let spec = read_pipeline(at.group, at.spec);
    // What is written out is taken from the object itself, so that it lives as long.
    let works: BTreeMap<&str, Work<'a>> = at
        .spec
        .all_tasks()
        .filter_map(|task| Some((task.name.as_str(), work(report, at.group, task, set)?)))
        .collect();
    let matrixed = |name: &str| spec.all_tasks().any(|task| task.name == name && task.is_matrixed());
    let type_of = |variable: &Variable| match as_result(variable) {
        None => values::of_param(at.group, &spec.params, variable),
        Some((task, result)) => {
            let type_ = *works.get(task)?.results().get(result)?;
            match (variable.part, variable.path.len()) {
                (Part::All, 4) if matrixed(task) => Some(ParamType::Array),
                (Part::All, 4) => Some(type_),
                (Part::Item(_), 4) | (Part::Value, 5) => Some(ParamType::String),
                (Part::Value, 4) if !values::has_parts(type_) => Some(type_),
                _ => None,
            }
        }
    };
    for (list, tasks, written) in
        [("tasks", &spec.tasks, &at.spec.tasks), ("finally", &spec.finally, &at.spec.finally)]
    {
        for (index, (task, written)) in tasks.iter().zip(written).enumerate() {
            let path = format!("{}.{list}[{index}]", at.path);
            if let Some(work) = works.get(task.name.as_str()) {
                one(report, &path, task, written, *work, &type_of);
            } else {
                unknown(report, at.group, &path, task, set);
            }
            for (field, variable) in references(task) {
                let field = field
                    .find(".scriptValues.")
                    .map_or(field.clone(), |end| format!("{}.script", &field[..end]));
                result(report, &format!("{path}.{field}"), &variable, &works);
            }
        }
    }
    for (index, declared) in spec.results.iter().enumerate() {
        let path = format!("{}.results[{index}].value", at.path);
        for (field, variable) in ergon_api::texts::variables_in(&declared.value, &[]) {
            result(report, &format!("{path}{field}"), &variable, &works);
        }
    }
}

fn work<'a>(report: &Report<'a>, group: Group, task: &'a PipelineTask, set: &Set<'a>) -> Option<Work<'a>> {
    if task.is_custom_task() {
        return None;
    }
    if let Some(embedded) = &task.task_spec {
        return Some(Work::Task(&embedded.task));
    }
    if let Some(inner) = &task.pipeline_spec {
        return Some(Work::Pipeline(inner));
    }
    if let Some(reference) = task.task_ref.as_ref().filter(|reference| reference.resolver.is_none()) {
        return set.task(report.source, group, reference.name.as_deref()?).one().map(Work::Task);
    }
    let reference = task.pipeline_ref.as_ref().filter(|reference| reference.resolver.is_none())?;
    set.pipeline(report.source, group, reference.name.as_deref()?).one().map(Work::Pipeline)
}

/// One task against what it runs.
fn one(
    report: &mut Report<'_>,
    path: &str,
    task: &PipelineTask,
    written: &PipelineTask,
    work: Work<'_>,
    type_of: &dyn Fn(&Variable) -> Option<ParamType>,
) {
    let mut given: Vec<Given<'_>> = values::given(&format!("{path}.params"), &task.params, false);
    if let Some(matrix) = &task.matrix {
        given.extend(values::given(&format!("{path}.matrix.params"), &matrix.params, true));
        for (index, include) in matrix.include.iter().enumerate() {
            given.extend(values::given(
                &format!("{path}.matrix.include[{index}].params"),
                &include.params,
                true,
            ));
        }
    }
    let (what, place, is_embedded) = named(written, path);
    // A Task that is written out takes what is set beside it without declaring it.
    let asker = Asker { what: &what, declared: work.params(), path: &place, takes_more: is_embedded };
    values::check(report, &asker, &given, type_of);
    let bound: Vec<&str> = task.workspaces.iter().map(|binding| binding.name.as_str()).collect();
    let is_given = report.options.config.defaults.task_run_workspace_binding.is_some();
    let declared = work.workspaces();
    workspaces(
        report,
        &Bindings { what: &what, place: &place, path, bound: &bound, is_given, is_embedded },
        &declared,
    );
}

struct Bindings<'a> {
    what: &'a str,
    /// Where it is said that one is missing.
    place: &'a str,
    /// What has `workspaces`.
    path: &'a str,
    bound: &'a [&'a str],
    /// The installation gives a folder to whoever has none.
    is_given: bool,
    is_embedded: bool,
}

fn workspaces(report: &mut Report<'_>, bindings: &Bindings<'_>, declared: &[(&str, bool)]) {
    let Bindings { what, place, path, bound, is_given, is_embedded } = *bindings;
    let missing: Vec<String> = declared
        .iter()
        .filter(|(name, is_optional)| !is_given && !is_optional && !bound.contains(name))
        .map(|(name, _)| format!("`{name}`"))
        .collect();
    if !missing.is_empty() {
        let many = if missing.len() == 1 { "the workspace" } else { "the workspaces" };
        report
            .at_value(&MISSING_WORKSPACE, place, format!("{what} needs {many} {}", missing.join(", ")))
            .help(format!("add it to the `workspaces` of `{path}`"));
    }
    for (index, name) in bound.iter().enumerate().filter(|_| !is_embedded) {
        if declared.iter().any(|(known, _)| known == name) {
            continue;
        }
        let known = declared.iter().map(|(known, _)| *known);
        let help = match ergon_api::nearest(name, known.clone()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if declared.is_empty() => "it has no workspaces: remove it".to_owned(),
            None => format!("declared are {}", known.collect::<Vec<_>>().join(", ")),
        };
        let message = format!("{what} has no workspace `{name}`");
        report.at_value(&UNKNOWN_WORKSPACE, &format!("{path}.workspaces[{index}].name"), message).help(help);
    }
}

/// How what a task runs is called, where it is named, and whether it is written out.
fn named(task: &PipelineTask, path: &str) -> (String, String, bool) {
    if let Some(name) = task.task_ref.as_ref().and_then(|reference| reference.name.as_deref()) {
        (format!("Task `{name}`"), format!("{path}.taskRef.name"), false)
    } else if let Some(name) = task.pipeline_ref.as_ref().and_then(|reference| reference.name.as_deref()) {
        (format!("Pipeline `{name}`"), format!("{path}.pipelineRef.name"), false)
    } else {
        (format!("`{}`", task.name), format!("{path}.name"), true)
    }
}

/// A reference to what is not in the files.
fn unknown<'a>(report: &mut Report<'a>, group: Group, path: &str, task: &PipelineTask, set: &Set<'a>) {
    let task_ref = task.task_ref.as_ref().filter(|it| it.resolver.is_none() && !task.is_custom_task());
    if let Some(name) = task_ref.and_then(|reference| reference.name.as_deref()) {
        let is_missing = matches!(set.task(report.source, group, name), Found::None);
        if is_missing {
            not_found(report, set, group, "Task", &format!("{path}.taskRef.name"), name);
        }
    }
    let pipeline_ref = task.pipeline_ref.as_ref().filter(|reference| reference.resolver.is_none());
    if let Some(name) = pipeline_ref.and_then(|reference| reference.name.as_deref()) {
        let is_missing = matches!(set.pipeline(report.source, group, name), Found::None);
        if is_missing {
            not_found(report, set, group, "Pipeline", &format!("{path}.pipelineRef.name"), name);
        }
    }
}

fn not_found(report: &mut Report<'_>, set: &Set<'_>, group: Group, kind: &str, path: &str, name: &str) {
    let help = set.near(kind, group, name).map(|near| format!("did you mean `{near}`?"));
    report
        .at_value(&UNKNOWN_REFERENCE, path, format!("there is no {kind} `{name}` in these files"))
        .help(help.unwrap_or_else(|| "it must be in the cluster when the run starts".to_owned()));
}

/// A result that another task does not have.
fn result(report: &mut Report<'_>, path: &str, variable: &Variable, works: &BTreeMap<&str, Work<'_>>) {
    let (task, wanted) = match variable.path.as_slice() {
        [root, task, results, wanted, ..]
            if (root == "tasks" || root == "finally") && results == "results" =>
        {
            (task.as_str(), wanted.as_str())
        }
        _ => return,
    };
    let Some(work) = works.get(task) else { return };
    let results = work.results();
    let Some(type_) = results.get(wanted) else {
        let help = match ergon_api::nearest(wanted, results.keys().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if results.is_empty() => "it has no results".to_owned(),
            None => format!("it has {}", results.keys().copied().collect::<Vec<_>>().join(", ")),
        };
        let message = format!("the task `{task}` has no result `{wanted}`");
        report.at_word(&UNKNOWN_RESULT, path, &variable.text, message).help(help);
        return;
    };
    let is_part = variable.path.len() > 4 || matches!(variable.part, Part::Item(_));
    if is_part && !values::has_parts(*type_) {
        let message = format!("the result `{wanted}` of `{task}` is a {type_}, of which there are no parts");
        report
            .at_word(&TYPE_MISMATCH, path, &variable.text, message)
            .help(format!("write `tasks.{task}.results.{wanted}`"));
    }
}

/// A run against what it runs.
pub(crate) fn run<'a>(report: &mut Report<'a>, document: &'a Document, set: &Set<'a>) {
    let nothing = |_: &Variable| None;
    match &document.object {
        Object::PipelineRun(run) => {
            let reference = run.spec.pipeline_ref.as_ref().filter(|reference| reference.resolver.is_none());
            let (work, what, place) =
                match (&run.spec.pipeline_spec, reference.and_then(|it| it.name.as_deref())) {
                    (Some(spec), _) => (spec, "the Pipeline".to_owned(), "spec.pipelineSpec"),
                    (None, Some(name)) => match set.pipeline(report.source, run.group(), name) {
                        Found::One(_, _, spec) => {
                            (spec, format!("Pipeline `{name}`"), "spec.pipelineRef.name")
                        }
                        Found::None => {
                            return not_found(
                                report,
                                set,
                                run.group(),
                                "Pipeline",
                                "spec.pipelineRef.name",
                                name,
                            );
                        }
                        Found::Several => return,
                    },
                    (None, None) => return,
                };
            let is_embedded = run.spec.pipeline_spec.is_some();
            let asker = Asker { what: &what, declared: &work.params, path: place, takes_more: is_embedded };
            values::check(report, &asker, &values::given("spec.params", &run.spec.params, false), &nothing);
            let bound: Vec<&str> = run.spec.workspaces.iter().map(|binding| binding.name.as_str()).collect();
            let bindings =
                Bindings { what: &what, place, path: "spec", bound: &bound, is_given: false, is_embedded };
            workspaces(report, &bindings, &Work::Pipeline(work).workspaces());
        }
        Object::TaskRun(run) => {
            let reference = run.spec.task_ref.as_ref();
            let reference = reference.filter(|it| it.resolver.is_none() && !it.is_custom_task());
            let (work, what, place) = match (&run.spec.task_spec, reference.and_then(|it| it.name.as_deref()))
            {
                (Some(spec), _) => (spec, "the Task".to_owned(), "spec.taskSpec"),
                (None, Some(name)) => match set.task(report.source, run.group(), name) {
                    Found::One(_, _, spec) => (spec, format!("Task `{name}`"), "spec.taskRef.name"),
                    Found::None => {
                        return not_found(report, set, run.group(), "Task", "spec.taskRef.name", name);
                    }
                    Found::Several => return,
                },
                (None, None) => return,
            };
            let is_embedded = run.spec.task_spec.is_some();
            let asker = Asker { what: &what, declared: &work.params, path: place, takes_more: is_embedded };
            values::check(report, &asker, &values::given("spec.params", &run.spec.params, false), &nothing);
            let bound: Vec<&str> = run.spec.workspaces.iter().map(|binding| binding.name.as_str()).collect();
            let is_given = report.options.config.defaults.task_run_workspace_binding.is_some();
            let bindings =
                Bindings { what: &what, place, path: "spec", bound: &bound, is_given, is_embedded };
            workspaces(report, &bindings, &Work::Task(work).workspaces());
        }
        _ => {}
    }
}

/// Steps against the StepActions that they run.
pub(crate) fn steps<'a>(report: &mut Report<'a>, at: &At<'a, TaskSpec>, set: &Set<'a>) {
    for (index, step) in at.spec.steps.iter().enumerate() {
        let reference = step.ref_.as_ref().filter(|reference| reference.resolver.is_none());
        let Some(name) = reference.and_then(|reference| reference.name.as_deref()) else { continue };
        let path = format!("{}.steps[{index}]", at.path);
        let place = format!("{path}.ref.name");
        let action = match set.action(report.source, at.group, name) {
            Found::One(_, _, action) => action,
            Found::None => {
                not_found(report, set, at.group, "StepAction", &place, name);
                continue;
            }
            Found::Several => continue,
        };
        let type_of = |variable: &Variable| values::of_param(at.group, &at.spec.params, variable);
        let what = format!("StepAction `{name}`");
        let asker = Asker { what: &what, declared: &action.params, path: &place, takes_more: false };
        let mut params = step.params.clone();
        if at.group == Group::Ergon {
            for param in &mut params {
                if let ergon_api::ParamValue::String(text) = &mut param.value
                    && text.contains("{{")
                {
                    // A tag may stand for a list: it is checked when the run starts.
                    "$(unknown)".clone_into(text);
                }
            }
        }
        values::check(report, &asker, &values::given(&format!("{path}.params"), &params, false), &type_of);
    }
}
