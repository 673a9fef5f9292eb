//! `ergon describe`: everything about one object.

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use ergon_api::{Pipeline, StepState, Task, TaskRun, reasons};
use ergon_client::{Ergon, Error, LogEvent, LogOptions, Run, RunKind};
use futures::TryStreamExt;
use serde_json::Value;

use crate::args::{ClusterArgs, Output};
use crate::cluster::{Kind, Name, connect};
use crate::complete::runs;
use crate::console::Console;
use crate::failure::{Failure, Result};
use crate::render::{Tail, describe_pipeline, describe_run, describe_task, objects};

/// How many of the last lines of a failed step are shown.
const LAST_LINES: i64 = 10;
/// How many failed steps are shown with their lines.
const FAILURES: usize = 3;

/// Shows a run with its tasks, results and failures; or a pipeline or task.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ergon describe build-1
  ergon describe -L
  ergon describe pipeline/build -o yaml")]
pub struct DescribeArgs {
    /// The object: NAME of a run, or KIND/NAME.
    #[arg(required_unless_present = "last", num_args = 1..=2, value_name = "NAME", add = ArgValueCompleter::new(runs))]
    name: Vec<String>,

    /// The newest run of the namespace.
    #[arg(short = 'L', long, conflicts_with = "name")]
    last: bool,

    /// How to print it.
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
}

pub async fn describe(args: DescribeArgs, cluster: &ClusterArgs, console: Console) -> Result {
    let ergon = connect(cluster).await?;
    let found = if args.last {
        Found::Run(ergon.last(&RunKind::ALL).await?)
    } else {
        // `taskrun a` is as good as `taskrun/a`.
        find(&ergon, &Name::parse(&args.name.join("/"))?).await?
    };
    if args.output != Output::Table {
        return console.print(&objects(vec![found.to_json()?], args.output, true)?);
    }
    let text = match &found {
        Found::Run(run) => {
            let children = ergon.children(run).await?;
            let tails = tails(&ergon, run, &children).await?;
            describe_run(run, &children, &tails, console.now(), console.out)
        }
        Found::Pipeline(pipeline) => describe_pipeline(pipeline, console.now(), console.out),
        Found::Task(task) => describe_task(task, console.now(), console.out),
    };
    console.print(&text)
}

enum Found {
    Run(Run),
    Pipeline(Box<Pipeline>),
    Task(Box<Task>),
}

impl Found {
    fn to_json(&self) -> Result<Value> {
        let value = match self {
            Self::Run(run) => return Ok(run.to_json()?),
            Self::Pipeline(pipeline) => serde_json::to_value(pipeline),
            Self::Task(task) => serde_json::to_value(task),
        };
        value.map_err(|error| Failure::invalid(error.to_string()))
    }
}

/// A name without a kind is a run's, before it is a pipeline's or a task's.
async fn find(ergon: &Ergon, name: &Name) -> Result<Found> {
    match name.kind {
        Some(Kind::Run(kind)) => Ok(Found::Run(ergon.find(&name.name, Some(kind)).await?)),
        Some(Kind::Pipeline) => Ok(Found::Pipeline(Box::new(ergon.get_named(&name.name).await?))),
        Some(Kind::Task) => Ok(Found::Task(Box::new(ergon.get_named(&name.name).await?))),
        None => {
            let missing = match ergon.find(&name.name, None).await {
                Ok(run) => return Ok(Found::Run(run)),
                Err(error) => error,
            };
            if !missing.is_not_found() {
                return Err(missing.into());
            }
            match ergon.get_named::<Pipeline>(&name.name).await {
                Ok(pipeline) => return Ok(Found::Pipeline(Box::new(pipeline))),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
            match ergon.get_named::<Task>(&name.name).await {
                Ok(task) => Ok(Found::Task(Box::new(task))),
                Err(error) if error.is_not_found() => Err(missing.into()),
                Err(error) => Err(error.into()),
            }
        }
    }
}

/// The last lines of the steps that failed.
async fn tails(ergon: &Ergon, run: &Run, children: &[TaskRun]) -> Result<Vec<Tail>> {
    let mut tails = Vec::new();
    let failed = children.iter().filter(|child| child.is_failed()).flat_map(|child| {
        let steps = child.status.iter().flat_map(|status| &status.steps);
        steps.filter_map(move |step| {
            let terminated = step.terminated.as_ref().filter(|terminated| terminated.exit_code != 0)?;
            is_own_failure(step).then_some((child, step, terminated))
        })
    });
    for (child, step, terminated) in failed.take(FAILURES) {
        let options = LogOptions {
            tasks: vec![child.name().to_owned()],
            steps: vec![step.name.clone()],
            tail: Some(LAST_LINES),
            follow: false,
        };
        let mut lines = Vec::new();
        let mut logs = ergon.logs(&run.reference(), options);
        loop {
            match logs.try_next().await {
                Ok(Some(LogEvent::Line(line))) => lines.push(line.text),
                Ok(Some(LogEvent::Note(note))) => lines.push(format!("({})", note.message)),
                Ok(Some(LogEvent::Ended(_)) | None) => break,
                // The description is worth having without the lines.
                Err(Error::Forbidden { message }) => {
                    lines.push(format!("({message})"));
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        // A step that did not come to write anything has its reason in the status.
        if lines.is_empty()
            && let Some(message) = terminated.message.as_deref().filter(|message| !message.is_empty())
        {
            lines.push(format!("({message})"));
        }
        let why = format!("exit code {}", terminated.exit_code);
        tails.push(Tail { task: child.task_label(), step: step.name.clone(), why, lines });
    }
    Ok(tails)
}

/// False for a failure that was forgiven, and for a step that was ended because another one failed: that one has
/// nothing to tell.
fn is_own_failure(step: &StepState) -> bool {
    !matches!(
        step.termination_reason.as_deref(),
        Some(
            reasons::step::CONTINUED
                | reasons::step::SKIPPED
                | reasons::step::CANCELLED
                | reasons::task_run::CANCELLED
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_steps_own_failure_is_shown() {
        let table = [
            (Some("Error"), true),
            (Some("TimeoutExceeded"), true),
            (None, true),
            (Some("Continued"), false),
            (Some("Skipped"), false),
            (Some("Cancelled"), false),
            (Some("TaskRunCancelled"), false),
        ];
        for (reason, expected) in table {
            let step = StepState { termination_reason: reason.map(str::to_owned), ..StepState::default() };
            assert_eq!(is_own_failure(&step), expected, "{reason:?}");
        }
    }
}
