//! Configuration of the whole installation: the ConfigMaps that Tekton's users know, read into types.
//!
//! Pure: a ConfigMap's data goes in, settings and problems come out. The controller watches the ConfigMaps; a local run
//! has the defaults. **Gates are open by default**: no feature has to be asked for, and setting a key to `false` closes
//! it. Settings of behaviour have Tekton's defaults.

mod defaults;
mod events;
mod features;
mod observability;
mod read;

use std::collections::BTreeMap;
use std::fmt;

pub use defaults::Defaults;
pub use events::Events;
pub use features::{ApiFields, Coschedule, Features, InlineSpecs, NoMatchPolicy, ResultsFrom};
pub use observability::{DurationType, Observability, PipelineRunLevel, RunningLevel, TaskRunLevel};
pub use read::{Problem, Severity};

/// All settings. [`Config::default`] holds where there is no ConfigMap.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Config {
    /// What may be used, and how runs behave: ConfigMap `feature-flags`.
    pub features: Features,
    /// What runs get that they do not say themselves: ConfigMap `config-defaults`.
    pub defaults: Defaults,
    /// Where CloudEvents go: ConfigMap `config-events`.
    pub events: Events,
    /// How fine the metrics are: ConfigMap `config-observability`.
    pub observability: Observability,
}

/// A ConfigMap that settings are read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ConfigName {
    FeatureFlags,
    Defaults,
    Events,
    Observability,
}

impl ConfigName {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::FeatureFlags, Self::Defaults, Self::Events, Self::Observability];

    /// The ConfigMap's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FeatureFlags => "feature-flags",
            Self::Defaults => "config-defaults",
            Self::Events => "config-events",
            Self::Observability => "config-observability",
        }
    }

    /// The one of this name, if settings are read from it.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == name)
    }
}

impl fmt::Display for ConfigName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Config {
    /// Takes over what a ConfigMap says; keys that it does not have get their defaults. With an error among the
    /// problems, everything stays as it was.
    pub fn take(&mut self, name: ConfigName, data: &BTreeMap<String, String>) -> Vec<Problem> {
        let refused = |problems: &[Problem]| problems.iter().any(Problem::is_error);
        match name {
            ConfigName::FeatureFlags => {
                let (features, problems) = Features::read(data);
                if !refused(&problems) {
                    self.features = features;
                }
                problems
            }
            ConfigName::Defaults => {
                let (defaults, problems) = Defaults::read(data);
                if !refused(&problems) {
                    self.defaults = defaults;
                }
                problems
            }
            ConfigName::Events => {
                let (events, problems) = Events::read(data);
                if !refused(&problems) {
                    self.events = events;
                }
                problems
            }
            ConfigName::Observability => {
                let (observability, problems) = Observability::read(data);
                if !refused(&problems) {
                    self.observability = observability;
                }
                problems
            }
        }
    }

    /// Where CloudEvents go; none where nowhere.
    pub fn cloud_events_sink(&self) -> Option<&str> {
        self.events.sink.as_deref().or(self.defaults.cloud_events_sink.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::EmptyDirVolumeSource;

    use super::*;
    use crate::{Duration, WorkspaceBinding};

    fn data(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn told(name: ConfigName, pairs: &[(&str, &str)]) -> (Config, Vec<String>) {
        let mut config = Config::default();
        let problems = config.take(name, &data(pairs));
        (config, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn gates_are_open_until_a_key_closes_them() {
        let open = Config::default().features;
        assert_eq!(open.api_fields, ApiFields::Alpha);
        assert!(open.cel_in_when && open.param_enum && open.artifacts && open.concise_resolver_syntax);
        assert!(open.keep_pod_on_cancel && !open.disable_creds_init);
        let pairs = [
            ("_example", "anything"),
            ("enable-api-fields", "Stable"),
            ("enable-cel-in-whenexpression", "false"),
            ("enable-param-enum", "F"),
            ("keep-pod-on-cancel", "0"),
            ("coschedule", "isolate-pipelinerun"),
            ("max-result-size", "8192"),
            ("disable-inline-spec", "pipeline, taskrun"),
        ];
        let (Config { features, .. }, problems) = told(ConfigName::FeatureFlags, &pairs);
        assert_eq!(problems, [""; 0]);
        assert_eq!(features.api_fields, ApiFields::Stable);
        assert!(!features.cel_in_when && !features.param_enum && !features.keep_pod_on_cancel);
        assert!(features.artifacts);
        assert_eq!((features.coschedule, features.max_result_size), (Coschedule::IsolatePipelineRun, 8192));
        assert_eq!(
            features.disable_inline_spec,
            InlineSpecs { pipeline: true, pipeline_run: false, task_run: true }
        );
    }

    #[test]
    fn what_is_wrong_is_told_and_the_last_good_settings_stay() {
        let mut config = Config::default();
        assert!(config.take(ConfigName::FeatureFlags, &data(&[("coschedule", "disabled")])).is_empty());
        let problems = config.take(
            ConfigName::FeatureFlags,
            &data(&[
                ("coschedule", "pipelinerun"),
                ("enable-artifact", "true"),
                ("max-result-size", "2000000"),
            ]),
        );
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "feature-flags: `max-result-size` is `2000000`: a number from 0 to 1572863 is needed (bytes)",
                "feature-flags: `coschedule` is `pipelinerun`, which is none of workspaces, pipelineruns, \
                 isolate-pipelinerun, disabled, pod (did you mean `pipelineruns`?)",
                "feature-flags: there is no setting `enable-artifact` (did you mean `enable-artifacts`?)",
            ]
        );
        assert_eq!(
            problems.iter().map(|problem| problem.severity).collect::<Vec<_>>(),
            [Severity::Error, Severity::Error, Severity::Warning]
        );
        assert_eq!(config.features.coschedule, Coschedule::Disabled);
        assert!(config.take(ConfigName::FeatureFlags, &BTreeMap::new()).is_empty());
        assert_eq!(config, Config::default());
    }

    #[test]
    fn defaults_are_read() {
        let pairs = [
            ("default-timeout-minutes", "20"),
            ("default-service-account", "tekton"),
            ("default-managed-by-label-value", "me"),
            ("default-pod-template", "nodeSelector:\n  disk: ssd\n"),
            ("default-task-run-workspace-binding", "emptyDir: {}\n"),
            ("default-max-matrix-combinations-count", "4"),
            ("default-forbidden-env", "A, B,"),
            ("default-resolver-type", "git"),
            (
                "default-container-resource-requirements",
                "default:\n  requests: {memory: 64Mi, cpu: 1}\nprefix-scripts:\n  limits: {cpu: 500m}\n",
            ),
            ("default-imagepullbackoff-timeout", "5m"),
            ("default-maximum-resolution-timeout", "30s"),
            ("default-cloud-events-sink", "http://sink"),
        ];
        let (config, problems) = told(ConfigName::Defaults, &pairs);
        assert_eq!(problems, [""; 0]);
        let defaults = &config.defaults;
        assert_eq!(defaults.timeout, Duration::from_secs(1200));
        assert_eq!(defaults.service_account, "tekton");
        assert_eq!(defaults.managed_by_label_value.as_deref(), Some("me"));
        assert_eq!(defaults.pod_template.as_ref().unwrap().node_selector["disk"], "ssd");
        let binding =
            WorkspaceBinding { empty_dir: Some(EmptyDirVolumeSource::default()), ..Default::default() };
        assert_eq!(defaults.task_run_workspace_binding, Some(binding));
        assert_eq!(defaults.max_matrix_combinations, 4);
        assert_eq!(defaults.forbidden_env, ["A", "B"]);
        assert_eq!(defaults.resolver_type.as_deref(), Some("git"));
        let requests = defaults.container_resources["default"].requests.as_ref().unwrap();
        assert_eq!((requests["memory"].0.as_str(), requests["cpu"].0.as_str()), ("64Mi", "1"));
        assert_eq!(defaults.image_pull_back_off_timeout, Duration::from_secs(300));
        assert_eq!(defaults.maximum_resolution_timeout, Duration::from_secs(30));
        assert_eq!(config.cloud_events_sink(), Some("http://sink"));
    }

    #[test]
    fn defaults_that_cannot_be_read_say_where() {
        for (key, value, expected) in [
            ("default-timeout-minutes", "1h", "a number from 0 to"),
            ("default-pod-template", "nodeSelector: [a]", "nodeSelector: invalid type"),
            ("default-pod-template", "nodeSelectr: {a: b}", "there is no field `nodeSelectr`"),
            ("default-pod-template", "a: [", "default-pod-template"),
            ("default-imagepullbackoff-timeout", "5", "missing unit"),
            ("default-imagepullbackoff-timeout", "-5s", "cannot be negative"),
            ("default-affinity-assistant-pod-template", "nodeSelector: {}", "has no effect"),
            ("default-timeout-minute", "5", "did you mean `default-timeout-minutes`?"),
        ] {
            let (config, problems) = told(ConfigName::Defaults, &[(key, value)]);
            assert!(problems.len() == 1 && problems[0].contains(expected), "{problems:?}");
            assert!(problems[0].starts_with("config-defaults: "), "{problems:?}");
            if key != "default-pod-template" {
                assert_eq!(config, Config::default());
            }
        }
    }

    #[test]
    fn events_have_one_format_and_a_sink() {
        let (config, problems) =
            told(ConfigName::Events, &[("formats", "tektonv1"), ("sink", "https://events.sink/x")]);
        assert_eq!((config.cloud_events_sink(), problems.len()), (Some("https://events.sink/x"), 0));
        for (key, value, expected) in [
            ("formats", "", "`formats` is empty"),
            ("formats", "cdevents", "which is none of tektonv1"),
            ("formats", "tektonv1,tektonv1", "stands twice"),
            ("sink", "events.sink", "`http://` or `https://`"),
        ] {
            let (config, problems) = told(ConfigName::Events, &[(key, value)]);
            assert!(problems.len() == 1 && problems[0].contains(expected), "{problems:?}");
            assert_eq!(config, Config::default());
        }
    }

    #[test]
    fn settings_of_metrics_are_words_of_tekton_s() {
        let (config, problems) = told(
            ConfigName::Observability,
            &[
                ("metrics.taskrun.level", "namespace"),
                ("metrics.running-pipelinerun.level", ""),
                ("metric.x", "1"),
            ],
        );
        assert_eq!(config.observability.task_runs, TaskRunLevel::Namespace);
        assert_eq!(problems, ["config-observability: there is no setting `metric.x`"]);
        for (key, value, expected) in [
            ("metrics.taskrun.level", "pipeline", "which is none of taskrun, task, namespace"),
            ("metrics-protocol", "grpc", "`metrics-protocol` is `grpc`, which has no effect"),
        ] {
            let (config, problems) = told(ConfigName::Observability, &[(key, value)]);
            assert!(problems.len() == 1 && problems[0].contains(expected), "{problems:?}");
            assert_eq!(config, Config::default());
        }
    }

    #[test]
    fn the_flags_in_a_status_have_tektons_names() {
        let (config, _) = told(
            ConfigName::FeatureFlags,
            &[("enable-api-fields", "beta"), ("keep-pod-on-cancel", "false"), ("enable-artifacts", "false")],
        );
        let value = serde_json::to_value(&config.features).unwrap();
        assert_eq!(
            value,
            serde_json::json!({
                "runningInEnvWithInjectedSidecars": true, "enableAPIFields": "beta",
                "sendCloudEventsForRuns": true, "awaitSidecarReadiness": true,
                "enforceNonfalsifiability": "none", "verificationNoMatchPolicy": "ignore",
                "enableProvenanceInStatus": true, "resultExtractionMethod": "termination-message",
                "maxResultSize": 4096, "coschedule": "workspaces", "enableCELInWhenExpression": true,
                "enableParamEnum": true, "enableConciseResolverSyntax": true
            })
        );
    }
}
