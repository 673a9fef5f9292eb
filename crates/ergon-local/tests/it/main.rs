//! Images and containers as the rest of Ergon uses them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should end")]

mod containers;
mod fixture;
mod images;
mod pull;
mod rootless;
