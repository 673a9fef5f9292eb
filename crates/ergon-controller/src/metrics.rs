//! What the controller counts, for Prometheus.

mod tekton;

pub use tekton::{Running, Tekton};

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// All metrics, and the registry that they are read from.
pub struct Metrics {
    registry: Registry,
    pub queue_depth: Gauge,
    pub requests_at_once: Gauge,
    reconciles: Family<ReconcileLabels, Counter>,
    reconcile_seconds: Family<KindLabel, Histogram, fn() -> Histogram>,
    writes: Family<WriteLabels, Counter>,
    runs: Family<RunLabels, Counter>,
    run_seconds: Family<KindLabel, Histogram, fn() -> Histogram>,
    pod_start_seconds: Histogram,
    reports: Family<ReportLabels, Counter>,
    admissions: Family<AdmissionLabels, Counter>,
    cached: Family<KindLabel, Gauge>,
    pub members: Gauge,
    pub events_dropped: Counter,
    tekton_registry: Registry,
    pub tekton: Tekton,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReconcileLabels {
    kind: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabels {
    verb: &'static str,
    kind: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RunLabels {
    kind: &'static str,
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReportLabels {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AdmissionLabels {
    hook: &'static str,
    result: &'static str,
}

/// 1 ms to 16 s.
fn short() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 15))
}

/// 0.5 s to 9 h.
fn long() -> Histogram {
    Histogram::new(exponential_buckets(0.5, 2.0, 17))
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("ergon");
        let mut tekton_registry = Registry::with_prefix("tekton_pipelines_controller");
        let mut metrics = Self {
            registry: Registry::default(),
            queue_depth: Gauge::default(),
            requests_at_once: Gauge::default(),
            reconciles: Family::default(),
            reconcile_seconds: Family::new_with_constructor(short),
            writes: Family::default(),
            runs: Family::default(),
            run_seconds: Family::new_with_constructor(long),
            pod_start_seconds: Histogram::new(exponential_buckets(0.05, 2.0, 14)),
            reports: Family::default(),
            admissions: Family::default(),
            cached: Family::default(),
            members: Gauge::default(),
            events_dropped: Counter::default(),
            tekton: Tekton::new(&mut tekton_registry),
            tekton_registry,
        };
        registry.register("queue_depth", "Keys that wait to be reconciled", metrics.queue_depth.clone());
        registry.register(
            "requests_at_once",
            "Requests to the API server that may be under way at once",
            metrics.requests_at_once.clone(),
        );
        registry.register("reconciles", "Reconciles by outcome", metrics.reconciles.clone());
        registry.register("reconcile_seconds", "How long reconciles took", metrics.reconcile_seconds.clone());
        registry.register("api_writes", "Writes to the API server", metrics.writes.clone());
        registry.register("runs", "Runs that ended, by how", metrics.runs.clone());
        registry.register("run_seconds", "From a run's start to its end", metrics.run_seconds.clone());
        registry.register(
            "pod_start_seconds",
            "From a pod's creation to its agent running",
            metrics.pod_start_seconds.clone(),
        );
        registry.register("reports", "Reports of agents", metrics.reports.clone());
        registry.register("admissions", "Requests to the webhooks", metrics.admissions.clone());
        registry.register("cached_objects", "Objects in memory", metrics.cached.clone());
        registry.register(
            "members",
            "Replicas that share the runs, as this one sees it; 0 while it does not work",
            metrics.members.clone(),
        );
        registry.register(
            "events_dropped",
            "Events that were not written because too many waited",
            metrics.events_dropped.clone(),
        );
        metrics.registry = registry;
        metrics
    }
}

impl Metrics {
    pub fn reconciled(&self, kind: &'static str, outcome: &'static str, took: Duration) {
        self.reconciles.get_or_create(&ReconcileLabels { kind, outcome }).inc();
        self.reconcile_seconds.get_or_create(&KindLabel { kind }).observe(took.as_secs_f64());
    }

    /// Counts a write and hands its result on.
    pub fn write<T>(
        &self,
        verb: &'static str,
        kind: &'static str,
        outcome: Result<T, kube::Error>,
    ) -> Result<T, kube::Error> {
        let result = match &outcome {
            Ok(_) => "ok",
            Err(kube::Error::Api(status)) if status.code == 409 => "conflict",
            Err(kube::Error::Api(status)) if (400..500).contains(&status.code) => "refused",
            Err(_) => "error",
        };
        self.writes.get_or_create(&WriteLabels { verb, kind, result }).inc();
        outcome
    }

    /// A run ended, this long after its start.
    pub fn ended(&self, kind: &'static str, succeeded: bool, took: Option<Duration>) {
        let status = if succeeded { "succeeded" } else { "failed" };
        self.runs.get_or_create(&RunLabels { kind, status }).inc();
        if let Some(took) = took {
            self.run_seconds.get_or_create(&KindLabel { kind }).observe(took.as_secs_f64());
        }
    }

    pub fn pod_started(&self, after: Duration) {
        self.pod_start_seconds.observe(after.as_secs_f64());
    }

    pub fn reported(&self, result: &'static str) {
        self.reports.get_or_create(&ReportLabels { result }).inc();
    }

    pub fn admitted(&self, hook: &'static str, result: &'static str) {
        self.admissions.get_or_create(&AdmissionLabels { hook, result }).inc();
    }

    pub fn cached(&self, kind: &'static str, count: usize) {
        self.cached.get_or_create(&KindLabel { kind }).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Everything in the OpenMetrics text format.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode_registry(&mut text, &self.registry)?;
        encode_registry(&mut text, &self.tekton_registry)?;
        encode_eof(&mut text)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_in_the_text() {
        let metrics = Metrics::default();
        metrics.queue_depth.set(3);
        metrics.reconciled("TaskRun", "ok", Duration::from_millis(5));
        metrics.ended("TaskRun", true, Some(Duration::from_secs(2)));
        let refused = metrics.write::<()>("create", "Pod", Err(kube::Error::LinesCodecMaxLineLengthExceeded));
        assert!(refused.is_err());
        let text = metrics.text().expect("text");
        for line in [
            "ergon_queue_depth 3",
            "tekton_pipelines_controller_running_taskruns 0",
            "ergon_reconciles_total{kind=\"TaskRun\",outcome=\"ok\"} 1",
            "ergon_runs_total{kind=\"TaskRun\",status=\"succeeded\"} 1",
            "ergon_api_writes_total{verb=\"create\",kind=\"Pod\",result=\"error\"} 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
