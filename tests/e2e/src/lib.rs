//! What the tests and the benchmark on a real cluster share: finding it, a namespace for each test, waiting by watches.
//!
//! Nothing here knows how the controller works: everything goes through the API server, as users' tools do.

mod cluster;
mod manifest;
mod program;
mod space;
mod wait;

pub use cluster::{Cluster, ergon, root};
pub use manifest::{documents, expectation, group_of, in_group};
pub use program::{Finished, run_program};
pub use space::{Space, in_restricted_space, in_space, in_space_alone, is_over};
pub use wait::{Ran, until};
