//! Metrics under Tekton's names, on runs of its group: dashboards and alerts that were made for its controller go on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use ergon_api::config::{DurationType, Observability, PipelineRunLevel, RunningLevel, TaskRunLevel};
use ergon_api::{Condition, ConditionStatus, Group, PipelineRun, TaskRun, reasons};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Names and values. Which there are is for the settings to say.
type Labels = Vec<(&'static str, String)>;

/// What stands for a Task or Pipeline that is written out in its run.
const ANONYMOUS: &str = "anonymous";

pub struct Tekton {
    pipeline_run_seconds: Durations,
    pipeline_runs: Family<Labels, Counter>,
    task_run_seconds: Durations,
    /// Of TaskRuns that are part of a PipelineRun; the others are in the one before.
    part_seconds: Durations,
    task_runs: Family<Labels, Counter>,
    pod_latency_ms: Family<Labels, Histogram, fn() -> Histogram>,
    running_pipeline_runs: Family<Labels, Gauge>,
    resolving_pipelines: Gauge,
    resolving_their_tasks: Gauge,
    running_task_runs: Gauge,
    resolving_tasks: Gauge,
    throttled_by_quota: Family<Labels, Gauge>,
    throttled_by_node: Family<Labels, Gauge>,
}

impl Tekton {
    /// Metrics that are read from the registry.
    pub fn new(registry: &mut Registry) -> Self {
        let all = Self {
            pipeline_run_seconds: Durations::default(),
            pipeline_runs: Family::default(),
            task_run_seconds: Durations::default(),
            part_seconds: Durations::default(),
            task_runs: Family::default(),
            pod_latency_ms: Family::new_with_constructor(latencies),
            running_pipeline_runs: Family::default(),
            resolving_pipelines: Gauge::default(),
            resolving_their_tasks: Gauge::default(),
            running_task_runs: Gauge::default(),
            resolving_tasks: Gauge::default(),
            throttled_by_quota: Family::default(),
            throttled_by_node: Family::default(),
        };
        let name = "pipelinerun_duration_seconds";
        registry.register(name, "From a PipelineRun's start to its end", all.pipeline_run_seconds.clone());
        registry.register("pipelinerun", "PipelineRuns that ended", all.pipeline_runs.clone());
        let name = "taskrun_duration_seconds";
        registry.register(name, "From a lone TaskRun's start to its end", all.task_run_seconds.clone());
        let name = "pipelinerun_taskrun_duration_seconds";
        let help = "From the start to the end of a PipelineRun's TaskRun";
        registry.register(name, help, all.part_seconds.clone());
        registry.register("taskrun", "TaskRuns that ended", all.task_runs.clone());
        let help = "From a pod's creation to its having a node";
        registry.register("taskruns_pod_latency_milliseconds", help, all.pod_latency_ms.clone());
        for (name, help, gauges) in [
            ("running_pipelineruns", "PipelineRuns that are under way", &all.running_pipeline_runs),
            (
                "running_taskruns_throttled_by_quota",
                "TaskRuns that wait for their namespace's quota",
                &all.throttled_by_quota,
            ),
            (
                "running_taskruns_throttled_by_node",
                "TaskRuns that wait for a node with room",
                &all.throttled_by_node,
            ),
        ] {
            registry.register(name, help, gauges.clone());
        }
        for (name, help, gauge) in [
            (
                "running_pipelineruns_waiting_on_pipeline_resolution",
                "PipelineRuns whose Pipeline is being fetched",
                &all.resolving_pipelines,
            ),
            (
                "running_pipelineruns_waiting_on_task_resolution",
                "PipelineRuns of whose Tasks some are being fetched",
                &all.resolving_their_tasks,
            ),
            ("running_taskruns", "TaskRuns that are under way", &all.running_task_runs),
            (
                "running_taskruns_waiting_on_task_resolution_count",
                "TaskRuns whose Task is being fetched",
                &all.resolving_tasks,
            ),
        ] {
            registry.register(name, help, gauge.clone());
        }
        all
    }

    /// A TaskRun ended. `run`: with its spec; `ended`: with its last status.
    pub fn task_run_ended(&self, run: &TaskRun, ended: &TaskRun, settings: Observability) {
        let Some(condition) = ended.condition() else { return };
        let status = status(condition, reasons::task_run::CANCELLED);
        self.task_runs.get_or_create(&vec![("status", status.to_owned())]).inc();
        let times = ended.status.as_ref();
        let took = took(
            times.and_then(|status| status.start_time.as_ref()),
            times.and_then(|status| status.completion_time.as_ref()),
        );
        let mut labels = common(run.namespace(), status, condition, settings);
        labels.extend(task_labels(&task_of(run), run.name(), settings.task_runs));
        let own = |label: &str| run.metadata.labels.as_ref()?.get(&Group::Tekton.label(label));
        let durations = match (own("pipeline"), own("pipelineRun")) {
            (Some(pipeline), Some(whole)) => {
                let pipeline = if pipeline == whole { ANONYMOUS } else { pipeline };
                labels.extend(pipeline_labels(pipeline, whole, settings.pipeline_runs));
                &self.part_seconds
            }
            _ => &self.task_run_seconds,
        };
        durations.observe(&labels, took, settings.task_run_durations);
    }

    /// A PipelineRun ended. `run`: with its spec; `ended`: with its last status.
    pub fn pipeline_run_ended(&self, run: &PipelineRun, ended: &PipelineRun, settings: Observability) {
        let Some(condition) = ended.condition() else { return };
        let status = status(condition, reasons::pipeline_run::CANCELLED);
        self.pipeline_runs.get_or_create(&vec![("status", status.to_owned())]).inc();
        let times = ended.status.as_ref();
        let took = took(
            times.and_then(|status| status.start_time.as_ref()),
            times.and_then(|status| status.completion_time.as_ref()),
        );
        let mut labels = common(run.namespace(), status, condition, settings);
        labels.extend(pipeline_labels(&pipeline_of(run), run.name(), settings.pipeline_runs));
        self.pipeline_run_seconds.observe(&labels, took, settings.pipeline_run_durations);
    }

    /// A pod of ours is seen running.
    pub fn pod_started(&self, pod: &Pod, settings: Observability) {
        let own = |label: &str| pod.metadata.labels.as_ref()?.get(&Group::Tekton.label(label));
        let Some(run) = own("taskRun") else { return };
        let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref());
        let scheduled = conditions.unwrap_or_default().iter().find(|known| known.type_ == "PodScheduled");
        let scheduled = scheduled.and_then(|condition| condition.last_transition_time.as_ref());
        let Some(waited) = took(pod.metadata.creation_timestamp.as_ref(), scheduled) else { return };
        let task = own("task").or_else(|| own("pipelineTask")).map_or(ANONYMOUS, String::as_str);
        let mut labels = vec![("namespace", pod.metadata.namespace.clone().unwrap_or_default())];
        labels.extend(task_labels(task, run, settings.task_runs));
        self.pod_latency_ms.get_or_create(&labels).observe(waited.as_secs_f64() * 1000.0);
    }

    /// Brings the gauges up to date.
    pub fn measure(&self, running: &Running) {
        self.running_task_runs.set(running.task_runs);
        self.resolving_tasks.set(running.resolving_tasks);
        self.resolving_pipelines.set(running.resolving_pipelines);
        self.resolving_their_tasks.set(running.resolving_their_tasks);
        for (family, counts) in [
            (&self.running_pipeline_runs, &running.pipeline_runs),
            (&self.throttled_by_quota, &running.by_quota),
            (&self.throttled_by_node, &running.by_node),
        ] {
            family.clear();
            for (labels, count) in counts {
                family.get_or_create(labels).set(*count);
            }
        }
    }
}

/// What is under way at the moment.
#[derive(Debug)]
pub struct Running {
    settings: Observability,
    task_runs: i64,
    resolving_tasks: i64,
    resolving_pipelines: i64,
    resolving_their_tasks: i64,
    /// By the labels that the settings ask for; and all together, without any.
    pipeline_runs: BTreeMap<Labels, i64>,
    by_quota: BTreeMap<Labels, i64>,
    by_node: BTreeMap<Labels, i64>,
}

impl Running {
    pub fn new(settings: Observability) -> Self {
        Self {
            settings,
            task_runs: 0,
            resolving_tasks: 0,
            resolving_pipelines: 0,
            resolving_their_tasks: 0,
            pipeline_runs: BTreeMap::from([(Labels::new(), 0)]),
            by_quota: BTreeMap::new(),
            by_node: BTreeMap::new(),
        }
    }

    pub fn add_task_run(&mut self, run: &TaskRun) {
        let Some(condition) = run.condition().filter(|known| known.status == ConditionStatus::Unknown) else {
            return;
        };
        self.task_runs += 1;
        let throttled = match condition.reason() {
            reasons::task_run::EXCEEDED_RESOURCE_QUOTA => &mut self.by_quota,
            reasons::task_run::EXCEEDED_NODE_RESOURCES => &mut self.by_node,
            reasons::task_run::RESOLVING_TASK_REF => {
                self.resolving_tasks += 1;
                return;
            }
            _ => return,
        };
        let namespace = ("namespace", run.namespace().to_owned());
        let labels = self.settings.throttled_by_namespace.then_some(namespace).into_iter().collect();
        *throttled.entry(labels).or_default() += 1;
    }

    pub fn add_pipeline_run(&mut self, run: &PipelineRun) {
        let Some(condition) = run.condition().filter(|known| known.status == ConditionStatus::Unknown) else {
            return;
        };
        match condition.reason() {
            reasons::pipeline_run::RESOLVING_PIPELINE_REF => self.resolving_pipelines += 1,
            reasons::pipeline_run::RESOLVING_TASK_REF => self.resolving_their_tasks += 1,
            _ => {}
        }
        *self.pipeline_runs.entry(Labels::new()).or_default() += 1;
        let level = self.settings.running_pipeline_runs;
        let labels: Labels = [
            (RunningLevel::Namespace, "namespace", run.namespace().to_owned()),
            (RunningLevel::Pipeline, "pipeline", pipeline_of(run)),
            (RunningLevel::PipelineRun, "pipelinerun", run.name().to_owned()),
        ]
        .into_iter()
        .filter(|(from, ..)| level >= *from)
        .map(|(_, name, value)| (name, value))
        .collect();
        if !labels.is_empty() {
            *self.pipeline_runs.entry(labels).or_default() += 1;
        }
    }
}

/// Durations as a histogram, or only the last of each, as the settings say.
#[derive(Debug, Clone)]
struct Durations {
    all: Family<Labels, Histogram, fn() -> Histogram>,
    last: Family<Labels, Gauge<f64, AtomicU64>>,
    is_last: Arc<AtomicBool>,
}

impl Default for Durations {
    fn default() -> Self {
        Self {
            all: Family::new_with_constructor(durations),
            last: Family::default(),
            is_last: Arc::default(),
        }
    }
}

impl Durations {
    fn observe(&self, labels: &Labels, took: Option<Duration>, kind: DurationType) {
        let is_last = kind == DurationType::LastValue;
        if self.is_last.swap(is_last, Ordering::Relaxed) != is_last {
            self.all.clear();
            self.last.clear();
        }
        let seconds = took.unwrap_or_default().as_secs_f64();
        if is_last {
            self.last.get_or_create(labels).set(seconds);
        } else {
            self.all.get_or_create(labels).observe(seconds);
        }
    }
}

impl EncodeMetric for Durations {
    fn encode(&self, encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        if self.is_last.load(Ordering::Relaxed) {
            self.last.encode(encoder)
        } else {
            self.all.encode(encoder)
        }
    }

    fn metric_type(&self) -> MetricType {
        if self.is_last.load(Ordering::Relaxed) { MetricType::Gauge } else { MetricType::Histogram }
    }
}

/// Tekton's limits: 10 s to a day.
fn durations() -> Histogram {
    let minutes = [1.0, 5.0, 15.0, 30.0, 60.0, 90.0, 180.0, 360.0, 720.0, 1440.0].map(|all| all * 60.0);
    Histogram::new([10.0, 30.0].into_iter().chain(minutes))
}

/// Tekton's limits, in milliseconds.
fn latencies() -> Histogram {
    Histogram::new([5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10000.0])
}

fn status(condition: &Condition, cancelled: &str) -> &'static str {
    match condition.status {
        ConditionStatus::False if condition.reason() == cancelled => "cancelled",
        ConditionStatus::False => "failed",
        ConditionStatus::True | ConditionStatus::Unknown => "success",
    }
}

fn common(namespace: &str, status: &str, condition: &Condition, settings: Observability) -> Labels {
    let mut labels = vec![("namespace", namespace.to_owned()), ("status", status.to_owned())];
    if settings.with_reason {
        labels.push(("reason", condition.reason().to_owned()));
    }
    labels
}

fn task_labels(task: &str, run: &str, level: TaskRunLevel) -> Labels {
    match level {
        TaskRunLevel::TaskRun => vec![("task", task.to_owned()), ("taskrun", run.to_owned())],
        TaskRunLevel::Task => vec![("task", task.to_owned())],
        TaskRunLevel::Namespace => Labels::new(),
    }
}

fn pipeline_labels(pipeline: &str, run: &str, level: PipelineRunLevel) -> Labels {
    match level {
        PipelineRunLevel::PipelineRun => {
            vec![("pipeline", pipeline.to_owned()), ("pipelinerun", run.to_owned())]
        }
        PipelineRunLevel::Pipeline => vec![("pipeline", pipeline.to_owned())],
        PipelineRunLevel::Namespace => Labels::new(),
    }
}

fn task_of(run: &TaskRun) -> String {
    let own = |label: &str| run.metadata.labels.as_ref()?.get(&Group::Tekton.label(label)).cloned();
    let name = match &run.spec.task_ref {
        Some(reference) if reference.name.is_some() => reference.name.clone(),
        _ if run.spec.task_spec.is_some() => own("pipelineTask"),
        _ => own("task"),
    };
    name.unwrap_or_else(|| ANONYMOUS.to_owned())
}

fn pipeline_of(run: &PipelineRun) -> String {
    let name = match &run.spec.pipeline_ref {
        Some(reference) if reference.name.is_some() => reference.name.clone(),
        _ if run.spec.pipeline_spec.is_some() && run.metadata.generate_name.is_none() => None,
        _ => run.metadata.labels.as_ref().and_then(|own| own.get(&Group::Tekton.label("pipeline")).cloned()),
    };
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| ANONYMOUS.to_owned())
}

fn took(start: Option<&Time>, end: Option<&Time>) -> Option<Duration> {
    start.zip(end).and_then(|(start, end)| end.0.duration_since(start.0).try_into().ok())
}

#[cfg(test)]
mod tests {
    use ergon_api::Config;
    use ergon_api::config::ConfigName;
    use serde_json::{Value, json};

    use super::*;

    fn settings(data: &[(&str, &str)]) -> Observability {
        let mut config = Config::default();
        let data = data.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        assert_eq!(config.take(ConfigName::Observability, &data), []);
        config.observability
    }

    fn run<K: serde::de::DeserializeOwned>(labels: &Value, spec: &Value, status: &str, reason: &str) -> K {
        serde_json::from_value(json!({
            "metadata": {"name": "run", "namespace": "ns", "labels": labels}, "spec": spec,
            "status": {"startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:00:20Z",
                "conditions": [{"type": "Succeeded", "status": status, "reason": reason}]}
        }))
        .expect("a run")
    }

    fn text(registry: &Registry) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, registry).expect("text");
        text
    }

    fn check(registry: &Registry, lines: &[&str]) {
        let text = text(registry);
        for line in lines {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn what_has_ended_is_counted_as_tekton_does() {
        let mut registry = Registry::with_prefix("tekton_pipelines_controller");
        let metrics = Tekton::new(&mut registry);
        let lone: TaskRun = run(&json!({}), &json!({"taskRef": {"name": "t"}}), "True", "Succeeded");
        metrics.task_run_ended(&lone, &lone, settings(&[]));
        let part = json!({"tekton.dev/pipeline": "p", "tekton.dev/pipelineRun": "pr", "tekton.dev/pipelineTask": "a"});
        let part: TaskRun = run(&part, &json!({"taskSpec": {}}), "False", "TaskRunCancelled");
        let fine = [
            ("metrics.taskrun.level", "taskrun"),
            ("metrics.pipelinerun.level", "pipelinerun"),
            ("metrics.count.enable-reason", "true"),
        ];
        metrics.task_run_ended(&part, &part, settings(&fine));
        let whole: PipelineRun = run(&json!({}), &json!({"pipelineSpec": {}}), "False", "Failed");
        metrics.pipeline_run_ended(&whole, &whole, settings(&[]));
        check(
            &registry,
            &[
                "tekton_pipelines_controller_taskrun_total{status=\"success\"} 1",
                "tekton_pipelines_controller_taskrun_total{status=\"cancelled\"} 1",
                "tekton_pipelines_controller_taskrun_duration_seconds_bucket{le=\"30.0\",namespace=\"ns\",status=\"success\",task=\"t\"} 1",
                "tekton_pipelines_controller_pipelinerun_taskrun_duration_seconds_sum{namespace=\"ns\",status=\"cancelled\",reason=\"TaskRunCancelled\",task=\"a\",taskrun=\"run\",pipeline=\"p\",pipelinerun=\"pr\"} 20",
                "tekton_pipelines_controller_pipelinerun_total{status=\"failed\"} 1",
                "tekton_pipelines_controller_pipelinerun_duration_seconds_count{namespace=\"ns\",status=\"failed\",pipeline=\"anonymous\"} 1",
            ],
        );
        // From now on only the last value of each.
        let last = settings(&[
            ("metrics.pipelinerun.duration-type", "lastvalue"),
            ("metrics.pipelinerun.level", "namespace"),
        ]);
        metrics.pipeline_run_ended(&whole, &whole, last);
        check(
            &registry,
            &[
                "# TYPE tekton_pipelines_controller_pipelinerun_duration_seconds gauge",
                "tekton_pipelines_controller_pipelinerun_duration_seconds{namespace=\"ns\",status=\"failed\"} 20",
            ],
        );
        assert_eq!(
            text(&registry)
                .matches("# TYPE tekton_pipelines_controller_pipelinerun_duration_seconds ")
                .count(),
            1
        );
    }

    #[test]
    fn what_is_under_way_is_counted_as_tekton_does() {
        let mut registry = Registry::with_prefix("tekton_pipelines_controller");
        let metrics = Tekton::new(&mut registry);
        let mut running = Running::new(settings(&[
            ("metrics.running-pipelinerun.level", "pipeline"),
            ("metrics.taskrun.throttle.enable-namespace", "true"),
        ]));
        for (status, reason) in [
            ("Unknown", "Running"),
            ("Unknown", "ExceededNodeResources"),
            ("Unknown", "ResolvingTaskRef"),
            ("True", "Succeeded"),
        ] {
            running.add_task_run(&run(&json!({}), &json!({}), status, reason));
            running.add_pipeline_run(&run(
                &json!({}),
                &json!({"pipelineRef": {"name": "p"}}),
                status,
                reason,
            ));
        }
        metrics.measure(&running);
        let lines = [
            "tekton_pipelines_controller_running_taskruns 3",
            "tekton_pipelines_controller_running_taskruns_waiting_on_task_resolution_count 1",
            "tekton_pipelines_controller_running_taskruns_throttled_by_node{namespace=\"ns\"} 1",
            "tekton_pipelines_controller_running_pipelineruns 3",
            "tekton_pipelines_controller_running_pipelineruns{namespace=\"ns\",pipeline=\"p\"} 3",
            "tekton_pipelines_controller_running_pipelineruns_waiting_on_task_resolution 1",
        ];
        check(&registry, &lines);
        metrics.measure(&Running::new(settings(&[])));
        check(&registry, &["tekton_pipelines_controller_running_pipelineruns 0"]);
        assert!(!text(&registry).contains("pipeline=\"p\""), "what has ended is gone");
    }
}
