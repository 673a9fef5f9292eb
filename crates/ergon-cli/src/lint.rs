//! The files that `ergon lint` looks at.

mod files;
mod sarif;

pub use files::{Input, around, beside, read, read_tests};
pub use sarif::sarif;
