//! What makes one task wait for another.

use ergon_api::PipelineTask;
use ergon_api::variables::Variable;
use serde_json::Value;

use crate::expr::json_references;

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
    let results = result_references(task).into_iter().map(|(field, needs, result)| Edge {
        task: task.name.clone(),
        needs,
        kind: EdgeKind::Result { result },
        field,
    });
    ordering.chain(results).collect()
}

/// The references to results of other tasks, each as (field, task, result).
///
/// They count wherever Tekton substitutes results: parameters, matrix, when, workspaces and an embedded spec.
pub fn result_references(task: &PipelineTask) -> Vec<(String, String, String)> {
    let Ok(Value::Object(mut fields)) = serde_json::to_value(task) else { return Vec::new() };
    for text in ["name", "displayName", "description", "runAfter"] {
        fields.remove(text);
    }
    json_references(&Value::Object(fields))
        .into_iter()
        .filter_map(|(field, reference)| {
            let (needs, result) = as_result(&reference)?;
            Some((field, needs.to_owned(), result.to_owned()))
        })
        .collect()
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
