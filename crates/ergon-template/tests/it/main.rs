//! One binary for the crate's tests.

mod interpreters;
mod refused;
mod shells;
