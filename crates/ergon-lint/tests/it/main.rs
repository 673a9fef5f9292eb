//! The tests of this crate, in one binary.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its data has failed")]

mod cases;
mod hostile;
mod mutations;
mod pages;
mod speed;
