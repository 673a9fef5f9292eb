//! Manifests as tests: what must be accepted, what must be refused with which words, and what is the same in versions.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its data has failed")]

mod convert;
mod hostile;
mod manifests;
mod values;
mod vectors;
