//! The client against an API server in memory.
#![expect(clippy::unwrap_used, reason = "what goes wrong here is to fail the test")]

mod fake;
mod logs;
mod objects;
mod watch;
