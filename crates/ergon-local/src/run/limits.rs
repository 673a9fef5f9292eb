//! From a container's resources to what it may use here.

use ergon_engine::pod::nanos;
use k8s_openapi::api::core::v1::ResourceRequirements;

use crate::container::Limits;

const NANOS: i128 = 1_000_000_000;

/// The limits of a container. Requests are for a scheduler, and there is none here.
pub(super) fn of(resources: Option<&ResourceRequirements>) -> Limits {
    let limit = |name: &str, of_one: i128| {
        let quantity = resources?.limits.as_ref()?.get(name)?;
        // A fraction of the smallest unit is rounded up: less than was asked for would be too little.
        let count = nanos(quantity)?.checked_mul(of_one)?.checked_add(NANOS - 1)? / NANOS;
        u64::try_from(count).ok().filter(|count| *count > 0)
    };
    Limits { memory_bytes: limit("memory", 1), cpu_millis: limit("cpu", 1000), pids: None }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn limits_are_read_as_kubernetes_writes_them() {
        for (limits, memory_bytes, cpu_millis) in [
            (json!({"memory": "64Mi", "cpu": "500m"}), Some(64 << 20), Some(500)),
            (json!({"memory": "1.5k", "cpu": "2"}), Some(1500), Some(2000)),
            (json!({"memory": "0", "cpu": "0.1m"}), None, Some(1)),
            (json!({"memory": "much"}), None, None),
            (json!({}), None, None),
        ] {
            let resources: ResourceRequirements =
                serde_json::from_value(json!({"limits": limits, "requests": {"cpu": "7"}})).unwrap();
            assert_eq!(of(Some(&resources)), Limits { memory_bytes, cpu_millis, pids: None }, "{limits}");
        }
        assert_eq!(of(None), Limits::default());
    }
}
