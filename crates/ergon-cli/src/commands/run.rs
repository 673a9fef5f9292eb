//! `ergon run`: a run on this machine, with no cluster.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use ergon_api::manifest::Object;
use ergon_api::{Document, Param, ParamSpec, ParamValue};
use ergon_client::params;
use ergon_local::event::{Event, Status};
use ergon_local::{Affected, Fate, Keep, Mocks, Part, RunError, RunOptions, Stop, WorkspaceSource};
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;

use super::interrupts::{Interrupt, Interrupts};
use super::watch::{change, look};
use crate::args::assignment;
use crate::console::Console;
use crate::failure::{Code, Failure, Result};
use crate::render::{FRAME, Live, Place, Table};
use crate::{junit, manifest, secrets};

/// Runs a task, a pipeline or a run on this machine, with no cluster and no daemon.
///
/// The files bring everything along: the run, what it refers to, its ConfigMaps and Secrets. The exit code is 0 when it
/// succeeded and 1 when it did not. Ctrl-C cancels it and still runs `finally`; a second Ctrl-C ends everything.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ergon run task.yaml -p name=world
  ergon run pipeline.yaml tasks.yaml -w source=. --task build
  ergon run tasks/build -w source=. --watch
  ergon run deploy.yaml --secret registry=password=env:PASSWORD -p password=registry/password
  ergon run pipeline.yaml --from test      with what an earlier run has built
  ergon run pipeline.yaml --until build
  ergon run run.yaml --output json | jq -r 'select(.event == \"line\").text'")]
pub struct RunArgs {
    /// Files with the objects, or folders with such files; `-` is standard input.
    #[arg(required_unless_present = "more", value_name = "FILE")]
    files: Vec<PathBuf>,

    /// One more file; may be repeated.
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    more: Vec<PathBuf>,

    /// Which task, pipeline or run of the files; needed where there are several.
    #[arg(long = "task", visible_alias = "name", value_name = "NAME")]
    name: Option<String>,

    /// A parameter. Lists: `a,b` or JSON; maps: `k=v,l=w` or JSON. May be repeated.
    #[arg(short = 'p', long = "param", value_name = "NAME=VALUE", value_parser = assignment)]
    params: Vec<(String, String)>,

    /// A workspace: a folder of this machine, or `emptyDir` for one that goes with the run. May be repeated.
    #[arg(short = 'w', long = "workspace", value_name = "NAME=FOLDER", value_parser = assignment)]
    workspaces: Vec<(String, String)>,

    /// A key of a Secret: its value, @FILE, @- or env:VARIABLE. May be repeated.
    ///
    /// It is added to the Secrets that the files bring. A parameter of type `secret` refers to it as `-p token=NAME/KEY`.
    #[arg(long = "secret", value_name = "NAME=KEY=VALUE")]
    secrets: Vec<String>,

    /// Run this task of the pipeline and all that wait for it; what is before it is taken from an earlier run.
    ///
    /// That is the newest run of the same pipeline that has carried out what is needed. May be repeated.
    #[arg(long, value_name = "TASK")]
    from: Vec<String>,

    /// Run this task of the pipeline and all that it waits for, and nothing after it but `finally`. May be repeated.
    #[arg(long, value_name = "TASK")]
    until: Vec<String>,

    /// The earlier run that `--from` takes from: its ID or name, as `ergon runs list` has it.
    #[arg(long, requires = "from", value_name = "RUN")]
    earlier: Option<String>,

    /// Check the files and print what would be run.
    #[arg(long)]
    dry_run: bool,

    /// Keep the run's folders until `ergon runs prune`; without it those of the last run that failed are kept.
    #[arg(long)]
    keep: bool,

    /// Run again whenever one of the files, or a file in a workspace's folder, changes; until Ctrl-C.
    ///
    /// Of a pipeline only those tasks run again that use what has changed, those that wait for them, and those that did not
    /// come to a good end. What the run itself writes into a workspace is no change.
    #[arg(long, conflicts_with_all = ["dry_run", "from", "until"])]
    watch: bool,

    /// Write a report in JUnit's form to this file too: each task is a test.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,

    /// How to show it: text for people, or JSON, one event a line.
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: RunOutput,
}

/// How to show a local run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum RunOutput {
    #[default]
    Text,
    Json,
}

pub async fn run(args: RunArgs, console: Console) -> Result {
    let (stop, _) = watch::channel(Stop::No);
    let part = Part { from: args.from.clone(), until: args.until.clone(), earlier: args.earlier.clone() };
    if !args.watch {
        let documents = read(&args)?;
        return Box::pin(once(&args, documents, part, &stop, console)).await;
    }
    let files = args.files.iter().chain(&args.more).map(PathBuf::as_path);
    let folders = args.workspaces.iter().map(|(_, place)| Path::new(place));
    // The documents of the last run, and what has changed since then.
    let mut last: Option<Vec<Document>> = None;
    let mut changed: Vec<PathBuf> = Vec::new();
    loop {
        let manifests = look(files.clone());
        let result = match read(&args) {
            Ok(documents) => match again(&args, &documents, last.as_deref(), &changed)? {
                Affected::Nothing => {
                    console.say("nothing uses what has changed");
                    Ok(())
                }
                affected => {
                    let part = if let Affected::Part(part) = affected { part } else { Part::default() };
                    last = Some(documents.clone());
                    Box::pin(once(&args, documents, part, &stop, console)).await
                }
            },
            // The run before is still the one to compare with.
            Err(failure) => Err(failure),
        };
        if *stop.borrow() > Stop::No {
            return result;
        }
        if let Err(failure) = result {
            crate::report(console, &failure);
        }
        // Of a workspace, only what changes from now on: the run has written to it as well.
        let before = look(folders.clone()).into_iter().chain(manifests).collect();
        let places = files.clone().chain(folders.clone());
        console.say("\nwaiting for a change; Ctrl-C ends it");
        let mut interrupts = Interrupts::new()?;
        tokio::select! {
            paths = change(places, &before) => {
                let more = if paths.len() > 1 { format!(" and {} more", paths.len() - 1) } else { String::new() };
                console.say(&format!("{}{more} changed", paths[0].display()));
                changed = paths;
            }
            _ = interrupts.next() => return Ok(()),
        }
    }
}

fn read(args: &RunArgs) -> Result<Vec<Document>> {
    let files: Vec<PathBuf> = args.files.iter().chain(&args.more).cloned().collect();
    let mut documents = manifest::read(&files)?;
    secrets::add(&mut documents, &args.secrets)?;
    Ok(documents)
}

/// What runs again after files have changed.
fn again(
    args: &RunArgs,
    documents: &[Document],
    last: Option<&[Document]>,
    changed: &[PathBuf],
) -> Result<Affected> {
    let Some(last) = last else { return Ok(Affected::All) };
    let in_folder = |place: &str| changed.iter().any(|path| path.starts_with(place));
    let workspaces = args.workspaces.iter().filter(|(_, place)| in_folder(place));
    let workspaces = workspaces.map(|(name, _)| name.clone()).collect();
    let (stop, _) = watch::channel(Stop::No);
    let options = options(args, documents.to_vec(), Part::default(), &stop)?;
    ergon_local::affected(&options, last, &workspaces).map_err(of_run)
}

fn options(
    args: &RunArgs,
    documents: Vec<Document>,
    part: Part,
    stop: &watch::Sender<Stop>,
) -> Result<RunOptions> {
    let (target, params) = chosen(&documents, args.name.as_deref(), &args.params)?;
    let workspaces =
        args.workspaces.iter().map(|(name, place)| workspace(name, place)).collect::<Result<_>>()?;
    let name = Some(target.name().to_owned()).filter(|name| !name.is_empty()).or(args.name.clone());
    Ok(RunOptions {
        documents,
        name,
        params,
        workspaces,
        home: home()?,
        keep: if args.keep { Keep::All } else { Keep::Failed },
        part,
        mocks: Mocks::default(),
        stop: stop.subscribe(),
    })
}

async fn once(
    args: &RunArgs,
    documents: Vec<Document>,
    part: Part,
    stop: &watch::Sender<Stop>,
    console: Console,
) -> Result {
    let options = options(args, documents, part, stop)?;
    if args.dry_run {
        return print_plan(&options, console);
    }
    let (run, place) = (name_of(&options)?, place_in(&options));
    let mut live = Live::new(console, place);
    let result = Box::pin(carry_out(options, stop, args.output, &mut live, console)).await;
    if let Some(path) = &args.junit {
        junit::write_run(path, &run, &live.summary, &live.failures)?;
    }
    result
}

/// What a report calls the run.
fn name_of(options: &RunOptions) -> Result<String> {
    let target = &ergon_local::target(&options.documents, options.name.as_deref()).map_err(of_run)?.object;
    let name = target.name();
    Ok(if name.is_empty() { target.kind().to_owned() } else { name.to_owned() })
}

/// Where steps stand in the files.
fn place_in(options: &RunOptions) -> Place {
    let (documents, name) = (options.documents.clone(), options.name.clone());
    Box::new(move |task, step| {
        let target = ergon_local::target(&documents, name.as_deref()).ok()?;
        let (file, at) = ergon_local::place(&documents, target, task, step)?;
        Some(format!("{file}:{}:{}", at.line, at.column))
    })
}

/// What is to be run of the documents, and the values of its parameters.
pub fn chosen<'a>(
    documents: &'a [Document],
    name: Option<&str>,
    params: &[(String, String)],
) -> Result<(&'a Object, Vec<Param>)> {
    let target = &ergon_local::target(documents, name).map_err(of_run)?.object;
    let params = values(ergon_local::declared(documents, target), params, is_run(target))?;
    Ok((target, params))
}

/// Where images and runs are kept.
pub fn home() -> Result<PathBuf> {
    ergon_local::home().ok_or_else(|| {
        Failure::invalid("there is no folder to keep images and runs in").hint("set HOME or ERGON_HOME")
    })
}

async fn carry_out(
    options: RunOptions,
    stop: &watch::Sender<Stop>,
    output: RunOutput,
    live: &mut Live,
    console: Console,
) -> Result {
    let (sender, mut events) = mpsc::unbounded_channel();
    let mut running = std::pin::pin!(ergon_local::run(options, sender));
    let mut interrupts = Interrupts::new()?;
    let mut frames = tokio::time::interval(FRAME);
    frames.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Output that nobody reads any more ends the run, in order, rather than leave its containers behind.
    let mut broken = None;
    let status = loop {
        let shown = tokio::select! {
            biased;
            interrupt = interrupts.next() => end_it(interrupt, stop, live),
            _ = frames.tick(), if console.live && output == RunOutput::Text => live.frame(),
            Some(event) = events.recv() => {
                if broken.is_none() { show(&event, output, live, console) } else { Ok(()) }
            }
            status = &mut running => break status,
        };
        if let Err(failure) = shown
            && broken.is_none()
        {
            broken = Some(failure);
            stop.send_replace(Stop::Now);
        }
    };
    while broken.is_none()
        && let Ok(event) = events.try_recv()
    {
        broken = show(&event, output, live, console).err();
    }
    broken.map_or_else(|| finish(status), Err)
}

fn show(event: &Event, output: RunOutput, live: &mut Live, console: Console) -> Result {
    match output {
        RunOutput::Text => live.show(event),
        RunOutput::Json => {
            live.note(event);
            let line = serde_json::to_string(event).map_err(|error| Failure::invalid(error.to_string()))?;
            console.line(&line)
        }
    }
}

fn end_it(interrupt: Interrupt, stop: &watch::Sender<Stop>, live: &mut Live) -> Result {
    let gently = *stop.borrow() == Stop::No && interrupt == Interrupt::Asked;
    stop.send_replace(if gently { Stop::Gracefully } else { Stop::Now });
    live.say(if gently {
        "\ncancelling; Ctrl-C again ends everything at once"
    } else {
        "\nending everything"
    })
}

fn finish(status: Result<Status, RunError>) -> Result {
    match status {
        Ok(Status::Succeeded) => Ok(()),
        Ok(Status::Failed | Status::Cancelled) => Err(Failure::silent(Code::RunFailed)),
        Err(error) => Err(of_run(error)),
    }
}

pub fn of_run(error: RunError) -> Failure {
    match error {
        RunError::Input(message) => Failure::invalid(message),
        RunError::Dynamic { .. } => Failure::invalid(error.to_string()).hint("build it with `make build`"),
        error => Failure::new(Code::RunFailed, ergon_local::chain(&error)),
    }
}

fn is_run(object: &Object) -> bool {
    matches!(object, Object::PipelineRun(_) | Object::TaskRun(_))
}

/// The values by their declared types. A run brings values of its own, so none can be missing then.
fn values(declared: Option<&[ParamSpec]>, given: &[(String, String)], of_run: bool) -> Result<Vec<Param>> {
    let Some(declared) = declared else {
        let texts = given.iter().map(|(name, text)| Param::string(name.clone(), text.clone()));
        return Ok(texts.collect());
    };
    if of_run { params::check_names(declared, given) } else { params::check(declared, given) }?;
    given
        .iter()
        .map(|(name, text)| {
            let value = match declared.iter().find(|spec| spec.name == *name) {
                Some(spec) => params::value(spec, text)?,
                None => ParamValue::String(text.clone()),
            };
            Ok(Param { name: name.clone(), value })
        })
        .collect()
}

fn workspace(name: &str, place: &str) -> Result<(String, WorkspaceSource)> {
    if place == "emptyDir" {
        return Ok((name.to_owned(), WorkspaceSource::EmptyDir));
    }
    let path = PathBuf::from(place);
    if !path.is_dir() {
        return Err(Failure::invalid(format!("workspace `{name}`: `{place}` is not a folder"))
            .hint("make it first, or write `emptyDir` for a new one that goes with the run"));
    }
    Ok((name.to_owned(), WorkspaceSource::Path(path)))
}

fn print_plan(options: &RunOptions, console: Console) -> Result {
    let target = &ergon_local::target(&options.documents, options.name.as_deref()).map_err(of_run)?.object;
    let fates = ergon_local::fates(options).map_err(of_run)?;
    console.line(&format!("would run {} `{}`", target.kind(), target.name()))?;
    let mut table = Table::new(&[]).indented(2);
    for param in &options.params {
        table.row(vec!["param".to_owned(), param.name.clone(), param.value.to_string()]);
    }
    for (name, source) in &options.workspaces {
        let place = match source {
            WorkspaceSource::Path(path) => path.display().to_string(),
            WorkspaceSource::EmptyDir => "emptyDir".to_owned(),
        };
        table.row(vec!["workspace".to_owned(), name.clone(), place]);
    }
    for (task, fate) in fates {
        let fate = match fate {
            Fate::Runs => "runs".to_owned(),
            Fate::Reused(run) => format!("from run {run}"),
            Fate::LeftOut => "left out".to_owned(),
        };
        table.row(vec!["task".to_owned(), task, fate]);
    }
    console.print(&table.render(console.out))
}
