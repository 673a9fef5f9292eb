//! What is filled in when an object is admitted, so that what is stored says what will happen.

use std::collections::BTreeMap;

use kube_core::ObjectMeta;

use crate::{
    Config, CustomRun, Group, ParamSpec, ParamType, Pipeline, PipelineRun, PipelineSpec, PipelineTask,
    PodTemplate, PropertySpec, StepAction, StepResult, Task, TaskRef, TaskRun, TaskSpec, TimeoutFields,
};

/// The annotation on runs and pods with the version of what made them.
pub const RELEASE: &str = "pipeline.tekton.dev/release";

/// Values of labels are limited to this.
const LONGEST_LABEL: usize = 63;
/// The label that says whose run this is.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";

/// Fills in what the user left open. Doing it twice changes nothing.
pub trait SetDefaults {
    /// Fills in what the user left open. `group` is the group that the object is served under, and `config` holds what
    /// the installation gives.
    fn set_defaults(&mut self, group: Group, config: &Config);
}

impl SetDefaults for Task {
    fn set_defaults(&mut self, group: Group, config: &Config) {
        self.spec.set_defaults(group, config);
    }
}

impl SetDefaults for TaskSpec {
    fn set_defaults(&mut self, _: Group, config: &Config) {
        for step_ref in self.steps.iter_mut().filter_map(|step| step.ref_.as_mut()) {
            resolver(step_ref.name.as_ref(), &mut step_ref.resolver, config);
        }
        self.params.iter_mut().for_each(param_type);
        for result in &mut self.results {
            result.type_ = Some(result.effective_type());
            properties(&mut result.properties);
        }
        for StepResult { type_, properties, .. } in self.steps.iter_mut().flat_map(|step| &mut step.results) {
            step_result_type(type_, properties);
        }
    }
}

impl SetDefaults for StepAction {
    fn set_defaults(&mut self, _: Group, _: &Config) {
        self.spec.params.iter_mut().for_each(param_type);
        for StepResult { type_, properties, .. } in &mut self.spec.results {
            step_result_type(type_, properties);
        }
    }
}

impl SetDefaults for Pipeline {
    fn set_defaults(&mut self, group: Group, config: &Config) {
        self.spec.set_defaults(group, config);
    }
}

impl SetDefaults for PipelineSpec {
    fn set_defaults(&mut self, group: Group, config: &Config) {
        self.params.iter_mut().for_each(param_type);
        for task in self.tasks.iter_mut().chain(&mut self.finally) {
            task.set_defaults(group, config);
        }
    }
}

impl SetDefaults for PipelineTask {
    fn set_defaults(&mut self, group: Group, config: &Config) {
        if let Some(task_ref) = &mut self.task_ref {
            if !task_ref.is_custom_task() {
                resolver(task_ref.name.as_ref(), &mut task_ref.resolver, config);
            }
            task_kind(task_ref);
        }
        if let Some(embedded) = &mut self.task_spec
            && !embedded.is_custom_task()
        {
            embedded.task.set_defaults(group, config);
        }
        if let Some(pipeline) = &mut self.pipeline_spec {
            pipeline.set_defaults(group, config);
        }
    }
}

impl SetDefaults for TaskRun {
    fn set_defaults(&mut self, group: Group, config: &Config) {
        managed_by(&mut self.metadata, group, config);
        release(&mut self.metadata, group);
        let spec = &mut self.spec;
        if let Some(task_ref) = &mut spec.task_ref {
            resolver(task_ref.name.as_ref(), &mut task_ref.resolver, config);
            task_kind(task_ref);
            if task_ref.resolver.is_none() {
                definition(&mut self.metadata, group, "task", task_ref.name.as_deref());
            }
        }
        if let Some(task) = &mut spec.task_spec {
            task.set_defaults(group, config);
        }
        spec.timeout.get_or_insert(config.defaults.timeout);
        spec.service_account_name.get_or_insert_with(|| config.defaults.service_account.clone());
        spec.pod_template = pod_template(spec.pod_template.as_ref(), config);
    }
}

impl SetDefaults for PipelineRun {
    fn set_defaults(&mut self, group: Group, config: &Config) {
        managed_by(&mut self.metadata, group, config);
        release(&mut self.metadata, group);
        let spec = &mut self.spec;
        if let Some(reference) = &mut spec.pipeline_ref {
            resolver(reference.name.as_ref(), &mut reference.resolver, config);
        }
        if let Some(pipeline) = &mut spec.pipeline_spec {
            pipeline.set_defaults(group, config);
            // Runs that are made from one template are of one pipeline.
            let generated = self.metadata.generate_name.clone();
            let name = generated.as_deref().map(|name| name.trim_end_matches(['-', '.', '_']));
            let name = name.filter(|name| !name.is_empty()).or(self.metadata.name.as_deref());
            let name = name.map(str::to_owned);
            definition(&mut self.metadata, group, "pipeline", name.as_deref());
        } else if let Some(reference) = &spec.pipeline_ref
            && reference.resolver.is_none()
        {
            definition(&mut self.metadata, group, "pipeline", reference.name.as_deref());
        }
        let timeouts = spec.timeouts.get_or_insert_with(TimeoutFields::default);
        timeouts.pipeline.get_or_insert(config.defaults.timeout);
        let template = spec.task_run_template.get_or_insert_default();
        template.service_account_name.get_or_insert_with(|| config.defaults.service_account.clone());
        template.pod_template = pod_template(template.pod_template.as_ref(), config);
    }
}

impl SetDefaults for CustomRun {
    fn set_defaults(&mut self, _: Group, config: &Config) {
        self.spec.service_account_name.get_or_insert_with(|| config.defaults.service_account.clone());
    }
}

fn managed_by(metadata: &mut ObjectMeta, group: Group, config: &Config) {
    metadata
        .labels
        .get_or_insert_default()
        .entry(MANAGED_BY_LABEL.to_owned())
        .or_insert_with(|| managed_by_value(group, config).to_owned());
}

/// Tools read off Tekton's runs which version made them.
fn release(metadata: &mut ObjectMeta, group: Group) {
    if group == Group::Tekton {
        let annotations = metadata.annotations.get_or_insert_default();
        annotations.entry(RELEASE.to_owned()).or_insert_with(|| env!("CARGO_PKG_VERSION").to_owned());
    }
}

/// The value of [`MANAGED_BY_LABEL`] of runs.
fn managed_by_value(group: Group, config: &Config) -> &str {
    config.defaults.managed_by_label_value.as_deref().unwrap_or(group.managed_by())
}

/// The label that says what is run: tools select by it. What is too long for a label is left out.
fn definition(metadata: &mut ObjectMeta, group: Group, kind: &str, name: Option<&str>) {
    if let Some(name) = name.filter(|name| !name.is_empty() && name.len() <= LONGEST_LABEL) {
        let labels = metadata.labels.get_or_insert_default();
        labels.entry(group.label(kind)).or_insert_with(|| name.to_owned());
    }
}

/// A reference without a name is for the installation's resolver, if it has one.
fn resolver(name: Option<&String>, resolver: &mut Option<String>, config: &Config) {
    if name.is_none() && resolver.is_none() {
        resolver.clone_from(&config.defaults.resolver_type);
    }
}

/// What a run says of its pods, over what the installation says.
fn pod_template(own: Option<&PodTemplate>, config: &Config) -> Option<PodTemplate> {
    PodTemplate::merged(own, config.defaults.pod_template.as_ref())
}

/// A reference by name is to a `Task` unless it says otherwise.
fn task_kind(task_ref: &mut TaskRef) {
    if task_ref.resolver.is_some() {
        return;
    }
    task_ref.kind.get_or_insert_with(|| "Task".to_owned());
}

/// Writes down the type that a parameter's properties or default imply.
fn param_type(param: &mut ParamSpec) {
    param.type_ = Some(param.effective_type());
    properties(&mut param.properties);
}

fn step_result_type(type_: &mut Option<ParamType>, keys: &mut BTreeMap<String, PropertySpec>) {
    let implied = if keys.is_empty() { ParamType::String } else { ParamType::Object };
    type_.get_or_insert(implied);
    properties(keys);
}

fn properties(properties: &mut BTreeMap<String, PropertySpec>) {
    for property in properties.values_mut() {
        property.type_.get_or_insert(ParamType::String);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_task_run_gets_what_tekton_gives() {
        let mut run: TaskRun = serde_json::from_value(json!({
            "apiVersion": "tekton.dev/v1", "kind": "TaskRun", "metadata": {"name": "x"},
            "spec": {"taskRef": {"name": "t"}}
        }))
        .unwrap();
        run.set_defaults(Group::Tekton, &Config::default());
        let once = run.clone();
        run.set_defaults(Group::Tekton, &Config::default());
        assert_eq!(run, once);
        assert_eq!(
            serde_json::to_value(&run).unwrap(),
            json!({
                "apiVersion": "tekton.dev/v1", "kind": "TaskRun",
                "metadata": {"name": "x", "annotations": {RELEASE: env!("CARGO_PKG_VERSION")}, "labels": {
                    "app.kubernetes.io/managed-by": "tekton-pipelines", "tekton.dev/task": "t"}},
                "spec": {"taskRef": {"name": "t", "kind": "Task"}, "timeout": "1h0m0s", "serviceAccountName": "default"}
            })
        );
    }

    #[test]
    fn what_is_set_stays() {
        let mut run: PipelineRun = serde_json::from_value(json!({
            "metadata": {"labels": {"app.kubernetes.io/managed-by": "me"}},
            "spec": {"timeouts": {"pipeline": "0"}, "taskRunTemplate": {"serviceAccountName": "bot"}}
        }))
        .unwrap();
        run.set_defaults(Group::Ergon, &Config::default());
        assert_eq!(run.spec.timeouts.unwrap().pipeline, Some(crate::Duration::ZERO));
        assert_eq!(run.spec.task_run_template.unwrap().service_account_name.as_deref(), Some("bot"));
        assert_eq!(run.metadata.labels.unwrap()[MANAGED_BY_LABEL], "me");
    }

    #[test]
    fn a_pipeline_run_is_labelled_with_what_it_runs() {
        for (metadata, spec, expected) in [
            (json!({"name": "r"}), json!({"pipelineRef": {"name": "p"}}), Some("p")),
            (json!({"name": "r"}), json!({"pipelineSpec": {}}), Some("r")),
            (json!({"generateName": "r-"}), json!({"pipelineSpec": {}}), Some("r")),
            (
                json!({"name": "r", "labels": {"tekton.dev/pipeline": "q"}}),
                json!({"pipelineSpec": {}}),
                Some("q"),
            ),
            (json!({"name": "r"}), json!({"pipelineRef": {"resolver": "git"}}), None),
        ] {
            let mut run: PipelineRun =
                serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap();
            run.set_defaults(Group::Tekton, &Config::default());
            let labels = run.metadata.labels.unwrap();
            assert_eq!(labels.get("tekton.dev/pipeline").map(String::as_str), expected, "{spec}");
        }
    }

    #[test]
    fn the_installation_s_defaults_are_written_down() {
        let mut config = Config::default();
        let data = [
            ("default-timeout-minutes", "5"),
            ("default-service-account", "bot"),
            ("default-managed-by-label-value", "us"),
            ("default-resolver-type", "git"),
            ("default-pod-template", "{nodeSelector: {disk: ssd}, priorityClassName: low}"),
        ];
        let data = data.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        assert_eq!(config.take(crate::config::ConfigName::Defaults, &data), []);
        let mut run: TaskRun = serde_json::from_value(json!({
            "metadata": {"name": "x"},
            "spec": {"taskRef": {"params": []}, "podTemplate": {"priorityClassName": "high"}}
        }))
        .unwrap();
        run.set_defaults(Group::Tekton, &config);
        let once = run.clone();
        run.set_defaults(Group::Tekton, &config);
        assert_eq!(run, once);
        let value = serde_json::to_value(&run).unwrap();
        assert_eq!(value["metadata"]["labels"][MANAGED_BY_LABEL], "us");
        assert_eq!(
            value["spec"],
            json!({
                "taskRef": {"resolver": "git"}, "timeout": "5m0s", "serviceAccountName": "bot",
                "podTemplate": {"nodeSelector": {"disk": "ssd"}, "priorityClassName": "high"}
            })
        );
        let mut run: PipelineRun =
            serde_json::from_value(json!({"spec": {"pipelineRef": {"name": "p"}}})).unwrap();
        run.set_defaults(Group::Tekton, &config);
        assert_eq!(
            serde_json::to_value(&run.spec).unwrap(),
            json!({
                "pipelineRef": {"name": "p"}, "timeouts": {"pipeline": "5m0s"}, "taskRunTemplate": {
                    "serviceAccountName": "bot",
                    "podTemplate": {"nodeSelector": {"disk": "ssd"}, "priorityClassName": "low"}
                }
            })
        );
    }

    #[test]
    fn types_follow_from_properties_and_defaults() {
        let mut task: TaskSpec = serde_json::from_value(json!({
            "params": [
                {"name": "text"}, {"name": "list", "default": ["a"]}, {"name": "map", "properties": {"key": {}}},
                {"name": "number", "default": 5}
            ],
            "results": [{"name": "r"}, {"name": "o", "properties": {"key": {}}}]
        }))
        .unwrap();
        task.set_defaults(Group::Ergon, &Config::default());
        let types: Vec<_> = task.params.iter().map(|param| param.type_.unwrap()).collect();
        assert_eq!(types, [ParamType::String, ParamType::Array, ParamType::Object, ParamType::String]);
        assert_eq!(task.params[2].properties["key"].type_, Some(ParamType::String));
        assert_eq!(task.params[3].default, Some(crate::ParamValue::from("5")));
        assert_eq!(task.results[1].type_, Some(ParamType::Object));
    }
}
