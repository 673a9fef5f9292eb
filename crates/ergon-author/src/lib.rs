//! What helps whoever writes manifests: converting them between the two API groups, formatting, drawing, and
//! beginning new ones.
//!
//! Texts go in and texts come out, with no I/O. A manifest's text is edited where something changes in it and is never
//! written anew from its values: comments, order and style stay as they are.

mod convert;
mod format;
mod graph;
mod scalars;
mod skeleton;

pub use convert::{Converted, Note, convert};
pub use format::format;
pub use graph::{Drawing, Link, Node, Style};
pub use skeleton::{NewFile, pipeline, task};
