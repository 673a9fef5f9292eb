//! Which tasks share a pod, as far as the graph and the wishes of the user say.

use std::collections::BTreeSet;

use ergon_api::config::Coschedule;
use ergon_api::{Config, Fuse, Group, PipelineRun, PipelineSpec, PipelineTask, Prestart};
use serde::de::DeserializeOwned;

use super::Why;
use crate::graph::Graph;

/// The annotation by which a run under `tekton.dev`, whose API has no such field, says what `fuse` says elsewhere.
const FUSE_ANNOTATION: &str = "ergon.dev/fuse";
/// The same for `prestart`.
const PRESTART_ANNOTATION: &str = "ergon.dev/prestart";
/// How many tasks may run side by side in one pod under `auto`: they share one node.
const WIDEST: usize = 4;

/// Whether a task may share a pod, by what the user says: the task's own word, then the run's, then the pipeline's.
pub(crate) fn wanted(
    group: Group,
    config: &Config,
    run: &PipelineRun,
    spec: &PipelineSpec,
    task: &PipelineTask,
) -> Fuse {
    let unsaid = match group {
        Group::Ergon => Fuse::Auto,
        Group::Tekton if config.features.coschedule == Coschedule::Pod => Fuse::Pod,
        Group::Tekton => Fuse::Never,
    };
    task.fuse.or(run.spec.fuse).or_else(|| annotated(run, FUSE_ANNOTATION)).or(spec.fuse).unwrap_or(unsaid)
}

/// Whether a task's pod may be made before its turn, by what the user says in the same order.
pub(crate) fn may_wait(run: &PipelineRun, spec: &PipelineSpec, task: &PipelineTask) -> bool {
    let said = task.prestart.or(run.spec.prestart);
    said.or_else(|| annotated(run, PRESTART_ANNOTATION)).or(spec.prestart) == Some(Prestart::Auto)
}

fn annotated<T: DeserializeOwned>(run: &PipelineRun, annotation: &str) -> Option<T> {
    let word = run.metadata.annotations.as_ref()?.get(annotation)?;
    serde_json::from_value(serde_json::Value::String(word.clone())).ok()
}

/// The tasks that may be in the pod of a first one: `beside` it, those whose turn comes with it since they wait for the
/// same tasks; and each after those that it waits for, by the graph alone: all that a task waits for is in the pod, or has
/// ended before the first task starts. So a group is always convex.
///
/// `joins` decides on each, with the tasks that are in already; what it refuses is left out, and what waits for that too.
pub(crate) fn grow(
    graph: &Graph,
    root: &str,
    beside: &[&str],
    mut joins: impl FnMut(&[String], &str) -> Result<(), Why>,
) -> (Vec<String>, Vec<(String, Why)>) {
    let mut members = vec![root.to_owned()];
    let mut refused = Vec::new();
    let before: BTreeSet<&str> =
        graph.order().iter().map(String::as_str).filter(|task| graph.reaches(task, root)).collect();
    for task in graph.order() {
        let parents = graph.parents(task);
        let is_in = |parent: &&str| members.iter().any(|member| member == parent);
        if task == root || !beside.contains(&task.as_str()) && !parents.iter().any(is_in) {
            continue;
        }
        let other = parents.iter().find(|parent| !is_in(parent) && !before.contains(*parent));
        let verdict = match other {
            Some(other) => Err(Why::WaitsForOthers((*other).to_owned())),
            None => joins(&members, task),
        };
        match verdict {
            Ok(()) => members.push(task.clone()),
            Err(why) => refused.push((task.clone(), why)),
        }
    }
    (members, refused)
}

/// The members as chains in which each task waits for the one before: no two of a chain ever run at once.
pub(super) fn chains<'a>(graph: &Graph, members: impl IntoIterator<Item = &'a str>) -> Vec<Vec<&'a str>> {
    let mut chains: Vec<Vec<&str>> = Vec::new();
    for member in members {
        let follows = |chain: &&mut Vec<&str>| chain.last().is_some_and(|last| graph.reaches(last, member));
        match chains.iter_mut().find(follows) {
            Some(chain) => chain.push(member),
            None => chains.push(vec![member]),
        }
    }
    chains
}

/// Whether one more task keeps the pod as narrow as `auto` wants it.
pub(crate) fn is_narrow(graph: &Graph, members: &[String], task: &str) -> bool {
    let with: Vec<String> = members.iter().cloned().chain([task.to_owned()]).collect();
    chains(graph, with.iter().map(String::as_str)).len() <= WIDEST
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn graph(edges: &[(usize, usize)], count: usize) -> Graph {
        let tasks: Vec<PipelineTask> = (0..count)
            .map(|at| {
                let after: Vec<String> =
                    edges.iter().filter(|(_, to)| *to == at).map(|(from, _)| format!("t{from}")).collect();
                serde_json::from_value(serde_json::json!({"name": format!("t{at}"), "runAfter": after}))
                    .unwrap()
            })
            .collect();
        Graph::build(&tasks).unwrap()
    }

    #[test]
    fn a_diamond_is_one_group_and_an_outside_task_is_told() {
        let graph = graph(&[(0, 1), (0, 2), (1, 3), (2, 3), (4, 5), (3, 5)], 6);
        let (members, refused) = grow(&graph, "t0", &[], |_, _| Ok(()));
        assert_eq!(members, ["t0", "t1", "t2", "t3"]);
        assert_eq!(refused, [("t5".to_owned(), Why::WaitsForOthers("t4".to_owned()))]);
        assert_eq!(chains(&graph, members.iter().map(String::as_str)), [vec!["t0", "t1", "t3"], vec!["t2"]]);
        let (members, _) = grow(&graph, "t1", &[], |_, _| Ok(()));
        assert_eq!(members, ["t1"], "the other branch may end later");
    }

    proptest! {
        #[test]
        fn a_group_is_convex_and_closed(
            pairs in prop::collection::vec((0usize..12, 0usize..12), 0..40),
            root in 0usize..12,
            leaves_out in prop::collection::btree_set(0usize..12, 0..4),
            with_others in any::<bool>(),
        ) {
            let edges: Vec<_> = pairs.into_iter().filter(|(from, to)| from < to).collect();
            let graph = graph(&edges, 12);
            let root = format!("t{root}");
            let parents = |task: &str| graph.parents(task).into_iter().collect::<BTreeSet<_>>();
            let alike = |task: &&str| with_others && *task != root && parents(task) == parents(&root);
            let beside: Vec<&str> = graph.order().iter().map(String::as_str).filter(alike).collect();
            let refuses = |task: &str| leaves_out.iter().any(|at| format!("t{at}") == task);
            let (members, _) =
                grow(&graph, &root, &beside, |_, task| if refuses(task) { Err(Why::NotWanted) } else { Ok(()) });
            let is_in = |task: &str| members.iter().any(|member| member == task);
            for (at, member) in members.iter().enumerate() {
                prop_assert!(at == 0 || !refuses(member));
                for parent in graph.parents(member) {
                    // In the pod and earlier, or over before the pod starts.
                    let place = members.iter().position(|known| known == parent);
                    prop_assert!(place.is_some_and(|place| place < at) || graph.reaches(parent, &root) || *member == root);
                }
            }
            for task in graph.order().iter().filter(|task| !is_in(task)) {
                let between = members.iter().any(|member| graph.reaches(member, task))
                    && members.iter().any(|member| graph.reaches(task, member));
                prop_assert!(!between, "{task} is between members");
            }
            let chained: usize = chains(&graph, members.iter().map(String::as_str)).iter().map(Vec::len).sum();
            prop_assert_eq!(chained, members.len());
        }
    }
}
