//! Tests on a real cluster, and of the same things on the local shell. See the modules: each is one promise to users.
//!
//! `make test` starts the cluster first. `ERGON_TEST_CLUSTER=1` takes the one of `KUBECONFIG`; `ERGON_E2E=skip` leaves
//! all of these out.

mod cancel;
mod custom;
mod embed;
mod examples;
mod failing;
mod finally;
mod groups;
mod infrastructure;
mod kubectl;
mod laptop;
mod limits;
mod many;
mod nested;
mod parity;
mod private;
mod refused;
mod replicas;
mod results;
mod retries;
mod secrets;
mod security;
mod shared;
mod sidecars;
mod steps;
mod versions;
mod workspaces;
