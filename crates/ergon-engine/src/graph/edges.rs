//! What makes one task wait for another.

use ergon_api::PipelineTask;
use ergon_api::texts::variables_in;
use ergon_api::variables::Variable;

/// `task` waits for `needs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    pub task: String,
    pub needs: String,
    pub kind: EdgeKind,
    /// Where it is said, under the task: `runAfter[0]`, `params[1].value`.
    pub field: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EdgeKind {
    /// `runAfter`: only the order.
    Order,
    /// A reference to a result: the order, and a value.
    Result { result: String },
}

/// All edges into one task, in the order in which they are written.
pub fn edges(task: &PipelineTask) -> Vec<Edge> {
    let ordering = task.run_after.iter().enumerate().map(|(at, needs)| Edge {
        task: task.name.clone(),
        needs: needs.clone(),
        kind: EdgeKind::Order,
        field: format!("runAfter[{at}]"),
    });
    let used = references(task).into_iter().filter_map(|(field, reference)| {
        let (needs, kind) = match reference.names().as_slice() {
            ["tasks", needs, "results", result, ..] => {
                (*needs, EdgeKind::Result { result: (*result).to_owned() })
            }
            // How many there are is known once all are there.
            ["tasks", needs, "matrix", ..] => (*needs, EdgeKind::Order),
            _ => return None,
        };
        Some(Edge { task: task.name.clone(), needs: needs.to_owned(), kind, field })
    });
    ordering.chain(used).collect()
}

/// All references in what is replaced of a task before it starts, each with its field.
pub fn references(task: &PipelineTask) -> Vec<(String, Variable)> {
    // A pipeline that is written out here has tasks of its own, and a custom task's spec is its controller's.
    variables_in(task, &["name", "description", "runAfter", "pipelineSpec", "taskSpec.spec"])
}

/// Task and result of a `tasks.<task>.results.<result>` reference, whatever it takes of the result.
pub fn as_result(reference: &Variable) -> Option<(&str, &str)> {
    match reference.path.as_slice() {
        [tasks, task, results, result, ..] if tasks == "tasks" && results == "results" => {
            Some((task, result))
        }
        _ => None,
    }
}
