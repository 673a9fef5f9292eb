//! Manifests as tests: what must be accepted, and what must be refused with which words.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its data has failed")]

mod manifests;
