//! One binary for the crate's tests.

mod refused;
mod shells;
