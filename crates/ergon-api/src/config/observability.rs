//! ConfigMap `config-observability`: how fine the metrics are that have Tekton's names.

use std::collections::BTreeMap;

use super::read::{Choice, Problem, Reader};

/// How fine the metrics are that have Tekton's names. Ours are by kind and outcome, whatever it says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Observability {
    /// By what the durations of TaskRuns are told apart.
    pub task_runs: TaskRunLevel,
    /// By what the durations of PipelineRuns are told apart.
    pub pipeline_runs: PipelineRunLevel,
    /// By what running PipelineRuns are counted.
    pub running_pipeline_runs: RunningLevel,
    pub task_run_durations: DurationType,
    pub pipeline_run_durations: DurationType,
    /// Durations have the reason as a label.
    pub with_reason: bool,
    /// TaskRuns that wait for room are counted by namespace.
    pub throttled_by_namespace: bool,
}

/// By what TaskRuns are told apart; each word includes those after it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TaskRunLevel {
    TaskRun,
    #[default]
    Task,
    Namespace,
}

impl Choice for TaskRunLevel {
    const ALL: &'static [Self] = &[Self::TaskRun, Self::Task, Self::Namespace];

    fn word(self) -> &'static str {
        match self {
            Self::TaskRun => "taskrun",
            Self::Task => "task",
            Self::Namespace => "namespace",
        }
    }
}

/// By what PipelineRuns are told apart; each word includes those after it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PipelineRunLevel {
    PipelineRun,
    #[default]
    Pipeline,
    Namespace,
}

impl Choice for PipelineRunLevel {
    const ALL: &'static [Self] = &[Self::PipelineRun, Self::Pipeline, Self::Namespace];

    fn word(self) -> &'static str {
        match self {
            Self::PipelineRun => "pipelinerun",
            Self::Pipeline => "pipeline",
            Self::Namespace => "namespace",
        }
    }
}

/// By what running PipelineRuns are counted; each word includes those after it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum RunningLevel {
    /// All together: the empty word.
    #[default]
    Cluster,
    Namespace,
    Pipeline,
    PipelineRun,
}

impl Choice for RunningLevel {
    const ALL: &'static [Self] = &[Self::PipelineRun, Self::Pipeline, Self::Namespace, Self::Cluster];

    fn word(self) -> &'static str {
        match self {
            Self::PipelineRun => "pipelinerun",
            Self::Pipeline => "pipeline",
            Self::Namespace => "namespace",
            Self::Cluster => "",
        }
    }
}

/// How durations are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DurationType {
    #[default]
    Histogram,
    /// Only the last one, as a gauge.
    LastValue,
}

impl Choice for DurationType {
    const ALL: &'static [Self] = &[Self::Histogram, Self::LastValue];

    fn word(self) -> &'static str {
        match self {
            Self::Histogram => "histogram",
            Self::LastValue => "lastvalue",
        }
    }
}

impl Observability {
    pub(super) fn read(data: &BTreeMap<String, String>) -> (Self, Vec<Problem>) {
        let mut all = Self::default();
        let mut reader = Reader::new("config-observability", data);
        reader.choice("metrics.taskrun.level", &mut all.task_runs);
        reader.choice("metrics.pipelinerun.level", &mut all.pipeline_runs);
        reader.choice("metrics.running-pipelinerun.level", &mut all.running_pipeline_runs);
        reader.choice("metrics.taskrun.duration-type", &mut all.task_run_durations);
        reader.choice("metrics.pipelinerun.duration-type", &mut all.pipeline_run_durations);
        reader.flag("metrics.count.enable-reason", &mut all.with_reason);
        reader.flag("metrics.taskrun.throttle.enable-namespace", &mut all.throttled_by_namespace);
        for (key, default) in [
            ("metrics-protocol", "prometheus"),
            ("metrics-endpoint", ""),
            ("metrics-export-interval", ""),
            ("metrics.backend-destination", "prometheus"),
            ("metrics.allow-stackdriver-custom-metrics", "false"),
            ("metrics.request-metrics-backend-destination", "prometheus"),
        ] {
            reader.without_effect(key, default, "metrics are served for Prometheus");
        }
        for (key, default) in
            [("tracing-protocol", "none"), ("tracing-endpoint", ""), ("tracing-sampling-rate", "1.0")]
        {
            reader.without_effect(key, default, "traces are not sent");
        }
        for (key, default) in [("runtime-profiling", "disabled"), ("runtime-export-interval", "15s")] {
            reader.without_effect(key, default, "profiles are not served");
        }
        (all, reader.finish())
    }
}
