//! Whether an object makes sense: what admission refuses, and `ergon lint` shows.
//!
//! Pure: an object goes in, errors come out, all that can be seen at once. What needs other objects (does the Task
//! exist, do its parameters fit) or the graph (cycles) is found later, in `ergon-engine`.

mod gates;
mod names;
mod params;
mod pipeline;
mod references;
mod run;
mod scope;
mod step;
mod task;

use std::fmt;

use kube_core::ObjectMeta;

pub use run::{pipeline_run_update, task_run_update};

use crate::config::ApiFields;
use crate::{Config, CustomRun, Pipeline, PipelineRun, PipelineSpec, StepAction, Task, TaskRun, TaskSpec};

/// Says what is wrong with an object.
pub trait Validate {
    /// All that is wrong, in the order of the fields; empty when the object is valid.
    fn validate(&self, config: &Config) -> Vec<FieldError>;
}

/// Something wrong with a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The field, such as `spec.steps[0].image`.
    pub path: String,
    /// What is wrong, as a fragment in lower case.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for FieldError {}

/// The errors in one line, for an admission webhook's answer or a condition's message.
pub fn summary(errors: &[FieldError]) -> String {
    errors.iter().map(FieldError::to_string).collect::<Vec<_>>().join("; ")
}

/// What is wrong with a Task that was fetched from somewhere. Paths start at `spec`.
pub fn task_spec(spec: &TaskSpec, config: &Config) -> Vec<FieldError> {
    let mut errors = Errors::new(config);
    task::check(&mut errors, "spec", spec, &scope::Scope::default());
    gates::task(&mut errors, "spec", spec);
    errors.found
}

/// What is wrong with a Pipeline that was fetched from somewhere. Paths start at `spec`.
pub fn pipeline_spec(spec: &PipelineSpec, config: &Config) -> Vec<FieldError> {
    let mut errors = Errors::new(config);
    pipeline::check(&mut errors, "spec", spec, &scope::Scope::default());
    gates::pipeline(&mut errors, "spec", spec);
    errors.found
}

impl Validate for Task {
    fn validate(&self, config: &Config) -> Vec<FieldError> {
        let mut errors = Errors::new(config);
        check_metadata(&mut errors, &self.metadata);
        task::check(&mut errors, "spec", &self.spec, &scope::Scope::default());
        gates::task(&mut errors, "spec", &self.spec);
        errors.found
    }
}

impl Validate for Pipeline {
    fn validate(&self, config: &Config) -> Vec<FieldError> {
        let mut errors = Errors::new(config);
        check_metadata(&mut errors, &self.metadata);
        pipeline::check(&mut errors, "spec", &self.spec, &scope::Scope::default());
        gates::pipeline(&mut errors, "spec", &self.spec);
        errors.found
    }
}

impl Validate for StepAction {
    fn validate(&self, config: &Config) -> Vec<FieldError> {
        let mut errors = Errors::new(config);
        check_metadata(&mut errors, &self.metadata);
        step::check_action(&mut errors, "spec", &self.spec);
        gates::step_action(&mut errors, "spec", &self.spec);
        errors.found
    }
}

impl Validate for TaskRun {
    fn validate(&self, config: &Config) -> Vec<FieldError> {
        let mut errors = Errors::new(config);
        check_metadata(&mut errors, &self.metadata);
        run::check_task_run(&mut errors, &self.spec);
        gates::task_run(&mut errors, &self.spec);
        errors.found
    }
}

impl Validate for PipelineRun {
    fn validate(&self, config: &Config) -> Vec<FieldError> {
        let mut errors = Errors::new(config);
        check_metadata(&mut errors, &self.metadata);
        run::check_pipeline_run(&mut errors, &self.spec);
        gates::pipeline_run(&mut errors, &self.spec);
        errors.found
    }
}

impl Validate for CustomRun {
    fn validate(&self, config: &Config) -> Vec<FieldError> {
        let mut errors = Errors::new(config);
        check_metadata(&mut errors, &self.metadata);
        run::check_custom_run(&mut errors, &self.spec);
        errors.found
    }
}

/// Collects errors, and knows what the installation allows.
pub(crate) struct Errors<'c> {
    found: Vec<FieldError>,
    config: &'c Config,
}

impl<'c> Errors<'c> {
    fn new(config: &'c Config) -> Self {
        Self { found: Vec::new(), config }
    }

    /// Refuses a feature at `path` where `enable-api-fields` does not allow fields so new.
    fn gate(&mut self, path: impl Into<String>, feature: &str, wanted: ApiFields) {
        let set = self.config.features.api_fields;
        if !set.allow(wanted) {
            let words = match wanted {
                ApiFields::Alpha => "\"alpha\"",
                ApiFields::Beta | ApiFields::Stable => "\"alpha\" or \"beta\"",
            };
            self.add(
                path,
                format!(
                    "{feature} requires \"enable-api-fields\" feature gate to be {words} but it is \"{}\"",
                    set.as_str()
                ),
            );
        }
    }

    /// Refuses a feature at `path` whose own flag `key` is off.
    fn flag(&mut self, path: impl Into<String>, feature: &str, key: &str, is_on: bool) {
        if !is_on {
            self.add_with_help(
                path,
                format!("feature flag {key} should be set to true to use {feature}"),
                format!("the installation has `{key}: \"false\"` in ConfigMap `feature-flags`"),
            );
        }
    }

    fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.found.push(FieldError { path: path.into(), message: message.into(), help: None });
    }

    fn add_with_help(
        &mut self,
        path: impl Into<String>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.found.push(FieldError { path: path.into(), message: message.into(), help: Some(help.into()) });
    }

    fn missing(&mut self, path: &str, field: &str) {
        self.add(format!("{path}.{field}"), format!("missing field `{field}`"));
    }

    /// Exactly one of these fields must be set.
    fn exactly_one(&mut self, path: &str, fields: &[(&str, bool)]) {
        let set: Vec<&str> = fields.iter().filter(|(_, set)| *set).map(|(name, _)| *name).collect();
        let all = || fields.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        match set.as_slice() {
            [_] => {}
            [] => self.add(path, format!("expected exactly one, got neither: {}", all())),
            [_, second, ..] => {
                self.add(
                    format!("{path}.{second}"),
                    format!("expected exactly one, got both: {}", set.join(", ")),
                );
            }
        }
    }

    /// Every name once. `field` is the end of the paths, such as `name`.
    fn unique<'a>(&mut self, path: &str, what: &str, names: impl Iterator<Item = &'a str>) {
        let mut seen = std::collections::BTreeMap::new();
        for (index, name) in names.enumerate() {
            if name.is_empty() {
                continue;
            }
            if let Some(first) = seen.get(name) {
                self.add(
                    format!("{path}[{index}].name"),
                    format!("{what} `{name}` is already declared as {path}[{first}]"),
                );
            } else {
                seen.insert(name, index);
            }
        }
    }
}

/// An object's name ends up in labels of its runs and pods, hence at most 63 characters.
fn check_metadata(errors: &mut Errors, metadata: &ObjectMeta) {
    let name = metadata.name.as_deref().unwrap_or_default();
    let prefix = metadata.generate_name.as_deref().unwrap_or_default();
    if name.is_empty() && prefix.is_empty() {
        errors.add_with_help("metadata.name", "missing field `name`", "write `name` or `generateName`");
    }
    if !name.is_empty()
        && let Err(problem) = names::subdomain(name)
    {
        errors.add("metadata.name", problem);
    }
}
