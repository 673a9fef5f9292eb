//! The tests of this crate, in one binary.

mod cases;
mod hostile;
mod mutations;
mod pages;
mod speed;
