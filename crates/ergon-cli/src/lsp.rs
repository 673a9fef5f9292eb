//! A language server: what `ergon-lint` knows, in the protocol of editors.

mod answer;
mod place;
mod server;
mod store;

pub use server::serve;
