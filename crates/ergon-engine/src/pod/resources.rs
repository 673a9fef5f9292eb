//! What a pod asks for: the maximum over its schedule, since steps run one after another.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Leaves each resource's request only on the step that asks for most of it, as Tekton does.
///
/// The other steps ask for zero where they have a limit: the API server would fill in the limit otherwise.
pub(super) fn request_the_peak(steps: &mut [Container]) {
    let mut peaks: BTreeMap<String, (usize, Quantity, f64)> = BTreeMap::new();
    for (at, step) in steps.iter().enumerate() {
        for (name, wanted) in wanted(step) {
            let Some(size) = amount(&wanted) else { continue };
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

/// A quantity as a number, good enough to tell which of two is larger; none where it is no quantity.
fn amount(quantity: &Quantity) -> Option<f64> {
    const SUFFIXES: [(&str, f64); 15] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("Ei", 1_152_921_504_606_846_976.0),
        ("n", 1e-9),
        ("u", 1e-6),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("E", 1e18),
    ];
    let text = quantity.0.trim();
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    SUFFIXES.iter().find_map(|(suffix, factor)| {
        text.strip_suffix(suffix)?.parse::<f64>().ok().map(|number| number * factor)
    })
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

    #[test]
    fn quantities_are_compared_by_size() {
        for (small, large) in [("900m", "1"), ("1000Mi", "1Gi"), ("1M", "1Mi"), ("1e3", "2k"), ("5n", "1u")] {
            assert!(amount(&Quantity(small.into())) < amount(&Quantity(large.into())), "{small} {large}");
        }
        assert_eq!(amount(&Quantity("much".into())), None);
    }
}
