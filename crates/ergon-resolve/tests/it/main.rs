//! The resolvers against servers on this machine: git's own, and small ones that speak as the others do.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod again;
mod bundles;
mod cached;
mod git;
mod hosting;
mod http;
mod hub;
mod serve;
mod world;
