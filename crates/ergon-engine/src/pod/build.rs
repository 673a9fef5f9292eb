//! Putting the pod together.

use std::collections::BTreeMap;

use ergon_api::defaults::MANAGED_BY_LABEL;
use ergon_api::{Config, Group, Step, TaskRun, TaskSpec, WorkspaceBinding};
use ergon_wire::{PLAN_VERSION, PodPlan, StepPlan, TaskPlan};
use k8s_openapi::api::core::v1::{
    Container, EnvVar, PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, PodSpec,
    ResourceRequirements, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube_core::{Resource, ResourceExt as _};

use super::sidecar::Made;
use super::{
    AGENT, Account, POD_LABEL, Platform, PodError, STAY, account, affinity, merge, resources, security,
    sidecar, step, template, volumes,
};
use crate::name;
use crate::task::inputs::{Resolved, task_name};
use crate::task::paths::{self, step_container};
use crate::{Library, labels};

/// What a pod is made of.
#[derive(Debug, Clone, Copy)]
pub struct PodInput<'a> {
    pub group: Group,
    pub run: &'a TaskRun,
    pub resolved: &'a Resolved,
    pub name: &'a str,
    pub library: &'a Library,
    pub config: &'a Config,
    pub platform: &'a Platform,
}

/// One environment variable may have 128 KiB on Linux: a longer plan goes in several, with room for each `$` to double.
const PLAN_CHUNK: usize = 48 << 10;
/// The names of those variables, with a number behind.
const PLAN_VARIABLE: &str = "ERGON_PLAN_";

/// The pod of a task run, and the claims that must be there before it.
///
/// # Errors
/// What the user must mend: a step without a command, a workspace bound to nothing.
pub fn build(input: &PodInput<'_>) -> Result<(Pod, Vec<PersistentVolumeClaim>), PodError> {
    let run = input.run;
    template::check(&input.resolved.wishes.pod_template)?;
    let none = Account::default();
    let account_name = account::account_name(run, input.config);
    let account = input.library.accounts.get(account_name).and_then(Option::as_ref).unwrap_or(&none);
    let credentials = account::credentials(input.group, account, input.config)?;
    let wishes = &input.resolved.wishes;
    let pod_template = &wishes.pod_template;
    let (bindings, claims) = claims(input);
    let spec = &input.resolved.spec;

    let (steps_see, sidecars_see) = (volumes::shared(input.group), volumes::beside(input.group));
    let seen = |by_all: &[VolumeMount], used: &[ergon_api::WorkspaceUsage]| {
        let mut mounts = by_all.to_vec();
        for declaration in &spec.workspaces {
            let Some(binding) = bindings.get(&declaration.name) else { continue };
            let usage = used.iter().find(|usage| usage.name == declaration.name);
            // A workspace that some steps or sidecars name is isolated: only they see it.
            if usage.is_some() || !is_isolated(spec, &declaration.name) {
                let path = usage.map(|usage| usage.mount_path.as_str()).filter(|path| !path.is_empty());
                mounts.push(volumes::workspace_mount(declaration, binding, path));
            }
        }
        mounts
    };

    let forbidden = &input.config.defaults.forbidden_env;
    let extra_env: Vec<EnvVar> =
        pod_template.env.iter().filter(|variable| !forbidden.contains(&variable.name)).cloned().collect();
    let hermetic = labels::is_hermetic(run);
    let extra_env = if hermetic { merge::env(&[&extra_env, &[is_hermetic()]]) } else { extra_env };
    let merged = merge::steps(spec, wishes);
    let credentials_dir = names_credentials(input.group, &merged).then(|| paths::credentials(input.group));
    let mut steps = Vec::with_capacity(merged.len());
    let mut plans = Vec::with_capacity(merged.len());
    for (at, item) in merged.iter().enumerate() {
        let mut mounts = seen(&steps_see, &item.workspaces);
        let container = step_container(&item.name, at);
        match (&credentials, &credentials_dir) {
            (Some(credentials), _) => mounts.extend(account::credential_mounts(credentials, &container)),
            (None, Some(dir)) => mounts.push(account::folder_mount(dir, &container)),
            (None, None) => {}
        }
        steps.push(step::container(input, item, at, &mounts, &extra_env)?);
        plans.push(StepPlan { credentials: credentials.clone(), hermetic, ..step::plan(input, item, at)? });
    }
    let defaults = &input.config.defaults.container_resources;
    resources::fill(defaults, &mut steps);
    if wishes.compute_resources.is_none() {
        resources::request_the_peak(&mut steps);
    }
    let mut init_containers: Vec<Container> =
        (!input.platform.image_volumes).then(|| place(input.platform)).into_iter().collect();
    let (mut sidecars, mut beside) = (Vec::new(), Vec::new());
    for (at, item) in merge::sidecars(spec, wishes).iter().enumerate() {
        let mounts = seen(&sidecars_see, &item.workspaces);
        match sidecar::make(input.group, item, at, &mounts, input.library, input.config)? {
            Made::Native(container) => init_containers.push(container),
            Made::Ordinary(container, plan) => {
                sidecars.push(container);
                beside.push(plan);
            }
        }
    }
    resources::fill(defaults, &mut init_containers);
    resources::fill(defaults, &mut sidecars);
    let plan = PodPlan {
        version: PLAN_VERSION,
        tasks: vec![TaskPlan {
            name: run.name().to_owned(),
            retry: 0,
            steps: plans,
            sidecars: beside,
            results: spec.results.iter().map(|result| result.name.clone()).collect(),
        }],
        report: input.platform.report.clone(),
        pipeline: None,
    };
    // Containers start in this order: the agent should listen when the first shim looks for it, and the steps wait for
    // the sidecars.
    let mut containers = Vec::with_capacity(sidecars.len() + steps.len() + 1);
    let agent = agent(input.platform, &plan);
    if input.group == Group::Tekton && !sidecars.is_empty() {
        // Who counts the containers of a Tekton pod with sidecars finds its steps and its sidecars.
        let at = init_containers.len().min(usize::from(!input.platform.image_volumes));
        init_containers.insert(at, apart(agent));
    } else {
        containers.push(agent);
    }
    containers.extend(sidecars);
    containers.extend(steps);
    for containers in [&mut containers, &mut init_containers] {
        resources::obey(input.library.limit_ranges.as_deref().unwrap_or_default(), containers, merged.len());
    }

    let mut volumes = volumes::ours(input.platform);
    match &credentials {
        Some(credentials) => volumes.extend(account::credential_volumes(credentials)),
        None => volumes.extend(credentials_dir.map(|_| account::folder())),
    }
    let workspaces = volumes::workspaces(&bindings)?;
    let mut place = affinity::Place::of(input.group, run, &workspaces, input.config);
    volumes.extend(workspaces);
    volumes.extend(pod_template.volumes.iter().cloned());
    volumes.extend(spec.volumes.iter().cloned());

    let foreign = volumes.iter().any(|volume| {
        volume.persistent_volume_claim.is_some() || volume.csi.is_some() || volume.ephemeral.is_some()
    });
    let mut pod_spec = PodSpec {
        containers,
        init_containers: step::some(init_containers),
        volumes: step::some(volumes),
        restart_policy: Some("Never".to_owned()),
        active_deadline_seconds: Some(last_resort(run, input.config)),
        service_account_name: Some(account_name.to_owned()),
        // Tekton's steps have always had the service account's token; ours get it when they ask.
        automount_service_account_token: (input.group == Group::Ergon).then_some(false),
        enable_service_links: (input.group == Group::Ergon).then_some(false),
        security_context: security::pod(input.group, pod_template.security_context.as_ref(), foreign),
        ..Default::default()
    };
    template::apply(pod_template, &mut pod_spec);
    let metadata = metadata(input, std::mem::take(&mut place.labels));
    pod_spec.affinity = place.add_to(pod_spec.affinity);
    Ok((Pod { metadata, spec: Some(pod_spec), status: None }, claims))
}

/// What tells a step that it has no network.
fn is_hermetic() -> EnvVar {
    EnvVar { name: "TEKTON_HERMETIC".to_owned(), value: Some("1".to_owned()), ..Default::default() }
}

/// Whether a step speaks of the folder for credentials, which is then there even if it is empty.
fn names_credentials(group: Group, steps: &[Step]) -> bool {
    let path = paths::credentials(group);
    serde_json::to_string(steps).is_ok_and(|text| text.contains(&path))
}

fn is_isolated(spec: &TaskSpec, workspace: &str) -> bool {
    let steps = spec.steps.iter().flat_map(|step| &step.workspaces);
    let sidecars = spec.sidecars.iter().flat_map(|sidecar| &sidecar.workspaces);
    steps.chain(sidecars).any(|used| used.name == workspace)
}

/// The workspaces' bindings with a claim's name in place of each template, and those claims.
fn claims(input: &PodInput<'_>) -> (BTreeMap<String, WorkspaceBinding>, Vec<PersistentVolumeClaim>) {
    let mut claims = Vec::new();
    let mut bindings = input.resolved.workspaces.clone();
    for (name, binding) in &mut bindings {
        if let Some(template) = binding.volume_claim_template.take() {
            let claim = claim(input.group, input.run, name, template);
            binding.persistent_volume_claim =
                Some(PersistentVolumeClaimVolumeSource { claim_name: claim.name_any(), read_only: None });
            claims.push(claim);
        }
    }
    (bindings, claims)
}

/// The claim that a run's workspace template asks for: owned by the run, so that it goes with it.
pub(crate) fn claim<Run: Resource<DynamicType = Group>>(
    group: Group,
    run: &Run,
    workspace: &str,
    template: PersistentVolumeClaim,
) -> PersistentVolumeClaim {
    let uid = run.meta().uid.clone().unwrap_or_default();
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(name::derived(template.metadata.name.as_deref().unwrap_or("pvc"), &uid, workspace)),
            namespace: run.meta().namespace.clone(),
            owner_references: run.controller_owner_ref(&group).map(|owner| vec![owner]),
            labels: template.metadata.labels,
            annotations: template.metadata.annotations,
            ..Default::default()
        },
        spec: template.spec,
        status: None,
    }
}

fn metadata(input: &PodInput<'_>, more: BTreeMap<String, String>) -> ObjectMeta {
    let run = input.run;
    let mut labels = labels::task_run(input.group, run, &task_name(input.group, run));
    labels.insert(POD_LABEL.to_owned(), PLAN_VERSION.to_string());
    labels.extend(more);
    ObjectMeta {
        name: Some(input.name.to_owned()),
        namespace: run.metadata.namespace.clone(),
        labels: Some(labels),
        annotations: Some(annotations(input)),
        owner_references: run.controller_owner_ref(&input.group).map(|owner| vec![owner]),
        ..Default::default()
    }
}

fn annotations(input: &PodInput<'_>) -> BTreeMap<String, String> {
    let own = input.run.metadata.annotations.clone().unwrap_or_default();
    let mut annotations = labels::without_client_annotations(own);
    annotations.remove(MANAGED_BY_LABEL);
    if input.group == Group::Tekton {
        annotations.insert(ergon_api::defaults::RELEASE.to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    }
    annotations
}

/// When the kubelet ends the pod even if no controller is left to do it: well after the run's own time is up.
fn last_resort(run: &TaskRun, config: &Config) -> i64 {
    let limit = run.spec.timeout.unwrap_or(config.defaults.timeout).as_millis();
    if limit <= 0 {
        return i64::from(i32::MAX);
    }
    (limit.saturating_mul(3) / 2000).clamp(1, i64::from(i32::MAX))
}

/// The container that decides inside the pod.
fn agent(platform: &Platform, plan: &PodPlan) -> Container {
    let mut mounts = vec![
        volumes::mount(volumes::RUN, ergon_wire::paths::RUN, false),
        volumes::mount(volumes::STEPS, ergon_wire::paths::STEPS, false),
    ];
    if platform.report.is_some() {
        mounts.push(volumes::mount(volumes::TOKEN, "/ergon/token", true));
    }
    Container {
        name: AGENT.to_owned(),
        image: Some(platform.image.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: Some(vec!["/ergon-agent".to_owned()]),
        env: Some(plan_env(plan)),
        volume_mounts: Some(mounts),
        resources: Some(requests("5m", "16Mi")),
        security_context: Some(security::ours()),
        ..Default::default()
    }
}

/// The same beside the pod's ordinary containers: the kubelet starts it before them and ends it after them.
fn apart(agent: Container) -> Container {
    Container { args: Some(vec![STAY.to_owned()]), restart_policy: Some("Always".to_owned()), ..agent }
}

/// Copies the shim into the pod, on clusters that cannot mount an image.
fn place(platform: &Platform) -> Container {
    Container {
        name: "ergon-place".to_owned(),
        image: Some(platform.image.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: Some(vec![
            "/ergon-shim".to_owned(),
            "--install".to_owned(),
            ergon_wire::paths::BIN.to_owned(),
        ]),
        volume_mounts: Some(vec![volumes::mount(volumes::BIN, ergon_wire::paths::BIN, false)]),
        resources: Some(requests("5m", "16Mi")),
        security_context: Some(security::ours()),
        ..Default::default()
    }
}

fn requests(cpu: &str, memory: &str) -> ResourceRequirements {
    let quantities = [("cpu", cpu), ("memory", memory)];
    ResourceRequirements {
        requests: Some(
            quantities.map(|(name, text)| (name.to_owned(), Quantity(text.to_owned()))).into_iter().collect(),
        ),
        ..Default::default()
    }
}

/// The plan as environment variables. The kubelet expands `$(NAME)` in them and halves each `$$`.
pub(crate) fn plan_env(plan: &PodPlan) -> Vec<EnvVar> {
    let text = serde_json::to_string(plan).unwrap_or_default();
    let mut variables = Vec::new();
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let mut end = rest.len().min(PLAN_CHUNK);
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        let (chunk, after) = rest.split_at(end);
        variables.push(EnvVar {
            name: format!("{PLAN_VARIABLE}{}", variables.len()),
            value: Some(chunk.replace('$', "$$")),
            ..Default::default()
        });
        rest = after;
    }
    variables
}

/// The plan that a pod carries, read back from its agent's variables; none where it is no pod of ours.
pub fn plan_of(pod: &Pod) -> Option<PodPlan> {
    let spec = pod.spec.as_ref()?;
    let mut containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let agent = containers.find(|container| container.name == AGENT)?;
    let text: String = agent
        .env
        .iter()
        .flatten()
        .filter(|variable| variable.name.starts_with(PLAN_VARIABLE))
        .filter_map(|variable| variable.value.as_deref())
        .map(|chunk| chunk.replace("$$", "$"))
        .collect();
    serde_json::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::inputs::resolve;

    fn built(group: Group, spec: serde_json::Value) -> Pod {
        built_with(group, spec, &Config::default())
    }

    fn built_with(group: Group, spec: serde_json::Value, config: &Config) -> Pod {
        let mut run = TaskRun::new(group, "run");
        run.metadata.uid = Some("uid".into());
        run.metadata.labels = Some(BTreeMap::from([(group.label("pipelineRunUID"), "whole".into())]));
        run.spec = serde_json::from_value(spec).unwrap();
        let task = run.spec.task_spec.clone().unwrap();
        let resolved = resolve(group, &run, &task, &BTreeMap::new()).unwrap();
        let platform = Platform { image: "ergon:1".into(), image_volumes: true, report: None };
        let library = Library::default();
        let input = PodInput {
            group,
            run: &run,
            resolved: &resolved,
            name: "run-pod",
            library: &library,
            config,
            platform: &platform,
        };
        build(&input).unwrap().0
    }

    #[test]
    fn the_plan_survives_the_pod_whatever_it_holds() {
        let script = format!("echo $HOME $(date) $$ {}", "ü$".repeat(PLAN_CHUNK));
        let pod = built(
            Group::Ergon,
            serde_json::json!({"taskSpec": {"steps": [{"name": "a", "image": "i", "script": script}]}}),
        );
        let plan = plan_of(&pod).unwrap();
        assert_eq!(
            plan.tasks[0].steps[0].script.as_ref().unwrap().text,
            format!("#!/bin/sh\nset -e\n{script}")
        );
        let agent = &pod.spec.as_ref().unwrap().containers[0];
        let longest =
            agent.env.iter().flatten().filter_map(|variable| variable.value.as_ref()).map(String::len).max();
        assert!(longest.unwrap() < 128 << 10);
    }

    #[test]
    fn pods_that_share_a_claim_run_on_one_node() {
        let pod = built(
            Group::Ergon,
            serde_json::json!({
                "taskSpec": {"workspaces": [{"name": "w"}], "steps": [{"image": "i", "script": "x"}]},
                "workspaces": [{"name": "w", "persistentVolumeClaim": {"claimName": "c"}}],
            }),
        );
        let terms = pod.spec.unwrap().affinity.unwrap().pod_affinity.unwrap();
        let terms = terms.required_during_scheduling_ignored_during_execution.unwrap();
        let wanted = terms[0].label_selector.clone().unwrap().match_labels.unwrap();
        let labels = pod.metadata.labels.unwrap();
        assert!(wanted.iter().all(|(key, value)| labels.get(key) == Some(value)) && !wanted.is_empty());
    }

    #[test]
    fn pods_of_a_run_are_placed_as_the_installation_says() {
        let rules = |mode: &str| {
            let mut config = Config::default();
            let data = BTreeMap::from([("coschedule".to_owned(), mode.to_owned())]);
            assert_eq!(config.take(ergon_api::config::ConfigName::FeatureFlags, &data), []);
            let spec = serde_json::json!({
                "taskSpec": {"workspaces": [{"name": "w"}], "steps": [{"image": "i", "script": "x"}]},
                "workspaces": [{"name": "w", "persistentVolumeClaim": {"claimName": "c"}}],
            });
            let pod = built_with(Group::Tekton, spec, &config);
            let ours: Vec<String> = pod
                .metadata
                .labels
                .unwrap()
                .into_keys()
                .filter(|key| key.starts_with("ergon.dev/claim") || key == "ergon.dev/isolated")
                .collect();
            let affinity = serde_json::to_value(pod.spec.unwrap().affinity).unwrap();
            let selector = |kind: &str| {
                affinity[kind]["requiredDuringSchedulingIgnoredDuringExecution"][0]["labelSelector"].clone()
            };
            (ours.len(), selector("podAffinity"), selector("podAntiAffinity"))
        };
        let null = serde_json::Value::Null;
        let whole = serde_json::json!({"matchLabels": {"tekton.dev/pipelineRunUID": "whole"}});
        let (labels, near, far) = rules("workspaces");
        assert!(labels == 1 && near["matchLabels"].is_object() && near != whole && far == null);
        assert_eq!(rules("pipelineruns"), (0, whole.clone(), null.clone()));
        let others = serde_json::json!({"matchExpressions": [
            {"key": "ergon.dev/isolated", "operator": "Exists"},
            {"key": "ergon.dev/isolated", "operator": "NotIn", "values": ["whole"]},
        ]});
        assert_eq!(rules("isolate-pipelinerun"), (1, whole, others));
        assert_eq!(rules("disabled"), (0, null.clone(), null));
    }

    #[test]
    fn a_sidecar_of_ours_sees_the_workspace_that_the_steps_share() {
        let spec = serde_json::json!({"taskSpec": {
            "steps": [{"name": "a", "image": "i", "script": "x"}],
            "sidecars": [
                {"name": "s", "image": "i", "script": "x", "readinessProbe": {"tcpSocket": {"port": 1}}},
                {"name": "own", "image": "i", "script": "x", "volumeMounts": [{"name": "v", "mountPath": "/workspace"}]},
            ],
            "volumes": [{"name": "v", "emptyDir": {}}],
        }});
        let seen = |group, name: &str| {
            let spec = built(group, spec.clone()).spec.unwrap();
            let mut all = spec.containers.into_iter().chain(spec.init_containers.unwrap_or_default());
            let mounts =
                all.find(|container| container.name == name).unwrap().volume_mounts.unwrap_or_default();
            mounts.into_iter().find(|mount| mount.mount_path == "/workspace").map(|mount| mount.name)
        };
        assert_eq!(seen(Group::Ergon, "sidecar-s"), seen(Group::Ergon, "step-a"));
        assert_eq!(seen(Group::Ergon, "sidecar-own").unwrap(), "v");
        // Tekton gives it to steps alone.
        assert_eq!(seen(Group::Tekton, "sidecar-s"), None);
    }

    #[test]
    fn restricted_by_default_and_as_asked_otherwise() {
        let spec = |security: serde_json::Value| serde_json::json!({"taskSpec": {"steps": [{"name": "a", "image": "i", "script": "x", "securityContext": security}]}});
        let step = |pod: &Pod| pod.spec.as_ref().unwrap().containers[1].security_context.clone();
        let restricted = built(Group::Ergon, spec(serde_json::Value::Null));
        let context = step(&restricted).unwrap();
        assert_eq!(context.allow_privilege_escalation, Some(false));
        assert_eq!(context.capabilities.unwrap().drop, Some(vec!["ALL".to_owned()]));
        let pod_context = restricted.spec.as_ref().unwrap().security_context.clone().unwrap();
        assert_eq!((pod_context.run_as_non_root, pod_context.run_as_user), (Some(true), Some(65532)));

        let root = step(&built(Group::Ergon, spec(serde_json::json!({"runAsUser": 0})))).unwrap();
        assert_eq!((root.run_as_non_root, root.capabilities), (Some(false), None));

        let tekton = built(Group::Tekton, spec(serde_json::Value::Null));
        assert_eq!(step(&tekton), None);
        assert_eq!(tekton.spec.as_ref().unwrap().security_context, None);
    }
}
