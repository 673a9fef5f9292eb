//! The real shim against an agent that the test plays, over a real socket.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod ends;
mod harness;
mod scripts;
mod steps;
mod surroundings;
mod waits;
