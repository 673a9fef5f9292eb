//! Runs that are too many to be listed in the status of their pipeline run: those of large matrices are counted.
//!
//! A reference takes about 110 bytes, and whoever watches the run gets all of them with each of its changes.

use std::collections::{BTreeMap, BTreeSet};

use ergon_api::{ChildCount, Group};

use super::Observed;
use super::child::{Child, Made};
use super::state::States;

/// The most runs that are listed. Of a run that has more, no task with a matrix is listed.
const MOST_LISTED: usize = 1000;

/// The places of the tasks whose runs are counted. Under `tekton.dev` all are listed, as Tekton's clients expect.
pub(super) fn places(
    group: Group,
    states: &States<'_>,
    started: &BTreeMap<usize, Vec<Made>>,
) -> BTreeSet<usize> {
    let plan = states.plan();
    let begun = plan.tasks().map(|(place, _)| place).filter(|place| {
        states.at(*place).is_started() || started.get(place).is_some_and(|started| !started.is_empty())
    });
    let begun: Vec<usize> = begun.collect();
    let all: usize = begun.iter().map(|place| states.at(*place).expected).sum();
    if group != Group::Ergon || all <= MOST_LISTED {
        return BTreeSet::new();
    }
    begun.into_iter().filter(|place| states.at(*place).task.is_matrixed()).collect()
}

/// The same for a run that ends without a look at its pipeline: as before, or by what its children say of themselves.
pub(super) fn in_status(observed: &Observed<'_>, before: &[ChildCount], label: &str) -> Vec<ChildCount> {
    let mut by_task: BTreeMap<&str, Vec<Child<'_>>> = BTreeMap::new();
    let legs = observed.children.iter().filter(|child| child.matrix_leg().is_some());
    for child in legs {
        by_task.entry(child.label(label).unwrap_or_default()).or_default().push(child);
    }
    let known = |task: &str| before.iter().find(|count| count.pipeline_task_name == task);
    let is_large = observed.group == Group::Ergon && observed.children.iter().count() > MOST_LISTED;
    by_task.retain(|task, _| is_large || known(task).is_some());
    let counts = by_task.into_iter().filter_map(|(task, runs)| {
        let now = count(task, runs.into_iter())?;
        Some(match known(task) {
            Some(known) => ChildCount {
                total: known.total.max(now.total),
                when_expressions: known.when_expressions.clone(),
                ..now
            },
            None => now,
        })
    });
    counts.collect()
}

/// How far the runs of a task are; none where it has none.
pub(super) fn count<'a>(task: &str, runs: impl Iterator<Item = Child<'a>>) -> Option<ChildCount> {
    let mut count = ChildCount { pipeline_task_name: task.to_owned(), ..ChildCount::default() };
    for run in runs {
        run.kind().clone_into(&mut count.kind);
        count.total += 1;
        let part = if !run.is_done() {
            &mut count.running
        } else if run.is_successful() {
            &mut count.succeeded
        } else if run.is_cancelled() {
            &mut count.cancelled
        } else {
            &mut count.failed
        };
        *part += 1;
    }
    (count.total > 0).then_some(count)
}
