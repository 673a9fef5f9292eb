//! `ergon start`: a run in the cluster.

use std::path::PathBuf;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use ergon_api::manifest::Object;
use ergon_api::{Document, Group, Param, ParamSpec, ParamValue, WorkspaceBinding};
use ergon_client::{Ergon, LogOptions, Run, RunKind, Start, Submitted, params};
use serde_json::Value;

use super::follow;
use crate::args::{ClusterArgs, Output, assignment};
use crate::cluster::{Kind, Name, connect};
use crate::complete::pipelines_and_tasks;
use crate::console::Console;
use crate::failure::{Failure, Result};
use crate::render::{name_of, objects};
use crate::{manifest, workspaces};

/// Starts a run of a pipeline or task in the cluster, or what a file says.
///
/// With a file, everything in it goes to the cluster. Runs in it are created; when there is none, the file's one pipeline,
/// or else its one task, is run.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ergon start build -p revision=main -w source=size:1Gi --follow
  ergon start task lint -p files=a.rs,b.rs -w source=claim:code/src
  ergon start -f run.yaml --follow
  ergon start -f pipeline.yaml -p tag=v1 -o name")]
pub struct StartArgs {
    /// The pipeline or task: NAME, pipeline/NAME, task/NAME, or the kind and the name.
    #[arg(num_args = 0..=2, required_unless_present = "files", value_name = "NAME",
        add = ArgValueCompleter::new(pipelines_and_tasks))]
    target: Vec<String>,

    /// A file with what to run; `-` is standard input. May be repeated.
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    files: Vec<PathBuf>,

    /// A parameter. Lists: `a,b` or JSON; maps: `k=v,l=w` or JSON. May be repeated.
    #[arg(short = 'p', long = "param", value_name = "NAME=VALUE", value_parser = assignment)]
    params: Vec<(String, String)>,

    /// A workspace: `NAME=` and emptyDir, claim:NAME[/FOLDER], size:1Gi (a new claim), configmap:NAME or secret:NAME.
    /// May be repeated.
    #[arg(short = 'w', long = "workspace", value_name = "NAME=WHERE", value_parser = workspaces::parse)]
    workspaces: Vec<WorkspaceBinding>,

    /// The service account of the pods.
    #[arg(long, value_name = "NAME")]
    service_account: Option<String>,

    /// The run's name; the cluster chooses one when absent.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// A label of the run. May be repeated.
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = assignment)]
    labels: Vec<(String, String)>,

    /// Show the logs until the run ends; the exit code is 1 unless it succeeded.
    #[arg(short = 'F', long)]
    follow: bool,

    /// Let the cluster check it and print it; start nothing.
    #[arg(long, conflicts_with = "follow")]
    dry_run: bool,

    /// How to print what was started.
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
}

pub async fn start(args: StartArgs, cluster: &ClusterArgs, console: Console) -> Result {
    let target = match args.target.as_slice() {
        [] => None,
        parts => Some(Name::parse(&parts.join("/"))?),
    };
    let mut documents = manifest::read(&args.files)?;
    let runs = documents.iter().filter(|document| run_kind(&document.object).is_some()).count();
    let plan = match target {
        Some(name) => Some(name),
        None if runs == 0 => Some(only_definition(&documents)?),
        None => {
            refuse_for_runs(&args)?;
            for document in &mut documents {
                set_params(&mut document.object, &args.params)?;
                add_workspaces(&mut document.object, &args.workspaces);
            }
            None
        }
    };
    // What the files bring along is known already, and under `--dry-run` the cluster does not have it.
    let brought = plan.as_ref().and_then(|name| brought(&documents, name));
    let ergon = connect(cluster).await?;
    let mut started: Vec<Run> = Vec::new();
    for document in documents {
        let value = json_of(&document.object)?;
        match ergon.submit(value, args.dry_run).await? {
            Submitted::Run(run) => started.push(run),
            Submitted::Applied(object) => {
                let name = name_of(&serde_json::to_value(object).unwrap_or_default());
                console.say(&format!("{name} {}", if args.dry_run { "is valid" } else { "applied" }));
            }
        }
    }
    if let Some(name) = plan {
        let kind = match &brought {
            Some(brought) => brought.kind,
            None => definition_kind(&ergon, &name).await?,
        };
        let mut start = Start::new(kind, name.name);
        start.run_name = args.name;
        start.params = args.params;
        start.workspaces = args.workspaces;
        start.service_account = args.service_account;
        start.labels = args.labels.into_iter().collect();
        started.push(match &brought {
            Some(brought) => {
                ergon.start_declared(start, brought.group, &brought.params, args.dry_run).await?
            }
            None => ergon.start(start, args.dry_run).await?,
        });
    }
    print(&started, args.output, args.dry_run, console)?;
    if args.dry_run {
        return Ok(());
    }
    if !args.follow {
        if let ([run], Output::Table) = (started.as_slice(), args.output) {
            let name = format!("{}/{} -n {}", run.kind().singular(), run.name(), run.namespace());
            console.hint(&format!("`ergon logs -f {name}` shows its logs"));
        }
        return Ok(());
    }
    let mut result = Ok(());
    for run in &started {
        let options = LogOptions { follow: true, ..LogOptions::default() };
        // Every run is shown; one that failed makes the command fail.
        result = result.and(follow::show(&ergon, run, options, false, console).await);
    }
    result
}

fn print(started: &[Run], output: Output, dry_run: bool, console: Console) -> Result {
    let values: Vec<Value> = started.iter().map(Run::to_json).collect::<Result<_, _>>()?;
    match output {
        Output::Table if dry_run => console.print(&objects(values, Output::Yaml, started.len() == 1)?),
        Output::Table => {
            for value in &values {
                console.line(&format!("{} created", name_of(value)))?;
            }
            Ok(())
        }
        output => console.print(&objects(values, output, started.len() == 1)?),
    }
}

/// What a file without runs is about.
fn only_definition(documents: &[Document]) -> Result<Name> {
    let of = |kind: Kind, want: fn(&Object) -> bool| {
        let mut names = documents.iter().map(|document| &document.object).filter(move |object| want(object));
        names.next().map(|first| (Name { kind: Some(kind), name: first.name().to_owned() }, names.count()))
    };
    let pipeline = of(Kind::Pipeline, |object| matches!(object, Object::Pipeline(_)));
    let task = of(Kind::Task, |object| matches!(object, Object::Task(_)));
    match pipeline.or(task) {
        Some((name, 0)) => Ok(name),
        Some(_) => Err(Failure::usage("there are several to run")
            .hint("name the one to run: `ergon start NAME -f FILE`")),
        None => Err(Failure::usage("there is no run, pipeline or task in what was given")
            .hint("`kubectl apply -f FILE` puts other objects into the cluster")),
    }
}

/// A pipeline or task that the files bring along.
struct Brought {
    kind: RunKind,
    group: Group,
    params: Vec<ParamSpec>,
}

fn brought(documents: &[Document], name: &Name) -> Option<Brought> {
    let pipeline = documents.iter().find_map(|document| match &document.object {
        Object::Pipeline(object) if object.name() == name.name && name.kind != Some(Kind::Task) => {
            Some(Brought {
                kind: RunKind::PipelineRun,
                group: object.group(),
                params: object.spec.params.clone(),
            })
        }
        _ => None,
    });
    let task = || {
        documents.iter().find_map(|document| match &document.object {
            Object::Task(object) if object.name() == name.name && name.kind != Some(Kind::Pipeline) => {
                Some(Brought {
                    kind: RunKind::TaskRun,
                    group: object.group(),
                    params: object.spec.params.clone(),
                })
            }
            _ => None,
        })
    };
    pipeline.or_else(task)
}

/// What is said about a run on the command line cannot be said about the runs of a file.
fn refuse_for_runs(args: &StartArgs) -> Result {
    let set = [
        ("--name", args.name.is_some()),
        ("--service-account", args.service_account.is_some()),
        ("--label", !args.labels.is_empty()),
    ];
    match set.into_iter().find(|(_, set)| *set) {
        Some((option, _)) => {
            Err(Failure::usage(format!("`{option}` is for new runs; the file has its own runs"))
                .hint("write it into the file, or name the pipeline or task to start"))
        }
        None => Ok(()),
    }
}

/// A pipeline before a task.
async fn definition_kind(ergon: &Ergon, name: &Name) -> Result<RunKind> {
    match name.kind {
        Some(Kind::Pipeline) => Ok(RunKind::PipelineRun),
        Some(Kind::Task) => Ok(RunKind::TaskRun),
        Some(Kind::Run(kind)) => Err(Failure::usage(format!("a {kind} is started already"))
            .hint("`ergon start pipeline NAME` or `ergon start task NAME`")),
        None => match ergon.get_named::<ergon_api::Pipeline>(&name.name).await {
            Ok(_) => Ok(RunKind::PipelineRun),
            Err(error) if error.is_not_found() => match ergon.get_named::<ergon_api::Task>(&name.name).await {
                Ok(_) => Ok(RunKind::TaskRun),
                Err(error) if error.is_not_found() => Err(Failure::invalid(format!(
                    "there is no pipeline and no task `{}` in namespace `{}`",
                    name.name,
                    ergon.namespace()
                ))
                .hint("`ergon list pipelines` and `ergon list tasks` show what there is; `-f FILE` brings it along")),
                Err(error) => Err(error.into()),
            },
            Err(error) => Err(error.into()),
        },
    }
}

fn run_kind(object: &Object) -> Option<RunKind> {
    match object {
        Object::PipelineRun(_) => Some(RunKind::PipelineRun),
        Object::TaskRun(_) => Some(RunKind::TaskRun),
        _ => None,
    }
}

/// Sets parameters of a run in a file. What is written inside the run says their types; of a reference they are texts.
fn set_params(object: &mut Object, given: &[(String, String)]) -> Result {
    let (declared, set): (Option<&[ParamSpec]>, &mut Vec<Param>) = match object {
        Object::PipelineRun(run) => {
            (run.spec.pipeline_spec.as_ref().map(|spec| spec.params.as_slice()), &mut run.spec.params)
        }
        Object::TaskRun(run) => {
            (run.spec.task_spec.as_ref().map(|spec| spec.params.as_slice()), &mut run.spec.params)
        }
        _ => return Ok(()),
    };
    for (name, text) in given {
        let spec = declared.unwrap_or_default().iter().find(|spec| spec.name == *name);
        let value = match spec {
            Some(spec) => params::value(spec, text)?,
            None => ParamValue::String(text.clone()),
        };
        set.retain(|param| param.name != *name);
        set.push(Param { name: name.clone(), value });
    }
    Ok(())
}

fn add_workspaces(object: &mut Object, given: &[WorkspaceBinding]) {
    let set = match object {
        Object::PipelineRun(run) => &mut run.spec.workspaces,
        Object::TaskRun(run) => &mut run.spec.workspaces,
        _ => return,
    };
    set.retain(|old| !given.iter().any(|new| new.name == old.name));
    set.extend_from_slice(given);
}

fn json_of(object: &Object) -> Result<Value> {
    match object {
        Object::Task(object) => serde_json::to_value(object),
        Object::Pipeline(object) => serde_json::to_value(object),
        Object::TaskRun(object) => serde_json::to_value(object),
        Object::PipelineRun(object) => serde_json::to_value(object),
        Object::StepAction(object) => serde_json::to_value(object),
        Object::CustomRun(object) => serde_json::to_value(object),
        Object::Other(value) => Ok(value.clone()),
    }
    .map_err(|error| {
        Failure::invalid(format!("{} `{}` cannot be sent: {error}", object.kind(), object.name()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn documents(text: &str) -> Vec<Document> {
        ergon_api::parse(text, "test.yaml").unwrap()
    }

    const TASK: &str = "apiVersion: ergon.dev/v1\nkind: Task\nmetadata: {name: t}\nspec: {steps: [{image: a, command: [a]}]}\n";
    const PIPELINE: &str = "apiVersion: ergon.dev/v1\nkind: Pipeline\nmetadata: {name: p}\nspec: {tasks: [{name: a, taskRef: {name: t}}]}\n";

    #[test]
    fn a_file_is_about_its_pipeline_before_its_tasks() {
        let name = |text: &str| only_definition(&documents(text)).map(|name| name.name);
        assert_eq!(name(TASK).unwrap(), "t");
        assert_eq!(name(&format!("{TASK}---\n{PIPELINE}")).unwrap(), "p");
        assert_eq!(name(&format!("{TASK}---\n{TASK}")).unwrap_err().code, crate::Code::Usage);
    }

    #[test]
    fn parameters_of_a_file_are_replaced_and_typed_where_that_is_known() {
        let mut run = documents(
            "apiVersion: ergon.dev/v1\nkind: TaskRun\nmetadata: {name: r}\nspec:\n  params: [{name: l, value: [x]}]\n  \
             taskSpec:\n    params: [{name: l, type: array}]\n    steps: [{image: a, command: [a]}]\n",
        );
        let given = [("l".to_owned(), "a,b".to_owned()), ("other".to_owned(), "c,d".to_owned())];
        set_params(&mut run[0].object, &given).unwrap();
        let Object::TaskRun(run) = &run[0].object else { panic!("a TaskRun") };
        let values: Vec<String> = run.spec.params.iter().map(|param| param.value.to_string()).collect();
        assert_eq!(values, [r#"["a","b"]"#, "c,d"]);
    }
}
