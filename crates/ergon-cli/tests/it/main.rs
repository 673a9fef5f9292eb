//! The command as it is used: its reference, and the program's output and exit codes.

#![expect(clippy::unwrap_used, reason = "what goes wrong here is to fail the test")]

mod author;
mod lint;
mod lsp;
mod plans;
mod program;
mod reference;
mod schemas;
mod tests;
