//! The files that `ergon lint` looks at.

mod files;
mod sarif;

pub use files::{Input, around, read};
pub use sarif::sarif;
