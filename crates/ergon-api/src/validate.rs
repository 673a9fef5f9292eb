//! Whether an object makes sense: what admission refuses, and `ergon lint` shows.
//!
//! Pure: an object goes in, errors come out, all that can be seen at once. What needs other objects (does the Task
//! exist, do its parameters fit) or the graph (cycles) is found later, in `ergon-engine`.
//!
//! Under `tekton.dev` exactly what Tekton's admission refuses is refused, and messages begin with its words. Under
//! `ergon.dev` more is: all that is surely a mistake, such as a variable that nothing provides.

mod conditions;
mod gates;
mod names;
mod params;
mod pipeline;
mod references;
mod run;
mod scope;
mod scripts;
mod step;
mod tags;
mod task;

use std::fmt;

use kube_core::ObjectMeta;

pub use run::{pipeline_run_update, task_run_update};

use crate::config::ApiFields;
use crate::{
    Config, CustomRun, Group, Pipeline, PipelineRun, PipelineSpec, StepAction, Task, TaskRun, TaskSpec,
    language,
};

/// Says what is wrong with an object.
pub trait Validate {
    /// All that is wrong, in the order of the fields; empty when the object is valid.
    fn validate(&self, config: &Config) -> Vec<FieldError>;
}

/// Something wrong with a field. It is written as Tekton writes it: the message, then the field.
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
        f.write_str(&self.message)?;
        // Some messages name several fields, this one among them.
        let is_named =
            [": ", ", "].iter().any(|before| self.message.contains(&format!("{before}{}", self.path)));
        if !self.path.is_empty() && !is_named {
            write!(f, ": {}", self.path)?;
        }
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
pub fn task_spec(group: Group, spec: &TaskSpec, config: &Config) -> Vec<FieldError> {
    let mut errors = Errors::new(group, config);
    tags::read(
        &mut errors,
        spec,
        |spec| language::task_tags(spec, "spec"),
        |errors, spec| {
            task::check(errors, "spec", spec, &scope::Scope::default());
            gates::task(errors, "spec", spec);
        },
    );
    errors.found
}

/// What is wrong with a Pipeline that was fetched from somewhere. Paths start at `spec`.
pub fn pipeline_spec(group: Group, spec: &PipelineSpec, config: &Config) -> Vec<FieldError> {
    let mut errors = Errors::new(group, config);
    tags::read(
        &mut errors,
        spec,
        |spec| language::pipeline_tags(spec, "spec"),
        |errors, spec| {
            pipeline::check(errors, "spec", spec, &pipeline::Around::Nothing);
            gates::pipeline(errors, "spec", spec);
        },
    );
    errors.found
}

impl Validate for Task {
    fn validate(&self, config: &Config) -> Vec<FieldError> {
        let mut errors = Errors::new(self.group(), config);
        check_metadata(&mut errors, &self.metadata);
        tags::read(
            &mut errors,
            &self.spec,
            |spec| language::task_tags(spec, "spec"),
            |errors, spec| {
                task::check(errors, "spec", spec, &scope::Scope::default());
                gates::task(errors, "spec", spec);
            },
        );
        errors.found
    }
}

impl Validate for Pipeline {
    fn validate(&self, config: &Config) -> Vec<FieldError> {
        let mut errors = Errors::new(self.group(), config);
        check_metadata(&mut errors, &self.metadata);
        tags::read(
            &mut errors,
            &self.spec,
            |spec| language::pipeline_tags(spec, "spec"),
            |errors, spec| {
                pipeline::check(errors, "spec", spec, &pipeline::Around::Nothing);
                gates::pipeline(errors, "spec", spec);
            },
        );
        errors.found
    }
}

impl Validate for StepAction {
    fn validate(&self, config: &Config) -> Vec<FieldError> {
        let mut errors = Errors::new(self.group(), config);
        check_metadata(&mut errors, &self.metadata);
        tags::read(
            &mut errors,
            &self.spec,
            |spec| language::action_tags(spec, "spec"),
            |errors, spec| {
                step::check_action(errors, "spec", spec);
                gates::step_action(errors, "spec", spec);
            },
        );
        errors.found
    }
}

impl Validate for TaskRun {
    fn validate(&self, config: &Config) -> Vec<FieldError> {
        let is_read_already = language::is_read_already(self);
        let mut errors = Errors::new(self.group(), config);
        errors.is_read_already = is_read_already;
        check_metadata(&mut errors, &self.metadata);
        let read = |run: &mut TaskRun| match &mut run.spec.task_spec {
            Some(spec) if !is_read_already => language::task_tags(spec, "spec.taskSpec"),
            _ => language::Tags::default(),
        };
        tags::read(&mut errors, self, read, |errors, run| {
            run::check_task_run(errors, run);
            gates::task_run(errors, &run.spec);
        });
        errors.found
    }
}

impl Validate for PipelineRun {
    fn validate(&self, config: &Config) -> Vec<FieldError> {
        let mut errors = Errors::new(self.group(), config);
        check_metadata(&mut errors, &self.metadata);
        let read = |run: &mut PipelineRun| match &mut run.spec.pipeline_spec {
            Some(spec) => language::pipeline_tags(spec, "spec.pipelineSpec"),
            None => language::Tags::default(),
        };
        tags::read(&mut errors, self, read, |errors, run| {
            run::check_pipeline_run(errors, run);
            gates::pipeline_run(errors, &run.spec);
        });
        errors.found
    }
}

impl Validate for CustomRun {
    fn validate(&self, config: &Config) -> Vec<FieldError> {
        let mut errors = Errors::new(self.group(), config);
        check_metadata(&mut errors, &self.metadata);
        run::check_custom_run(&mut errors, &self.spec);
        errors.found
    }
}

/// Collects errors, and knows what the installation allows.
pub(crate) struct Errors<'c> {
    found: Vec<FieldError>,
    group: Group,
    /// The tags of what is checked were read before: only scripts that were bound then have any.
    is_read_already: bool,
    config: &'c Config,
}

/// So many errors are enough for one object: whoever wrote it has to mend these first.
const ENOUGH: usize = 100;

impl<'c> Errors<'c> {
    fn new(group: Group, config: &'c Config) -> Self {
        Self { found: Vec::new(), group, is_read_already: false, config }
    }

    /// Runs checks that Tekton does not make: not under its group.
    fn ours(&mut self, check: impl FnOnce(&mut Self)) {
        self.ours_if(true, check);
    }

    /// Runs checks, which Tekton does not make if `is_ours`.
    fn ours_if(&mut self, is_ours: bool, check: impl FnOnce(&mut Self)) {
        if !is_ours || self.group == Group::Ergon {
            check(self);
        }
    }

    /// True when there are enough errors, and looking for more is not worth its time.
    fn is_full(&self) -> bool {
        self.found.len() >= ENOUGH
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

    fn push(&mut self, error: FieldError) {
        if !self.is_full() {
            self.found.push(error);
        }
    }

    fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.push(FieldError { path: path.into(), message: message.into(), help: None });
    }

    fn add_with_help(
        &mut self,
        path: impl Into<String>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.push(FieldError { path: path.into(), message: message.into(), help: Some(help.into()) });
    }

    fn missing(&mut self, path: &str, field: &str) {
        self.add(format!("{path}.{field}"), "missing field(s)");
    }

    /// Exactly one of these fields must be set.
    fn exactly_one(&mut self, path: &str, fields: &[(&str, bool)]) {
        let list = |names: &mut dyn Iterator<Item = &str>| {
            names.map(|name| format!("{path}.{name}")).collect::<Vec<_>>().join(", ")
        };
        let set: Vec<&str> = fields.iter().filter(|(_, set)| *set).map(|(name, _)| *name).collect();
        match set.as_slice() {
            [_] => {}
            [] => self.add(
                path,
                format!(
                    "expected exactly one, got neither: {}",
                    list(&mut fields.iter().map(|(name, _)| *name))
                ),
            ),
            [_, second, ..] => {
                let count = if set.len() > 2 { "multiple" } else { "both" };
                self.add(
                    format!("{path}.{second}"),
                    format!("expected exactly one, got {count}: {}", list(&mut set.iter().copied())),
                );
            }
        }
    }

    /// Every name once. `message` makes the message from the name and the places of its first and this use.
    fn unique<'a>(
        &mut self,
        path: &str,
        names: impl Iterator<Item = &'a str>,
        message: impl Fn(&str, usize, usize) -> String,
    ) {
        let mut seen = std::collections::BTreeMap::new();
        for (index, name) in names.enumerate() {
            if name.is_empty() {
                continue;
            }
            if let Some(first) = seen.get(name) {
                self.add_with_help(
                    format!("{path}[{index}].name"),
                    message(name, *first, index),
                    format!("`{name}` is already declared as {path}[{first}]"),
                );
            } else {
                seen.insert(name, index);
            }
        }
    }

    /// [`Errors::unique`], with Tekton's words for names that only one item of a list may have.
    fn one_each<'a>(&mut self, path: &str, names: impl Iterator<Item = &'a str>) {
        self.unique(path, names, |_, _, _| "expected exactly one, got both".to_owned());
    }

    /// [`Errors::one_each`], where names that differ only in case are the same.
    fn one_each_ignoring_case<'a>(&mut self, path: &str, names: impl Iterator<Item = &'a str>) {
        let names: Vec<String> = names.map(str::to_lowercase).collect();
        self.one_each(path, names.iter().map(String::as_str));
    }
}

/// An object's name ends up in labels of its runs and pods, hence at most 63 characters.
fn check_metadata(errors: &mut Errors, metadata: &ObjectMeta) {
    let name = metadata.name.as_deref().unwrap_or_default();
    let prefix = metadata.generate_name.as_deref().unwrap_or_default();
    if name.is_empty() && prefix.is_empty() {
        errors.add_with_help("metadata.name", "missing field(s)", "write `name` or `generateName`");
    }
    if !name.is_empty()
        && let Err((message, help)) = names::object_name(name)
    {
        errors.add_with_help("metadata.name", message, help);
    }
}
