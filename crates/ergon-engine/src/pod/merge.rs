//! What steps and sidecars come to, once the step template and the run's own wishes are merged into them.

use ergon_api::{Sidecar, Step, StepTemplate, TaskSpec};
use k8s_openapi::api::core::v1::{EnvVar, VolumeMount};

use super::resources;
use crate::task::inputs::Wishes;

/// A task's steps as its pod has them.
pub(crate) fn steps(task: &TaskSpec, run: &Wishes) -> Vec<Step> {
    let template = task.step_template.as_ref();
    let mut steps: Vec<Step> = task
        .steps
        .iter()
        .map(|step| {
            let mut step = template.map_or_else(|| step.clone(), |template| with_template(step, template));
            if let Some(own) = run.step_specs.iter().find(|own| own.name == step.name) {
                step.compute_resources =
                    objects(step.compute_resources.as_ref(), own.compute_resources.as_ref());
            }
            step
        })
        .collect();
    if let Some(wanted) = &run.compute_resources {
        resources::divide(&mut steps, wanted);
    }
    steps
}

/// A task's sidecars as its pod has them.
pub(super) fn sidecars(task: &TaskSpec, run: &Wishes) -> Vec<Sidecar> {
    let merged = task.sidecars.iter().map(|sidecar| {
        let own = run.sidecar_specs.iter().find(|own| own.name == sidecar.name);
        let own = own.and_then(|own| own.compute_resources.as_ref());
        Sidecar { compute_resources: objects(sidecar.compute_resources.as_ref(), own), ..sidecar.clone() }
    });
    merged.collect()
}

/// Lists of variables in one: a later one of the same name replaces an earlier one in its place.
pub(super) fn env(lists: &[&[EnvVar]]) -> Vec<EnvVar> {
    keyed(lists, |known, variable| known.name == variable.name)
}

/// Mounts in one list: a later one at the same path replaces an earlier one.
pub(super) fn mounts(lists: &[&[VolumeMount]]) -> Vec<VolumeMount> {
    fn plain(path: &str) -> &str {
        if path.len() > 1 { path.trim_end_matches('/') } else { path }
    }
    keyed(lists, |known, mount| plain(&known.mount_path) == plain(&mount.mount_path))
}

/// Two objects in one, field by field: what `over` has wins.
pub(crate) fn objects<T>(base: Option<&T>, over: Option<&T>) -> Option<T>
where
    T: Clone + serde::Serialize + serde::de::DeserializeOwned,
{
    fn fold(base: &mut serde_json::Value, over: serde_json::Value) {
        match (base, over) {
            (serde_json::Value::Object(base), serde_json::Value::Object(over)) => {
                for (key, value) in over {
                    fold(base.entry(key).or_insert(serde_json::Value::Null), value);
                }
            }
            (base, over) => *base = over,
        }
    }
    let (Some(base), Some(over)) = (base, over) else { return over.or(base).cloned() };
    let mut value = serde_json::to_value(base).ok()?;
    fold(&mut value, serde_json::to_value(over).ok()?);
    serde_json::from_value(value).ok().or_else(|| Some(over.clone()))
}

/// A step over its template. Lists without keys are the step's or else the template's, as Tekton merges them.
fn with_template(step: &Step, template: &StepTemplate) -> Step {
    fn one<T: Clone>(own: &[T], template: &[T]) -> Vec<T> {
        if own.is_empty() { template.to_vec() } else { own.to_vec() }
    }
    Step {
        image: step.image.clone().or_else(|| template.image.clone()),
        command: one(&step.command, &template.command),
        args: one(&step.args, &template.args),
        working_dir: step.working_dir.clone().or_else(|| template.working_dir.clone()),
        env_from: one(&step.env_from, &template.env_from),
        env: env(&[&template.env, &step.env]),
        compute_resources: objects(template.compute_resources.as_ref(), step.compute_resources.as_ref()),
        volume_mounts: mounts(&[&template.volume_mounts, &step.volume_mounts]),
        volume_devices: keyed(&[&template.volume_devices, &step.volume_devices], |known, device| {
            known.device_path == device.device_path
        }),
        image_pull_policy: step.image_pull_policy.clone().or_else(|| template.image_pull_policy.clone()),
        security_context: objects(template.security_context.as_ref(), step.security_context.as_ref()),
        ..step.clone()
    }
}

fn keyed<T: Clone>(lists: &[&[T]], same: impl Fn(&T, &T) -> bool) -> Vec<T> {
    let mut merged: Vec<T> = Vec::new();
    for item in lists.iter().copied().flatten() {
        match merged.iter_mut().find(|known| same(known, item)) {
            Some(known) => *known = item.clone(),
            None => merged.push(item.clone()),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use ergon_api::TaskRunSpec;
    use serde_json::json;

    use super::*;

    fn merged(run: serde_json::Value, task: serde_json::Value) -> serde_json::Value {
        let run: TaskRunSpec = serde_json::from_value(run).unwrap();
        let run = Wishes {
            step_specs: run.step_specs,
            compute_resources: run.compute_resources,
            ..Default::default()
        };
        let task: TaskSpec = serde_json::from_value(task).unwrap();
        serde_json::to_value(steps(&task, &run)).unwrap()
    }

    #[test]
    fn a_step_wins_over_its_template() {
        let template = json!({
            "image": "i", "command": ["a"], "args": ["b"], "workingDir": "/w",
            "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
            "envFrom": [{"configMapRef": {"name": "m"}}],
            "volumeMounts": [{"name": "v", "mountPath": "/v"}, {"name": "u", "mountPath": "/u"}],
            "securityContext": {"runAsUser": 1, "privileged": true},
            "computeResources": {"requests": {"cpu": "1", "memory": "1Gi"}},
        });
        let step = json!({
            "name": "s", "args": ["c"],
            "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            "envFrom": [{"secretRef": {"name": "s"}}],
            "volumeMounts": [{"name": "w", "mountPath": "/v/"}],
            "securityContext": {"runAsUser": 2},
            "computeResources": {"requests": {"cpu": "2"}},
        });
        assert_eq!(
            merged(json!({}), json!({"stepTemplate": template, "steps": [step]})),
            json!([{
                "name": "s", "image": "i", "command": ["a"], "args": ["c"], "workingDir": "/w",
                "env": [
                    {"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                    {"name": "B", "value": "2"},
                ],
                "envFrom": [{"secretRef": {"name": "s"}}],
                "volumeMounts": [{"name": "w", "mountPath": "/v/"}, {"name": "u", "mountPath": "/u"}],
                "securityContext": {"runAsUser": 2, "privileged": true},
                "computeResources": {"requests": {"cpu": "2", "memory": "1Gi"}},
            }])
        );
    }

    #[test]
    fn the_run_has_the_last_word_on_resources() {
        let task = json!({"steps": [
            {"name": "a", "computeResources": {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}},
            {"name": "b"},
        ]});
        let own = json!({"stepSpecs": [{"name": "a", "computeResources": {"requests": {"cpu": "3", "memory": "1Gi"}}}]});
        assert_eq!(
            merged(own, task.clone()),
            json!([
                {"name": "a", "computeResources": {"requests": {"cpu": "3", "memory": "1Gi"}, "limits": {"cpu": "2"}}},
                {"name": "b"},
            ])
        );
        let whole = json!({"computeResources": {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}});
        let share = json!({"requests": {"cpu": "500m"}, "limits": {"cpu": "2"}});
        assert_eq!(
            merged(whole, task),
            json!([{"name": "a", "computeResources": share}, {"name": "b", "computeResources": share}])
        );
    }
}
