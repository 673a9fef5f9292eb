//! ConfigMap `config-observability`: known, and told that it has no effect.

use std::collections::BTreeMap;

use super::read::{Problem, Reader};

/// What is wrong with it. Metrics are served for Prometheus, by kind and outcome, whatever it says.
pub(super) fn check(data: &BTreeMap<String, String>) -> Vec<Problem> {
    let mut reader = Reader::new("config-observability", data);
    let metrics = "metrics are served for Prometheus, by kind and outcome";
    for (key, default) in [
        ("metrics-protocol", "prometheus"),
        ("metrics-endpoint", ""),
        ("metrics-export-interval", ""),
        ("metrics.taskrun.level", "task"),
        ("metrics.taskrun.duration-type", "histogram"),
        ("metrics.taskrun.throttle.enable-namespace", "false"),
        ("metrics.pipelinerun.level", "pipeline"),
        ("metrics.pipelinerun.duration-type", "histogram"),
        ("metrics.running-pipelinerun.level", ""),
        ("metrics.count.enable-reason", "false"),
        ("metrics.backend-destination", "prometheus"),
        ("metrics.allow-stackdriver-custom-metrics", "false"),
        ("metrics.request-metrics-backend-destination", "prometheus"),
    ] {
        reader.without_effect(key, default, metrics);
    }
    for (key, default) in
        [("tracing-protocol", "none"), ("tracing-endpoint", ""), ("tracing-sampling-rate", "1.0")]
    {
        reader.without_effect(key, default, "traces are not sent");
    }
    for (key, default) in [("runtime-profiling", "disabled"), ("runtime-export-interval", "15s")] {
        reader.without_effect(key, default, "profiles are not served");
    }
    reader.finish()
}
