//! The order of a pipeline's tasks: a directed acyclic graph.
//!
//! Edges come from `runAfter` and from references to results. petgraph holds the graph; nothing outside this module
//! sees it.

mod build;
mod edges;

pub use build::{Graph, GraphError};
pub use edges::{Edge, EdgeKind, as_result, edges, references};
