//! `ergon list`: what there is.

use clap::Args;
use ergon_api::{Group, Pipeline, Task};
use ergon_client::{Ergon, ListOptions, Run, RunKind};
use jiff::Timestamp;
use serde_json::Value;

use crate::args::{ClusterArgs, Output};
use crate::cluster::{Kind, connect};
use crate::console::Console;
use crate::failure::{Failure, Result};
use crate::render::{Style, Table, age, objects, took};

/// Lists runs, the newest first; or pipelines and tasks.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ergon list                        the PipelineRuns, and the TaskRuns that belong to none
  ergon list taskruns -A --limit 20
  ergon list pipelines -o name
  ergon list -l app=shop")]
pub struct ListArgs {
    /// What: `pipelineruns`, `taskruns`, `pipelines` or `tasks`; runs of both kinds when absent.
    kind: Option<String>,

    /// In every namespace.
    #[arg(short = 'A', long)]
    all_namespaces: bool,

    /// Only objects with these labels, as kubectl writes them.
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<String>,

    /// At most so many.
    #[arg(long, value_name = "COUNT")]
    limit: Option<usize>,

    /// How to print them.
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
}

pub async fn list(args: ListArgs, cluster: &ClusterArgs, console: Console) -> Result {
    let kind = match args.kind.as_deref() {
        None | Some("runs") => None,
        Some(text) => Some(Kind::parse(text).ok_or_else(|| {
            Failure::usage(format!("`{text}` cannot be listed"))
                .hint("write `pipelineruns`, `taskruns`, `pipelines` or `tasks`")
        })?),
    };
    let ergon = connect(cluster).await?;
    let options = ListOptions {
        selector: args.selector.clone(),
        all_namespaces: args.all_namespaces,
        limit: args.limit,
        top_level: false,
    };
    let several_groups = ergon.groups().await?.len() > 1;
    let columns = Columns { namespace: args.all_namespaces, group: several_groups };
    let (values, table) = match kind {
        None => {
            // Tasks of pipelines are their pipelines' business.
            let runs = ergon.list(&RunKind::ALL, &ListOptions { top_level: true, ..options }).await?;
            (of_runs(&runs)?, runs_table(&runs, columns, true, console.now(), console.out))
        }
        Some(Kind::Run(kind)) => {
            let runs = ergon.list(&[kind], &options).await?;
            (of_runs(&runs)?, runs_table(&runs, columns, false, console.now(), console.out))
        }
        Some(Kind::Pipeline) => {
            let found: Vec<Pipeline> = of_groups(&ergon, &options).await?;
            let rows = found.iter().map(|object| Definition {
                group: object.group(),
                namespace: object.namespace(),
                name: object.name(),
                created: object.metadata.creation_timestamp.as_ref().map(|time| time.0),
                parts: object.spec.all_tasks().count(),
                description: object.spec.description.as_deref(),
            });
            (values(&found)?, definitions_table(rows, "TASKS", columns, console.now(), console.out))
        }
        Some(Kind::Task) => {
            let found: Vec<Task> = of_groups(&ergon, &options).await?;
            let rows = found.iter().map(|object| Definition {
                group: object.group(),
                namespace: object.namespace(),
                name: object.name(),
                created: object.metadata.creation_timestamp.as_ref().map(|time| time.0),
                parts: object.spec.steps.len(),
                description: object.spec.description.as_deref(),
            });
            (values(&found)?, definitions_table(rows, "STEPS", columns, console.now(), console.out))
        }
    };
    if args.output != Output::Table {
        return console.print(&objects(values, args.output, false)?);
    }
    if values.is_empty() {
        let place = if args.all_namespaces {
            "any namespace".to_owned()
        } else {
            format!("namespace `{}`", ergon.namespace())
        };
        console.say(&format!("nothing found in {place}"));
        return Ok(());
    }
    console.print(&table)
}

async fn of_groups<K>(ergon: &Ergon, options: &ListOptions) -> Result<Vec<K>>
where
    K: kube::Resource<DynamicType = Group, Scope = kube::core::DynamicResourceScope>
        + Clone
        + serde::de::DeserializeOwned
        + std::fmt::Debug,
{
    let mut found = Vec::new();
    for group in ergon.groups().await? {
        found.extend(ergon.list_kind::<K>(group, options).await?);
    }
    found.truncate(options.limit.unwrap_or(usize::MAX));
    Ok(found)
}

fn of_runs(runs: &[Run]) -> Result<Vec<Value>> {
    Ok(runs.iter().map(Run::to_json).collect::<Result<_, _>>()?)
}

fn values<T: serde::Serialize>(objects: &[T]) -> Result<Vec<Value>> {
    objects
        .iter()
        .map(|object| serde_json::to_value(object).map_err(|error| Failure::invalid(error.to_string())))
        .collect()
}

/// The columns that are not always needed.
#[derive(Debug, Clone, Copy)]
struct Columns {
    namespace: bool,
    group: bool,
}

impl Columns {
    fn heads(self) -> Vec<&'static str> {
        [(self.namespace, "NAMESPACE"), (self.group, "GROUP")]
            .into_iter()
            .filter(|(shown, _)| *shown)
            .map(|(_, head)| head)
            .collect()
    }

    fn cells(self, namespace: &str, group: Group) -> Vec<String> {
        [(self.namespace, namespace), (self.group, group.name())]
            .into_iter()
            .filter(|(shown, _)| *shown)
            .map(|(_, cell)| cell.to_owned())
            .collect()
    }
}

fn runs_table(runs: &[Run], columns: Columns, kinds: bool, now: Timestamp, style: Style) -> String {
    let mut heads = columns.heads();
    if kinds {
        heads.push("KIND");
    }
    heads.extend(["NAME", "STATUS", "REASON", "AGE", "DURATION"]);
    let mut table = Table::new(&heads);
    for run in runs {
        let mut row = columns.cells(run.namespace(), run.group());
        if kinds {
            row.push(run.kind().to_string());
        }
        let reason = run.condition().map_or("", |condition| condition.reason());
        row.extend([
            run.name().to_owned(),
            style.phase(run.phase()),
            reason.to_owned(),
            age(now, run.created_at()),
            took(run.started_at(), run.ended_at(), now),
        ]);
        table.row(row);
    }
    table.render(style)
}

struct Definition<'a> {
    group: Group,
    namespace: &'a str,
    name: &'a str,
    created: Option<Timestamp>,
    /// How many tasks or steps.
    parts: usize,
    description: Option<&'a str>,
}

fn definitions_table<'a>(
    definitions: impl Iterator<Item = Definition<'a>>,
    parts: &str,
    columns: Columns,
    now: Timestamp,
    style: Style,
) -> String {
    let mut heads = columns.heads();
    heads.extend(["NAME", parts, "AGE", "DESCRIPTION"]);
    let mut table = Table::new(&heads);
    for definition in definitions {
        let mut row = columns.cells(definition.namespace, definition.group);
        let description = definition.description.and_then(|text| text.lines().next()).unwrap_or_default();
        row.extend([
            definition.name.to_owned(),
            definition.parts.to_string(),
            age(now, definition.created),
            description.chars().take(60).collect(),
        ]);
        table.row(row);
    }
    table.render(style)
}

#[cfg(test)]
mod tests {
    use ergon_api::{PipelineRun, TaskRun};
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    fn runs() -> Vec<Run> {
        let pipeline: PipelineRun = serde_json::from_value(json!({
            "apiVersion": "ergon.dev/v1", "kind": "PipelineRun",
            "metadata": {"name": "build-1", "namespace": "ci", "creationTimestamp": "2026-01-01T10:00:00Z"},
            "spec": {},
            "status": {"startTime": "2026-01-01T10:00:00Z", "completionTime": "2026-01-01T10:02:05Z",
                "conditions": [{"type": "Succeeded", "status": "True", "reason": "Completed"}]}}))
        .unwrap();
        let task: TaskRun = serde_json::from_value(json!({
            "apiVersion": "tekton.dev/v1", "kind": "TaskRun",
            "metadata": {"name": "lint", "namespace": "default", "creationTimestamp": "2026-01-01T09:00:00Z"},
            "spec": {}}))
        .unwrap();
        vec![pipeline.into(), task.into()]
    }

    #[test]
    fn columns_come_with_what_they_tell_apart() {
        let now: Timestamp = "2026-01-01T10:05:00Z".parse().unwrap();
        let all = Columns { namespace: true, group: true };
        expect![[r"
            NAMESPACE  GROUP       KIND         NAME     STATUS     REASON     AGE   DURATION
            ci         ergon.dev   PipelineRun  build-1  Succeeded  Completed  5m    2m5s
            default    tekton.dev  TaskRun      lint     Pending               1h5m
        "]]
        .assert_eq(&runs_table(&runs(), all, true, now, Style::PLAIN));
        let none = Columns { namespace: false, group: false };
        expect![[r"
            NAME     STATUS     REASON     AGE  DURATION
            build-1  Succeeded  Completed  5m   2m5s
        "]]
        .assert_eq(&runs_table(&runs()[..1], none, false, now, Style::PLAIN));
    }
}
