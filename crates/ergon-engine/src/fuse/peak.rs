//! What a pod of several tasks asks for: the most that runs in it at once.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Container;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::Member;
use super::groups::chains;
use crate::graph::Graph;
use crate::pod::{self, AGENT};

/// What tasks side by side may ask for together under `auto`, in thousand millionths: less than any node has that is to
/// carry out tasks. Of other resources, one task's share is the most.
const MODEST: [(&str, i128); 2] = [("cpu", 2_000_000_000), ("memory", (4 << 30) * 1_000_000_000)];

/// Whether a pod of these tasks asks for no more than one of them does alone, or for little: a node that has room for each
/// of them has room for all.
pub(crate) fn is_modest(graph: &Graph, members: &[Member]) -> bool {
    let mut of: BTreeMap<&str, BTreeMap<String, i128>> = BTreeMap::new();
    for member in members {
        let containers = member.pod.spec.iter().flat_map(|spec| &spec.containers);
        let sums = of.entry(&member.task).or_default();
        let asked = containers.filter(|container| container.name != AGENT).flat_map(pod::requests);
        // Tries of a task run one after another.
        for (name, nanos) in asked.filter(|_| member.retry == 0) {
            *sums.entry(name).or_default() += nanos;
        }
    }
    let mut together: BTreeMap<&str, i128> = BTreeMap::new();
    let mut alone: BTreeMap<&str, i128> = BTreeMap::new();
    for chain in chains(graph, of.keys().copied()) {
        let mut most: BTreeMap<&str, i128> = BTreeMap::new();
        for (name, nanos) in chain.iter().filter_map(|task| of.get(task)).flatten() {
            let most = most.entry(name).or_default();
            *most = (*most).max(*nanos);
            let alone = alone.entry(name).or_default();
            *alone = (*alone).max(*nanos);
        }
        for (name, nanos) in most {
            *together.entry(name).or_default() += nanos;
        }
    }
    together.into_iter().all(|(name, nanos)| {
        let modest = MODEST.iter().find(|(known, _)| *known == name).map_or(0, |(_, modest)| *modest);
        nanos <= modest.max(alone.get(name).copied().unwrap_or_default())
    })
}

/// Leaves each resource's request only on the task of a chain that asks for most of it: its tasks never run at once.
pub(super) fn request_the_peak(
    containers: &mut [Container],
    chain: &[String],
    of: &BTreeMap<String, Vec<usize>>,
) {
    let requests = |container: &Container| {
        container.resources.clone().and_then(|resources| resources.requests).unwrap_or_default()
    };
    let mut peaks: BTreeMap<String, (&String, i128)> = BTreeMap::new();
    for task in chain {
        let mut sums: BTreeMap<String, i128> = BTreeMap::new();
        for at in of.get(task).into_iter().flatten() {
            for (name, quantity) in requests(&containers[*at]) {
                *sums.entry(name).or_default() += pod::nanos(&quantity).unwrap_or_default();
            }
        }
        for (name, sum) in sums {
            if peaks.get(&name).is_none_or(|(_, peak)| sum > *peak) {
                peaks.insert(name, (task, sum));
            }
        }
    }
    for task in chain {
        for at in of.get(task).into_iter().flatten() {
            let Some(requests) =
                containers[*at].resources.as_mut().and_then(|resources| resources.requests.as_mut())
            else {
                continue;
            };
            for (name, quantity) in requests {
                if peaks.get(name).is_some_and(|(peak, _)| *peak != task) {
                    *quantity = Quantity("0".to_owned());
                }
            }
        }
    }
}
