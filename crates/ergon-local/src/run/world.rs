//! The objects of one run, in memory, and the engine's decisions on them. No containers and no clock here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use ergon_api::{
    Condition, ConditionStatus, Config, CustomRun, CustomRunStatus, Group, PipelineRun,
    PipelineRunSpecStatus, TaskRun, TaskRunSpecStatus, reasons,
};
use ergon_engine::pod::{Account, Platform};
use ergon_engine::task::PodSeen;
use ergon_engine::{Action, Library, Need, Outcome, run, task};
use ergon_wire::PodReport;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use super::Stop;
use super::pod::Finding;

/// Everything that this run is about.
#[derive(Debug)]
pub(super) struct World {
    pub group: Group,
    /// None: the run is a single task run.
    pub pipeline_run: Option<PipelineRun>,
    /// Runs of pipelines that are tasks of others, by name.
    pub parts: BTreeMap<String, PipelineRun>,
    pub custom_runs: BTreeMap<String, CustomRun>,
    pub task_runs: BTreeMap<String, TaskRun>,
    /// The names of those runs that an earlier run has carried out.
    pub reused: BTreeSet<String>,
    /// The tasks of the pipeline that nobody wants to run.
    pub left_out: BTreeSet<String>,
    pub pods: BTreeMap<String, PodState>,
    pub library: Library,
    /// What an installation without ConfigMaps has.
    pub config: Config,
    pub files: Files,
    /// Where claims that do not exist yet are to be.
    pub claims_dir: PathBuf,
    platform: Platform,
    next_uid: u64,
}

/// What containers mount: the claims' folders, and the data of ConfigMaps and Secrets.
#[derive(Debug, Clone, Default)]
pub(super) struct Files {
    pub claims: std::sync::Arc<std::sync::Mutex<BTreeMap<String, PathBuf>>>,
    pub config_maps: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    pub secrets: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
}

#[derive(Debug)]
pub(super) struct PodState {
    pub pod: Pod,
    pub report: Option<PodReport>,
}

/// What the shell is to do.
#[derive(Debug)]
pub(super) enum Effect {
    LookUp(Need),
    StartPod(Box<Pod>),
    EndPod(String),
    /// A claim's folder is to be made.
    MakeClaim(PathBuf),
}

/// What one pass over all objects came to.
#[derive(Debug, Default)]
pub(super) struct Pass {
    pub effects: Vec<Effect>,
    pub changed: bool,
    pub wake_at: Option<Timestamp>,
}

impl World {
    pub fn new(group: Group, files: Files, claims_dir: PathBuf) -> Self {
        Self {
            group,
            pipeline_run: None,
            parts: BTreeMap::new(),
            custom_runs: BTreeMap::new(),
            task_runs: BTreeMap::new(),
            reused: BTreeSet::new(),
            left_out: BTreeSet::new(),
            pods: BTreeMap::new(),
            library: Library::default(),
            config: Config::default(),
            files,
            claims_dir,
            platform: Platform { image: String::new(), image_volumes: true, report: None },
            next_uid: 0,
        }
    }

    /// Gives an object what an API server would.
    pub fn admit(&mut self, metadata: &mut ObjectMeta) {
        self.next_uid += 1;
        metadata.uid = Some(format!("local-{}", self.next_uid));
        metadata.namespace.get_or_insert_with(|| "default".to_owned());
        if metadata.name.as_deref().unwrap_or_default().is_empty() {
            let prefix = metadata.generate_name.as_deref().unwrap_or("run-");
            metadata.name = Some(format!("{prefix}{:05x}", std::process::id()));
        }
    }

    pub fn is_done(&self) -> bool {
        match &self.pipeline_run {
            Some(run) => run.is_done(),
            None => self.task_runs.values().all(TaskRun::is_done),
        }
    }

    /// The user wants it to end.
    pub fn stop(&mut self, wanted: Stop) {
        if let Some(run) = &mut self.pipeline_run {
            run.spec.status = match wanted {
                Stop::No => None,
                Stop::Gracefully => Some(PipelineRunSpecStatus::CancelledRunFinally),
                Stop::Now => Some(PipelineRunSpecStatus::Cancelled),
            };
        } else if wanted > Stop::No {
            for run in self.task_runs.values_mut().filter(|run| !run.is_done()) {
                run.spec.status = Some(TaskRunSpecStatus::Cancelled);
            }
        }
    }

    /// One decision on every object that is not done.
    pub fn decide(&mut self, now: Timestamp) -> Pass {
        let mut pass = Pass::default();
        let root = self.pipeline_run.as_ref().map(|run| run.name().to_owned());
        let parts: Vec<String> = self.parts.keys().cloned().collect();
        for name in root.into_iter().chain(parts) {
            self.decide_pipeline(&name, now, &mut pass);
        }
        let names: Vec<String> =
            self.task_runs.values().filter(|run| !run.is_done()).map(|run| run.name().to_owned()).collect();
        for name in names {
            self.decide_task(&name, now, &mut pass);
        }
        pass
    }

    /// A new observation.
    pub fn take_in(&mut self, finding: Finding) {
        match finding {
            Finding::Report { pod, report } => {
                if let Some(state) = self.pods.get_mut(&pod) {
                    state.report = Some(report);
                }
            }
            Finding::Status { pod, status } | Finding::Ended { pod, status } => {
                if let Some(state) = self.pods.get_mut(&pod) {
                    state.pod.status = Some(status);
                }
            }
        }
    }

    /// All documents were read before the run began: what is not there will not come.
    pub fn nothing_found(&mut self, need: &Need) {
        match need {
            Need::Task(name) => {
                self.library.tasks.entry(name.clone()).or_insert(None);
            }
            Need::Pipeline(name) => {
                self.library.pipelines.entry(name.clone()).or_insert(None);
            }
            Need::StepAction(name) => {
                self.library.step_actions.entry(name.clone()).or_insert(None);
            }
            // A laptop has no service accounts but those in the files.
            Need::Account(name) => {
                self.library.accounts.entry(name.clone()).or_insert_with(|| Some(Account::default()));
            }
            Need::LimitRanges => self.library.limit_ranges = Some(Vec::new()),
            Need::Image { .. } | Need::Remote(_) | Need::Pod(_) | Need::Part(_) => {}
        }
    }

    /// A pipeline run of this name: the one that the user wants, or a part of it.
    fn pipeline_run(&self, name: &str) -> Option<&PipelineRun> {
        self.pipeline_run.as_ref().filter(|run| run.name() == name).or_else(|| self.parts.get(name))
    }

    /// The runs that a run is a part of, the nearest first.
    pub fn ancestors(&self, of: &ObjectMeta) -> Vec<&PipelineRun> {
        let mut found: Vec<&PipelineRun> = Vec::new();
        let mut meta = of;
        while let Some(owner) = meta.owner_references.iter().flatten().next()
            && let Some(parent) = self.pipeline_run(&owner.name)
        {
            found.push(parent);
            meta = &parent.metadata;
        }
        found
    }

    fn decide_pipeline(&mut self, name: &str, now: Timestamp, pass: &mut Pass) {
        let Some(run) = self.pipeline_run(name).filter(|run| !run.is_done()) else { return };
        let is_ours =
            |meta: &ObjectMeta| meta.owner_references.iter().flatten().any(|owner| owner.uid == run.uid());
        let task_runs: Vec<&TaskRun> = self.task_runs.values().filter(|run| is_ours(&run.metadata)).collect();
        let custom_runs: Vec<&CustomRun> =
            self.custom_runs.values().filter(|run| is_ours(&run.metadata)).collect();
        let pipeline_runs: Vec<&PipelineRun> =
            self.parts.values().filter(|run| is_ours(&run.metadata)).collect();
        let observed = run::Observed {
            group: self.group,
            run,
            children: run::Children {
                task_runs: &task_runs,
                custom_runs: &custom_runs,
                pipeline_runs: &pipeline_runs,
            },
            ancestors: &self.ancestors(&run.metadata),
            library: &self.library,
            config: &self.config,
            plan: None,
            sharing: None,
        };
        match run::reconcile(&observed, now) {
            Outcome::Needs(needs) => pass.effects.extend(needs.into_iter().map(Effect::LookUp)),
            Outcome::Decided(decision) => {
                pass.changed |= run.status.as_ref() != Some(&decision.status);
                pass.wake(decision.wake_at);
                let root = self.pipeline_run.as_mut().filter(|run| run.name() == name);
                if let Some(run) = root.or_else(|| self.parts.get_mut(name)) {
                    run.status = Some(decision.status);
                    add_metadata(&mut run.metadata, &decision.actions);
                }
                self.perform(decision.actions, now, pass);
            }
        }
    }

    fn decide_task(&mut self, name: &str, now: Timestamp, pass: &mut Pass) {
        let Some(run) = self.task_runs.get(name) else { return };
        let state = self.pods.get(&task::pod_name(run));
        let observed = task::Observed {
            group: self.group,
            run,
            pod: state.map_or(PodSeen::Gone, |state| PodSeen::Here(&state.pod)),
            report: state.and_then(|state| state.report.as_ref()),
            library: &self.library,
            config: &self.config,
            platform: &self.platform,
        };
        match task::reconcile(&observed, now) {
            Outcome::Needs(needs) => pass.effects.extend(needs.into_iter().map(Effect::LookUp)),
            Outcome::Decided(decision) => {
                pass.changed |= run.status.as_ref() != Some(&decision.status);
                pass.wake(decision.wake_at);
                if let Some(run) = self.task_runs.get_mut(name) {
                    run.status = Some(decision.status);
                    add_metadata(&mut run.metadata, &decision.actions);
                }
                self.perform(decision.actions, now, pass);
            }
        }
    }

    fn perform(&mut self, actions: Vec<Action>, now: Timestamp, pass: &mut Pass) {
        for action in actions {
            match action {
                Action::CreateTaskRun(mut run) => {
                    pass.changed = true;
                    self.admit(&mut run.metadata);
                    self.task_runs.entry(run.name().to_owned()).or_insert(*run);
                }
                Action::CreatePipelineRun(mut run) => {
                    pass.changed = true;
                    self.admit(&mut run.metadata);
                    self.parts.entry(run.name().to_owned()).or_insert(*run);
                }
                Action::CreateCustomRun(mut run) => {
                    pass.changed = true;
                    self.admit(&mut run.metadata);
                    refuse(&mut run, now);
                    self.custom_runs.entry(run.name().to_owned()).or_insert(*run);
                }
                // It has ended: nobody carries it out here.
                Action::StopPipelineRun { name, status, .. } => {
                    if let Some(run) = self.parts.get_mut(&name) {
                        pass.changed = true;
                        run.spec.status = Some(status);
                    }
                }
                Action::StopTaskRun { name, status, message, .. } => {
                    if let Some(run) = self.task_runs.get_mut(&name) {
                        pass.changed = true;
                        run.spec.status = Some(status);
                        run.spec.status_message = Some(message);
                    }
                }
                Action::CreatePod(mut pod) => {
                    let name = pod.metadata.name.clone().unwrap_or_default();
                    if !self.pods.contains_key(&name) {
                        self.admit(&mut pod.metadata);
                        pod.status =
                            Some(PodStatus { phase: Some("Pending".to_owned()), ..Default::default() });
                        self.pods.insert(name, PodState { pod: (*pod).clone(), report: None });
                        pass.effects.push(Effect::StartPod(pod));
                    }
                }
                Action::EndPod { name, .. } => pass.effects.push(Effect::EndPod(name)),
                Action::CreateClaim(claim) => {
                    let name = claim.metadata.name.unwrap_or_default();
                    let path = self.claims_dir.join(&name);
                    let mut claims =
                        self.files.claims.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    if claims.insert(name, path.clone()).is_none() {
                        pass.effects.push(Effect::MakeClaim(path));
                    }
                }
                // Metadata was added before; what events say is told from the statuses. And claims on this machine stay
                // for a look.
                Action::AddMetadata { .. }
                | Action::StopCustomRun { .. }
                | Action::Emit(_)
                | Action::DeleteClaim { .. } => {}
            }
        }
    }
}

/// Gives a run the labels and annotations of its definition.
fn add_metadata(metadata: &mut ObjectMeta, actions: &[Action]) {
    for action in actions {
        if let Action::AddMetadata { labels, annotations } = action {
            metadata.labels.get_or_insert_default().extend(labels.clone());
            metadata.annotations.get_or_insert_default().extend(annotations.clone());
        }
    }
}

/// A custom task is for a controller that watches a cluster, and there is none here.
fn refuse(run: &mut CustomRun, now: Timestamp) {
    let named = |api_version: Option<&String>, kind: Option<&String>| {
        format!("{} {}", api_version.map_or("", String::as_str), kind.map_or("", String::as_str))
    };
    let what = match (&run.spec.custom_ref, &run.spec.custom_spec) {
        (Some(reference), _) => named(reference.api_version.as_ref(), reference.kind.as_ref()),
        (None, Some(spec)) => named(spec.api_version.as_ref(), spec.kind.as_ref()),
        (None, None) => "without a kind".to_owned(),
    };
    let message = format!(
        "a custom task ({what}) is carried out by its own controller in a cluster; none runs on this machine"
    );
    let mut condition = Condition::succeeded(ConditionStatus::False, reasons::custom_run::FAILED, message);
    condition.last_transition_time = Some(Time(now));
    run.status = Some(CustomRunStatus {
        conditions: vec![condition],
        completion_time: Some(Time(now)),
        ..Default::default()
    });
}

impl Pass {
    fn wake(&mut self, at: Option<Timestamp>) {
        self.wake_at = match (self.wake_at, at) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settled(spec: &serde_json::Value) -> World {
        let mut world = World::new(Group::Tekton, Files::default(), PathBuf::new());
        let mut run = PipelineRun::new(Group::Tekton, "run");
        run.spec = serde_json::from_value(json!({"pipelineSpec": spec})).unwrap();
        world.admit(&mut run.metadata);
        world.pipeline_run = Some(run);
        for _ in 0..20 {
            let pass = world.decide(Timestamp::UNIX_EPOCH);
            for effect in &pass.effects {
                if let Effect::LookUp(need) = effect {
                    world.nothing_found(need);
                }
            }
            if pass.effects.is_empty() && !pass.changed {
                return world;
            }
        }
        panic!("does not come to rest");
    }

    #[test]
    fn a_pipeline_in_a_pipeline_runs_here_too() {
        let inner =
            json!({"tasks": [{"name": "t", "taskSpec": {"steps": [{"image": "i", "command": ["true"]}]}}]});
        let mut world = settled(&json!({"tasks": [{"name": "inner", "pipelineSpec": inner}]}));
        assert_eq!(world.parts.keys().collect::<Vec<_>>(), ["run-inner"]);
        assert_eq!(world.task_runs.keys().collect::<Vec<_>>(), ["run-inner-t"]);
        assert_eq!(world.pods.keys().collect::<Vec<_>>(), ["run-inner-t-pod"]);
        world.stop(Stop::Now);
        for _ in 0..5 {
            world.decide(Timestamp::UNIX_EPOCH);
        }
        assert!(world.is_done() && world.parts["run-inner"].is_done());
        assert_eq!(world.task_runs["run-inner-t"].spec.status, Some(TaskRunSpecStatus::Cancelled));
    }

    #[test]
    fn a_custom_task_is_refused_by_name() {
        let world = settled(
            &json!({"tasks": [{"name": "c", "taskRef": {"apiVersion": "x.dev/v1", "kind": "Wait"}}]}),
        );
        assert!(world.is_done());
        let status = world.custom_runs["run-c"].status.as_ref().unwrap();
        assert_eq!(
            status.conditions[0].message(),
            "a custom task (x.dev/v1 Wait) is carried out by its own controller in a cluster; none runs on this machine"
        );
    }
}
