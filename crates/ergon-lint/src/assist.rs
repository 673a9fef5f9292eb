//! What an editor wants to know at a place of a file: what may be written there, what it means, and where it comes from.

mod complete;
mod context;
mod define;
mod fields;
mod hover;
mod names;

pub use complete::{Item, ItemKind, complete};
pub use define::{Place, define};
pub use hover::{Hover, hover};
