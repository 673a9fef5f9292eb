//! Templates whose values never become code.
//!
//! A [`Template`] is a script with `{{name}}` in it. It is compiled once, for the shell that its shebang names: each
//! tag becomes a reference to an environment variable, quoted for the place where it stands, and the values travel in
//! the environment. The shell never parses a value. What cannot be safe is refused when the template is compiled,
//! with its place and what to write instead.

mod code;
mod compile;
mod expr;
mod helper;
mod language;
mod parse;
mod places;
mod plain;
mod render;
mod shell;
mod template;

pub use places::{Quoting, is_shell, places};
pub use plain::{Piece, pieces};
pub use render::{Given, RenderError, Rendered, is_too_long};
pub use template::{Error, Kind, Name, Template, Used};
