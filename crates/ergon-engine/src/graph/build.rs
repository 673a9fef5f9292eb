//! Building the graph and asking it.

use std::collections::{BTreeMap, BTreeSet};

use ergon_api::PipelineTask;
use petgraph::algo::{tarjan_scc, toposort};
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;
use petgraph::{Direction, algo};

use super::{Edge, EdgeKind, edges};

/// A pipeline's tasks and what each waits for. Tasks keep the order in which they are written.
#[derive(Debug)]
pub struct Graph {
    tasks: DiGraph<String, EdgeKind>,
    nodes: BTreeMap<String, NodeIndex>,
    order: Vec<String>,
}

/// Why tasks are no graph. Each names the place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    #[error("task `{0}` is there more than once")]
    Duplicate(String),
    #[error("task `{}` refers to task `{}`, which does not exist{}", edge.task, edge.needs, hint(known))]
    UnknownTask { edge: Box<Edge>, known: Vec<String> },
    #[error("cycle detected; {}: the tasks wait for each other, {}", dependency(path), path.join(" -> "))]
    Cycle { path: Vec<String> },
}

impl Graph {
    /// Builds the graph of a pipeline's tasks (not of its `finally` tasks, which have no order).
    ///
    /// # Errors
    /// A name that is there twice, an edge to a task that is not there, a cycle with its path.
    pub fn build(tasks: &[PipelineTask]) -> Result<Self, GraphError> {
        let mut graph = DiGraph::new();
        let mut nodes = BTreeMap::new();
        for task in tasks {
            let node = graph.add_node(task.name.clone());
            if nodes.insert(task.name.clone(), node).is_some() {
                return Err(GraphError::Duplicate(task.name.clone()));
            }
        }
        for task in tasks {
            for edge in edges(task) {
                let Some(&needs) = nodes.get(&edge.needs) else {
                    let known = tasks.iter().map(|task| task.name.clone()).collect();
                    return Err(GraphError::UnknownTask { edge: Box::new(edge), known });
                };
                graph.update_edge(needs, nodes[&task.name], edge.kind);
            }
        }
        if toposort(&graph, None).is_err() {
            return Err(GraphError::Cycle { path: cycle(&graph) });
        }
        let order = file_order(&graph);
        Ok(Self { tasks: graph, nodes, order })
    }

    /// All tasks, each after those that it waits for.
    pub fn order(&self) -> &[String] {
        &self.order
    }

    /// What a task waits for directly, in the order of the file.
    pub fn parents(&self, task: &str) -> Vec<&str> {
        self.neighbours(task, Direction::Incoming)
    }

    /// What waits for a task directly, in the order of the file.
    pub fn children(&self, task: &str) -> Vec<&str> {
        self.neighbours(task, Direction::Outgoing)
    }

    /// The tasks whose results a task uses.
    pub fn result_parents(&self, task: &str) -> Vec<&str> {
        let Some(&node) = self.nodes.get(task) else { return Vec::new() };
        let mut parents: Vec<NodeIndex> = self
            .tasks
            .edges_directed(node, Direction::Incoming)
            .filter(|edge| matches!(edge.weight(), EdgeKind::Result { .. }))
            .map(|edge| edge.source())
            .collect();
        parents.sort_unstable();
        parents.into_iter().map(|parent| self.tasks[parent].as_str()).collect()
    }

    /// Whether the second task waits for the first, directly or through others.
    pub fn reaches(&self, from: &str, to: &str) -> bool {
        match (self.nodes.get(from), self.nodes.get(to)) {
            (Some(&from), Some(&to)) => from != to && algo::has_path_connecting(&self.tasks, from, to, None),
            _ => false,
        }
    }

    fn neighbours(&self, task: &str, direction: Direction) -> Vec<&str> {
        let Some(&node) = self.nodes.get(task) else { return Vec::new() };
        let mut found: Vec<NodeIndex> = self.tasks.neighbors_directed(node, direction).collect();
        found.sort_unstable();
        found.into_iter().map(|node| self.tasks[node].as_str()).collect()
    }
}

/// Of all orders that keep the edges, the one closest to the file: stable, whatever a sort would give.
fn file_order(graph: &DiGraph<String, EdgeKind>) -> Vec<String> {
    let mut order = Vec::with_capacity(graph.node_count());
    let mut waiting: BTreeMap<NodeIndex, usize> = graph
        .node_indices()
        .map(|node| (node, graph.neighbors_directed(node, Direction::Incoming).count()))
        .collect();
    let mut ready: BTreeSet<NodeIndex> =
        waiting.iter().filter(|(_, count)| **count == 0).map(|(node, _)| *node).collect();
    while let Some(node) = ready.pop_first() {
        order.push(graph[node].clone());
        for next in graph.neighbors_directed(node, Direction::Outgoing) {
            if let Some(count) = waiting.get_mut(&next) {
                *count -= 1;
                if *count == 0 {
                    ready.insert(next);
                }
            }
        }
    }
    order
}

/// One cycle, as a path that ends where it began.
fn cycle(graph: &DiGraph<String, EdgeKind>) -> Vec<String> {
    let component = tarjan_scc(graph)
        .into_iter()
        .filter(|component| component.len() > 1 || graph.contains_edge(component[0], component[0]))
        .min_by_key(|component| component.iter().min().copied());
    let Some(component) = component else { return Vec::new() };
    let members: BTreeSet<NodeIndex> = component.iter().copied().collect();
    let Some(&start) = members.first() else { return Vec::new() };
    // Walk forward inside the component, always to its first member not seen, until a node comes again.
    let mut path = vec![start];
    loop {
        let last = path[path.len() - 1];
        let next: BTreeSet<NodeIndex> = graph
            .neighbors_directed(last, Direction::Outgoing)
            .filter(|next| members.contains(next))
            .collect();
        let Some(next) = next.iter().find(|next| **next == start).or(next.first()).copied() else {
            return Vec::new();
        };
        if let Some(seen) = path.iter().position(|node| *node == next) {
            path.push(next);
            return path[seen..].iter().map(|node| graph[*node].clone()).collect();
        }
        path.push(next);
    }
}

/// The edge that closes a cycle.
fn dependency(path: &[String]) -> String {
    match path {
        [first, .., before, _] => format!("task {first:?} depends on {before:?}"),
        [first, ..] => format!("task {first:?} depends on {first:?}"),
        [] => String::new(),
    }
}

fn hint(known: &[String]) -> String {
    const MOST: usize = 10;
    let listed: Vec<String> = known.iter().take(MOST).map(|name| format!("`{name}`")).collect();
    let more = if known.len() > MOST { ", …" } else { "" };
    format!(" (there are {}{more})", listed.join(", "))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn task(name: &str, run_after: &[&str], value: &str) -> PipelineTask {
        serde_json::from_value(serde_json::json!({
            "name": name, "runAfter": run_after, "params": [{"name": "p", "value": value}]
        }))
        .unwrap()
    }

    #[test]
    fn order_follows_run_after_and_results() {
        let graph = Graph::build(&[
            task("deploy", &["test"], "$(tasks.build.results.image)"),
            task("test", &[], "$(tasks.build.results.list[*])"),
            task("build", &[], ""),
        ])
        .unwrap();
        assert_eq!(graph.order(), ["build", "test", "deploy"]);
        assert_eq!(graph.parents("deploy"), ["test", "build"]);
        assert_eq!(graph.result_parents("deploy"), ["build"]);
        assert!(graph.reaches("build", "deploy") && !graph.reaches("deploy", "build"));
    }

    #[test]
    fn mistakes_name_their_place() {
        let error = |tasks: &[PipelineTask]| Graph::build(tasks).unwrap_err().to_string();
        assert_eq!(
            error(&[task("a", &["c"], ""), task("b", &["a"], ""), task("c", &["b"], "")]),
            "cycle detected; task \"a\" depends on \"c\": the tasks wait for each other, a -> b -> c -> a"
        );
        assert_eq!(
            error(&[task("a", &["a"], "")]),
            "cycle detected; task \"a\" depends on \"a\": the tasks wait for each other, a -> a"
        );
        assert_eq!(
            error(&[task("a", &[], "$(tasks.x.results.y)")]),
            "task `a` refers to task `x`, which does not exist (there are `a`)"
        );
        assert_eq!(error(&[task("a", &[], ""), task("a", &[], "")]), "task `a` is there more than once");
    }

    proptest! {
        /// Edges only from earlier to later names: always a graph, and the order keeps every edge.
        #[test]
        fn the_order_keeps_every_edge(edges in proptest::collection::vec((0usize..20, 0usize..20), 0..60)) {
            let name = |at: usize| format!("t{at:02}");
            let tasks: Vec<PipelineTask> = (0..20)
                .map(|at| {
                    let after: Vec<String> =
                        edges.iter().filter(|(from, to)| from < to && *to == at).map(|(from, _)| name(*from)).collect();
                    task(&name(at), &after.iter().map(String::as_str).collect::<Vec<_>>(), "")
                })
                .rev()
                .collect();
            let graph = Graph::build(&tasks).unwrap();
            let place = |task: &str| graph.order().iter().position(|name| name == task).unwrap();
            prop_assert_eq!(graph.order().len(), 20);
            for task in &tasks {
                for parent in graph.parents(&task.name) {
                    prop_assert!(place(parent) < place(&task.name));
                }
            }
        }

        /// Any edges at all: either an order, or a cycle whose every step is an edge.
        #[test]
        fn a_cycle_is_a_real_path(edges in proptest::collection::vec((0usize..8, 0usize..8), 0..20)) {
            let name = |at: usize| format!("t{at}");
            let tasks: Vec<PipelineTask> = (0..8)
                .map(|at| {
                    let after: Vec<String> =
                        edges.iter().filter(|(_, to)| *to == at).map(|(from, _)| name(*from)).collect();
                    task(&name(at), &after.iter().map(String::as_str).collect::<Vec<_>>(), "")
                })
                .collect();
            if let Err(GraphError::Cycle { path }) = Graph::build(&tasks) {
                prop_assert!(path.len() >= 2 && path.first() == path.last());
                for step in path.windows(2) {
                    let to = tasks.iter().find(|task| task.name == step[1]).unwrap();
                    prop_assert!(to.run_after.contains(&step[0]));
                }
            }
        }
    }
}
