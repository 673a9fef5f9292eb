//! What a pod asks for: the maximum over its schedule, since steps run one after another.

use std::collections::BTreeMap;

use ergon_api::Step;
use k8s_openapi::api::core::v1::{Container, LimitRange, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::quantity::{nanos, share};

/// Leaves each resource's request only on the step that asks for most of it, as Tekton does.
///
/// The other steps ask for zero where they have a limit: the API server would fill in the limit otherwise.
pub(super) fn request_the_peak(steps: &mut [Container]) {
    let mut peaks: BTreeMap<String, (usize, Quantity, i128)> = BTreeMap::new();
    for (at, step) in steps.iter().enumerate() {
        for (name, wanted) in wanted(step) {
            let Some(size) = nanos(&wanted) else { continue };
            if peaks.get(&name).is_none_or(|(_, _, peak)| size > *peak) {
                peaks.insert(name, (at, wanted, size));
            }
        }
    }
    for (at, step) in steps.iter_mut().enumerate() {
        let Some(resources) = step.resources.as_mut() else { continue };
        let mut requests = BTreeMap::new();
        for name in wanted_names(resources) {
            match peaks.get(&name) {
                Some((peak, quantity, _)) if *peak == at => requests.insert(name, quantity.clone()),
                Some(_) => requests.insert(name, Quantity("0".to_owned())),
                None => None,
            };
        }
        resources.requests = (!requests.is_empty()).then_some(requests);
    }
}

/// Gives each step an even share of what the whole task asks for, and the whole of its limits, as Tekton does.
pub(super) fn divide(steps: &mut [Step], task: &ResourceRequirements) {
    if task.requests.is_none() && task.limits.is_none() {
        return;
    }
    let parts = steps.len();
    let shares = |of: &Option<BTreeMap<String, Quantity>>| -> Option<BTreeMap<String, Quantity>> {
        let shares = of
            .iter()
            .flatten()
            .filter_map(|(name, quantity)| Some((name.clone(), share(name, quantity, parts)?)));
        Some(shares.collect()).filter(|shares: &BTreeMap<_, _>| !shares.is_empty())
    };
    for step in steps {
        let own = step.compute_resources.take().unwrap_or_default();
        // Without any request the API server would take the whole limit for each step's.
        let requests =
            if own.requests.is_none() && task.requests.is_none() { &task.limits } else { &task.requests };
        step.compute_resources = Some(ResourceRequirements {
            requests: shares(requests),
            limits: task.limits.clone(),
            claims: own.claims,
        });
    }
}

/// Raises requests to what the namespace's limit ranges demand of each container: the API server would refuse the pod.
///
/// Steps that ask for nothing get a share of the default request: together they run one at a time. What a user asks for
/// is never changed, only what is our own doing: the agent's request, and those that the peak left at zero.
pub(super) fn obey(limits: &[LimitRange], containers: &mut [Container], steps: usize) {
    let specs = limits.iter().filter_map(|range| range.spec.as_ref());
    let items: Vec<_> =
        specs.flat_map(|spec| &spec.limits).filter(|item| item.type_ == "Container").collect();
    if items.is_empty() {
        return;
    }
    let largest = |quantities: &mut dyn Iterator<Item = Quantity>| {
        quantities.filter(|quantity| nanos(quantity) > Some(0)).max_by_key(nanos)
    };
    for container in containers.iter_mut().filter(|container| !container.name.starts_with("sidecar")) {
        let is_step = container.name.starts_with("step-");
        for name in ["cpu", "memory", "ephemeral-storage"] {
            let least = || items.iter().filter_map(|item| item.min.as_ref()?.get(name).cloned());
            let shares =
                items.iter().filter_map(|item| share(name, item.default_request.as_ref()?.get(name)?, steps));
            let resources = container.resources.clone().unwrap_or_default();
            let has_limit = resources.limits.as_ref().is_some_and(|limits| limits.contains_key(name));
            let wanted = match resources.requests.as_ref().and_then(|requests| requests.get(name)) {
                None if is_step && !has_limit => largest(&mut shares.chain(least())),
                Some(asked) if !is_step || nanos(asked) == Some(0) => {
                    largest(&mut least()).filter(|least| nanos(least) > nanos(asked))
                }
                _ => None,
            };
            if let Some(wanted) = wanted {
                let requests = &mut container.resources.get_or_insert_default().requests;
                requests.get_or_insert_default().insert(name.to_owned(), wanted);
            }
        }
    }
}

/// Gives containers that name no resources those that the installation has for them: by name, by `prefix-<beginning>`,
/// or for all.
pub(super) fn fill(defaults: &BTreeMap<String, ResourceRequirements>, containers: &mut [Container]) {
    for container in containers.iter_mut().filter(|container| is_empty(container.resources.as_ref())) {
        let by_beginning = || {
            let fitting = defaults.iter().filter(|(key, _)| {
                let beginning = key.strip_prefix("prefix-").filter(|beginning| !beginning.is_empty());
                let rest = beginning.and_then(|beginning| container.name.strip_prefix(beginning));
                rest.is_some_and(|rest| rest.starts_with('-'))
            });
            fitting.max_by_key(|(key, _)| key.len()).map(|(_, resources)| resources)
        };
        let found = defaults.get(&container.name).or_else(by_beginning).or_else(|| defaults.get("default"));
        if let Some(found) = found {
            container.resources = Some(found.clone());
        }
    }
}

fn is_empty(resources: Option<&ResourceRequirements>) -> bool {
    resources.is_none_or(|resources| {
        [&resources.requests, &resources.limits].iter().all(|map| map.as_ref().is_none_or(BTreeMap::is_empty))
    })
}

/// What a container asks for; a limit without a request is one.
fn wanted(container: &Container) -> BTreeMap<String, Quantity> {
    let Some(resources) = &container.resources else { return BTreeMap::new() };
    let mut wanted = resources.limits.clone().unwrap_or_default();
    wanted.extend(resources.requests.clone().unwrap_or_default());
    wanted
}

fn wanted_names(resources: &ResourceRequirements) -> Vec<String> {
    let mut names: Vec<String> = [&resources.limits, &resources.requests]
        .into_iter()
        .flatten()
        .flat_map(BTreeMap::keys)
        .cloned()
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// What a container asks for, in thousand millionths; a limit without a request is one.
pub(crate) fn requests(container: &Container) -> Vec<(String, i128)> {
    let resources = container.resources.clone().unwrap_or_default();
    let mut all = resources.limits.unwrap_or_default();
    all.extend(resources.requests.unwrap_or_default());
    all.into_iter().filter_map(|(name, quantity)| Some((name, nanos(&quantity)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(requests: &[(&str, &str)], limits: &[(&str, &str)]) -> Container {
        let map = |pairs: &[(&str, &str)]| {
            let map: BTreeMap<String, Quantity> =
                pairs.iter().map(|(name, text)| ((*name).to_owned(), Quantity((*text).to_owned()))).collect();
            (!map.is_empty()).then_some(map)
        };
        Container {
            resources: Some(ResourceRequirements {
                requests: map(requests),
                limits: map(limits),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    #[test]
    fn what_a_limit_range_demands() {
        let range: LimitRange = serde_json::from_value(serde_json::json!({"spec": {"limits": [
            {"type": "Container", "min": {"cpu": "100m", "memory": "99Mi"}, "defaultRequest": {"cpu": "1", "memory": "111Mi"}},
            {"type": "Pod", "min": {"cpu": "50"}},
        ]}}))
        .unwrap();
        let named = |name: &str, container: Container| Container { name: name.to_owned(), ..container };
        let mut containers = vec![
            named("ergon-agent", step(&[("cpu", "5m"), ("memory", "16Mi")], &[])),
            named("step-a", Container::default()),
            named("step-b", step(&[("cpu", "0"), ("memory", "1Mi")], &[("cpu", "2")])),
            named("step-c", step(&[], &[("cpu", "2")])),
            named("sidecar-d", Container::default()),
        ];
        obey(&[range], &mut containers, 2);
        let told: Vec<String> = containers
            .iter()
            .map(|container| {
                let requests = container.resources.as_ref().and_then(|resources| resources.requests.clone());
                let pairs =
                    requests.into_iter().flatten().map(|(name, quantity)| format!(" {name}={}", quantity.0));
                format!("{}{}", container.name, pairs.collect::<String>())
            })
            .collect();
        assert_eq!(
            told,
            [
                "ergon-agent cpu=100m memory=99Mi",
                "step-a cpu=500m memory=99Mi",
                "step-b cpu=100m memory=1Mi",
                "step-c memory=99Mi",
                "sidecar-d",
            ]
        );
    }

    #[test]
    fn the_closest_default_fills_what_is_empty() {
        let resources = |cpu: &str| step(&[("cpu", cpu)], &[]).resources.unwrap();
        let defaults = [("default", "1"), ("prefix-step", "2"), ("prefix-step-a", "3"), ("step-b", "4")]
            .map(|(key, cpu)| (key.to_owned(), resources(cpu)));
        let mut containers =
            ["step-x", "step-a-x", "step-b", "sidecar-x", "steps", "step-own"].map(|name| Container {
                name: name.to_owned(),
                resources: (name == "step-own").then(|| resources("5")),
                ..Default::default()
            });
        fill(&defaults.into(), &mut containers);
        let cpus =
            containers.map(|container| container.resources.unwrap().requests.unwrap()["cpu"].0.clone());
        assert_eq!(cpus, ["2", "3", "4", "1", "1", "5"]);
    }

    #[test]
    fn only_the_largest_request_stays() {
        let mut steps = vec![
            step(&[("cpu", "500m"), ("memory", "1Gi")], &[]),
            step(&[("cpu", "2")], &[("memory", "512Mi")]),
            step(&[], &[]),
        ];
        request_the_peak(&mut steps);
        let requests: Vec<String> = steps
            .iter()
            .map(|step| {
                let requests = step.resources.as_ref().unwrap().requests.clone().unwrap_or_default();
                let shown: Vec<String> =
                    requests.iter().map(|(name, quantity)| format!("{name}={}", quantity.0)).collect();
                shown.join(" ")
            })
            .collect();
        assert_eq!(requests, ["cpu=0 memory=1Gi", "cpu=2 memory=0", ""]);
    }
}
