//! Completion of names that only a cluster knows.

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use clap_complete::engine::CompletionCandidate;
use clap_complete::env::{Bash, CompleteEnv, Fish, Shells, Zsh};
use ergon_api::{Group, Pipeline, Task};
use ergon_client::{Ergon, ListOptions, RunKind};

use crate::args::{Cli, ClusterArgs, GroupArg};
use crate::cluster::connect;

/// The variable that says for which shell words are to be completed.
pub const VARIABLE: &str = "ERGON_COMPLETE";
/// The shells, which `ergon completion` names.
pub const SHELLS: Shells<'static> = Shells(&[&Bash, &Zsh, &Fish]);
/// Nobody waits longer for a name.
const LONGEST: Duration = Duration::from_secs(2);
/// More names than this help nobody.
const MOST: usize = 200;

/// Completes a command line and ends, if a shell asks for that.
pub fn if_asked() {
    if std::env::var_os(VARIABLE).is_some() {
        CompleteEnv::with_factory(<Cli as clap::CommandFactory>::command)
            .var(VARIABLE)
            .shells(SHELLS)
            .complete();
    }
}

/// The names of runs, the newest first.
pub fn runs(current: &OsStr) -> Vec<CompletionCandidate> {
    let current = current.to_string_lossy();
    let (prefix, kinds) = match current.split_once('/') {
        Some((kind, _)) => match crate::cluster::Kind::parse(kind) {
            Some(crate::cluster::Kind::Run(kind)) => {
                (format!("{}/", &current[..kind_len(&current)]), vec![kind])
            }
            _ => return Vec::new(),
        },
        None => (String::new(), RunKind::ALL.to_vec()),
    };
    let names = ask(async |ergon: Ergon| {
        let options = ListOptions { limit: Some(MOST), top_level: true, ..ListOptions::default() };
        let found = ergon.list(&kinds, &options).await.unwrap_or_default();
        found.iter().map(|run| run.name().to_owned()).collect()
    });
    candidates(&current, names.into_iter().map(|name| format!("{prefix}{name}")))
}

fn kind_len(current: &str) -> usize {
    current.find('/').unwrap_or(current.len())
}

/// The names of Pipelines, and of Tasks with `task/` before them.
pub fn pipelines_and_tasks(current: &OsStr) -> Vec<CompletionCandidate> {
    let names = ask(async |ergon: Ergon| {
        let mut names = Vec::new();
        for group in ergon.groups().await.unwrap_or_default() {
            names.extend(of_group(&ergon, group).await);
        }
        names.sort();
        names.dedup();
        names
    });
    candidates(&current.to_string_lossy(), names)
}

async fn of_group(ergon: &Ergon, group: Group) -> Vec<String> {
    let options = ListOptions::default();
    let pipelines = ergon.list_kind::<Pipeline>(group, &options).await.unwrap_or_default();
    let tasks = ergon.list_kind::<Task>(group, &options).await.unwrap_or_default();
    let pipelines = pipelines.iter().map(|pipeline| pipeline.name().to_owned());
    pipelines.chain(tasks.iter().map(|task| format!("task/{}", task.name()))).collect()
}

fn candidates(current: &str, names: impl IntoIterator<Item = String>) -> Vec<CompletionCandidate> {
    let fitting = names.into_iter().filter(|name| name.starts_with(current)).take(MOST);
    fitting.enumerate().map(|(at, name)| CompletionCandidate::new(name).display_order(Some(at))).collect()
}

/// Asks the cluster that the command line names. What it does not say in time, or not at all, is not known: nothing is
/// printed into somebody's prompt.
fn ask(question: impl AsyncFnOnce(Ergon) -> Vec<String>) -> Vec<String> {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return Vec::new();
    };
    let args = cluster_of(std::env::args_os().skip_while(|word| word != "--"));
    let answer = runtime.block_on(async {
        tokio::time::timeout(LONGEST, async {
            match connect(&args).await {
                Ok(ergon) => question(ergon).await,
                Err(_) => Vec::new(),
            }
        })
        .await
    });
    runtime.shutdown_background();
    answer.unwrap_or_default()
}

/// The options that name the cluster, among words that may be no whole command yet.
fn cluster_of(words: impl Iterator<Item = OsString>) -> ClusterArgs {
    let words: Vec<String> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    let mut args = ClusterArgs::default();
    for (at, word) in words.iter().enumerate() {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word.as_str(), words.get(at + 1).cloned()),
        };
        match name {
            "-n" | "--namespace" => args.namespace = value,
            "--context" => args.context = value,
            "--kubeconfig" => args.kubeconfig = value.map(Into::into),
            "--group" => {
                args.group = match value.as_deref() {
                    Some("ergon" | "ergon.dev") => Some(GroupArg::Ergon),
                    Some("tekton" | "tekton.dev") => Some(GroupArg::Tekton),
                    _ => None,
                };
            }
            _ => {}
        }
    }
    args
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cluster_is_the_one_of_the_words() {
        let words = [
            "--",
            "ergon",
            "logs",
            "-n",
            "ci",
            "--context=here",
            "--kubeconfig",
            "/k",
            "--group",
            "tekton",
            "",
        ];
        let args = cluster_of(words.iter().map(OsString::from));
        assert_eq!(args.namespace.as_deref(), Some("ci"));
        assert_eq!(args.context.as_deref(), Some("here"));
        assert_eq!(args.kubeconfig, Some("/k".into()));
        assert_eq!(args.group, Some(GroupArg::Tekton));
    }

    #[test]
    fn names_that_begin_so_in_their_order() {
        let names = ["b-2", "a-1", "b-1"].map(str::to_owned);
        let found: Vec<_> = candidates("b", names).iter().map(|it| it.get_value().to_owned()).collect();
        assert_eq!(found, ["b-2", "b-1"]);
    }
}
