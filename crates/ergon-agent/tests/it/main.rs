//! The agent with real shims in a directory, and its reports to a real TLS server.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod language;
mod pods;
mod reports;
