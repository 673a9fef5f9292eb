//! From the command line to a connection, and from a name on it to a run.

use ergon_api::{Pipeline, PipelineRun, Task, TaskRun};
use ergon_client::{Ergon, Options, Run, RunKind};

use crate::args::ClusterArgs;
use crate::failure::{Failure, Result};

/// Prepares the connection that the arguments ask for.
pub async fn connect(args: &ClusterArgs) -> Result<Ergon> {
    let options = Options {
        kubeconfig: args.kubeconfig.clone(),
        context: args.context.clone(),
        namespace: args.namespace.clone(),
        group: args.group.map(Into::into),
    };
    Ok(Ergon::connect(options).await?)
}

/// The kinds that commands know by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Run(RunKind),
    Pipeline,
    Task,
}

impl Kind {
    /// Reads a kind as kubectl takes it: singular, plural or short, in any case, with or without the group.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.to_lowercase();
        let (name, _group) = text.split_once('.').unwrap_or((&text, ""));
        let is = |singular: &str, plural: &str, short: &[&str]| {
            name == singular || name == plural || short.contains(&name)
        };
        if is(PipelineRun::SINGULAR, PipelineRun::PLURAL, &["pr", "prs", "epr"]) {
            Some(Self::Run(RunKind::PipelineRun))
        } else if is(TaskRun::SINGULAR, TaskRun::PLURAL, &["tr", "trs", "etr"]) {
            Some(Self::Run(RunKind::TaskRun))
        } else if is(Pipeline::SINGULAR, Pipeline::PLURAL, &["epipe"]) {
            Some(Self::Pipeline)
        } else if is(Task::SINGULAR, Task::PLURAL, &["etask"]) {
            Some(Self::Task)
        } else {
            None
        }
    }
}

/// A name on the command line, with a kind (`taskrun/build-1`) or without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    pub kind: Option<Kind>,
    pub name: String,
}

impl Name {
    /// Reads `NAME` or `KIND/NAME`.
    pub fn parse(text: &str) -> Result<Self> {
        let Some((kind, name)) = text.split_once('/') else {
            return Ok(Self { kind: None, name: text.to_owned() });
        };
        match Kind::parse(kind) {
            Some(kind) if !name.is_empty() => Ok(Self { kind: Some(kind), name: name.to_owned() }),
            _ => Err(Failure::usage(format!("`{text}` names nothing"))
                .hint("write NAME, pipelinerun/NAME, taskrun/NAME, pipeline/NAME or task/NAME")),
        }
    }
}

/// The run that a command means: the named one, or the newest.
pub async fn find_run(ergon: &Ergon, name: Option<&str>, last: bool) -> Result<Run> {
    match (name, last) {
        (Some(name), _) => {
            let name = Name::parse(name)?;
            let kind = match name.kind {
                None => None,
                Some(Kind::Run(kind)) => Some(kind),
                Some(Kind::Pipeline | Kind::Task) => {
                    return Err(Failure::usage(format!("`{}` is no run", name.name))
                        .hint("`ergon list` shows the runs; `ergon start` starts one"));
                }
            };
            Ok(ergon.find(&name.name, kind).await?)
        }
        (None, true) => Ok(ergon.last(&RunKind::ALL).await?),
        (None, false) => {
            Err(Failure::usage("which run?").hint("give its name, or `--last` for the newest one"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_read_as_kubectl_writes_them() {
        let table = [
            ("pr/a", Some(Kind::Run(RunKind::PipelineRun))),
            ("TaskRun/a", Some(Kind::Run(RunKind::TaskRun))),
            ("taskruns.tekton.dev/a", Some(Kind::Run(RunKind::TaskRun))),
            ("pipelines/a", Some(Kind::Pipeline)),
            ("task/a", Some(Kind::Task)),
            ("a", None),
        ];
        for (text, kind) in table {
            assert_eq!(Name::parse(text).unwrap(), Name { kind, name: "a".to_owned() }, "{text}");
        }
        assert!(Name::parse("pod/a").is_err());
        assert!(Name::parse("pr/").is_err());
    }
}
