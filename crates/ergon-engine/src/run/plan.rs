//! What follows from a pipeline's spec alone. A shell may keep it, and need not have it worked out at each pass.

use std::collections::BTreeMap;
use std::sync::Arc;

use ergon_api::texts::variables_in;
use ergon_api::variables::Variable;
use ergon_api::{PipelineSpec, PipelineTask};

use crate::graph::{Graph, GraphError, references};

/// A pipeline that is looked through: who waits for whom, and what each task refers to.
///
/// Tasks are called by their places: first those of the graph, then the final ones, in the order of the file.
#[derive(Debug)]
pub struct Plan {
    spec: Arc<PipelineSpec>,
    graph: Graph,
    places: BTreeMap<String, usize>,
    /// The places of the graph's tasks, each after those that it waits for.
    order: Vec<usize>,
    /// By place: the tasks that it waits for, in the order of the file.
    parents: Vec<Vec<usize>>,
    /// By place: all references in what is replaced before it starts.
    uses: Vec<Vec<(String, Variable)>>,
    uses_overall_status: bool,
}

impl Plan {
    /// Looks a pipeline through.
    ///
    /// # Errors
    /// Its tasks are no graph.
    pub fn of(spec: Arc<PipelineSpec>) -> Result<Self, GraphError> {
        let graph = Graph::build(&spec.tasks)?;
        let mut places = BTreeMap::new();
        for (place, task) in spec.all_tasks().enumerate() {
            if places.insert(task.name.clone(), place).is_some() {
                return Err(GraphError::Duplicate(task.name.clone()));
            }
        }
        let uses: Vec<_> = spec.all_tasks().map(references).collect();
        let is_overall = |reference: &Variable| reference.names() == ["tasks", "status"];
        let of_results =
            spec.results.iter().flat_map(|result| variables_in(&result.value, &[])).collect::<Vec<_>>();
        let uses_overall_status =
            uses.iter().flatten().chain(&of_results).any(|(_, reference)| is_overall(reference));
        Ok(Self {
            order: graph.order().iter().filter_map(|name| places.get(name.as_str()).copied()).collect(),
            parents: spec
                .tasks
                .iter()
                .map(|task| graph.parents(&task.name).iter().map(|parent| places[*parent]).collect())
                .collect(),
            graph,
            places,
            uses,
            uses_overall_status,
            spec,
        })
    }

    /// Whether it was made of this spec, or of one that says the same.
    pub fn is_of(&self, spec: &Arc<PipelineSpec>) -> bool {
        Arc::ptr_eq(&self.spec, spec) || self.spec == *spec
    }

    pub(super) fn spec(&self) -> &Arc<PipelineSpec> {
        &self.spec
    }

    /// The graph's tasks by their names.
    pub(super) fn graph(&self) -> &Graph {
        &self.graph
    }

    pub(super) fn place(&self, task: &str) -> Option<usize> {
        self.places.get(task).copied()
    }

    pub(super) fn task(&self, place: usize) -> Option<&PipelineTask> {
        self.spec.all_tasks().nth(place)
    }

    pub(super) fn order(&self) -> &[usize] {
        &self.order
    }

    /// Final tasks wait for none in particular.
    pub(super) fn parents(&self, place: usize) -> &[usize] {
        self.parents.get(place).map_or(&[], Vec::as_slice)
    }

    /// The places of the final tasks.
    pub(super) fn finally(&self) -> std::ops::Range<usize> {
        self.spec.tasks.len()..self.places.len()
    }

    pub(super) fn tasks(&self) -> impl Iterator<Item = (usize, &PipelineTask)> {
        self.spec.all_tasks().enumerate()
    }

    /// What a task refers to, each with its field.
    pub(super) fn uses(&self, place: usize) -> &[(String, Variable)] {
        self.uses.get(place).map_or(&[], Vec::as_slice)
    }

    /// Whether anything refers to `$(tasks.status)`.
    pub(super) fn uses_overall_status(&self) -> bool {
        self.uses_overall_status
    }
}
